//! Promise: an update that is killed at any moment leaves the old document or the new one, whole, and the new
//! one if it had printed it; the next update finds the lock free at once and clears away what was left.
//!
//! Nothing that others see changes between two system calls, so killing an update as it enters each of its
//! calls, one after the other, is killing it at every moment.
//!
//! The same for locks of the lockfile kind: whoever is killed while it acquires, steals or releases one leaves a file that
//! the next comer takes at once, or none, and the next comer clears away the rest.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use common::mounted::skip;
use common::{Ended, TENURE, directory, litter, names, run, tenure};

/// No call is made more often than this; most of the calls are the dynamic linker's.
const CALLS_MAX: usize = 100;

const UPDATE: &[&str] = &["update", "f.json", ".n += 1"];
const FENCED: &[&str] = &["update", "--fence", "2", "f.json", ".n += 1"];

/// One `tenure` under strace, with the trace in `log`.
fn traced(directory: &Path, log: &Path, options: &[&str], arguments: &[&str]) -> Ended {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o"]).arg(log).args(options);
    run(command.arg(TENURE).args(arguments).current_dir(directory))
}

/// The names of the calls that `tenure` makes, or why they can't be had.
fn calls(directory: &Path, log: &Path, arguments: &[&str]) -> Result<BTreeSet<String>, String> {
    let ended = traced(directory, log, &["-f"], arguments);
    if ended.stderr.contains("ptrace") {
        return Err(ended.stderr.trim().to_owned());
    }
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let trace = std::fs::read_to_string(log).unwrap();
    let name =
        |line: &str| Some(line.split_once(char::is_whitespace)?.1.trim_start().split_once('(')?.0.to_owned());
    let is_name = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // To be killed at its first call, the exec, is not to be started.
    Ok(trace.lines().filter_map(name).filter(is_name).filter(|name| name != "execve").collect())
}

/// The document's only value, which must be there, whole.
fn n(directory: &Path) -> u64 {
    let text = std::fs::read(directory.join("f.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(document.as_object().unwrap().len(), 1, "foreign content: {document}");
    document["n"].as_u64().unwrap()
}

/// What was there before an update that is to be killed.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Document,
    DocumentAndLock,
    /// With the fencing token 1, and the update comes with 2.
    Fenced,
}

impl Before {
    fn prepare(self, directory: &Path) {
        for name in names(directory) {
            std::fs::remove_file(directory.join(name)).unwrap();
        }
        if !matches!(self, Before::Nothing) {
            std::fs::write(directory.join("f.json"), "{\"n\": 7}\n").unwrap();
        }
        if matches!(self, Before::DocumentAndLock | Before::Fenced) {
            std::fs::write(directory.join("f.json.lock"), "").unwrap();
        }
        if matches!(self, Before::Fenced) {
            std::fs::write(directory.join("f.json.fence"), "{\"tenure\":1,\"token\":1}\n").unwrap();
        }
    }

    /// The update that is to be killed.
    fn update(self) -> &'static [&'static str] {
        if matches!(self, Before::Fenced) { FENCED } else { UPDATE }
    }

    /// Nothing is written but behind the fence, and who was there before does not come back behind what was written.
    fn check_fence(self, directory: &Path, written: bool, context: &str) {
        if !matches!(self, Before::Fenced) {
            return assert_eq!(names(directory), ["f.json", "f.json.lock"], "after {context}");
        }
        assert_eq!(names(directory), ["f.json", "f.json.fence", "f.json.lock"], "after {context}");
        let fence = std::fs::read(directory.join("f.json.fence")).unwrap();
        let fence: serde_json::Value = serde_json::from_slice(&fence).unwrap();
        assert!(fence["token"] == 2 || (!written && fence["token"] == 1), "{fence}: {context}");
        let older = tenure(directory, ["update", "--fence", "1", "f.json", "."]);
        assert_eq!(
            older.code(),
            if fence["token"] == 2 { Some(79) } else { Some(0) },
            "{older:?}: {context}"
        );
    }

    /// The value, where a document that does not exist counts as 0.
    fn n(self) -> u64 {
        if matches!(self, Before::Nothing) { 0 } else { 7 }
    }
}

/// What an update that was killed had come to.
#[derive(Default)]
struct Tally {
    kills: u32,
    committed: u32,
    printed: u32,
    littered: u32,
}

/// Kills an update at the `nth` of its calls `call`; `false` if it made fewer and so came to its end.
fn kill_at(directory: &Path, log: &Path, before: Before, call: &str, nth: usize, tally: &mut Tally) -> bool {
    before.prepare(directory);
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let ended = traced(directory, log, &["-f", "-e", &trace, "-e", &inject], before.update());
    let context = format!("{before:?}, killed at {call} {nth}: {ended:?}");
    let exists = directory.join("f.json").exists();
    let now = if exists { n(directory) } else { 0 };
    let old = before.n();
    assert!(exists || matches!(before, Before::Nothing), "the document is gone: {context}");
    assert!(now == old || now == old + 1, "n is {now}: {context}");
    let printed =
        serde_json::from_str(&ended.stdout).is_ok_and(|shown: serde_json::Value| shown["n"] == old + 1);
    assert!(!printed || now == old + 1, "a change that was acknowledged is lost: {context}");
    let killed = ended.status.signal() == Some(9);
    if killed {
        tally.kills += 1;
        tally.committed += u32::from(now != old);
        tally.printed += u32::from(printed);
        tally.littered += u32::from(!litter(directory).is_empty());
    } else {
        assert!(ended.code() == Some(0) && printed, "{context}");
    }
    let next = tenure(directory, ["update", "--wait", "0s", "f.json", ".n += 1"]);
    assert_eq!(next.code(), Some(0), "the next update fails: {next:?} after {context}");
    assert_eq!(n(directory), now + 1, "after {context}");
    before.check_fence(directory, now != old, &context);
    killed
}

