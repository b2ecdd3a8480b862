//! The examples run, and keep what their reports lost.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::process::Command;

/// Runs an example, which cargo has built beside the tests, and returns what it prints.
fn example(name: &str, arguments: &[&str]) -> String {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    let output = Command::new(&path).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{} ({error}): run ./test", path.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn global_state_loses_no_change_and_no_comment() {
    let expected = "# Shared by every run of the program.\n\nchecks: 20 # how often we looked\n\
                    installed: 2.0.1 # by hand, in May\ntheme: dark\n";
    assert_eq!(example("global_state", &[]), expected);
}

#[test]
fn manifest_has_all_of_its_thousand_entries() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifest.json");
    let printed = example("manifest", &[path.to_str().unwrap()]);
    let manifest: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(manifest["entries"], 1000);
    let workers = manifest["by_worker"].as_object().unwrap();
    assert!(workers.len() == 50 && workers.values().all(|count| count == 20), "{manifest}");
}

#[test]
fn change_journal_loses_no_change_and_builds_none_twice() {
    let printed = example("change_journal", &[]);
    assert_eq!(printed, "200 changes were built, 200 of them different\nnone are left\n");
}

const PLAN_LEASE: &str = "8 workers, one expired lock: 1 got it\nthe owner's next request has the same token: true\n\
                          the late write was refused\nthe plan was written by \"the second worker\"\n";

#[test]
fn plan_lease_has_one_winner_and_refuses_what_comes_late() {
    assert_eq!(example("plan_lease", &[]), PLAN_LEASE);
}

#[test]
#[cfg(feature = "postgres")]
fn plan_lease_on_many_machines_differs_by_the_address_alone() {
    let address = std::env::var("TENURE_TEST_POSTGRES");
    let address = address.unwrap_or_else(|_| panic!("run ./test, or `scripts/with-postgres cargo test ...`"));
    assert_eq!(example("plan_lease", &[&address]), PLAN_LEASE);
}
