//! Promise: `tenure run --kind lockfile` and the handles of `tenure lock` hold a lock that excludes, say at once when it is
//! lost, and never touch another's; `status` and `break` say whose it is and what is known of the owner.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::mounted::skip;
use common::{Ended, TENURE, directory, litter, names, run, tenure};
use support::{HOLD, Running, Stray, eventually, flock_holder, tenure_run};

/// `tenure run --try` on `a.lock`.
fn attempt(directory: &Path) -> Option<i32> {
    tenure(directory, ["run", "--kind", "lockfile", "--try", "a.lock", "--", "true"]).code()
}

fn holder(directory: &Path, options: &[&str], script: &str) -> Running {
    let options: Vec<&str> =
        ["--kind", "lockfile"].iter().chain(options).copied().chain(["a.lock"]).collect();
    Running::holding(&mut tenure_run(directory, &options, script))
}

/// The only row of `tenure status --json`.
fn status(directory: &Path) -> serde_json::Value {
    let ended = tenure(directory, ["status", "--json", "a.lock"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
    rows.into_iter().next().unwrap()
}

fn line(directory: &Path) -> String {
    tenure(directory, ["status", "a.lock"]).stdout
}

fn acquire(directory: &Path, options: &[&str]) -> String {
    let ended = tenure(directory, ["lock", "acquire"].iter().chain(options).chain(&["a.lock"]));
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout.lines().count(), 1);
    ended.stdout.trim_end().to_owned()
}

#[test]
fn it_holds_while_the_command_runs_and_ends_as_that_ends() {
    let directory = directory();
    let path = directory.path();
    for (script, code) in [("test -s a.lock", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
        let arguments = ["run", "--kind", "lockfile", "--lifetime", "1m", "a.lock", "--", "sh", "-c", script];
        let ended = tenure(path, arguments);
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(code), ""), "{script}");
        assert_eq!(names(path), ["a.lock.guard"], "{script}");
    }
    let missing = tenure(path, ["run", "--kind", "lockfile", "a.lock", "--", "./nothing"]);
    assert_eq!(missing.code(), Some(127));
    let first = holder(path, &[], HOLD);
    let busy = tenure(path, ["run", "--kind", "lockfile", "-n", "-E", "3", "a.lock", "--", "true"]);
    assert_eq!(busy.code(), Some(3));
    assert!(busy.stderr.contains(&format!("pid {} `", first.pid())), "{}", busy.stderr);
    let mut waiter = Running::start(&mut tenure_run(path, &["--kind", "lockfile", "a.lock"], "echo in"));
    waiter.until_waiting();
    assert!(waiter.stderr().contains(&format!("held by pid {} `", first.pid())), "{}", waiter.stderr());
    assert_eq!(first.finish().code(), Some(0));
    assert_eq!(waiter.ended().stdout, "in\n");
}

/// It has a lifetime, so it looks while its command runs.
#[test]
fn a_loss_ends_the_command_once_and_has_a_code_of_its_own() {
    let directory = directory();
    let path = directory.path();
    let script = "trap 'echo TERM' TERM; echo held; while [ ! -e stop ]; do sleep 0.01; done";
    let robbed = holder(path, &["--lifetime", "300ms"], script);
    assert_eq!(tenure(path, ["break", "--yes", "a.lock"]).code(), Some(0));
    let new = acquire(path, &[]);
    eventually("the command is told", || robbed.stdout().contains("TERM"));
    let said = robbed.stderr();
    // Two more renewals would have come by then, and a second signal with them.
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(path.join("stop"), "").unwrap();
    let ended = robbed.ended();
    assert_eq!(ended.code(), Some(79), "though the command ended with 0: {ended:?}");
    assert_eq!(ended.stdout, "held\nTERM\n");
    assert!(said.is_empty() || said == ended.stderr, "it says so once: {}", ended.stderr);
    assert!(ended.stderr.contains("a.lock: this lock was lost: ") && ended.stderr.contains("SIGTERM"));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(tenure(path, ["lock", "release", &new]).code(), Some(0), "the next holder was left alone");
}

