//! Steal by unlink and create (codegraph, proper-lockfile#121): C unlinks the lock that B has just won.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-unlink-create",
        about: "steal by unlink and create",
        hazards: "L1",
        setup: stale,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1), Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    for _ in 0..2 {
        if create(ctx, LOCK, &pid(ctx)).is_ok() {
            ctx.critical();
            return unlink(ctx, LOCK);
        }
        match read(ctx, LOCK) {
            Some(owner) if is_alive(ctx, &owner) => return,
            // Between the look and this, another may have stolen the lock: then his is removed.
            Some(_) => unlink(ctx, LOCK),
            None => {}
        }
    }
}
