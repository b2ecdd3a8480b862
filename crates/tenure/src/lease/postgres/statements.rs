//! The SQL, one statement a step.
//!
//! Each is a transaction of its own at READ COMMITTED, and reads the clock itself by `clock_timestamp()`: `now()` is the time at
//! which the transaction began, and a statement that had to wait for the row would decide by a time that is over. Nor is that
//! enough: a plain `UPDATE` computes its new values *before* it waits for the row, and again only if the row was changed
//! meanwhile, not if it was merely locked. What counts time from now on therefore locks the row first: `ON CONFLICT DO UPDATE` does
//! so by itself, a renewal by `FOR UPDATE`.
//!
//! An acquisition first looks without locking anything: a row that is clearly another's costs neither a write nor a sync,
//! so that waiters who poll do not wear out the disk. The look decides nothing in favour of the asker.
//!
//! The second half of a statement (after `UNION ALL`) tells of the row as it was when the statement began. That may be older
//! than what the first half saw after it had waited: whoever reads the answer asks again if the two contradict each other.

/// The server's clock, in microseconds since 1970. A double has them exact beyond the year 2100; `extract` computes with decimals
/// and takes ten times as long, which is felt where one statement asks ten times.
macro_rules! now {
    () => { "(date_part('epoch', clock_timestamp()) * 1000000)::bigint" };
}

/// Whether the row `l` can be had: it was broken by force; or its holder's time is over, or there is no holder, and it is not kept.
macro_rules! free {
    () => { concat!(
        "((l.ended_fence = l.fence AND l.ended_reason IS NOT NULL) OR ",
        "((l.owner IS NULL OR l.expires_us <= ", now!(), ") AND ",
        "(l.at_least_us = 0 OR l.granted_us + l.at_least_us <= ", now!(), ")))",
    ) };
}

/// How long the row `l` may be renewed for, from now on: the time to live ($4), or what is left of its limit, if it has one (SQL's `least`
/// passes over a null).
macro_rules! left {
    () => { concat!("greatest(least($4::bigint, l.granted_us + l.at_most_us - ", now!(), "), 0)") };
}

/// What tells of a row, as [`super::rows`] reads it.
macro_rules! shown {
    () => { concat!(
        "l.name, l.fence, l.owner, l.holder, l.granted_us, l.expires_us, l.term_us, l.at_least_us, ",
        "l.ended_owner, l.ended_fence, l.ended_reason, ", now!(), " AS now_us",
    ) };
}

/// Tells those who listen that the row may be had, if the parameter is true.
macro_rules! tell {
    ($told:literal) => { concat!("CASE WHEN ", $told, "::boolean THEN pg_notify('tenure_lease', l.name)::text END") };
}

/// Parameters: name, owner, holder, ttl, at least, at most (or null), the bound for jumps of the clock; times in microseconds.
pub(super) const ACQUIRE: &str = concat!(
    "WITH held AS (",
        "SELECT FROM tenure_lease l WHERE l.name = $1 AND l.owner IS DISTINCT FROM $2 AND NOT ", free!(),
    "), taken AS (",
        "INSERT INTO tenure_lease AS l ",
        "(name, fence, owner, holder, granted_us, expires_us, term_us, at_least_us, at_most_us) ",
        "SELECT $1::text, 1, $2::text, $3::text, ", now!(), ", ", now!(), " + $7::bigint + least($4::bigint, $6::bigint), ",
        "$7 + least($4, $6), $5::bigint, $6 WHERE NOT EXISTS (SELECT FROM held) ",
        "ON CONFLICT (name) DO UPDATE SET ",
        "fence = CASE WHEN l.owner = excluded.owner THEN l.fence ELSE l.fence + 1 END, ",
        "owner = excluded.owner, holder = excluded.holder, granted_us = ", now!(), ", ",
        "expires_us = ", now!(), " + excluded.term_us, term_us = excluded.term_us, ",
        "at_least_us = excluded.at_least_us, at_most_us = excluded.at_most_us ",
        "WHERE l.owner = excluded.owner OR ", free!(), " RETURNING l.*",
    ") SELECT true AS done, ", shown!(), " FROM taken l ",
    "UNION ALL SELECT false, ", shown!(), " FROM tenure_lease l WHERE l.name = $1 AND NOT EXISTS (SELECT FROM taken)",
);

