//! `Document::update` from the threads of one process, which are done together.

use std::path::Path;
use std::time::Duration;

use tenure::host::{Host, Mode};
use tenure::{Durability, Moment, Reached, Wait};

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
        hazards: "C1 C2",
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
                Setting::of(3, 1),
                Setting::of(2, 2),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(3, 1).fault(&[Fault::NoSpace]),
                Setting::of(3, 1).crashes(1).long(),
                Setting::of(3, 2).long(),
            ],
            sometimes: &["a batch of two", "a batch that failed", "a promotion"],
            ..base
        },
    ]
}

/// All processes are threads of the first.
fn threads(world: &mut World) {
    prepared(world);
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
pub(crate) fn written() -> u64 {
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
        };
        after.map(|after| *bytes = after.to_string().into_bytes())
    });
    let told = updated.as_ref().map_or_else(|error| error.is_rejected(), |_| true);
    if told && written() < seen.number {
        with_world(|world| world.check.break_rule(format!("{} was told of what is not there", ctx.host.process)));
    }
    let happened = [
        (seen.unwritten && updated.is_ok(), "a batch of two"),
        (seen.unwritten && updated.as_ref().is_err_and(tenure::Error::is_io), "a batch that failed"),
        (seen.unwritten && updated.as_ref().is_err_and(tenure::Error::is_rejected), "one of two undone"),
        (seen.promoted, "a promotion"),
        (updated.as_ref().is_err_and(tenure::Error::is_busy), "a refusal"),
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

/// Whether this thread has waited for others.
fn waited(ctx: &Ctx) -> bool {
    with_world(|world| world.processes[ctx.host.process].waiters.iter().any(Option::is_some))
}
