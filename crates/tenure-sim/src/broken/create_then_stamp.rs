//! Create the lock file, then write the owner into it; empty means dead.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-create-then-stamp",
        about: "create the lock file, then write the owner into it; empty means dead",
        hazards: "L3",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1), Setting::of(2, 2)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    let mut got = create(ctx, LOCK, &pid(ctx)).is_ok();
    if !got
        && let Some(_guard) = guard(ctx)
        && let Some(owner) = read(ctx, LOCK)
        // A lock that was created a moment ago is taken for a dead one's.
        && !is_alive(ctx, &owner)
        && read(ctx, LOCK) == Some(owner)
    {
        let temporary = temporary(ctx, &pid(ctx));
        rename(ctx, &temporary, LOCK);
        got = true;
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
}
