//! What leases promise, on each real store: the contract, the edges of each store, the races that other people's leases lost,
//! and histories of clients that are stopped, killed and cut off.
//!
//! PostgreSQL's tests need a server: `scripts/with-postgres cargo test -p tenure --all-features --test lease`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    missing_docs,
    reason = "tests look at the real system"
)]

mod contract;
mod handles;
mod histories;
mod holding;
mod losing;
#[path = "../mounted/mod.rs"]
mod mounted;
mod opening;
mod place;
#[cfg(feature = "postgres")]
#[path = "../postgres_server/mod.rs"]
mod postgres_server;
mod races;
#[cfg(feature = "postgres")]
mod raw;
mod sqlite_files;
mod sqlite_owners;
mod stalled;
mod waiting;
mod worker;
