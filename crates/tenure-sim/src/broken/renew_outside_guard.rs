//! Renewal without the guard.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-renew-outside-guard",
        about: "renewal without the guard",
        hazards: "L14",
        setup: marked,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).ticks(1, EXPIRY), Setting::of(2, 1).ticks(2, EXPIRY)],
        sometimes: &[],
        caught_as: Some("holds"),
    }
}

fn body(ctx: &Ctx) {
    let Some((temporary, _)) = acquire_limited(ctx) else { return };
    let began = ctx.host.now();
    // A thief has just found the lifetime over, under the guard; then this makes it begin anew.
    if let Ok(file) = ctx.host.open(Path::new(LOCK), Open::Read)
        && read(ctx, LOCK) == Some(pid(ctx))
        && ctx.host.touch(&file).is_ok()
    {
        ctx.enter(Some(began + LIFETIME));
        ctx.leave();
    }
    let _guard = guard(ctx);
    if read(ctx, LOCK) == Some(pid(ctx)) {
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