#[test]
fn a_loss_that_is_seen_at_the_release_is_reported() {
    let directory = directory();
    let path = directory.path();
    let robbed = holder(path, &[], HOLD);
    assert_eq!(tenure(path, ["break", "--yes", "a.lock"]).code(), Some(0));
    let new = acquire(path, &[]);
    let record = std::fs::read(path.join("a.lock")).unwrap();
    let ended = robbed.finish();
    assert_eq!(ended.code(), Some(79));
    assert_eq!(ended.stderr, "tenure: a.lock: this lock was lost: another owner holds it\n");
    assert_eq!(std::fs::read(path.join("a.lock")).unwrap(), record);
    assert_eq!(tenure(path, ["lock", "release", &new]).code(), Some(0));
}

/// What the help warns of, and the reason to take the flock kind on one machine.
#[test]
fn the_command_of_a_killed_tenure_goes_on_without_the_lock() {
    let directory = directory();
    let path = directory.path();
    let script = format!("echo $$ > command; {HOLD}");
    let mut killed = holder(path, &[], &script);
    let command = Stray::named_in(&path.join("command"));
    killed.kill();
    assert!(line(path).contains("(dead: no process") && line(path).ends_with("; the next comer takes it\n"));
    assert_eq!(attempt(path), Some(0));
    assert!(command.is_running());
    assert_eq!(litter(path), [""; 0]);
}

#[test]
fn a_handle_holds_across_processes() {
    let directory = directory();
    let path = directory.path();
    let handle = acquire(path, &["--lifetime", "1m"]);
    let place = path.canonicalize().unwrap();
    assert!(handle.starts_with("tenure1:") && handle.ends_with("/a.lock"), "{handle}");
    assert_eq!(attempt(path), Some(75));
    let busy = tenure(path, ["lock", "acquire", "--try", "a.lock"]);
    assert_eq!((busy.code(), busy.stdout.as_str()), (Some(75), ""));
    let waited = tenure(path, ["lock", "acquire", "--wait", "300ms", "a.lock"]);
    assert_eq!(waited.code(), Some(75), "{}", waited.stderr);
    for (verb, code) in [("renew", 0), ("release", 0), ("release", 79), ("renew", 79)] {
        let ended = tenure(Path::new("/"), ["lock", verb, &handle]);
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(code), ""), "{verb}: {}", ended.stderr);
        assert_eq!(code == 79, ended.stderr.contains("this lock was lost"), "{verb}: {}", ended.stderr);
    }
    assert_eq!(names(&place), ["a.lock.guard"]);
    let old = acquire(path, &["--lifetime", "100ms"]);
    std::thread::sleep(Duration::from_millis(300));
    let expired = tenure(path, ["lock", "renew", &old]);
    assert_eq!(expired.code(), Some(79), "{}", expired.stderr);
    let new = acquire(path, &["--wait", "10s"]);
    let late = tenure(path, ["lock", "release", &old]);
    assert_eq!(late.code(), Some(79), "an old handle has no power over the new lock: {}", late.stderr);
    assert_eq!(tenure(path, ["lock", "release", &new]).code(), Some(0));
}

#[test]
fn a_handle_that_nobody_gets_leaves_no_lock() {
    let directory = directory();
    let path = directory.path();
    let script = "\"$0\" lock acquire a.lock > /dev/full; echo $?; \
                  { \"$0\" lock acquire a.lock; echo $? >&2; } | true";
    let ended = run(Command::new("bash").args(["-c", script, TENURE]).current_dir(path));
    assert_eq!(ended.stdout, "74\n");
    assert_eq!(ended.stderr.matches("so the lock was released again").count(), 2, "{}", ended.stderr);
    assert_eq!(names(path), ["a.lock.guard"]);
}

