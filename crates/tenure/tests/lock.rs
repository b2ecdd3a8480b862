//! What a lock promises to threads and says to people: hazards W5, W7 and L15.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tenure::{Lock, Wait};

fn lock_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deploy.lock");
    (directory, path)
}

#[test]
fn threads_get_in_one_by_one_in_the_order_in_which_they_asked() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in 0..10 {
            let (asking, asked) = mpsc::channel();
            let (path, order) = (&path, &order);
            scope.spawn(move || {
                let lock = Lock::flock(path).on_wait(Duration::ZERO, move |_| asking.send(()).unwrap());
                let _held = lock.acquire(Wait::Forever).unwrap();
                order.lock().unwrap().push(n);
            });
            // The hook is called from the wait, so the thread stands in the queue.
            asked.recv().unwrap();
        }
        held.release().unwrap();
    });
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

#[test]
fn w7_asking_for_what_the_thread_holds_is_an_error() {
    let (directory, path) = lock_path();
    let held = Lock::flock(&path).acquire_shared(Wait::Never).unwrap();
    for error in [
        Lock::flock(&path).acquire(Wait::Forever).map(drop).unwrap_err(),
        Lock::flock(directory.path().join("./deploy.lock"))
            .acquire_shared(Wait::Forever)
            .map(drop)
            .unwrap_err(),
        Lock::flock(&path).try_acquire().map(drop).unwrap_err(),
    ] {
        assert!(error.is_already_held() && error.to_string().contains("this thread"), "{error}");
    }
    drop(held);
    Lock::flock(&path).acquire(Wait::Never).unwrap().release().unwrap();
}

#[test]
fn readers_share_and_writers_do_not() {
    let (_directory, path) = lock_path();
    let lock = Lock::flock(&path);
    let _reading = lock.acquire_shared(Wait::Never).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert!(lock.try_acquire().unwrap().is_none());
            let also_reading = lock.try_acquire_shared().unwrap();
            assert!(also_reading.is_some());
        });
        other.join().unwrap();
    });
}

#[test]
fn a_refusal_names_the_holder_and_the_way_out() {
    let (_directory, path) = lock_path();
    let _held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let told = Arc::new(Mutex::new(Vec::new()));
            let lock = Lock::flock(&path).on_wait(Duration::from_millis(10), {
                let told = told.clone();
                move |contention| told.lock().unwrap().push(contention.holders.to_string())
            });
            let error = lock.acquire(Wait::within(Duration::from_millis(60))).map(drop).unwrap_err();
            let me = format!("pid {}", std::process::id());
            let text = error.to_string();
            for part in
                [path.to_str().unwrap(), &me, "process started", "gave up after waiting", "Wait longer"]
            {
                assert!(text.contains(part), "{part:?} is not in {text}");
            }
            assert!(error.is_busy() && !error.waited().is_zero());
            assert_eq!(error.holders().unwrap().list[0].pid, std::process::id());
            let told = told.lock().unwrap();
            assert!(told.len() == 1 && told[0].contains(&me), "told once: {told:?}");
        });
    });
}

#[test]
fn l15_a_symbolic_link_is_refused_and_its_target_left_alone() {
    let (directory, path) = lock_path();
    let target = directory.path().join("precious");
    std::fs::write(&target, "content").unwrap();
    for pointing_at in [target.clone(), directory.path().join("missing")] {
        std::os::unix::fs::symlink(&pointing_at, &path).unwrap();
        let error = Lock::flock(&path).acquire(Wait::Never).map(drop).unwrap_err();
        assert!(error.is_cannot_create() && error.to_string().contains("symbolic link"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "content");
    assert!(!directory.path().join("missing").exists());
    // The twin: an open that follows the link, and truncates as lock files often are, destroys the target.
    std::os::unix::fs::symlink(&target, &path).unwrap();
    drop(std::fs::File::create(&path).unwrap());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "", "the twin did no harm, so this shows nothing");
}

#[test]
fn what_can_be_locked_and_how_a_lock_file_is_made() {
    let (directory, path) = lock_path();
    Lock::flock(directory.path()).acquire(Wait::Never).unwrap().release().unwrap();
    std::fs::write(&path, "read only").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    Lock::flock(&path).acquire(Wait::Never).unwrap().release().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "read only");
    let made = directory.path().join("made");
    let held = Lock::flock(&made).mode(0o666).acquire(Wait::Never).unwrap();
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o7777, 0o666, "exact, whatever the umask");
    assert!(rustix::io::fcntl_getfd(held.as_fd()).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    held.release().unwrap();
    assert!(made.exists(), "never deleted (U13)");
    let error = Lock::flock(directory.path().join("none/l")).acquire(Wait::Never).map(drop).unwrap_err();
    assert!(error.is_cannot_create() && error.to_string().contains("directory does not exist"), "{error}");
}

#[test]
fn u13_a_lock_file_deleted_on_release_lets_two_in() {
    // The twin: a waiter that has the file open gets its lock although a newcomer locks another file there.
    let (_directory, path) = lock_path();
    let first = std::fs::File::create(&path).unwrap();
    first.lock().unwrap();
    let waiter = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    drop(first);
    waiter.lock().unwrap();
    let newcomer = Lock::flock(&path).acquire(Wait::Never).unwrap();
    // Ours starts again in the waiter's place: see lock_waiting.rs.
    assert!(newcomer.is_current().unwrap());
}
