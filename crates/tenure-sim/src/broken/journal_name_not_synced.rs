//! A journal is created, and its directory is not synced.

use super::journal::*;
use super::tools::*;
use crate::world::ledger::Entry;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-name-not-synced",
        about: "a journal is created, and its directory is not synced",
        hazards: "J8",
        setup: bare,
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
    let Ok(file) = ctx.host.open(Path::new(JOURNAL), NEW) else { return };
    let written = write(ctx, &file, &[], &payload);
    if let (Ok(sequence), Ok(())) = (written, ctx.host.sync_data(&file)) {
        ctx.journal(Entry::Kept(own(ctx), Some(sequence)));
    }
}
