//! When a lease is renewed, and from when on it is lost. Pure: moments go in, decisions come out.
//!
//! The store counts a lease's time from the moment at which it decides, the holder from before it asked. So, clocks running
//! alike, the holder's time is over first, however long question and answer took; a margin covers clocks that do not quite run
//! alike. Whether the store's clock may jump is the store's concern: one whose clock may adds a bound to the time after which
//! it gives a lease to another, and tells the holder nothing of it.

use std::time::Duration;

use super::LossReason;
use crate::wait::Moment;

/// The shortest time to live. Below it, a renewal at a third of it would race the scheduler.
pub const TTL_MIN: Duration = Duration::from_millis(100);

/// The longest time to live: ten years. Who wants a lease for ever renews it.
pub const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What is wrong with a time to live.
pub(super) fn problem(ttl: Duration) -> Option<String> {
    let refused = !(TTL_MIN..=TTL_MAX).contains(&ttl);
    refused.then(|| {
        format!("a time to live of {ttl:?} is refused: it is from {TTL_MIN:?} to 10 years (of 365 days)")
    })
}

/// How many renewals fit into a time to live.
const BEATS: u32 = 3;

/// The first and the longest pause after a renewal that failed, as parts of the time to live.
const RETRY: (u32, u32) = (24, 6);

/// How much earlier than by its own count a holder takes its lease for lost: two clocks differ by far less than one part in a
/// hundred; the rest is for a thread that has to be woken.
pub fn margin(lasts: Duration) -> Duration {
    Duration::from_millis(5) + lasts / 100
}

/// One holder's knowledge of its lease, on its own clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenancy {
    ttl: Duration,
    /// When the last renewal that succeeded was asked for.
    began: Moment,
    deadline: Moment,
    /// No renewal before this.
    next: Moment,
    failures: u32,
    /// A renewal beyond this is of no use: the holder asked for no more.
    limit: Option<Moment>,
    loss: Option<LossReason>,
}

impl Tenancy {
    /// A lease that was asked for at `began` and granted for the time `lasts`, at most until `limit`.
    pub fn granted(began: Moment, ttl: Duration, lasts: Duration, limit: Option<Moment>) -> Tenancy {
        let mut tenancy =
            Tenancy { ttl, began, deadline: began, next: began, failures: 0, limit, loss: None };
        tenancy.confirmed(began, lasts);
        tenancy
    }

    /// The store has renewed the lease, as it was asked at `began`, for the time `lasts`.
    ///
    /// It revives nothing: a lease whose loss was told stays lost.
    pub fn confirmed(&mut self, began: Moment, lasts: Duration) {
        let deadline = began + lasts.saturating_sub(margin(lasts));
        self.deadline = self.limit.map_or(deadline, |limit| limit.min(deadline));
        self.began = began;
        self.failures = 0;
        self.next = began + self.ttl / BEATS;
    }

    /// The store did not answer, or could not do it, by `now`.
    pub fn failed(&mut self, now: Moment) {
        let (first, longest) = (self.ttl / RETRY.0, self.ttl / RETRY.1);
        let pause = first.saturating_mul(1 << self.failures.min(8)).min(longest);
        self.failures += 1;
        self.next = now + pause;
    }

    /// The store has said that the lease is another's, or nobody's.
    pub fn refused(&mut self, reason: LossReason) {
        self.loss.get_or_insert(reason);
    }

    /// Whether the lease is lost at `now`, and why. Once lost, it stays so.
    pub fn loss(&mut self, now: Moment) -> Option<&LossReason> {
        if self.loss.is_none() && now >= self.deadline {
            // Renewals that failed are the reason; without one, nobody came to renew: the machine slept, or the limit is reached.
            let reason = if self.failures > 0 { LossReason::Unreachable } else { LossReason::Expired };
            self.loss = Some(reason);
        }
        self.loss.as_ref()
    }

    /// From when on the lease is lost unless it is renewed.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// When to renew; `None` if a renewal would gain nothing, since the lease lasts as long as it may.
    pub fn renewal(&self) -> Option<Moment> {
        (self.limit != Some(self.deadline)).then_some(self.next.min(self.deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_clock(Duration::from_millis(milliseconds))
    }

    const TTL: Duration = Duration::from_secs(30);

    #[test]
    fn the_holders_time_ends_before_the_stores() {
        let tenancy = Tenancy::granted(at(1000), TTL, TTL, None);
        assert_eq!(tenancy.deadline(), at(1000 + 30_000 - 305));
        assert_eq!(tenancy.renewal(), Some(at(11_000)));
        // A store that gives less time than its own margin gives none.
        let mut stillborn = Tenancy::granted(at(1000), TTL, Duration::from_millis(5), None);
        assert_eq!(stillborn.loss(at(1000)), Some(&LossReason::Expired));
    }

    #[test]
    fn failures_are_tried_again_sooner_and_then_later() {
        let mut tenancy = Tenancy::granted(at(0), TTL, TTL, None);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            tenancy.failed(at(10_000));
            pauses.push(tenancy.renewal().unwrap().since(at(10_000)).as_millis());
        }
        assert_eq!(pauses, [1250, 2500, 5000, 5000, 5000]);
        assert_eq!(tenancy.loss(at(29_694)), None);
        assert_eq!(tenancy.loss(at(29_695)), Some(&LossReason::Unreachable));
        tenancy.confirmed(at(29_000), TTL);
        assert_eq!(tenancy.loss(at(29_001)), Some(&LossReason::Unreachable), "what was told stays true");
    }

    #[test]
    fn no_renewal_goes_beyond_the_limit() {
        let mut tenancy = Tenancy::granted(at(0), TTL, TTL, Some(at(50_000)));
        assert_eq!(tenancy.renewal(), Some(at(10_000)));
        tenancy.confirmed(at(10_000), TTL);
        tenancy.confirmed(at(20_000), TTL);
        assert_eq!((tenancy.deadline(), tenancy.renewal()), (at(49_695), Some(at(30_000))));
        tenancy.confirmed(at(30_000), TTL);
        assert_eq!((tenancy.deadline(), tenancy.renewal()), (at(50_000), None));
        assert_eq!(tenancy.loss(at(50_000)), Some(&LossReason::Expired));
    }

    #[test]
    fn a_refusal_is_final() {
        let mut tenancy = Tenancy::granted(at(0), TTL, TTL, None);
        tenancy.refused(LossReason::Forced("maintenance".into()));
        tenancy.refused(LossReason::Stolen);
        assert_eq!(tenancy.loss(at(1)), Some(&LossReason::Forced("maintenance".into())));
    }
}
