//! `Document::update` from the threads of one process, which are done together.

use std::path::Path;
use std::time::Duration;

use tenure::host::{Host, Mode};
use tenure::{Durability, Error, Lock, Reached, Receipt, Wait};

use super::document::{FAULTS, FILE, document, judge, zero};
use crate::host::with_world;
use crate::op::{Fault, Note};
use crate::scenario::{Ctx, Scenario, Setting, put_stable};
use crate::world::power::Durability as Loss;
use crate::world::{Life, World};

/// Longer than any wait but this one's.
const DEADLINE: Duration = Duration::from_millis(100);

/// The scenarios of combined updates.
pub(super) fn all() -> Vec<Scenario> {
    let base = Scenario {
        name: "",
        about: "",
        hazards: "G1 G2 G3 G4",
        setup: threads,
        body: |_| {},
        judge,
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    };
    vec![
        Scenario {
            name: "combine",
            about: "threads of one process add one each",
            body: |ctx| ctx.each_round(|| add_one(ctx, Wait::Forever, Durability::Power)),
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 2),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(3, 1),
                Setting::of(3, 1).fault(&[Fault::NoSpace]).long(),
                Setting::of(3, 1).crashes(1).long(),
                Setting::of(3, 2).long(),
            ],
            sometimes: &["a batch of two", "a batch that failed", "a promotion"],
            ..base
        },
        Scenario {
            name: "combine-stranger",
            about: "threads of one process add one each, and so does another process",
            setup: threads_and_a_stranger,
            body: |ctx| add_one(ctx, Wait::Forever, Durability::Power),
            settings: vec![
                Setting::of(3, 1),
                Setting::of(3, 1).crashes(1).long(),
                Setting::of(3, 1).fault(&[Fault::Io]).long(),
            ],
            sometimes: &["a batch of two", "a promotion"],
            ..base
        },
        Scenario {
            name: "combine-durability",
            about: "one thread asks for less than the other: the strictest is done, for both",
            body: |ctx| {
                let durability = if ctx.host.process == 0 { Durability::Process } else { Durability::Power };
                add_one(ctx, Wait::Forever, durability);
            },
            settings: vec![
                Setting::of(2, 1).power(Loss::Ordered),
                Setting::of(2, 1).crashes(1).power(Loss::Ordered),
            ],
            sometimes: &["a batch of two"],
            ..base
        },
        Scenario {
            name: "combine-failing",
            about: "of the threads one fails, or finds nothing to change, and is told so only of what stands",
            body: |ctx| match ctx.host.process {
                0 => update(ctx, Wait::Forever, Durability::Power, Ok),
                1 => add_one(ctx, Wait::Forever, Durability::Power),
                _ => update(ctx, Wait::Forever, Durability::Power, |_| Err("no")),
            },
            settings: vec![
                Setting::of(3, 1).fault(&[Fault::NoSpace]),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(3, 1).power(Loss::Minimal).long(),
                Setting::of(3, 1).crashes(1).long(),
            ],
            sometimes: &["a batch of two", "a batch that failed", "one of two undone"],
            ..base
        },
        Scenario {
            name: "combine-giving-up",
            about: "a thread that does not wait gives up the lead, and the next one leads; a stranger has the lock",
            setup: threads_and_a_stranger,
            body: |ctx| match ctx.host.process {
                0 => add_one(ctx, Wait::Never, Durability::Process),
                1 => add_one(ctx, Wait::Forever, Durability::Process),
                _ => {
                    if let Ok(held) = Lock::flock_on(ctx.host, "/d/n.json.lock").acquire(Wait::Forever) {
                        drop(held);
                    }
                }
            },
            settings: vec![Setting::of(3, 1), Setting::of(3, 1).crashes(1)],
            sometimes: &["a refusal", "a promotion", "on after another gave up"],
            ..base
        },
        Scenario {
            name: "combine-deadline",
            about: "one thread's patience ends at any moment, and is refused or served",
            body: |ctx| match ctx.host.process {
                0 => add_one(ctx, Wait::Until(ctx.host.now() + DEADLINE), Durability::Power),
                _ => add_one(ctx, Wait::Forever, Durability::Power),
            },
            settings: vec![Setting::of(2, 1).ticks(1, DEADLINE)],
            sometimes: &["a refusal", "a batch of two"],
            ..base
        },
        Scenario {
            name: "combine-never",
            about: "one thread does not wait, and is refused or served",
            body: |ctx| match ctx.host.process {
                0 => add_one(ctx, Wait::Never, Durability::Power),
                _ => add_one(ctx, Wait::Forever, Durability::Power),
            },
            settings: vec![Setting::of(2, 1).crashes(1), Setting::of(2, 1).fault(FAULTS)],
            sometimes: &["a refusal"],
            ..base
        },
    ]
}

