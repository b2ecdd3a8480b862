//! The holder's clock is slower than the store's, and it trusts it.

use super::lease::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-no-margin",
        about: "a holder trusts its clock, which is slow",
        hazards: "D4",
        setup: own_clocks,
        body,
        judge,
        settings: vec![Setting::of(3, 1).ticks(2, HALF)],
        sometimes: &[],
        caught_as: Some("believes it holds"),
    }
}

fn body(ctx: &Ctx) {
    match ctx.host.process {
        2 => jump(ctx, BOUND.as_micros().cast_signed()),
        _ => all_of_it(ctx, Mistake::NoMargin),
    }
}
