//! Breaking by force without the guard: the lock that is removed may be a newcomer's.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-break-unguarded",
        about: "breaking by force without the guard: what is removed is not what was looked at",
        hazards: "L10",
        setup: |world| {
            marked(world);
            world.check.breaker = Some(1);
        },
        body,
        judge: anything,
        settings: vec![Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("was broken"),
    }
}

fn body(ctx: &Ctx) {
    if ctx.host.process == 1 {
        let told = read(ctx, LOCK);
        // Between the look and this, the owner may release and another acquire.
        let removed = told.filter(|_| ctx.host.unlink(Path::new(LOCK)).is_ok());
        return expect_broken(removed.and_then(|pid| pid.parse().ok()));
    }
    let temporary = temporary(ctx, &pid(ctx));
    if link(ctx, &temporary) {
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
