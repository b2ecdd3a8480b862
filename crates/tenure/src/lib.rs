//! Locks and documents that several processes share without losing anything.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look at the real system"))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "tenure runs on Linux only for now: the host seam (src/host) is where another system comes in"
);

pub mod document;
pub mod error;
#[expect(unsafe_code, reason = "the one room that touches the operating system; each use is justified")]
pub mod host;
pub mod lock;
pub mod owner;
pub mod wait;

pub use document::{Document, Durability, Reached, Receipt, Version};
pub use error::{BoxError, Error, Result};
pub use lock::{Contention, Held, Lock};
pub use owner::{Holder, Holders};
pub use wait::{Cancel, Moment, Patience, Wait};
