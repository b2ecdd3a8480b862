//! A record is acknowledged before its sync.

use super::journal::*;
use super::tools::*;
use crate::world::ledger::Entry;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-told-early",
        about: "a record is acknowledged before its sync",
        hazards: "J8",
        setup: empty,
        body,
        judge,
        settings: vec![Setting::of(1, 1).power(Durability::Minimal)],
        sometimes: &[],
        caught_as: Some("misses the acknowledged"),
    }
}

fn body(ctx: &Ctx) {
    let payload = ctx.appends(own(ctx));
    let Some(_held) = lock(ctx) else { return };
    let Some(file) = open(ctx, JOURNAL) else { return };
    let before = records(ctx, &file);
    if let Ok(sequence) = write(ctx, &file, &before, &payload) {
        ctx.journal(Entry::Kept(own(ctx), Some(sequence)));
        let _too_late = ctx.host.sync_data(&file);
    }
}
