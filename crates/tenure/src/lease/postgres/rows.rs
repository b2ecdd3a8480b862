//! What a row says. Pure.

use std::time::Duration;

use crate::lease::store::{Answer, Claim, Owner};
use crate::lease::{Entry, LossReason, Name, Occupancy, Tenant, Token};

/// A row of the statements' answers, times in microseconds of the server's clock.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// Whether the statement did what was asked; else the row is in the way.
    pub(super) done: bool,
    name: String,
    fence: i64,
    owner: Option<String>,
    holder: String,
    granted: i64,
    expires: i64,
    term: i64,
    at_least: i64,
    ended_owner: Option<String>,
    ended_fence: Option<i64>,
    ended_reason: Option<String>,
    now: i64,
}

impl Lease {
    /// Reads a row; a text if it is none.
    pub(super) fn read(row: &tokio_postgres::Row) -> Result<Lease, String> {
        let read = || {
            Ok(Lease {
                done: row.try_get("done")?,
                name: row.try_get("name")?,
                fence: row.try_get("fence")?,
                owner: row.try_get("owner")?,
                holder: row.try_get("holder")?,
                granted: row.try_get("granted_us")?,
                expires: row.try_get("expires_us")?,
                term: row.try_get("term_us")?,
                at_least: row.try_get("at_least_us")?,
                ended_owner: row.try_get("ended_owner")?,
                ended_fence: row.try_get("ended_fence")?,
                ended_reason: row.try_get("ended_reason")?,
                now: row.try_get("now_us")?,
            })
        };
        let lease: Lease = read().map_err(|error: tokio_postgres::Error| error.to_string())?;
        match lease.token() {
            Some(_) => Ok(lease),
            None => Err(format!("the token {} of {:?} is none", lease.fence, lease.name)),
        }
    }

    pub(super) fn token(&self) -> Option<Token> {
        Token::new(self.fence)
    }

    /// How long the holder was given, without the bound for the clock.
    pub(super) fn lasts(&self, clock_bound: Duration) -> Duration {
        micros(self.term).saturating_sub(clock_bound)
    }

    /// Whether its times lie further ahead than they were set: the clock jumped backward.
    pub(super) fn runs_ahead(&self) -> bool {
        self.expires > self.now.saturating_add(self.term) || self.granted > self.now
    }

    /// Whether the row is this owner's.
    pub(super) fn belongs_to(&self, owner: &Owner) -> bool {
        self.owner.as_deref() == Some(owner.as_str())
    }

    /// The row as others may see it.
    pub(super) fn entry(&self) -> Entry {
        let broken = self.ended_fence == Some(self.fence) && self.ended_reason.is_some();
        if broken { self.shown(0, 0) } else { self.before_its_end() }
    }

    /// The row as it was before it was broken.
    pub(super) fn before_its_end(&self) -> Entry {
        let held = self.expires.saturating_sub(self.now).clamp(0, self.term.max(0));
        let kept = self.granted.saturating_add(self.at_least).saturating_sub(self.now);
        self.shown(held, kept.clamp(0, self.at_least.max(0)))
    }

    fn shown(&self, held: i64, kept: i64) -> Entry {
        let tenant = || Tenant::from_json(&self.holder);
        let occupancy = match (held, kept) {
            (1.., _) => Occupancy::Held(tenant()),
            (_, 1..) => Occupancy::Kept(tenant()),
            _ => Occupancy::Free,
        };
        let token = self.token().expect("a row without a token is not read");
        let held_for = micros(self.now.saturating_sub(self.granted));
        Entry::new(Name::from(self.name.as_str()), token, occupancy, held_for, micros(held.max(kept)))
    }

