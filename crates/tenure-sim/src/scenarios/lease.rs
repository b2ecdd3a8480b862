//! `Lease`: acquire, renew, lose, release, on stores of both kinds.
//!
//! A tick is half of the time to live, so that two of them are exactly that: the store gives the lease to another in that very
//! moment, and its holder must have taken it for lost by then. A process that does nothing meanwhile is one that was suspended;
//! one whose question or answer lies between two ticks waits for a slow store.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tenure::host::Host;
use tenure::lease::Request;
use tenure::{Error, Lease, LeaseStore, Token, Wait};

use crate::host::{Sim, SimStore, with_world};
use crate::op::Note;
use crate::scenario::{Ctx, Scenario, Setting, nothing, put_stable};
use crate::world::World;
use crate::world::leases::Nature;

/// What all ask for.
pub(crate) const NAME: &str = "plan";

/// How long it lasts.
pub(crate) const TTL: Duration = Duration::from_secs(10);

/// Just before a holder takes its lease for lost, by a clock like the store's, and by a slow one.
const JUST_BEFORE: Duration = Duration::from_millis(9_890);
const JUST_BEFORE_SLOW: Duration = Duration::from_millis(9_990);

/// By how much a store's clock may jump, where it may.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// Half of the time to live.
pub(crate) const HALF: Duration = Duration::from_secs(5);

/// The time to live where somebody waits, by polling.
const SHORT: Duration = Duration::from_secs(1);

/// As late as a waiter may come that asks every quarter of a second.
const POLL: Duration = Duration::from_millis(300);

/// By how many millionths the clients' clocks run slower than the store's: as much as the margin is for.
const SLOW: u32 = 10_000;

/// What they have in common.
pub(super) fn base() -> Scenario {
    Scenario {
        name: "",
        about: "",
        hazards: "",
        setup: nothing,
        body: |_| {},
        judge,
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    }
}

/// The scenarios in which the store answers.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "lease",
            about: "one holds and renews, others come; one clock, no bound, a death is seen (SQLite)",
            hazards: "D1 D4 D7 D8 L14",
            setup: one_machine,
            body: |ctx| match ctx.host.process {
                0 => hold(ctx),
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(2, 1).ticks(2, HALF),
                Setting::of(2, 1).ticks(1, JUST_BEFORE),
                Setting::of(2, 1).crashes(2).ticks(2, HALF),
                Setting::of(3, 1).crashes(1).ticks(1, HALF),
                Setting::of(2, 1).ticks(3, HALF).long(),
                Setting::of(3, 1).ticks(2, HALF).long(),
            ],
            sometimes: &["renewed", "told of the loss", "taken over"],
            ..base()
        },
        Scenario {
            name: "lease-clocks",
            about: "each has its own clock, which is slow, and the store's jumps ahead by as much as it may (PostgreSQL)",
            hazards: "D4 L14",
            setup: own_clocks,
            body: |ctx| match ctx.host.process {
                0 => hold(ctx),
                2 => jump(ctx, BOUND.as_micros().cast_signed()),
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(3, 1).ticks(2, HALF),
                Setting::of(3, 1).ticks(1, JUST_BEFORE_SLOW),
                Setting::of(2, 1).ticks(3, HALF).long(),
                Setting::of(3, 1).crashes(1).ticks(2, HALF).long(),
                Setting::of(4, 1).ticks(2, HALF).long(),
            ],
            sometimes: &["renewed", "told of the loss", "taken over"],
            ..base()
        },
        Scenario {
            name: "lease-set-back",
            about: "the store's clock jumps back by an hour: nobody has the lease for as long as that",
            hazards: "D4",
            setup: own_clocks,
            body: |ctx| match ctx.host.process {
                0 => hold(ctx),
                2 => jump(ctx, -3_600_000_000),
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(3, 1).crashes(1).ticks(1, HALF),
                Setting::of(3, 1).crashes(2).ticks(2, HALF).long(),
            ],
            sometimes: &["renewed"],
            ..base()
        },
        Scenario {
            name: "lease-set-back-a-little",
            about: "the store's clock jumps back by less than the time that the lease was held",
            hazards: "D4",
            setup: own_clocks,
            body: |ctx| match ctx.host.process {
                0 => hold(ctx),
                2 => jump(ctx, -HALF.as_micros().cast_signed()),
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(3, 1).crashes(1).ticks(1, HALF),
                Setting::of(3, 1).crashes(1).ticks(2, HALF).long(),
            ],
            sometimes: &["renewed"],
            ..base()
        },
        Scenario {
            name: "lease-limited",
            about: "the holder asked for no more than the time to live, renewals or not",
            hazards: "D4 L14",
            setup: |world| {
                own_clocks(world);
                world.leases.bound = Duration::ZERO;
            },
            body: |ctx| match ctx.host.process {
                0 => hold_as(ctx, store(ctx).lease(NAME, TTL).at_most(TTL)),
                _ => come(ctx),
            },
            settings: vec![Setting::of(2, 1).ticks(2, HALF), Setting::of(3, 1).ticks(2, HALF).long()],
            sometimes: &["renewed", "told of the loss", "taken over"],
            ..base()
        },
        Scenario {
            name: "lease-again",
            about: "who was too late for its own lease asks for it again, while another has it",
            hazards: "D7 D8 L14",
            setup: one_machine,
            body: |ctx| match ctx.host.process {
                0 => ctx.each_round(|| come(ctx)),
                _ => come(ctx),
            },
            settings: vec![
                Setting::of(2, 2).ticks(2, HALF),
                Setting::of(2, 3).ticks(2, HALF).long(),
                Setting::of(3, 2).ticks(2, HALF).long(),
            ],
            sometimes: &["told of the loss", "taken over"],
            ..base()
        },
        Scenario {
            name: "lease-wait",
            about: "others wait until it is released, or its owner is seen to have died (SQLite)",
            hazards: "W2",
            setup: |world| {
                one_machine(world);
                put_stable(world, "notice");
                world.leases.notice = Some("/d/notice");
            },
            body: wait,
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).ticks(1, SHORT),
                Setting::of(2, 2).crashes(1),
                Setting::of(3, 1).crashes(1),
            ],
            sometimes: &["waited"],
            ..base()
        },
        Scenario {
            name: "lease-wait-polling",
            about: "others ask again until it is released, or its time and the bound are over (PostgreSQL)",
            hazards: "W2",
            setup: own_clocks,
            body: wait,
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).ticks(1, SHORT),
                Setting::of(3, 1).crashes(1),
            ],
            sometimes: &["waited"],
            ..base()
        },
    ]
}

