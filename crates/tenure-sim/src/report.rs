//! Which explorations are run, two at a time, and what is printed of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tenure_sim::explore::replay::trace;
use tenure_sim::explore::run::seconds;
use tenure_sim::explore::search::{Limits, Reductions, search};
use tenure_sim::explore::{Outcome, random, to_word};
use tenure_sim::scenario::{Scenario, Setting};
use tenure_sim::{broken, scenarios};

/// More than any exploration of the tests takes on a slow machine: one that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(1200);

/// How many runs more are spent on a shorter trace.
const POLISH: u64 = 20_000;

/// What is explored in one go: a scenario within one of its bounds, or a twin within all of its until it is caught.
pub(crate) struct Job<'a> {
    scenario: &'a Scenario,
    settings: Vec<Setting>,
}

/// Prints.
pub(crate) fn say(text: &str) {
    // Whoever closed the pipe does not want to hear more.
    let _nobody_listens = std::io::stdout().write_all(text.as_bytes());
}

/// Names everything.
pub(crate) fn list() {
    for (title, all) in
        [("Scenarios, which must pass", scenarios::all()), ("Twins, which must be caught", broken::all())]
    {
        say(&format!("{title}:\n"));
        for scenario in all {
            say(&format!("  {:28} {} [{}]\n", scenario.name, scenario.about, scenario.hazards));
            for setting in &scenario.settings {
                say(&format!("  {:28}   {setting}{}\n", "", if setting.long { " (long)" } else { "" }));
            }
        }
    }
}

/// The explorations of these scenarios.
pub(crate) fn jobs(all: &[Scenario], long: bool) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    for scenario in all {
        let settings = scenario.settings.iter().filter(|setting| long || !setting.long).copied();
        match scenario.caught_as {
            Some(_) => jobs.push(Job { scenario, settings: settings.collect() }),
            None => jobs.extend(settings.map(|setting| Job { scenario, settings: vec![setting] })),
        }
    }
    jobs
}

