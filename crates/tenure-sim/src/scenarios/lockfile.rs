//! `Lock::lockfile`: acquire, steal, renew, release, persist, break.

use std::path::Path;
use std::time::Duration;

use tenure::host::Host;
use tenure::{Lock, Wait};

use super::flock::BACKSTOP;
use crate::host::{Sim, with_world};
use crate::op::{Fault, Note};
use crate::scenario::{Ctx, Scenario, Setting, nothing, put_file, put_stable};
use crate::world::World;
use crate::world::power::Durability;

/// The lock file.
pub(crate) const LOCK: &str = "/d/a.lock";

/// The lifetime of the scenarios that have one.
pub(crate) const LIFETIME: Duration = Duration::from_secs(10);

/// Long enough for a lock to expire, margins included.
pub(crate) const EXPIRY: Duration = Duration::from_secs(11);

const FAULTS: &[Fault] = &[Fault::Io, Fault::NoSpace, Fault::TooManyFiles, Fault::Short];

/// The scenarios of the lockfile kind.
pub(super) fn all() -> Vec<Scenario> {
    let base = Scenario {
        name: "",
        about: "",
        hazards: "",
        setup: nothing,
        body: |_| {},
        judge,
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    };
    vec![
        Scenario {
            name: "lockfile-first",
            about: "the first acquisitions of all, which create the guard",
            hazards: "L3 L11",
            setup: mark_lock,
            body: |ctx| {
                if let Ok(Some(held)) = lock(ctx).try_acquire() {
                    ctx.hold(held);
                }
            },
            settings: vec![
                Setting::of(2, 1).crashes(2),
                Setting::of(2, 1).crashes(1).reuse(),
                Setting::of(2, 1).power(Durability::Minimal),
                Setting::of(2, 1).crashes(1).power(Durability::Ordered),
                Setting::of(3, 1).crashes(1).long(),
            ],
            ..base
        },
        Scenario {
            name: "lockfile",
            about: "acquire without waiting, release; the next comer steals from the dead",
            hazards: "L1 L2 L3 L6 L10 L11",
            setup: guarded,
            body: |ctx| {
                ctx.each_round(|| {
                    if let Ok(Some(held)) = lock(ctx).try_acquire() {
                        ctx.hold(held);
                    }
                });
            },
            settings: vec![
                Setting::of(2, 2).crashes(2),
                Setting::of(3, 1).crashes(1),
                Setting::of(2, 1).crashes(1).reuse(),
                Setting::of(2, 2).crashes(1).reuse().long(),
                Setting::of(3, 1).crashes(2).long(),
                Setting::of(3, 2).crashes(1).long(),
            ],
            ..base
        },
        Scenario {
            name: "lockfile-stale",
            about: "several find a dead owner's lock file at once",
            hazards: "L1 L2 L11",
            setup: |world| {
                guarded(world);
                put_file(world, "a.lock", &dead_record(world));
            },
            body: |ctx| {
                ctx.each_round(|| {
                    if let Ok(Some(held)) = lock(ctx).try_acquire() {
                        ctx.sometimes("gets in");
                        ctx.hold(held);
                    }
                });
            },
            settings: vec![
                Setting::of(2, 2).crashes(1),
                Setting::of(3, 1),
                Setting::of(2, 1).crashes(2).reuse(),
                Setting::of(3, 1).crashes(1).long(),
            ],
            sometimes: &["gets in"],
            ..base
        },
        Scenario {
            name: "lockfile-wait",
            about: "acquire, waiting as long as it takes",
            hazards: "W2 W3 L6",
            setup: |world| {
                guarded(world);
                world.watches_stable_only = false;
            },
            body: |ctx| {
                ctx.each_round(|| {
                    if let Ok(held) = lock(ctx).acquire(Wait::Forever) {
                        ctx.sometimes("gets in");
                        ctx.hold(held);
                    }
                });
            },
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).ticks(1, BACKSTOP),
                Setting::of(2, 1).fault(&[Fault::LostEvent, Fault::TooManyFiles]),
                Setting::of(3, 1).long(),
            ],
            sometimes: &["gets in"],
            ..base
        },
        Scenario {
            name: "lockfile-faults",
            about: "one call fails, anywhere; nobody is locked out by himself",
            hazards: "L4 L5 L12",
            setup: guarded,
            body: |ctx| {
                let lock = lock(ctx);
                match lock.try_acquire() {
                    Ok(Some(held)) => ctx.hold(held),
                    Ok(None) => expect_another(ctx, &lock),
                    Err(_) => {
                        ctx.sometimes("fails");
                        self_lockout(ctx, &lock);
                    }
                }
            },
            settings: vec![
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).crashes(1).fault(FAULTS).long(),
            ],
            sometimes: &["fails"],
            ..base
        },
        Scenario {
            name: "lockfile-faults-stale",
            about: "one call fails, anywhere, while a lock is taken from the dead",
            hazards: "L5 L12",
            setup: |world| {
                guarded(world);
                put_file(world, "a.lock", &dead_record(world));
            },
            body: |ctx| {
                let lock = lock(ctx);
                match lock.try_acquire() {
                    Ok(Some(held)) => ctx.hold(held),
                    Ok(None) => expect_another(ctx, &lock),
                    Err(_) => self_lockout(ctx, &lock),
                }
            },
            settings: vec![
                Setting::of(1, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).fault(FAULTS),
            ],
            ..base
        },
        Scenario {
            name: "lockfile-lifetime",
            about: "a lifetime that runs out at any moment; renewal; every holder that is robbed is told",
            hazards: "L7 L8 L10 L14",
            setup: guarded,
            body: |ctx| {
                ctx.each_round(|| {
                    limited(ctx);
                });
            },
            settings: vec![
                Setting::of(2, 1).ticks(1, EXPIRY),
                Setting::of(2, 1).ticks(2, EXPIRY).long(),
                Setting::of(2, 1).crashes(1).ticks(1, EXPIRY),
                Setting::of(2, 1).ticks(2, LIFETIME / 2).long(),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).ticks(3, LIFETIME / 2).long(),
                Setting::of(3, 1).ticks(1, EXPIRY).long(),
                Setting::of(2, 2).ticks(2, EXPIRY).long(),
            ],
            sometimes: &["told of the loss", "renewed"],
            ..base
        },
        Scenario {
            name: "lockfile-machines",
            about: "two machines of one name share a file system: what runs elsewhere is unknown, never dead",
            hazards: "L9",
            setup: |world| {
                guarded(world);
                another_machine(world);
            },
            body: |ctx| {
                ctx.each_round(|| {
                    if let Ok(Some(held)) = lock(ctx).try_acquire() {
                        ctx.sometimes("gets in");
                        ctx.hold(held);
                    }
                });
            },
            // A lock of a machine that does not come back has no lifetime: a person must break it.
            judge: |ctx| {
                let _held_elsewhere = lock(ctx).force_break().map_err(|error| error.to_string())?;
                judge(ctx)
            },
            settings: vec![
                Setting::of(2, 2).crashes(2),
                Setting::of(3, 1).long(),
                Setting::of(3, 1).crashes(1).long(),
            ],
            sometimes: &["gets in"],
            ..base
        },
        Scenario {
            name: "lockfile-pid-reuse",
            about: "a new process has the dead owner's pid",
            hazards: "L9",
            setup: |world| {
                guarded(world);
                world.start_after(1, 0);
                world.processes[1].pid = world.processes[0].pid;
            },
            body: |ctx| match lock(ctx).try_acquire() {
                Ok(Some(held)) => ctx.hold(held),
                Ok(None) => {
                    // Whoever has this process's own number is dead.
                    let holders = lock(ctx).holder().unwrap_or_default();
                    if holders.list.iter().any(|holder| holder.pid == ctx.host.identity().pid) {
                        with_world(|world| world.check.break_rule("stuck behind a dead owner's pid".into()));
                    }
                }
                Err(_) => {}
            },
            settings: vec![Setting::of(2, 1).crashes(1), Setting::of(2, 1).crashes(2).reuse()],
            ..base
        },
        Scenario {
            name: "lockfile-persist",
            about: "a lock is given to a handle, outlives its process and a power loss, and is released by the handle",
            hazards: "L10",
            setup: guarded,
            body: |ctx| match ctx.host.process {
                0 => {
                    let Ok(Some(mut held)) = lock(ctx).try_acquire() else { return };
                    ctx.host.note(Note::Begin);
                    let Ok(handle) = held.persist() else { return };
                    ctx.host.note(if handle.is_durable() { Note::Acked } else { Note::Doubtful });
                    drop(held);
                    if ctx.rounds > 1 {
                        ctx.host.note(Note::Released);
                        let _lost_if_broken = handle.release_on(ctx.host);
                    }
                }
                _ => {
                    if let Ok(Some(held)) = lock(ctx).try_acquire() {
                        ctx.hold(held);
                    }
                }
            },
            judge: |ctx| {
                let (acked, released) = with_world(|world| (world.check.acked, world.check.released));
                let held = lock(ctx).try_acquire().map_err(|error| error.to_string())?;
                match (acked, released, held) {
                    (1, false, Some(_)) => Err("a lock that was given to a handle is gone".into()),
                    // What those left who died while they waited is swept by the next holder.
                    (1, false, None) => Ok(()),
                    (_, _, Some(held)) => {
                        ctx.hold(held);
                        ctx.expect_names(&["a.lock.guard"])
                    }
                    // A lock of a handle that nobody has any more needs a person.
                    (_, _, None) => {
                        lock(ctx).force_break().map_err(|error| error.to_string())?;
                        judge(ctx)
                    }
                }
            },
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 2).crashes(1),
                Setting::of(2, 1).power(Durability::Minimal),
                Setting::of(2, 2).fault(&[Fault::LostReply]),
                Setting::of(2, 2).fault(FAULTS).long(),
            ],
            ..base
        },
        Scenario {
            name: "lockfile-break",
            about: "a lock is broken by force while its owner releases it, and the breaker takes it",
            hazards: "L10",
            setup: |world| {
                guarded(world);
                world.check.breaker = Some(1);
            },
            body: |ctx| {
                if ctx.host.process == 1 {
                    break_lock(ctx);
                }
                if let Ok(Some(held)) = lock(ctx).try_acquire() {
                    ctx.hold(held);
                }
            },
            settings: vec![Setting::of(2, 1).crashes(1), Setting::of(3, 1).long()],
            sometimes: &["there is something to break"],
            ..base
        },
        Scenario {
            name: "lockfile-break-newcomer",
            about: "a lock is broken by force while its owner releases it, and a newcomer takes it",
            hazards: "L10",
            setup: |world| {
                guarded(world);
                world.check.breaker = Some(1);
            },
            body: |ctx| match ctx.host.process {
                1 => break_lock(ctx),
                _ => {
                    if let Ok(Some(held)) = lock(ctx).try_acquire() {
                        ctx.hold(held);
                    }
                }
            },
            settings: vec![Setting::of(3, 1)],
            sometimes: &["there is something to break"],
            ..base
        },
    ]
}

