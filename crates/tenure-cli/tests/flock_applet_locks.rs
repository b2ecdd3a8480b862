//! Promise: locks of `tenure flock` and of util-linux's flock(1) exclude each other both ways; a wait is the kernel's, ends in
//! time, and by a signal; a lock lasts as long as somebody has its descriptor, whoever is killed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;
mod three;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{directory, run};
use rustix::process::Signal;
use support::{HOLD, Running, Stray, eventually};
use three::{OURS, PEER, Programs};

/// Every pair of a holder and a comer of which at least one is ours.
const PAIRS: [(&str, &str); 4] = [(PEER, OURS[0]), (OURS[0], PEER), (OURS[0], OURS[0]), (PEER, OURS[1])];

/// Two programs in a directory of their own.
struct Scene {
    programs: Programs,
    at: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { programs: Programs::new(), at: directory() }
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    /// A command of signals' default effects, whatever started these tests.
    fn flock(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(self.programs.path(program)).args(arguments);
        command.current_dir(&self.at);
        command
    }

    fn hold(&self, program: &str, options: &[&str]) -> Running {
        Running::holding(&mut self.flock(program, &[options, &["a", "sh", "-c", HOLD]].concat()))
    }

    /// What `flock -n` with these options ends with: 0 if the lock is free, 1 if not.
    fn attempt(&self, program: &str, options: &[&str]) -> Option<i32> {
        run(&mut self.flock(program, &[&["-n"], options, &["a", "true"]].concat())).code()
    }

    /// Starts one that waits, and waits until the kernel's table of locks says that it does.
    fn waiter(&self, program: &str, options: &[&str]) -> Running {
        let mut waiter = Running::start(&mut self.flock(program, &[options, &["a", "echo", "in"]].concat()));
        let pid = waiter.pid().to_string();
        eventually("a wait in the kernel", || {
            assert!(waiter.is_running(), "it ended: {}", waiter.stderr());
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("-> FLOCK") && line.split(' ').any(|word| word == pid))
        });
        waiter
    }
}

#[test]
fn ours_and_theirs_exclude_each_other() {
    let scene = Scene::new();
    for (holder, comer) in PAIRS {
        let held = scene.hold(holder, &[]);
        for (options, code) in [(&["-x"][..], 1), (&["-s"], 1), (&["-E", "9"], 9), (&["-u"], 0)] {
            assert_eq!(scene.attempt(comer, options), Some(code), "{holder}, {comer} {options:?}");
        }
        held.finish();
        assert_eq!(scene.attempt(comer, &[]), Some(0), "{holder}, {comer}");
        let shared = scene.hold(holder, &["-s"]);
        assert_eq!(scene.attempt(comer, &["-s"]), Some(0), "{holder}, {comer}");
        assert_eq!(scene.attempt(comer, &[]), Some(1), "{holder}, {comer}");
        shared.finish();
    }
}

#[test]
fn a_waiter_gets_the_lock_when_it_is_free() {
    let scene = Scene::new();
    for (holder, comer) in PAIRS {
        for options in [&[][..], &["-w", "600.5"], &["-s", "--timeout=600"]] {
            let held = scene.hold(holder, &[]);
            let waiter = scene.waiter(comer, options);
            held.finish();
            let ended = waiter.ended();
            assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), "in\n"), "{holder}, {comer}");
        }
    }
}

/// Not before the time, that is: how long after is the machine's affair.
#[test]
fn a_wait_ends_when_its_time_is_over() {
    let scene = Scene::new();
    let _held = scene.hold(PEER, &[]);
    for program in [PEER, OURS[0], OURS[1]] {
        for (seconds, code) in [("0.3", "1"), ("1.05", "0"), ("0.0003", "77")] {
            let limit = Duration::from_secs_f64(seconds.parse().unwrap());
            let start = Instant::now();
            let ended = run(&mut scene.flock(program, &["-w", seconds, "-E", code, "a", "touch", "ran"]));
            assert!(start.elapsed() >= limit, "{program} {seconds}");
            assert_eq!(ended.code(), Some(code.parse().unwrap()), "{program} {seconds}");
            assert_eq!((ended.stdout, ended.stderr), (String::new(), String::new()), "{program} {seconds}");
        }
    }
    assert!(!scene.path().join("ran").exists());
}

/// The timer may ring before the wait that it is to end has begun.
#[test]
fn a_wait_that_is_over_at_once_ends_all_the_same() {
    let scene = Scene::new();
    let _held = scene.hold(PEER, &[]);
    for _ in 0..200 {
        let waiter = Running::start(&mut scene.flock(OURS[0], &["-w", "0.000001", "a", "true"]));
        assert_eq!(waiter.ended().code(), Some(1));
    }
}

