//! The lockfile kind on the real system: hazards L3 to L6, L10, L13, L14, and what its users rely on.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tempfile::TempDir;
use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Host, Native, Open, Woken};
use tenure::lock::State;
use tenure::{Handle, Lock, LossReason, Wait};

const LIFETIME: Duration = Duration::from_secs(60);

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.lock");
    (directory, path)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn soon() -> Wait {
    Wait::within(Duration::from_secs(20))
}

/// A host that shares the files of this process and none of its state.
fn another_process() -> Faulty<Native> {
    Faulty::new(Native, usize::MAX, Fault::Crash)
}

/// Makes the lock file's time stamp older, as if its holder had been away for that long.
fn age(path: &Path, by: Duration) {
    let file = fs::File::open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - by).unwrap();
}

#[test]
fn it_exists_while_it_is_held_and_names_its_holder() {
    let (directory, path) = directory();
    let lock = Lock::lockfile(&path);
    assert!(lock.holder().unwrap().list.is_empty());
    let held = lock.acquire(Wait::Never).unwrap();
    assert_eq!(names(directory.path()), ["a.lock", "a.lock.guard"]);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().next(), Some(std::process::id().to_string().as_str()), "{text}");
    let holders = lock.holder().unwrap();
    assert_eq!(holders.list[0].pid, std::process::id());
    assert_eq!(holders.list[0].verdict.as_ref().unwrap().state, State::Alive, "{holders}");
    assert!(held.is_held() && held.is_current().unwrap() && held.lost().is_none());
    let error = lock.acquire(Wait::Never).unwrap_err();
    assert!(error.is_already_held(), "{error}");
    let busy =
        std::thread::scope(|scope| scope.spawn(|| lock.acquire(Wait::Never).unwrap_err()).join()).unwrap();
    assert!(busy.is_busy() && busy.to_string().contains("alive"), "{busy}");
    held.release().unwrap();
    assert_eq!(names(directory.path()), ["a.lock.guard"]);
    lock.acquire(Wait::Never).unwrap().release().unwrap();
}

#[test]
fn a_waiter_is_woken_by_the_release() {
    let (_directory, path) = directory();
    let held = Lock::lockfile(&path).acquire(Wait::Never).unwrap();
    let waiter = std::thread::spawn({
        let path = path.clone();
        move || Lock::lockfile(&path).acquire(soon()).unwrap().release().unwrap()
    });
    std::thread::sleep(Duration::from_millis(50));
    held.release().unwrap();
    waiter.join().unwrap();
}

