//! Types that know less than the file, or order it otherwise: an update carries over what was meant, or refuses.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tenure::{Document, Durability, Result, Wait};

fn document(text: &str) -> (tempfile::TempDir, PathBuf, Document) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.json");
    std::fs::write(&path, text).unwrap();
    let document = Document::open(&path).durability(Durability::Process);
    (directory, path, document)
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_set_loses_the_element_that_was_removed_and_no_other() {
    let (_directory, _, document) = document(r#"["carol","alice","bob"]"#);
    let remove = |names: &mut BTreeSet<String>| drop(names.take("alice"));
    document.update(Wait::Never, remove).unwrap();
    assert_eq!(document.read::<BTreeSet<String>>().unwrap(), BTreeSet::from(["bob".into(), "carol".into()]));
    let add = |names: &mut HashSet<String>| drop(names.replace("dave".into()));
    document.update(Wait::Never, add).unwrap();
    let all = ["bob", "carol", "dave"].map(String::from);
    assert_eq!(document.read::<BTreeSet<String>>().unwrap(), BTreeSet::from(all));
}

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
    #[serde(default)]
    visits: u32,
}

#[test]
fn an_element_keeps_the_fields_that_its_type_does_not_know_or_nothing_is_done() {
    let text = r#"[{"name":"alice","token":"A"},{"name":"bob","token":"B"},{"name":"carol","token":"C"}]"#;
    let (_directory, path, document) = document(text);
    let update = |change: fn(&mut Vec<User>)| document.update(Wait::Never, change);
    let refused = |outcome: Result<tenure::Receipt>| {
        let error = outcome.unwrap_err();
        assert!(error.is_rejected() && error.to_string().contains("does not know"), "{error}");
        assert_eq!(read(&path), text);
    };
    refused(update(|users| {
        users.remove(0);
        users[1].visits += 1;
    }));
    update(|users| users.reverse()).unwrap();
    assert!(
        read(&path).starts_with(r#"[{"name":"carol","token":"C"},{"name":"bob","token":"B"}"#),
        "{}",
        read(&path)
    );
    update(|users| users[1].visits += 1).unwrap();
    assert!(read(&path).contains(r#"{"name":"bob","token":"B","visits":1}"#), "{}", read(&path));
}

#[test]
fn a_change_that_would_not_read_back_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(alias = "old", default, skip_serializing_if = "Option::is_none")]
        new: Option<u32>,
    }
    let text = r#"{"old":1}"#;
    let (_directory, path, document) = document(text);
    for value in [None, Some(2)] {
        let error = document.update(Wait::Never, |model: &mut Renamed| model.new = value).unwrap_err();
        assert!(error.is_rejected(), "{error}");
        assert_eq!(read(&path), text);
    }
}

#[test]
fn reading_is_as_strict_as_updating() {
    for text in [r#"{"a":1,"a":2}"#, "\u{feff}\u{feff}{}", "[1,]"] {
        let (_directory, _, document) = document(text);
        assert!(document.read::<serde_json::Value>().unwrap_err().is_corrupt(), "{text}");
        assert!(document.read_value().unwrap_err().is_corrupt(), "{text}");
    }
    let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
    let (_directory, path, document) = document(&nested(127));
    document.read::<serde_json::Value>().unwrap();
    std::fs::write(&path, nested(128)).unwrap();
    assert!(document.read_value().unwrap_err().is_corrupt());
    std::fs::remove_file(&path).unwrap();
    let bad = tenure::document::Value::Number("1,2".into());
    let written = document.transform(Wait::Never, |null| Ok((null.clone(), bad.clone())));
    assert!(written.unwrap_err().is_rejected() && !path.exists());
}

#[test]
fn many_changes_take_no_quadratic_time() {
    let (_directory, _, document) = document("[]");
    // 100,000 edits one by one would take hours.
    let grow = |items: &mut Vec<u32>| items.extend(0..100_000);
    document.update(Wait::Never, grow).unwrap();
    let bump = |items: &mut Vec<u32>| items.iter_mut().for_each(|item| *item += 1);
    document.update(Wait::Never, bump).unwrap();
    assert_eq!(document.read::<Vec<u32>>().unwrap()[99_999], 100_000);
}