#[test]
fn status_tells_the_kinds_apart_and_what_is_known_of_the_owner() {
    let directory = directory();
    let path = directory.path();
    let field = |name: &str| status(path)[name].clone();
    assert_eq!(line(path), "a.lock: missing\n");
    assert_eq!((field("kind"), field("state")), (serde_json::Value::Null, "missing".into()));
    let owner = holder(path, &[], HOLD);
    let said = line(path);
    assert!(said.starts_with(&format!("a.lock: held by pid {} `", owner.pid())), "{said}");
    assert!(said.contains(", host ") && said.contains("(alive: pid "), "{said}");
    let row = status(path);
    assert_eq!(row["holders"][0]["pid"], owner.pid().as_raw_nonzero().get());
    assert_eq!((&row["kind"], &row["state"]), (&"lockfile".into(), &"held".into()));
    assert_eq!(row["verdict"], "alive");
    assert!(row["host"].is_string() && row["reason"].is_string(), "{row}");
    owner.finish();
    assert_eq!(line(path), "a.lock: free (lockfile kind)\n");
    assert_eq!((field("kind"), field("state")), ("lockfile".into(), "free".into()));
    let handle = acquire(path, &[]);
    assert!(line(path).contains("(unknown: held by a handle"), "{}", line(path));
    // Its record says what it is even without the guard.
    std::fs::remove_file(path.join("a.lock.guard")).unwrap();
    assert_eq!((field("kind"), field("verdict")), ("lockfile".into(), "unknown".into()));
    assert_eq!(tenure(path, ["lock", "release", &handle]).code(), Some(0));
    // What others wrote is waited for by those who use the guard, also if it is empty.
    for text in ["", "4711\n"] {
        std::fs::write(path.join("a.lock"), text).unwrap();
        assert_eq!(
            (field("kind"), field("state"), field("verdict")),
            ("lockfile".into(), "held".into(), "unknown".into())
        );
        assert_eq!(attempt(path), Some(75));
    }
    // But who holds the file itself by flock(2) is the holder to name.
    let by_flock = flock_holder(&path.join("a.lock"));
    assert_eq!(field("kind"), "flock");
    assert!(line(path).starts_with(&format!("a.lock: held by pid {} `", by_flock.pid())), "{}", line(path));
    by_flock.finish();
    std::fs::remove_file(path.join("a.lock.guard")).unwrap();
    assert_eq!(
        (field("kind"), field("state"), field("host")),
        ("flock".into(), "free".into(), serde_json::Value::Null)
    );
}

#[test]
fn break_says_first_what_it_would_do() {
    let directory = directory();
    let path = directory.path();
    let asked = || tenure(path, ["break", "a.lock"]);
    let check = |ended: &Ended, code: i32, parts: &[&str]| {
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(code), ""), "{}", ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "no {part:?} in: {}", ended.stderr);
        }
    };
    check(&asked(), 66, &["a.lock: no such lock"]);
    let mut owner = holder(path, &[], HOLD);
    check(&asked(), 64, &["held by pid", "(alive: ", "is not safe", "Nothing was done", "--yes"]);
    owner.kill();
    check(&asked(), 64, &["(dead: ", "is safe", "the next comer takes it"]);
    assert!(path.join("a.lock").exists());
    check(
        &tenure(path, ["break", "--yes", "a.lock"]),
        0,
        &["a.lock was broken; it was held by pid", "(dead: "],
    );
    for arguments in [&["break", "a.lock"] as &[&str], &["break", "--yes", "a.lock"]] {
        check(&tenure(path, arguments), 0, &["nobody holds this lock"]);
    }
    let handle = acquire(path, &[]);
    check(&asked(), 64, &["a handle `", "(unknown: ", "if you know that this owner is gone"]);
    check(&tenure(path, ["break", "--yes", "a.lock"]), 0, &["(unknown: held by a handle"]);
    assert_eq!(tenure(path, ["lock", "release", &handle]).code(), Some(79));
}