#[test]
fn a_lost_lock_is_told_and_never_released_over_another() {
    let (directory, path) = directory();
    let told = Arc::new(AtomicUsize::new(0));
    let lock = Lock::lockfile(&path).lifetime(Some(LIFETIME)).on_loss({
        let told = told.clone();
        move |lost| {
            assert_eq!(lost.reason, LossReason::Taken);
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let robbed = lock.acquire(Wait::Never).unwrap();
    let loss = robbed.loss_descriptor().unwrap();
    let is_readable = || {
        let mut sources = [PollFd::from_borrowed_fd(loss.as_fd(), PollFlags::IN)];
        poll(&mut sources, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    };
    assert!(robbed.is_held() && !is_readable());
    // Its time stamp says that the holder was away for more than its lifetime; its own clock does not know.
    age(&path, LIFETIME * 2);
    let new = Lock::lockfile_on(another_process(), &path).acquire(soon()).unwrap();
    let content = fs::read(&path).unwrap();
    let error = robbed.renew().unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert!(!robbed.is_held() && is_readable());
    assert_eq!(told.load(Ordering::Relaxed), 1);
    assert!(robbed.release().unwrap_err().is_lost());
    assert_eq!(fs::read(&path).unwrap(), content, "the new owner's lock file was left alone");
    assert_eq!(names(directory.path()), ["a.lock", "a.lock.guard"]);
    new.release().unwrap();
}

#[test]
fn a_lifetime_is_kept_up_by_itself() {
    let (_directory, path) = directory();
    let lifetime = Duration::from_millis(600);
    let held = Lock::lockfile(&path).lifetime(Some(lifetime)).acquire(Wait::Never).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    std::thread::sleep(lifetime * 2);
    assert!(held.is_held(), "{:?}", held.lost());
    assert!(fs::metadata(&path).unwrap().modified().unwrap() > modified);
    held.release().unwrap();
}

#[test]
fn a_broken_lock_is_told_at_the_next_renewal() {
    let (_directory, path) = directory();
    let lock = Lock::lockfile(&path);
    assert!(lock.force_break().unwrap().is_none());
    let held = lock.acquire(Wait::Never).unwrap();
    let broken = lock.force_break().unwrap().unwrap();
    assert_eq!(broken.list[0].pid, std::process::id());
    assert!(held.renew().unwrap_err().is_lost());
    assert_eq!(held.lost().unwrap().reason, LossReason::Gone);
    assert!(Lock::flock(&path).force_break().unwrap_err().is_unsupported());
}

#[test]
fn a_handle_outlives_its_guard() {
    let (directory, path) = directory();
    let lock = Lock::lockfile(&path);
    let mut held = lock.acquire(Wait::Never).unwrap();
    let handle = held.persist().unwrap();
    assert!(handle.is_durable() && !held.is_held());
    drop(held);
    assert_eq!(lock.holder().unwrap().list[0].verdict.as_ref().unwrap().state, State::Unknown);
    assert!(lock.try_acquire().unwrap().is_none());
    let handle: Handle = handle.to_string().parse().unwrap();
    handle.renew().unwrap();
    handle.release().unwrap();
    assert!(handle.release().unwrap_err().is_lost());
    assert_eq!(names(directory.path()), ["a.lock.guard"]);
    let held = lock.acquire(Wait::Never).unwrap();
    assert!(handle.release().unwrap_err().is_lost(), "an old handle has no power over a new holder");
    held.release().unwrap();
}

#[test]
fn an_expired_handle_has_lost_its_lock() {
    let (_directory, path) = directory();
    let lock = Lock::lockfile(&path).lifetime(Some(LIFETIME));
    let handle = lock.acquire(Wait::Never).unwrap().persist().unwrap();
    assert!(lock.try_acquire().unwrap().is_none());
    age(&path, LIFETIME * 2);
    assert!(handle.renew().unwrap_err().is_lost());
    lock.acquire(Wait::Never).unwrap().release().unwrap();
}

#[test]
fn l3_a_file_that_nobody_owns_yet_is_not_stale() {
    let (_directory, path) = directory();
    let lock = Lock::lockfile(&path);
    for content in ["", "0\n", "999999999\nhost\n", "{}", "4711"] {
        fs::write(&path, content).unwrap();
        let busy = lock.acquire(Wait::Never).unwrap_err();
        assert!(busy.is_busy() && busy.to_string().contains("unknown"), "{busy}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn readers_and_short_lifetimes_are_refused() {
    let (directory, path) = directory();
    assert!(Lock::lockfile(&path).try_acquire_shared().unwrap_err().is_unsupported());
    let brief = Lock::lockfile(&path).lifetime(Some(Duration::from_millis(1)));
    assert!(brief.try_acquire().unwrap_err().is_unsupported());
    assert!(Lock::flock(&path).acquire(Wait::Never).unwrap().persist().unwrap_err().is_unsupported());
    assert_eq!(names(directory.path()), ["a.lock"]);
}

/// A record of a process that is dead.
fn leave_dead_record(path: &Path) {
    let held = Lock::lockfile(path).acquire(Wait::Never).unwrap();
    let record = fs::read_to_string(path).unwrap();
    held.release().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let (own, dead) = (std::process::id(), child.id());
    let record = record.replacen(&format!("{own}\n"), &format!("{dead}\n"), 1);
    fs::write(path, record.replacen(&format!("\"pid\":{own},"), &format!("\"pid\":{dead},"), 1)).unwrap();
}

/// A steal is made by its rename: whatever fails after that, the thief holds the lock and knows it.
#[test]
fn a_guard_that_cannot_be_unlocked_does_not_hide_what_was_done() {
    let mut unlocks = 0;
    for calls_before in 0.. {
        let (_directory, path) = directory();
        leave_dead_record(&path);
        let host = Faulty::new(Native, calls_before, Fault::Fail(rustix::io::Errno::IO));
        let taken = Lock::lockfile_on(host.clone(), &path).acquire(Wait::Never);
        if !host.met() {
            break;
        }
        if host.calls().get(calls_before) == Some(&"unlock") {
            unlocks += 1;
            taken.unwrap().release().unwrap();
            let next = Lock::lockfile_on(another_process(), &path).acquire(Wait::Never);
            next.expect("the guard and the lock are free").release().unwrap();
        }
    }
    assert!(unlocks > 0, "no unlock of the guard was met");
}

#[test]
fn without_flock_there_is_no_lock_of_this_kind() {
    let (directory, path) = directory();
    // The third call is the first flock of a guard that was just created.
    let host = Faulty::new(Native, 2, Fault::Fail(Errno::NOTSUP));
    let error = Lock::lockfile_on(host.clone(), &path).acquire(Wait::Never).unwrap_err();
    assert_eq!(host.calls(), ["open", "open", "flock", "unlink"]);
    assert!(error.is_unsupported() && error.to_string().contains("flock(2)"), "{error}");
    assert_eq!(names(directory.path()), [""; 0], "the guard that is of no use is not left behind");
}

#[test]
fn a_hook_that_panics_leaves_the_guard_free() {
    let (_directory, path) = directory();
    let lock = Lock::lockfile(&path).lifetime(Some(LIFETIME)).on_loss(|_| panic!("a caller's mistake"));
    let held = lock.acquire(Wait::Never).unwrap();
    fs::remove_file(&path).unwrap();
    let renewal = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| held.renew()));
    assert!(renewal.is_err() && !held.is_held());
    Lock::lockfile_on(another_process(), &path).acquire(Wait::Never).unwrap().release().unwrap();
}

#[test]
fn the_end_of_an_owner_ends_a_wait_once() {
    let (_directory, path) = directory();
    fs::write(&path, "").unwrap();
    let file = Native.open(&path, Open::Read).unwrap();
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let mut waiter = Native.waiter();
    assert!(Native.watch(&mut waiter, &file) && Native.watch_end(&mut waiter, child.id()));
    child.kill().unwrap();
    // A zombie has ended: it need not be reaped.
    assert_eq!(Native.wait(&mut waiter, Some(Native.now() + Duration::from_secs(20))), Woken::Changed);
    assert_eq!(Native.wait(&mut waiter, Some(Native.now() + Duration::from_millis(20))), Woken::TimedOut);
    child.wait().unwrap();
    assert!(!Native.watch_end(&mut waiter, child.id()));
}
