//! Promise: whatever becomes of `tenure run --lease`, its command is gone before the lease can be another's, nothing of it is left,
//! and the lease is free as soon as that is so.
//!
//! The witness is a loop in the command's group that ignores SIGTERM and writes the time every few milliseconds: its last line
//! must be earlier than the first of the next holder.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{directory, tenure};
use rustix::process::{Pid, Signal, kill_process};
use support::{HOLD, Running, eventually, flock_holder, group_members, lease_run, stat};

/// Writes the group's number, then times for ever, whatever it is asked.
const WITNESS: &str = "trap '' TERM; read pid name state parent group rest < /proc/self/stat; echo $group > group; \
                       (while :; do date +%s%N; sleep 0.01; done >> times) & echo held; \
                       while :; do sleep 1000; done";

/// Much less than the time to live of those whose lease is to be free before its end, and much more than anything takes here.
const SOON: Duration = Duration::from_secs(200);

fn group(directory: &Path) -> i32 {
    std::fs::read_to_string(directory.join("group")).unwrap().trim().parse().unwrap()
}

fn watchdog(group: i32) -> Pid {
    Pid::from_raw(stat(group).expect("the anchor leads the group")[1].parse().unwrap()).unwrap()
}

/// The time of the witness's last line.
fn last_time(directory: &Path) -> u128 {
    let times = std::fs::read_to_string(directory.join("times")).unwrap();
    times.lines().last().unwrap().parse().unwrap()
}

/// Lets somebody wait for the lease, who says when it has come.
fn next_holder(directory: &Path) -> Running {
    let mut next = Running::start(&mut lease_run(directory, &["--ttl", "300s"], "date +%s%N"));
    next.until_waiting();
    next
}

/// Waits for the next holder, who must have come after the witness was gone.
fn assert_after(directory: &Path, next: Running) {
    let ended = next.ended();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let began: u128 = ended.stdout.trim().parse().unwrap();
    let last = last_time(directory);
    assert!(last < began, "the witness wrote {} ns after the next holder came", last - began);
}

fn assert_nothing_left(group: i32, watchdog: Pid) {
    eventually("nothing is left, and no zombie", || {
        group_members(group).is_empty() && stat(watchdog.as_raw_nonzero().get()).is_none()
    });
}

#[test]
fn the_command_of_a_killed_tenure_is_killed_and_its_lease_released() {
    let directory = directory();
    let path = directory.path();
    let mut holder = Running::holding(&mut lease_run(path, &["--ttl", "300s"], WITNESS));
    let (group, began) = (group(path), Instant::now());
    let watchdog = watchdog(group);
    let next = next_holder(path);
    holder.kill();
    assert_after(path, next);
    assert!(began.elapsed() < SOON, "nobody waited for the end of the time to live");
    assert_nothing_left(group, watchdog);
}

#[test]
fn the_command_of_a_stopped_tenure_is_gone_before_the_lease_is_anothers() {
    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "3s", "--grace", "1s"], WITNESS));
    let group = group(path);
    let watchdog = watchdog(group);
    let next = next_holder(path);
    holder.signal(Signal::STOP);
    assert_after(path, next);
    assert!(group_members(group).iter().all(|pid| stat(*pid).is_none_or(|fields| fields[0] == "Z")));
    holder.signal(Signal::CONT);
    let ended = holder.ended();
    assert_eq!(ended.code(), Some(79), "{}", ended.stderr);
    // What it notices first when it goes on, the loss or the end of its command, decides the words.
    assert!(ended.stderr.contains("lease") && ended.stderr.contains("(token 1)"), "{}", ended.stderr);
    assert_nothing_left(group, watchdog);
}

/// Also while it is stopped, which nobody could tell it then.
#[test]
fn the_command_of_a_tenure_that_is_stopped_and_killed_is_gone_too() {
    let directory = directory();
    let path = directory.path();
    let mut holder = Running::holding(&mut lease_run(path, &["--ttl", "300s"], WITNESS));
    let group = group(path);
    let watchdog = watchdog(group);
    let next = next_holder(path);
    holder.signal(Signal::STOP);
    rustix::process::kill_process_group(Pid::from_raw(group).unwrap(), Signal::STOP).unwrap();
    holder.kill();
    assert_after(path, next);
    assert_nothing_left(group, watchdog);
}

