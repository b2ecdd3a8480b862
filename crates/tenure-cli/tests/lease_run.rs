//! Promise: `tenure run --lease` lets one command at a time run, gives it the token, the handle and the expiry, hands on signals and
//! standard streams, and ends as its command ended.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use common::{Ended, directory, names, tenure};
use rustix::process::Signal;
use support::{
    HOLD, NOTE_SIGNALS, Running, Stray, eventually, group_members, lease_run, python, stat, tenure_command,
};

const TTL: [&str; 2] = ["--ttl", "60s"];

/// What an attempt on the lease ends with: 0 if it is free, 75 if not.
fn attempt(directory: &Path) -> Option<i32> {
    run(directory, &["--ttl", "60s", "--try"], "true").code()
}

fn run(directory: &Path, options: &[&str], script: &str) -> Ended {
    common::run(&mut lease_run(directory, options, script))
}

#[test]
fn it_ends_as_its_command_ends() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("text"), "").unwrap();
    let table: &[(&[&str], i32)] = &[
        (&["true"], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["./text"], 126),
        (&["tenure-test-no-such-program"], 127),
    ];
    for (command, code) in table {
        let start = ["run", "--lease", "sqlite:l.db#job", "--ttl", "60s", "--"];
        let ended = tenure(path, start.iter().chain(*command));
        assert_eq!(ended.code(), Some(*code), "{command:?}: {}", ended.stderr);
        let ours = matches!(code, 126 | 127);
        assert_eq!(ended.stderr.contains(&format!("cannot run {}: ", command[0])), ours, "{}", ended.stderr);
        assert!(ours || ended.stderr.is_empty(), "{command:?}: {}", ended.stderr);
        assert_eq!(attempt(path), Some(0), "the lease is free after {command:?}");
    }
}

#[test]
fn the_command_knows_its_lease() {
    let directory = directory();
    let path = directory.path();
    assert_eq!(attempt(path), Some(0));
    let script = "echo $TENURE_TOKEN; echo $TENURE_EXPIRES; echo $TENURE_LEASE; date -u -d '+30 seconds' +%FT%TZ; \
                  date -u -d '+90 seconds' +%FT%TZ";
    let ended = run(path, &TTL, script);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [token, expires, handle, soonest, latest] = lines[..] else { panic!("{ended:?}") };
    assert_eq!(token, "2", "the second time that somebody has it");
    assert!(soonest < expires && expires < latest, "{soonest} {expires} {latest}");
    assert!(handle.starts_with("lease1:2:"), "{handle}");
    // The handle is good for what it says.
    let script =
        "\"$TENURE\" lease renew sqlite:l.db \"$TENURE_LEASE\" && \"$TENURE\" lease show sqlite:l.db#job";
    let ended = common::run(lease_run(path, &TTL, script).env("TENURE", common::TENURE));
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("job: held by "), "{ended:?}");
}

#[test]
fn two_runs_exclude_each_other() {
    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "60s", "--note", "nightly"], HOLD));
    let table: &[(&[&str], i32, &str)] = &[
        (&["--try"], 75, "not waiting"),
        (&["--wait", "250ms"], 75, "gave up after waiting"),
        (&["--try", "--busy-exit", "3"], 3, "(nightly)"),
    ];
    for (options, code, said) in table {
        let ended = run(path, &[&TTL, *options].concat(), "touch ran");
        assert_eq!(ended.code(), Some(*code), "{options:?}: {}", ended.stderr);
        let expected = ["l.db#job: is held by ", said];
        assert!(expected.iter().all(|said| ended.stderr.contains(said)), "{options:?}: {}", ended.stderr);
    }
    assert!(!path.join("ran").exists(), "nothing ran");
    let mut waiter = Running::start(&mut lease_run(path, &TTL, "echo in"));
    waiter.until_waiting();
    assert!(waiter.stderr().contains("l.db#job, held by ") && waiter.stderr().contains("(nightly)"));
    assert_eq!(holder.finish().code(), Some(0));
    let ended = waiter.ended();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), "in\n"));
    assert_eq!(ended.stderr.lines().count(), 1, "it says so once: {}", ended.stderr);
}

#[test]
fn a_command_may_take_longer_than_the_time_to_live() {
    let directory = directory();
    let path = directory.path();
    let mut holder =
        Running::holding(&mut lease_run(path, &["--ttl", "4s"], "echo held; sleep 9; echo done"));
    while holder.is_running() {
        let attempt = attempt(path);
        assert!(
            attempt == Some(75) || !holder.is_running() || holder.stdout().contains("done"),
            "{attempt:?}"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = holder.ended();
    assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "held\ndone\n", ""));
}