/// SQLite's model: everyone reads the same clock, and a death is seen.
pub(crate) fn one_machine(world: &mut World) {
    world.leases.sees_deaths = true;
}

/// PostgreSQL's model: nobody's clock is the store's, whose own may jump within the bound; a death is not seen.
pub(crate) fn own_clocks(world: &mut World) {
    world.leases.bound = BOUND;
    world.machines[0].slow_ppm = SLOW;
    for process in 1..world.processes.len() {
        let mut machine = world.machines[0].clone();
        (machine.id, machine.ahead) = (process.to_string().repeat(32), Duration::from_secs(5000));
        world.machines.push(machine);
        world.processes[process].machine = process;
    }
}

/// The store as a client has it.
pub(crate) fn store(ctx: &Ctx) -> LeaseStore<Sim> {
    LeaseStore::on(ctx.host, Arc::new(SimStore { host: ctx.host }))
}

pub(crate) fn jump(ctx: &Ctx, us: i128) {
    ctx.host.befall(Nature::Jump(i64::try_from(us).expect("a short time")));
}

/// Acquires, renews, releases, and looks in between.
pub(crate) fn hold(ctx: &Ctx) {
    hold_as(ctx, store(ctx).lease(NAME, TTL));
}

fn hold_as(ctx: &Ctx, request: Request<Sim>) {
    if let Ok(Some(kept)) = Kept::take(ctx, request, Wait::Never) {
        kept.look();
        // An answer that does not come is shown by the looks.
        let _shown = kept.renew();
        kept.look();
        kept.release();
    }
}

/// Acquires and releases.
pub(crate) fn come(ctx: &Ctx) {
    if let Ok(Some(kept)) = Kept::acquire(ctx, Wait::Never, TTL) {
        kept.look();
        kept.release();
    }
}

/// The first holds, the others wait for as long as it takes.
fn wait(ctx: &Ctx) {
    let wait = if ctx.host.process == 0 { Wait::Never } else { Wait::Forever };
    ctx.each_round(|| {
        let began = with_world(|world| world.time);
        if let Ok(Some(kept)) = Kept::acquire(ctx, wait, SHORT) {
            with_world(expect_in_time);
            if with_world(|world| world.time) > began {
                ctx.sometimes("waited");
            }
            kept.look();
            kept.release();
        }
    });
}

/// A lease, and what its holder was told of it.
pub(super) struct Kept<'a> {
    ctx: &'a Ctx,
    lease: Lease<Sim>,
    /// How often its loss was told.
    told: Arc<AtomicU32>,
    lost: Cell<bool>,
}

