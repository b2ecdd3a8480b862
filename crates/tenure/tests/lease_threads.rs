//! Promise: leases that are released soon cost no thread, and what a store has started ends with it.
//!
//! One test, in a process of its own: it counts the threads.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::time::{Duration, Instant};

use tenure::{LeaseStore, Wait};

/// The library's threads of this process.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "tenure").count()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "still not: {what}; there are {}", threads());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn threads_come_with_the_first_renewal_and_go_with_the_store() {
    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_secs(3);
    let directory = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}", directory.path().join("l.db").display());
    let store = LeaseStore::connect(&address).unwrap();
    for _ in 0..50 {
        store.acquire("a", LONG, Wait::Never).unwrap().release().unwrap();
    }
    let long = store.acquire("a", LONG, Wait::Never).unwrap();
    assert!(threads() <= 1, "{} threads", threads());
    // The starter, which sleeps for a long one, must wake for a short one that comes later.
    let short = store.acquire("b", SHORT, Wait::Never).unwrap();
    let deadline = short.deadline();
    eventually("it is renewed", || short.deadline() > deadline);
    assert_eq!(threads(), 2, "the starter, and the keeper of the short one");
    short.release().unwrap();
    eventually("the keeper is gone", || threads() == 1);
    drop(store);
    assert!(long.is_held() && threads() == 1, "a lease may outlive its store");
    drop(long);
    eventually("all are gone", || threads() == 0);
}
