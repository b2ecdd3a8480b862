//! `Journal` in the threads of one process, whose appends are written and synced together.

use tenure::{Durability, Lock, Wait};

use super::document::FAULTS;
use super::journal::{BASE, PAIR, append, append_one, append_pair, append_waiting, empty, journal, own};
use crate::op::Fault;
use crate::scenario::{Scenario, Setting};
use crate::world::World;
use crate::world::power::Durability as Loss;

/// The scenarios of appends that are done together.
pub(super) fn all() -> Vec<Scenario> {
    let twice = |setting: Setting| Setting { faults: 2, ..setting };
    vec![
        Scenario {
            name: "journal-threads",
            about: "threads of one process append, the first a batch of two",
            hazards: "J1 J8 G2",
            setup: threads,
            body: |ctx| match ctx.host.process {
                0 => append_pair(ctx),
                _ => append_one(ctx),
            },
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::Sync]).power(Loss::Minimal),
                twice(Setting::of(2, 1).fault(&[Fault::NoSpace, Fault::Short])),
                Setting::of(3, 1).long(),
                Setting::of(3, 1).crashes(1).long(),
                Setting::of(3, 1).fault(&[Fault::Sync]).power(Loss::Minimal).long(),
            ],
            sometimes: &["a refusal", "a sync that failed"],
            ..BASE
        },
        Scenario {
            name: "journal-threads-durability",
            about: "one thread asks for less than the other",
            hazards: "J8 G1",
            setup: threads,
            body: |ctx| {
                let durability = if ctx.host.process == 0 { Durability::Process } else { Durability::Power };
                append(ctx, &journal(ctx).durability(durability), durability, &[own(ctx, 1)]);
            },
            settings: vec![
                Setting::of(2, 1).crashes(1).power(Loss::Minimal),
                Setting::of(2, 1).fault(&[Fault::Sync]).power(Loss::Minimal),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-threads-stranger",
            about: "threads of one process append, and so does another process",
            hazards: "J1",
            setup: threads_and_a_stranger,
            body: append_one,
            settings: vec![Setting::of(3, 1).long(), Setting::of(3, 1).crashes(1).long()],
            ..BASE
        },
        Scenario {
            name: "journal-threads-giving-up",
            about: "a thread that does not wait gives up the lead, and the next one leads; a stranger has the lock",
            hazards: "G3",
            setup: threads_and_a_stranger,
            body: |ctx| match ctx.host.process {
                0 => drop_told(append_waiting(
                    ctx,
                    &journal(ctx),
                    Wait::Never,
                    Durability::Power,
                    &[own(ctx, PAIR), own(ctx, PAIR + 1)],
                )),
                1 => append_one(ctx),
                _ => drop(Lock::flock_on(ctx.host, "/d/j.lock").acquire(Wait::Forever)),
            },
            settings: vec![Setting::of(3, 1), Setting::of(3, 1).crashes(1).long()],
            sometimes: &["a refusal"],
            ..BASE
        },
    ]
}

/// What was told is in the ledger.
fn drop_told(_appended: bool) {}

/// All processes are threads of the first.
fn threads(world: &mut World) {
    empty(world);
    for thread in 1..world.processes.len() {
        world.make_thread(thread, 0);
    }
}

/// The last process is one of its own.
fn threads_and_a_stranger(world: &mut World) {
    empty(world);
    for thread in 1..world.processes.len() - 1 {
        world.make_thread(thread, 0);
    }
}
