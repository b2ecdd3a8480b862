//! The rules of a journal, tried on a toy of one and its twins: each twin breaks the rule that it is a twin for.
#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::Path;
use std::time::Duration;

use tenure::host::{Host, Mode, Open};
use tenure_sim::explore::Outcome;
use tenure_sim::explore::search::{Limits, Reductions, search};
use tenure_sim::host::SimFile;
use tenure_sim::op::Fault;
use tenure_sim::scenario::{Ctx, Scenario, Setting, put_file, put_stable, written_in_place};
use tenure_sim::world::World;
use tenure_sim::world::ledger::Entry;
use tenure_sim::world::power::Durability;

const POWER: Setting = Setting::of(2, 1).power(Durability::Minimal);

/// The length of `<n>` and a line's end: who finds all of that has the whole record.
const RECORD: usize = 4;

fn setup(world: &mut World) {
    written_in_place(world, "j");
    put_file(world, "j", b"");
    put_stable(world, "lock");
}

fn locked(ctx: &Ctx, step: impl FnOnce()) {
    let lock = ctx.host.open(Path::new("/d/lock"), Open::Read).unwrap();
    let mut waiter = ctx.host.waiter();
    ctx.host.watch(&mut waiter, &lock);
    while ctx.host.try_flock(&lock, Mode::Exclusive) != Ok(true) {
        // The event comes a moment before the lock is free.
        ctx.host.wait(&mut waiter, Some(ctx.host.now() + Duration::from_millis(250)));
    }
    step();
}

fn journal(ctx: &Ctx) -> SimFile {
    ctx.host.open(Path::new("/d/j"), Open::ReadWrite).unwrap()
}

/// The records of the file, up to the first that is not whole.
fn records(ctx: &Ctx, file: &SimFile) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    loop {
        let (mut record, at) = ([0; RECORD], (found.len() * RECORD) as u64);
        if ctx.host.read_at(file, at, &mut record) != Ok(RECORD) || record[0] != b'<' || record[3] != b'\n' {
            return found;
        }
        found.push(record[..3].to_vec());
    }
}

fn own(ctx: &Ctx) -> u32 {
    u32::try_from(ctx.host.process).unwrap() + 1
}

/// Writes a record; its sequence number.
fn write(ctx: &Ctx, file: &SimFile, payload: &[u8]) -> u64 {
    let count = records(ctx, file).len() as u64;
    ctx.host.write_at(file, count * RECORD as u64, &[payload, b"\n"].concat()).unwrap();
    count
}

fn append(ctx: &Ctx) {
    let payload = ctx.appends(own(ctx));
    locked(ctx, || {
        let file = journal(ctx);
        let sequence = write(ctx, &file, &payload);
        ctx.host.sync_data(&file).unwrap();
        ctx.journal(Entry::Kept(own(ctx), Some(sequence)));
    });
}

/// Without a sync.
fn append_visibly(ctx: &Ctx, told: fn(u32, Option<u64>) -> Entry) {
    let payload = ctx.appends(own(ctx));
    locked(ctx, || {
        let sequence = write(ctx, &journal(ctx), &payload);
        ctx.journal(told(own(ctx), Some(sequence)));
    });
}

fn read(ctx: &Ctx) {
    ctx.journal(Entry::Reads(None));
    let found = records(ctx, &journal(ctx));
    for (sequence, payload) in found.iter().enumerate() {
        ctx.delivered(sequence as u64, payload);
    }
    ctx.journal(Entry::End);
}

fn explore(setting: Setting, body: fn(&Ctx)) -> Outcome {
    let scenario = Scenario {
        name: "",
        about: "",
        hazards: "",
        setup,
        body,
        judge: |ctx| {
            read(ctx);
            Ok(())
        },
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    };
    let limits = Limits { executions: 300_000, time: Duration::from_secs(60), polish: 0 };
    let search = |reductions| search(&scenario, &setting, reductions, limits, &mut |_| {});
    let all = search(Reductions::ALL);
    let cached = search(Reductions { sleep: false, cache: true, at_once: false });
    assert_eq!(
        all.violation.is_some(),
        cached.violation.is_some(),
        "{:?} {:?}",
        all.violation,
        cached.violation
    );
    assert!(all.violation.is_some() || all.complete, "not finished");
    all
}

fn holds(setting: Setting, body: fn(&Ctx)) {
    let outcome = explore(setting, body);
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
}

fn is_caught(setting: Setting, body: fn(&Ctx), rule: &str) {
    let violation = explore(setting, body).violation.unwrap();
    assert!(violation.rule.contains(rule), "{violation:?}");
}

fn append_or_read(ctx: &Ctx) {
    if ctx.host.process == 0 { read(ctx) } else { append(ctx) }
}

#[test]
fn a_journal_with_lock_sync_and_whole_records_holds() {
    holds(Setting::of(2, 1).crashes(1), append);
    holds(Setting::of(2, 1).crashes(1), append_or_read);
    holds(POWER, append);
    holds(POWER, append_or_read);
    holds(POWER, |ctx| append_visibly(ctx, Entry::Visible));
    holds(Setting::of(3, 1), append_or_read);
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    is_caught(POWER, |ctx| append_visibly(ctx, Entry::Kept), "misses the acknowledged payload");
}

