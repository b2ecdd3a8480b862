//! Small programs, each with a rule that only one order of some calls breaks: every reduction must find it.
#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::Path;
use std::time::Duration;

use tenure::Moment;
use tenure::host::{Host, Open, Woken};
use tenure_sim::explore::search::{Limits, Reductions, search};
use tenure_sim::host::with_world;
use tenure_sim::scenario::{Ctx, Scenario, Setting, put_file, put_stable};
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

fn is_found(setting: Setting, setup: fn(&mut World), body: fn(&Ctx), judge: fn(&Ctx) -> Result<(), String>) {
    let scenario = Scenario {
        name: "",
        about: "",
        hazards: "",
        setup,
        body,
        judge,
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    };
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
