//! The fence is raised after the document was replaced.

use super::fence::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-fence-after",
        about: "the fence is raised after the document was replaced",
        hazards: "D9",
        setup: fenced,
        body,
        judge: judge_order,
        settings: vec![Setting::of(2, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("older token"),
    }
}

fn body(ctx: &Ctx) {
    let Some(_held) = lock(ctx) else { return };
    let _judged_by_what_is_there = admits(ctx) && append(ctx) && raise(ctx, true);
}
