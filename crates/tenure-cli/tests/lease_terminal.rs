//! Promise: at a terminal, the command of `tenure run --lease` is its foreground: keys reach the command, Ctrl-Z stops both, the
//! shell's `fg` and `bg` continue both, and whoever started them has the terminal again at the end.
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

use common::{Ended, TENURE, directory, run};
use support::{TERMINAL, python};

/// Runs a program at a terminal of its own, and types what belongs to each text that it shows.
fn at_terminal(directory: &Path, program: &[&str], dialogue: &[(&str, &str)]) -> Ended {
    let dialogue = serde_json::to_string(dialogue).unwrap();
    let mut command = Command::new(python());
    command.args(["-c", TERMINAL, &dialogue]).args(program);
    run(command.current_dir(directory).env("TENURE", TENURE).env("PS1", "prompt> ").env("LC_ALL", "C"))
}

/// A shell with job control, as people have it.
const SHELL: [&str; 4] = ["/bin/bash", "--norc", "--noprofile", "-i"];

/// Types the command line of a shell, in which the text that is waited for must not stand as it is shown.
fn line(script: &str) -> String {
    format!("\"$TENURE\" run --lease sqlite:l.db#job --ttl 60s -- {script}\n")
}

/// Says `ready`, and what it reads.
const READER: &str =
    "sh -c 'echo rea\"\"dy; while read line; do echo \"got $line\" | tr a-z A-Z; done; exit 3'";

