//! Promise: `tenure append` puts each record into a journal whole and durable, whoever else appends; `tenure log` prints each
//! once, also while it grows and is rotated; what a crash left, what is damaged and what is gone is said, with its place and
//! the way out.
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

use common::{Ended, TENURE, directory, names, run, tenure};
use support::{Running, tenure_command};

/// A script in which `$T` is the command.
fn sh(directory: &Path, script: &str) -> Ended {
    run(Command::new("sh").args(["-c", script]).env("T", TENURE).current_dir(directory))
}

/// What a script that must succeed prints.
fn out(directory: &Path, script: &str) -> String {
    let ended = sh(directory, script);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{script}");
    ended.stdout
}

fn read(directory: &Path, file: &str) -> String {
    std::fs::read_to_string(directory.join(file)).unwrap()
}

fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A journal of these records, each synced before the next came, and so said by that one.
fn synced(directory: &Path, records: &[&str]) {
    let mut append = Running::start(&mut tenure_command(directory, &["append", "--json", "j"]));
    for (record, number) in records.iter().zip(1..) {
        append.say(&format!("{record}\n"));
        append.until_stdout(&format!("\"sequences\":[{number},{number}]"));
    }
    assert_eq!(append.finish().code(), Some(0));
}

/// One that was rotated, with a flaw in its first file, before which stands `one`.
fn damage(directory: &Path) {
    synced(directory, &["one", "two", "three"]);
    out(directory, "$T rotate j; $T append j four");
    let text = read(directory, "j.000001");
    std::fs::write(directory.join("j.000001"), text.replace(" two", " twO")).unwrap();
}

#[test]
fn records_come_from_arguments_and_from_lines() {
    let directory = directory();
    let path = directory.path();
    assert_eq!(out(path, "$T append j one 'two\nlines' '' -- --three"), "");
    assert_eq!(out(path, "printf 'four\n\nfive' | $T append j; $T append j </dev/null"), "");
    assert_eq!(out(path, "$T log j"), "one\ntwo\nlines\n\n--three\nfour\n\nfive\n");
    let text = read(path, "j");
    let places: Vec<&str> = text.lines().skip(1).map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(places[..4], ["1/4", "2/4", "3/4", "4/4"], "one batch");
    assert_eq!(names(path), ["j", "j.lock"]);
    let script = "printf 'a\\0b\nb\\0c' | $T append --null --batch --stamp 'rev 7' k; $T log --json k";
    let found = objects(&out(path, script));
    let payloads: Vec<_> = found.iter().map(|object| object["payload"].as_str().unwrap()).collect();
    assert_eq!(payloads, ["a", "b\nb", "c", "rev 7"]);
    let stamps: Vec<_> = found.iter().map(|object| object["stamp"].as_bool().unwrap()).collect();
    assert_eq!(stamps, [false, false, false, true]);
    assert!(read(path, "k").contains(" 4 4/4= "), "in one step");
}

#[test]
fn each_line_is_acknowledged_before_the_next_comes() {
    let directory = directory();
    let mut append = Running::start(&mut tenure_command(directory.path(), &["append", "--json", "j"]));
    for number in 1..=5 {
        append.say(&format!("line {number}\nhal"));
        append.until_stdout(&format!("\"sequences\":[{number},{number}]"));
        let text = read(directory.path(), "j");
        assert!(text.ends_with(&format!(" 1/1 {} {}line {number}\n", number - 1, hal(number))), "{text}");
    }
    // A line that the input ends in is one, too.
    let ended = append.finish();
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    let receipts = objects(&ended.stdout);
    assert_eq!(receipts.len(), 6);
    assert!(receipts.iter().all(|receipt| receipt["durability"] == "power" && receipt["recovery"].is_null()));
    let log = objects(&tenure(directory.path(), ["log", "--json", "j"]).stdout);
    assert!(log.iter().zip(&receipts).all(|(record, receipt)| record["cursor"] == receipt["cursor"]));
}

/// The beginning of each line but the first, which came with the one before.
fn hal(number: u32) -> &'static str {
    if number == 1 { "" } else { "hal" }
}

#[test]
fn fast_lines_share_their_syncs() {
    let directory = directory();
    let path = directory.path();
    let receipts = out(path, "seq 20000 | $T append --json j").lines().count();
    assert!((20..1000).contains(&receipts), "{receipts} batches");
    assert!(out(path, "$T log j") == (1..=20000).map(|number| format!("{number}\n")).collect::<String>());
    let longest =
        read(path, "j").lines().skip(1).map(|line| line.split(['/', ' ']).nth(3).unwrap().len()).max();
    assert!(longest <= Some(4), "no batch of more than 1024");
}

