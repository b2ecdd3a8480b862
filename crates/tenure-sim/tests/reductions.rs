//! Small programs, each with a rule that only one order of some calls breaks: every reduction must find it.
#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::Path;
use std::time::Duration;

use tenure::Moment;
use tenure::host::{Errno, Host, Open, Woken};
use tenure_sim::explore::search::{Limits, Reductions, search};
use tenure_sim::host::{SimFile, with_world};
use tenure_sim::op::{Fault, Note};
use tenure_sim::scenario::{Ctx, Scenario, Setting, counted, put_file, put_stable, written_in_place};
use tenure_sim::world::World;
use tenure_sim::world::power::Durability;

const NEW: Open = Open::New { mode: 0o600 };

const ALL: [(bool, bool, bool); 6] = [
    (false, false, false),
    (false, true, false),
    (true, false, false),
    (true, true, false),
    (false, false, true),
    (true, true, true),
];

fn break_rule(rule: &str) {
    with_world(|world| world.check.break_rule(rule.to_owned()));
}

fn two_files(world: &mut World) {
    put_file(world, "a", b"x");
    put_file(world, "b", b"y");
}

fn scenario(setup: fn(&mut World), body: fn(&Ctx), judge: fn(&Ctx) -> Result<(), String>) -> Scenario {
    Scenario {
        name: "",
        about: "",
        hazards: "",
        setup,
        body,
        judge,
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    }
}

fn is_found(setting: Setting, setup: fn(&mut World), body: fn(&Ctx), judge: fn(&Ctx) -> Result<(), String>) {
    let scenario = scenario(setup, body, judge);
    let limits = Limits { executions: 100_000, time: Duration::from_secs(60), polish: 0 };
    let missed = ALL.into_iter().filter(|(sleep, cache, at_once)| {
        let reductions = Reductions { sleep: *sleep, cache: *cache, at_once: *at_once };
        search(&scenario, &setting, reductions, limits, &mut |_| {}).violation.is_none()
    });
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "not found with (sleep, cache, at once) {missed:?}");
}

fn anything(_: &Ctx) -> Result<(), String> {
    Ok(())
}

#[test]
fn a_close_wakes_who_began_to_watch_just_before_it() {
    is_found(
        Setting::of(2, 1),
        |_| {},
        |ctx| {
            let (host, path) = (ctx.host, Path::new("/d/new"));
            if host.process == 0 {
                return drop(host.open(path, NEW));
            }
            let Ok(file) = host.open(path, Open::Read) else { return };
            let mut waiter = host.waiter();
            host.watch(&mut waiter, &file);
            if host.wait(&mut waiter, Some(host.now() + Duration::from_secs(1))) == Woken::Changed {
                break_rule("woken by a close");
            }
        },
        anything,
    );
}

#[test]
fn a_temporary_file_is_swept_before_its_maker_looks_at_it() {
    const NAME: &str = "/d/.a.0000000000000000.tenure-tmp";
    is_found(
        Setting::of(2, 1),
        |_| {},
        |ctx| match ctx.host.process {
            0 => {
                let file = ctx.host.open(Path::new(NAME), NEW).unwrap();
                if ctx.host.stat_file(&file).unwrap().links == 0 {
                    break_rule("swept");
                }
            }
            _ => {
                let _not_there = ctx.host.unlink(Path::new(NAME));
            }
        },
        anything,
    );
}

#[test]
fn a_descriptor_keeps_the_number_of_a_deleted_file_until_it_is_closed() {
    is_found(
        Setting::of(2, 1).reuse(),
        two_files,
        |ctx| {
            let (host, path) = (ctx.host, Path::new("/d/a"));
            if host.process == 0 {
                return drop(host.open(path, Open::Read));
            }
            let old = host.stat(path).unwrap().id;
            host.unlink(path).unwrap();
            let files = ["/d/c", "/d/e"].map(|name| host.open(Path::new(name), NEW).unwrap());
            let [first, second] = files.each_ref().map(|file| host.id(file).unwrap());
            if first != old && second == old {
                break_rule("the number was free only between the two");
            }
        },
        anything,
    );
}

