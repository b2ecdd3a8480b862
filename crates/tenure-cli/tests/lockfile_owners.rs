//! Promise: the owner of a lock file is taken for dead if it is dead, and for nothing else: not for a zombie's still having
//! its number, nor for the number's being another's by now, and never because it can't be seen from here.
//!
//! Each test shows what the usual question, whether kill(pid, 0) finds a process, would have answered.
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
use std::process::Command;

use common::mounted::skip;
use common::{Ended, TENURE, directory, names, run, tenure};
use rustix::process::{Pid, Signal, test_kill_process};
use support::{HOLD, Running, Stray, eventually, tenure_run};

const KIND: [&str; 2] = ["--kind", "lockfile"];

/// What a script in new namespaces says, or `None` where this machine permits none.
fn unshared(name: &str, options: &[&str], directory: &Path, script: &str) -> Option<Ended> {
    let mut command = Command::new("unshare");
    command.args(options).args(["sh", "-c", script]).env("TENURE", TENURE).current_dir(directory);
    let ended = run(&mut command);
    if ended.stderr.starts_with("unshare:") {
        skip(name, &ended.stderr);
        return None;
    }
    Some(ended)
}

/// `tenure run --try` on `a.lock`.
fn attempt(directory: &Path) -> Ended {
    tenure(directory, ["run", "--kind", "lockfile", "--try", "a.lock", "--", "echo", "in"])
}

fn status(directory: &Path) -> String {
    tenure(directory, ["status", "a.lock"]).stdout
}

/// The number that the lock file names.
fn recorded(directory: &Path) -> i32 {
    let record = std::fs::read_to_string(directory.join("a.lock")).unwrap();
    record.lines().next().unwrap().parse().unwrap()
}

