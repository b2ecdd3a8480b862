//! Promise: of any number of concurrent updates none is lost, whoever is killed when, and a reader sees a whole
//! document at every moment. And the options of `tenure update` do what they say.
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Ended, directory, litter, names, tenure};
use serde_json::{Value, json};
use support::{Running, Scatter, flock_holder, tenure_command};

/// `tenure update FILE EXPR` without syncing, which makes no difference to other processes.
fn update(directory: &Path, file: &str, expression: &str) -> Ended {
    tenure(directory, ["update", "--durability", "process", file, expression])
}

fn update_ok(directory: &Path, file: &str, expression: &str) {
    let ended = update(directory, file, expression);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
}

fn content(directory: &Path, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join(file)).unwrap()).unwrap()
}

/// Reads `.n` of c.json until `done`: it is there, whole, and never falls.
fn watch(directory: &Path, done: &AtomicBool) {
    let mut last = 0;
    while !done.load(Ordering::Relaxed) {
        let now = content(directory, "c.json")["n"].as_u64().unwrap();
        assert!(now >= last, "{now} after {last}: an update was undone");
        last = now;
    }
    let read: Value = tenure::Document::open(directory.join("c.json")).read().unwrap();
    assert!(read["n"].as_u64() >= Some(last));
}

/// Runs `writers` threads of `writer` beside a reader.
fn beside_a_reader(directory: &Path, writers: u64, writer: impl Fn(u64) + Sync) {
    std::fs::write(directory.join("c.json"), "{\"n\": 0}\n").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| watch(directory, &done));
        let writer = &writer;
        let writers: Vec<_> = (0..writers).map(|id| scope.spawn(move || writer(id))).collect();
        let outcomes: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
}

#[test]
fn twenty_writers_count_to_a_thousand() {
    let directory = directory();
    let path = directory.path();
    beside_a_reader(path, 20, |_| (0..50).for_each(|_| update_ok(path, "c.json", ".n += 1")));
    assert_eq!(content(path, "c.json"), json!({"n": 1000}));
    assert_eq!(names(path), ["c.json", "c.json.lock"]);
}

#[test]
fn what_was_acknowledged_survives_a_storm_of_kills() {
    let directory = directory();
    let path = directory.path();
    let (acknowledged, killed) = (AtomicU64::new(0), AtomicU64::new(0));
    beside_a_reader(path, 6, |id| {
        let mut scatter = Scatter(id * 7919 + 1);
        let mut usual = Duration::from_millis(5);
        for round in 0..50 {
            let doomed = round % 5 < 2;
            // Syncing widens the time in which a kill leaves a temporary file behind.
            let durability = if doomed { "power" } else { "process" };
            let arguments = ["update", "--durability", durability, "c.json", ".n += 1"];
            let start = Instant::now();
            let mut running = Running::start(&mut tenure_command(path, &arguments));
            if doomed {
                // Anywhere in the time that an update takes here, waiting included.
                thread::sleep(usual.mul_f64(scatter.below(1000) as f64 / 1000.0));
                running.kill();
            }
            let ended = running.ended();
            match ended.code() {
                Some(0) => acknowledged.fetch_add(1, Ordering::Relaxed),
                None => killed.fetch_add(1, Ordering::Relaxed),
                Some(_) => panic!("an update failed: {}", ended.stderr),
            };
            usual = if doomed { usual } else { (usual + start.elapsed()) / 2 };
        }
    });
    let (acknowledged, killed) = (acknowledged.into_inner(), killed.into_inner());
    let n = content(path, "c.json")["n"].as_u64().unwrap();
    assert_eq!(acknowledged + killed, 300);
    assert!(
        acknowledged <= n && n <= acknowledged + killed,
        "{acknowledged} acknowledged, {killed} killed: {n}"
    );
    assert!(killed >= 30, "{killed} kills are no storm");
    // As a killed update leaves it, should chance have left none; and what only looks like it.
    std::fs::write(path.join(".c.json.0123456789abcdef.tenure-tmp"), "{").unwrap();
    std::fs::write(path.join(".d.json.0123456789abcdef.tenure-tmp"), "{").unwrap();
    update_ok(path, "c.json", ".n += 1");
    let others = [".d.json.0123456789abcdef.tenure-tmp"];
    assert_eq!(litter(path), others, "the next update sweeps what was left of c.json, and nothing else");
}

/// The mistake of every program that reads its settings, and later saves all of them.
#[test]
fn a_later_save_does_not_erase_an_earlier_change() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("a.json"), "{\n  \"a\": 0,\n  \"b\": 0\n}\n").unwrap();
    thread::scope(|scope| {
        for expression in [".a += 1", ".b += 1"] {
            scope.spawn(move || (0..50).for_each(|_| update_ok(path, "a.json", expression)));
        }
    });
    let text = std::fs::read_to_string(path.join("a.json")).unwrap();
    assert_eq!(text, "{\n  \"a\": 50,\n  \"b\": 50\n}\n", "both keep everything, and the layout stays");
}

#[test]
fn while_another_program_holds_the_lock_an_update_waits() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{\"n\": 1}").unwrap();
    let holder = flock_holder(&path.join("c.json.lock"));
    for wait in ["0s", "300ms"] {
        let ended = tenure(path, ["update", "c.json", ".n = 2", "--wait", wait]);
        assert_eq!(ended.code(), Some(75), "{}", ended.stderr);
        let named = format!("c.json.lock: is locked by pid {} ", holder.pid());
        assert!(ended.stderr.contains(&named), "{named}: {}", ended.stderr);
    }
    assert_eq!(std::fs::read_to_string(path.join("c.json")).unwrap(), "{\"n\": 1}");
    assert_eq!(tenure(path, ["get", "c.json", ".n"]).stdout, "1\n", "readers do not wait");
    let mut waiter = Running::start(&mut tenure_command(path, &["update", "c.json", ".n = 3"]));
    waiter.until_waiting();
    assert!(waiter.stderr().contains(&format!("held by pid {} ", holder.pid())), "{}", waiter.stderr());
    holder.finish();
    assert_eq!(waiter.ended().code(), Some(0));
    assert_eq!(content(path, "c.json"), json!({"n": 3}));
}

