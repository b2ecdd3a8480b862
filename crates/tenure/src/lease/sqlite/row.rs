//! A row of the table: what it says, and what becomes of it. Pure.
//!
//! Times are microseconds of the machine's boot clock; they mean something together with the boot id alone. A row of another
//! boot, or one from the future, is *carried over*: its time starts anew, in full. So a lease that belongs to a handle outlives a
//! reboot by its time to live at most, and never ends early. One that belongs to a process of an earlier boot is free, since
//! that process is dead.

use std::time::Duration;

use crate::lease::store::{Ask, Owner};
use crate::lease::{Entry, LossReason, Name, Occupancy, Tenant, Token};

/// The machine's boot clock, and which boot it counts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) us: i64,
    pub(super) boot: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) fence: i64,
    /// `None`: nobody holds the lease.
    pub(super) owner: Option<String>,
    /// The last one.
    pub(super) tenant: String,
    pub(super) boot: String,
    pub(super) granted_us: i64,
    pub(super) expires_us: i64,
    pub(super) ttl_us: i64,
    pub(super) at_least_us: i64,
    pub(super) at_most_us: Option<i64>,
    /// Whose lease was ended last before its time, and by force if there is a reason.
    pub(super) ended_owner: Option<String>,
    pub(super) ended_reason: Option<String>,
}

impl Row {
    /// The row of a name that nobody has had yet, granted.
    pub(super) fn first(ask: &Ask, now: &Now) -> Row {
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
    pub(super) fn granted(self, ask: &Ask, now: &Now) -> Row {
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
    pub(super) fn carried_over(self, now: &Now) -> Row {
        if self.boot == now.boot && self.granted_us <= now.us {
            return self;
        }
        let ttl_us = self.ttl_us;
        Row { boot: now.boot.clone(), granted_us: now.us, ..self }.lasting(ttl_us, now)
    }

    /// The row after a renewal for this time.
    pub(super) fn lasting(self, ttl_us: i64, now: &Now) -> Row {
        let limit = self.at_most_us.map_or(i64::MAX, |at_most| self.granted_us.saturating_add(at_most));
        Row { ttl_us, expires_us: now.us.saturating_add(ttl_us).min(limit), ..self }
    }

    /// The row after its owner gave the lease up, or it was taken from it for this reason.
    pub(super) fn ended(self, reason: Option<&str>, now: &Now) -> Row {
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
    pub(super) fn is_free(&self, now: &Now, is_dead: impl FnOnce(&Tenant) -> bool) -> bool {
        self.kept_until() <= now.us
            && (self.owner.is_none()
                || self.expires_us <= now.us
                || is_dead(&Tenant::from_json(&self.tenant)))
    }

    pub(super) fn is(&self, owner: &Owner, token: Token) -> bool {
        self.owner.as_deref() == Some(owner.as_str()) && self.fence == token.number()
    }

    /// What a holder is told that holds it no more.
    pub(super) fn why_lost(&self, owner: &Owner) -> LossReason {
        match (&self.ended_owner, &self.ended_reason) {
            (Some(ended), Some(reason)) if ended == owner.as_str() => LossReason::Forced(reason.clone()),
            (Some(ended), None) if ended == owner.as_str() => LossReason::Released,
            _ => LossReason::Stolen,
        }
    }

    /// How long the lease lasts from now on.
    pub(super) fn lasts(&self, now: &Now) -> Duration {
        time(self.expires_us - now.us)
    }

    pub(super) fn entry(&self, token: Token, now: &Now, is_dead: impl FnOnce(&Tenant) -> bool) -> Entry {
        let tenant = Tenant::from_json(&self.tenant);
        let remaining =
            self.kept_until().max(if self.owner.is_some() { self.expires_us } else { 0 }) - now.us;
        let (occupancy, remaining) = match () {
            () if self.is_free(now, is_dead) => (Occupancy::Free, Duration::ZERO),
            () if self.owner.is_some() && self.expires_us > now.us => {
                (Occupancy::Held(tenant), time(remaining))
            }
            () => (Occupancy::Kept(tenant), time(remaining)),
        };
        let held_for = time(now.us - self.granted_us);
        Entry::new(Name::from(self.name.as_str()), token, occupancy, held_for, remaining)
    }
}

pub(super) fn micros(time: Duration) -> i64 {
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
        let entry = released.entry(Token::new(1).unwrap(), &now(50, "a"), alive);
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