/// What several threads add to.
struct Tally {
    ok: bool,
    executions: u64,
    seen: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// Runs the jobs, as many at a time as there are processors; `true` if all is as it must be.
pub(crate) fn run(jobs: &[Job<'_>], longest: Duration) -> bool {
    let (next, tally) =
        (AtomicUsize::new(0), Mutex::new(Tally { ok: true, executions: 0, seen: BTreeMap::new() }));
    let bar = ProgressBar::new(jobs.len() as u64);
    bar.set_style(
        ProgressStyle::with_template("{pos}/{len} {elapsed} {msg}").expect("a template without mistakes"),
    );
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    do_job(job, longest, &bar, &tally);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    for scenario in jobs.iter().map(|job| job.scenario).filter(|scenario| scenario.caught_as.is_none()) {
        let seen = tally.seen.entry(scenario.name).or_default();
        for what in scenario.sometimes.iter().filter(|what| !seen.contains(*what)) {
            say(&format!("FAILED  {}: in no run did it happen that it {what:?}\n", scenario.name));
            tally.ok = false;
        }
    }
    say(&format!("{} explorations, {} runs\n", jobs.len(), tally.executions));
    tally.ok
}

fn do_job(job: &Job<'_>, longest: Duration, bar: &ProgressBar, tally: &Mutex<Tally>) {
    for (number, setting) in job.settings.iter().enumerate() {
        let limits = Limits { executions: u64::MAX, time: longest, polish: POLISH };
        let outcome = search(job.scenario, setting, Reductions::ALL, limits, &mut |outcome| {
            bar.set_message(format!(
                "{} {setting}: {} runs, {} states",
                job.scenario.name, outcome.executions, outcome.states
            ));
        });
        let caught = outcome.violation.is_some();
        let last = caught || number + 1 == job.settings.len();
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.executions += outcome.executions;
        tally.seen.entry(job.scenario.name).or_default().extend(&outcome.sometimes);
        if job.scenario.caught_as.is_none() || last {
            bar.suspend(|| tally.ok &= print(job.scenario, setting, &outcome, None));
        }
        if caught {
            return;
        }
    }
}

/// Prints what an exploration found; `true` if it is as it must be.
pub(crate) fn print(scenario: &Scenario, setting: &Setting, outcome: &Outcome, seed: Option<u64>) -> bool {
    let rule = outcome.violation.as_ref().map(|violation| violation.rule.as_str());
    let (ok, verdict) = match (scenario.caught_as, rule) {
        (None, None) if outcome.complete => (true, "holds".to_owned()),
        // The long run goes as far as it gets.
        (None, None) if seed.is_some() || setting.long => (true, "holds so far, not all tried".to_owned()),
        (None, None) => (false, "NOT FINISHED in the time given".to_owned()),
        (None, Some(rule)) => (false, format!("BROKEN: {rule}")),
        (Some(expected), Some(rule)) if rule.contains(expected) => (true, format!("caught: {rule}")),
        (Some(expected), Some(rule)) => (false, format!("caught as {rule:?} instead of {expected:?}")),
        (Some(expected), None) => (false, format!("NOT CAUGHT, expected {expected:?}")),
    };
    let seed = seed.map_or(String::new(), |seed| format!(", seed {seed}"));
    say(&format!(
        "{}  {:24} {:26} {:>9} runs {:>9} states {:>6} ends {:>7}{seed}  {verdict}\n",
        if ok { "ok    " } else { "FAILED" },
        scenario.name,
        setting.to_string(),
        outcome.executions,
        outcome.states,
        outcome.ends,
        seconds(outcome.time),
    ));
    if let Some(violation) = &outcome.violation {
        let number = scenario.settings.iter().position(|other| other.to_string() == setting.to_string());
        let number = number.map_or("?".to_owned(), |number| number.to_string());
        say(&format!(
            "        {} choices; cargo run -p tenure-sim -- replay {}/{number}/{}\n",
            violation.actions.len(),
            scenario.name,
            to_word(&violation.actions),
        ));
        if !ok {
            say(&trace(scenario, setting, violation));
        }
    }
    ok
}

/// Everything; with `hours`, then the larger bounds, and random walks of more processes for the rest of the time.
#[expect(clippy::disallowed_methods, reason = "how long the search may take, not a clock of the simulation")]
pub(crate) fn all(hours: Option<f64>) -> bool {
    let start = Instant::now();
    let (passing, twins) = (scenarios::all(), broken::all());
    let mut jobs_now = jobs(&passing, false);
    jobs_now.extend(jobs(&twins, false));
    let mut ok = run(&jobs_now, LONGEST);
    let Some(hours) = hours else { return ok };
    let end = Duration::from_secs_f64(hours.max(0.0) * 3600.0);
    let long: Vec<Job<'_>> = passing
        .iter()
        .flat_map(|scenario| {
            scenario.settings.iter().filter(|setting| setting.long).map(move |setting| (scenario, setting))
        })
        .map(|(scenario, setting)| Job { scenario, settings: vec![*setting] })
        .collect();
    // Half of the time for the larger bounds; each may use its share of two processors.
    let share = end.saturating_sub(start.elapsed()) / u32::try_from(long.len().max(1)).unwrap_or(1);
    ok &= run(&long, share);
    for seed in 1.. {
        for scenario in &passing {
            let setting =
                Setting { processes: 4, crashes: 1, long: true, power: None, ..scenario.settings[0] };
            let left = end.saturating_sub(start.elapsed());
            if left.is_zero() {
                return ok;
            }
            let limits = Limits { executions: u64::MAX, time: left.min(Duration::from_secs(30)), polish: 0 };
            let outcome = random::walk(scenario, &setting, seed, limits, &mut |_| {});
            ok &= print(scenario, &setting, &outcome, Some(seed));
        }
    }
    ok
}
