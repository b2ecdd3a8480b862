//! Promise: `tenure run` lets one exclusive holder, or several shared ones, run at a time, ends as its command
//! ended, and the lock lasts exactly as long as the command does, whoever is killed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{directory, tenure};
use support::{HOLD, Running, Scatter, Stray, eventually, tenure_command, tenure_run};

/// What `tenure run --try` on `a.lock` ends with: 0 if the lock is free, 75 if not.
fn attempt(directory: &Path) -> Option<i32> {
    tenure(directory, ["run", "--try", "a.lock", "--", "true"]).code()
}

#[test]
fn it_ends_as_its_command_ends() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("text"), "").unwrap();
    std::fs::write(path.join("garbage"), [0x7f, b'E', b'L', b'F', 0]).unwrap();
    std::fs::set_permissions(path.join("garbage"), PermissionsExt::from_mode(0o755)).unwrap();
    let table: &[(&[&str], i32)] = &[
        (&["true"], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["./text"], 126),
        (&["./garbage"], 126),
        (&["."], 126),
        (&["./nothing"], 127),
        (&["tenure-test-no-such-program"], 127),
    ];
    for (command, code) in table {
        let ended = tenure(path, ["run", "a.lock", "--"].iter().chain(*command));
        assert_eq!(ended.code(), Some(*code), "{command:?}: {}", ended.stderr);
        let ours = matches!(code, 126 | 127);
        assert_eq!(
            ours,
            ended.stderr.contains(&format!("tenure: cannot run {}: ", command[0])),
            "{command:?}"
        );
        assert_eq!(attempt(path), Some(0), "the lock is free after {command:?}");
    }
}

#[test]
fn the_command_gets_input_output_and_arguments_as_they_are() {
    let directory = directory();
    let command = ["run", "a.lock", "--", "sh", "-c", "cat; echo \"$@\" >&2", "sh", "--try", "-n", "a  b"];
    let mut running = Running::start(&mut tenure_command(directory.path(), &command));
    running.say("line\n");
    let ended = running.finish();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("line\n", "--try -n a  b\n"));
}

#[test]
fn a_lock_that_is_held_is_reported_with_its_holder() {
    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut tenure_run(path, &["a.lock"], HOLD));
    let table: &[(&[&str], i32, &str)] = &[
        (&["--try"], 75, "not waiting"),
        (&["--wait", "0s"], 75, "not waiting"),
        (&["--wait", "250ms"], 75, "gave up after waiting"),
        (&["--try", "--shared"], 75, "is locked exclusively by"),
        (&["--try", "--busy-exit", "3"], 3, "not waiting"),
        (&["-n", "-E", "0"], 0, "not waiting"),
    ];
    for (options, code, said) in table {
        let arguments = ["run"].iter().chain(*options).chain(&["a.lock", "--", "touch", "ran"]);
        let ended = tenure(path, arguments);
        assert_eq!(ended.code(), Some(*code), "{options:?}: {}", ended.stderr);
        let named = format!("by pid {} `", holder.pid());
        assert!(
            ended.stderr.contains(said) && ended.stderr.contains(&named),
            "{options:?}: {}",
            ended.stderr
        );
    }
    assert!(!path.join("ran").exists(), "nothing ran");
    let status = tenure(path, ["status", "a.lock"]).stdout;
    assert!(status.starts_with(&format!("a.lock: held by pid {} ", holder.pid())), "{status}");
    assert_eq!(holder.finish().code(), Some(0));
    assert_eq!(tenure(path, ["status", "a.lock"]).stdout, "a.lock: free\n");
}

#[test]
fn a_wait_is_not_silent() {
    let directory = directory();
    let path = directory.path();
    let holder = Running::holding(&mut tenure_run(path, &["a.lock"], HOLD));
    let mut waiter = Running::start(&mut tenure_run(path, &["a.lock"], "echo in"));
    waiter.until_waiting();
    let expected = format!("tenure: waiting for a.lock, held by pid {} `", holder.pid());
    assert!(waiter.stderr().starts_with(&expected), "{}", waiter.stderr());
    assert_eq!(holder.finish().code(), Some(0));
    let ended = waiter.ended();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), "in\n"));
    assert_eq!(ended.stderr.lines().count(), 1, "it says so once: {}", ended.stderr);
}

