//! A process is known by its pid alone.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-pid-without-start",
        about: "a process is known by its pid alone",
        hazards: "L9",
        setup: reused_pid,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("stuck"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    let mut got = link(ctx, &temporary);
    if !got
        && let Some(_guard) = guard(ctx)
        && let Some(owner) = read(ctx, LOCK)
    {
        // The owner is dead, and its number is this very process's.
        if is_alive(ctx, &owner) && owner == pid(ctx) {
            break_rule("stuck behind a dead owner whose pid is used again");
        }
        if !is_alive(ctx, &owner) && read(ctx, LOCK) == Some(owner) {
            rename(ctx, &temporary, LOCK);
            got = true;
        }
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
