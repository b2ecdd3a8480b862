//! A row of a store's table: what it says, and what becomes of it. Pure.
//!
//! The SQLite store keeps these rows, and the model checker runs these very decisions. Whoever calls them does so within one
//! atomic step of the store that reads the row, and the clock after it, and writes what comes back.
//!
//! Times are microseconds of the store's clock; they mean something together with the clock's epoch alone (SQLite: the machine's
//! boot clock, and which boot it is). A row of another epoch, or one from the future, is *carried over*: its time starts
//! anew, in full. So a lease that belongs to a handle outlives a reboot by its time to live at most, and never ends early. One
//! that belongs to a process of an earlier boot is free, since that process is dead.

use std::time::Duration;

use super::store::{Answer, Ask, Attempt, Claim, Owner};
use super::{Entry, LossReason, Name, Occupancy, Tenant, Token};

/// The store's clock, and which epoch it counts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Now {
    /// Microseconds.
    pub us: i64,
    /// SQLite: the boot.
    pub boot: String,
}

/// What is kept of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The lease.
    pub name: String,
    /// The last token.
    pub fence: i64,
    /// `None`: nobody holds the lease.
    pub owner: Option<String>,
    /// The last one, as JSON.
    pub tenant: String,
    /// The epoch of its times.
    pub boot: String,
    /// When the lease was given to its owner.
    pub granted_us: i64,
    /// When it ends.
    pub expires_us: i64,
    /// How long it was to last when that was set.
    pub ttl_us: i64,
    /// How long after the grant nobody else gets it.
    pub at_least_us: i64,
    /// How long after the grant no renewal helps.
    pub at_most_us: Option<i64>,
    /// Whose lease was ended last before its time, and by force if there is a reason.
    pub ended_owner: Option<String>,
    /// That reason.
    pub ended_reason: Option<String>,
}

/// Gives the lease to the one who asks, if the row is free or is this owner's already, and says what is to be written, and
/// answered; no answer for a row that this version can't have written.
///
/// The row is written in any case, since it may have been carried over.
pub fn acquire(
    row: Option<Row>,
    ask: &Ask,
    now: &Now,
    is_dead: impl Fn(&Tenant) -> bool,
) -> (Row, Option<Attempt>) {
    let row = match row.map(|row| row.carried_over(now)) {
        None => Row::first(ask, now),
        Some(row) if row.is_for(ask, now, &is_dead) => row.granted(ask, now),
        Some(row) => {
            let held = row.entry(now, is_dead).map(|entry| Attempt::Held(Box::new(entry)));
            return (row, held);
        }
    };
    let token = Token::new(row.fence);
    let granted = token.map(|token| Attempt::Granted { token, lasts: row.lasts(now) });
    (row, granted)
}

/// Makes the lease of this claim last for `ttl`: what is to be written, if anything, and answered.
pub fn renew(
    row: Option<Row>,
    claim: &Claim,
    ttl: Duration,
    tenant: Option<&Tenant>,
    now: &Now,
) -> (Option<Row>, Answer) {
    match row.map(|row| row.carried_over(now)) {
        Some(row) if row.is(claim) => {
            let tenant = tenant.map_or_else(|| row.tenant.clone(), Tenant::to_json);
            let row = Row { tenant, ..row.lasting(micros(ttl), now) };
            let lasts = row.lasts(now);
            (Some(row), Answer::Done { lasts })
        }
        row => (None, Answer::Lost(why_lost(row.as_ref(), claim))),
    }
}

/// Ends the lease of this claim: what is to be written, if anything, and answered.
pub fn release(row: Option<Row>, claim: &Claim, now: &Now) -> (Option<Row>, Answer) {
    let done = Answer::Done { lasts: Duration::ZERO };
    match row.map(|row| row.carried_over(now)) {
        Some(row) if row.is(claim) => (Some(row.ended(None, now)), done),
        row => match why_lost(row.as_ref(), claim) {
            // The answer to an earlier call was lost.
            LossReason::Released => (None, done),
            reason => (None, Answer::Lost(reason)),
        },
    }
}

/// Ends the lease whoever has it: what is to be written, and the row as it was; nothing if nobody had it. Also one whose time is
/// over: else its owner might still renew it.
pub fn end_by_force(
    row: Option<Row>,
    reason: &str,
    now: &Now,
    is_dead: impl Fn(&Tenant) -> bool,
) -> Option<(Row, Row)> {
    let row = row
        .map(|row| row.carried_over(now))
        .filter(|row| row.owner.is_some() || !row.is_free(now, is_dead))?;
    Some((row.clone().ended(Some(reason), now), row))
}

/// Ends this owner's lease, if it has it: what is to be written, if anything.
pub fn abandon(row: Option<Row>, owner: &Owner, now: &Now) -> Option<Row> {
    let row = row.map(|row| row.carried_over(now)).filter(|row| row.has(owner))?;
    Some(row.ended(None, now))
}

