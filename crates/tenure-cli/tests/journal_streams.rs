//! Promise: a journal is at home in a shell: pipes that fill, break or are interrupted, records that are no text, terminals,
//! names of any kind, plain files of other programs; and every refusal names the file, the cause and the way out.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use common::{Ended, TENURE, directory, names, run, tenure};
use rustix::process::Signal;
use support::{HOLD, Running, eventually, flock_holder, tenure_command};

/// A script in which `$T` is the command.
fn sh(directory: &Path, script: &str) -> Ended {
    run(Command::new("bash").args(["-c", script]).env("T", TENURE).current_dir(directory))
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

#[test]
fn a_follower_prints_each_record_once_across_rotation_and_reset() {
    let directory = directory();
    let path = directory.path();
    let mut follower = Running::start(&mut tenure_command(path, &["log", "--follow", "j"]));
    eventually("word of the missing file", || {
        follower.stderr().contains("j: no such file; waiting for it\n")
    });
    let mut expected = String::new();
    for number in 0..30 {
        match number % 7 {
            3 => drop(out(path, "$T rotate j")),
            5 => drop(out(path, &format!("$T append j more.{number} 'a\tb'"))),
            _ => drop(out(path, &format!("$T append j {number}"))),
        }
        expected += &match number % 7 {
            3 => String::new(),
            5 => format!("more.{number}\na\tb\n"),
            _ => format!("{number}\n"),
        };
        follower.until_stdout(&expected);
    }
    assert_eq!(follower.stdout(), expected);
    out(path, "$T reset j 'rev 8'; $T append --rotate-at 1 --keep 1 j last");
    follower.until_stdout("rev 8\nlast\n");
    assert_eq!(follower.stdout(), format!("{expected}rev 8\nlast\n"));
    let mut two = Running::start(&mut tenure_command(path, &["log", "-f", "-n", "1", "--json", "j"]));
    two.until_stdout("\"payload\":\"last\"");
    for (follower, signal) in [(follower, Signal::INT), (two, Signal::TERM)] {
        follower.signal(signal);
        let ended = follower.ended();
        assert_eq!(ended.status.signal(), Some(signal.as_raw()), "{}", ended.stderr);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let directory = directory();
    let path = directory.path();
    out(path, "seq 100000 | $T append j --durability process");
    for options in ["", "--json", "--follow", "-n 90000"] {
        let ended = sh(path, &format!("set -o pipefail; $T log {options} j | head -n 1 >/dev/null"));
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{options}");
    }
    // Nothing comes any more, and still the follower learns of it.
    let ended = sh(path, "set -o pipefail; $T log --follow -n 1 j | head -n 1");
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), "100000\n"));
    let ended = sh(path, "set -o pipefail; (echo a; sleep 0.2; echo b) | $T append --json j | true");
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(out(path, "$T log -n 2 j"), "a\nb\n", "who reads the receipts matters to no record");
}

