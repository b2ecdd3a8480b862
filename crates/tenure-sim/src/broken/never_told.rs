//! A holder that was robbed when its lifetime was over is not told.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-never-told",
        about: "a holder that was robbed when its lifetime was over is not told",
        hazards: "L14",
        setup: marked,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).ticks(1, EXPIRY)],
        sometimes: &[],
        caught_as: Some("was told that it holds"),
    }
}

fn body(ctx: &Ctx) {
    let Some((temporary, until)) = acquire_limited(ctx) else { return };
    ctx.enter(Some(until));
    // It believes what it knew at the start, without a look at the clock or the file.
    ctx.host.note(Note::Believes);
    ctx.leave();
    let _guard = guard(ctx);
    if read(ctx, LOCK) == Some(pid(ctx)) {
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
