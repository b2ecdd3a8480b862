//! The store's clock may jump, and it keeps no row for longer than its holder is told.

use super::lease::*;
use super::tools::*;
use std::time::Duration;
use tenure::lease::row::Row;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-no-bound",
        about: "a store whose clock may jump gives a lease away as soon as its time is over",
        hazards: "D6",
        setup: |world| {
            own_clocks(world);
            world.leases.decide = without_bound;
        },
        body,
        judge,
        settings: vec![Setting::of(3, 1).ticks(1, HALF)],
        sometimes: &[],
        caught_as: Some("believes it holds"),
    }
}

fn body(ctx: &Ctx) {
    match ctx.host.process {
        2 => jump(ctx, BOUND.as_micros().cast_signed()),
        _ => hold_or_come(ctx),
    }
}

fn without_bound(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    decide(row, question, &Step { now: step.now.clone(), bound: Duration::ZERO, ..*step })
}
