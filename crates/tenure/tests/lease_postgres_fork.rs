//! A store in PostgreSQL after a fork: its thread is the parent's, so the child must open one of its own.
#![cfg(feature = "postgres")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

mod postgres_server;

use std::time::Duration;

use postgres_server::Database;
use rustix::process::{Pid, WaitOptions, waitpid};
use tenure::LeaseStore;

#[test]
#[expect(unsafe_code, reason = "fork is what this test is about")]
fn a_forked_child_is_told_to_open_the_store_itself() {
    let database = Database::new();
    let store = LeaseStore::connect(&database.url()).unwrap();
    // SAFETY: glibc keeps its allocator usable in the child, and the child leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let told = store.holder("a").is_err_and(|error| error.is_unsupported());
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(if told { 7 } else { 1 }) };
    }
    let child = Pid::from_raw(child).unwrap();
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(7));
    assert!(store.holder("a").unwrap().is_none());
    store.try_acquire("a", Duration::from_secs(30)).unwrap().unwrap().release().unwrap();
}