#[test]
fn a_signal_ends_a_wait_but_a_stray_alarm_does_not_end_one_with_a_limit() {
    let scene = Scene::new();
    for program in [PEER, OURS[0]] {
        let held = scene.hold(PEER, &[]);
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::ALARM] {
            let waiter = scene.waiter(program, &[]);
            waiter.signal(signal);
            assert_eq!(waiter.ended().status.signal(), Some(signal.as_raw()), "{program}");
        }
        let waiter = scene.waiter(program, &["-w", "600"]);
        for _ in 0..20 {
            waiter.signal(Signal::ALARM);
        }
        held.finish();
        assert_eq!(waiter.ended().code(), Some(0), "{program}");
    }
}

/// A killed flock leaves the lock with the command, unless the command was not to have it.
#[test]
fn the_lock_outlives_a_killed_flock_with_its_command() {
    let scene = Scene::new();
    for program in [PEER, OURS[0], OURS[1]] {
        for (options, left) in [(&[][..], Some(1)), (&["-o"], Some(0)), (&["-F"], Some(0))] {
            let mut held = scene.hold(program, options);
            held.signal(Signal::TERM);
            eventually("its end", || !held.is_running());
            // The command has lost its parent, but not its input.
            assert_eq!(scene.attempt(PEER, &[]), left, "{program} {options:?}");
            held.end_input();
            eventually("the command's end", || scene.attempt(PEER, &[]) == Some(0));
        }
    }
}

/// Nobody unlocks: what the command leaves behind keeps the lock.
#[test]
fn a_process_left_in_the_background_keeps_the_lock() {
    let scene = Scene::new();
    for program in [PEER, OURS[0]] {
        let script = "sleep 1000 >/dev/null 2>&1 & echo $! >background";
        assert_eq!(run(&mut scene.flock(program, &["a", "sh", "-c", script])).code(), Some(0));
        let background = Stray::named_in(&scene.path().join("background"));
        assert_eq!(scene.attempt(program, &[]), Some(1), "{program}");
        drop(background);
        eventually("the lock is free", || scene.attempt(program, &[]) == Some(0));
    }
}

#[test]
fn the_lock_of_a_number_stays_with_the_open_file() {
    let scene = Scene::new();
    for (holder, comer) in PAIRS {
        let flock = scene.programs.path(holder);
        let script = "exec 9>>a; \"$0\" 9; echo held; read line; \"$0\" -u 9; echo unlocked; read line";
        let mut shell = Command::new("sh");
        let mut held = Running::holding(shell.args(["-c", script]).arg(&flock).current_dir(&scene.at));
        assert_eq!(scene.attempt(comer, &[]), Some(1), "{holder}, {comer}");
        let waiter = scene.waiter(comer, &["-w", "600"]);
        held.say("\n");
        assert_eq!(waiter.ended().code(), Some(0), "{holder}, {comer}: after -u");
        held.until_stdout("unlocked");
        held.finish();

        let subshell = "( \"$0\" -n 9 || exit 1; echo held; read line ) 9>a";
        let mut shell = Command::new("sh");
        let held = Running::holding(shell.args(["-c", subshell]).arg(&flock).current_dir(&scene.at));
        let busy = "( \"$0\" -w 0.05 -E 4 9; echo $? ) 9<a";
        let comer = scene.programs.path(comer);
        let told = run(Command::new("sh").args(["-c", busy]).arg(comer).current_dir(&scene.at));
        assert_eq!(told.stdout, "4\n", "{holder}");
        held.finish();
    }
}

/// Each reads a number, is slow, and writes the next one.
#[test]
fn no_one_of_a_mixed_crowd_gets_in_beside_another() {
    let scene = Scene::new();
    std::fs::write(scene.path().join("count"), "0").unwrap();
    let step = "read n <count || test \"$n\"; sleep 0.005; echo $((n + 1)) >count";
    let programs = [PEER, OURS[0], OURS[1]];
    let crowd: Vec<Running> = (0..60)
        .map(|number| {
            let options: &[&str] = [&[][..], &["-w", "600"], &["-F"]][number / 3 % 3];
            let arguments = [options, &["a", "sh", "-c", step]].concat();
            Running::start(&mut scene.flock(programs[number % 3], &arguments))
        })
        .collect();
    for running in crowd {
        let ended = running.ended();
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    }
    assert_eq!(std::fs::read_to_string(scene.path().join("count")).unwrap().trim(), "60");
}
