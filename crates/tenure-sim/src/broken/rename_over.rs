//! Steal by renaming over the stale lock, then reading back the own nonce.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-rename-over",
        about: "steal by renaming over the stale lock, then reading back the own nonce",
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
    if !got && read(ctx, LOCK).is_some_and(|owner| !is_alive(ctx, &owner)) {
        // Another may have done the same and be in: this replaces a live lock.
        rename(ctx, &temporary, LOCK);
        got = read(ctx, LOCK) == Some(pid(ctx));
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
