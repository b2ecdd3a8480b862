//! Under the guard: read the owner, then find it dead, then steal. Passes every search of two processes.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-guard-read-then-dead",
        about: "under the guard: read the owner, then find it dead, then steal; release without the guard",
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
        // Between these two the owner may release and end, and another acquire: its live lock is then replaced.
        if let Some(owner) = read(ctx, LOCK)
            && !is_alive(ctx, &owner)
        {
            rename(ctx, &temporary, LOCK);
            got = true;
        }
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
