//! `Journal`: appends of several processes, and who reads them meanwhile.

use std::time::Duration;

use tenure::journal::{Entry as Found, Reader};
use tenure::{Durability, Error, Journal, Reached, Wait};

use crate::host::{Sim, with_world};
use crate::op::{Fault, Note};
use crate::scenario::{Ctx, Scenario, Setting, put_file, put_stable, written_in_place};
use crate::world::World;
use crate::world::ledger::Entry;
use crate::world::power::Durability as Loss;

/// The journal.
pub(crate) const FILE: &str = "/d/j";

/// What every file of the journal is called, at its beginning.
pub(crate) const NAME: &str = "j";

/// The first line of a journal that begins.
pub(super) const HEADER: &str = "# tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n";

/// Its first record.
pub(super) const FIRST: &str = "cc2c699f 1 1/1 0 <90>\n";

/// Its second.
pub(super) const SECOND: &str = "632ce6a1 2 1/1 1 <91>\n";

/// Its second, of which the beginning is on the disk and the rest is not, so that zeros stand there. It is as long as another
/// that comes in its place.
const TORN: &str = "faa193ac 2 1/1\0\0\0\0\0\0\0\n";

/// Its third, written when the second was not synced yet.
const BEHIND: &str = "7e72fc1a 3 1/1 1 <9>\n";

/// A number that no process appends.
const JUDGED: u32 = 99;

/// What no scenario does.
pub(super) const BASE: Scenario = Scenario {
    name: "",
    about: "",
    hazards: "",
    setup: empty,
    body: |_| {},
    judge,
    settings: Vec::new(),
    sometimes: &[],
    caught_as: None,
};

/// The scenarios of appends.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "journal",
            about: "each process appends, the first a batch of two",
            hazards: "J1 J5 J8",
            body: |ctx| match ctx.host.process {
                0 => append_pair(ctx),
                _ => append_one(ctx),
            },
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1).power(Loss::Ordered).long(),
                Setting::of(2, 1).crashes(1).power(Loss::Minimal).long(),
                Setting::of(2, 1).crashes(2).long(),
                Setting::of(3, 1).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-again",
            about: "one process appends thrice by what it knows of the file's end, and another between",
            hazards: "J1 J8",
            body: |ctx| match ctx.host.process {
                0 => append_thrice(ctx, Durability::Power),
                _ => append_one(ctx),
            },
            settings: vec![
                Setting::of(1, 1).power(Loss::Minimal),
                Setting::of(2, 1),
                Setting::of(2, 1).crashes(1).long(),
                Setting::of(2, 1).power(Loss::Minimal).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-first",
            about: "the first appends to a journal that does not exist yet",
            hazards: "J1 J8",
            setup: bare,
            body: append_one,
            settings: vec![
                Setting::of(1, 1).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-read",
            about: "one process reads, at any moment, what another appends",
            hazards: "J1 J5",
            body: |ctx| match ctx.host.process {
                0 => follow(ctx, 2),
                1 => append_pair(ctx),
                _ => append_one(ctx),
            },
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(3, 1).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-torn",
            about: "what a power loss left behind the last whole batch is moved away by who appends first",
            hazards: "J2 J5",
            setup: torn,
            body: append_one,
            settings: vec![
                Setting::of(1, 1).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1).power(Loss::Minimal).long(),
            ],
            sometimes: &["a tail"],
            ..BASE
        },
        Scenario {
            name: "journal-torn-read",
            about: "one process reads while another moves away what a power loss left, and appends",
            hazards: "J2 J4",
            setup: torn,
            body: |ctx| match ctx.host.process {
                0 => follow(ctx, 2),
                _ => append_one(ctx),
            },
            settings: vec![Setting::of(2, 1).crashes(1)],
            sometimes: &["a tail"],
            ..BASE
        },
        Scenario {
            name: "journal-torn-outgrown",
            about: "one process reads while another moves a tail away, and appends more than stood there",
            hazards: "J2 J4",
            setup: torn,
            body: |ctx| match ctx.host.process {
                0 => follow(ctx, 1),
                _ => {
                    let journal = journal(ctx);
                    append(ctx, &journal, Durability::Power, &[own(ctx, PAIR), own(ctx, PAIR + 1)]);
                    append(ctx, &journal, Durability::Power, &[own(ctx, 1)]);
                }
            },
            settings: vec![Setting::of(2, 1)],
            sometimes: &["a tail"],
            ..BASE
        },
        Scenario {
            name: "journal-heir",
            about: "a process appends, and dies; then another, which knows nothing of it, appends",
            hazards: "J2 J8",
            setup: |world| {
                empty(world);
                world.start_after(1, 0);
            },
            body: |ctx| match ctx.host.process {
                0 => append_thrice(ctx, Durability::Power),
                _ => append_one(ctx),
            },
            settings: vec![
                Setting::of(2, 1).crashes(1).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1).fault(&[Fault::Sync]).power(Loss::Minimal),
            ],
            sometimes: &["a tail", "a sync that failed"],
            ..BASE
        },
    ]
}

