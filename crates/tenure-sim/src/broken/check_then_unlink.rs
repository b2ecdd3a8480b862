//! Release that looks whose the lock file is, and then unlinks it, without the guard.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-check-then-unlink",
        about: "release that looks whose the lock file is, and then unlinks it, without the guard",
        hazards: "L10",
        setup: marked,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).ticks(1, EXPIRY)],
        sometimes: &[],
        caught_as: Some("took the lock file"),
    }
}

fn body(ctx: &Ctx) {
    let Some((temporary, until)) = acquire_limited(ctx) else { return };
    ctx.enter(Some(until));
    ctx.leave();
    if read(ctx, LOCK) == Some(pid(ctx)) {
        // Between the look and this, the lifetime may end and another take the lock.
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
