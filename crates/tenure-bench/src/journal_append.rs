//! What an append costs: alone, from threads of one process, and from several processes.
//!
//! The base is the least that is durable and excludes others: one write and fdatasync under flock. The same with the sync
//! after the lock shows what the kernel does when syncs may join. Records have 100 bytes. A sample is so many appends of all workers together; its time is that of one append.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, fdatasync, flock};
use tenure::{Durability, Journal, Reached, Wait};

use crate::measure::{Contender, Finding, Plan, Result, Setting, now, side_by_side};

const PLAN: Plan = Plan { rounds: 7, samples: 1, batch: 1 };

/// Appends in a sample.
const APPENDS: usize = 2_000;

const RECORD: [u8; 100] = [b'r'; 100];

const CONCURRENT_LOG_HANDLER: &str = include_str!("concurrent_log.py");

/// A way to append: what a worker does `count` times, with what it opened itself.
type Work = fn(&Path, usize) -> Result<()>;

const DURABLE: [(&str, &str, Work); 4] = [
    ("bare write+fdatasync under flock", "bare", bare),
    ("bare write under flock, fdatasync", "bare-after", bare_after),
    ("tenure Journal::append", "tenure", tenure_durable),
    ("SQLite, WAL, synchronous=FULL", "sqlite", sqlite),
];

const QUICK: [(&str, &str, Work); 3] = [
    ("raw O_APPEND write", "raw", raw),
    ("tenure, durability process", "tenure-quick", tenure_quick),
    ("concurrent-log-handler", "python", python),
];

pub(crate) fn one(setting: &Setting) -> Result<Finding> {
    threads(setting, 1, Some(1.1))
}

pub(crate) fn threads_4(setting: &Setting) -> Result<Finding> {
    threads(setting, 4, None)
}

/// Eight times the throughput of the bare pattern.
pub(crate) fn threads_16(setting: &Setting) -> Result<Finding> {
    threads(setting, 16, Some(0.125))
}

pub(crate) fn processes_4(setting: &Setting) -> Result<Finding> {
    processes(setting, 4, None)
}

/// Twice the throughput of the bare pattern.
pub(crate) fn processes_8(setting: &Setting) -> Result<Finding> {
    processes(setting, 8, Some(0.5))
}

pub(crate) fn quick(setting: &Setting) -> Result<Finding> {
    if !has_handler()? {
        return Ok(Finding::Skipped("python3 has no module concurrent_log_handler".into()));
    }
    let contenders = QUICK.map(|(name, way, work)| {
        let directory = setting.directory.join(way);
        // A tenth of the handler's: the goal is ten times its throughput.
        contender(name, None, move || crew(&directory, 1, work))
    });
    side_by_side(contenders.into(), setting.plan(PLAN))
}

fn contender<'a>(
    name: &'static str,
    goal: Option<f64>,
    mut run: impl FnMut() -> Result<u64> + 'a,
) -> Contender<'a> {
    Contender { name, goal, sample: Box::new(move |_| Ok(run()? as f64 / APPENDS as f64)) }
}

fn threads(setting: &Setting, count: usize, goal: Option<f64>) -> Result<Finding> {
    let contenders = DURABLE.map(|(name, way, work)| {
        let directory = setting.directory.join(format!("{way}-{count}"));
        contender(name, goal.filter(|_| way == "tenure"), move || crew(&directory, count, work))
    });
    side_by_side(contenders.into(), setting.plan(PLAN))
}

/// Threads that share the appends of a sample; how long they took, in nanoseconds.
fn crew(directory: &Path, count: usize, work: Work) -> Result<u64> {
    let path = fresh(directory)?;
    let start = now();
    std::thread::scope(|scope| {
        let path = &path;
        let work = move || work(path, APPENDS / count).map_err(|error| error.to_string());
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread panicked")?)
    })?;
    Ok(now() - start)
}