#[test]
fn states_with_another_order_of_free_numbers_are_different() {
    is_found(Setting::of(3, 1).reuse(), two_files, |ctx| free_and_make(ctx, 1), anything);
    is_found(Setting::of(3, 1).reuse(), two_files, |ctx| free_and_make(ctx, 2), anything);
}

fn free_and_make(ctx: &Ctx, number: u64) {
    match ctx.host.process {
        0 => ctx.host.unlink(Path::new("/d/a")).unwrap(),
        1 => ctx.host.unlink(Path::new("/d/b")).unwrap(),
        _ => {
            let names = ctx.host.list(Path::new("/d"), "".as_ref()).unwrap();
            let file = ctx.host.open(Path::new("/d/c"), NEW).unwrap();
            if names.is_empty() && ctx.host.id(&file).unwrap().inode % 100 == number {
                break_rule("this number was freed last");
            }
        }
    }
}

#[test]
fn a_rename_is_one_change_on_the_disk_and_two_calls_are_two() {
    // In memory the two ways lead to the same; a power loss tells them apart.
    is_found(
        Setting::of(2, 1).power(Durability::Minimal),
        two_files,
        |ctx| match ctx.host.process {
            0 => {
                let _other_way = ctx.host.rename(Path::new("/d/a"), Path::new("/d/c"));
            }
            _ => {
                let Ok(file) = ctx.host.open(Path::new("/d/a"), Open::Read) else { return };
                if ctx.host.unlink(Path::new("/d/a")).is_ok() {
                    let _renamed_before = ctx.host.publish(&file, Path::new("/d/c"));
                }
            }
        },
        |ctx| match ctx.names()[..] {
            [ref a, _, ref c] if a == "a" && c == "c" => Err("both names are left".into()),
            _ => Ok(()),
        },
    );
}

#[test]
fn what_happens_to_a_file_that_is_said_to_stay_breaks_a_rule() {
    is_found(
        Setting::of(2, 1),
        |world| put_stable(world, "s"),
        |ctx| {
            let path = Path::new("/d/s");
            match ctx.host.process {
                0 => {
                    let file = ctx.host.open(path, Open::Read).unwrap();
                    ctx.host.set_mode(&file, 0o600).unwrap();
                }
                _ => {
                    ctx.host.stat(path).unwrap();
                }
            }
        },
        anything,
    );
}

#[test]
fn whoever_opens_anothers_temporary_file_breaks_a_rule() {
    const NAME: &str = "/d/.a.0000000000000000.tenure-tmp";
    is_found(
        Setting::of(2, 1),
        |_| {},
        |ctx| match ctx.host.process {
            0 => {
                let file = ctx.host.open(Path::new(NAME), NEW).unwrap();
                ctx.host.write(&file, b"x").unwrap();
            }
            _ => drop(ctx.host.open(Path::new(NAME), Open::Read)),
        },
        anything,
    );
}

#[test]
fn whoever_asks_late_and_is_told_yes_breaks_a_rule() {
    is_found(
        Setting::of(2, 1).ticks(1, Duration::from_secs(11)),
        |_| {},
        |ctx| {
            let end = Moment::from_clock(Duration::from_secs(1010));
            if ctx.host.process == 0 {
                ctx.enter(Some(end));
                // Wrong: it does not look at the clock.
                ctx.asks(|| true);
            } else if ctx.host.now() >= end {
                ctx.enter(None);
            }
            ctx.leave();
        },
        anything,
    );
}

/// A file that is written in place, with some content.
fn in_place(world: &mut World) {
    written_in_place(world, "j");
    put_file(world, "j", b"....");
}

