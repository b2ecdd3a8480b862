//! Promise: `tenure edit` keeps nobody waiting and loses nothing, `tenure undo` goes back, `tenure get --follow` tells each
//! state once, and `tenure update` edits TOML and JSONC as it does JSON.
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
use support::{Running, eventually, tenure_command};

/// `tenure edit FILE -- sh -c SCRIPT`, in which `$0` is the copy and `$T` the command.
fn edit(directory: &Path, file: &str, script: &str) -> Ended {
    let mut command = Command::new(TENURE);
    command.args(["edit", file, "--", "sh", "-c", script]).current_dir(directory);
    // A kept text goes where the test's directory goes.
    run(command.env("T", TENURE).env("TMPDIR", directory))
}

fn write(directory: &Path, file: &str, text: &str) {
    std::fs::write(directory.join(file), text).unwrap();
}

fn read(directory: &Path, file: &str) -> String {
    std::fs::read_to_string(directory.join(file)).unwrap()
}

/// The text that a failed edit says it has kept.
fn kept(ended: &Ended) -> String {
    let (_, path) = ended.stderr.split_once("Your text is kept in ").expect(&ended.stderr);
    std::fs::read_to_string(path.trim()).unwrap()
}

const CONFIG: &str =
    "# The server\n\n[server] # one of them\nport = 80 # http\nhosts = [\n  \"a\", # first\n]\n";

#[test]
fn an_edit_is_written_as_it_was_typed() {
    let directory = directory();
    let path = directory.path();
    write(path, "c.toml", CONFIG);
    let ended = edit(path, "c.toml", "sed -i 's/80 # http/443   # https/' \"$0\"");
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(read(path, "c.toml"), CONFIG.replace("80 # http", "443   # https"));
    let ended = edit(path, "c.toml", "true");
    assert!(ended.code() == Some(0) && ended.stderr.contains("not changed"));
    // The variables are command lines; VISUAL goes first.
    let mut command = Command::new(TENURE);
    command.args(["edit", "new.json"]).current_dir(path).env("EDITOR", "false");
    let ended = run(command.env("VISUAL", "sh -c 'echo {} > \"$1\"' -"));
    assert_eq!((ended.code(), read(path, "new.json").as_str()), (Some(0), "{}\n"), "{}", ended.stderr);
    assert_eq!(names(path), ["c.toml", "c.toml.lock", "new.json", "new.json.lock"], "and no copies");
}

#[test]
fn nobody_waits_for_an_editor_and_both_changes_stay() {
    let directory = directory();
    let path = directory.path();
    write(path, "c.toml", CONFIG);
    let others = "\"$T\" update --wait 5s c.toml '.server.port = 8080' >/dev/null || exit 1;";
    let ended =
        edit(path, "c.toml", &format!("{others} echo 'x = 1 # mine' | cat - \"$0\" > n && cp n \"$0\""));
    assert!(ended.code() == Some(0) && ended.stderr.contains("merged"), "{}", ended.stderr);
    assert_eq!(read(path, "c.toml"), format!("x = 1 # mine\n{}", CONFIG.replace("80 #", "8080 #")));
}

#[test]
fn what_can_not_be_written_is_kept_and_named() {
    let directory = directory();
    let path = directory.path();
    let table = [
        ("echo 'x =' >> \"$0\"", 65, "line 8, column 4"),
        ("\"$T\" update c.toml '.server.port = 1' >/dev/null; sed -i s/80/2/ \"$0\"", 76, "you wrote     2"),
        ("\"$T\" update c.toml '.server.port = 1' >/dev/null; sed -i s/80/2/ \"$0\"", 76, "others wrote  1"),
        ("echo '# x' >> \"$0\"; exit 3", 65, "c.toml: the editor `sh` failed"),
        ("echo '# x' >> \"$0\"; rm c.toml", 76, "was removed by others"),
    ];
    for (script, code, said) in table {
        write(path, "c.toml", CONFIG);
        let ended = edit(path, "c.toml", script);
        assert_eq!(ended.code(), Some(code), "{script}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{script}: {}", ended.stderr);
        assert_ne!(kept(&ended), CONFIG);
    }
    let ended = run(Command::new(TENURE).args(["edit", "c.toml", "--", "/no/such/editor"]).current_dir(path));
    assert_eq!(ended.code(), Some(127), "{}", ended.stderr);
}

#[test]
fn an_undo_goes_back_and_keeps_what_it_replaces() {
    let directory = directory();
    let path = directory.path();
    write(path, "c.toml", CONFIG);
    for port in 1..=4 {
        let expression = format!(".server.port = {port}");
        assert_eq!(tenure(path, ["update", "--backup=2", "c.toml", &expression]).code(), Some(0));
    }
    assert_eq!(names(path), ["c.toml", "c.toml.lock", "c.toml.~3~", "c.toml.~4~"]);
    let shown = tenure(path, ["undo", "--dry-run", "c.toml"]);
    assert!(shown.stdout.contains("-port = 4 # http\n+port = 3 # http"), "{}", shown.stdout);
    for port in [3, 2] {
        assert_eq!(tenure(path, ["undo", "c.toml"]).code(), Some(0));
        assert_eq!(read(path, "c.toml"), CONFIG.replace("80 #", &format!("{port} #")));
        assert_eq!(read(path, "c.toml.~undone~"), CONFIG.replace("80 #", &format!("{} #", port + 1)));
    }
    let ended = tenure(path, ["undo", "c.toml"]);
    assert!(ended.code() == Some(66) && ended.stderr.contains("no earlier version"), "{}", ended.stderr);
    let typo = tenure(path, ["undo", "typo.toml"]);
    assert!(typo.code() == Some(66) && typo.stderr.contains("update --backup` keeps one"), "{}", typo.stderr);
    assert_eq!(names(path), ["c.toml", "c.toml.lock", "c.toml.~undone~"], "and no lock of what is not there");
    assert_eq!(tenure(path, ["update", "--backup=0", "c.toml", "."]).code(), Some(64));
}

