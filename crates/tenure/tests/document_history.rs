//! Drafts, kept versions, several documents together, and watching, on the real system.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tenure::document::update_all;
use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Native};
use tenure::{Document, Wait};

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    (directory, path)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn set(document: &Document, field: &str, value: &Value) {
    document.update(Wait::Forever, |state: &mut Value| state[field] = value.clone()).unwrap();
}

#[test]
fn u5_a_draft_keeps_what_others_did_meanwhile() {
    let (_directory, path) = scratch();
    fs::write(&path, "{\n  \"version\": 1,\n  \"user\": \"ada\"\n}\n").unwrap();
    let document = Document::open(&path);
    let mut draft = document.edit::<Value>().unwrap();
    draft["version"] = json!(2);
    set(&document, "user", &json!("eve"));
    draft.commit(Wait::Forever).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"version\": 2,\n  \"user\": \"eve\"\n}\n");
}

#[test]
fn a_clash_writes_nothing_and_gives_the_draft_back() {
    let (_directory, path) = scratch();
    fs::write(&path, r#"{"a":1,"b":1}"#).unwrap();
    let document = Document::open(&path);
    let mut draft = document.edit::<Value>().unwrap();
    draft["a"] = json!("mine");
    draft["b"] = json!("mine");
    set(&document, "a", &json!("theirs"));
    let uncommitted = draft.commit(Wait::Forever).unwrap_err();
    assert!(uncommitted.error().is_conflict());
    let [clash] = uncommitted.clashes() else { panic!("{uncommitted:?}") };
    let text = |value: &Option<tenure::document::Value>| value.as_ref().unwrap().to_string();
    assert_eq!(
        (clash.place.as_str(), text(&clash.base), text(&clash.theirs), text(&clash.mine)),
        (".a", "1".into(), "\"theirs\"".into(), "\"mine\"".into())
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"a":"theirs","b":1}"#);
    let mut draft = uncommitted.into_draft();
    draft["a"] = json!(1);
    draft.commit(Wait::Forever).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"a":"theirs","b":"mine"}"#);
}

#[test]
fn a_draft_is_redone_on_what_others_left() {
    let (_directory, path) = scratch();
    let document = Document::open(&path).initial(&json!({"n": 0})).unwrap();
    let bump = |state: &mut Value| state["n"] = json!(state["n"].as_u64().unwrap() + 1);
    for others in [false, true] {
        let mut draft = document.edit::<Value>().unwrap();
        bump(&mut draft);
        if others {
            document.update(Wait::Forever, bump).unwrap();
        }
        draft.commit_or_redo(Wait::Forever, bump).unwrap();
    }
    assert_eq!(document.read::<Value>().unwrap(), json!({"n": 3}));
}

#[test]
fn versions_are_kept_and_come_back() {
    let (_directory, path) = scratch();
    let document = Document::open(&path).keep_versions(2);
    for n in 1..=5 {
        set(&document, "n", &json!(n));
    }
    assert_eq!(names(&path), ["state.json", "state.json.lock", "state.json.~3~", "state.json.~4~"]);
    assert_eq!(document.versions().unwrap().len(), 2);
    for n in [4, 3] {
        document.undo(Wait::Forever).unwrap();
        assert_eq!(document.read::<Value>().unwrap(), json!({"n": n}));
    }
    assert!(document.undo(Wait::Forever).unwrap_err().is_missing());
    assert_eq!(names(&path), ["state.json", "state.json.lock", "state.json.~undone~"]);
    assert_eq!(fs::read_to_string(path.with_extension("json.~undone~")).unwrap(), "{\n  \"n\": 4\n}\n");
}

#[test]
fn foreign_names_are_no_versions() {
    let (_directory, path) = scratch();
    fs::write(&path, "1").unwrap();
    let foreign = ["state.json.~01~", "state.json.~x~", "state.json.~1", "state.json~", "xstate.json.~1~"];
    for name in foreign {
        fs::write(path.with_file_name(name), "foreign").unwrap();
    }
    Document::open(&path).keep_versions(1).replace(Wait::Forever, &2).unwrap();
    for name in foreign {
        assert_eq!(fs::read_to_string(path.with_file_name(name)).unwrap(), "foreign");
    }
    assert_eq!(fs::read_to_string(path.with_file_name("state.json.~1~")).unwrap(), "1");
}