fn processes(setting: &Setting, count: usize, goal: Option<f64>) -> Result<Finding> {
    let contenders = DURABLE.map(|(name, way, _)| {
        let directory = setting.directory.join(format!("{way}-p{count}"));
        contender(name, goal.filter(|_| way == "tenure"), move || fleet(&directory, count, way))
    });
    side_by_side(contenders.into(), setting.plan(PLAN))
}

/// Processes that share the appends of a sample.
fn fleet(directory: &Path, count: usize, way: &str) -> Result<u64> {
    let path = fresh(directory)?;
    let start = |_| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["appender", way]).arg(&path).arg((APPENDS / count).to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    };
    let mut children = (0..count).map(start).collect::<std::io::Result<Vec<_>>>()?;
    // Each says when it is ready, and begins when it is told.
    for child in &mut children {
        let mut ready = [0];
        std::io::Read::read_exact(child.stdout.as_mut().ok_or("a pipe")?, &mut ready)?;
    }
    let started = now();
    for child in &mut children {
        drop(child.stdin.take());
    }
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("an appender ended with {status}").into());
        }
    }
    Ok(now() - started)
}

/// One of the processes.
pub(crate) fn append(way: &str, path: &Path, count: usize) -> Result<()> {
    let (_, _, work) = DURABLE.iter().find(|(_, name, _)| *name == way).ok_or("no such way")?;
    std::io::stdout().write_all(b"r")?;
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    work(path, count)
}

fn fresh(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    std::fs::create_dir_all(directory)?;
    let path = directory.join("journal");
    if directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sqlite")) {
        sqlite_open(&path)?;
    }
    Ok(path)
}

fn bare(path: &Path, count: usize) -> Result<()> {
    bare_append(path, count, true)
}

fn bare_after(path: &Path, count: usize) -> Result<()> {
    bare_append(path, count, false)
}

fn bare_append(path: &Path, count: usize, is_sync_locked: bool) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let lock = File::options().create(true).truncate(false).write(true).open(path.with_extension("lock"))?;
    let line = [&RECORD[..], b"\n"].concat();
    for _ in 0..count {
        flock(&lock, FlockOperation::LockExclusive)?;
        file.write_all(&line)?;
        if is_sync_locked {
            fdatasync(&file)?;
        }
        flock(&lock, FlockOperation::Unlock)?;
        if !is_sync_locked {
            fdatasync(&file)?;
        }
    }
    Ok(())
}

fn tenure_durable(path: &Path, count: usize) -> Result<()> {
    let journal = Journal::open(path);
    for _ in 0..count {
        let receipt = journal.append(Wait::Forever, [RECORD])?;
        if receipt.durability != Reached::Power {
            return Err(format!("the append did not do its work: {receipt:?}").into());
        }
    }
    Ok(())
}

fn tenure_quick(path: &Path, count: usize) -> Result<()> {
    let journal = Journal::open(path).durability(Durability::Process);
    (0..count).try_for_each(|_| journal.append(Wait::Forever, [RECORD]).map(drop)).map_err(Into::into)
}

fn sqlite_open(path: &Path) -> Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(60))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, record BLOB)")?;
    Ok(connection)
}

fn sqlite(path: &Path, count: usize) -> Result<()> {
    let connection = sqlite_open(path)?;
    let mut insert = connection.prepare("INSERT INTO log (record) VALUES (?1)")?;
    for _ in 0..count {
        insert.execute([&RECORD[..]])?;
    }
    Ok(())
}

fn raw(path: &Path, count: usize) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let line = [&RECORD[..], b"\n"].concat();
    (0..count).try_for_each(|_| file.write_all(&line)).map_err(Into::into)
}

/// The handler's own time, without the start of Python.
fn python(path: &Path, count: usize) -> Result<()> {
    let script = path.with_extension("py");
    std::fs::write(&script, CONCURRENT_LOG_HANDLER)?;
    crate::run_command::succeed(Command::new("python3").arg(&script).arg(path).arg(count.to_string()))
}

fn has_handler() -> Result<bool> {
    let asked =
        Command::new("python3").args(["-c", "import concurrent_log_handler"]).stderr(Stdio::null()).status();
    Ok(asked.is_ok_and(|status| status.success()))
}
