//! A lock file that is gone counts as stale (Mailman): a live lock that came meanwhile is broken.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-enoent-is-stale",
        about: "a lock file that is gone counts as stale",
        hazards: "L6",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(3, 1), Setting::of(3, 2)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    let mut got = link(ctx, &temporary);
    if !got {
        // Its owner has just released it: "no such file" becomes "no such process".
        let owner = read(ctx, LOCK).unwrap_or_default();
        if !is_alive(ctx, &owner) {
            unlink(ctx, LOCK);
            got = link(ctx, &temporary);
        }
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
