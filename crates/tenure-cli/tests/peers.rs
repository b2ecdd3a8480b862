//! Promise: Tenure's locks and those of flock(1), Python's `filelock` and `portalocker`, and plain `flock(2)`
//! exclude each other both ways, and a waiting `tenure` is woken by whatever way such a peer lets go.
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

use common::{directory, run, tenure};
use support::{HOLD, Running, flock_holder, python, tenure_run};

/// The Python peers: how each makes `try_lock` and `release`.
const PYTHON_PEERS: [(&str, &str); 3] = [
    (
        "filelock",
        "
import filelock
lock = filelock.FileLock(path)
def try_lock():
    try:
        lock.acquire(timeout=0)
        return True
    except filelock.Timeout:
        return False
release = lock.release
",
    ),
    (
        "portalocker",
        "
import portalocker
lock = portalocker.Lock(path, timeout=0, fail_when_locked=True)
def try_lock():
    try:
        lock.acquire()
        return True
    except portalocker.LockException:
        return False
release = lock.release
",
    ),
    ("fcntl.flock, released by a close", FCNTL_CLOSE),
];

const FCNTL_CLOSE: &str = "
import fcntl
file = open(path, 'a')
def try_lock():
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
def release():
    file.close()
";

/// Holds until a line comes, then lets go and lives on until its input ends.
const HOLDER: &str = "
if not try_lock():
    sys.exit(75)
if how == 'hold':
    print('held', flush=True)
    sys.stdin.readline()
    release()
    print('released', flush=True)
    sys.stdin.read()
";

fn python_peer(peer: &str, how: &str, lock: &Path) -> Command {
    let mut command = Command::new(python());
    command.args(["-c", &format!("import sys\nhow, path = sys.argv[1:]\n{peer}{HOLDER}"), how]).arg(lock);
    command
}

fn attempt(directory: &Path) -> Option<i32> {
    tenure(directory, ["run", "--try", "a.lock", "--", "true"]).code()
}

/// Holds the lock with Tenure while `peer_attempt` tries.
fn assert_tenure_excludes(directory: &Path, name: &str, mut peer_attempt: impl FnMut() -> Option<i32>) {
    let ours = Running::holding(&mut tenure_run(directory, &["a.lock"], HOLD));
    assert_eq!(peer_attempt(), Some(75), "{name} while tenure holds");
    assert_eq!(ours.finish().code(), Some(0));
    assert_eq!(peer_attempt(), Some(0), "{name} after tenure has let go");
}

#[test]
fn python_and_tenure_exclude_each_other() {
    for (name, peer) in PYTHON_PEERS {
        let directory = directory();
        let path = directory.path();
        let lock = path.join("a.lock");
        let mut theirs = Running::holding(&mut python_peer(peer, "hold", &lock));
        assert_eq!(attempt(path), Some(75), "tenure while {name} holds");
        theirs.say("\n");
        theirs.until_stdout("released");
        assert_eq!(attempt(path), Some(0), "tenure after {name} has let go");
        assert_eq!(theirs.finish().code(), Some(0), "{name}");
        assert_tenure_excludes(path, name, || run(&mut python_peer(peer, "try", &lock)).code());
    }
}

#[test]
fn flock_1_and_tenure_exclude_each_other() {
    let directory = directory();
    let path = directory.path();
    let lock = path.join("a.lock");
    let theirs = flock_holder(&lock);
    assert_eq!(attempt(path), Some(75));
    assert_eq!(theirs.finish().code(), Some(0));
    assert_eq!(attempt(path), Some(0));
    let flock = |mode: &str| {
        run(Command::new("flock")
            .args(["--nonblock", "--conflict-exit-code", "75", mode])
            .arg(&lock)
            .arg("true"))
        .code()
    };
    assert_tenure_excludes(path, "flock --exclusive", || flock("--exclusive"));
    assert_tenure_excludes(path, "flock --shared", || flock("--shared"));
    let shared = Running::holding(&mut tenure_run(path, &["--shared", "a.lock"], HOLD));
    assert_eq!(flock("--shared"), Some(0), "shared holders of both kinds hold together");
    assert_eq!(flock("--exclusive"), Some(75));
    shared.finish();
}

/// Starts a `tenure run` that waits, lets `theirs` let go by `let_go`, and sees the waiter get in.
fn assert_waiter_is_woken(
    directory: &Path,
    name: &str,
    mut theirs: Running,
    let_go: impl FnOnce(&mut Running),
) {
    let mut waiter = Running::start(&mut tenure_run(directory, &["a.lock"], "echo in"));
    waiter.until_waiting();
    let named = format!("held by pid {} ", theirs.pid());
    assert!(waiter.stderr().contains(&named), "{name}: {named}: {}", waiter.stderr());
    let_go(&mut theirs);
    let ended = waiter.ended();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), "in\n"), "{name}: {}", ended.stderr);
}

#[test]
fn a_waiter_is_woken_when_a_peer_lets_go() {
    let unlock_only = FCNTL_CLOSE.replace("file.close()", "fcntl.flock(file, fcntl.LOCK_UN)");
    let unlocking = ("fcntl.flock, released by LOCK_UN with the file left open", unlock_only.as_str());
    for (name, peer) in PYTHON_PEERS.into_iter().chain([unlocking]) {
        let directory = directory();
        let theirs = Running::holding(&mut python_peer(peer, "hold", &directory.path().join("a.lock")));
        // It lives on after this, until the waiter has got in.
        assert_waiter_is_woken(directory.path(), name, theirs, |theirs| theirs.say("\n"));
    }
    let directory = directory();
    let theirs = flock_holder(&directory.path().join("a.lock"));
    assert_waiter_is_woken(directory.path(), "flock(1)", theirs, Running::end_input);
}

#[test]
fn a_waiter_is_woken_when_a_peer_is_killed() {
    for (name, peer) in PYTHON_PEERS {
        let directory = directory();
        let theirs = Running::holding(&mut python_peer(peer, "hold", &directory.path().join("a.lock")));
        assert_waiter_is_woken(directory.path(), name, theirs, Running::kill);
    }
    let directory = directory();
    let theirs = flock_holder(&directory.path().join("a.lock"));
    assert_waiter_is_woken(directory.path(), "flock(1)", theirs, Running::kill);
}

/// An update takes FILE.lock as everyone else would.
#[test]
fn an_update_and_python_exclude_each_other() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{\"n\": 1}").unwrap();
    for (name, peer) in PYTHON_PEERS {
        let theirs = Running::holding(&mut python_peer(peer, "hold", &path.join("c.json.lock")));
        let busy = tenure(path, ["update", "c.json", "--wait", "0s", ".n = 2"]);
        assert_eq!(busy.code(), Some(75), "{name}: {}", busy.stderr);
        theirs.finish();
        let done = tenure(path, ["update", "c.json", "--wait", "0s", ".n += 1"]);
        assert_eq!(done.code(), Some(0), "{name}: {}", done.stderr);
    }
    assert_eq!(std::fs::read_to_string(path.join("c.json")).unwrap(), "{\"n\": 4}");
}
