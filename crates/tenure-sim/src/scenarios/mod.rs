//! The shipped protocols, each under a load that brings out its hazards. All must pass.

pub(crate) mod combining;
pub(crate) mod document;
pub(crate) mod fence;
mod flock;
pub(crate) mod history;
pub(crate) mod journal;
mod journal_faults;
mod journal_rotation;
mod journal_threads;
pub(crate) mod lease;
mod lease_trouble;
pub(crate) mod lockfile;

pub(crate) use lease::NAME as LEASE;

use crate::scenario::Scenario;

/// All of them.
pub fn all() -> Vec<Scenario> {
    [
        flock::all(),
        lockfile::all(),
        document::all(),
        combining::all(),
        history::all(),
        fence::all(),
        journal::all(),
        journal_faults::all(),
        journal_rotation::all(),
        journal_threads::all(),
        lease::all(),
        lease_trouble::all(),
        vec![crate::broken::lease::sound()],
    ]
    .into_iter()
    .flatten()
    .collect()
}
