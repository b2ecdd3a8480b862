//! Promise: whatever is used wrongly, the command says what is wrong and where, ends with the exit code that is
//! documented for it, and leaves every file as it was.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::mounted::skip;
use common::{Ended, TENURE, directory, run, tenure};
use support::{Running, tenure_command};

/// What is wrong, with its exit code and what must be said about it.
type Wrong<'a> = (&'a [&'a str], i32, &'a [&'a str]);

/// The content of every file in a directory, but for lock files.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = common::names(directory).into_iter().filter(|name| !name.ends_with(".lock"));
    files.filter_map(|name| Some((name.clone(), std::fs::read(directory.join(&name)).ok()?))).collect()
}

fn assert_all(directory: &Path, table: &[Wrong<'_>]) {
    let before = contents(directory);
    for (arguments, code, said) in table {
        let ended = tenure(directory, *arguments);
        assert_eq!(ended.code(), Some(*code), "{arguments:?}: {}", ended.stderr);
        for part in *said {
            assert!(ended.stderr.contains(part), "{arguments:?}: no {part:?} in: {}", ended.stderr);
        }
        assert_eq!(ended.stdout, "", "{arguments:?}: nothing on standard output");
        assert!(contents(directory) == before, "{arguments:?} changed a file");
        assert_eq!(common::litter(directory), [""; 0], "{arguments:?}");
    }
}

#[test]
fn wrong_command_lines_are_explained() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{\"n\": 1}\n").unwrap();
    std::fs::write(path.join("bad.jq"), ".a\n| .b +").unwrap();
    std::fs::write(path.join("binary.jq"), b".a \xff").unwrap();
    assert_all(
        path,
        &[
            (&[], 64, &["Usage: tenure <COMMAND>"]),
            (&["upgrade"], 64, &["unrecognized subcommand 'upgrade'", "'update'"]),
            (&["update"], 64, &["<FILE>"]),
            (&["update", "c.json"], 64, &["needs an expression", "-f FILE"]),
            (&["update", "c.json", "--nope", "."], 64, &["unexpected argument '--nope'"]),
            (&["update", "c.json", ".n +"], 64, &["line 1, column 5", "  .n +\n      ^"]),
            (&["update", "c.json", ".n | nosuch"], 64, &["undefined filter `nosuch`", "       ^"]),
            (&["update", "c.json", ".n = $x"], 64, &["undefined variable `$x`"]),
            (&["get", "c.json", "-f", "bad.jq"], 64, &["line 2, column 7", "  | .b +\n        ^"]),
            (&["get", "c.json", "-f", "binary.jq"], 64, &["binary.jq", "UTF-8"]),
            (&["get", "c.json", "-f", "nothing.jq"], 66, &["nothing.jq: no such file"]),
            (&["update", "c.json", ".", "--argjson", "x", "{"], 64, &["--argjson x: line 1"]),
            (&["update", "c.json", ".", "--wait", "5"], 64, &["--wait", "300ms"]),
            (&["update", "c.json", ".", "--if-version", "7"], 64, &["32 hexadecimal digits"]),
            (&["run", "a.lock"], 64, &["<CMD>..."]),
            (&["run", "a.lock", "true"], 64, &["unexpected argument 'true'", "<LOCK> -- <CMD>..."]),
            (&["run", "--try", "--wait", "1s", "a.lock", "--", "true"], 64, &["cannot be used with"]),
            (&["completions", "nosuch"], 64, &["possible values: bash"]),
        ],
    );
    assert!(
        !path.join("a.lock").exists() && !path.join("c.json.lock").exists(),
        "no lock file is made for these"
    );
}

#[test]
fn what_is_not_a_document_is_refused() {
    let directory = directory();
    let path = directory.path();
    let files: &[(&str, &[u8])] = &[
        ("corrupt.json", b"{\n  \"a\": 1,\n  \"b\": tru,\n  \"c\": 3\n}\n"),
        ("cut.json", b"{\"a\": [1, 2"),
        ("two.json", b"{}\n{}\n"),
        ("bytes.json", b"{\"a\": \"\xff\"}"),
        ("twice.json", b"{\"key\": 1, \"key\": 2}"),
        ("empty.json", b""),
        ("blank.yaml", b"\n \n"),
        ("remarks.jsonc", b"// nothing yet\n"),
        ("settings.conf", b"port = 1\n"),
        ("some.yaml", b"a: 1\n---\nb: 2\n"),
        ("tag.yaml", b"a: !mine 1\n"),
        ("a.yaml", b"a: &x 1\nb: *x\n"),
        ("a.json5", b"{a: 1}\n"),
        ("one.json", b"{}"),
    ];
    for (name, content) in files {
        std::fs::write(path.join(name), content).unwrap();
    }
    std::fs::create_dir(path.join("folder.json")).unwrap();
    std::os::unix::fs::symlink("loop.json", path.join("loop.json")).unwrap();
    std::fs::hard_link(path.join("one.json"), path.join("other.json")).unwrap();
    let deep = format!("{}{}", "[".repeat(600), "]".repeat(600));
    std::fs::write(path.join("deep.json"), deep).unwrap();
    assert_all(
        path,
        &[
            (
                &["update", "corrupt.json", ".a = 2"],
                65,
                &["corrupt.json: line 3, column", "  3 |   \"b\": tru,\n", "^"],
            ),
            (&["get", "corrupt.json"], 65, &["corrupt.json: line 3, column", "  3 |   \"b\": tru,\n", "^"]),
            (&["update", "cut.json", ".a = 2"], 65, &["cut.json: line 1, column", "EOF"]),
            (&["update", "two.json", ".a = 2"], 65, &["two.json: line 2, column 1", "trailing"]),
            (&["update", "bytes.json", ".a = 2"], 65, &["bytes.json: line 1, column 8", "UTF-8"]),
            (&["update", "twice.json", ".a = 2"], 65, &["twice.json: line 1, column 12", "key stands twice"]),
            (
                &["update", "empty.json", ".a = 2"],
                65,
                &["empty.json: line 1, column 1: the file is empty", "--init '{}' says what"],
            ),
            (
                &["update", "--dry-run", "blank.yaml", ".a = 2"],
                65,
                &["the file is empty", "--init '{}' says what"],
            ),
            (&["update", "remarks.jsonc", ".a = 2"], 65, &["there are comments, but no value"]),
            (
                &["get", "settings.conf"],
                65,
                &["settings.conf: line 1, column 1", "was read as JSON", "name the format"],
            ),
            (&["get", "some.yaml"], 65, &["some.yaml: line 2, column 1", "second document", "split it"]),
            (&["get", "tag.yaml"], 65, &["tag.yaml: line 1, column", "!mine"]),
            (&["get", "loop.json"], 73, &["loop.json: is a symbolic link that leads back to itself"]),
            (&["update", "loop.json", ".a = 2"], 73, &["loop.json: is a symbolic link that leads"]),
            (&["update", "deep.json", ".[0] = 2"], 65, &["deep.json: line 1, column"]),
            (&["update", "a.yaml", ".a = 2"], 65, &["a.yaml: line 1, column 4: ", "anchor"]),
            (&["update", "a.json5", ".a = 2"], 65, &["a.json5: is a .json5 file"]),
            (&["update", "folder.json", ".a = 2"], 65, &["folder.json: is a directory"]),
            (&["get", "folder.json"], 65, &["folder.json: is a directory"]),
            (&["update", "one.json", ".a = 2"], 65, &["one.json: has 2 names (hard links)"]),
            (&["get", "nothing.json"], 66, &["nothing.json: no such file"]),
            (&["get", "no/folder.json"], 66, &["no/folder.json: no such file"]),
        ],
    );
}

#[test]
fn expressions_that_fail_are_explained() {
    let directory = directory();
    std::fs::write(directory.path().join("c.json"), "{\"n\": 1}\n").unwrap();
    assert_all(
        directory.path(),
        &[
            (&["update", "c.json", ".n[0] = 1"], 65, &["c.json: the expression fails: "]),
            (&["update", "c.json", "error(\"why\")"], 65, &["c.json: the expression fails: ", "why"]),
            (&["update", "c.json", ".a[] = 1"], 65, &["cannot use null", "`.[]?`"]),
            (&["update", "c.json", "empty"], 65, &["yields no results", "exactly one"]),
            (&["update", "c.json", "1, 2"], 65, &["yields 2 results", "exactly one"]),
            (&["update", "c.json", "nan"], 65, &["NaN"]),
            (&["update", "new.json", "--init", "error(1)", "."], 65, &["--init: the expression fails"]),
        ],
    );
}

/// With a bound of the test's own: without the limit it would never end.
#[test]
fn an_endless_expression_is_stopped() {
    let directory = directory();
    std::fs::write(directory.path().join("c.json"), "{\"n\": 1}\n").unwrap();
    for command in ["update", "get"] {
        let arguments = [command, "c.json", "def f: f; f", "--time-limit", "100ms"];
        let ended = Running::start(&mut tenure_command(directory.path(), &arguments)).ended();
        assert_eq!(ended.code(), Some(65), "{command}: {}", ended.stderr);
        for said in ["c.json: ", "longer than 100ms", "--time-limit"] {
            assert!(ended.stderr.contains(said), "{command}: {}", ended.stderr);
        }
        assert_eq!(std::fs::read(directory.path().join("c.json")).unwrap(), b"{\"n\": 1}\n");
    }
}

#[test]
fn places_that_have_no_room_for_a_lock_are_named() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("c.json"), "{}").unwrap();
    symlink("c.json", path.join("link.lock")).unwrap();
    std::fs::write(path.join("d.json"), "{}").unwrap();
    symlink("c.json", path.join("d.json.lock")).unwrap();
    assert_all(
        path,
        &[
            (&["run", "link.lock", "--", "true"], 73, &["link.lock: ", "symbolic link"]),
            (&["update", "d.json", ".a = 1"], 73, &["d.json.lock: ", "symbolic link"]),
            (&["run", "no/a.lock", "--", "true"], 73, &["no/a.lock: ", "directory does not exist"]),
            (&["update", "no/c.json", ".a = 1"], 73, &["no/c.json", "directory does not exist"]),
            (&["update", "c.json/c.json", ".a = 1"], 73, &["c.json/c.json", "not a directory"]),
        ],
    );
}

