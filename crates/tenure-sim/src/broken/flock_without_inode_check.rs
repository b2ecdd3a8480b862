//! The lock file is deleted on release, and nobody compares inodes.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-flock-without-inode-check",
        about: "the lock file is deleted on release, and nobody compares inodes",
        hazards: "U13",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1), Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(file) = open_or_create(ctx, LOCK) else { return };
    // The file that is locked may not be the one that the path names any more.
    if ctx.host.try_flock(&file, Mode::Exclusive) == Ok(true) {
        ctx.critical();
        unlink(ctx, LOCK);
    }
}