#[test]
fn a_lease_that_is_broken_ends_its_command() {
    let directory = directory();
    let path = directory.path();
    let script = "trap 'echo asked; exit 0' TERM; echo held; while :; do sleep 0.05; done";
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "6s"], script));
    let broken = tenure(path, ["lease", "break", "sqlite:l.db#job", "--reason", "moving house", "--yes"]);
    assert_eq!(broken.code(), Some(0), "{}", broken.stderr);
    let ended = holder.ended();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(79), "held\nasked\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("released by force: moving house"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("tenure: ").count(), 1, "it says so once: {}", ended.stderr);
}

/// One that is stopped could not answer otherwise.
#[test]
fn a_stopped_command_is_continued_to_end() {
    let directory = directory();
    let path = directory.path();
    let script = "trap 'echo asked; exit 0' TERM; echo $$ > command; echo held; while :; do sleep 0.05; done";
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "30s", "--grace", "10s"], script));
    let command = std::fs::read_to_string(path.join("command")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(command).unwrap(), Signal::STOP).unwrap();
    let broken = tenure(path, ["lease", "break", "sqlite:l.db#job", "--reason", "moving house", "--yes"]);
    assert_eq!(broken.code(), Some(0), "{}", broken.stderr);
    let ended = holder.ended();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(79), "held\nasked\n"), "{}", ended.stderr);
}

/// A process with much memory is a while in dying, and may finish its last write meanwhile.
#[test]
fn the_lease_is_not_released_before_the_last_is_gone() {
    let directory = directory();
    let path = directory.path();
    let script = "echo $$ > command; exec python3 -c 'import time
memory = bytearray(b\"x\" * (512 << 20))
print(\"held\", flush=True)
time.sleep(1000)'";
    let mut holder = Running::holding(&mut lease_run(path, &["--ttl", "300s"], script));
    let command: i32 = std::fs::read_to_string(path.join("command")).unwrap().trim().parse().unwrap();
    holder.kill();
    eventually("the lease is free", || {
        let living = stat(command).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X");
        // Looked at afterwards: what is free now was perhaps not so then.
        let free = tenure(path, ["lease", "list", "sqlite:l.db"]).stdout.is_empty();
        let lives_on = stat(command).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X");
        assert!(!(free && living && lives_on), "the lease is free while the command lives");
        free
    });
}

#[test]
fn who_ignores_the_request_is_killed() {
    let directory = directory();
    let path = directory.path();
    // The grace is over long before the time to live is.
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "30s", "--grace", "100ms"], WITNESS));
    let (group, began) = (group(path), Instant::now());
    let watchdog = watchdog(group);
    let broken = tenure(path, ["lease", "break", "sqlite:l.db#job", "--reason", "moving house", "--yes"]);
    assert_eq!(broken.code(), Some(0), "{}", broken.stderr);
    let ended = holder.ended();
    assert_eq!(ended.code(), Some(79), "{}", ended.stderr);
    // It hears of it when it renews, after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert_nothing_left(group, watchdog);
}

/// While somebody else is in the queue of the database, no renewal gets through.
#[test]
fn a_lease_that_can_not_be_renewed_leaves_the_command_its_grace() {
    let directory = directory();
    let path = directory.path();
    let script =
        "trap 'echo asked; sleep 0.2; echo cleaned; exit 0' TERM; echo held; while :; do sleep 0.05; done";
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "8s", "--grace", "4s"], script));
    let blocked = flock_holder(&path.join("l.db-queue"));
    let mut holder = holder;
    holder.until_stdout("asked");
    holder.until_stdout("cleaned");
    drop(blocked.finish());
    let ended = holder.ended();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(79), "held\nasked\ncleaned\n"));
    assert!(ended.stderr.contains("could not be renewed in time"), "{}", ended.stderr);
    assert!(ended.stderr.contains("(SIGTERM)"), "{}", ended.stderr);
}