fn sweep(before: Before) {
    let (place, logs) = (directory(), directory());
    let log = logs.path().join("trace");
    before.prepare(place.path());
    let calls = match calls(place.path(), &log, before.update()) {
        Ok(calls) => calls,
        Err(reason) => return skip("killed_at_each_call", &reason),
    };
    let mut tally = Tally::default();
    for call in &calls {
        let end = (1..=CALLS_MAX).find(|nth| !kill_at(place.path(), &log, before, call, *nth, &mut tally));
        assert!(end.is_some(), "more than {CALLS_MAX} calls of {call}");
    }
    let Tally { kills, committed, printed, littered } = tally;
    println!(
        "{before:?}: {kills} kills, {committed} after the change, {printed} after the answer, {littered} with litter"
    );
    assert!(printed > 0 && committed > printed && kills > committed && littered > 0, "a moment was missed");
}

#[test]
fn a_document_survives_the_death_of_its_writer() {
    sweep(Before::DocumentAndLock);
}

#[test]
fn a_document_without_a_lock_file_survives_the_death_of_its_writer() {
    sweep(Before::Document);
}

#[test]
fn a_fenced_document_is_never_ahead_of_its_fence_whenever_its_writer_dies() {
    sweep(Before::Fenced);
}

#[test]
fn a_document_is_created_whole_or_not_at_all() {
    sweep(Before::Nothing);
}

/// Whoever may use the document may use its lock, from the moment that its name is there: nobody repairs it.
#[test]
fn a_death_locks_nobody_out() {
    let (place, logs) = (directory(), directory());
    // Only the superuser gives the document to somebody else, so that the lock file has to follow it.
    let calls: &[&str] = if rustix::process::geteuid().is_root() {
        &["fchown", "fchmod", "linkat"]
    } else {
        &["fchmod", "linkat"]
    };
    for call in calls {
        Before::Document.prepare(place.path());
        let file = place.path().join("f.json");
        if calls.contains(&"fchown") {
            std::os::unix::fs::chown(&file, Some(12_345), Some(12_345)).unwrap();
        }
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        let inject = format!("inject={call}:signal=KILL:when=1");
        let script = "umask 077; exec strace -f -qq -o \"$0\" -e \"$1\" \"$2\" update f.json '.n += 1'";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(logs.path().join("trace")).args([&inject, TENURE]);
        let ended = run(command.current_dir(place.path()));
        if ended.stderr.contains("ptrace") {
            return skip("a_death_locks_nobody_out", &ended.stderr);
        }
        assert_eq!(ended.status.signal(), Some(9), "no {call} to be killed at: {ended:?}");
        if let Ok(lock) = std::fs::metadata(place.path().join("f.json.lock")) {
            let mode = lock.permissions().mode() & 0o777;
            assert_eq!(mode, 0o666, "killed at {call}, the lock is {mode:o}, the document 666: {ended:?}");
        }
    }
}

/// What a `tenure` that is to be killed finds at the path of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    DeadOwner,
    Handle,
}

/// Puts a directory into the state that `found` says, and returns the handle if there is one.
fn prepare(directory: &Path, dead: &str, found: Found) -> Option<String> {
    for name in names(directory) {
        std::fs::remove_file(directory.join(name)).unwrap();
    }
    match found {
        Found::Nothing => {}
        Found::DeadOwner => std::fs::write(directory.join("a.lock"), dead).unwrap(),
        Found::Handle => {
            let ended = tenure(directory, ["lock", "acquire", "a.lock"]);
            assert_eq!(ended.code(), Some(0), "{ended:?}");
            return Some(ended.stdout.trim().to_owned());
        }
    }
    None
}

/// Whose the lock is, as `tenure status` says: `free` or `missing`, or the owner's verdict.
fn owner(directory: &Path) -> String {
    let ended = tenure(directory, ["status", "--json", "a.lock"]);
    let rows: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let known = |name: &str| rows[0][name].as_str().map(str::to_owned);
    known("verdict").or_else(|| known("state")).unwrap_or_else(|| panic!("{rows}"))
}

/// Sees the next comer get in and clear away what is left.
fn assert_next_comer_gets_in(directory: &Path, context: &str) {
    let next = tenure(directory, ["run", "--kind", "lockfile", "--wait", "5s", "a.lock", "--", "true"]);
    assert_eq!((next.code(), next.stderr.as_str()), (Some(0), ""), "after {context}");
    assert_eq!(names(directory), ["a.lock.guard"], "after {context}");
}