#[test]
fn twenty_appenders_lose_nothing() {
    let directory = directory();
    let path = directory.path();
    let script = "for w in $(seq 10); do (for n in $(seq 5); do $T append j $w.$n; done) & \
                  (seq -f \"p$w.%g\" 50 | $T append --rotate-at 1K j) & done; wait; $T log j | sort | uniq | wc -l; $T log j";
    let ended = sh(path, script);
    assert!(
        ended.stderr.lines().all(|line| line.starts_with("tenure: waiting for j.lock")),
        "{}",
        ended.stderr
    );
    let printed = ended.stdout;
    assert_eq!(printed.lines().next().unwrap().trim(), "550");
    assert_eq!(printed.lines().count(), 551);
    for writer in 1..=10 {
        let prefix = format!("p{writer}.");
        let own: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        assert_eq!(own, (1..=50).map(|number| number.to_string()).collect::<Vec<_>>(), "in its order");
    }
    assert!(names(path).iter().any(|name| name == "j.000002"), "{:?}", names(path));
    assert_eq!(tenure(path, ["verify", "j"]).code(), Some(0));
}

#[test]
fn a_torn_end_is_moved_and_told_of() {
    let directory = directory();
    let path = directory.path();
    out(path, "$T append j one; printf '0123abcd 2 1/1 1 tw' >> j");
    assert_eq!(out(path, "$T log j"), "one\n");
    let verified = out(path, "$T verify j");
    assert!(
        verified.starts_with("j: sound\n") && verified.contains("tail     19 bytes at byte 70: a record")
    );
    let ended = tenure(path, ["append", "--json", "j", "two"]);
    let torn = names(path).into_iter().find(|name| name.starts_with("j.torn-")).unwrap();
    let told = format!(
        "tenure: j: a record that was not written to its end at byte 70, left by a crash, was moved (19 bytes) to {torn}\n"
    );
    assert_eq!((ended.code(), ended.stderr), (Some(0), told));
    let receipt = &objects(&ended.stdout)[0];
    assert_eq!(receipt["recovery"]["quarantine"], torn.as_str());
    assert_eq!(read(path, &torn), "0123abcd 2 1/1 1 tw");
    assert_eq!(out(path, "$T log j"), "one\ntwo\n");
}

#[test]
fn damage_is_named_left_alone_and_taken_out_when_asked() {
    let directory = directory();
    let path = directory.path();
    damage(path);
    let ended = tenure(path, ["log", "j"]);
    let told = "tenure: j.000001: is damaged: at byte 70 stands a record whose checksum is wrong instead of record 2. Look at \
                it with `tenure verify`; `tenure repair` takes the damage out and keeps a copy\n  The file was left as it is\n";
    assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(65), "one\n", told));
    let ended = tenure(path, ["log", "--follow", "j"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(65), "one\n"), "{}", ended.stderr);
    // Who asks for the end does not come by.
    assert_eq!(out(path, "$T log -n 1 j"), "four\n");
    let ended = tenure(path, ["verify", "j"]);
    let place = "j.000001: damaged at byte 70 (21 bytes): a record whose checksum is wrong, where record 2 should stand";
    let advice = "`tenure repair` takes the damage out and keeps a copy";
    assert_eq!((ended.code(), ended.stderr), (Some(65), format!("tenure: {place}. {advice}\n")));
    assert!(
        ended.stdout.starts_with("j: DAMAGED\n") && ended.stdout.contains(&format!("damage   {place}\n"))
    );
    let report = objects(&tenure(path, ["verify", "--json", "j"]).stdout).remove(0);
    assert_eq!((&report["records"], &report["missing"], &report["files"]), (&3.into(), &1.into(), &2.into()));
    assert_eq!(report["sequences"], serde_json::json!([1, 4]));
    let flaw = &report["damage"][0];
    assert_eq!(
        (&flaw["path"], &flaw["offset"], &flaw["bytes"]),
        (&"j.000001".into(), &70.into(), &21.into())
    );
    let damaged = read(path, "j.000001");
    assert_eq!(out(path, "$T repair --dry-run j"), format!("{place} would be taken out\n"));
    assert_eq!(read(path, "j.000001"), damaged);
    let ended = tenure(path, ["repair", "--json", "j"]);
    let copy = names(path).into_iter().find(|name| name.starts_with("j.000001.damaged-")).unwrap();
    let told = format!("tenure: {place} was taken out\ntenure: {copy}: the damaged file as it was\n");
    assert_eq!((ended.code(), ended.stderr), (Some(0), told));
    assert_eq!(objects(&ended.stdout)[0]["copies"], serde_json::json!([copy.clone()]));
    assert_eq!(read(path, &copy), damaged);
    let ended = tenure(path, ["log", "j"]);
    let told = "tenure: j: record 2 is gone: reset, removed with an old file, or taken out by a repair\n";
    assert_eq!(
        (ended.code(), ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "one\nthree\nfour\n", told)
    );
    let ended = tenure(path, ["repair", "j"]);
    assert_eq!(
        (ended.code(), ended.stderr.as_str()),
        (Some(0), "tenure: j: no damage; nothing is to be done\n")
    );
}