#[test]
fn ctrl_c_loses_no_line_that_its_writer_still_writes() {
    let directory = directory();
    let path = directory.path();
    let mut append = Running::start(&mut tenure_command(path, &["append", "--stamp", "complete", "j"]));
    append.say("one\n");
    eventually("the first record", || tenure(path, ["log", "j"]).stdout == "one\n");
    append.signal(Signal::INT);
    eventually("word of the signal", || append.stderr().contains("interrupted"));
    append.say("two\nthree");
    let ended = append.finish();
    assert_eq!(ended.status.signal(), Some(Signal::INT.as_raw()), "{}", ended.stderr);
    let told = "tenure: interrupted; what the input still brings is appended. Once more ends this at once\n";
    assert_eq!(ended.stderr, told);
    assert_eq!(out(path, "$T log j"), "one\ntwo\nthree\n", "and no stamp, which would say that it is all");
    let mut append = Running::start(&mut tenure_command(path, &["append", "--json", "j"]));
    // Before it catches the signal, that ends it as well.
    append.say("four\n");
    append.until_stdout("[4,4]");
    append.signal(Signal::INT);
    eventually("word of the signal", || append.stderr().contains("interrupted"));
    append.signal(Signal::INT);
    assert_eq!(append.ended().status.signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn plain_files_are_those_of_report_b() {
    let directory = directory();
    let path = directory.path();
    let header = "--header '# codegraph-journal v1 '";
    out(
        path,
        "printf '# codegraph-journal v1 1700000000000\\nsrc/a.ts\\nDELETED src/b.ts\\n' > changes.journal",
    );
    let log = out(path, &format!("$T log --json {header} changes.journal"));
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&last["payload"], &last["sequence"]), (&"DELETED src/b.ts".into(), &serde_json::Value::Null));
    let cursor = last["cursor"].as_str().unwrap();
    out(
        path,
        &format!(
            "$T append {header} changes.journal src/c.ts; echo src/d.ts | $T append {header} changes.journal"
        ),
    );
    assert_eq!(
        out(path, &format!("$T log {header} --since {cursor} changes.journal")),
        "src/c.ts\nsrc/d.ts\n"
    );
    out(path, &format!("$T reset {header} changes.journal 1700000000001 --through {cursor}"));
    assert_eq!(read(path, "changes.journal"), "# codegraph-journal v1 1700000000001\nsrc/c.ts\nsrc/d.ts\n");
    out(path, &format!("$T append {header} --stamp 1700000000002 changes.journal src/e.ts"));
    let text = "# codegraph-journal v1 1700000000002\nsrc/c.ts\nsrc/d.ts\nsrc/e.ts\n";
    assert_eq!(read(path, "changes.journal"), text);
    // A line that a crash cut off.
    out(path, "printf 'src/tor' >> changes.journal");
    let ended = sh(path, &format!("$T append {header} changes.journal src/f.ts"));
    assert!(ended.code() == Some(0) && ended.stderr.contains("was moved (7 bytes)"), "{}", ended.stderr);
    assert_eq!(read(path, "changes.journal"), format!("{text}src/f.ts\n"));
    let verified = out(path, &format!("$T verify {header} changes.journal"));
    assert!(
        verified.starts_with("changes.journal: sound\n") && verified.contains("records  4\n"),
        "{verified}"
    );
    let table = [
        (
            "append --plain changes.journal \"$(printf 'a\\nb')\"",
            65,
            "changes.journal: record 1 has a line end, for which the plain format has no room. The file was left as it is\n",
        ),
        (
            "append --header '# c' changes.journal '# code'",
            65,
            "begins as a header does, and would be taken for one",
        ),
        (
            "append --plain --stamp 7 changes.journal",
            65,
            "changes.journal: has no header that a stamp could stand in: name the header of its format",
        ),
        (
            "append changes.journal x",
            65,
            "does not begin with the header of a journal (line 1). For a file that other programs write, use the plain format",
        ),
        ("log changes.journal", 65, "does not begin with the header of a journal (line 1)"),
    ];
    for (arguments, code, told) in table {
        let ended = sh(path, &format!("$T {arguments} </dev/null"));
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(code), ""), "{arguments}");
        assert!(ended.stderr.contains(told), "{arguments}: {}", ended.stderr);
    }
}

#[test]
fn any_bytes_go_in_and_come_out() {
    let directory = directory();
    let path = directory.path();
    let bytes: Vec<u8> = (1..=255).collect();
    let ended = run(tenure_command(path, &["append", "j"]).arg(OsString::from_vec(bytes.clone())));
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let output = Command::new(TENURE).args(["log", "j"]).current_dir(path).output().unwrap();
    assert_eq!(output.stdout, [bytes.as_slice(), b"\n"].concat());
    assert!(read(path, "j").lines().nth(1).unwrap().contains(r"\x01\x02"), "grep reads it");
    let object: serde_json::Value =
        serde_json::from_str(&out(path, "$T append j é; $T log --json j | head -n 1")).unwrap();
    assert!(object.get("payload").is_none());
    let decoded = out(path, &format!("echo {} | base64 -d | od -An -tu1 | wc -w", object["payload_base64"]));
    assert_eq!(decoded.trim(), "255");
    assert_eq!(
        out(path, "head -c 300000 /dev/urandom | $T append --null k; $T verify k | head -n 1"),
        "k: sound\n"
    );
}