fn why_lost(row: Option<&Row>, claim: &Claim) -> LossReason {
    row.map_or(LossReason::Stolen, |row| row.why_lost(&claim.owner))
}

impl Row {
    /// The row of a name that nobody has had yet, granted.
    fn first(ask: &Ask, now: &Now) -> Row {
        let row = Row {
            name: ask.name.as_str().to_owned(),
            fence: 0,
            owner: None,
            tenant: String::new(),
            boot: String::new(),
            granted_us: 0,
            expires_us: 0,
            ttl_us: 0,
            at_least_us: 0,
            at_most_us: None,
            ended_owner: None,
            ended_reason: None,
        };
        row.granted(ask, now)
    }

    /// The row after its lease was given to the one who asks, who may have it already.
    fn granted(self, ask: &Ask, now: &Now) -> Row {
        let owner = Some(ask.owner.as_str().to_owned());
        let ttl_us = micros(ask.ttl);
        let fence = if self.owner == owner { self.fence } else { self.fence + 1 };
        let row = Row {
            fence,
            owner,
            tenant: ask.tenant.to_json(),
            boot: now.boot.clone(),
            granted_us: now.us,
            ttl_us,
            at_least_us: micros(ask.at_least),
            at_most_us: ask.at_most.map(micros),
            ..self
        };
        row.lasting(ttl_us, now)
    }

    /// The row as it is to be read now.
    pub fn carried_over(self, now: &Now) -> Row {
        let same = self.boot == now.boot;
        // Also one that ends later than any clock that has not run backward since would have said.
        if same && self.granted_us <= now.us && self.expires_us <= now.us.saturating_add(self.ttl_us) {
            return self;
        }
        let granted_us = if same { self.granted_us.min(now.us) } else { now.us };
        let ttl_us = self.ttl_us;
        Row { boot: now.boot.clone(), granted_us, ..self }.lasting(ttl_us, now)
    }

    /// The row after a renewal for this time.
    fn lasting(self, ttl_us: i64, now: &Now) -> Row {
        let limit = self.at_most_us.map_or(i64::MAX, |at_most| self.granted_us.saturating_add(at_most));
        Row { ttl_us, expires_us: now.us.saturating_add(ttl_us).min(limit), ..self }
    }

    /// The row after its owner gave the lease up, or it was taken from it for this reason.
    fn ended(self, reason: Option<&str>, now: &Now) -> Row {
        let at_least_us = if reason.is_some() { 0 } else { self.at_least_us };
        Row {
            ended_owner: self.owner,
            ended_reason: reason.map(str::to_owned),
            owner: None,
            expires_us: now.us,
            at_least_us,
            ..self
        }
    }

    fn kept_until(&self) -> i64 {
        self.granted_us.saturating_add(self.at_least_us)
    }

    /// Whether the lease can be given to another: nobody has it, or its time is over, or its owner is known to be dead; and
    /// it is not kept.
    pub fn is_free(&self, now: &Now, is_dead: impl FnOnce(&Tenant) -> bool) -> bool {
        self.kept_until() <= now.us
            && (self.owner.is_none()
                || self.expires_us <= now.us
                || is_dead(&Tenant::from_json(&self.tenant)))
    }

    /// Whether the one who asks may have the lease.
    pub fn is_for(&self, ask: &Ask, now: &Now, is_dead: impl FnOnce(&Tenant) -> bool) -> bool {
        self.has(&ask.owner) || self.is_free(now, is_dead)
    }

    fn has(&self, owner: &Owner) -> bool {
        self.owner.as_deref() == Some(owner.as_str())
    }

    fn is(&self, claim: &Claim) -> bool {
        self.has(&claim.owner) && self.fence == claim.token.number()
    }

    /// What a holder is told that holds it no more.
    fn why_lost(&self, owner: &Owner) -> LossReason {
        match (&self.ended_owner, &self.ended_reason) {
            (Some(ended), Some(reason)) if ended == owner.as_str() => LossReason::Forced(reason.clone()),
            (Some(ended), None) if ended == owner.as_str() => LossReason::Released,
            _ => LossReason::Stolen,
        }
    }

    fn lasts(&self, now: &Now) -> Duration {
        time(self.expires_us - now.us)
    }

    /// The row as others are shown it; `None` for one that this version can't have written.
    pub fn entry(&self, now: &Now, is_dead: impl FnOnce(&Tenant) -> bool) -> Option<Entry> {
        let tenant = Tenant::from_json(&self.tenant);
        let holds = self.owner.is_some() && self.expires_us > now.us && !is_dead(&tenant);
        let (occupancy, until) = match holds {
            true => (Occupancy::Held(tenant), self.expires_us.max(self.kept_until())),
            false if self.kept_until() > now.us => (Occupancy::Kept(tenant), self.kept_until()),
            false => (Occupancy::Free, now.us),
        };
        let remaining = time(until - now.us);
        let held_for = time(now.us - self.granted_us);
        let token = Token::new(self.fence)?;
        Some(Entry::new(Name::from(self.name.as_str()), token, occupancy, held_for, remaining))
    }
}

