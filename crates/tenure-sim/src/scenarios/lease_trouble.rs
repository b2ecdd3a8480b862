//! `Lease` where something else goes wrong than clocks and deaths: answers, questions, the store, a third party, assumptions.

use tenure::{Error, Token, Wait};

use super::lease::{
    BOUND, HALF, Kept, NAME, TTL, base, broken, come, hold, jump, one_machine, own_clocks, store,
};
use crate::host::with_world;
use crate::op::Fault;
use crate::scenario::{Ctx, Scenario, Setting, put_stable};
use crate::world::leases::{Fenced, Nature};

/// A question or an answer is lost.
const LOST: &[Fault] = &[Fault::Io, Fault::LostReply];

/// So is its caller's patience, and the question arrives nevertheless.
const LATE: &[Fault] = &[Fault::Late];

/// The scenarios.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "lease-answers",
            about: "a question or an answer is lost; nobody is locked out by himself",
            hazards: "D1 D7",
            setup: one_machine,
            body: |ctx| match ctx.host.process {
                0 => insist(ctx),
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(2, 1).ticks(1, TTL).fault(LOST),
                Setting::of(2, 1).ticks(2, HALF).fault(LOST),
                Setting::of(2, 1).crashes(1).ticks(1, HALF).fault(LOST).long(),
            ],
            sometimes: &["renewed", "told of the loss", "taken over", "got it after a failure"],
            ..base()
        },
        Scenario {
            name: "lease-answers-waiting",
            about: "a question or an answer is lost while its caller waits, and asks again with the same owner",
            hazards: "D1",
            setup: |world| {
                one_machine(world);
                put_stable(world, "notice");
                world.leases.notice = Some("/d/notice");
            },
            body: |ctx| match ctx.host.process {
                0 => come(ctx),
                _ => insist_waiting(ctx),
            },
            settings: vec![
                Setting::of(2, 1).fault(LOST),
                Setting::of(2, 1).ticks(1, HALF).fault(LOST),
                Setting::of(3, 1).fault(LOST),
            ],
            sometimes: &["taken over"],
            ..base()
        },
        Scenario {
            name: "lease-late",
            about: "a question arrives at any time after its caller has given up",
            hazards: "D1 D7 L14",
            setup: own_clocks,
            body: |ctx| match ctx.host.process {
                0 => hold(ctx),
                2 => {
                    if ctx.host.befall(Nature::Deliver) {
                        ctx.sometimes("came late");
                    }
                }
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(3, 1).ticks(1, HALF).fault(LATE),
                Setting::of(3, 1).ticks(3, HALF).fault(LATE).long(),
                Setting::of(3, 1).crashes(1).ticks(1, HALF).fault(LATE).long(),
            ],
            sometimes: &["renewed", "came late"],
            ..base()
        },
        Scenario {
            name: "lease-late-sooner",
            about: "the same without a bound, where two ticks let a successor in",
            hazards: "D1 D7 L14",
            setup: |_| {},
            body: |ctx| match ctx.host.process {
                0 => hold(ctx),
                2 => {
                    if ctx.host.befall(Nature::Deliver) {
                        ctx.sometimes("came late");
                    }
                }
                _ => come(ctx),
            },
            settings: vec![Setting::of(3, 1).ticks(2, HALF).fault(LATE)],
            sometimes: &["renewed", "came late", "taken over", "told of the loss"],
            ..base()
        },
        Scenario {
            name: "lease-outage",
            about: "the store is away for a while and comes back with its rows",
            hazards: "L14",
            setup: one_machine,
            body: |ctx| match ctx.host.process {
                0 => hold(ctx),
                2 => {
                    ctx.host.befall(Nature::Down);
                    ctx.host.befall(Nature::Up);
                }
                _ => come(ctx),
            },
            settings: vec![Setting::of(3, 1).ticks(1, TTL), Setting::of(3, 1).ticks(2, HALF).long()],
            sometimes: &["renewed", "told of the loss", "taken over"],
            ..base()
        },
        Scenario {
            name: "lease-force",
            about: "a third party takes the lease away by force, and a newcomer has it",
            hazards: "D7 D8 L14",
            setup: one_machine,
            body: |ctx| match ctx.host.process {
                0 => forced(ctx),
                2 => {
                    let entry = store(ctx).force_release(NAME, "maintenance").ok().flatten();
                    if entry.is_some() {
                        ctx.sometimes("there is something to break");
                    }
                }
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(3, 1),
                Setting::of(3, 1).ticks(1, TTL),
                Setting::of(3, 1).crashes(1),
                Setting::of(4, 1),
            ],
            sometimes: &["renewed", "taken over", "there is something to break", "told of the force"],
            ..base()
        },
        Scenario {
            name: "lease-fenced",
            about: "the store's clock jumps beyond the bound: two believe, and what is fenced takes nothing from the first \
                    after the second has written",
            hazards: "D9",
            setup: own_clocks,
            body: |ctx| match ctx.host.process {
                2 => jump(ctx, (TTL + BOUND).as_micros().cast_signed()),
                _ => write_twice(ctx),
            },
            settings: vec![
                Setting::of(3, 1),
                Setting::of(3, 1).crashes(1),
                Setting::of(4, 1).long(),
                Setting::of(3, 1).ticks(1, HALF).long(),
            ],
            sometimes: &["refused while it believed", "wrote"],
            ..base()
        },
        Scenario {
            name: "lease-handle",
            about: "a lease is detached and given back by its handle, while others come",
            hazards: "D7 D8",
            setup: one_machine,
            body: |ctx| match ctx.host.process {
                0 => detach(ctx),
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(2, 1).ticks(2, HALF),
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).ticks(1, HALF).fault(LOST).long(),
            ],
            sometimes: &["resumed", "taken over"],
            ..base()
        },
    ]
}