#[test]
fn a_lock_of_the_flock_kind_is_not_broken() {
    let directory = directory();
    let path = directory.path();
    for guarded in [false, true] {
        let owner = flock_holder(&path.join("a.lock"));
        if guarded {
            std::fs::write(path.join("a.lock.guard"), "").unwrap();
        }
        let refused = tenure(path, ["break", "--yes", "a.lock"]);
        assert_eq!(refused.code(), Some(65), "{}", refused.stderr);
        let way_out = format!("End its holder: pid {} `", owner.pid());
        assert!(
            refused.stderr.contains("flock kind") && refused.stderr.contains(&way_out),
            "{}",
            refused.stderr
        );
        assert!(path.join("a.lock").exists());
        owner.finish();
    }
    std::fs::remove_file(path.join("a.lock.guard")).unwrap();
    let free = tenure(path, ["break", "--yes", "a.lock"]);
    assert!(
        free.code() == Some(65) && free.stderr.contains("Nobody on this machine holds it"),
        "{}",
        free.stderr
    );
    assert!(path.join("a.lock").exists());
}

/// The holder releases between the look and the guard, and a newcomer, who needs no guard, comes before the removal. A break
/// that does not look again under the guard removes the newcomer's lock.
#[test]
fn break_takes_nothing_from_a_newcomer() {
    let directory = directory();
    let path = directory.path();
    let owner = holder(path, &[], HOLD);
    let mut command = Command::new("strace");
    // The trace goes to standard error, which strace does not buffer.
    command.args(["-qq", "-e", "trace=?open,openat,flock,?unlink,unlinkat"]);
    command.args(["-e", "inject=flock:delay_enter=500000:when=1"]);
    command.args(["-e", "inject=?unlink,unlinkat:delay_enter=500000"]);
    let mut breaker = Running::start(command.args([TENURE, "break", "--yes", "a.lock"]).current_dir(path));
    let traced = |breaker: &mut Running, part: &str| {
        let is_done = |line: &str| line.contains(part) && line.contains(" = ");
        breaker.stderr().lines().any(is_done) || !breaker.is_running()
    };
    eventually("it has looked", || traced(&mut breaker, "a.lock.guard"));
    if breaker.stderr().contains("ptrace") {
        return skip("break_takes_nothing_from_a_newcomer", &breaker.stderr());
    }
    assert_eq!(owner.finish().code(), Some(0));
    eventually("it has the guard", || traced(&mut breaker, "flock("));
    // It looks at once; its removal, if it makes one, is yet to come.
    std::thread::sleep(Duration::from_millis(100));
    let newcomer = holder(path, &[], HOLD);
    let ended = breaker.ended();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    // On a machine that is very busy it may have looked so late that it saw the newcomer.
    let was_seen = ended.stderr.contains(&format!("held by pid {} ", newcomer.pid()));
    assert!(was_seen || path.join("a.lock").exists(), "the newcomer's lock was broken: {}", ended.stderr);
}

