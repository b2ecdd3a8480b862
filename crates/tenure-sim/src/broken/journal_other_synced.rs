//! Who syncs after the lock is let go opens the file by its name, and a rotation came between.

use super::journal::*;
use super::tools::*;
use crate::world::ledger::Entry;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-other-synced",
        about: "who syncs after the lock is let go opens the file by its name, and a rotation came between",
        hazards: "J8",
        setup: one_record,
        body,
        judge,
        settings: vec![Setting::of(2, 1).power(Durability::Minimal)],
        sometimes: &[],
        caught_as: Some("misses the acknowledged"),
    }
}

fn body(ctx: &Ctx) {
    match ctx.host.process {
        0 => append_and_sync_by_name(ctx),
        _ => rotate(ctx),
    }
}

fn append_and_sync_by_name(ctx: &Ctx) {
    let payload = ctx.appends(own(ctx));
    let Some(held) = lock(ctx) else { return };
    let Some(file) = open(ctx, JOURNAL) else { return };
    let before = records(ctx, &file);
    let written = write(ctx, &file, &before, &payload);
    drop(held);
    let synced = open(ctx, JOURNAL).is_some_and(|named| ctx.host.sync_data(&named).is_ok());
    if let Some(sequence) = written.ok().filter(|_| synced) {
        ctx.journal(Entry::Kept(own(ctx), Some(sequence)));
    }
}

/// Does not sync the old file either.
fn rotate(ctx: &Ctx) {
    let Some(_held) = lock(ctx) else { return };
    if ctx.host.link(Path::new(JOURNAL), Path::new(OLD)).is_ok() && sync_directory(ctx).is_ok() {
        let _shown_later = replace(ctx, b"");
    }
}
