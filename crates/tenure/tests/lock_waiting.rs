//! The wait protocol: hazards W2 to W4, W6 and W7, and the rule that a waiter never emits the event it waits for.
//!
//! A `Faulty` host whose fault is never met stands for another process: it has a queue of its own, and it counts
//! its system calls.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Native};
use tenure::{Cancel, Lock, Wait};

const LONG: Duration = Duration::from_secs(30);

fn process() -> Faulty<Native> {
    Faulty::new(Native, usize::MAX, Fault::Crash)
}

fn lock_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l");
    (directory, path)
}

fn count(host: &Faulty<Native>, name: &str) -> usize {
    host.calls().iter().filter(|call| **call == name).count()
}

/// Waits until the waiter's descriptor is open and watched.
fn until_waiting(host: &Faulty<Native>) {
    while count(host, "watch") == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Acquires in another "process"; the receiver hears when it has got in, and `after` runs then.
fn acquire_elsewhere(host: &Faulty<Native>, path: &Path) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    let lock = Lock::flock_on(host.clone(), path);
    std::thread::spawn(move || {
        let held = lock.acquire(Wait::within(LONG)).unwrap();
        sender.send(()).unwrap();
        held.release().unwrap();
    });
    until_waiting(host);
    receiver
}

#[test]
fn waiters_do_not_wake_each_other() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let hosts: Vec<_> = (0..3).map(|_| process()).collect();
    let receivers: Vec<_> = hosts.iter().map(|host| acquire_elsewhere(host, &path)).collect();
    std::thread::sleep(Duration::from_secs(1));
    for host in &hosts {
        // One look before the watch, one after it, and the backstop's four or five a second. A waiter that
        // emitted the event would be counted in the ten thousands.
        let (opens, tries) = (count(host, "open"), count(host, "flock"));
        assert!(opens <= 2 && tries <= 40, "{opens} opens, {tries} attempts");
    }
    held.release().unwrap();
    receivers.iter().for_each(|receiver| receiver.recv_timeout(LONG).unwrap());
}

#[test]
fn two_hundred_waiters_use_no_measurable_cpu() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let hosts: Vec<_> = (0..200).map(|_| process()).collect();
    let receivers: Vec<_> = hosts.iter().map(|host| acquire_elsewhere(host, &path)).collect();
    std::thread::sleep(Duration::from_millis(500));
    let tries = || hosts.iter().map(|host| count(host, "flock")).sum::<usize>();
    let before = tries();
    std::thread::sleep(Duration::from_secs(2));
    let per_second = (tries() - before) / 2;
    // 200 waiters x 250 ms backstop with jitter: about 900 attempts a second, each a few microseconds.
    assert!(per_second <= 200 * 8, "{per_second} attempts a second");
    held.release().unwrap();
    receivers.iter().for_each(|receiver| receiver.recv_timeout(LONG).unwrap());
}

#[test]
fn an_unlock_that_emits_no_event_is_found_by_the_backstop() {
    let (_directory, path) = lock_path();
    let file = std::fs::File::create(&path).unwrap();
    file.lock().unwrap();
    let receiver = acquire_elsewhere(&process(), &path);
    file.unlock().unwrap();
    receiver.recv_timeout(LONG).unwrap();
    drop(file);
}

#[test]
fn a_release_wakes_although_a_child_shares_the_descriptor() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let inherited = rustix::io::dup(held.as_fd()).unwrap();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    drop(inherited);
    let host = process();
    let receiver = acquire_elsewhere(&host, &path);
    held.release().unwrap();
    receiver.recv_timeout(LONG).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn without_change_notices_the_waiter_polls() {
    for errno in [Errno::MFILE, Errno::NOSPC, Errno::ACCESS] {
        let (_directory, path) = lock_path();
        let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
        // The calls before it: lstat, open, fstat, flock.
        let host = Faulty::new(Native, 4, Fault::Fail(errno));
        let receiver = acquire_elsewhere(&host, &path);
        assert!(host.met());
        assert_eq!(host.calls()[4], "watch");
        held.release().unwrap();
        receiver.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn a_lock_file_replaced_or_deleted_under_the_waiters_is_noticed() {
    for delete in [false, true] {
        let (directory, path) = lock_path();
        let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
        let receiver = acquire_elsewhere(&process(), &path);
        if delete {
            std::fs::remove_file(&path).unwrap();
        } else {
            let other = directory.path().join("other");
            std::fs::write(&other, "").unwrap();
            std::fs::rename(&other, &path).unwrap();
        }
        // The old file's lock is still held; it excludes nobody from the new one.
        receiver.recv_timeout(LONG).unwrap();
        assert!(!held.is_current().unwrap());
    }
}

#[test]
fn another_thread_ends_a_wait_and_nothing_is_left() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    for host in [process(), Faulty::new(Native, 4, Fault::Fail(Errno::MFILE))] {
        let (cancel, lock) = (Cancel::new(), Lock::flock_on(host.clone(), &path));
        let waiting = std::thread::spawn({
            let cancel = cancel.clone();
            move || lock.acquire(Wait::Forever.or(&cancel)).map(drop).unwrap_err()
        });
        until_waiting(&host);
        cancel.cancel();
        assert!(waiting.join().unwrap().is_cancelled());
    }
    held.release().unwrap();
    Lock::flock(&path).acquire(Wait::Never).unwrap().release().unwrap();
}

#[test]
fn a_wait_in_the_queue_of_threads_ends_too() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let cancelled =
            scope.spawn(|| Lock::flock(&path).acquire(Wait::Forever.or(&cancel)).map(drop).unwrap_err());
        let timed_out = scope.spawn(|| {
            Lock::flock(&path).acquire(Wait::within(Duration::from_millis(50))).map(drop).unwrap_err()
        });
        assert!(timed_out.join().unwrap().is_busy());
        cancel.cancel();
        assert!(cancelled.join().unwrap().is_cancelled());
    });
    drop(held);
    Lock::flock(&path).acquire(Wait::Never).unwrap().release().unwrap();
}

#[test]
fn signals_do_not_end_or_restart_a_wait() {
    let (_directory, path) = lock_path();
    let _held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    // Stop and continue end the poll(2) of a process with EINTR (signal(7)), as a handler would.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_waits_two_seconds", "--nocapture"])
        .env("TENURE_TEST_WAIT_ON", &path)
        .spawn();
    let mut child = child.unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50));
        for signal in [rustix::process::Signal::STOP, rustix::process::Signal::CONT] {
            rustix::process::kill_process(pid, signal).unwrap();
        }
    }
    assert!(child.wait().unwrap().success());
}

/// Run by the test above in a process of its own; alone it has nothing to wait for.
#[test]
fn helper_waits_two_seconds() {
    let Some(path) = std::env::var_os("TENURE_TEST_WAIT_ON") else { return };
    let error = Lock::flock(&path).acquire(Wait::within(Duration::from_secs(2))).map(drop).unwrap_err();
    assert!(error.is_busy());
    let waited = error.waited();
    assert!(waited >= Duration::from_secs(2), "the wait ended early: {waited:?}");
}