#[test]
fn a_damaged_end_is_not_appended_to() {
    let directory = directory();
    let path = directory.path();
    synced(path, &["r1", "r2", "r3"]);
    let text = read(path, "j").replace(" r2\n", " R2\n");
    std::fs::write(path.join("j"), &text).unwrap();
    for arguments in [vec!["append", "j", "four"], vec!["rotate", "j"], vec!["reset", "j", "x"]] {
        let ended = tenure(path, &arguments);
        assert_eq!(ended.code(), Some(65), "{arguments:?}");
        assert!(
            ended.stderr.contains("at byte 69 stands a record whose checksum is wrong"),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("`tenure repair`"), "{}", ended.stderr);
        assert_eq!(read(path, "j"), text);
    }
}

#[test]
fn a_log_goes_on_from_a_cursor_and_ends_with_the_last() {
    let directory = directory();
    let path = directory.path();
    out(path, "$T append j a b; $T append j c; $T rotate j; $T append j d e");
    let records = objects(&out(path, "$T log --json j"));
    for (record, rest) in records.iter().zip(["b\nc\nd\ne\n", "c\nd\ne\n", "d\ne\n", "e\n", ""]) {
        let cursor = record["cursor"].as_str().unwrap();
        assert_eq!(tenure(path, ["log", "--since", cursor, "j"]).stdout, rest);
    }
    for (count, last) in [("0", ""), ("1", "e\n"), ("3", "c\nd\ne\n"), ("9", "a\nb\nc\nd\ne\n")] {
        assert_eq!(tenure(path, ["log", "-n", count, "j"]).stdout, last);
    }
    let cursor = records[0]["cursor"].as_str().unwrap();
    assert_eq!(out(path, "$T rotate --keep 1 j"), "");
    let ended = tenure(path, ["log", "--since", cursor, "j"]);
    let told =
        "tenure: j: records 2 to 3 are gone: reset, removed with an old file, or taken out by a repair\n";
    assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "d\ne\n", told));
    let ended = tenure(path, ["log", "--json", "--since", cursor, "j"]);
    assert_eq!((ended.stdout.lines().next(), ended.stderr.as_str()), (Some("{\"missed\":[2,3]}"), ""));
    let other = "00000000000000ff.1.00000000";
    let ended = tenure(path, ["log", "--since", other, "j"]);
    let told = format!(
        "tenure: j: is another journal than the one that was read before; read it from the beginning ({other})\n"
    );
    assert_eq!((ended.code(), ended.stderr), (Some(76), told));
    let ended = tenure(path, ["log", "--since", "17", "j"]);
    assert!(
        ended.code() == Some(64) && ended.stderr.contains("not a cursor: one looks like"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_reset_keeps_what_came_meanwhile() {
    let directory = directory();
    let path = directory.path();
    out(path, "$T append j a b; $T rotate j; $T append j c");
    let records = objects(&out(path, "$T log --json j"));
    let receipt = objects(&out(path, "$T append --json j late")).remove(0);
    assert_eq!(receipt["sequences"], serde_json::json!([4, 4]));
    let through = records[2]["cursor"].as_str().unwrap();
    let ended = tenure(path, ["reset", "j", "rev 8", "--through", through, "--json"]);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(objects(&ended.stdout)[0]["sequences"], serde_json::json!([5, 5]));
    assert_eq!(out(path, "$T log j"), "late\nrev 8\n");
    assert_eq!(names(path), ["j", "j.lock"]);
    let ended = tenure(path, ["reset", "j", "rev 9", "--through", "00000000000000ff.1.00000000"]);
    assert_eq!(ended.code(), Some(76), "{}", ended.stderr);
    assert_eq!(out(path, "$T reset j 'rev 9'; $T log --json j | wc -l").trim(), "1");
}

#[test]
fn the_page_on_formats_shows_a_journal() {
    let page = include_str!("../../../docs/formats.md");
    let (_, rest) = page.split_once("### The checked format").unwrap();
    let (_, rest) = rest.split_once("```text\n").unwrap();
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("j"), rest.split_once("```").unwrap().0).unwrap();
    let records = objects(&out(path, "$T log --json j"));
    let payloads: Vec<_> = records.iter().map(|record| record["payload"].as_str()).collect();
    assert_eq!(payloads, [Some("deploy started"), None, Some("fin\u{85}i é"), Some("")]);
    assert_eq!(records[1]["payload_base64"], "YQpiXAf/");
    assert_eq!(records[2]["cursor"], "4f1c9a2be07d5533.19.7f864bec");
    assert!(out(path, "$T verify j; $T append --json j x").contains("\"sequences\":[21,21]"));
}
