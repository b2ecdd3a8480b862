//! The age of a lock by the own clock against the server's time stamp.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-age-by-local-clock",
        about: "the age of a lock by the own clock against the server's time stamp",
        hazards: "L7",
        setup: two_machines,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    let mut got = link(ctx, &temporary);
    if !got
        && let Ok(stat) = ctx.host.stat(Path::new(LOCK))
        && let Some(_guard) = guard(ctx)
    {
        // This machine's clock is far ahead of the server's.
        let age = ctx.host.now().since_zero().as_nanos().cast_signed() - stat.modified_ns;
        if age > 2 * LIFETIME.as_nanos().cast_signed() + 1_000_000_000_000 {
            rename(ctx, &temporary, LOCK);
            got = true;
        }
    }
    if got {
        ctx.enter(Some(ctx.host.now() + LIFETIME));
        ctx.leave();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
