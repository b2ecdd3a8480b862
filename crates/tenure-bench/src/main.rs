//! Benchmarks of Tenure and its peers, side by side in one run.
//!
//! `cargo run --release -p tenure-bench` measures everything, prints one table of ratios and writes the same
//! as JSON. A ratio says how many times as long a contender takes as its benchmark's base; absolute times
//! differ from machine to machine, ratios hardly do.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real system")]

mod edit_large;
mod flock_start;
mod journal_append;
mod journal_follow;
mod journal_read;
mod lease;
mod lock_handoff;
mod lock_uncontended;
mod measure;
mod report;
mod run_command;
mod update_command;
mod update_crowd;
mod update_durable;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use measure::{Finding, Result, Setting};

/// A benchmark and how to run it.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn(&Setting) -> Result<Finding>,
}

const BENCHMARKS: [Benchmark; 25] = [
    Benchmark {
        name: "lock-uncontended",
        about: "take and release a free lock whose file exists",
        run: lock_uncontended::run,
    },
    Benchmark {
        name: "lock-handoff",
        about: "from a release in one process to the acquisition in another one that waits",
        run: lock_handoff::run,
    },
    Benchmark {
        name: "update-durable",
        about: "change a small JSON document so that it survives a power loss",
        run: update_durable::run,
    },
    Benchmark {
        name: "update-threads",
        about: "1000 durable updates of one document by 50 threads",
        run: update_crowd::threads,
    },
    Benchmark {
        name: "update-processes",
        about: "400 durable updates of one document by 8 processes",
        run: update_crowd::processes,
    },
    Benchmark {
        name: "update-command",
        about: "change one field of 1 KB at the shell, the whole process",
        run: update_command::small,
    },
    Benchmark { name: "update-command-1mb", about: "the same of 1 MB", run: update_command::large },
    Benchmark {
        name: "edit-json",
        about: "change one field of a large JSON document, the whole process",
        run: edit_large::run_json,
    },
    Benchmark { name: "edit-toml", about: "the same of TOML, with comments", run: edit_large::run_toml },
    Benchmark { name: "edit-yaml", about: "the same of YAML, with comments", run: edit_large::run_yaml },
    Benchmark {
        name: "append-one",
        about: "durable appends of 100 bytes by one thread",
        run: journal_append::one,
    },
    Benchmark { name: "append-threads-4", about: "the same by 4 threads", run: journal_append::threads_4 },
    Benchmark { name: "append-threads-16", about: "the same by 16 threads", run: journal_append::threads_16 },
    Benchmark {
        name: "append-processes-4",
        about: "the same by 4 processes",
        run: journal_append::processes_4,
    },
    Benchmark {
        name: "append-processes-8",
        about: "the same by 8 processes",
        run: journal_append::processes_8,
    },
    Benchmark {
        name: "append-quick",
        about: "appends that survive their process",
        run: journal_append::quick,
    },
    Benchmark {
        name: "journal-follow",
        about: "from an append to the reader that waits for it",
        run: journal_follow::run,
    },
    Benchmark { name: "journal-read", about: "read and verify a journal of 256 MB", run: journal_read::run },
    Benchmark {
        name: "lease-sqlite",
        about: "acquire and release a free lease in an SQLite file",
        run: lease::sqlite,
    },
    Benchmark {
        name: "lease-sqlite-crowd",
        about: "the same by 8 processes, each its own lease in one file",
        run: lease::sqlite_crowd,
    },
    Benchmark {
        name: "lease-sqlite-handoff",
        about: "from a release in one process to the acquisition in another",
        run: lease::sqlite_handoff,
    },
    Benchmark {
        name: "lease-postgres",
        about: "acquire and release a free lease in a PostgreSQL database",
        run: lease::postgres,
    },
    Benchmark {
        name: "lease-postgres-handoff",
        about: "from a release in one process to the acquisition in another, notified",
        run: lease::postgres_handoff,
    },
    Benchmark {
        name: "run-command",
        about: "run `true` under a lock, the whole process",
        run: run_command::run,
    },
    Benchmark {
        name: "flock-start",
        about: "run `true` as flock(1) does, under its name and as a command",
        run: flock_start::run,
    },
];

/// Measures Tenure and its peers side by side.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// List the benchmarks and measure nothing.
    #[arg(long)]
    list: bool,
    /// Run this benchmark only; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measure few rounds: a check that everything works rather than a result.
    #[arg(long)]
    quick: bool,
    /// Where the results go.
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
    /// Work in a new directory below this one, which should be on a real disk.
    #[arg(long, value_name = "DIRECTORY", default_value = "target")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for a lock each time a line arrives: the other process of lock-handoff.
    #[command(hide = true)]
    Waiter { way: String, path: PathBuf },
    /// Update a document again and again: a process of update-processes.
    #[command(hide = true)]
    Updater { way: String, path: PathBuf },
    /// Append to a journal again and again: a process of append-processes.
    #[command(hide = true)]
    Appender { way: String, path: PathBuf, count: usize },
    /// Acquire and release leases again and again: a process of lease-sqlite-crowd.
    #[command(hide = true)]
    Leaser { way: String, address: String, name: String },
    /// Wait for a lease each time a line arrives: the other process of the handoffs.
    #[command(hide = true)]
    LeaseWaiter { way: String, address: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Command::Waiter { way, path }) => lock_handoff::wait(way, path),
        Some(Command::Updater { way, path }) => update_crowd::update(way, path),
        Some(Command::Appender { way, path, count }) => journal_append::append(way, path, *count),
        Some(Command::Leaser { way, address, name }) => lease::take_turns(way, address, name),
        Some(Command::LeaseWaiter { way, address }) => lease::wait(way, address),
        None if arguments.list => {
            BENCHMARKS.iter().for_each(|benchmark| println!("{:<23}{}", benchmark.name, benchmark.about));
            Ok(())
        }
        None => run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenure-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let chosen = chosen(&arguments.only)?;
    std::fs::create_dir_all(&arguments.dir)
        .map_err(|error| format!("can't create {}: {error}", arguments.dir.display()))?;
    // The canonical path keeps the temporary directory's name valid for child processes, wherever they run.
    let directory = tempfile::tempdir_in(arguments.dir.canonicalize()?)?;
    let setting = Setting { quick: arguments.quick, directory: directory.path().to_owned() };
    let mut results = Vec::new();
    for benchmark in chosen {
        eprintln!("measuring {} ...", benchmark.name);
        let finding = (benchmark.run)(&setting).map_err(|error| format!("{}: {error}", benchmark.name))?;
        results.push((benchmark.name, finding));
    }
    print!("{}", report::table(&results));
    write_json(&arguments.json, &report::json(&results, &setting))
}

fn chosen(only: &[String]) -> Result<Vec<&'static Benchmark>> {
    if let Some(unknown) = only.iter().find(|name| BENCHMARKS.iter().all(|known| known.name != **name)) {
        return Err(format!("there is no benchmark `{unknown}`; --list shows them").into());
    }
    let wanted = |benchmark: &&Benchmark| only.is_empty() || only.iter().any(|name| name == benchmark.name);
    Ok(BENCHMARKS.iter().filter(wanted).collect())
}

fn write_json(path: &Path, results: &serde_json::Value) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, format!("{results:#}\n"))
        .map_err(|error| format!("can't write {}: {error}", path.display()))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}
