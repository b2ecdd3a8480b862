//! The fence is replaced under the document's lock alone, which somebody deletes.

use super::fence::*;
use super::tools::*;
use crate::scenario::put_file;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-fence-lowered",
        about: "the fence is replaced under the document's lock alone, which somebody deletes",
        hazards: "D9",
        setup: |world| {
            counter(world);
            put_file(world, "n.json.lock", b"");
        },
        body,
        judge: judge_fence,
        settings: vec![Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("the fence was lowered"),
    }
}

fn body(ctx: &Ctx) {
    if ctx.host.process == 0 {
        return unlink(ctx, SIDECAR);
    }
    let Some(held) = lock(ctx) else { return };
    // The last look comes right before the rename, and is not enough.
    if let Ok(fence) = prepared(ctx, true)
        && admits(ctx)
        && held.is_current().is_ok_and(|current| current)
    {
        rename(ctx, &fence, FENCE);
        left_word(ctx, own(ctx));
    }
}
