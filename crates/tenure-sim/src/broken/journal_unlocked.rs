//! Records are appended without the lock, and a write is not one step.

use super::journal::*;
use super::tools::*;
use crate::world::ledger::Entry;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-unlocked",
        about: "records are appended without the lock, and a write is not one step",
        hazards: "J1",
        setup: empty,
        body,
        judge,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("to one, and"),
    }
}

fn body(ctx: &Ctx) {
    let payload = ctx.appends(own(ctx));
    let Some(file) = open(ctx, JOURNAL) else { return };
    let before = records(ctx, &file);
    if let Ok(sequence) = write(ctx, &file, &before, &payload) {
        ctx.journal(Entry::Visible(own(ctx), Some(sequence)));
    }
}