fn journal(ctx: &Ctx) -> SimFile {
    ctx.host.open(Path::new("/d/j"), Open::ReadWrite).unwrap()
}

fn content(ctx: &Ctx) -> Vec<u8> {
    let mut bytes = [0; 16];
    let count = ctx.host.read_at(&journal(ctx), 0, &mut bytes).unwrap();
    bytes[..count].to_vec()
}

/// Where the judge finds `rule`, it is broken.
fn left(ctx: &Ctx, rule: &[u8]) -> Result<(), String> {
    if content(ctx) == rule { Err("this is left".to_owned()) } else { Ok(()) }
}

/// No rule is broken in any run.
fn holds(setting: Setting, body: fn(&Ctx), judge: fn(&Ctx) -> Result<(), String>) {
    let limits = Limits { executions: 100_000, time: Duration::from_secs(60), polish: 0 };
    let scenario = scenario(in_place, body, judge);
    let outcome = search(&scenario, &setting, Reductions::ALL, limits, &mut |_| {});
    assert!(outcome.complete && outcome.violation.is_none(), "{:?}", outcome.violation);
}

fn is_left(setting: Setting, body: fn(&Ctx), judge: fn(&Ctx) -> Result<(), String>) {
    is_found(setting, in_place, body, judge);
}

#[test]
fn a_reader_sees_half_of_a_write_and_a_death_leaves_it() {
    is_found(
        Setting::of(2, 1),
        in_place,
        |ctx| match ctx.host.process {
            0 => drop(ctx.host.write_at(&journal(ctx), 0, b"abcd")),
            _ if content(ctx) == b"ab.." => break_rule("half is read"),
            _ => {}
        },
        anything,
    );
    let write = |ctx: &Ctx| {
        ctx.host.write_at(&journal(ctx), 0, b"abcd").unwrap();
    };
    is_left(Setting::of(1, 1).crashes(1), write, |ctx| left(ctx, b"ab.."));
}

#[test]
fn a_full_disk_stops_a_write_in_the_middle() {
    const FULL: &[Fault] = &[Fault::Short, Fault::NoSpace];
    is_found(
        Setting { faults: 2, ..Setting::of(1, 1).fault(FULL) },
        in_place,
        |ctx| {
            let file = journal(ctx);
            if ctx.host.write_at(&file, 0, b"abcd") == Ok(2)
                && ctx.host.write_at(&file, 2, b"cd") == Err(Errno::NOSPC)
            {
                break_rule("half is written");
            }
        },
        anything,
    );
}

#[test]
fn a_power_loss_leaves_any_part_of_what_is_not_synced() {
    let power = Setting::of(1, 1).power(Durability::Minimal);
    let write = |ctx: &Ctx| {
        let file = journal(ctx);
        ctx.host.write_at(&file, 2, b"abcd").unwrap();
        ctx.host.truncate(&file, 5).unwrap();
    };
    is_left(power, write, |ctx| left(ctx, b"...."));
    is_left(power, write, |ctx| left(ctx, b"..ab"));
    is_left(power, write, |ctx| left(ctx, b"....\0\0"));
    // A block that is there is old or new: zeros stand only where nothing stood.
    holds(power, write, |ctx| left(ctx, b"..\0\0\0\0"));
    is_left(power, write, |ctx| left(ctx, b"....c"));
    is_left(power, write, |ctx| left(ctx, b"..abcd"));
    is_left(power, write, |ctx| left(ctx, b"..abc"));
}

