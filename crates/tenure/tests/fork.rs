//! Fork (hazard L13): the parent's lock is the parent's, whatever its children do with their copies.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};
use tenure::{Lock, Wait};

/// Runs `work` in a real forked child, with the state that a fork leaves.
#[expect(unsafe_code, reason = "fork is what this test is about")]
fn fork(work: impl FnOnce() -> bool) -> Pid {
    // SAFETY: glibc keeps its allocator usable in the child, and the child leaves by _exit.
    match unsafe { libc::fork() } {
        0 => {
            let code =
                i32::from(!std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false));
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
        pid => Pid::from_raw(pid).unwrap(),
    }
}

fn exit_code(child: Pid) -> i32 {
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    status.exit_status().unwrap_or(-1)
}

fn in_child(work: impl FnOnce() -> bool) -> i32 {
    exit_code(fork(work))
}

fn is_held(path: &Path) -> bool {
    File::open(path).unwrap().try_lock().is_err()
}

#[test]
fn a_child_neither_releases_nor_inherits() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("l"), directory.path().join("other"));
    let lock = Lock::flock(&path);
    let mut held = Some(lock.acquire(Wait::Never).unwrap());

    assert_eq!(in_child(|| held.take().unwrap().release().is_ok()), 0);
    assert!(is_held(&path), "released by the child's guard");
    assert_eq!(in_child(|| held.take().is_some()), 0);
    assert!(is_held(&path), "released by the child's drop");
    assert_eq!(in_child(|| true), 0);
    assert!(is_held(&path), "released by the child's exit");

    // The child's own locks work, its threads' queues start empty, and the parent's lock excludes it: as a
    // competitor, not as a thread that asks twice.
    assert_eq!(in_child(|| Lock::flock(&other).acquire(Wait::Never).is_ok()), 0);
    let busy = || lock.acquire(Wait::within(Duration::from_millis(20))).is_err_and(|error| error.is_busy());
    assert_eq!(in_child(busy), 0);

    // The twin: an unlock in the child frees the parent's lock.
    let file = File::create(directory.path().join("twin")).unwrap();
    file.lock().unwrap();
    assert_eq!(in_child(|| file.unlock().is_ok()), 0);
    assert!(!is_held(&directory.path().join("twin")), "the twin did no harm, so this shows nothing");

    held.take().unwrap().release().unwrap();
    assert!(!is_held(&path));
}

#[test]
fn a_release_frees_the_lock_although_a_forked_child_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l");
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let child = fork(|| {
        // Lives, with its copy of the descriptor, until the parent says so.
        let mut byte = [0];
        (&reader).read_exact(&mut byte).is_ok()
    });
    held.release().unwrap();
    assert!(!is_held(&path), "the child's copy of the descriptor kept the lock");
    (&writer).write_all(b"!").unwrap();
    assert_eq!(exit_code(child), 0);
}