#[test]
fn what_is_used_wrongly_is_explained() {
    let directory = directory();
    let path = directory.path();
    std::fs::create_dir(path.join("folder")).unwrap();
    std::fs::write(path.join("text"), "precious").unwrap();
    symlink("text", path.join("link")).unwrap();
    let long = format!("tenure1:{}:", "0".repeat(31));
    let stale = format!("tenure1:{}:{}/gone.lock", "0".repeat(32), path.display());
    let zero = format!("tenure1:{}:/a%00b", "0".repeat(32));
    let run_on = |options: &[&'static str], lock: &'static str| -> Vec<String> {
        let kind = ["run", "--kind", "lockfile"];
        let parts = kind.iter().chain(options).copied().chain([lock, "--", "touch", "ran"]);
        parts.map(str::to_owned).collect()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let table = [
        (words(&["lock", "release", "nonsense"]), 64, "\"nonsense\" is no handle"),
        (words(&["lock", "renew", ""]), 64, "is no handle"),
        (words(&["lock", "renew", &long]), 64, "is no handle"),
        (words(&["lock", "release", &zero]), 64, "is no handle"),
        (words(&["lock", "release", "/a/b.lock"]), 64, "would begin with `tenure1:`"),
        (words(&["lock", "release", &stale]), 79, "gone.lock: this lock was lost"),
        (words(&["lock"]), 64, "Usage: tenure lock <COMMAND>"),
        (words(&["lock", "acquire"]), 64, "<PATH>"),
        (words(&["lock", "acquire", "--lifetime", "0s", "a.lock"]), 64, "less than 100ms"),
        (words(&["lock", "acquire", "no/a.lock"]), 73, "directory does not exist"),
        (words(&["lock", "acquire", "--try", "folder"]), 73, "Is a directory"),
        (run_on(&["--lifetime", "0s"], "a.lock"), 64, "less than 100ms"),
        (run_on(&["--lifetime", "99ms"], "a.lock"), 64, "less than 100ms"),
        (run_on(&["--lifetime", "5"], "a.lock"), 64, "300ms or 2s"),
        (run_on(&["--shared"], "a.lock"), 64, "--shared needs --kind flock"),
        (run_on(&["--close"], "a.lock"), 64, "--close says nothing with --kind lockfile"),
        (run_on(&["--kind", "flock"], "a.lock"), 64, "cannot be used multiple times"),
        (
            words(&["run", "--kind", "nosuch", "a.lock", "--", "touch", "ran"]),
            64,
            "possible values: flock, lockfile",
        ),
        (
            words(&["run", "--lifetime", "1s", "a.lock", "--", "touch", "ran"]),
            64,
            "--lifetime needs --kind lockfile",
        ),
        (run_on(&[], "folder"), 73, "Is a directory"),
        (run_on(&[], "link"), 73, "symbolic link"),
        (run_on(&[], "a.lock/"), 73, "cannot link the lock file into place: No such file or directory"),
        (run_on(&["--try"], "text"), 75, "another program wrote the file"),
        (words(&["break"]), 64, "<PATH>"),
        (words(&["break", "--yes", "folder"]), 65, "is no lock of the lockfile kind"),
        (words(&["break", "--yes", "no/a.lock"]), 66, "no such lock"),
    ];
    for (arguments, code, said) in table {
        let ended = tenure(path, &arguments);
        assert_eq!(
            (ended.code(), ended.stdout.as_str()),
            (Some(code), ""),
            "{arguments:?}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains(said), "{arguments:?}: no {said:?} in: {}", ended.stderr);
        assert_eq!(litter(path), [""; 0], "{arguments:?}");
    }
    assert!(!path.join("ran").exists() && !path.join("a.lock").exists());
    assert_eq!(std::fs::read_to_string(path.join("text")).unwrap(), "precious");
}

/// Whoever may not read a lock file can't know whose it is, and must not take its being unreadable for its being free.
#[test]
fn a_lock_file_that_cannot_be_read_is_not_free() {
    // Not below the target directory, which the other user may not be able to reach.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::copy(TENURE, path.join("tenure")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(if rustix::process::getuid().is_root() { "setpriv" } else { "env" });
        if rustix::process::getuid().is_root() {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        run(command.arg(path.join("tenure")).args(arguments).current_dir(path))
    };
    let there = as_nobody(&["--version"]);
    if there.code() != Some(0) {
        return skip("a_lock_file_that_cannot_be_read_is_not_free", &there.stderr);
    }
    let handle = acquire(path, &[]);
    let lock = path.join("a.lock");
    std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o000)).unwrap();
    let table: [&[&str]; 4] = [
        &["run", "--kind", "lockfile", "a.lock", "--", "touch", "ran"],
        &["lock", "release", &handle],
        &["status", "a.lock"],
        &["break", "--yes", "a.lock"],
    ];
    for arguments in table {
        let ended = as_nobody(arguments);
        assert_eq!(ended.code(), Some(77), "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("a.lock: cannot read the lock file: Permission denied"),
            "{}",
            ended.stderr
        );
    }
    assert!(lock.exists() && !path.join("ran").exists());
    // Without a guard nothing says that the file is more than the place of an flock, which needs no reading.
    std::fs::remove_file(path.join("a.lock.guard")).unwrap();
    assert_eq!(as_nobody(&["status", "a.lock"]).stdout, "a.lock: free\n");
}