#[test]
fn nothing_but_text_and_colour_reaches_a_terminal() {
    let directory = directory();
    let path = directory.path();
    let records = ["x", "{\"ts\": 951782400, \"m\": 1}", "$'\\xc2\\x9b2J'"];
    for record in records {
        let record = if record.starts_with('$') { record.to_owned() } else { format!("'{record}'") };
        out(path, &format!("$T append j {record}"));
    }
    let first = out(path, "$T log --json j | head -n 1");
    let cursor = serde_json::from_str::<serde_json::Value>(&first).unwrap()["cursor"].clone();
    out(path, &format!("$T reset j --through {cursor} done; $T append j $'\\e[31m'"));
    let terminal = |set: &str| {
        let shown = out(path, &format!("{set} script -qec \"$T log j\" /dev/null </dev/null"));
        shown.replace("\r\n", "\n")
    };
    let dim = |place: &str, text: &str| format!("\x1b[2m{place}\x1b[0m{text}\n");
    let time = "     2  2000-02-29T00:00:00Z ";
    let rest = [
        (time, "{\"ts\": 951782400, \"m\": 1}"),
        ("     3  ", "\\x9b2J"),
        ("     4= ", "done"),
        ("     5  ", "\\x1b[31m"),
    ];
    let dimmed: String = rest.iter().map(|(place, text)| dim(place, text)).collect();
    assert_eq!(terminal("TERM=xterm NO_COLOR="), dimmed);
    let plain: String = rest.iter().map(|(place, text)| format!("{place}{text}\n")).collect();
    assert_eq!(terminal("TERM=xterm NO_COLOR=1"), plain);
    assert_eq!(terminal("TERM=dumb NO_COLOR="), plain);
    let escaped = out(
        path,
        "$T append k $'\\e]0;title\\a\\e[2Jx\\ny'; NO_COLOR=1 script -qec \"$T log k\" /dev/null </dev/null",
    );
    assert_eq!(escaped, "     1  \\x1b]0;title\\x07\\x1b[2Jx\\ny\r\n");
}

#[test]
fn names_of_any_kind_are_names() {
    let directory = directory();
    let path = directory.path();
    for name in [&b"a b"[..], b"-j", b"j.000007", b"two\nlines", b"\xff\xfe", b"'\"$x"] {
        let name = OsString::from_vec(name.to_vec());
        for (arguments, printed) in [
            (vec!["append", "--"], ""),
            (vec!["rotate", "--"], ""),
            (vec!["verify", "--"], "sound"),
            (vec!["log", "--"], "x\ny\n"),
        ] {
            let mut command = tenure_command(path, &arguments);
            command.arg(&name);
            if arguments[0] == "append" {
                command.args(["x", "y"]);
            }
            let ended = run(&mut command);
            assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{name:?} {arguments:?}");
            assert!(ended.stdout.contains(printed), "{name:?} {arguments:?}: {}", ended.stdout);
        }
    }
}