#[test]
fn an_update_of_another_version_is_a_conflict() {
    let directory = directory();
    let path = directory.path();
    let report = |arguments: &[&str]| -> Value {
        let ended = tenure(path, arguments);
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let made = report(&["update", "c.json", "--json", "--if-version", "absent", ".n = 1"]);
    let first = made["version"].as_str().unwrap();
    let document = json!({"n": 1});
    let expected = json!({"changed": true, "version": first, "durability": "power", "document": document});
    assert_eq!(made, expected);
    assert_eq!(report(&["get", "c.json", "--json"]), json!({"version": first, "results": [document]}));

    let same = report(&["update", "c.json", "--json", "--durability", "process", ".n = 1"]);
    let expected = json!({"changed": false, "version": first, "durability": "process", "document": document});
    assert_eq!(same, expected);

    let second = report(&["update", "c.json", "--json", "--if-version", first, ".n = 2"]);
    let before = std::fs::read(path.join("c.json")).unwrap();
    for stale in [first, "absent"] {
        let ended = tenure(path, ["update", "c.json", "--if-version", stale, ".n = 3"]);
        assert_eq!(ended.code(), Some(76));
        assert!(ended.stderr.contains(second["version"].as_str().unwrap()), "{}", ended.stderr);
    }
    assert_eq!(std::fs::read(path.join("c.json")).unwrap(), before);
}

#[test]
fn a_dry_run_prints_the_change_and_makes_none() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{\n  \"a\": 1,\n  \"b\": 2\n}\n").unwrap();
    let ended = tenure(path, ["update", "c.json", "--dry-run", ".b = 3"]);
    let diff = "--- c.json\n+++ c.json\n@@ -1,4 +1,4 @@\n {\n   \"a\": 1,\n-  \"b\": 2\n+  \"b\": 3\n }\n";
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), diff));
    assert_eq!(content(path, "c.json"), json!({"a": 1, "b": 2}));
    assert_eq!(names(path), ["c.json"], "not even a lock file is made");
    assert_eq!(tenure(path, ["update", "c.json", "--dry-run", "."]).stdout, "");
    let made = tenure(path, ["update", "new.json", "--dry-run", ".a = 1"]);
    assert_eq!(made.stdout, "--- /dev/null\n+++ new.json\n@@ -0,0 +1,3 @@\n+{\n+  \"a\": 1\n+}\n");
    assert_eq!(names(path), ["c.json"]);
}

#[test]
fn the_options_do_what_they_say() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("add.jq"), "# a comment\n.n + 1\n  | {n: .}\n").unwrap();
    std::fs::write(path.join("empty.json"), "").unwrap();
    let table: &[(&[&str], &str)] = &[
        (&["new.json", ".n += 1"], "{\n  \"n\": 1\n}\n"),
        (&["new.json", "-f", "add.jq"], "{\n  \"n\": 2\n}\n"),
        (&["new.json", "--arg", "text", "2\"", ".n = $text"], "{\n  \"n\": \"2\\\"\"\n}\n"),
        (&["new.json", "--argjson", "value", "[1.10]", ".n = $value[0]"], "{\n  \"n\": 1.10\n}\n"),
        (&["list.json", "--init", "[]", ". + [\"job\"]"], "[\n  \"job\"\n]\n"),
        (&["list.json", "--init", "[]", ". + [\"more\"]"], "[\n  \"job\",\n  \"more\"\n]\n"),
        (&["empty.json", "--init", "{a: 1}", ".b = 2"], "{\n  \"a\": 1,\n  \"b\": 2\n}\n"),
        (&["word.json", "\"a word\""], "\"a word\"\n"),
    ];
    for (arguments, expected) in table {
        let ended = tenure(path, ["update"].iter().chain(*arguments));
        assert_eq!(ended.code(), Some(0), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, *expected, "{arguments:?}");
        assert_eq!(std::fs::read_to_string(path.join(arguments[0])).unwrap(), *expected, "{arguments:?}");
    }
    let raw = tenure(path, ["update", "-r", "word.json", "\"an \\\"other\\\"\""]);
    assert_eq!(raw.stdout, "an \"other\"\n", "-r prints the text of a string");
    assert_eq!(content(path, "word.json"), json!("an \"other\""), "but the file stays JSON");
    assert_eq!(tenure(path, ["get", "-r", "word.json"]).stdout, "an \"other\"\n");
}

/// A symbolic link is followed to the one lock of the real file, whichever name is used.
#[test]
fn two_names_of_one_file_have_one_lock() {
    let directory = directory();
    let path = directory.path();
    std::fs::create_dir(path.join("real")).unwrap();
    std::fs::write(path.join("real/c.json"), "{\"n\": 0}\n").unwrap();
    std::os::unix::fs::symlink("real/c.json", path.join("link.json")).unwrap();
    thread::scope(|scope| {
        for file in ["link.json", "real/c.json"] {
            scope.spawn(move || (0..25).for_each(|_| update_ok(path, file, ".n += 1")));
        }
    });
    assert_eq!(content(path, "real/c.json"), json!({"n": 50}));
    assert_eq!(names(path), ["link.json", "real"]);
    assert!(path.join("link.json").symlink_metadata().unwrap().is_symlink());
}