/// What those who were killed had left: how often each verdict, and temporary files.
type Left = BTreeMap<String, u32>;

/// Kills `tenure ARGUMENTS [HANDLE]` at each of its calls; what is left is judged by `check`, which leaves the lock to be
/// taken by the next comer.
fn sweep_lock(found: Found, arguments: &[&str], check: impl Fn(&Path, &Ended, Option<&str>)) -> Option<Left> {
    let (place, logs) = (directory(), directory());
    let (path, log) = (place.path(), logs.path().join("trace"));
    let script = "cp a.lock dead";
    let ended = tenure(path, ["run", "--kind", "lockfile", "a.lock", "--", "sh", "-c", script]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let dead = std::fs::read_to_string(path.join("dead")).unwrap();
    let with_handle = |handle: &Option<String>| -> Vec<String> {
        arguments.iter().map(|part| (*part).to_owned()).chain(handle.clone()).collect()
    };
    let handle = prepare(path, &dead, found);
    let words = with_handle(&handle);
    let calls = match calls(path, &log, &words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(calls) => calls,
        Err(reason) => {
            skip("killed_at_each_call", &reason);
            return None;
        }
    };
    let mut left = Left::new();
    for call in &calls {
        let mut is_over = |nth: usize| {
            let handle = prepare(path, &dead, found);
            let words = with_handle(&handle);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            // Without its threads and its command: they do not act on the lock.
            let ended = traced(path, &log, &["-e", &format!("trace={call}"), "-e", &inject], &words);
            let killed = ended.status.signal() == Some(9);
            let context = format!("{found:?}, killed at {call} {nth}: {ended:?}");
            if killed {
                *left.entry(owner(path)).or_default() += 1;
                *left.entry("litter".to_owned()).or_default() += u32::from(!litter(path).is_empty());
            } else {
                assert_eq!(ended.code(), Some(0), "{context}");
            }
            check(path, &ended, handle.as_deref());
            assert_next_comer_gets_in(path, &context);
            !killed
        };
        assert!((1..=CALLS_MAX).any(&mut is_over), "more than {CALLS_MAX} calls of {call}");
    }
    println!("{found:?}, {arguments:?}: left behind {left:?}");
    Some(left)
}

const RUN: [&str; 6] = ["run", "--kind", "lockfile", "a.lock", "--", "true"];

#[test]
fn a_lock_file_survives_the_death_of_its_owner() {
    // Nobody but its owner was there: the owner is dead, or there is no lock.
    let check = |directory: &Path, ended: &Ended, _: Option<&str>| {
        let owner = owner(directory);
        assert!(["dead", "free", "missing"].contains(&owner.as_str()), "{owner}: {ended:?}");
    };
    let Some(left) = sweep_lock(Found::Nothing, &RUN, check) else { return };
    assert!(left["dead"] > 0 && left["free"] > 0 && left["missing"] > 0 && left["litter"] > 0, "{left:?}");
}

#[test]
fn a_dead_owners_lock_file_survives_the_death_of_the_thief() {
    let check = |directory: &Path, ended: &Ended, _: Option<&str>| {
        let owner = owner(directory);
        assert!(["dead", "free"].contains(&owner.as_str()), "{owner}: {ended:?}");
    };
    let Some(left) = sweep_lock(Found::DeadOwner, &RUN, check) else { return };
    assert!(left["dead"] > 0 && left["free"] > 0 && left["litter"] > 0, "{left:?}");
}

/// A handle that was printed has its lock. One that was not is the gap that docs/cli.md tells of: a few calls wide.
#[test]
fn a_handle_that_was_printed_has_its_lock() {
    let check = |directory: &Path, ended: &Ended, _: Option<&str>| {
        let owner = owner(directory);
        let printed = ended.stdout.trim();
        if !printed.is_empty() {
            assert_eq!(owner, "unknown", "{ended:?}");
            assert_eq!(tenure(directory, ["lock", "release", printed]).code(), Some(0), "{ended:?}");
        } else if owner == "unknown" {
            assert_eq!(tenure(directory, ["break", "--yes", "a.lock"]).code(), Some(0), "{ended:?}");
        }
    };
    let Some(left) = sweep_lock(Found::Nothing, &["lock", "acquire", "a.lock"], check) else { return };
    assert!(left["dead"] > 0 && left["unknown"] > 0 && left["missing"] > 0, "{left:?}");
}

#[test]
fn a_release_by_handle_that_is_killed_can_be_repeated() {
    let check = |directory: &Path, ended: &Ended, handle: Option<&str>| {
        let held = owner(directory) == "unknown";
        assert!(ended.code() != Some(0) || !held, "{ended:?}");
        let again = tenure(directory, ["lock", "release", handle.unwrap()]);
        assert_eq!(again.code(), Some(if held { 0 } else { 79 }), "{again:?}");
    };
    let Some(left) = sweep_lock(Found::Handle, &["lock", "release"], check) else { return };
    assert!(left["unknown"] > 0 && left["free"] > 0, "{left:?}");
}
