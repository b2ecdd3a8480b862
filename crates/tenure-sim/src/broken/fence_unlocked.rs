//! The fence is looked at, then the lock is taken: advice, not enforcement.

use super::fence::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-fence-unlocked",
        about: "the fence is looked at before the lock is taken",
        hazards: "D9",
        setup: fenced,
        body,
        judge: judge_order,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("older token"),
    }
}

fn body(ctx: &Ctx) {
    if !admits(ctx) {
        return;
    }
    let Some(_held) = lock(ctx) else { return };
    let _judged_by_what_is_there = raise(ctx, true) && append(ctx);
}
