//! Promise: what docs/cookbook.md shows is what happens.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;

use std::process::Command;

use common::{TENURE, directory, run};

/// The fenced blocks of a text that begin with this information.
fn blocks<'a>(text: &'a str, information: &str) -> Vec<&'a str> {
    let fence = format!("\n```{information}\n");
    let found = text.split(fence.as_str()).skip(1);
    // A block may be empty: then the closing fence follows at once.
    found.map(|rest| rest.split_once("```").unwrap().0).collect()
}

#[test]
fn every_recipe_does_what_it_shows() {
    let page = include_str!("../../../docs/cookbook.md");
    let [before] = blocks(page, "yaml config.yaml")[..] else { panic!("one file to begin with") };
    let bin = std::path::Path::new(TENURE).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut recipes = 0;
    for recipe in page.split("\n## ").skip(1) {
        let [commands] = blocks(recipe, "console")[..] else { continue };
        let [expected] = blocks(recipe, "diff")[..] else { panic!("no result: {recipe}") };
        let directory = directory();
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, before).unwrap();
        let script: String =
            commands.lines().map(|line| format!("{}\n", line.strip_prefix("$ ").unwrap())).collect();
        let mut shell = Command::new("sh");
        let ended = run(shell.args(["-ec", &script]).env("PATH", &path).current_dir(directory.path()));
        assert_eq!(ended.code(), Some(0), "{script}{}", ended.stderr);
        let after = std::fs::read_to_string(&file).unwrap();
        assert_eq!(changed(before, &after), expected, "{script}");
        recipes += 1;
    }
    assert!(recipes >= 11, "only {recipes}");
}

/// The lines that go and come, as a diff shows them.
fn changed(before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    let changes = diff.iter_all_changes().filter(|change| change.tag() != similar::ChangeTag::Equal);
    changes.map(|change| format!("{}{}", change.tag(), change.value())).collect()
}
