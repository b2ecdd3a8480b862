//! Runs the shipped protocols of Tenure through every interleaving, crash, fault and power loss within stated bounds.
//!
//! - [`op`]: a host call as a value. [`world`]: what executes it: file system, processes, machines, clocks, the disk.
//! - [`host`]: the `Host` that turns a protocol's calls into values; each process is a coroutine.
//! - [`explore`]: who goes next, and what goes wrong: every choice ([`explore::search`]), or random ones
//!   ([`explore::random`]).
//! - [`scenario`]: what is run within which bounds. [`scenarios`]: the shipped protocols, which must pass. [`broken`]: their
//!   twins, each with one mistake that was made somewhere, which must be caught.
//!
//! What is not modelled:
//!
//! - two threads of one process (its queues are tested on the real system), fork, signals, access rights, several
//!   directories in one rename, reads and writes that overlap at the same file (no protocol does that), and the change of
//!   a held flock's mode, which the kernel may lose;
//! - the single steps of an end: the kernel closes one descriptor after the other, each notice before its lock falls, and
//!   the pid lives on for a while. Here all of it is one step;
//! - a listing in which some of what happened meanwhile shows: here it is one moment;
//! - a wait that times out while others could go on, but for the ticks of a setting: else the clock runs only while
//!   everybody waits;
//! - power: times, modes and owners are on the disk at once (so a renewal is never lost by a power loss); a write is
//!   torn in its middle only; only settings of journals have both a fault and a power loss; no second power loss comes
//!   during recovery, but a scenario may begin with what a first one left;
//! - leases: the keeper's thread beside its caller's, more than one name, a store that forgets what it acknowledged;
//! - a change in doubt is one from its process's first call on, whether or not it was begun in truth;
//! - a file's number is used again in one order only: the one that was freed last goes first.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed expectation is how a test fails"))]

pub mod broken;
pub mod explore;
#[expect(unsafe_code, reason = "a coroutine's way back to its scheduler is a pointer")]
pub mod host;
pub mod op;
pub mod scenario;
pub mod scenarios;
pub mod world;
