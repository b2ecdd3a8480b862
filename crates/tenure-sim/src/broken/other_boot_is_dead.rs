//! An owner on a host of this name, but of another boot, is taken for dead.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-other-boot-is-dead",
        about: "an owner on a host of this name, but of another boot, is taken for dead",
        hazards: "L9",
        setup: two_machines,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: anything,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("two holders"),
    }
}

fn body(ctx: &Ctx) {
    let here = ctx.host.identity();
    let me = format!("{} {} {}", here.host, here.boot.clone().unwrap_or_default(), here.pid);
    let temporary = temporary(ctx, &me);
    let mut got = link(ctx, &temporary);
    if !got
        && let Some(_guard) = guard(ctx)
        && let Some(owner) = read(ctx, LOCK)
        && let [host, boot, pid] = owner.split(' ').collect::<Vec<_>>()[..]
    {
        // Two machines have one name: the other one has not been rebooted, it is another.
        let rebooted = host == here.host && Some(boot) != here.boot.as_deref();
        if (rebooted || !is_alive(ctx, pid)) && read(ctx, LOCK).as_ref() == Some(&owner) {
            rename(ctx, &temporary, LOCK);
            got = true;
        }
    }
    if got {
        ctx.critical();
        unlink(ctx, LOCK);
    }
    unlink(ctx, &temporary);
}
