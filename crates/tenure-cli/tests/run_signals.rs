//! Promise: a signal reaches the command of `tenure run` exactly once, whether it was sent to `tenure` or typed
//! at the terminal, and `tenure` outlives it to report how the command ended.
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
use common::{TENURE, directory, run};
use rustix::process::Signal;
use support::{NOTE_SIGNALS, Running, eventually, python};

/// What is passed on, with the names that Python has for it.
const SIGNALS: [(Signal, &str); 9] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::TERM, "SIGTERM"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::CONT, "SIGCONT"),
    (Signal::WINCH, "SIGWINCH"),
];

/// Runs a command in a terminal of its own, to which it passes its input on, and ends as that ends.
const TERMINAL: &str = "
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
";

/// Gives every signal its default effect, whatever started these tests: a shell's background jobs ignore INT.
fn with_default_signals(program: &Path) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(program);
    command
}

fn noted(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("signals")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Sends each signal once the one before has arrived, so that a second copy of it can't hide.
fn assert_each_arrives_once(directory: &Path, expected: &[&str], mut send: impl FnMut(usize)) {
    for index in 0..expected.len() {
        send(index);
        eventually("a signal has arrived", || noted(directory).len() > index);
    }
}

fn note_signals(command: &mut Command) -> &mut Command {
    command.args(["run", "a.lock", "--"]).arg(python()).args(["-c", NOTE_SIGNALS]);
    command.args(SIGNALS.map(|(_, name)| name))
}

#[test]
fn a_signal_to_tenure_reaches_the_command_once() {
    let directory = directory();
    let path = directory.path();
    let mut command = with_default_signals(TENURE.as_ref());
    let running = Running::holding(note_signals(&mut command).current_dir(path));
    let names = SIGNALS.map(|(_, name)| name);
    assert_each_arrives_once(path, &names, |index| running.signal(SIGNALS[index].0));
    std::fs::write(path.join("stop"), "").unwrap();
    assert_eq!(running.ended().code(), Some(5), "tenure outlives all of them");
    assert_eq!(noted(path), names);
}

#[test]
fn an_interrupt_typed_at_the_terminal_reaches_the_command_once() {
    let directory = directory();
    let path = directory.path();
    let mut command = with_default_signals(&python());
    command.args(["-c", TERMINAL, TENURE]);
    let mut running = Running::holding(note_signals(&mut command).current_dir(path));
    let names = ["SIGINT"; 10];
    assert_each_arrives_once(path, &names, |_| running.say("\u{3}"));
    std::fs::write(path.join("stop"), "").unwrap();
    assert_eq!(running.finish().code(), Some(5));
    assert_eq!(noted(path), names);
}

/// Without a handler in the command, a signal ends it, and `tenure` says by which.
#[test]
fn a_command_ended_by_a_signal_is_reported() {
    let directory = directory();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut command = with_default_signals(TENURE.as_ref());
        command.args(["run", "a.lock", "--", "sh", "-c", "echo held; exec sleep 1000"]);
        let running = Running::holding(command.current_dir(directory.path()));
        running.signal(signal);
        assert_eq!(running.ended().code(), Some(code));
    }
}

/// A wait has no command yet to pass a signal on to: it just ends.
#[test]
fn a_signal_ends_a_wait() {
    let directory = directory();
    let path = directory.path();
    let lock = path.join("a.lock");
    let _holder = support::flock_holder(&lock);
    let mut command = with_default_signals(TENURE.as_ref());
    let mut waiter = Running::start(command.arg("run").arg(&lock).args(["--", "true"]));
    waiter.until_waiting();
    waiter.signal(Signal::TERM);
    let status = waiter.ended().status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

/// A container often has no session of its own: getsid then answers 0, for a leader whom nobody here can see.
#[test]
fn a_session_whose_leader_cannot_be_seen_is_no_obstacle() {
    let directory = directory();
    let unshare = ["--pid", "--fork", "--mount-proc", TENURE, "run", "a.lock", "--", "sh", "-c", "exit 3"];
    let ended = run(Command::new("unshare").args(unshare).current_dir(&directory));
    if ended.stderr.starts_with("unshare:") {
        return skip("a_session_whose_leader_cannot_be_seen_is_no_obstacle", &ended.stderr);
    }
    assert_eq!(ended.code(), Some(3), "{ended:?}");
}