#[test]
fn two_writers_without_a_lock_are_caught() {
    let append = |ctx: &Ctx| {
        let payload = ctx.appends(own(ctx));
        let sequence = write(ctx, &journal(ctx), &payload);
        ctx.journal(Entry::Visible(own(ctx), Some(sequence)));
    };
    is_caught(Setting::of(2, 1), append, "to one, and");
}

#[test]
fn a_reader_that_takes_what_is_there_is_caught() {
    let body = |ctx: &Ctx| {
        if ctx.host.process > 0 {
            return append(ctx);
        }
        ctx.journal(Entry::Reads(None));
        let (mut record, file) = ([0; RECORD], journal(ctx));
        match ctx.host.read_at(&file, 0, &mut record).unwrap() {
            0 => {}
            count => ctx.delivered(0, &record[..count.min(3)]),
        }
    };
    is_caught(Setting::of(2, 1), body, "torn or foreign");
}

#[test]
fn a_reader_that_misses_or_skips_or_repeats_is_caught() {
    let misses = |ctx: &Ctx| {
        if ctx.host.process > 0 {
            return append(ctx);
        }
        // What it looked at is older than its question.
        let found = records(ctx, &journal(ctx));
        ctx.journal(Entry::Reads(None));
        let _any_call = ctx.host.stat(Path::new("/d/j"));
        for (sequence, payload) in found.iter().enumerate() {
            ctx.delivered(sequence as u64, payload);
        }
        ctx.journal(Entry::End);
    };
    is_caught(Setting::of(2, 1), misses, "misses the acknowledged payload 2");
    let skips = |ctx: &Ctx| {
        if ctx.host.process > 0 {
            return append(ctx);
        }
        ctx.journal(Entry::Reads(None));
        if let [_, second] = &records(ctx, &journal(ctx))[..] {
            ctx.delivered(1, second);
        }
    };
    is_caught(Setting::of(3, 1), skips, "there is one between");
    let repeats = |ctx: &Ctx| {
        append(ctx);
        ctx.journal(Entry::Reads(None));
        for (sequence, payload) in records(ctx, &journal(ctx)).iter().enumerate() {
            ctx.delivered(sequence as u64, payload);
            ctx.delivered(sequence as u64, payload);
        }
    };
    is_caught(Setting::of(1, 1), repeats, "after number 0");
}

#[test]
fn what_is_in_front_of_what_came_before_it_is_caught() {
    let body = |ctx: &Ctx| {
        let payload = ctx.appends(own(ctx));
        // The second puts its record in front.
        let at = if ctx.host.process == 0 { 1 } else { 0 };
        ctx.host.write_at(&journal(ctx), at * RECORD as u64, &[&payload[..], b"\n"].concat()).unwrap();
        ctx.journal(Entry::Visible(own(ctx), Some(at)));
    };
    is_caught(Setting::of(2, 1), body, "not in the order of their appends");
}

#[test]
fn a_refusal_that_leaves_the_record_is_caught() {
    let body = |ctx: &Ctx| {
        let payload = ctx.appends(own(ctx));
        let Ok(file) = ctx.host.open(Path::new("/d/j"), Open::ReadWrite) else { return };
        let written = ctx.host.write_at(&file, 0, &[&payload[..], b"\n"].concat()) == Ok(RECORD);
        if !written || ctx.host.sync_data(&file).is_err() {
            ctx.journal(Entry::Refused(own(ctx)));
        }
    };
    is_caught(Setting::of(1, 1).fault(&[Fault::Io]), body, "whose append was refused");
}

#[test]
fn a_second_sync_after_a_failed_one_is_caught() {
    let body = |ctx: &Ctx| {
        let payload = ctx.appends(own(ctx));
        let Ok(file) = ctx.host.open(Path::new("/d/j"), Open::ReadWrite) else { return };
        let written = ctx.host.write_at(&file, 0, &[&payload[..], b"\n"].concat()) == Ok(RECORD);
        if written && (ctx.host.sync_data(&file).is_ok() || ctx.host.sync_data(&file).is_ok()) {
            ctx.journal(Entry::Kept(own(ctx), Some(0)));
        }
    };
    let power = Setting::of(1, 1).power(Durability::Minimal);
    is_caught(power.fault(&[Fault::Io]), body, "misses the acknowledged payload");
    holds(power, body);
}

#[test]
fn what_was_taken_away_and_comes_back_or_takes_more_with_it_is_caught() {
    let comes_back = |ctx: &Ctx| {
        append(ctx);
        ctx.journal(Entry::Dropped(0));
        ctx.journal(Entry::Gone(0));
        read(ctx);
    };
    is_caught(Setting::of(1, 1), comes_back, "which was taken away before");
    let takes_more = |ctx: &Ctx| {
        append(ctx);
        ctx.journal(Entry::Dropped(0));
        ctx.journal(Entry::Reads(None));
        if let [_, _, third] = &records(ctx, &journal(ctx))[..] {
            ctx.delivered(2, third);
        }
    };
    is_caught(Setting::of(3, 1), takes_more, "there is one between");
}