#[test]
fn keys_reach_the_command_and_the_terminal_comes_back() {
    let directory = directory();
    let program =
        ["/bin/bash", "-c", &format!("{} ; echo code $?; read back; echo back $back", line(READER).trim())];
    let dialogue = [("ready", "one\n"), ("GOT ONE", "\u{4}"), ("code 3", "two\n"), ("back two", "")];
    let ended = at_terminal(directory.path(), &program, &dialogue);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

#[test]
fn ctrl_c_ends_the_command_and_the_script() {
    let directory = directory();
    // The command has it once; so has the script, as if it were in one group with it.
    let counter = "python3 -c 'import signal, sys, time
count = 0
def note(*_):
    global count
    count += 1
    print(\"cau\" + \"ght\", flush=True)
signal.signal(signal.SIGINT, note)
print(\"rea\" + \"dy\", flush=True)
while count < 2: time.sleep(0.01)
time.sleep(0.3); print(\"en\" + \"ded\", flush=True); sys.exit(4)'";
    let program = ["/bin/sh", "-c", &format!("{}; echo code $?", line(counter).trim())];
    let dialogue = [("ready", "\u{3}"), ("caught", "\u{3}"), ("ended", ""), ("code 4", "")];
    let ended = at_terminal(directory.path(), &program, &dialogue);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stdout.matches("caught").count(), 2, "{ended:?}");

    let sleeper = "sh -c 'echo rea\"\"dy; exec sleep 1000'";
    let program = ["/bin/sh", "-c", &format!("{}; echo went on", line(sleeper).trim())];
    let ended = at_terminal(directory.path(), &program, &[("ready", "\u{3}")]);
    assert_eq!(ended.code(), Some(254), "the shell was ended by SIGINT (-2): {ended:?}");
    assert!(!ended.stdout.contains("went on"), "{ended:?}");
    let free = common::tenure(directory.path(), ["lease", "list", "sqlite:l.db"]);
    assert_eq!((free.code(), free.stdout.as_str()), (Some(0), ""), "{free:?}");
}

#[test]
fn ctrl_z_stops_both_and_the_shell_continues_both() {
    let directory = directory();
    let dialogue = [
        ("prompt> ", line(READER).as_str()),
        ("ready", "one\n"),
        ("GOT ONE", "\u{1a}"),
        ("Stopped", ""),
        ("prompt> ", "fg\n"),
        ("exit 3'", "two\n"),
        ("GOT TWO", "\u{1a}"),
        ("Stopped", ""),
        // It goes on in the background until it reads, and stops again.
        ("prompt> ", "bg; until jobs | grep Stop''ped; do sleep 0.1; done\n"),
        ("Stopped", ""),
        ("prompt> ", "fg\n"),
        ("exit 3'", "three\n"),
        ("GOT THREE", "\u{4}"),
        ("prompt> ", "echo code $?\n"),
        ("code 3", ""),
        ("prompt> ", "jobs; exit 0\n"),
    ]
    .map(|(text, keys)| (text.to_owned(), keys.to_owned()));
    let dialogue: Vec<(&str, &str)> =
        dialogue.iter().map(|(text, keys)| (text.as_str(), keys.as_str())).collect();
    let ended = at_terminal(directory.path(), &SHELL, &dialogue);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// Started in the background, it is put into the foreground later.
#[test]
fn a_command_from_the_background_gets_the_terminal_with_fg() {
    let directory = directory();
    let start = format!("{} &\n", line(READER).trim());
    let dialogue = [
        ("prompt> ", start.as_str()),
        ("ready", ""),
        ("", "until jobs | grep Stop''ped; do sleep 0.1; done\n"),
        ("Stopped", ""),
        ("prompt> ", "fg\n"),
        ("exit 3'", "one\n"),
        ("GOT ONE", "\u{4}"),
        ("prompt> ", "echo code $?\n"),
        ("code 3", ""),
        ("prompt> ", "exit 0\n"),
    ];
    let ended = at_terminal(directory.path(), &SHELL, &dialogue);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// The command does not take the keys from whoever reads them at the end of a pipe; but it gets them if it reads.
#[test]
fn a_pager_behind_a_pipe_keeps_the_terminal() {
    let directory = directory();
    let pager = "python3 -c 'import sys
keys = open(\"/dev/tty\")
for line in sys.stdin:
    print(\"shows\", line.strip(), flush=True)
    print(\"key\", keys.readline().strip(), flush=True)'";
    let talker = "sh -c 'echo fir\"\"st; echo sec\"\"ond; sleep 1000'";
    let start = format!("{} | {pager}\n", line(talker).trim());
    let dialogue = [
        ("prompt> ", start.as_str()),
        ("shows first", "one\n"),
        ("shows second", "\u{1a}"),
        ("Stopped", ""),
        ("prompt> ", "fg\n"),
        ("readline", "two\n"),
        ("key two", "\u{3}"),
        ("prompt> ", "echo code ${PIPESTATUS[0]}\n"),
        ("code 130", ""),
        ("prompt> ", "exit 0\n"),
    ];
    let ended = at_terminal(directory.path(), &SHELL, &dialogue);
    assert_eq!(ended.code(), Some(0), "{ended:?}");

    let program =
        ["/bin/bash", "-c", &format!("{} | cat; echo code ${{PIPESTATUS[0]}}", line(READER).trim())];
    let ended =
        at_terminal(directory.path(), &program, &[("ready", "one\n"), ("GOT ONE", "\u{4}"), ("code 3", "")]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// Also while it waits.
#[test]
fn ctrl_z_stops_a_wait() {
    let directory = directory();
    let path = directory.path();
    let holder = support::Running::holding(&mut support::lease_run(path, &["--ttl", "60s"], support::HOLD));
    let dialogue = [
        ("prompt> ", line("echo in${EMPTY}side").clone()),
        ("waiting for", "\u{1a}".to_owned()),
        ("Stopped", String::new()),
        ("prompt> ", "fg\n".to_owned()),
        ("}side", "\u{3}".to_owned()),
        ("prompt> ", "echo code $?\n".to_owned()),
        ("code 130", String::new()),
        ("prompt> ", "exit 0\n".to_owned()),
    ];
    let dialogue: Vec<(&str, &str)> = dialogue.iter().map(|(text, keys)| (*text, keys.as_str())).collect();
    let ended = at_terminal(path, &SHELL, &dialogue);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(holder.finish().code(), Some(0));
}

/// Without a shell, nobody could continue what has stopped.
#[test]
fn ctrl_z_without_a_shell_is_no_dead_end() {
    let directory = directory();
    let program = [
        TENURE,
        "run",
        "--lease",
        "sqlite:l.db#job",
        "--ttl",
        "60s",
        "--",
        "sh",
        "-c",
        "echo ready; read line; echo got $line",
    ];
    let ended = at_terminal(directory.path(), &program, &[("ready", "\u{1a}"), ("^Z", "x\n"), ("got x", "")]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}