#[test]
#[cfg(unix)]
fn a_kept_version_is_no_more_readable_than_the_document() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = scratch();
    fs::write(&path, "1").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Document::open(&path).keep_versions(1).replace(Wait::Forever, &2).unwrap();
    let mode = fs::metadata(path.with_file_name("state.json.~1~")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

const FAULTS: [Fault; 4] =
    [Fault::Fail(Errno::IO), Fault::Fail(Errno::NOSPC), Fault::ShortWrite, Fault::Crash];

/// Runs `step` with each fault at each call, and then `judge`.
fn at_every_call(
    prepare: impl Fn(&Path),
    step: impl Fn(&Document<Faulty<Native>>) -> bool,
    judge: impl Fn(&Path, bool, Fault),
) {
    for fault in FAULTS {
        for n in 0.. {
            let (_directory, path) = scratch();
            prepare(&path);
            let host = Faulty::new(Native, n, fault);
            let done = step(&Document::open_on(host.clone(), &path));
            judge(&path, done, fault);
            if !host.met() {
                break;
            }
        }
    }
}

#[test]
fn no_fault_loses_a_version() {
    let history = |path: &Path| {
        let kept = Document::open(path).versions().unwrap();
        let mut all: Vec<String> = kept.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        all.push(fs::read_to_string(path).unwrap());
        all.dedup();
        all
    };
    at_every_call(
        |path| {
            fs::write(path, "0").unwrap();
            Document::open(path).keep_versions(9).replace(Wait::Forever, &1).unwrap();
        },
        |document| {
            document
                .clone()
                .keep_versions(9)
                .replace_bytes(Wait::within(Duration::from_secs(20)), b"2")
                .is_ok()
        },
        |path, done, fault| {
            let seen = history(path);
            let expected: &[&str] = if done { &["0", "1\n", "2"] } else { &["0", "1\n"] };
            let crashed_behind = fault == Fault::Crash && seen == ["0", "1\n", "2"];
            assert!(seen == expected || crashed_behind, "{seen:?} {done} {fault:?}");
            Document::open(path).keep_versions(9).replace(Wait::Forever, &3).unwrap();
            assert!(history(path).starts_with(&["0".to_owned(), "1\n".to_owned()]));
            assert!(!names(path).iter().any(|name| name.ends_with("tenure-tmp")), "{:?}", names(path));
        },
    );
}

#[test]
fn no_fault_in_an_undo_loses_anything() {
    at_every_call(
        |path| {
            fs::write(path, "1").unwrap();
            Document::open(path).keep_versions(9).replace_bytes(Wait::Forever, b"2").unwrap();
        },
        |document| document.undo(Wait::within(Duration::from_secs(20))).is_ok(),
        |path, done, fault| {
            let read = |name: &str| fs::read_to_string(path.with_file_name(name)).ok();
            let (now, kept) = (read("state.json").unwrap(), read("state.json.~1~"));
            match now.as_str() {
                "1" => {
                    assert!(done || fault == Fault::Crash);
                    assert_eq!((kept, read("state.json.~undone~").as_deref()), (None, Some("2")));
                }
                "2" => assert_eq!((done, kept.as_deref()), (false, Some("1"))),
                other => panic!("{other:?} after {fault:?}"),
            }
            Document::open(path).replace(Wait::Forever, &3).unwrap();
            assert!(!names(path).iter().any(|name| name.ends_with("tenure-tmp")), "{:?}", names(path));
        },
    );
}

#[test]
fn several_documents_change_together_from_both_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let one = Document::open(path("one.json")).initial(&0).unwrap();
    let two = Document::open(path("two.json")).initial(&1000).unwrap();
    let mover = |from: &Document, to: &Document| {
        let pair = [from.clone(), to.clone()];
        for _ in 0..25 {
            update_all(&pair, Wait::Forever, |values| {
                let numbers: Vec<i64> =
                    values.iter().map(|value| value.to_string().parse().unwrap()).collect();
                values[0] = tenure::document::Value::Number((numbers[0] - 1).to_string());
                values[1] = tenure::document::Value::Number((numbers[1] + 1).to_string());
            })
            .unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| mover(&one, &two));
            scope.spawn(|| mover(&two, &one));
        }
        scope.spawn(|| mover(&two, &one));
    });
    assert_eq!((one.read::<i64>().unwrap(), two.read::<i64>().unwrap()), (25, 975));
    let twice = [one.clone(), Document::open(directory.path().join(".").join("one.json"))];
    assert!(update_all(&twice, Wait::Forever, |_| ()).unwrap_err().is_rejected());
}

#[test]
fn one_bad_document_changes_none() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good.json");
    let bad = directory.path().join("bad.json");
    fs::write(&good, "1").unwrap();
    fs::write(&bad, "{").unwrap();
    let documents = [Document::open(&good), Document::open(&bad)];
    assert!(update_all(&documents, Wait::Forever, |_| ()).unwrap_err().is_corrupt());
    fs::write(&bad, "2").unwrap();
    let refused = update_all(&documents, Wait::Forever, |values| {
        values[0] = values[1].clone();
        Err("no")
    });
    assert!(refused.unwrap_err().is_rejected());
    assert_eq!(
        (fs::read_to_string(&good).unwrap(), fs::read_to_string(&bad).unwrap()),
        ("1".into(), "2".into())
    );
}

#[test]
fn a_watch_tells_each_state_once() {
    let (_directory, path) = scratch();
    let document = Document::open(&path);
    let mut watch = document.watch();
    let soon = || Wait::within(Duration::from_millis(300));
    watch.next(Wait::Never).unwrap();
    assert_eq!(watch.value().unwrap().to_string(), "null");
    assert!(watch.next(soon()).unwrap_err().is_busy());
    let others = document.clone();
    let writer = std::thread::spawn(move || {
        for n in 1..=20 {
            set(&others, "n", &json!(n));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut seen = Vec::new();
    while seen.last() != Some(&20) {
        watch.next(Wait::within(Duration::from_secs(60))).unwrap();
        seen.push(
            serde_json::from_str::<Value>(&watch.value().unwrap().to_string()).unwrap()["n"]
                .as_u64()
                .unwrap(),
        );
    }
    writer.join().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    // The same content in a new file is no new state.
    fs::write(path.with_extension("new"), fs::read(&path).unwrap()).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    assert!(watch.next(soon()).unwrap_err().is_busy());
    fs::remove_file(&path).unwrap();
    assert_eq!(watch.next(Wait::within(Duration::from_secs(60))).unwrap().to_string(), "absent");
    let cancel = tenure::Cancel::new();
    cancel.cancel();
    assert!(watch.next(Wait::Forever.or(&cancel)).unwrap_err().is_cancelled());
}
