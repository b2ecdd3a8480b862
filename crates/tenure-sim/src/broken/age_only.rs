//! Whoever has held the lock for long is taken for dead.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-age-only",
        about: "whoever has held the lock for long is taken for dead",
        hazards: "L8",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).ticks(1, EXPIRY)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    let mut got = link(ctx, &temporary);
    if !got
        && let Some(_guard) = guard(ctx)
        && let Ok(stat) = ctx.host.stat(Path::new(LOCK))
        // The holder is slow, and knows of no lifetime.
        && server_time(ctx) - stat.modified_ns > LIFETIME.as_nanos().cast_signed()
    {
        rename(ctx, &temporary, LOCK);
        got = true;
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
