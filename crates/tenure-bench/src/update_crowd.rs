//! What many updates of one document cost together: from fifty threads of one process, and from eight processes.
//!
//! The base is the pattern of report C in Rust: a stable lock beside the file, read, a temporary file, fsync, rename, fsync
//! of the directory; every update by itself. All contenders are as durable.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tenure::{Document, Wait};

use crate::measure::{Finding, Plan, Result, Setting, now, side_by_side, timed};

const THREADS: usize = 50;
const EACH_THREAD: usize = 20;
const PROCESSES: usize = 8;
const EACH_PROCESS: usize = 50;

/// Ten times as fast as the pattern.
const GOAL_THREADS: f64 = 0.1;
const GOAL_PROCESSES: f64 = 1.0;

const PLAN: Plan = Plan { rounds: 5, samples: 1, batch: 1 };

const PYTHON: &str = include_str!("report_c.py");

pub(crate) fn threads(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let [pattern, python, tenure] = ["pattern", "python", "tenure"].map(|name| setting.directory.join(name));
    for directory in [&pattern, &python, &tenure] {
        std::fs::create_dir_all(directory)?;
    }
    let script = setting.directory.join("report_c.py");
    std::fs::write(&script, PYTHON)?;
    if !crate::run_command::is_there("python3")? {
        return Ok(Finding::Skipped("there is no python3".into()));
    }
    let contenders = vec![
        timed("pattern of report C, Rust", None, plan, || crowd(&pattern, pattern_add)),
        timed("pattern of report C, Python", None, plan, || {
            let path = zero(&python)?;
            let mut command = Command::new("python3");
            command.arg(&script).arg(&path).arg(THREADS.to_string()).arg(EACH_THREAD.to_string());
            crate::run_command::succeed(&mut command)?;
            check(&path, THREADS * EACH_THREAD)
        }),
        timed("tenure, combined", Some(GOAL_THREADS), plan, || crowd(&tenure, tenure_add)),
    ];
    side_by_side(contenders, plan)
}

type Add = fn(&Path) -> Result<()>;

fn crowd(directory: &Path, add: Add) -> Result<()> {
    let path = zero(directory)?;
    std::thread::scope(|scope| {
        let path = &path;
        let work = move || (0..EACH_THREAD).try_for_each(|_| add(path)).map_err(|error| error.to_string());
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    check(&path, THREADS * EACH_THREAD)
}

pub(crate) fn processes(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let [pattern, tenure] = ["pattern", "tenure"].map(|name| setting.directory.join(name));
    for directory in [&pattern, &tenure] {
        std::fs::create_dir_all(directory)?;
    }
    let (mut unfair_pattern, mut unfair_tenure) = (Vec::new(), Vec::new());
    let contenders = vec![
        timed("pattern of report C, Rust", None, plan, || fleet("pattern", &pattern, &mut unfair_pattern)),
        timed("tenure", Some(GOAL_PROCESSES), plan, || fleet("tenure", &tenure, &mut unfair_tenure)),
    ];
    let found = side_by_side(contenders, plan)?;
    for (name, unfair) in [("pattern of report C", &unfair_pattern), ("tenure", &unfair_tenure)] {
        let worst = unfair.iter().copied().fold(0.0, f64::max);
        eprintln!(
            "  {name}: the longest update took {worst:.0} times the median (worst of {} runs)",
            unfair.len()
        );
    }
    Ok(found)
}

/// Runs the processes, and notes how many times as long as the median the longest update took.
fn fleet(way: &str, directory: &Path, unfair: &mut Vec<f64>) -> Result<()> {
    let path = zero(directory)?;
    let start = |_| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["updater", way]).arg(&path).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    };
    let children = (0..PROCESSES).map(start).collect::<std::io::Result<Vec<_>>>()?;
    let mut times: Vec<u64> = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("an updater ended with {}", output.status).into());
        }
        let lines = String::from_utf8(output.stdout)?;
        times.extend(lines.lines().map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?);
    }
    times.sort_unstable();
    unfair.push(times[times.len() - 1] as f64 / times[times.len() / 2] as f64);
    check(&path, PROCESSES * EACH_PROCESS)
}

/// One of the processes: prints how long each update took, in nanoseconds.
pub(crate) fn update(way: &str, path: &Path) -> Result<()> {
    let add: Add = match way {
        "pattern" => pattern_add,
        _ => tenure_add,
    };
    for _ in 0..EACH_PROCESS {
        let start = now();
        add(path)?;
        println!("{}", now() - start);
    }
    Ok(())
}

fn zero(directory: &Path) -> Result<std::path::PathBuf> {
    let path = directory.join("manifest.json");
    std::fs::write(&path, "{\"n\": 0, \"name\": \"manifest\", \"entries\": []}\n")?;
    Ok(path)
}

fn check(path: &Path, expected: usize) -> Result<()> {
    let value: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    match value["n"].as_u64() == Some(expected as u64) {
        true => Ok(()),
        false => Err(format!("{} of {expected} updates were counted", value["n"]).into()),
    }
}

fn tenure_add(path: &Path) -> Result<()> {
    let add = |value: &mut Value| value["n"] = json!(value["n"].as_u64().unwrap_or(0) + 1);
    Document::open(path).update(Wait::Forever, add)?;
    Ok(())
}

fn pattern_add(path: &Path) -> Result<()> {
    let lock =
        File::options().create(true).truncate(false).write(true).open(path.with_extension("json.lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    let mut value: Value = serde_json::from_str(&text)?;
    value["n"] = json!(value["n"].as_u64().unwrap_or(0) + 1);
    let directory = path.parent().ok_or("a file lies in a directory")?;
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    temporary.write_all(value.to_string().as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    File::open(directory)?.sync_all()?;
    Ok(())
}