/// Holds, and after a failure asks again at once.
fn insist(ctx: &Ctx) {
    match Kept::acquire(ctx, Wait::Never, TTL) {
        Ok(Some(kept)) => {
            kept.look();
            let _shown = kept.renew();
            kept.look();
            return kept.release();
        }
        Err(error) if error.is_unreachable() => {}
        // Another has it; or it was too late by its own count, and what it gave back may have been lost on the way.
        Ok(None) | Err(_) => return,
    }
    match Kept::acquire(ctx, Wait::Never, TTL) {
        Ok(Some(kept)) => {
            ctx.sometimes("got it after a failure");
            kept.release();
        }
        Ok(None) => expect_another(ctx),
        Err(_) => {}
    }
}

/// The same for one who waits, and was refused before.
fn insist_waiting(ctx: &Ctx) {
    match Kept::acquire(ctx, Wait::Until(tenure::host::Host::now(&ctx.host) + TTL), TTL) {
        Ok(Some(kept)) => {
            kept.look();
            kept.release();
        }
        Ok(None) => expect_another(ctx),
        Err(_) => {}
    }
}

/// Who is told that the lease is held must not be its holder.
fn expect_another(ctx: &Ctx) {
    let process = ctx.host.process;
    if with_world(|world| world.leases.holder() == Some(process)) {
        broken(format!("P{process} locked itself out"));
    }
}

/// Holds, and hears of the force that ended it, if it has time to.
fn forced(ctx: &Ctx) {
    let Ok(Some(kept)) = Kept::acquire(ctx, Wait::Never, TTL) else { return };
    if let Err(error) = kept.renew()
        && error.is_lost()
        && with_world(|world| world.leases.is_forced(ctx.host.process))
    {
        told_of_force(ctx, &error, kept.token());
    }
    kept.look();
    kept.release();
}

fn told_of_force(ctx: &Ctx, error: &Error, token: Token) {
    match error.to_string().contains("maintenance") {
        true => ctx.sometimes("told of the force"),
        // Its own clock may have been first; or the store, which remembers one end only, a successor's.
        false if with_world(|world| world.ticked >= TTL || world.leases.last_token() > token.number()) => {}
        false => broken(format!("P{} was robbed by force, and told: {error}", ctx.host.process)),
    }
}

/// Writes to what is fenced, twice; whether it still holds the lease nobody asks.
fn write_twice(ctx: &Ctx) {
    let Ok(Some(lease)) = store(ctx).try_acquire(NAME, TTL) else { return };
    for _ in 0..2 {
        if ctx.host.fenced(Fenced::Write(lease.token())) {
            ctx.sometimes("wrote");
        } else if lease.is_held() {
            ctx.sometimes("refused while it believed");
        }
    }
}

/// Detaches, resumes by the handle, renews it as a handle, releases it.
fn detach(ctx: &Ctx) {
    let store = store(ctx);
    let Ok(Some(lease)) = store.try_acquire(NAME, TTL) else { return };
    ctx.enter(Some(lease.deadline()));
    let token = lease.token();
    ctx.leave();
    let Ok(handle) = lease.detach() else { return };
    if store.renew(&handle, None).is_err() {
        return;
    }
    let Ok(lease) = store.resume(&handle) else { return };
    ctx.sometimes("resumed");
    ctx.enter(Some(lease.deadline()));
    if lease.token() != token {
        broken(format!("P{} resumed token {token} as {}", ctx.host.process, lease.token()));
    }
    ctx.asks(|| lease.is_held());
    ctx.leave();
    let _shown_by_the_next = lease.release();
}
