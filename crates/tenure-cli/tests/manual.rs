//! Promise: the command explains itself: each command's help has an example that can be run, and there are
//! completions and manual pages.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{TENURE, directory, names, run, tenure};

const COMMANDS: [&str; 16] = [
    "run",
    "update",
    "get",
    "append",
    "log",
    "verify",
    "repair",
    "rotate",
    "reset",
    "status",
    "lock",
    "break",
    "lease",
    "flock",
    "completions",
    "man",
];

/// The lines of `tenure COMMAND --help` that are examples.
fn examples(command: &str) -> Vec<String> {
    let help = tenure(Path::new("."), [command, "--help"]);
    assert_eq!(help.code(), Some(0), "{}", help.stderr);
    let examples = help.stdout.lines().filter_map(|line| line.strip_prefix("  tenure "));
    examples.map(|line| format!("{TENURE} {line}")).collect()
}

#[test]
fn help_names_every_command_and_exit_code() {
    let help = tenure(Path::new("."), ["--help"]);
    assert_eq!((help.code(), help.stderr.as_str()), (Some(0), ""));
    for word in COMMANDS.into_iter().chain("64 65 66 69 70 73 74 75 76 77 79 126 127 128+n".split(' ')) {
        assert!(help.stdout.contains(word), "{word}");
    }
    for command in COMMANDS {
        let help = tenure(Path::new("."), [command, "--help"]);
        assert_eq!((help.code(), help.stderr.as_str()), (Some(0), ""), "{command}");
        // `flock` answers as flock(1) does.
        let usage =
            if command == "flock" { "Usage:\n tenure flock" } else { &format!("Usage: tenure {command}") };
        assert!(help.stdout.contains(usage), "{command}");
    }
}

#[test]
fn the_examples_of_the_help_work() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("config.yaml"), "servers:\n  here: {}\n").unwrap();
    std::fs::write(path.join("config.json"), "{\"servers\": {\"here\": {}}, \"obsolete\": 1}").unwrap();
    for command in ["update", "get", "undo", "status"] {
        let examples = examples(command);
        assert!(!examples.is_empty(), "{command}");
        for example in examples {
            // What follows a file has no end of its own.
            let example = example.replace("--follow", "");
            let ended = run(Command::new("sh")
                .args(["-c", &example])
                .envs([("HOST", "here"), ("TENURE_TOKEN", "7")])
                .current_dir(path));
            assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{example}");
        }
    }
    assert!(!examples("run").is_empty());
}

#[test]
fn the_examples_of_journals_work() {
    let directory = directory();
    let path = directory.path();
    let mut cursor = String::new();
    for command in ["append", "log", "verify", "repair", "rotate", "reset"] {
        let examples = examples(command);
        assert!(!examples.is_empty(), "{command}");
        for example in examples {
            // What follows a journal has no end of its own, and not every machine has jq.
            let example = example.replace("--follow", "").replace("jq -r .payload", "cat");
            let mut shell = Command::new("sh");
            let ended = run(shell
                .args(["-c", &example])
                .env("cursor", &cursor)
                .stdin(Stdio::null())
                .current_dir(path));
            let said =
                if ended.stderr.ends_with("no damage; nothing is to be done\n") { "" } else { &ended.stderr };
            assert_eq!((ended.code(), said), (Some(0), ""), "{example}");
        }
        let last = tenure(path, ["log", "--json", "-n", "1", "deploy.log"]).stdout;
        let last: serde_json::Value = serde_json::from_str(&last).unwrap();
        last["cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
}

#[test]
fn the_examples_of_leases_work() {
    let directory = directory();
    let examples = examples("lease");
    assert!(examples.len() >= 4, "{examples:?}");
    // One after the other in one shell, which keeps the handle; the first is an assignment.
    let help = tenure(Path::new("."), ["lease", "--help"]).stdout;
    let first = help.lines().find(|line| line.contains("handle=$(tenure")).expect("an example that acquires");
    let script = [&[first.trim().replace("tenure", TENURE)], &examples[..]].concat().join("\n");
    let ended = run(Command::new("sh").args(["-ec", &script]).current_dir(directory.path()));
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{script}");
    assert!(ended.stdout.ends_with("nightly: free; the last token was 1\n"), "{}", ended.stdout);
}

#[test]
fn completions_are_scripts_that_their_shells_accept() {
    for shell in ["bash", "zsh", "fish"] {
        let script = tenure(Path::new("."), ["completions", shell]);
        assert_eq!((script.code(), script.stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["update", "durability", "busy-exit", "if-version", "rotate-at", "at-least"] {
            assert!(script.stdout.contains(word), "{shell}: {word}");
        }
        // Where the shell is installed.
        if let Ok(checked) = Command::new(shell).args(["-n", "/dev/null"]).status() {
            assert!(checked.success(), "{shell}");
            let directory = directory();
            std::fs::write(directory.path().join("script"), &script.stdout).unwrap();
            let checked = run(Command::new(shell).arg("-n").arg("script").current_dir(directory.path()));
            assert_eq!((checked.code(), checked.stderr.as_str()), (Some(0), ""), "{shell}");
        }
    }
}

#[test]
fn manual_pages_are_written() {
    let page = tenure(Path::new("."), ["man"]);
    assert_eq!(page.code(), Some(0));
    assert!(page.stdout.contains(".TH tenure 1") && page.stdout.contains("Exit codes"), "{}", page.stdout);
    let directory = directory();
    let written = tenure(directory.path(), ["man", "."]);
    assert_eq!((written.code(), written.stdout.as_str(), written.stderr.as_str()), (Some(0), "", ""));
    let pages = names(directory.path());
    for option in ["conflict\\-exit\\-code", "nonblock"] {
        let page = std::fs::read_to_string(directory.path().join("tenure-flock.1")).unwrap();
        assert!(page.contains(option), "{option}: {page}");
    }
    for command in COMMANDS {
        assert!(pages.contains(&format!("tenure-{command}.1")), "{pages:?}");
    }
    let missing = tenure(directory.path(), ["man", "no/folder"]);
    assert_eq!(missing.code(), Some(73));
    assert!(missing.stderr.contains("cannot write the manual"), "{}", missing.stderr);
}
