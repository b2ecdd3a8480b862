//! A guard that is deleted after use.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-guard-unlinked",
        about: "a guard that is deleted after use",
        hazards: "L2",
        setup: stale,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(3, 1).crashes(1), Setting::of(3, 2).crashes(1)],
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
        if let Some(owner) = read(ctx, LOCK)
            && !is_alive(ctx, &owner)
            && read(ctx, LOCK) == Some(owner)
        {
            rename(ctx, &temporary, LOCK);
            got = true;
        }
        // Whoever has it open locks a file that the next comer does not find.
        unlink(ctx, GUARD);
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