#[test]
fn a_lease_is_kept_for_as_long_as_it_was_wished() {
    let directory = directory();
    let path = directory.path();
    let ended = run(path, &["--ttl", "10s", "--at-least", "1h"], "true");
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let ended = run(path, &["--ttl", "10s", "--try"], "true");
    assert_eq!(ended.code(), Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("is kept for another 59m"), "{}", ended.stderr);
}

#[test]
fn a_signal_reaches_the_command_once() {
    let directory = directory();
    let path = directory.path();
    let signals = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::WINCH, "SIGWINCH"),
    ];
    let mut command = std::process::Command::new("env");
    // Whatever started these tests: a shell's background jobs ignore INT.
    command.args(["--default-signal", common::TENURE, "run", "--lease", "sqlite:l.db#job", "--ttl", "60s"]);
    command.arg("--").arg(python()).args(["-c", NOTE_SIGNALS]).args(signals.map(|(_, name)| name));
    let running = Running::holding(command.current_dir(path));
    let noted = || std::fs::read_to_string(path.join("signals")).unwrap_or_default();
    for (count, (signal, _)) in signals.iter().enumerate() {
        running.signal(*signal);
        eventually("a signal has arrived", || noted().lines().count() > count);
    }
    std::fs::write(path.join("stop"), "").unwrap();
    assert_eq!(running.ended().code(), Some(5), "tenure outlives all of them");
    assert_eq!(noted().lines().collect::<Vec<_>>(), signals.map(|(_, name)| name));
}

#[test]
fn a_command_ended_by_a_passed_signal_is_reported() {
    let directory = directory();
    let script = "echo held; exec sleep 1000";
    let running = Running::holding(&mut lease_run(directory.path(), &TTL, script));
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(143));
    assert_eq!(attempt(directory.path()), Some(0));
}

/// Nobody could release a lease that was granted to a waiter who is dead.
#[test]
fn a_signal_ends_a_wait_and_leaves_no_lease() {
    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut lease_run(path, &TTL, HOLD));
    let mut waiter = Running::start(&mut lease_run(path, &TTL, "true"));
    waiter.until_waiting();
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.ended().status.signal(), Some(15), "as if it were not caught");
    let mut waiters: Vec<Running> =
        (0..5).map(|_| Running::start(&mut lease_run(path, &TTL, "sleep 1000"))).collect();
    waiters.iter_mut().for_each(Running::until_waiting);
    // Some are hit just when they get it.
    drop(holder.finish());
    for waiter in &waiters {
        waiter.signal(Signal::TERM);
    }
    for waiter in waiters {
        let status = waiter.ended().status;
        assert!(status.signal() == Some(15) || status.code() == Some(143), "{status:?}");
    }
    assert_eq!(attempt(path), Some(0));
}

#[test]
fn nothing_of_it_is_left_but_what_the_command_left() {
    let directory = directory();
    let path = directory.path();
    let script = format!(
        "read pid name state parent group rest < /proc/self/stat; echo $group > group; sleep 1000 & echo $! > background; {HOLD}"
    );
    let holder = Running::holding(&mut lease_run(path, &TTL, &script));
    let background = Stray::named_in(&path.join("background"));
    let group: i32 = std::fs::read_to_string(path.join("group")).unwrap().trim().parse().unwrap();
    let watchdog: i32 = stat(group).expect("the anchor leads the group")[1].parse().unwrap();
    assert_eq!(stat(watchdog).unwrap()[1], holder.pid().as_raw_nonzero().to_string());
    assert_eq!(holder.finish().code(), Some(0));
    assert_eq!(stat(watchdog), None, "the watchdog is gone");
    assert_eq!(group_members(group), [background.0.as_raw_nonzero().get()], "what was left running is left");
    assert_eq!(attempt(path), Some(0), "without the lease");
}

/// What the descriptors of a process lead to.
fn descriptors(pid: i32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let leads_to = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
    entries.filter_map(|entry| leads_to(entry.unwrap())).map(|path| path.display().to_string()).collect()
}