fn break_lock(ctx: &Ctx) {
    let broken = lock(ctx).force_break().ok().flatten();
    if broken.is_some() {
        ctx.sometimes("there is something to break");
    }
    expect_broken(broken.and_then(|holders| holders.list.first().map(|holder| holder.pid)));
}

/// What was removed by force must be what the breaker was told of, and no newcomer's.
pub(crate) fn expect_broken(told: Option<u32>) {
    with_world(|world| {
        let removed = world.check.forced.take().map(|maker| world.processes[maker].pid);
        if told != removed {
            let rule =
                format!("told that the lock of pid {told:?} was broken, and it was that of {removed:?}");
            world.check.break_rule(rule);
        }
    });
}

/// One lock with a lifetime: acquired, renewed, released; with each step's answer checked.
fn limited(ctx: &Ctx) {
    let Ok(Some(held)) = lock(ctx).lifetime(Some(LIFETIME)).try_acquire() else { return };
    ctx.enter(held.deadline());
    if held.renew().is_ok() {
        ctx.sometimes("renewed");
        ctx.host.note(Note::Extend(held.deadline()));
    }
    if !ctx.asks(|| held.is_held()) {
        ctx.sometimes("told of the loss");
    }
    ctx.leave();
    let _told_above = held.release();
}

/// Who is told that the lock is held must not be its holder.
fn expect_another(ctx: &Ctx, lock: &Lock<Sim>) {
    let pid = ctx.host.identity().pid;
    let holders = lock.holder().unwrap_or_default();
    if holders.list.iter().any(|holder| holder.pid == pid) {
        with_world(|world| world.check.break_rule("a process locked itself out".into()));
    }
}

