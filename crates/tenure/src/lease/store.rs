//! What a database must do to keep leases.
//!
//! A store keeps one row a name, for ever: the last token, and, while the lease is held, its owner, its tenant and its end by
//! the store's own clock. Each method is **one atomic step** of the store, decided by the store's clock as it is within that
//! step, and safe to repeat: a caller whose answer was lost asks again.
//!
//! A row is *free* if it has no owner and is not kept; if its end has come by the store's clock; or if the store can prove that
//! its owner's process is dead. Only a free row changes its owner, and each change of the owner adds one to the token.

use std::path::PathBuf;
use std::task::Waker;
use std::time::Duration;

use super::{Entry, LossReason, Name, Tenant, Token};
use crate::error::Result;
use crate::wait::Moment;

/// Names one acquisition, and nobody else: a version 4 UUID in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner(String);

impl Owner {
    /// An owner made of random bits.
    pub fn new(high: u64, low: u64) -> Owner {
        let bits = u128::from(high) << 64 | u128::from(low);
        // RFC 9562, section 5.4: version 4, variant 10.
        let bits = bits & !(0xf << 76 | 0b11 << 62) | 0x4 << 76 | 0b10 << 62;
        let hex = format!("{bits:032x}");
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Owner(parts.join("-"))
    }

    /// The UUID.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `None` if the text is no UUID as [`Owner::new`] makes them.
    pub fn parse(text: &str) -> Option<Owner> {
        let number = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
        let (high, low) =
            (u64::try_from(number >> 64).ok()?, u64::try_from(number & u128::from(u64::MAX)).ok()?);
        Some(Owner::new(high, low)).filter(|owner| owner.0 == text)
    }
}

/// What an acquisition asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// Which lease.
    pub name: Name,
    /// Who asks: new for each acquisition, the same in all its attempts. A row that this owner has already is granted
    /// again, with the token that it has.
    pub owner: Owner,
    /// What the store tells others.
    pub tenant: Tenant,
    /// How long the lease lasts from the store's decision on.
    pub ttl: Duration,
    /// Nobody gets the lease earlier than this after the store's decision, whatever becomes of its holder.
    pub at_least: Duration,
    /// No renewal makes it last longer than this from the store's decision on.
    pub at_most: Option<Duration>,
    /// Whether the caller waits and was refused before: then a store may look whether an attempt is worth the while.
    pub again: bool,
}

/// A lease that was granted, as its holder names it to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Which lease.
    pub name: Name,
    /// Whose.
    pub owner: Owner,
    /// With which token.
    pub token: Token,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// The lease is this owner's.
    Granted {
        /// Its token.
        token: Token,
        /// How long it lasts from the store's decision on, without what the store adds for its own safety.
        lasts: Duration,
    },
    /// Somebody else has it. [`Entry::remaining`] says when another attempt is worth the while, if nothing happens before.
    Held(Box<Entry>),
}

/// The answer to a holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It is done; the lease lasts for this time from the store's decision on (zero if it was released).
    Done {
        /// How long, without what the store adds for its own safety.
        lasts: Duration,
    },
    /// The row is not this owner's any more.
    Lost(LossReason),
}

/// What tells a waiter that a lease may have become free.
pub enum Notice {
    /// This file emits a change event at each release; and owners are processes of this machine, whose end can be watched.
    File(PathBuf),
    /// The waker is called at each release for as long as this value lives.
    Called(Box<dyn Send>),
    /// Nothing: the caller asks again and again.
    Nothing,
}

/// A database that keeps leases; see the [module](self) for what it promises.
///
/// Every call comes back, with [`Error::is_unreachable`](crate::Error::is_unreachable) if need be, soon after the moment
/// `until`. Methods may be called from any thread, and from several at once.
pub trait Store: Send + Sync {
    /// The address as people may see it: without a password, and without a name.
    fn address(&self) -> &str;

    /// Gives the lease to the owner if its row is free, or is this owner's already.
    ///
    /// A grant that comes about after the call has failed is taken back, if the store can.
    ///
    /// # Errors
    ///
    /// [`Error::is_unreachable`](crate::Error::is_unreachable) and whatever the store's operation may say. The lease may have
    /// been granted nevertheless: the caller tries again with the same owner, or calls [`Store::abandon`].
    fn acquire(&self, ask: &Ask, until: Moment) -> Result<Attempt>;

    /// Makes the lease last for `ttl` from now on, but no longer than was asked for, and replaces the tenant if one is
    /// given. The row must have this owner and token; whether its time was over does not matter, if nobody else got it.
    ///
    /// # Errors
    ///
    /// As for [`Store::acquire`]; the renewal may have been made.
    fn renew(&self, claim: &Claim, ttl: Duration, tenant: Option<&Tenant>, until: Moment) -> Result<Answer>;

    /// Frees the row if it has this owner and token, or keeps it without an owner for as long as the acquisition asked for.
    /// A row that is not this owner's is left alone. Waiters are told.
    ///
    /// # Errors
    ///
    /// As for [`Store::acquire`]; the release may have been made.
    fn release(&self, claim: &Claim, until: Moment) -> Result<Answer>;

    /// Frees the row whoever has it, and says from whom it was taken; `None` if it was free. The owner hears of it, with the
    /// reason, when it renews or releases. Waiters are told.
    ///
    /// # Errors
    ///
    /// As for [`Store::acquire`]; it may have been done.
    fn break_lease(&self, name: &Name, reason: &str, until: Moment) -> Result<Option<Entry>>;

    /// The row of one lease; `None` if nobody ever had it.
    ///
    /// # Errors
    ///
    /// As for [`Store::acquire`].
    fn look(&self, name: &Name, until: Moment) -> Result<Option<Entry>>;

    /// All rows, by name.
    ///
    /// # Errors
    ///
    /// As for [`Store::acquire`].
    fn list(&self, until: Moment) -> Result<Vec<Entry>>;

    /// Frees the row if this owner has got it by an attempt whose answer was lost; best effort, also after this has returned.
    fn abandon(&self, name: &Name, owner: &Owner);

    /// From now on, and for as long as the notice lives, the caller is told of releases of this lease.
    fn notice(&self, name: &Name, waker: &Waker) -> Notice;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_uuid_of_version_4() {
        let owner = Owner::new(u64::MAX, u64::MAX);
        assert_eq!(owner.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Owner::new(0, 0).as_str(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(Owner::parse(owner.as_str()), Some(owner));
        for text in ["", "x", "ffffffff-ffff-ffff-bfff-ffffffffffff", "ffffffffffff4fffbfffffffffffffff"] {
            assert_eq!(Owner::parse(text), None, "{text}");
        }
    }
}
