//! `Journal` where files are put in the place of others: rotation, retention, reset.

use tenure::journal::Entry as Found;
use tenure::{Durability, Journal, Reached, Wait};

use super::document::FAULTS;
use super::journal::{
    BASE, FIRST, Following, HEADER, NAME, SECOND, append, append_one, append_pair, bare, excuse, follow,
    journal, judge_missing, kept, own, torn,
};
use crate::host::Sim;
use crate::op::Fault;
use crate::scenario::{Ctx, Scenario, Setting, put_file};
use crate::world::World;
use crate::world::ledger::Entry;
use crate::world::power::Durability as Loss;

/// The first line of a second file.
const SECOND_HEADER: &str = "# tenure-journal 1 4f1c9a2be07d5533 1 2 9e930505\n";

/// The scenarios of rotation, retention and reset.
pub(super) fn all() -> Vec<Scenario> {
    let mut all = rotations();
    all.extend(resets());
    all
}

fn rotations() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "journal-rotate",
            about: "one process begins a new file while another appends",
            hazards: "J6 J8",
            setup: two_records,
            body: |ctx| match ctx.host.process {
                0 => rotate(ctx, &journal(ctx)),
                _ => append_pair(ctx),
            },
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).crashes(1).power(Loss::Minimal).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-rotate-at",
            about: "processes append, each to a new file",
            hazards: "J6 J8",
            setup: two_records,
            body: rotate_and_append,
            settings: vec![
                Setting::of(1, 1).power(Loss::Minimal),
                Setting::of(1, 1).fault(FAULTS).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1).power(Loss::Minimal).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-rotate-torn",
            about: "the file with what a power loss left is rotated away",
            hazards: "J2 J6",
            setup: torn,
            body: rotate_and_append,
            settings: vec![Setting::of(1, 1).power(Loss::Minimal), Setting::of(2, 1).crashes(1)],
            sometimes: &["a tail"],
            ..BASE
        },
        Scenario {
            name: "journal-rotate-read",
            about: "one process reads, and reads on, while another appends to a new file",
            hazards: "J6",
            setup: one_record,
            body: |ctx| match ctx.host.process {
                0 => follow(ctx, 2),
                _ => rotate_and_append(ctx),
            },
            settings: vec![Setting::of(2, 1), Setting::of(2, 1).crashes(1).long(), Setting::of(3, 1).long()],
            ..BASE
        },
        Scenario {
            name: "journal-retain",
            about: "one process begins a new file and gives up the oldest, while others append and read",
            hazards: "J6",
            setup: two_files,
            body: |ctx| match ctx.host.process {
                0 => {
                    ctx.journal(Entry::Dropped(1));
                    rotate(ctx, &journal(ctx).keep_segments(1));
                }
                1 => append_one(ctx),
                _ => Following::new(true).look(ctx),
            },
            judge: |ctx| judge_missing(ctx, true),
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(1, 1).fault(FAULTS).power(Loss::Minimal),
                Setting::of(2, 1).fault(FAULTS).long(),
                Setting::of(3, 1).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-retain-none",
            about: "one process begins a new file, gives up all others, while another reads",
            hazards: "J6",
            setup: two_files,
            body: |ctx| match ctx.host.process {
                0 => {
                    ctx.journal(Entry::Dropped(2));
                    rotate(ctx, &journal(ctx).keep_segments(0));
                }
                _ => {
                    Following::new(true).look(ctx);
                }
            },
            judge: |ctx| judge_missing(ctx, true),
            settings: vec![
                Setting::of(1, 1).power(Loss::Minimal),
                Setting::of(2, 1),
                Setting::of(2, 1).crashes(1).long(),
            ],
            sometimes: &["something missed"],
            ..BASE
        },
    ]
}