/// Writes a file in one step: a plain write is empty for a moment, which is a state, too.
fn put(directory: &Path, name: &str, text: &str) {
    write(directory, "new", text);
    std::fs::rename(directory.join("new"), directory.join(name)).unwrap();
}

#[test]
fn a_follower_prints_each_state_once() {
    let directory = directory();
    let path = directory.path();
    let mut follower =
        Running::start(&mut tenure_command(path, &["get", "--follow", "c.toml", ".server.port"]));
    eventually("a word on the missing file", || follower.stderr().contains("waiting for it"));
    put(path, "c.toml", CONFIG);
    follower.until_stdout("80\n");
    for port in [81, 82] {
        let expression = format!(".server.port = {port}");
        assert_eq!(tenure(path, ["update", "c.toml", &expression]).code(), Some(0));
        follower.until_stdout(&format!("{port}\n"));
    }
    // Another field, a comment, and a broken file are no news of this one.
    assert_eq!(tenure(path, ["update", "c.toml", ".other = 1"]).code(), Some(0));
    put(path, "c.toml", "port =");
    eventually("a word on the broken file", || follower.stderr().contains("line 1"));
    put(path, "c.toml", CONFIG);
    eventually("the first value again", || follower.stdout() == "80\n81\n82\n80\n");
    let mut quiet = Running::start(
        Command::new("sh")
            .args(["-c", "\"$0\" get --follow c.toml .x | head -n 1", TENURE])
            .current_dir(path),
    );
    quiet.until_stdout("null\n");
    assert_eq!(tenure(path, ["update", "c.toml", ".x = 1"]).code(), Some(0));
    eventually("its end with that of its reader", || !quiet.is_running());
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn a_follower_ends_with_its_reader_also_when_nothing_changes() {
    let directory = directory();
    write(directory.path(), "c.toml", CONFIG);
    let script = "\"$0\" get --follow c.toml .server.port | head -n 1";
    let shell = Command::new("sh").args(["-c", script, TENURE]).current_dir(directory.path()).output();
    assert_eq!(shell.unwrap().stdout, b"80\n");
}

#[test]
fn yaml_is_read_where_its_meaning_is_plain_and_left_alone() {
    let directory = directory();
    let path = directory.path();
    let text = "base: &base {x: 1, y: 2}\nuse:\n  <<: *base\n  y: 3\nlist: [*base, !!str 1]\n1: one\n";
    write(path, "c.yaml", text);
    let shown = tenure(
        path,
        ["get", "c.yaml", "tojson | fromjson | [.use.x, .use.y, .list[1], .[\"1\"]] | tojson", "-r"],
    );
    assert_eq!(shown.stdout, "[1,3,\"1\",\"one\"]\n", "{}", shown.stderr);
    let refused = tenure(path, ["update", "c.yaml", ".use.y = 4"]);
    let said = "c.yaml: line 1, column 7: an anchor can be read but not updated: write the value out";
    assert!(refused.code() == Some(65) && refused.stderr.contains(said), "{}", refused.stderr);
    assert_eq!(read(path, "c.yaml"), text);
}

#[test]
fn what_a_blank_file_holds_can_be_said() {
    let directory = directory();
    let path = directory.path();
    for (file, text) in [("a.json", ""), ("b.json", " \n"), ("c.yaml", "\n\n")] {
        write(path, file, text);
        let ended = tenure(path, ["update", "--init", "{x: 1}", file, ".y = 2"]);
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        assert_eq!(tenure(path, ["get", file, ".x + .y"]).stdout, "3\n");
    }
}

#[test]
fn the_format_is_chosen_by_name_or_by_option() {
    let directory = directory();
    let path = directory.path();
    write(path, "settings", "{ // here\n  \"a\": 1, // x\n}\n");
    let refused = tenure(path, ["update", "settings", ".a = 2"]);
    assert!(refused.code() == Some(65) && refused.stderr.contains("JSONC"), "{}", refused.stderr);
    assert_eq!(tenure(path, ["update", "--format", "jsonc", "settings", ".a = 2"]).code(), Some(0));
    assert_eq!(read(path, "settings"), "{ // here\n  \"a\": 2, // x\n}\n");
    assert_eq!(tenure(path, ["get", "--format", "jsonc", "settings", ".a"]).stdout, "2\n");
    assert_eq!(tenure(path, ["update", "new.toml", ".a = {b: 1}"]).code(), Some(0));
    assert_eq!(read(path, "new.toml"), "[a]\nb = 1\n");
    let refused = tenure(path, ["update", "new.toml", ".a = null"]);
    assert!(refused.code() == Some(65) && refused.stderr.contains("no null"), "{}", refused.stderr);
    let refused = tenure(path, ["update", "x.json5", ".a = 1"]);
    assert!(refused.code() == Some(65) && refused.stderr.contains("json5"), "{}", refused.stderr);
}
