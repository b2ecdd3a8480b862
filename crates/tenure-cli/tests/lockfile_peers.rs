//! Promise: a lock of the lockfile kind and those of Python's `filelock.SoftFileLock` and Debian's `dotlockfile` on the same
//! path exclude each other while their owners live, and we never take theirs. What they make of ours when its owner is dead
//! is what they make of it: it is shown here, so that docs/formats.md stays true.
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
use std::time::{Duration, SystemTime};

use common::{Ended, directory, names, run, tenure};
use support::{HOLD, Running, python, tenure_run};

/// Longer than the two seconds after which SoftFileLock removes a file that it takes for malformed.
const LONG_ENOUGH: &str = "3.5";

const SOFT_LOCK: &str = "
import sys, filelock
how, path, timeout = sys.argv[1:]
lock = filelock.SoftFileLock(path)
try:
    lock.acquire(timeout=float(timeout), poll_interval=0.05)
except filelock.Timeout:
    sys.exit(75)
if how == 'hold':
    print('held', flush=True)
    sys.stdin.readline()
lock.release()
";

fn soft_lock(how: &str, directory: &Path, timeout: &str) -> Command {
    let mut command = Command::new(python());
    command.args(["-c", SOFT_LOCK, how]).arg(directory.join("a.lock")).arg(timeout);
    command
}

/// Tries once; 4 says that the lock is held.
fn dotlockfile(directory: &Path, options: &[&str]) -> Option<i32> {
    let mut command = Command::new("dotlockfile");
    run(command.args(["-l", "-r", "0"]).args(options).arg("a.lock").current_dir(directory)).code()
}

fn owner(directory: &Path) -> Running {
    Running::holding(&mut tenure_run(directory, &["--kind", "lockfile", "a.lock"], HOLD))
}

fn attempt(directory: &Path, wait: &str) -> Ended {
    tenure(directory, ["run", "--kind", "lockfile", "--wait", wait, "a.lock", "--", "true"])
}

fn record(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("a.lock")).unwrap()
}

#[test]
fn a_soft_file_lock_waits_for_a_living_owner_and_a_dead_one() {
    let directory = directory();
    let path = directory.path();
    let mut owner = owner(path);
    let ours = record(path);
    assert_eq!(run(&mut soft_lock("try", path, LONG_ENOUGH)).code(), Some(75));
    assert_eq!(record(path), ours, "the lock of a living owner");
    owner.kill();
    assert_eq!(run(&mut soft_lock("try", path, LONG_ENOUGH)).code(), Some(75));
    assert_eq!(record(path), ours, "the lock of a dead owner is left to us");
    assert_eq!(attempt(path, "10s").code(), Some(0));
    assert_eq!(run(&mut soft_lock("try", path, "0")).code(), Some(0), "released by us");
    let handle = tenure(path, ["lock", "acquire", "a.lock"]).stdout;
    let ours = record(path);
    assert_eq!(run(&mut soft_lock("try", path, LONG_ENOUGH)).code(), Some(75));
    assert_eq!(record(path), ours, "the lock of a handle");
    assert_eq!(tenure(path, ["lock", "release", handle.trim()]).code(), Some(0));
    assert_eq!(names(path), ["a.lock.guard"]);
}

#[test]
fn a_soft_file_lock_is_waited_for_and_never_taken() {
    let directory = directory();
    let path = directory.path();
    let theirs = Running::holding(&mut soft_lock("hold", path, "10"));
    let before = record(path);
    let busy = attempt(path, "1s");
    assert_eq!(busy.code(), Some(75));
    let said = format!("(unknown: another program wrote the file, or it is damaged ({} bytes", before.len());
    assert!(busy.stderr.contains(&said), "{}", busy.stderr);
    assert!(busy.stderr.contains(&format!("pid {}", theirs.pid())), "{}", busy.stderr);
    assert_eq!(record(path), before);
    let mut waiter = Running::start(&mut tenure_run(path, &["--kind", "lockfile", "a.lock"], "echo in"));
    waiter.until_waiting();
    theirs.finish();
    assert_eq!(waiter.ended().stdout, "in\n");
    // A dead one of theirs: they take it, and we do not, since to us it is unknown.
    let mut theirs = Running::holding(&mut soft_lock("hold", path, "10"));
    let before = record(path);
    theirs.kill();
    assert_eq!(attempt(path, "1s").code(), Some(75));
    assert_eq!(record(path), before);
    assert_eq!(run(&mut soft_lock("try", path, "10")).code(), Some(0));
    assert_eq!(attempt(path, "0s").code(), Some(0));
}

#[test]
fn a_dotlockfile_respects_a_living_owner_and_is_never_taken() {
    let directory = directory();
    let path = directory.path();
    let mut owner = owner(path);
    let ours = record(path);
    for options in [&["-p"] as &[&str], &[]] {
        assert_eq!(dotlockfile(path, options), Some(4), "{options:?}");
    }
    assert_eq!(record(path), ours);
    // Without -p, dotlockfile takes whatever is five minutes old, alive or not. With -p the owner's life decides.
    let file = std::fs::File::open(path.join("a.lock")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    assert_eq!(dotlockfile(path, &["-p"]), Some(4), "an old file of a living owner");
    owner.kill();
    assert_eq!(dotlockfile(path, &["-p"]), Some(0), "it takes the lock of a dead owner, without the guard");
    let theirs = record(path);
    // It names its parent, this test, which lives.
    assert_eq!(theirs.trim(), std::process::id().to_string());
    let busy = attempt(path, "1s");
    assert!(busy.code() == Some(75) && busy.stderr.contains("(unknown: another program"), "{}", busy.stderr);
    assert_eq!(record(path), theirs);
    let mut waiter = Running::start(&mut tenure_run(path, &["--kind", "lockfile", "a.lock"], "echo in"));
    waiter.until_waiting();
    let unlock = run(Command::new("dotlockfile").args(["-u", "a.lock"]).current_dir(path));
    assert_eq!(unlock.code(), Some(0));
    assert_eq!(waiter.ended().stdout, "in\n");
    let handle = tenure(path, ["lock", "acquire", "a.lock"]).stdout;
    assert_eq!(dotlockfile(path, &["-p"]), Some(4), "a handle's lock names pid 1, which lives");
    assert_eq!(tenure(path, ["lock", "release", handle.trim()]).code(), Some(0));
}

/// The reason why docs/formats.md asks for `-p`, or for a lifetime of at most a quarter of an hour.
#[test]
fn a_dotlockfile_without_its_option_takes_what_is_five_minutes_old() {
    let directory = directory();
    let path = directory.path();
    let owner = owner(path);
    let file = std::fs::File::open(path.join("a.lock")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    assert_eq!(dotlockfile(path, &[]), Some(0));
    let ended = owner.finish();
    assert_eq!(ended.code(), Some(79), "the owner hears of it: {}", ended.stderr);
    assert!(path.join("a.lock").exists(), "and leaves the file alone");
}