/// Parameters: name, owner, fence, ttl, holder (or null: as it was), the bound.
pub(super) const RENEW: &str = concat!(
    "WITH mine AS MATERIALIZED (",
        "SELECT l.name FROM tenure_lease l WHERE l.name = $1 AND l.owner = $2 AND l.fence = $3 FOR UPDATE",
    "), kept AS (",
        "UPDATE tenure_lease l SET holder = coalesce($5::text, l.holder), ",
        "expires_us = $6::bigint + least(", now!(), " + $4::bigint, l.granted_us + l.at_most_us), ",
        "term_us = $6 + ", left!(), " ",
        "FROM mine WHERE l.name = mine.name AND l.owner = $2 AND l.fence = $3 RETURNING l.*",
    ") SELECT true AS done, ", shown!(), " FROM kept l ",
    "UNION ALL SELECT false, ", shown!(), " FROM tenure_lease l WHERE l.name = $1 AND NOT EXISTS (SELECT FROM kept)",
);

/// Parameters: name, owner, fence, whether listeners are told.
pub(super) const RELEASE: &str = concat!(
    "WITH freed AS (",
        "UPDATE tenure_lease l SET owner = NULL, expires_us = 0, term_us = 0, ",
        "ended_owner = l.owner, ended_fence = l.fence, ended_reason = NULL ",
        "WHERE l.name = $1 AND l.owner = $2 AND l.fence = $3 RETURNING l.*",
    ") SELECT true AS done, ", shown!(), ", ", tell!("$4"), " FROM freed l ",
    "UNION ALL SELECT false, ", shown!(), ", NULL FROM tenure_lease l ",
    "WHERE l.name = $1 AND NOT EXISTS (SELECT FROM freed)",
);

/// [`RELEASE`] for who does not know the fence, and never knew that it had the lease: nothing is kept. Parameters: name, owner,
/// whether listeners are told.
pub(super) const ABANDON: &str = concat!(
    "WITH freed AS (",
        "UPDATE tenure_lease l SET owner = NULL, expires_us = 0, term_us = 0, at_least_us = 0, ",
        "ended_owner = l.owner, ended_fence = l.fence, ended_reason = NULL ",
        "WHERE l.name = $1 AND l.owner = $2 RETURNING l.*",
    ") SELECT true AS done, ", shown!(), ", ", tell!("$3"), " FROM freed l",
);

/// Frees a row that has an owner or is kept, and shows it as it was: its end stays in the row, only the owner goes. Also one
/// whose time is over, since its owner might still renew it. Parameters: name, reason, whether listeners are told.
pub(super) const BREAK: &str = concat!(
    "WITH freed AS (",
        "UPDATE tenure_lease l SET owner = NULL, ",
        "ended_owner = coalesce(l.owner, l.ended_owner), ended_fence = l.fence, ended_reason = $2::text ",
        "WHERE l.name = $1 AND (l.owner IS NOT NULL OR NOT ", free!(), ") RETURNING l.*",
    ") SELECT true AS done, ", shown!(), ", ", tell!("$3"), " FROM freed l",
);

/// Parameter: name.
pub(super) const LOOK: &str = concat!("SELECT true AS done, ", shown!(), " FROM tenure_lease l WHERE l.name = $1");

pub(super) const LIST: &str = concat!("SELECT true AS done, ", shown!(), " FROM tenure_lease l ORDER BY l.name");

/// Brings times that lie further ahead than they were ever set, since the clock jumped backward, back to what they were set
/// to, counted from now: else a dead holder would have the lease for as long as the clock jumped. Parameter: name.
pub(super) const SET_BACK: &str = concat!(
    "UPDATE tenure_lease l SET expires_us = least(l.expires_us, ", now!(), " + l.term_us), ",
    "granted_us = least(l.granted_us, ", now!(), ") ",
    "WHERE l.name = $1 AND (l.expires_us > ", now!(), " + l.term_us OR l.granted_us > ", now!(), ")",
);
