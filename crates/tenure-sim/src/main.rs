//! `tenure-sim`: the model checker at the command line.

mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tenure_sim::explore::replay::replay;
use tenure_sim::explore::search::Limits;
use tenure_sim::explore::{from_word, random};
use tenure_sim::scenario::{Scenario, Setting};
use tenure_sim::{broken, scenarios};

/// Runs Tenure's protocols through every interleaving, crash, fault and power loss within stated bounds
#[derive(Debug, Parser)]
#[command(name = "tenure-sim", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Name the scenarios, their bounds, and the broken twins
    List,
    /// Explore one scenario or twin within all its bounds, and print the trace of what it finds
    Check {
        /// As `list` prints it
        name: String,
        /// Also the bounds that are too large for every run of the tests
        #[arg(long)]
        long: bool,
        /// As many minutes for each of its bounds
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
    },
    /// Explore everything: the scenarios must pass, the twins must be caught
    All {
        /// Go on with the larger bounds and with random walks of more processes, for as long altogether
        #[arg(long)]
        hours: Option<f64>,
    },
    /// Walk at random through a scenario with more processes
    Random {
        /// As `list` prints it
        name: String,
        /// How many processes
        #[arg(long, default_value_t = 4)]
        processes: usize,
        /// Where the random numbers start
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// As many minutes
        #[arg(long, default_value_t = 1.0)]
        minutes: f64,
    },
    /// Run again what a violation printed
    Replay {
        /// `SCENARIO/BOUNDS/CHOICES`
        word: String,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::List => {
            report::list();
            Ok(true)
        }
        Command::Check { name, long, minutes } => find(&name).map(|scenario| {
            let jobs = report::jobs(std::slice::from_ref(&scenario), long);
            report::run(&jobs, minutes_of(minutes))
        }),
        Command::All { hours } => Ok(report::all(hours)),
        Command::Random { name, processes, seed, minutes } => find(&name).map(|scenario| {
            let first = scenario.settings[0];
            let setting = Setting { processes, crashes: 1, ..first };
            let limits = Limits { executions: u64::MAX, time: minutes_of(minutes), polish: 0 };
            let outcome = random::walk(&scenario, &setting, seed, limits, &mut |_| {});
            report::print(&scenario, &setting, &outcome, Some(seed))
        }),
        Command::Replay { word } => again(&word),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            report::say(&format!("tenure-sim: {problem}\n"));
            ExitCode::from(64)
        }
    }
}

fn minutes_of(minutes: f64) -> Duration {
    Duration::from_secs_f64(minutes.max(0.0) * 60.0)
}

fn find(name: &str) -> Result<Scenario, String> {
    let mut all = scenarios::all().into_iter().chain(broken::all());
    all.find(|scenario| scenario.name == name)
        .ok_or_else(|| format!("there is no scenario {name:?}; `tenure-sim list` names them"))
}

fn again(word: &str) -> Result<bool, String> {
    let mut parts = word.splitn(3, '/');
    let (Some(name), Some(bounds), Some(choices)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("{word:?} is not SCENARIO/BOUNDS/CHOICES"));
    };
    let scenario = find(name)?;
    let which: usize = bounds.parse().map_err(|_| format!("{bounds:?} is not the number of some bounds"))?;
    let setting =
        *scenario.settings.get(which).ok_or_else(|| format!("{name} has no bounds number {which}"))?;
    let replayed = replay(&scenario, &setting, &from_word(choices)?);
    report::say(&format!("{name}, {setting}\n{}", replayed.trace));
    report::say(&match &replayed.rule {
        Some(rule) => format!("broken rule: {rule}\n"),
        None => "no rule is broken\n".to_owned(),
    });
    Ok(replayed.rule.is_none())
}