/// An empty journal.
pub(super) fn empty(world: &mut World) {
    bare(world);
    put_file(world, NAME, HEADER.as_bytes());
}

/// A journal with a record that is kept, and behind it what a power loss left of two that nobody was told of.
pub(super) fn torn(world: &mut World) {
    bare(world);
    put_file(world, NAME, [HEADER, FIRST, TORN, BEHIND].concat().as_bytes());
    kept(world, 1, 90);
}

/// Says that this record was acknowledged before all began.
pub(crate) fn kept(world: &mut World, sequence: u64, payload: u32) {
    for entry in [Entry::Begins(payload), Entry::Kept(payload, Some(sequence))] {
        world.check.note(0, Note::Journal(entry), |_| tenure::Moment::from_clock(Duration::ZERO));
    }
}

/// Says that somebody began to append this, and died.
pub(crate) fn in_doubt(world: &mut World, payload: u32) {
    for entry in [Entry::Begins(payload), Entry::Doubtful(payload)] {
        world.check.note(0, Note::Journal(entry), |_| tenure::Moment::from_clock(Duration::ZERO));
    }
}

/// No journal yet.
pub(super) fn bare(world: &mut World) {
    written_in_place(world, NAME);
    put_stable(world, "j.lock");
}

/// The journal, with nothing known of it.
pub(super) fn journal(ctx: &Ctx) -> Journal<Sim> {
    Journal::open_on(ctx.host, FILE)
}

/// A payload of this process.
pub(super) fn own(ctx: &Ctx, number: u32) -> u32 {
    10 * (u32::try_from(ctx.host.process).expect("few processes") + 1) + number
}

/// Appends a record on a journal of which nothing is known.
pub(super) fn append_one(ctx: &Ctx) {
    append(ctx, &journal(ctx), Durability::Power, &[own(ctx, 1)]);
}

/// Appends two records as one batch.
pub(super) fn append_pair(ctx: &Ctx) {
    append(ctx, &journal(ctx), Durability::Power, &[own(ctx, PAIR), own(ctx, PAIR + 1)]);
}

/// Appends a batch between two records; the second time and the third the end of the file is known.
pub(super) fn append_thrice(ctx: &Ctx, durability: Durability) {
    let journal = journal(ctx).durability(durability);
    append(ctx, &journal, durability, &[own(ctx, 1)]);
    append(ctx, &journal, durability, &[own(ctx, PAIR), own(ctx, PAIR + 1)]);
    append(ctx, &journal, durability, &[own(ctx, 2)]);
}

/// The first of two payloads that are appended as one.
pub(super) const PAIR: u32 = 5;

/// Appends payloads as one batch, and tells what became of it.
pub(super) fn append(ctx: &Ctx, journal: &Journal<Sim>, durability: Durability, payloads: &[u32]) -> bool {
    append_waiting(ctx, journal, Wait::Forever, durability, payloads)
}

pub(super) fn append_waiting(
    ctx: &Ctx,
    journal: &Journal<Sim>,
    wait: Wait,
    durability: Durability,
    payloads: &[u32],
) -> bool {
    let records: Vec<Vec<u8>> = payloads.iter().map(|payload| ctx.appends(*payload)).collect();
    match journal.append(wait, records) {
        Ok(receipt) => {
            let first = receipt.sequences.map_or(0, |(first, _)| first);
            if durability == Durability::Process && receipt.durability != Reached::Process
                || durability == Durability::Power && receipt.durability == Reached::Process
            {
                break_rule(format!("P{} was promised something else than it asked for", ctx.host.process));
            }
            if receipt.durability == Reached::Unknown {
                excuse(ctx, "a sync that failed", None);
                ctx.sometimes("a sync that failed");
            }
            if receipt.recovery.is_some() {
                ctx.sometimes("a tail");
            }
            for (payload, sequence) in payloads.iter().zip(first..) {
                ctx.journal(match receipt.durability {
                    Reached::Power => Entry::Kept(*payload, Some(sequence)),
                    _ => Entry::Visible(*payload, Some(sequence)),
                });
            }
            true
        }
        Err(error) => {
            if wait != Wait::Never || !error.is_busy() {
                excuse(ctx, "an append", Some(&error));
            }
            ctx.sometimes("a refusal");
            payloads.iter().for_each(|payload| ctx.journal(Entry::Refused(*payload)));
            false
        }
    }
}