fn resets() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "journal-reset",
            about: "one process takes away what it has read while another appends",
            hazards: "J3",
            setup: two_records,
            body: reset_or_append,
            judge: |ctx| judge_missing(ctx, true),
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
                Setting::of(1, 1).fault(FAULTS).power(Loss::Minimal),
                Setting::of(2, 1).fault(FAULTS).long(),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(3, 1).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-reset-files",
            about: "what is taken away stands in two files",
            hazards: "J3",
            setup: two_files,
            body: |ctx| match ctx.host.process {
                0 => reset(ctx, 2),
                _ => append_one(ctx),
            },
            judge: |ctx| judge_missing(ctx, true),
            settings: vec![
                Setting::of(1, 1).power(Loss::Minimal),
                Setting::of(1, 1).fault(FAULTS).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1).long(),
                Setting::of(2, 1).power(Loss::Minimal).long(),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-reset-first-file",
            about: "what is taken away is the first of two files",
            hazards: "J3",
            setup: two_files,
            body: |ctx| match ctx.host.process {
                0 => reset(ctx, 1),
                _ => append_one(ctx),
            },
            judge: |ctx| judge_missing(ctx, true),
            settings: vec![
                Setting::of(1, 1).power(Loss::Minimal),
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).power(Loss::Minimal),
            ],
            ..BASE
        },
        Scenario {
            name: "journal-reset-read",
            about: "one process reads on while another takes away what stands there",
            hazards: "J3",
            setup: two_files,
            body: |ctx| match ctx.host.process {
                0 => reset(ctx, 2),
                _ => {
                    let mut following = Following::new(true);
                    (0..2).for_each(|_| following.look(ctx));
                }
            },
            judge: |ctx| judge_missing(ctx, true),
            settings: vec![Setting::of(2, 1).crashes(1)],
            sometimes: &["something missed"],
            ..BASE
        },
    ]
}

/// A journal with one record.
fn one_record(world: &mut World) {
    bare(world);
    put_file(world, NAME, [HEADER, FIRST].concat().as_bytes());
    kept(world, 1, 90);
}

/// A journal with two records.
fn two_records(world: &mut World) {
    bare(world);
    put_file(world, NAME, [HEADER, FIRST, SECOND].concat().as_bytes());
    kept(world, 1, 90);
    kept(world, 2, 91);
}

/// A journal with a record in each of two files.
fn two_files(world: &mut World) {
    bare(world);
    put_file(world, "j.000001", [HEADER, FIRST].concat().as_bytes());
    put_file(world, NAME, [SECOND_HEADER, SECOND].concat().as_bytes());
    kept(world, 1, 90);
    kept(world, 2, 91);
}

fn rotate(ctx: &Ctx, journal: &Journal<Sim>) {
    if let Err(error) = journal.rotate(Wait::Forever) {
        excuse(ctx, "a rotation", Some(&error));
    }
}

fn rotate_and_append(ctx: &Ctx) {
    append(ctx, &journal(ctx).rotate_at(1), Durability::Power, &[own(ctx, 1)]);
}

fn reset_or_append(ctx: &Ctx) {
    match ctx.host.process {
        0 => reset(ctx, 1),
        _ => append_one(ctx),
    }
}

/// Reads so many records, and takes them away.
fn reset(ctx: &Ctx, count: usize) {
    let journal = journal(ctx);
    let mut reader = match journal.read_from(None) {
        Ok(reader) => reader,
        Err(error) => return excuse(ctx, "the beginning of a reading", Some(&error)),
    };
    for _ in 0..count {
        match reader.next() {
            Ok(Some(Found::Record(_))) => {}
            Ok(_) => return super::journal::break_rule("what stands there is not read".to_owned()),
            Err(error) => return excuse(ctx, "a reading", Some(&error)),
        }
    }
    let (cursor, stamp) = (reader.cursor(), own(ctx, 3));
    drop(reader);
    let sequence = cursor.sequence().unwrap_or(0);
    ctx.journal(Entry::Dropped(sequence));
    let text = ctx.appends(stamp);
    match journal.reset(Wait::Forever, text, Some(&cursor)) {
        Ok(receipt) => {
            let number = receipt.sequences.map(|(_, last)| last);
            if receipt.durability == Reached::Power {
                ctx.journal(Entry::Kept(stamp, number));
                ctx.journal(Entry::Gone(sequence));
            } else {
                excuse(ctx, "a sync that failed", None);
                ctx.journal(Entry::Visible(stamp, number));
            }
        }
        Err(error) => {
            excuse(ctx, "a reset", Some(&error));
            // It may have been done, but for the last of its steps.
            ctx.journal(Entry::Doubtful(stamp));
        }
    }
}
