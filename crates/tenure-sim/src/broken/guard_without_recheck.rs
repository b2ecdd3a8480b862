//! A guard, but no second look under it.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-guard-without-recheck",
        about: "a guard, but no second look under it",
        hazards: "L2",
        setup: stale,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1), Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    let mut got = link(ctx, &temporary);
    if !got
        && read(ctx, LOCK).is_some_and(|owner| !is_alive(ctx, &owner))
        && let Some(_guard) = guard(ctx)
    {
        // Another may have stolen the lock between the look and the guard.
        rename(ctx, &temporary, LOCK);
        got = true;
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