/// Breaks a rule unless this process has met a fault, which the error is about.
pub(super) fn excuse(ctx: &Ctx, what: &str, error: Option<&Error>) {
    let process = ctx.host.process;
    let is_excused = with_world(|world| {
        let is_own =
            world.check.failed.iter().any(|failed| world.main_thread(*failed) == world.main_thread(process));
        match error {
            // The kernel tells everyone who has the file open.
            None => !world.check.failed.is_empty(),
            Some(error) => is_own && error.is_io(),
        }
    });
    if !is_excused {
        let error = error.map(ToString::to_string).unwrap_or_default();
        break_rule(format!("P{process}: {what} failed for no reason: {error}"));
    }
}

pub(super) fn break_rule(rule: String) {
    with_world(|world| world.check.break_rule(rule));
}

/// A reader on its way.
pub(super) struct Following {
    reader: Option<Reader<Sim>>,
    /// What it was given last.
    pub(super) at: Option<u64>,
    /// The payload that must come next, since it stands in one batch with the one before.
    rest: Option<u32>,
    may_miss: bool,
}

impl Following {
    pub(super) fn new(may_miss: bool) -> Following {
        Following { reader: None, at: None, rest: None, may_miss }
    }

    /// Reads all that is there.
    pub(super) fn look(&mut self, ctx: &Ctx) {
        ctx.journal(Entry::Reads(self.at));
        if self.reader.is_none() {
            match journal(ctx).read_from(None) {
                Ok(reader) => self.reader = Some(reader),
                Err(error) => return excuse(ctx, "the beginning of a reading", Some(&error)),
            }
        }
        let Some(reader) = &mut self.reader else { return };
        loop {
            match reader.next() {
                Ok(Some(Found::Record(record))) => {
                    let sequence = record.sequence.unwrap_or(0);
                    self.at = Some(sequence);
                    let payload = std::str::from_utf8(&record.payload).ok();
                    let payload = payload.and_then(|text| text.trim_matches(['<', '>']).parse().ok());
                    if self.rest.is_some() && self.rest != payload {
                        break_rule(format!("P{} was given half a batch", ctx.host.process));
                    }
                    self.rest =
                        payload.filter(|payload: &u32| payload % 10 == PAIR).map(|payload| payload + 1);
                    ctx.delivered(sequence, &record.payload);
                }
                Ok(Some(Found::Missed(missed))) => {
                    ctx.sometimes("something missed");
                    if !self.may_miss {
                        break_rule(format!("P{} was told that it missed {missed:?}", ctx.host.process));
                    }
                }
                Ok(None) => {
                    if self.rest.is_some() {
                        break_rule(format!("P{} was given half a batch", ctx.host.process));
                    }
                    return ctx.journal(Entry::End);
                }
                Err(error) => return excuse(ctx, "a reading", Some(&error)),
            }
        }
    }
}

/// Reads to the end, as many times.
pub(super) fn follow(ctx: &Ctx, times: usize) {
    let mut following = Following::new(false);
    (0..times).for_each(|_| following.look(ctx));
}

/// All is there, another record can be appended, and then all is there again, sound, and nothing lies about.
pub(crate) fn judge(ctx: &Ctx) -> Result<(), String> {
    judge_missing(ctx, false)
}

pub(super) fn judge_missing(ctx: &Ctx, may_miss: bool) -> Result<(), String> {
    Following::new(may_miss).look(ctx);
    append(ctx, &journal(ctx), Durability::Power, &[JUDGED]);
    Following::new(may_miss).look(ctx);
    let report = journal(ctx).verify(|_, _| {}).map_err(|error| error.to_string())?;
    if !report.damage.is_empty() || report.tail.is_some() {
        return Err(format!("not sound after an append: {report:?}"));
    }
    let counted = report.sequences.map_or(0, |(first, last)| last - first + 1);
    if report.records > counted || (!may_miss && report.records < counted) {
        return Err(format!("records missing, or there twice: {report:?}"));
    }
    match ctx.names().iter().find(|name| name.ends_with("tenure-tmp")) {
        Some(name) => Err(format!("litter: {name}")),
        None => Ok(()),
    }
}
