//! A lock with an owner, a lifetime and a fencing token, kept by a database.

mod token;

pub use token::{NotAToken, Token};