#[test]
fn shared_holders_hold_together_and_an_exclusive_one_waits_for_all() {
    let directory = directory();
    let path = directory.path();
    let reader = |name: &str| tenure_run(path, &["--shared", "a.lock"], &format!("{HOLD}; touch {name}"));
    let first = Running::holding(&mut reader("first"));
    let second = Running::holding(&mut reader("second"));
    assert_eq!(attempt(path), Some(75));
    let mut writer = Running::start(&mut tenure_run(path, &["a.lock"], "test -e first && test -e second"));
    writer.until_waiting();
    first.finish();
    assert!(writer.is_running(), "one shared holder is left");
    second.finish();
    let ended = writer.ended();
    assert_eq!(ended.code(), Some(0), "it ran before both were done: {}", ended.stderr);
}

#[test]
fn the_command_of_a_killed_tenure_keeps_the_lock_until_it_ends() {
    let directory = directory();
    let path = directory.path();
    let mut holder = Running::holding(&mut tenure_run(path, &["a.lock"], HOLD));
    holder.kill();
    let busy = tenure(path, ["run", "--try", "a.lock", "--", "true"]);
    assert_eq!(busy.code(), Some(75));
    assert!(busy.stderr.contains("`sh -c echo held"), "the command is the holder now: {}", busy.stderr);
    let mut waiter = Running::start(&mut tenure_run(path, &["a.lock"], "echo in"));
    waiter.until_waiting();
    holder.end_input();
    assert_eq!(waiter.ended().stdout, "in\n");
}

#[test]
fn with_close_the_lock_of_a_killed_tenure_is_free_at_once() {
    let directory = directory();
    let path = directory.path();
    let script = format!("echo $$ > command; {HOLD}");
    let mut holder = Running::holding(&mut tenure_run(path, &["--close", "a.lock"], &script));
    assert_eq!(attempt(path), Some(75));
    holder.kill();
    let command = Stray::named_in(&path.join("command"));
    assert_eq!(attempt(path), Some(0));
    assert!(command.is_running(), "the command goes on without the lock");
}

#[test]
fn what_a_command_leaves_behind_does_not_hold_the_lock() {
    let directory = directory();
    let path = directory.path();
    let script = format!("sleep 1000 & echo $! > background; {HOLD}");
    let holder = Running::holding(&mut tenure_run(path, &["a.lock"], &script));
    let background = Stray::named_in(&path.join("background"));
    let mut waiter = Running::start(&mut tenure_run(path, &["a.lock"], "echo in"));
    waiter.until_waiting();
    holder.finish();
    assert_eq!(waiter.ended().stdout, "in\n");
    assert_eq!(attempt(path), Some(0));
    assert!(background.is_running(), "it lives on with the descriptor");
}

#[test]
fn a_directory_and_a_file_that_may_only_be_read_are_locks_as_well() {
    let directory = directory();
    let path = directory.path();
    std::fs::create_dir(path.join("folder")).unwrap();
    std::fs::write(path.join("text"), "precious").unwrap();
    std::fs::set_permissions(path.join("text"), PermissionsExt::from_mode(0o444)).unwrap();
    for lock in ["folder", "text"] {
        let holder = Running::holding(&mut tenure_run(path, &[lock], HOLD));
        assert_eq!(tenure(path, ["run", "--try", lock, "--", "true"]).code(), Some(75), "{lock}");
        assert_eq!(holder.finish().code(), Some(0), "{lock}");
    }
    assert_eq!(std::fs::read_to_string(path.join("text")).unwrap(), "precious");
}

/// The command makes a file that must not exist yet and removes it: two at a time can't.
#[test]
fn everyone_in_a_deep_queue_gets_in_alone_while_holders_are_killed() {
    let directory = directory();
    let path = directory.path();
    let alone = "set -C; { : > witness; } 2>/dev/null || { : > violated; exit 9; }; sleep 0.01; rm witness";
    let holder = Running::holding(&mut tenure_run(path, &["a.lock"], HOLD));
    let mut queue: Vec<Running> =
        (0..30).map(|_| Running::start(&mut tenure_run(path, &["a.lock"], alone))).collect();
    queue.iter_mut().for_each(Running::until_waiting);
    holder.finish();
    let mut scatter = Scatter(4711);
    // Whether such a one is killed while it waits, while its command runs or when it is done is left to chance.
    for mut victim in queue.drain(20..) {
        std::thread::sleep(std::time::Duration::from_millis(scatter.below(30)));
        victim.kill();
    }
    for waiter in queue {
        let ended = waiter.ended();
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    }
    // The command of a killed one may still run.
    eventually("the lock is free in the end", || attempt(path) == Some(0));
    assert!(!path.join("violated").exists() && !path.join("witness").exists());
}
