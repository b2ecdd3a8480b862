//! Random programs of files that are written after they were put in place, and of what is told of a journal.

use std::collections::BTreeSet;

use tenure_sim::scenario::{Ctx, written_in_place};
use tenure_sim::world::World;
use tenure_sim::world::ledger::Entry;

use super::{Kind, Numbers, Step, compare_all};

/// What a process has told of a journal, so that it tells only what may be told.
#[derive(Default)]
pub(super) struct Journal {
    begun: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
    reads: bool,
}

impl Journal {
    /// Each process appends two payloads, whose numbers are those of their places, and reads others'.
    pub(super) fn step(&mut self, ctx: &Ctx, what: usize, payload: u32) {
        let own = payload % 2 + 2 * u32::try_from(ctx.host.process).unwrap();
        match what {
            0 | 1 if !self.begun.contains(&own) && !self.acknowledged.contains(&own) => {
                ctx.journal(Entry::Begins(own));
                self.begun.insert(own);
            }
            2 | 3 if self.begun.remove(&own) => {
                ctx.journal(Entry::Visible(own, (payload < 4).then_some(own.into())));
                self.acknowledged.insert(own);
            }
            4 if self.begun.remove(&own) => {
                ctx.journal(Entry::Refused(own));
                self.acknowledged.insert(own);
            }
            5 => {
                ctx.journal(Entry::Reads(None));
                self.reads = true;
            }
            6 if self.reads && self.acknowledged.contains(&own) => {
                ctx.journal(Entry::Delivered(own.into(), own))
            }
            7 if self.reads => ctx.journal(Entry::End),
            8 => ctx.journal(Entry::Dropped(u64::from(payload))),
            _ => {}
        }
    }
}

impl Numbers {
    /// An append or a reading, with something between its beginning and its end.
    pub(super) fn journal(&mut self) -> Vec<Step> {
        let payload = u32::try_from(self.below(6)).unwrap();
        let (begins, ends) = match self.below(4) {
            0 | 1 => (0, 2 + 2 * usize::from(self.is(4))),
            2 => (5, 7),
            _ => (8, 6),
        };
        let mut steps = vec![Step::Journal(begins, payload)];
        steps.extend((0..=self.below(2)).map(|_| self.in_place()));
        steps.push(Step::Journal(ends, payload));
        steps
    }

    /// A step with a file that is written after it was put in place.
    pub(super) fn in_place(&mut self) -> Step {
        let offset = self.below(3) as u64;
        match self.below(9) {
            0 | 1 => Step::ReadAt(0, offset),
            2..5 => Step::WriteAt(0, offset),
            5 => Step::Truncate(0),
            6 => Step::SyncData(0),
            7 => Step::WatchWrites(0),
            _ => Step::Wait(true),
        }
    }
}

pub(super) fn setup(world: &mut World) {
    written_in_place(world, "a");
    written_in_place(world, "b");
    super::setup(world);
}

pub(super) fn setup_heir(world: &mut World) {
    written_in_place(world, "a");
    written_in_place(world, "b");
    super::setup_heir(world);
}

#[test]
fn random_programs_that_write_in_place_are_told_the_same_under_every_reduction() {
    let compared = compare_all(0..60, 1_000, Kind::InPlace);
    assert!(compared > 40, "only {compared} of the programs are small enough");
}