/// After an acquisition that failed, the caller must not find himself the holder.
fn self_lockout(ctx: &Ctx, lock: &Lock<Sim>) {
    match lock.try_acquire() {
        Ok(Some(held)) => ctx.hold(held),
        Ok(None) => expect_another(ctx, lock),
        Err(_) => {}
    }
}

fn lock(ctx: &Ctx) -> Lock<Sim> {
    Lock::lockfile_on(ctx.host, LOCK)
}

/// Whoever takes the lock file from a process that holds the lock breaks a rule.
pub(crate) fn mark_lock(world: &mut World) {
    world.check.lock_file = Some(LOCK.into());
}

/// The guard is there already, as after the first acquisition.
pub(crate) fn guarded(world: &mut World) {
    mark_lock(world);
    put_stable(world, "a.lock.guard");
}

/// Processes with odd numbers run on another machine, with the first one's name and its own clock.
pub(crate) fn another_machine(world: &mut World) {
    let mut other = world.machines[0].clone();
    (other.id, other.boot, other.ahead) = ("2".repeat(32), 7, Duration::from_secs(5000));
    world.machines.push(other);
    world.local_fs = false;
    for (number, process) in world.processes.iter_mut().enumerate() {
        process.machine = number % 2;
        // Pids are given by each machine for itself: here the very same.
        process.pid = 100 + u32::try_from(number / 2).expect("few processes");
    }
}

/// The record of a process that is gone.
fn dead_record(world: &World) -> Vec<u8> {
    let identity = world.identity(0);
    let line = serde_json::json!({
        "tenure": 1,
        "nonce": "0".repeat(32),
        "host": identity.host,
        "pid": 77,
        "machine": identity.machine,
        "boot": identity.boot,
        "pid_namespace": identity.pid_namespace,
        "started": 5,
    });
    format!("77\n{line}\n").into_bytes()
}

fn judge(ctx: &Ctx) -> Result<(), String> {
    let held = lock(ctx).acquire(Wait::Forever).map_err(|error| error.to_string())?;
    ctx.enter(None);
    let names = ctx.names();
    ctx.leave();
    held.release().map_err(|error| error.to_string())?;
    if names.iter().any(|name| name.ends_with(".tenure-tmp")) {
        return Err(format!("litter after an acquisition: {names:?}"));
    }
    let _not_there = ctx.host.stat(Path::new(LOCK));
    ctx.expect_names(&["a.lock.guard"])
}
