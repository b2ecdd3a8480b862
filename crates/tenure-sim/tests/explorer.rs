//! The explorer against itself: whatever it leaves out, it must see the same states and the same ends.

use std::time::Duration;

use tenure_sim::explore::from_word;
use tenure_sim::explore::replay::replay;
use tenure_sim::explore::search::{Limits, Reductions, Search, search};
use tenure_sim::op::Fault;
use tenure_sim::scenario::{Scenario, Setting};
use tenure_sim::{broken, scenarios};

const LIMITS: Limits = Limits { executions: 3_000_000, time: Duration::from_secs(600), polish: 0 };

fn named(name: &str) -> Scenario {
    let mut all = scenarios::all().into_iter().chain(broken::all());
    all.find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("no scenario {name}"))
}

/// The states and ends that are seen with these reductions.
fn seen(scenario: &Scenario, setting: &Setting, reductions: Reductions) -> (Vec<u64>, Vec<u64>, u64) {
    let mut search = Search::new(scenario, setting, reductions);
    search.explore(LIMITS, &mut |_| {});
    assert!(search.outcome().complete, "{} {setting} {reductions:?}: not finished", scenario.name);
    let (states, ends) = search.fingerprints();
    (states, ends, search.outcome().executions)
}

#[test]
fn sleep_sets_leave_out_no_state() {
    for (name, setting) in [
        ("flock", Setting::of(2, 1)),
        ("flock", Setting::of(2, 1).crashes(1)),
        ("broken-rename-without-lock", Setting::of(2, 1).crashes(1)),
        ("broken-stamp-failure", Setting::of(2, 1).fault(&[Fault::Io, Fault::NoSpace]).reuse()),
        ("broken-batch-told-early", Setting::of(2, 1).crashes(1)),
        ("combine", Setting::of(2, 1).crashes(1)),
        ("lease", Setting::of(2, 1).crashes(1)),
        ("lease-late", Setting::of(3, 1).fault(&[Fault::Late])),
        ("lease-force", Setting::of(3, 1)),
    ] {
        let scenario = Scenario { caught_as: None, judge: |_| Ok(()), ..named(name) };
        let cached = |sleep| Reductions { sleep, cache: true, at_once: false };
        let (plain, plain_ends, plain_runs) = seen(&scenario, &setting, cached(false));
        let (reduced, reduced_ends, runs) = seen(&scenario, &setting, cached(true));
        assert_eq!(plain, reduced, "{name} {setting}");
        assert_eq!(plain_ends, reduced_ends, "{name} {setting}");
        assert!(runs < plain_runs, "{name} {setting}: {runs} of {plain_runs} runs: nothing was left out");
    }
}

#[test]
fn every_reduction_sees_the_same_ends() {
    for (name, setting) in [
        ("broken-flock-without-inode-check", Setting::of(2, 1)),
        ("broken-stamp-failure", Setting::of(2, 1).crashes(1)),
        ("broken-flock-without-inode-check", Setting::of(2, 1).crashes(1)),
    ] {
        let scenario = Scenario { caught_as: None, judge: |_| Ok(()), ..named(name) };
        let (mut expected, mut most) = (None, 0);
        for (sleep, cache, at_once) in [
            (false, false, false),
            (true, false, false),
            (false, true, false),
            (true, true, false),
            (false, false, true),
            (true, true, true),
        ] {
            let reductions = Reductions { sleep, cache, at_once };
            let (_, ends, runs) = seen(&scenario, &setting, reductions);
            let expected = expected.get_or_insert_with(|| ends.clone());
            assert_eq!(*expected, ends, "{name} {setting} {reductions:?}");
            assert!(
                runs <= most || most == 0,
                "{name} {setting} {reductions:?}: {runs} runs, plainly {most}"
            );
            most = most.max(runs);
        }
    }
}

#[test]
fn no_reduction_hides_a_violation() {
    for name in [
        "broken-unlink-create",
        "broken-rename-over",
        "broken-guard-without-recheck",
        "broken-create-then-stamp",
        "broken-save-only-lock",
        "broken-age-only",
        "broken-check-then-unlink",
        "broken-renew-outside-guard",
        "broken-batch-told-early",
        "broken-batch-leader-alone-hears",
        "broken-batch-unchanged-at-once",
        "broken-lease-two-steps",
        "broken-lease-new-owner",
        "broken-lease-renewal-unchecked",
        "broken-lease-fence-two-steps",
    ] {
        let scenario = named(name);
        for (sleep, cache, at_once) in [
            (true, false, false),
            (false, true, false),
            (false, true, true),
            (true, true, false),
            (true, true, true),
        ] {
            let reductions = Reductions { sleep, cache, at_once };
            let outcome = search(&scenario, &scenario.settings[0], reductions, LIMITS, &mut |_| {});
            assert!(outcome.violation.is_some(), "{name} {reductions:?}");
        }
    }
}

#[test]
fn a_violation_is_replayed_from_its_choices() {
    for scenario in broken::all() {
        let setting = scenario.settings[0];
        let outcome = search(&scenario, &setting, Reductions::ALL, LIMITS, &mut |_| {});
        // Some are caught by three processes only, which is for the whole check.
        let Some(violation) = outcome.violation else { continue };
        let word = tenure_sim::explore::to_word(&violation.actions);
        let replayed = replay(&scenario, &setting, &from_word(&word).expect("a word of our own"));
        assert_eq!(replayed.rule, Some(violation.rule), "{} {word}:\n{}", scenario.name, replayed.trace);
    }
}

#[test]
fn a_broken_guard_passes_two_processes_and_fails_with_three() {
    let scenario = named("broken-guard-read-then-dead");
    let two = search(&scenario, &Setting::of(2, 2).crashes(1), Reductions::ALL, LIMITS, &mut |_| {});
    assert!(two.complete && two.violation.is_none(), "{:?}", two.violation);
    let three = search(&scenario, &Setting::of(3, 1).crashes(1), Reductions::ALL, LIMITS, &mut |_| {});
    assert!(three.violation.is_some());
}
