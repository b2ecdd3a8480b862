//! A waiter relies on its event, which can be lost.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-no-backstop",
        about: "a waiter relies on its event, which can be lost",
        hazards: "W2",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1).fault(&[Fault::LostEvent])],
        sometimes: &[],
        caught_as: Some("stuck"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(file) = open_or_create(ctx, LOCK) else { return };
    let mut waiter = ctx.host.waiter();
    ctx.host.watch(&mut waiter, &file);
    while ctx.host.try_flock(&file, Mode::Exclusive) != Ok(true) {
        // Neither a deadline nor a look from time to time.
        ctx.host.wait(&mut waiter, None);
    }
    ctx.critical();
}