fn answers(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

/// A number that no process has here.
fn free_number() -> i32 {
    (20_000..30_000).find(|pid| !answers(*pid) && !answers(*pid - 1)).unwrap()
}

#[test]
fn a_zombie_is_dead() {
    let directory = directory();
    let path = directory.path();
    let script = format!("echo $$ > command; {HOLD}");
    let owner = Running::holding(&mut tenure_run(path, &["--kind", "lockfile", "a.lock"], &script));
    let _command = Stray::named_in(&path.join("command"));
    assert!(status(path).contains("(alive: "), "{}", status(path));
    assert_eq!(attempt(path).code(), Some(75));
    owner.signal(Signal::KILL);
    let stat = format!("/proc/{}/stat", owner.pid());
    eventually("it is a zombie", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    assert!(answers(recorded(path)), "kill(pid, 0) calls it alive");
    let said = status(path);
    assert!(said.contains("(dead: no process") && said.contains("the next comer takes it"), "{said}");
    assert_eq!(attempt(path).stdout, "in\n");
}

#[test]
fn a_process_with_the_dead_owners_number_is_not_the_owner() {
    let directory = directory();
    // The only process that is started after the number was set is the one that gets it.
    let script = "
        \"$TENURE\" run --kind lockfile a.lock -- sleep 1000 &
        owner=$!
        until [ -s a.lock ]; do sleep 0.05; done
        kill -KILL $owner
        wait $owner
        echo $((owner - 1)) > /proc/sys/kernel/ns_last_pid
        sleep 1000 &
        [ $! = $owner ] || { echo \"pid $! is not $owner\" >&2; exit 9; }
        kill -0 $(head -n 1 a.lock) && echo 'kill -0 calls it alive'
        \"$TENURE\" status a.lock
        exec \"$TENURE\" run --kind lockfile --try a.lock -- echo in";
    let name = "a_process_with_the_dead_owners_number_is_not_the_owner";
    let options = ["--pid", "--fork", "--mount-proc"];
    let Some(ended) = unshared(name, &options, directory.path(), script) else { return };
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert_eq!(lines[0], "kill -0 calls it alive");
    assert!(lines[1].contains("(dead: pid ") && lines[1].contains("another start time"), "{}", lines[1]);
    assert_eq!(lines[2], "in");
}

/// Two containers of one machine that share a directory, and even a host name.
#[test]
fn an_owner_in_another_pid_namespace_is_unknown() {
    let directory = directory();
    let path = directory.path();
    let number = free_number();
    // The shell gives a job in the background an empty input, unless told otherwise.
    let script = "
        exec 3<&0
        echo $(($0 - 1)) > /proc/sys/kernel/ns_last_pid
        \"$TENURE\" run --kind lockfile a.lock -- sh -c 'echo held; read line || true' <&3 &
        wait";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--uts", "--fork", "--mount-proc", "sh", "-c", script]).arg(number.to_string());
    let mut owner = Running::start(command.env("TENURE", TENURE).current_dir(path));
    eventually("it holds, or can't", || owner.stdout().contains("held") || !owner.is_running());
    if owner.stderr().starts_with("unshare:") {
        return skip("an_owner_in_another_pid_namespace_is_unknown", &owner.stderr());
    }
    assert_eq!(recorded(path), number, "{}", owner.stderr());
    assert!(!answers(number), "kill(pid, 0) calls the living owner dead");
    let said = status(path);
    assert!(said.contains("(unknown: its pid counts in another pid namespace"), "{said}");
    let record = std::fs::read(path.join("a.lock")).unwrap();
    let wait = tenure(path, ["run", "--kind", "lockfile", "--wait", "700ms", "a.lock", "--", "echo", "in"]);
    assert_eq!((wait.code(), wait.stdout.as_str()), (Some(75), ""), "{wait:?}");
    assert_eq!(std::fs::read(path.join("a.lock")).unwrap(), record);
    let refused = tenure(path, ["break", "a.lock"]);
    assert!(refused.stderr.contains("if you know that this owner is gone"), "{}", refused.stderr);
    // Its namespace ends with its first process, and it with that; unknown all the same, and the way out is said.
    owner.kill();
    assert_eq!(attempt(path).code(), Some(75), "nobody here can see that it ended");
    assert_eq!(tenure(path, ["break", "--yes", "a.lock"]).code(), Some(0));
    assert_eq!(attempt(path).stdout, "in\n");
}

/// A process in a new pid namespace that still sees the old one's /proc (`unshare --pid --fork`, `nsenter --pid`) finds a
/// stranger under its number there; here one that is a zombie.
#[test]
fn a_stranger_in_a_foreign_proc_does_not_stand_for_the_owner() {
    let directory = directory();
    let path = directory.path();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let number = stranger.id();
    let script = "
        echo $(($0 - 1)) > /proc/sys/kernel/ns_last_pid
        \"$TENURE\" run --kind lockfile a.lock -- sh -c 'echo held; sleep 1000' </dev/null &
        read line
        \"$TENURE\" run --kind lockfile --try a.lock -- echo in
        echo code $?";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "sh", "-c", script]).arg(number.to_string());
    let mut owner = Running::start(command.env("TENURE", TENURE).current_dir(path));
    eventually("it holds, or can't", || owner.stdout().contains("held") || !owner.is_running());
    let may_unshare = !owner.stderr().starts_with("unshare:");
    if may_unshare {
        assert_eq!(recorded(path).unsigned_abs(), number, "{}", owner.stderr());
        stranger.kill().unwrap();
        let stat = format!("/proc/{number}/stat");
        eventually("it is a zombie", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
        owner.say("\n");
        let ended = owner.ended();
        assert_eq!(ended.stdout, "held\ncode 75\n", "the lock of a living owner was taken: {}", ended.stderr);
    } else {
        skip("a_stranger_in_a_foreign_proc_does_not_stand_for_the_owner", &owner.stderr());
    }
    let _killed_already = stranger.kill();
    stranger.wait().unwrap();
}

/// Inside a time namespace every start time is shifted, so that each process seems to be another.
#[test]
fn an_owner_in_another_time_namespace_is_alive() {
    let directory = directory();
    let path = directory.path();
    let owner = Running::holding(&mut tenure_run(path, &["--kind", "lockfile", "a.lock"], HOLD));
    let script = "
        cut -d ' ' -f 22 /proc/$(head -n 1 a.lock)/stat
        exec \"$TENURE\" run --kind lockfile --try a.lock -- echo in";
    let options = ["--time", "--boottime", "100000", "--fork"];
    let Some(ended) = unshared("an_owner_in_another_time_namespace_is_alive", &options, path, script) else {
        return;
    };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", owner.pid())).unwrap();
    let started = stat.split(' ').nth(21).unwrap();
    assert_ne!(ended.stdout.trim(), started, "its start time looks the same, so the test proves nothing");
    assert_eq!(ended.code(), Some(75), "the lock of a living owner was taken: {ended:?}");
    assert!(ended.stderr.contains("(alive: "), "{}", ended.stderr);
    // And the other way round: what such an owner records does not condemn it here.
    owner.finish();
    let script = "exec \"$TENURE\" run --kind lockfile a.lock -- sh -c 'echo held; read line || true'";
    let mut command = Command::new("unshare");
    command.args(options).args(["sh", "-c", script]).env("TENURE", TENURE).current_dir(path);
    let owner = Running::holding(&mut command);
    assert_eq!(attempt(path).code(), Some(75), "{}", status(path));
    assert_eq!(owner.finish().code(), Some(0));
}

/// An owner that was stopped for longer than its lifetime finds its lost lock when it goes on, tells its command, and leaves
/// the new owner's file alone, which a release that does not look would remove.
#[test]
fn an_owner_that_was_stopped_past_its_lifetime_has_lost_the_lock() {
    let directory = directory();
    let path = directory.path();
    let options: Vec<&str> = KIND.into_iter().chain(["--lifetime", "500ms", "a.lock"]).collect();
    let stopped = Running::holding(&mut tenure_run(path, &options, HOLD));
    // A process that is stopped in the middle of a renewal keeps the guard: that is for another time.
    let guard = || run(Command::new("flock").args(["--nonblock", "a.lock.guard", "true"]).current_dir(path));
    eventually("it is stopped without the guard", || {
        stopped.signal(Signal::STOP);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let free = guard().code() == Some(0);
        if !free {
            stopped.signal(Signal::CONT);
        }
        free
    });
    let options: Vec<&str> = KIND.into_iter().chain(["--wait", "30s", "a.lock"]).collect();
    let new = Running::holding(&mut tenure_run(path, &options, HOLD));
    let record = std::fs::read(path.join("a.lock")).unwrap();
    assert_eq!(recorded(path), new.pid().as_raw_nonzero().get());
    stopped.signal(Signal::CONT);
    let ended = stopped.ended();
    assert_eq!(ended.code(), Some(79), "{ended:?}");
    assert!(ended.stderr.contains("a.lock: this lock was lost: its lifetime ended"), "{}", ended.stderr);
    assert!(ended.stderr.contains("SIGTERM"), "{}", ended.stderr);
    assert_eq!(std::fs::read(path.join("a.lock")).unwrap(), record, "the new owner's file is untouched");
    assert!(status(path).contains(&format!("held by pid {} ", new.pid())), "{}", status(path));
    assert_eq!(new.finish().code(), Some(0));
    assert_eq!(names(path), ["a.lock.guard"]);
}
