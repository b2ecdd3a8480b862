//! Release without a look at whose the lock file is.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-release-unchecked",
        about: "release without a look at whose the lock file is",
        hazards: "L10",
        setup: marked,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).ticks(1, EXPIRY), Setting::of(3, 1).ticks(1, EXPIRY)],
        sometimes: &[],
        caught_as: Some("took the lock file"),
    }
}

fn body(ctx: &Ctx) {
    let Some((temporary, until)) = acquire_limited(ctx) else { return };
    ctx.enter(Some(until));
    ctx.leave();
    // Its lifetime may be over, and the file another's.
    unlink(ctx, LOCK);
    unlink(ctx, &temporary);
}
