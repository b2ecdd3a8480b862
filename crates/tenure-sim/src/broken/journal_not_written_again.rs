//! Who comes after a process whose sync failed syncs once more, and writes nothing again.

use super::journal::*;
use super::tools::*;
use crate::world::World;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-not-written-again",
        about: "who comes after a process whose sync failed syncs once more, and writes nothing again",
        hazards: "J8",
        setup,
        body,
        judge,
        settings: vec![Setting::of(2, 1).fault(&[Fault::Sync]).power(Durability::Minimal)],
        sometimes: &[],
        caught_as: Some("misses the acknowledged"),
    }
}

fn setup(world: &mut World) {
    empty(world);
    world.start_after(1, 0);
}

fn body(ctx: &Ctx) {
    append(ctx);
}
