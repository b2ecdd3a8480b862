//! A lease that its holder holds no longer.

use std::fmt;

use super::{Name, Token};
use crate::owner::Shown;

/// Why a lease was lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// Its time was over before anybody renewed it: the machine or the process was stopped, or it was limited.
    Expired,
    /// Its time was over before the store could be asked to renew it.
    Unreachable,
    /// Another has it, with a newer token: the store's clock jumped, or the store forgot what it had acknowledged.
    Stolen,
    /// Somebody who has its handle released it.
    Released,
    /// Somebody released it by force, for this reason.
    Forced(String),
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LossReason::Expired => f.write_str("its time was over before it was renewed"),
            LossReason::Unreachable => f.write_str("its time was over before its store answered a renewal"),
            LossReason::Stolen => f.write_str("another has it, or its store knows it no longer"),
            LossReason::Released => f.write_str("it was released"),
            LossReason::Forced(reason) => write!(f, "it was released by force: {}", Shown(reason)),
        }
    }
}

/// A lease that is lost, as told to [`Lease::on_loss`](super::Lease::on_loss).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Which lease.
    pub name: Name,
    /// The token that it had. Whoever enforces tokens refuses it from now on.
    pub token: Token,
    /// Why.
    pub reason: LossReason,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the lease {} (token {}) was lost: {}", self.name, self.token, self.reason)
    }
}