#[test]
fn what_the_system_forbids_is_said() {
    // Not below the target directory, which the other user may not be able to reach.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::copy(TENURE, path.join("tenure")).unwrap();
    std::fs::create_dir(path.join("theirs")).unwrap();
    std::fs::write(path.join("theirs/c.json"), "{}").unwrap();
    std::fs::write(path.join("theirs/secret.json"), "{}").unwrap();
    std::fs::set_permissions(path.join("theirs/secret.json"), PermissionsExt::from_mode(0o000)).unwrap();
    std::fs::set_permissions(path.join("theirs"), PermissionsExt::from_mode(0o555)).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    let as_nobody = |arguments: &[&str]| -> Ended {
        let mut command = match rustix::process::getuid().is_root() {
            true => Command::new("setpriv"),
            false => Command::new("env"),
        };
        if rustix::process::getuid().is_root() {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        run(command.arg(path.join("tenure")).args(arguments).current_dir(path))
    };
    let there = as_nobody(&["--version"]);
    if there.code() != Some(0) {
        skip("what_the_system_forbids_is_said", &there.stderr);
        return;
    }
    let table: [(&[&str], &str); 4] = [
        (
            &["update", "theirs/c.json", ".a = 1"],
            "c.json.lock: cannot create the lock file: Permission denied",
        ),
        (
            &["update", "theirs/new.json", ".a = 1"],
            "new.json.lock: cannot create the lock file: Permission denied",
        ),
        (&["get", "theirs/secret.json"], "secret.json: cannot read the file: Permission denied"),
        (&["run", "theirs/a.lock", "--", "true"], "a.lock: cannot create the lock file: Permission denied"),
    ];
    for (arguments, said) in table {
        let ended = as_nobody(arguments);
        assert_eq!(ended.code(), Some(77), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
    }
    std::fs::set_permissions(path.join("theirs"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(common::names(&path.join("theirs")), ["c.json", "secret.json"]);
    assert_eq!(std::fs::read(path.join("theirs/c.json")).unwrap(), b"{}");
}

#[test]
fn a_reader_that_goes_away_is_no_error_but_a_full_disk_is() {
    let directory = directory();
    let path = directory.path();
    let big = format!("[{}1]", "1,".repeat(100_000));
    std::fs::write(path.join("big.json"), big).unwrap();
    let script = format!("{{ {TENURE} get big.json; echo $? >&2; }} | head -c 1");
    let piped = run(Command::new("bash").args(["-c", &script]).current_dir(path));
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), ("[", "0\n"));
    for arguments in [&["get", "big.json"] as &[&str], &["completions", "bash"], &["man"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = Command::new(TENURE).args(arguments).current_dir(path).stdout(full).output().unwrap();
        assert_eq!(ended.status.code(), Some(74), "{arguments:?}");
        assert!(
            String::from_utf8_lossy(&ended.stderr).contains("standard output: No space left"),
            "{arguments:?}"
        );
    }
}