impl<'a> Kept<'a> {
    /// Acquires as shipped. `None`: another has it.
    pub(super) fn acquire(ctx: &'a Ctx, wait: Wait, ttl: Duration) -> Result<Option<Kept<'a>>, Error> {
        Kept::take(ctx, store(ctx).lease(NAME, ttl), wait)
    }

    fn take(ctx: &'a Ctx, request: Request<Sim>, wait: Wait) -> Result<Option<Kept<'a>>, Error> {
        let told = Arc::new(AtomicU32::new(0));
        let count = told.clone();
        let request = request.on_loss(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let acquired = request.acquire(wait);
        match acquired {
            Ok(lease) => {
                ctx.enter(Some(lease.deadline()));
                if lease.token().number() > 1 {
                    ctx.sometimes("taken over");
                }
                Ok(Some(Kept { ctx, lease, told, lost: Cell::new(false) }))
            }
            Err(error) if error.is_busy() => Ok(None),
            Err(error) if error.is_lost() || error.is_unreachable() => Err(error),
            Err(error) => {
                broken(format!("P{} could not acquire, for no reason: {error}", ctx.host.process));
                Err(error)
            }
        }
    }

    /// Whether the lease is held still, which nothing brings back once it is not.
    pub(super) fn look(&self) -> bool {
        let held = self.ctx.asks(|| self.lease.is_held());
        self.heard(held);
        held
    }

    /// Asks the store; whether it said yes.
    pub(super) fn renew(&self) -> Result<(), Error> {
        let renewed = self.lease.renew();
        match &renewed {
            Ok(()) => {
                self.ctx.sometimes("renewed");
                self.ctx.host.note(Note::Extend(Some(self.lease.deadline())));
                self.heard(true);
            }
            Err(error) if error.is_lost() => self.heard(false),
            Err(error) if error.is_unreachable() => {}
            Err(error) => {
                broken(format!("P{} could not renew, for no reason: {error}", self.ctx.host.process))
            }
        }
        renewed
    }

    /// Gives it up.
    pub(super) fn release(self) {
        let Kept { ctx, lease, told, lost } = self;
        ctx.leave();
        let released = lease.release();
        let told_before = lost.get();
        if told_before && !released.is_err_and(|error| error.is_lost()) {
            broken(format!("P{} released what it was told it had lost", ctx.host.process));
        }
        if told.load(Ordering::Relaxed) > 1 || (told_before && told.load(Ordering::Relaxed) != 1) {
            broken(format!("P{} was not told of its loss once", ctx.host.process));
        }
    }

    /// Its token.
    pub(super) fn token(&self) -> Token {
        self.lease.token()
    }

    /// What its holder makes of a word on it.
    fn heard(&self, held: bool) {
        let (process, told) = (self.ctx.host.process, self.told.load(Ordering::Relaxed));
        if held && self.lost.get() {
            broken(format!("P{process} holds again what it was told it had lost"));
        }
        if told != u32::from(!held) {
            broken(format!("P{process} was told of the loss {told} times, and it is {held} that it holds"));
        }
        if !held {
            self.lost.set(true);
            self.ctx.leave();
            self.ctx.sometimes("told of the loss");
        }
    }
}

/// A rule is broken.
pub(crate) fn broken(rule: String) {
    with_world(|world| world.check.break_rule(rule));
}

/// A waiter is let in soon after the last holder's release, death or time; ticks are delays of its own.
fn expect_in_time(world: &mut World) {
    let leases = &world.leases;
    let longest = if leases.sees_deaths { POLL } else { SHORT + SHORT / 50 + leases.bound + POLL };
    let idle_for = leases.idle_for.saturating_sub(world.ticked);
    if idle_for > longest {
        world.check.break_rule(format!("nobody held the lease for {idle_for:?}, and somebody waited"));
    }
}

/// A fresh process gets in when the time of whatever was left behind is over, and the bound.
pub(crate) fn judge(ctx: &Ctx) -> Result<(), String> {
    with_world(|world| world.leases.down = false);
    let request = store(ctx).lease(NAME, TTL);
    let acquire = || request.try_acquire().map_err(|error| error.to_string());
    if let Some(lease) = acquire()? {
        return lease.release().map_err(|error| error.to_string());
    }
    let longest = TTL + with_world(|world| world.leases.bound);
    let mut waiter = ctx.host.waiter();
    ctx.host.wait(&mut waiter, Some(ctx.host.now() + longest));
    drop(waiter);
    match acquire()? {
        Some(lease) => lease.release().map_err(|error| error.to_string()),
        None => Err(format!("stuck: nobody holds the lease, and it can't be had after {longest:?}")),
    }
}