/// What the command leaves behind is ended as well when the lease is lost, and it is waited for.
#[test]
fn others_of_the_group_are_ended_with_the_lease_too() {
    let directory = directory();
    let path = directory.path();
    let script = format!("({WITNESS}) & {HOLD}; exit 0");
    let mut holder = Running::holding(&mut lease_run(path, &["--ttl", "3s", "--grace", "1s"], &script));
    eventually("the witness has begun", || path.join("times").exists());
    let group = group(path);
    let watchdog = watchdog(group);
    let next = next_holder(path);
    holder.signal(Signal::STOP);
    // The command itself ends, by itself or by the signal; the witness does not.
    holder.end_input();
    assert_after(path, next);
    holder.signal(Signal::CONT);
    assert_eq!(holder.ended().code(), Some(79));
    assert_nothing_left(group, watchdog);
}

#[test]
fn without_its_watchdog_a_command_does_not_go_on() {
    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "300s"], WITNESS));
    let group = group(path);
    let watchdog = watchdog(group);
    kill_process(watchdog, Signal::KILL).unwrap();
    let ended = holder.ended();
    assert_eq!(ended.code(), Some(74), "{}", ended.stderr);
    assert!(ended.stderr.contains("the watchdog was killed"), "{}", ended.stderr);
    assert_nothing_left(group, watchdog);
}

#[test]
fn a_watchdog_that_is_stopped_is_stood_in_for() {
    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "4s", "--grace", "1s"], WITNESS));
    let group = group(path);
    let watchdog = watchdog(group);
    kill_process(watchdog, Signal::STOP).unwrap();
    let next = next_holder(path);
    let blocked = flock_holder(&path.join("l.db-queue"));
    eventually("the command is gone", || {
        let living =
            group_members(group).into_iter().filter(|pid| stat(*pid).is_some_and(|fields| fields[0] != "Z"));
        living.count() == 0
    });
    drop(blocked.finish());
    assert_eq!(holder.ended().code(), Some(79));
    assert_after(path, next);
    assert_nothing_left(group, watchdog);
}

/// It has read nothing for so long that the pipe to it is full.
#[test]
fn nobody_waits_for_a_watchdog_that_is_stopped() {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "6s", "--grace", "1s"], WITNESS));
    let group = group(path);
    let watchdog = watchdog(group);
    kill_process(watchdog, Signal::STOP).unwrap();
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let pipe = format!("/proc/{}/fd/0", watchdog.as_raw_nonzero());
    let mut pipe = std::fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(pipe).unwrap();
    for length in [4096, 1] {
        while pipe.write(&vec![b'\n'; length]).is_ok() {}
    }
    let broken = tenure(path, ["lease", "break", "sqlite:l.db#job", "--reason", "moving house", "--yes"]);
    assert_eq!(broken.code(), Some(0), "{}", broken.stderr);
    assert_eq!(holder.ended().code(), Some(79));
    assert_nothing_left(group, watchdog);
}

/// Signals that are meant for all that is called so, or sent to the group, do not take the watchdog away.
#[test]
fn the_watchdog_answers_no_signal() {
    let directory = directory();
    let path = directory.path();
    let script = "trap '' HUP INT TERM USR1; read pid name state parent group rest < /proc/self/stat; echo $group > group; \
                  echo held; read line || true";
    let mut holder = Running::holding(&mut lease_run(path, &["--ttl", "300s"], script));
    let group = group(path);
    let watchdog = watchdog(group);
    for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::USR1, Signal::TSTP] {
        kill_process(watchdog, signal).unwrap();
    }
    for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::USR1] {
        rustix::process::kill_process_group(Pid::from_raw(group).unwrap(), signal).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(holder.is_running() && stat(watchdog.as_raw_nonzero().get()).unwrap()[0] == "S");
    assert_eq!(holder.finish().code(), Some(0));
    assert_nothing_left(group, watchdog);
}