/// A time as rows keep it.
pub fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn time(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Native;

    fn now(us: i64, boot: &str) -> Now {
        Now { us, boot: boot.to_owned() }
    }

    fn ask(n: u64) -> Ask {
        Ask {
            name: "plan".into(),
            owner: Owner::new(0, n),
            tenant: Tenant::here(&Native),
            ttl: Duration::from_micros(30),
            at_least: Duration::ZERO,
            at_most: None,
            again: false,
        }
    }

    fn alive(_: &Tenant) -> bool {
        false
    }

    #[test]
    fn a_lease_is_free_when_its_time_is_over_and_not_before() {
        let row = Row::first(&ask(1), &now(100, "a"));
        assert!(!row.is_free(&now(129, "a"), alive));
        assert!(row.is_free(&now(130, "a"), alive));
        assert!(row.is_free(&now(101, "a"), |_| true), "its owner is dead");
        assert!(row.clone().ended(None, &now(101, "a")).is_free(&now(101, "a"), alive));
    }

    #[test]
    fn the_token_grows_with_each_owner_and_with_nothing_else() {
        let row = Row::first(&ask(1), &now(100, "a"));
        let again = row.clone().granted(&ask(1), &now(110, "a"));
        assert_eq!((row.fence, again.fence, again.expires_us), (1, 1, 140));
        let other = again.ended(None, &now(120, "a")).granted(&ask(2), &now(121, "a"));
        assert_eq!(other.fence, 2);
        assert_eq!(other.granted(&ask(1), &now(200, "a")).fence, 3);
    }

    #[test]
    fn time_starts_anew_after_a_reboot_and_on_a_clock_that_ran_backward() {
        let row = Row::first(&ask(1), &now(1_000_000, "a"));
        for later in [now(5, "b"), now(999_999, "a")] {
            let row = row.clone().carried_over(&later);
            assert_eq!((row.granted_us, row.expires_us), (later.us, later.us + 30));
            assert!(!row.is_free(&now(later.us + 29, &later.boot), alive));
            assert!(row.is_free(&now(later.us + 30, &later.boot), alive));
        }
        assert_eq!(row.clone().carried_over(&now(1_000_020, "a")), row);
        // It was renewed, and then the clock ran back by less than it had been held for.
        let renewed = row.lasting(30, &now(1_000_025, "a"));
        assert_eq!(renewed.clone().carried_over(&now(1_000_025, "a")), renewed);
        let back = renewed.carried_over(&now(1_000_005, "a"));
        assert_eq!((back.granted_us, back.expires_us), (1_000_000, 1_000_035));
    }

    #[test]
    fn a_kept_lease_is_free_neither_by_release_nor_by_death() {
        let ask =
            Ask { at_least: Duration::from_micros(100), at_most: Some(Duration::from_micros(110)), ..ask(1) };
        let row = Row::first(&ask, &now(0, "a"));
        let released = row.clone().ended(None, &now(10, "a"));
        for row in [&row, &released] {
            assert!(!row.is_free(&now(99, "a"), |_| true));
            assert!(row.is_free(&now(100, "a"), |_| true));
        }
        let entry = released.entry(&now(50, "a"), alive).unwrap();
        assert!(matches!(entry.occupancy, Occupancy::Kept(_)));
        assert_eq!(entry.remaining, Duration::from_micros(50));
        assert!(row.clone().ended(Some("so"), &now(10, "a")).is_free(&now(10, "a"), alive), "by force");
        // No renewal goes beyond the limit.
        assert_eq!(row.clone().lasting(30, &now(60, "a")).expires_us, 90);
        assert_eq!(row.lasting(30, &now(100, "a")).expires_us, 110);
    }

    #[test]
    fn a_loss_has_its_reason() {
        let (one, two) = (ask(1), ask(2));
        let row = Row::first(&one, &now(0, "a"));
        let forced = row.clone().ended(Some("maintenance"), &now(1, "a"));
        assert_eq!(forced.why_lost(&one.owner), LossReason::Forced("maintenance".into()));
        let taken = forced.granted(&two, &now(2, "a"));
        assert_eq!(taken.why_lost(&one.owner), LossReason::Forced("maintenance".into()));
        assert_eq!(taken.ended(None, &now(3, "a")).why_lost(&one.owner), LossReason::Stolen);
        assert_eq!(row.clone().ended(None, &now(1, "a")).why_lost(&one.owner), LossReason::Released);
        assert_eq!(row.granted(&two, &now(50, "a")).why_lost(&one.owner), LossReason::Stolen);
    }
}