#[test]
fn refusals_name_file_cause_and_way_out() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("notes"), "not a journal\n").unwrap();
    std::fs::write(path.join("later"), "# tenure-journal 2 x\n").unwrap();
    std::fs::create_dir(path.join("folder")).unwrap();
    out(path, "$T append linked x; ln linked other");
    let missing = "no such file; nothing creates it but an append";
    let table = [
        ("log nowhere", 66, format!("tenure: nowhere: {missing}\n")),
        ("verify nowhere", 66, format!("tenure: nowhere: {missing}\n")),
        ("repair nowhere", 66, format!("tenure: nowhere: {missing}\n")),
        ("rotate nowhere", 66, format!("tenure: nowhere: {missing}\n")),
        ("append no/folder/j x", 73, "tenure: no/folder/j".to_owned()),
        ("append notes x", 65, "tenure: notes: the file does not begin with the header of a journal (line 1). For a file that other programs write, use the plain format\n  The file was left as it is\n".to_owned()),
        ("append later x", 65, "tenure: later: the journal is of version 2, which this program does not know (line 1)".to_owned()),
        ("append linked x", 65, "tenure: linked: has 2 names (hard links), and each has a lock of its own. Make the other names symbolic links\n".to_owned()),
        ("append --record-max 3 j four", 65, "tenure: j: record 1 has 4 bytes, and at most 3 may be appended (record_max). The file was left as it is\n".to_owned()),
        ("append --record-max 17M j x", 64, "a record has at most 16M".to_owned()),
        ("append --rotate-at 10MB j x", 64, "a size is a number of bytes, or one with K, M or G (times 1024 each)".to_owned()),
        ("append --keep 3 j x", 64, "--rotate-at <SIZE>".to_owned()),
        ("append --batch j x", 64, "cannot be used with".to_owned()),
        ("log --since x notes", 64, "not a cursor".to_owned()),
    ];
    for (arguments, code, told) in table {
        let ended = sh(path, &format!("$T {arguments} </dev/null"));
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(code), ""), "{arguments}: {}", ended.stderr);
        assert!(ended.stderr.contains(&told), "{arguments}: {}", ended.stderr);
    }
    assert_eq!(
        names(path),
        ["folder", "later", "later.lock", "linked", "linked.lock", "notes", "notes.lock", "other"]
    );
    let ended = tenure(path, ["append", "folder", "x"]);
    assert!(
        matches!(ended.code(), Some(65 | 73)) && ended.stderr.starts_with("tenure: folder: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn who_pipes_lines_is_told_how_many_are_in() {
    let directory = directory();
    let path = directory.path();
    let ended = sh(path, "printf 'one\\ntwo\\nlonger\\nfour\\n' | $T append --record-max 4 j");
    let told = "tenure: record 3 of standard input has more than 4 bytes (see --record-max). The first 2 records of standard input are appended, and no more\n";
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(65), told));
    assert_eq!(out(path, "$T log j"), "one\ntwo\n");
    let ended = sh(path, "printf 'one\\0a\\nb\\0two\\0' | $T append --plain --null p");
    let told = "tenure: p: record 1 has a line end, for which the plain format has no room. The file was left as it is. The first record of standard input is appended, and no more\n";
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(65), told));
    assert_eq!(read(path, "p"), "one\n");
    let ended = sh(path, "printf 'one\\0a\\nb\\0' | $T append --plain --null --batch q; test ! -s q");
    assert_eq!(ended.code(), Some(0), "all or none");
    assert!(ended.stderr.contains("q: record 2 has a line end"), "{}", ended.stderr);
    let ended = sh(path, "$T append r <&-; $T append s < .");
    assert!(
        ended.code() == Some(74) && ended.stderr.contains("cannot read standard input: Is a directory"),
        "{}",
        ended.stderr
    );
    let ended = sh(path, "ulimit -f 100; yes 0123456789 | head -n 100000 | $T append t");
    assert!(
        ended.code() == Some(74) && ended.stderr.contains("a limit on file sizes is reached"),
        "{}",
        ended.stderr
    );
    let (_, told) = ended.stderr.split_once("The first ").unwrap();
    let count = told.split_once(' ').unwrap().0;
    assert_eq!(out(path, "$T log t | wc -l").trim(), count);
    assert!(out(path, "$T verify t").starts_with("t: sound\n"));
}

#[test]
fn a_lock_that_is_held_is_waited_for_as_long_as_asked() {
    let directory = directory();
    let path = directory.path();
    out(path, "$T append j one");
    let holder = flock_holder(&path.join("j.lock"));
    let script = "for c in 'append j x' 'reset j x' 'rotate j' 'repair j'; do $T $c -w 10ms; echo $?; done; echo y | $T append -w 10ms j; echo $?";
    let ended = sh(path, script);
    assert_eq!(ended.stdout, "75\n".repeat(5));
    let told = ended.stderr.lines().all(|line| line.starts_with("tenure: j.lock: is locked by pid "));
    assert!(told && ended.stderr.contains("gave up after waiting"), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("Nothing of standard input was appended\n"), "{}", ended.stderr);
    assert_eq!(
        out(path, "$T log j; $T verify j | head -n 1"),
        "one\nj: sound\n",
        "who reads waits for nobody"
    );
    let mut waiting = Running::start(&mut tenure_command(path, &["append", "j", "two"]));
    waiting.until_waiting();
    assert!(holder.finish().stdout.contains("held"), "{HOLD}");
    assert_eq!(waiting.ended().code(), Some(0));
    assert_eq!(out(path, "$T log j"), "one\ntwo\n");
    out(path, "for r in a b; do $T append --kind lockfile k $r; done");
    assert!(names(path).contains(&"k.lock.guard".to_owned()) && !names(path).contains(&"k.lock".to_owned()));
}
