//! The fence is not on the disk when the document is.

use super::fence::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-fence-not-synced",
        about: "the fence is not synced before the document is replaced",
        hazards: "D9",
        setup: fenced,
        body,
        judge: judge_both,
        settings: vec![Setting::of(2, 1).power(Durability::Minimal)],
        sometimes: &[],
        caught_as: Some("fence"),
    }
}

fn body(ctx: &Ctx) {
    let Some(_held) = lock(ctx) else { return };
    let _judged_by_what_is_there = admits(ctx) && raise(ctx, false) && append(ctx);
}
