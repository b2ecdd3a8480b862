//! Promise: at a terminal, Ctrl-C is the editor's while it runs, a no to the question whether to edit again, and the end of
//! a wait; the text is kept each time. Whatever an editor does to its copy is survived, and said.
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

use common::{Ended, TENURE, directory, names, run};
use support::{TERMINAL, flock_holder, python};

/// `tenure edit c.json -- sh -c SCRIPT` at a terminal, in which `$0` is the copy; what it shows is in `stdout`.
fn edit_at_terminal(directory: &Path, script: &str, dialogue: &[(&str, &str)]) -> Ended {
    let dialogue = serde_json::to_string(dialogue).unwrap();
    let mut command = Command::new(python());
    command.args(["-c", TERMINAL, &dialogue, TENURE, "edit", "c.json", "--", "sh", "-c", script]);
    run(command.current_dir(directory).env("TMPDIR", directory))
}

/// `tenure edit c.json` with nobody at a terminal, and with these variables.
fn edit(directory: &Path, editor: &str, visual: &str) -> Ended {
    let mut command = Command::new(TENURE);
    command.args(["edit", "c.json"]).current_dir(directory).env("TMPDIR", directory);
    run(command.env("EDITOR", editor).env("VISUAL", visual))
}

fn text(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("c.json")).unwrap()
}

/// What is left of the editor's directories.
fn copies(directory: &Path) -> Vec<String> {
    names(directory).into_iter().filter(|name| name.starts_with("tenure-edit-")).collect()
}

/// The text in the only copy.
fn kept(directory: &Path) -> String {
    let copies = copies(directory);
    assert_eq!(copies.len(), 1, "{copies:?}");
    std::fs::read_to_string(directory.join(&copies[0]).join("c.json")).unwrap()
}

#[test]
fn ctrl_c_is_the_editors_while_it_runs() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{}\n").unwrap();
    let script = "trap 'echo caught' INT; echo ready; read x; read x; echo '{\"a\": 1}' > \"$0\"";
    let ended = edit_at_terminal(path, script, &[("ready", "\u{3}"), ("caught", "\n\n")]);
    assert_eq!((ended.code(), text(path).as_str()), (Some(0), "{\"a\": 1}\n"), "{ended:?}");
    assert_eq!(copies(path), [""; 0]);
    // One that it ends has failed. The shell's own `exec` leaves no moment in which the key is lost.
    let script =
        "echo mine >> \"$0\"; exec python3 -c 'import time; print(\"ready\", flush=True); time.sleep(60)'";
    let ended = edit_at_terminal(path, script, &[("ready", "\u{3}")]);
    assert!(ended.code() == Some(65) && ended.stdout.contains("SIGINT"), "{ended:?}");
    assert_eq!(kept(path), "{\"a\": 1}\nmine\n");
}

#[test]
fn the_question_takes_a_yes_a_no_and_ctrl_c() {
    for no in ["n\n", "No\n", "\u{4}", "\u{3}", "\u{1c}"] {
        let directory = directory();
        let path = directory.path();
        std::fs::write(path.join("c.json"), "{}\n").unwrap();
        // A key that came while the editor ran answers nothing.
        let script = "trap 'echo caught' INT; echo x >> \"$0\"; echo ready; read y || read y; true";
        let dialogue =
            [("ready", "\u{3}"), ("caught", "\n"), ("[Y/n] ", "\n"), ("ready", "\n"), ("[Y/n] ", no)];
        let ended = edit_at_terminal(path, script, &dialogue);
        assert_eq!((ended.code(), text(path).as_str()), (Some(65), "{}\n"), "{no:?}: {ended:?}");
        assert_eq!(kept(path), "{}\nx\nx\n");
        // The terminal shows a key whenever it gets to it, also amid a line.
        let said = ended.stdout.replace("^C", "").replace("^\\", "");
        assert_eq!(said.matches("line 2, column 1").count(), 2, "once for each question: {said}");
        assert!(said.contains("tenure: c.json: not changed\n  Your text is kept in "), "{no:?}: {said}");
    }
}

