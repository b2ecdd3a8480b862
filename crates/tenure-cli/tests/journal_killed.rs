//! Promise: an append, rotation or reset that is killed as it enters any of its system calls leaves the records from before it,
//! or those from after it, and these if it had printed its receipt; readers see one or the other at once, the next append
//! works and clears away what was left.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use common::mounted::skip;
use common::{Ended, TENURE, directory, litter, names, run, tenure};

/// No call is made more often than this; most of the calls are the dynamic linker's.
const CALLS_MAX: usize = 100;

/// The calls between which others can see something change, by the beginnings of their names, and the last of all.
const SEEN: [&str; 15] = [
    "openat",
    "close",
    "write",
    "pwrite",
    "ftruncate",
    "fsync",
    "fdatasync",
    "flock",
    "rename",
    "link",
    "unlink",
    "fchmod",
    "fchown",
    "mkdir",
    "exit_group",
];

/// What is killed, and the records before and after it.
struct Case {
    prepare: &'static str,
    arguments: &'static [&'static str],
    before: &'static str,
    after: &'static str,
}

const CASES: [Case; 6] = [
    Case { prepare: "true", arguments: &["append", "--json", "j", "x", "y"], before: "", after: "x y" },
    Case {
        prepare: "$T append j a b",
        arguments: &["append", "--json", "j", "x", "y"],
        before: "a b",
        after: "a b x y",
    },
    Case {
        prepare: "$T append j a b; printf '0123abcd 3 1/1 2 ha' >> j",
        arguments: &["append", "--json", "j", "x"],
        before: "a b",
        after: "a b x",
    },
    Case {
        prepare: "$T append j a; $T rotate j; $T append j b; $T rotate j; $T append j c",
        arguments: &["append", "--json", "--rotate-at", "1", "--keep", "9", "j", "x"],
        before: "a b c",
        after: "a b c x",
    },
    Case {
        prepare: "$T append j a; $T rotate j; $T append j b",
        arguments: &["reset", "--json", "j", "stamp"],
        before: "a b",
        after: "stamp",
    },
    Case {
        prepare: "$T append --header '# v ' j a b",
        arguments: &["append", "--json", "--header", "# v ", "--stamp", "8", "j", "x"],
        before: "a b",
        after: "a b x",
    },
];

impl Case {
    fn options(&self) -> &[&'static str] {
        if self.arguments.contains(&"--header") { &["--header", "# v "] } else { &[] }
    }

    fn prepare(&self, directory: &Path) {
        for name in names(directory) {
            std::fs::remove_file(directory.join(name)).unwrap();
        }
        let ended =
            run(Command::new("sh").args(["-c", self.prepare]).env("T", TENURE).current_dir(directory));
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    }

    /// Runs the case under strace, with the trace in `log`.
    fn traced(&self, directory: &Path, log: &Path, options: &[&str]) -> Ended {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(log).args(options).arg(TENURE).args(self.arguments);
        run(command.current_dir(directory))
    }

    fn records(&self, directory: &Path) -> String {
        if !directory.join("j").exists() {
            return String::new();
        }
        let ended = tenure(directory, [&["log", "j"], self.options()].concat());
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{:?}", self.arguments);
        ended.stdout.lines().collect::<Vec<_>>().join(" ")
    }

    /// Kills it at the `nth` of its calls `call`: whether it had done its work and said so, or `None` if it made fewer.
    fn kill_at(&self, directory: &Path, log: &Path, call: &str, nth: usize) -> Option<(bool, bool)> {
        self.prepare(directory);
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let ended = self.traced(directory, log, &["-e", &format!("trace={call}"), "-e", &inject]);
        let context = format!("{:?}, killed at {call} {nth}: {ended:?}", self.arguments);
        let now = self.records(directory);
        assert!(now == self.before || now == self.after, "`{now}`: {context}");
        let (is_done, is_told) = (now == self.after, ended.stdout.contains("\"durability\":\"power\""));
        assert!(is_done || !is_told, "acknowledged, and gone: {context}");
        let is_killed = ended.status.signal() == Some(9);
        assert!(is_killed || ended.code() == Some(0) && is_told, "{context}");
        let next = tenure(directory, [&["append", "-w", "0s", "j", "next"], self.options()].concat());
        assert_eq!(next.code(), Some(0), "the next append fails: {next:?} after {context}");
        let expected = format!("{now} next");
        assert_eq!(self.records(directory), expected.trim_start(), "after {context}");
        let verified = tenure(directory, [&["verify", "j"], self.options()].concat());
        assert!(verified.stdout.starts_with("j: sound\n") && !verified.stdout.contains("tail"), "{context}");
        assert_eq!(litter(directory), [""; 0], "after {context}");
        is_killed.then_some((is_done, is_told))
    }
}

#[test]
fn a_journal_survives_the_death_of_its_writers_at_each_call() {
    std::thread::scope(|scope| {
        for case in &CASES {
            scope.spawn(move || sweep(case));
        }
    });
}

fn sweep(case: &Case) {
    let (place, logs) = (directory(), directory());
    let log = logs.path().join("trace");
    case.prepare(place.path());
    let ended = case.traced(place.path(), &log, &[]);
    if ended.stderr.contains("ptrace") {
        return skip("journal_killed", ended.stderr.trim());
    }
    let trace = std::fs::read_to_string(&log).unwrap();
    let name =
        |line: &str| Some(line.split_once(char::is_whitespace)?.1.trim_start().split_once('(')?.0.to_owned());
    let is_seen = |name: &String| SEEN.iter().any(|seen| name.starts_with(seen));
    let calls: BTreeSet<String> = trace.lines().filter_map(name).filter(is_seen).collect();
    let (mut undone, mut untold, mut told) = (0, 0, 0);
    for call in &calls {
        let ended = (1..=CALLS_MAX).find(|nth| match case.kill_at(place.path(), &log, call, *nth) {
            None => true,
            Some((is_done, is_told)) => {
                undone += u32::from(!is_done);
                untold += u32::from(is_done && !is_told);
                told += u32::from(is_told);
                false
            }
        });
        assert!(ended.is_some(), "more than {CALLS_MAX} calls of {call}");
    }
    let arguments = case.arguments.join(" ");
    println!("{arguments}: killed {undone} times before, {untold} before the answer, {told} after it");
    assert!(undone > 0 && untold > 0 && told > 0, "a moment was missed: {arguments}");
}