/// The reader of a pipe sees its end when the command has ended, whatever else lives; and the command ends with `tenure`, even
/// if there is no watchdog to see to it.
#[test]
fn the_watchdog_keeps_nothing_open() {
    let directory = directory();
    let path = directory.path();
    let (reader, writer) = std::io::pipe().unwrap();
    // Another descriptor for the pipe than the standard ones.
    let script = format!(
        "exec 7>&1; exec {} run --lease sqlite:l.db#job --ttl 60s -- sh -c \
         'read pid name state parent group rest < /proc/self/stat; echo $group > group; mv group ready; exec sleep 1000'",
        common::TENURE
    );
    let pipe =
        std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader))).unwrap();
    let pipe = pipe.display().to_string();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(path);
    let mut tenure = shell.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(shell);
    eventually("the command runs", || path.join("ready").exists());
    let group: i32 = std::fs::read_to_string(path.join("ready")).unwrap().trim().parse().unwrap();
    let watchdog: i32 = stat(group).unwrap()[1].parse().unwrap();
    assert!(descriptors(tenure.id().try_into().unwrap()).contains(&pipe), "the pipe is known by its name");
    for pid in [watchdog, group] {
        assert!(!descriptors(pid).contains(&pipe), "{pid} has {:?}", descriptors(pid));
    }
    // One after the other, so that none can answer for the next.
    rustix::process::kill_process(rustix::process::Pid::from_child(&tenure), Signal::STOP).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(watchdog).unwrap(), Signal::KILL).unwrap();
    tenure.kill().unwrap();
    tenure.wait().unwrap();
    eventually("nothing is left of the group", || group_members(group).is_empty());
    std::io::Read::read_to_end(&mut { reader }, &mut Vec::new()).unwrap();
    assert_eq!(attempt(path), Some(75), "nobody was left to release the lease");
}

#[test]
fn nonsense_is_refused_before_anything_happens() {
    let directory = directory();
    let path = directory.path();
    let lease = "sqlite:l.db#job";
    let table: &[(&[&str], &str)] = &[
        (&["--lease", lease], "--ttl"),
        (&["--lease", lease, "--ttl", "5"], "300ms"),
        (
            &["--lease", lease, "--ttl", "10s", "--grace", "6s"],
            "--grace 6s leaves no time for renewals within --ttl 10s",
        ),
        (&["--lease", lease, "--ttl", "10s", "--at-most", "5s", "--grace", "3s"], "within --at-most 5s"),
        (&["--lease", lease, "--ttl", "10s", "a.lock"], "cannot be used with"),
        (&["--lease", lease, "--ttl", "10s", "--shared"], "cannot be used with"),
        (&["--lease", lease, "--ttl", "10s", "--kind", "lockfile"], "cannot be used with"),
        (&["--lease", lease, "--ttl", "10s", "--try", "--wait", "1s"], "cannot be used with"),
        (&["--lease", "sqlite:l.db", "--ttl", "10s"], "ADDRESS#NAME"),
        (&["--lease", "sqlite:#job", "--ttl", "10s"], "path of a database file"),
        (&["--lease", "l.db#job", "--ttl", "10s"], "is no address"),
        (&["--ttl", "10s", "a.lock"], "--lease"),
        (&["--grace", "1s", "a.lock"], "--lease"),
        (&["--note", "x", "a.lock"], "--lease"),
        (&[], "<LOCK>"),
    ];
    for (options, said) in table {
        let ended = tenure(path, ["run"].iter().chain(*options).chain(&["--", "touch", "ran"]));
        assert_eq!(ended.code(), Some(64), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said) && ended.stdout.is_empty(), "{options:?}: {}", ended.stderr);
        assert_eq!(names(path), [""; 0], "{options:?}");
    }
    // What only the store's side knows.
    let table: &[(&str, &[&str], &str)] = &[
        (lease, &["--ttl", "50ms"], "from 100ms"),
        (lease, &["--ttl", "10s", "--at-least", "9s", "--at-most", "8s"], "for at least 9s"),
        ("sqlite:l.db#a\nb", &["--ttl", "10s"], "no control characters"),
    ];
    for (lease, options, said) in table {
        let start = ["run", "--lease", lease];
        let ended = tenure(path, start.iter().chain(*options).chain(&["--", "touch", "ran"]));
        assert_eq!(ended.code(), Some(64), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said) && !path.join("ran").exists(), "{options:?}: {}", ended.stderr);
    }
    let ended = common::run(&mut tenure_command(path, &["watchdog"]));
    assert_eq!(ended.code(), Some(64));
    assert!(ended.stderr.contains("started by `tenure run --lease`"), "{}", ended.stderr);
}

#[test]
fn a_store_that_can_not_be_had_is_told_apart() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("text"), "this is no database, but long enough to be taken for one".repeat(20))
        .unwrap();
    let table = [("sqlite:text#job", 65), ("sqlite:no/folder/l.db#job", 73)];
    for (lease, code) in table {
        let ended = tenure(path, ["run", "--lease", lease, "--ttl", "10s", "--", "touch", "ran"]);
        assert_eq!(ended.code(), Some(code), "{lease}: {}", ended.stderr);
        assert!(!path.join("ran").exists());
    }
}
