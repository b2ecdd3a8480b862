//! Locks, documents and journals that several processes share without losing anything.
//!
//! # Which one do I need?
//!
//! | you have | take |
//! |---|---|
//! | something that only one process (or thread) may do at a time | [`Lock::flock`] |
//! | the same, on a file system that several machines share, or for longer than a process lives | [`Lock::lockfile`] |
//! | a file that several processes read, change and write | [`Document`] |
//! | events that several processes add, and others read one after the other | [`Journal`] |
//!
//! ```
//! use std::time::Duration;
//! use tenure::{Document, Lock, Wait};
//! # let directory = tempfile::tempdir()?;
//! # let (lock, state) = (directory.path().join("job.lock"), directory.path().join("state.json"));
//!
//! let held = Lock::flock(&lock).acquire(Wait::within(Duration::from_secs(5)))?;
//! held.release()?;
//!
//! let bump = |value: &mut serde_json::Value| value["runs"] = (value["runs"].as_u64().unwrap_or(0) + 1).into();
//! let receipt = Document::open(&state).update(Wait::Forever, bump)?;
//! assert!(receipt.changed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! - One exclusive holder of a lock at any time, among threads and processes; nobody holds on after death, and no live
//!   holder is robbed on a guess.
//! - An acknowledged change of a document is never lost, an unacknowledged one is there whole or not at all.
//! - An acknowledged record of a journal stays, and every record is there whole or not at all; a reader gets each once, or
//!   is told that it is gone.
//! - Every wait has the bound its caller chose, burns no processor, and can be told about and cancelled.
//! - Corrupt content is reported with its place and left alone.
//!
//! What it rests on: Linux (5.3 or later), a file system whose `flock(2)`, `rename(2)` and `fsync(2)` keep their
//! word, and that everyone who changes a document or journal takes its lock. The table of promises by file system, and
//! which test proves which, is in the repository under `docs/`.
//!
//! # Blocking
//!
//! Every call may block its thread: for a lock as long as the caller's [`Wait`] says, for a document also as
//! long as the disk takes. On an event loop, run them on its blocking pool.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look at the real system"))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "tenure runs on Linux only for now: the host seam (src/host) is where another system comes in"
);

pub mod document;
pub mod error;
#[expect(unsafe_code, reason = "the one room that touches the operating system; each use is justified")]
pub mod host;
pub mod journal;
pub mod lease;
pub mod lock;
pub mod owner;
mod scratch;
mod target;
pub mod wait;

pub use document::{Document, Durability, Reached, Receipt, Version};
pub use error::{BoxError, Error, Result};
pub use journal::Journal;
pub use lease::{Lease, LeaseStore, Token};
pub use lock::{Contention, Handle, Held, Lock, LossReason, Lost};
pub use owner::{Holder, Holders};
pub use wait::{Cancel, Moment, Patience, Wait};