/// All processes are threads of the first.
fn threads(world: &mut World) {
    prepared(world);
    one_process(world);
}

/// Makes all processes threads of the first.
pub(super) fn one_process(world: &mut World) {
    for thread in 1..world.processes.len() {
        world.make_thread(thread, 0);
    }
}

/// The last process is one of its own.
fn threads_and_a_stranger(world: &mut World) {
    prepared(world);
    for thread in 1..world.processes.len() - 1 {
        world.make_thread(thread, 0);
    }
}

fn prepared(world: &mut World) {
    zero(world);
    put_stable(world, "n.json.lock");
}

/// What the document's file holds, as nobody can see it without a call.
fn written() -> u64 {
    with_world(|world| {
        let slot = world.fs.existing(Path::new(FILE)).expect("the document is there from the start");
        number(&world.fs.at(slot).data)
    })
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// What a caller's updater saw, and what it made of it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    number: u64,
    unwritten: bool,
    promoted: bool,
    succeeded: bool,
}

/// Runs one update, and holds what its caller is told against what is there.
fn update(
    ctx: &Ctx,
    wait: Wait,
    durability: Durability,
    mut change: impl FnMut(u64) -> Result<u64, &'static str>,
) {
    let mut seen = Seen::default();
    ctx.host.note(Note::Begin);
    let document = document(ctx).durability(durability);
    let updated = document.update_bytes(wait, |bytes| {
        let before = number(bytes);
        let after = change(before);
        seen = Seen {
            number: *after.as_ref().unwrap_or(&before),
            unwritten: before != written(),
            promoted: leads(ctx) && waited(ctx),
            succeeded: leads(ctx) && waited(ctx) && before == 0 && first_has_ended(),
        };
        after.map(|after| *bytes = after.to_string().into_bytes())
    });
    let weak = |receipt: &Receipt| durability == Durability::Power && receipt.durability == Reached::Process;
    if updated.as_ref().is_ok_and(weak) {
        break_rule(format!("P{} was done less than it asked for", ctx.host.process));
    }
    let reason = |error: &Error| error.is_io() || error.is_busy() || error.is_rejected();
    if let Some(error) = updated.as_ref().err().filter(|error| !reason(error)) {
        break_rule(format!("P{} was refused for no reason: {error}", ctx.host.process));
    }
    let told = updated.as_ref().map_or_else(Error::is_rejected, |_| true);
    if told {
        told_of(ctx, seen.number);
    }
    let happened = [
        (seen.unwritten && updated.is_ok(), "a batch of two"),
        (seen.unwritten && updated.as_ref().is_err_and(Error::is_io), "a batch that failed"),
        (seen.unwritten && updated.as_ref().is_err_and(Error::is_rejected), "one of two undone"),
        (seen.promoted, "a promotion"),
        (seen.succeeded, "on after another gave up"),
        (updated.as_ref().is_err_and(Error::is_busy), "a refusal"),
    ];
    for (_, what) in happened.into_iter().filter(|(happened, _)| *happened) {
        ctx.sometimes(what);
    }
    ctx.host.note(match updated {
        Ok(receipt) if !receipt.changed => Note::Refused,
        Ok(receipt) if receipt.durability == Reached::Power => Note::Acked,
        Ok(_) => Note::Doubtful,
        Err(_) => Note::Refused,
    });
}

/// Breaks a rule if a caller has been told of a number that the document does not hold. Numbers only grow.
pub(crate) fn told_of(ctx: &Ctx, number: u64) {
    if written() < number {
        break_rule(format!("P{} was told of what is not there", ctx.host.process));
    }
}

fn break_rule(rule: String) {
    with_world(|world| world.check.break_rule(rule));
}

fn add_one(ctx: &Ctx, wait: Wait, durability: Durability) {
    update(ctx, wait, durability, |number| Ok(number + 1));
}

/// Whether this thread has the lock.
fn leads(ctx: &Ctx) -> bool {
    with_world(|world| {
        let mut files = world.processes[ctx.host.process].files.iter().flatten();
        files.any(|file| file.lock == Some(Mode::Exclusive))
    })
}

/// Whether the first thread has come to its end.
fn first_has_ended() -> bool {
    with_world(|world| world.processes[0].life == Life::Ended)
}

/// Whether this thread has waited for others.
fn waited(ctx: &Ctx) -> bool {
    with_world(|world| world.processes[ctx.host.process].waiters.iter().any(Option::is_some))
}