    /// What a holder is told to whom the row, as it is, does not belong; `None` if it does.
    pub(super) fn refusal(&self, claim: &Claim, releases: bool) -> Option<Answer> {
        let token = claim.token.number();
        if self.belongs_to(&claim.owner) && self.fence == token {
            return None;
        }
        let ended =
            self.ended_owner.as_deref() == Some(claim.owner.as_str()) && self.ended_fence == Some(token);
        Some(match &self.ended_reason {
            Some(reason) if ended => Answer::Lost(LossReason::Forced(reason.clone())),
            // The answer to its release was lost, and it releases again.
            None if ended && releases => Answer::Done { lasts: Duration::ZERO },
            None if ended => Answer::Lost(LossReason::Released),
            _ => Answer::Lost(LossReason::Stolen),
        })
    }
}

/// A time as the server counts. What is longer than it can count is as good as for ever.
pub(super) fn as_micros(time: Duration) -> i64 {
    // A third of the range, so that sums stay in it.
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn micros(count: i64) -> Duration {
    Duration::from_micros(count.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn row(change: impl FnOnce(&mut Lease)) -> Lease {
        let mut lease = Lease {
            done: false,
            name: "a".to_owned(),
            fence: 3,
            owner: Some(owner(1).as_str().to_owned()),
            holder: "{\"host\":\"here\"}".to_owned(),
            granted: 100 * SECOND,
            expires: 131 * SECOND,
            term: 31 * SECOND,
            at_least: 0,
            ended_owner: None,
            ended_fence: None,
            ended_reason: None,
            now: 110 * SECOND,
        };
        change(&mut lease);
        lease
    }

    fn owner(n: u64) -> Owner {
        Owner::new(0, n)
    }

    fn claim(n: u64, token: i64) -> Claim {
        Claim { name: "a".into(), owner: owner(n), token: Token::new(token).unwrap() }
    }

    #[test]
    fn a_row_is_held_kept_or_free() {
        type Change = fn(&mut Lease);
        let cases: [(Change, u64, &str); 7] = [
            (|_| (), 21, "Held"),
            (|row| row.now = 131 * SECOND, 0, "Free"),
            (|row| (row.owner, row.expires, row.term) = (None, 0, 0), 0, "Free"),
            (|row| (row.owner, row.expires, row.term, row.at_least) = (None, 0, 0, 15 * SECOND), 5, "Kept"),
            (|row| row.at_least = 60 * SECOND, 50, "Held"),
            (|row| (row.ended_fence, row.ended_reason) = (Some(3), Some("r".into())), 0, "Free"),
            // The clock jumped back by an hour: no more than it was given.
            (|row| row.now -= 3600 * SECOND, 31, "Held"),
        ];
        for (n, (change, remaining, occupancy)) in cases.into_iter().enumerate() {
            let entry = row(change).entry();
            assert_eq!(entry.remaining, Duration::from_secs(remaining), "{n}");
            assert!(format!("{:?}", entry.occupancy).starts_with(occupancy), "{n}: {entry:?}");
        }
        assert!(row(|row| row.now -= 3600 * SECOND).runs_ahead() && !row(|_| ()).runs_ahead());
    }

    #[test]
    fn a_holder_is_told_what_became_of_its_row() {
        let stolen = Some(Answer::Lost(LossReason::Stolen));
        let freed = |reason: Option<&'static str>| {
            move |row: &mut Lease| {
                row.ended_owner = row.owner.take();
                row.ended_fence = Some(3);
                row.ended_reason = reason.map(str::to_owned);
            }
        };
        assert_eq!(row(|_| ()).refusal(&claim(1, 3), false), None);
        assert_eq!(row(|_| ()).refusal(&claim(2, 2), false), stolen);
        assert_eq!(row(|_| ()).refusal(&claim(1, 2), true), stolen);
        let broken = row(freed(Some("upgrade"))).refusal(&claim(1, 3), true);
        assert_eq!(broken, Some(Answer::Lost(LossReason::Forced("upgrade".into()))));
        assert_eq!(row(freed(Some("upgrade"))).refusal(&claim(1, 2), true), stolen);
        assert_eq!(
            row(freed(None)).refusal(&claim(1, 3), true),
            Some(Answer::Done { lasts: Duration::ZERO })
        );
        assert_eq!(row(freed(None)).refusal(&claim(1, 3), false), Some(Answer::Lost(LossReason::Released)));
    }
}