#[test]
fn a_sync_keeps_what_was_written_unless_one_failed_before() {
    let power = Setting::of(1, 1).power(Durability::Minimal);
    let write = |ctx: &Ctx| {
        let Ok(file) = ctx.host.open(Path::new("/d/j"), Open::ReadWrite) else { return };
        let synced = || ctx.host.sync_data(&file).is_ok();
        if ctx.host.write_at(&file, 0, b"ab").is_ok() && (synced() || synced()) {
            ctx.host.note(Note::Acked);
        }
    };
    let judge = |ctx: &Ctx| match counted().0 {
        1 => left(ctx, b"...."),
        _ => Ok(()),
    };
    is_left(power.fault(&[Fault::Io]), write, judge);
    holds(power, write, judge);
    // What is written again is saved.
    let again = |ctx: &Ctx| {
        let Ok(file) = ctx.host.open(Path::new("/d/j"), Open::ReadWrite) else { return };
        let write = || {
            let written = ctx.host.write_at(&file, 0, b"ab").is_ok();
            written && ctx.host.sync_data(&file).is_ok()
        };
        if write() || write() {
            ctx.host.note(Note::Acked);
        }
    };
    holds(power.fault(&[Fault::Io]), again, judge);
}

#[test]
fn a_failed_sync_is_told_to_those_who_had_the_file_open_alone() {
    let setting = Setting::of(2, 1).power(Durability::Minimal).fault(&[Fault::Io]);
    is_found(
        setting,
        in_place,
        |ctx| {
            let Ok(file) = ctx.host.open(Path::new("/d/j"), Open::ReadWrite) else { return };
            let failed = ctx.host.sync_data(&file).is_err();
            if failed && ctx.host.process == 0 {
                ctx.host.note(Note::Acked);
            } else if failed && counted().0 == 1 {
                break_rule("told of another's");
            }
        },
        anything,
    );
    is_found(
        setting,
        in_place,
        |ctx| {
            let Ok(file) = ctx.host.open(Path::new("/d/j"), Open::ReadWrite) else { return };
            let failed = ctx.host.sync_data(&file).is_err();
            if failed && ctx.host.process == 0 {
                ctx.host.note(Note::Acked);
            } else if !failed && counted().0 == 1 {
                break_rule("opened behind another's failure");
            }
        },
        anything,
    );
    holds(
        setting,
        |ctx| {
            let is_late = counted().0 == 1;
            let Ok(file) = ctx.host.open(Path::new("/d/j"), Open::ReadWrite) else { return };
            let failed = ctx.host.sync_data(&file).is_err();
            ctx.host.note(if failed { Note::Acked } else { Note::Refused });
            if is_late && failed {
                break_rule("told of what was before");
            }
        },
        anything,
    );
}

#[test]
fn a_write_wakes_who_watches_for_it() {
    is_found(
        Setting::of(2, 1),
        in_place,
        |ctx| {
            let (host, file) = (ctx.host, journal(ctx));
            if host.process == 0 {
                host.write_at(&file, 0, b"abcd").unwrap();
                // It does not close the file before the other is awake.
                let mut waiter = host.waiter();
                host.wait(&mut waiter, Some(host.now() + Duration::from_secs(9)));
                return;
            }
            let mut waiter = host.waiter();
            assert!(host.watch_writes(&mut waiter, &file));
            if host.wait(&mut waiter, Some(host.now() + Duration::from_secs(1))) == Woken::Changed
                && content(ctx) == b"abcd"
            {
                break_rule("woken by a write");
            }
        },
        anything,
    );
}

#[test]
fn who_writes_in_place_and_does_not_say_so_breaks_a_rule() {
    is_found(
        Setting::of(2, 1),
        two_files,
        |ctx| {
            let file = ctx.host.open(Path::new("/d/a"), Open::ReadWrite).unwrap();
            match ctx.host.process {
                0 => drop(ctx.host.write_at(&file, 0, b"x")),
                _ => drop(ctx.host.read_at(&file, 0, &mut [0; 1])),
            }
        },
        anything,
    );
    is_found(
        Setting::of(1, 1),
        |world| {
            written_in_place(world, "j");
            put_file(world, "a", b"");
        },
        |ctx| ctx.host.rename(Path::new("/d/a"), Path::new("/d/j")).unwrap(),
        anything,
    );
}
