//! A store in PostgreSQL has no thread of its own that asks: whichever thread calls does, one that ends or one among many, too.
#![cfg(feature = "postgres")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

mod postgres_server;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use postgres_server::{Database, eventually, shared_server, sql};
use rustix::process::{Pid, WaitOptions, waitpid};
use tenure::{Lease, LeaseStore, Wait};

const TTL: Duration = Duration::from_secs(3600);

/// How many connections there are.
fn connections(database: &Database) -> usize {
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database.name);
    sql(&shared_server(), &query).parse().unwrap()
}

#[test]
fn a_lease_among_a_threads_locals_is_released_when_the_thread_ends() {
    thread_local!(static LEASE: RefCell<Option<Lease>> = const { RefCell::new(None) });
    let database = Database::new();
    let store = LeaseStore::connect(&database.url()).unwrap();
    let taker = store.clone();
    let thread = std::thread::spawn(move || {
        // The local is there before the driver's own ones, and so it is dropped after them.
        LEASE.with_borrow_mut(|lease| *lease = taker.try_acquire("a", TTL).unwrap());
    });
    thread.join().unwrap();
    assert!(store.try_acquire("a", TTL).unwrap().is_some());
}

#[test]
#[expect(unsafe_code, reason = "what no thread can be started in is a process of its own")]
fn where_no_thread_is_to_be_had_a_call_fails_and_does_not_panic() {
    let database = Database::new();
    // SAFETY: glibc keeps its allocator usable in the child, and the child leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let told = catch_unwind(AssertUnwindSafe(|| ask_without_threads(&database.url())));
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(if told.is_ok() { 7 } else { 1 }) };
    }
    let child = Pid::from_raw(child).unwrap();
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(7));
}

#[expect(unsafe_code, reason = "see above")]
fn ask_without_threads(url: &str) {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both change this process alone. The superuser, whom the limit does not bind, becomes another user.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const none), 0);
        assert!(libc::geteuid() != 0 || libc::setuid(65_534) == 0);
    }
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    // A name is looked up by a thread.
    let error = LeaseStore::connect(&url.replace("127.0.0.1", "localhost")).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let store = LeaseStore::connect(url).unwrap();
    let events = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = events.block_on(async { store.holder("a") }).unwrap_err();
    assert!(error.to_string().contains("no thread to be had"), "{error}");
    assert!(store.holder("a").unwrap().is_none());
}

#[test]
fn many_who_ask_at_once_share_connections() {
    let database = Database::new();
    let store = LeaseStore::connect(&database.url()).unwrap();
    std::thread::scope(|scope| {
        for name in 0..64 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..10 {
                    store.acquire(format!("{name}"), TTL, Wait::Never).unwrap().release().unwrap();
                }
            });
        }
    });
    drop(store);
    eventually("its connections are closed", || connections(&database) == 0);
    let query = format!("SELECT sessions FROM pg_stat_database WHERE datname = '{}'", database.name);
    let made: usize = sql(&shared_server(), &query).parse().unwrap();
    // Sixteen are enough; some are made anew as the last ones leave.
    assert!(made <= 36, "{made} connections were made");
}

#[test]
fn a_question_that_fails_leaves_no_connection() {
    let database = Database::new();
    let store = LeaseStore::connect(&database.url()).unwrap();
    database.sql("DROP TABLE tenure_lease");
    assert!(store.holder("a").unwrap_err().is_corrupt());
    eventually("it is closed", || connections(&database) == 0);
}
