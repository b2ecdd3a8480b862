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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Host, Mode, Native, Open};
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
        // The calls before it: open, fstat, flock.
        let host = Faulty::new(Native, 3, Fault::Fail(errno));
        let receiver = acquire_elsewhere(&host, &path);
        assert!(host.met());
        assert_eq!(host.calls()[3], "watch");
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
fn a_thread_queued_behind_a_holder_notices_too() {
    let (_directory, path) = lock_path();
    let _held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let (asking, asked) = mpsc::channel();
    let lock = Lock::flock(&path).on_wait(Duration::ZERO, move |_| asking.send(()).unwrap());
    let queued = std::thread::spawn(move || lock.acquire(Wait::within(LONG)).map(drop));
    asked.recv().unwrap();
    std::fs::remove_file(&path).unwrap();
    queued.join().unwrap().unwrap();
}

#[test]
fn another_thread_ends_a_wait_and_nothing_is_left() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    for host in [process(), Faulty::new(Native, 3, Fault::Fail(Errno::MFILE))] {
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

/// Runs `wait` while a signal with a handler interrupts this very thread every few milliseconds.
#[expect(unsafe_code, reason = "a signal to one thread has no safe wrapper")]
fn under_signals<T>(wait: impl FnOnce() -> T) -> T {
    let caught = std::sync::Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, caught.clone()).unwrap();
    // SAFETY: asks for this thread's own handle.
    let thread = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(20));
                // SAFETY: the thread outlives this scope.
                unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
            }
        });
        let outcome = wait();
        assert!(caught.load(Ordering::Acquire), "no signal came");
        done.store(true, Ordering::Release);
        outcome
    })
}

#[test]
fn signals_do_not_end_or_restart_a_wait() {
    let (_directory, path) = lock_path();
    let file = std::fs::File::create(&path).unwrap();
    file.lock().unwrap();
    let limit = Wait::within(Duration::from_secs(1));
    let error = under_signals(|| Lock::flock(&path).acquire(limit).map(drop).unwrap_err());
    assert!(error.is_busy());
    let waited = error.waited();
    assert!(waited >= Duration::from_millis(900), "the wait ended early: {waited:?}");
    assert!(waited < Duration::from_secs(30), "the time limit started again with each signal: {waited:?}");
}

// The broken twins. Each does what the hazard's projects did, and shows the harm that the tests above rule out.

#[test]
fn w3_waiters_that_reopen_wake_each_other() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let attempts = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let host = Native;
                let until = host.now() + Duration::from_millis(300);
                let watched = host.open(&path, Open::Read).unwrap();
                let mut waiter = host.waiter();
                assert!(host.watch(&mut waiter, &watched));
                while host.now() < until {
                    // Closing this description at the end of each attempt is the event that wakes the others.
                    let file = host.open(&path, Open::Read).unwrap();
                    assert!(!host.try_flock(&file, Mode::Exclusive).unwrap());
                    drop(file);
                    attempts.fetch_add(1, Ordering::Relaxed);
                    host.wait(&mut waiter, Some(until));
                }
            });
        }
    });
    drop(held);
    let attempts = attempts.into_inner();
    assert!(attempts > 200, "the twin made {attempts} attempts only, so this shows nothing");
}

#[test]
fn w4_a_wait_given_up_by_leaving_its_thread_leaks_the_lock() {
    let (_directory, path) = lock_path();
    let held = Lock::flock(&path).acquire(Wait::Never).unwrap();
    let blocked = std::thread::spawn({
        let file = std::fs::File::open(&path).unwrap();
        move || file.lock().map(|()| file)
    });
    // The caller's time is over and it goes away; the blocking call does not hear of it and gets the lock.
    held.release().unwrap();
    let _leaked = blocked.join().unwrap().unwrap();
    assert!(
        Lock::flock(&path).try_acquire().unwrap().is_none(),
        "the twin leaked nothing, so this shows nothing"
    );
}

#[test]
fn w6_a_wait_that_takes_a_signal_for_its_end_ends_early() {
    let timeout = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    let pipe = std::io::pipe().unwrap();
    let mut sources = [rustix::event::PollFd::new(&pipe.0, rustix::event::PollFlags::IN)];
    let polled = under_signals(|| rustix::event::poll(&mut sources, Some(&timeout)));
    assert_eq!(polled, Err(Errno::INTR), "the twin waited to the end, so this shows nothing");
}

#[test]
fn w7_a_second_lock_of_one_thread_waits_for_itself() {
    let (_directory, path) = lock_path();
    let first = std::fs::File::create(&path).unwrap();
    first.lock().unwrap();
    let second = std::fs::File::open(&path).unwrap();
    assert!(second.try_lock().is_err(), "a blocking call here would never come back");
    drop(first);
}
