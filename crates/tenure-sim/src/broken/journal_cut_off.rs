//! A journal is repaired by cutting it off at the first flaw, good records and all.

use super::journal::*;
use super::tools::*;
use crate::world::World;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-cut-off",
        about: "a journal is repaired by cutting it off at the first flaw, good records and all",
        hazards: "J4",
        setup,
        body,
        judge,
        settings: vec![Setting::of(1, 1)],
        sometimes: &[],
        caught_as: Some("misses the acknowledged"),
    }
}

/// A disk changed the second of three records.
fn setup(world: &mut World) {
    bare(world);
    put_file(world, "j", b"01<90>\n02<9?>\n03<92>\n");
    kept(world, 1, 90);
    kept(world, 3, 92);
}

fn body(ctx: &Ctx) {
    let Some(_held) = lock(ctx) else { return };
    let Some(file) = open(ctx, JOURNAL) else { return };
    let whole = records(ctx, &file).len();
    let _shown_later = ctx.host.truncate(&file, (whole * RECORD) as u64);
}