#[test]
fn ctrl_c_ends_the_wait_for_others_and_keeps_the_text() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{}\n").unwrap();
    let holder = flock_holder(&path.join("c.json.lock"));
    let ended = edit_at_terminal(path, "echo '[1]' > \"$0\"", &[("waiting for", "\u{3}")]);
    assert_eq!((ended.code(), text(path).as_str()), (Some(75), "{}\n"), "{ended:?}");
    assert!(ended.stdout.contains("was cancelled"), "{ended:?}");
    assert_eq!(kept(path), "[1]\n");
    assert_eq!(holder.finish().code(), Some(0));
}

#[test]
fn the_variables_are_command_lines_and_named_when_they_fail() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{}\n").unwrap();
    let good = "sh -c 'echo \"[\\\"$1\\\"]\" > \"$2\"' - 'x y'";
    for (editor, visual) in [("false", good), (good, ""), (good, " ")] {
        std::fs::write(path.join("c.json"), "{}\n").unwrap();
        let ended = edit(path, editor, visual);
        assert_eq!((ended.code(), text(path).as_str()), (Some(0), "[\"x y\"]\n"), "{}", ended.stderr);
    }
    let table = [
        ("/no/such -w", "", 127, "`/no/such -w` ($EDITOR) failed (exit status: 127). Name another"),
        ("true", "./c.json", 126, "`./c.json` ($VISUAL) failed"),
        ("'unclosed", "", 65, "`'unclosed` ($EDITOR) failed (exit status: 2). Nothing was written"),
    ];
    for (editor, visual, code, said) in table {
        let ended = edit(path, editor, visual);
        assert!(ended.code() == Some(code) && ended.stderr.contains(said), "{editor}: {}", ended.stderr);
    }
    let mut none = Command::new(TENURE);
    none.args(["edit", "c.json", "--", "./no such"]).current_dir(path);
    let ended = run(&mut none);
    let mut nowhere = Command::new(TENURE);
    nowhere.args(["edit", "no/c.json", "--", "touch", "edited"]).current_dir(path);
    let early = run(&mut nowhere);
    let why = "no/c.json: its directory does not exist";
    assert!(early.code() == Some(73) && early.stderr.contains(why), "{}", early.stderr);
    assert!(!path.join("edited").exists(), "nobody types a text that has no place");
    let said = "cannot run the editor `./no such`: No such file";
    assert!(ended.code() == Some(127) && ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(copies(path), [""; 0]);
}

#[test]
fn what_an_editor_leaves_instead_of_the_text_is_kept() {
    let table = [
        ("mv \"$0\" \"$0.saved\"", 66, "the editor left no text"),
        ("echo unsaved > \"$0.swp\"; kill -9 $$", 65, "failed (exit status: 137)"),
        ("rm \"$0\"; mkdir \"$0\"", 66, "the editor left no text"),
    ];
    for (script, code, said) in table {
        let directory = directory();
        let path = directory.path();
        std::fs::write(path.join("c.json"), "{}\n").unwrap();
        let ended = edit(path, &format!("sh -c '{script}'"), "");
        assert!(ended.code() == Some(code) && ended.stderr.contains(said), "{script}: {}", ended.stderr);
        let (_, place) = ended.stderr.split_once("What the editor left is kept in ").expect(&ended.stderr);
        assert_ne!(names(Path::new(place.trim())), [""; 0]);
    }
    // Nothing is nothing to keep, and what lies beside a text that was written is the editor's own.
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{}\n").unwrap();
    for (editor, code) in [("rm", 66), ("false", 65), ("sed -i.old s/{}/[]/", 0)] {
        let ended = edit(path, editor, "");
        assert!(ended.code() == Some(code) && !ended.stderr.contains("kept"), "{editor}: {}", ended.stderr);
        assert_eq!(copies(path), [""; 0]);
    }
    assert_eq!(text(path), "[]\n");
}
