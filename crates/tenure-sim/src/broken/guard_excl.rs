//! A guard that is held by being there.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-guard-excl",
        about: "a guard that is held by being there",
        hazards: "L11",
        setup: stale,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: gets_in,
        settings: vec![Setting::of(2, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("stuck"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    let mut got = link(ctx, &temporary);
    if !got
        && read(ctx, LOCK).is_some_and(|owner| !is_alive(ctx, &owner))
        // Whoever dies behind this line locks out everybody for ever.
        && create(ctx, GUARD, "").is_ok()
    {
        if read(ctx, LOCK).is_some_and(|owner| !is_alive(ctx, &owner)) {
            rename(ctx, &temporary, LOCK);
            got = true;
        }
        unlink(ctx, GUARD);
    }
    if got {
        ctx.sometimes("gets in");
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}

/// The guard of a dead stealer stays, and the lock can't be had any more.
fn gets_in(ctx: &Ctx) -> Result<(), String> {
    match (read(ctx, GUARD), read(ctx, LOCK)) {
        (Some(_), Some(owner)) if !is_alive(ctx, &owner) => {
            Err("stuck: nobody can steal from the dead any more".into())
        }
        _ => Ok(()),
    }
}
