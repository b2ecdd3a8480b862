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
use std::process::Command;
use std::time::Duration;

use postgres_server::{Database, eventually, shared_server, sql};
use rustix::process::{Resource, Rlimit, Uid, geteuid, setrlimit};
use rustix::thread::set_thread_uid;
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

/// In a process of its own, which gets no thread any more.
#[test]
fn where_no_thread_is_to_be_had_a_call_fails_and_does_not_panic() {
    const URL: &str = "TENURE_TEST_WITHOUT_THREADS";
    if let Ok(url) = std::env::var(URL) {
        return ask_without_threads(&url);
    }
    let database = Database::new();
    let test = "where_no_thread_is_to_be_had_a_call_fails_and_does_not_panic";
    let mut again = Command::new(std::env::current_exe().unwrap());
    let ended = again.args(["--exact", test, "--nocapture"]).env(URL, database.url()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

fn ask_without_threads(url: &str) {
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    if geteuid().is_root() {
        // The limit does not bind the superuser.
        set_thread_uid(Uid::from_raw(65_534)).unwrap();
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
    assert!(made <= 48, "{made} connections were made");
}

#[test]
fn a_question_that_fails_leaves_no_connection() {
    let database = Database::new();
    let store = LeaseStore::connect(&database.url()).unwrap();
    database.sql("DROP TABLE tenure_lease");
    assert!(store.holder("a").unwrap_err().is_corrupt());
    eventually("it is closed", || connections(&database) == 0);
}
