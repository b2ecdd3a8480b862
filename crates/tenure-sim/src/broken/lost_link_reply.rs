//! A link that reports an error is taken for a link that was not made.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lost-link-reply",
        about: "a link that reports an error is taken for a link that was not made",
        hazards: "L12",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).fault(&[Fault::LostReply])],
        sometimes: &[],
        caught_as: Some("locked itself out"),
    }
}

fn body(ctx: &Ctx) {
    let temporary = temporary(ctx, &pid(ctx));
    // The reply of the server was lost, and the repetition says that the name is taken: by ourselves.
    if link(ctx, &temporary) {
        ctx.critical();
        unlink(ctx, LOCK);
    } else if read(ctx, LOCK) == Some(pid(ctx)) {
        break_rule("nobody holds the lock that somebody owns: a process locked itself out");
    }
    unlink(ctx, &temporary);
}
