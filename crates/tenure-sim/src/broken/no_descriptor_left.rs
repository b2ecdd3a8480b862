//! The thief needs one more descriptor after the steal, and gives up with its own pid in the lock.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-no-descriptor-left",
        about: "the thief needs one more descriptor after the steal, and gives up with its own pid in the lock",
        hazards: "L5",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(1, 1).fault(&[Fault::TooManyFiles])],
        sometimes: &[],
        caught_as: Some("locked itself out"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    if link(ctx, &temporary) {
        // The read that is to verify the lock fails for want of a descriptor.
        if ctx.host.open(Path::new(LOCK), Open::Read).is_ok() {
            ctx.critical();
            unlink(ctx, LOCK);
        } else if read(ctx, LOCK).is_some_and(|owner| owner == pid(ctx)) {
            break_rule("a process locked itself out");
        }
    }
    unlink(ctx, &temporary);
}
