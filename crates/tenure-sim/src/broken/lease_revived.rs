//! A renewal brings back what was told to be lost.

use super::lease::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-revived",
        about: "a renewal brings back what its holder was told it had lost",
        hazards: "L14",
        setup: one_machine,
        body,
        judge,
        settings: vec![Setting::of(2, 1).ticks(2, HALF)],
        sometimes: &[],
        caught_as: Some("holds again"),
    }
}

fn body(ctx: &Ctx) {
    let Some(mut toy) = Toy::acquire(ctx, Mistake::Revives) else { return };
    let held = toy.look();
    toy.renew();
    if toy.look() && !held {
        broken(format!("P{} holds again what it was told it had lost", ctx.host.process));
    }
    toy.release();
}
