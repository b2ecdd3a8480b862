//! Runs the shipped protocols of Tenure through every interleaving, crash, fault and power loss within stated bounds.
//!
//! - [`op`]: a host call as a value. [`world`]: what executes it: file system, processes, machines, clocks, the disk.
//! - [`host`]: the `Host` that turns a protocol's calls into values; each process is a coroutine.
//! - [`explore`]: who goes next, and what goes wrong: every choice ([`explore::search`]), or random ones
//!   ([`explore::random`]).
//! - [`scenario`]: what is run within which bounds. [`scenarios`]: the shipped protocols, which must pass. [`broken`]: their
//!   twins, each with one mistake that was made somewhere, which must be caught.
//!
//! What is not modelled: two threads of one process (its queues are tested on the real system), fork, signals, reads and
//! writes that overlap at the same file (no protocol does that), access rights, several directories in one rename, and a
//! second power loss during recovery.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed expectation is how a test fails"))]

pub mod broken;
pub mod explore;
#[expect(unsafe_code, reason = "a coroutine's way back to its scheduler is a pointer")]
pub mod host;
pub mod op;
pub mod scenario;
pub mod scenarios;
pub mod world;
