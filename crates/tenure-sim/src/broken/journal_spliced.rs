//! A reader keeps half a record and puts together with it what is written there later.

use super::journal::*;
use super::tools::*;
use crate::world::World;
use crate::world::ledger::Entry;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-spliced",
        about: "a reader keeps half a record and puts together with it what is written there later",
        hazards: "J5",
        setup,
        body,
        judge,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("to one, and"),
    }
}

/// Somebody died in the middle of the first record.
fn setup(world: &mut World) {
    bare(world);
    put_file(world, "j", b"01<1");
    in_doubt(world, 11);
}

fn body(ctx: &Ctx) {
    if ctx.host.process > 0 {
        return append(ctx);
    }
    ctx.journal(Entry::Reads(None));
    let Some(file) = open(ctx, JOURNAL) else { return };
    let mut text = Vec::new();
    for _ in 0..2 {
        let mut more = [0; RECORD];
        let length = ctx.host.read_at(&file, text.len() as u64, &mut more[text.len()..]).unwrap_or(0);
        text.extend_from_slice(&more[text.len()..][..length]);
    }
    if let Some((sequence, payload)) = record(&text) {
        ctx.delivered(sequence, &payload);
    }
}
