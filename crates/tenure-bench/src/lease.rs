//! What a lease costs beside the least that would do: one upsert to take it, one update to give it back.
//!
//! The bare statements are what a careful program would write by hand: decided by one statement on the store's clock, with a
//! token, as durable. They start no thread that renews, name no holder, and tell nobody of a release.

use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tenure::{LeaseStore, Wait};

use crate::measure::{Contender, Finding, Plan, Result, Setting, now, side_by_side, timed};

const TTL: Duration = Duration::from_secs(30);

const PLAN: Plan = Plan { rounds: 7, samples: 100, batch: 1 };

/// A handoff takes the poller half a second.
const PLAN_HANDOFF: Plan = Plan { rounds: 5, samples: 3, batch: 1 };

const PLAN_CROWD: Plan = Plan { rounds: 3, samples: 1, batch: 1 };

const PROCESSES: usize = 8;
const EACH_PROCESS: usize = 100;

/// How long a holder waits for its waiter to fall asleep.
const SETTLE: Duration = Duration::from_millis(50);

const BARE_TABLE: &str = "CREATE TABLE IF NOT EXISTS lease (
    name TEXT PRIMARY KEY, fence BIGINT NOT NULL, owner TEXT, expires_us BIGINT NOT NULL)";

const BARE_TAKE: &str = "INSERT INTO lease AS l (name, fence, owner, expires_us) VALUES ('bench', 1, $1, $2 + 30000000)
    ON CONFLICT (name) DO UPDATE SET fence = l.fence + 1, owner = excluded.owner, expires_us = excluded.expires_us
    WHERE l.owner IS NULL OR l.expires_us <= $2 RETURNING fence";

const BARE_GIVE: &str = "UPDATE lease SET owner = NULL WHERE name = 'bench' AND owner = $1 AND fence = $2";

/// One acquisition and release of a free lease, in SQLite.
pub(crate) fn sqlite(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let bare = bare_sqlite(&setting.directory.join("bare.db"))?;
    let store = LeaseStore::connect(&sqlite_address(setting))?;
    let contenders = vec![
        timed("bare upsert and update, rusqlite", None, plan, || bare_pair(&bare).map(drop)),
        timed("tenure acquire and release", Some(1.2), plan, || pair(&store)),
    ];
    side_by_side(contenders, plan)
}

fn pair(store: &LeaseStore) -> Result<()> {
    Ok(store.acquire("bench", TTL, Wait::Never)?.release()?)
}

fn sqlite_address(setting: &Setting) -> String {
    format!("sqlite:{}", setting.directory.join("leases.db").display())
}

fn bare_sqlite(path: &Path) -> Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(BARE_TABLE)?;
    Ok(connection)
}

/// Takes the lease and gives it back; `false` if another had it.
fn bare_pair(connection: &rusqlite::Connection) -> Result<bool> {
    use rusqlite::OptionalExtension;
    let owner = "00000000-0000-4000-8000-000000000000";
    let time = i64::try_from(now() / 1000)?;
    let mut take = connection.prepare_cached(BARE_TAKE)?;
    let fence = take.query_row(rusqlite::params![owner, time], |row| row.get::<_, i64>(0)).optional()?;
    let Some(fence) = fence else { return Ok(false) };
    connection.prepare_cached(BARE_GIVE)?.execute(rusqlite::params![owner, fence])?;
    Ok(true)
}

/// Eight processes that want one database, each for a lease of its own: what is measured is one turn, and how unfair they are is
/// told beside it.
pub(crate) fn sqlite_crowd(setting: &Setting) -> Result<Finding> {
    let ways = [("SQLite's busy_timeout", "bare"), ("tenure", "tenure")];
    let mut unfair = [Unfair::default(), Unfair::default()];
    let contenders = ways.into_iter().zip(&mut unfair).map(|((name, way), unfair)| Contender {
        name,
        goal: None,
        sample: Box::new(move |_| {
            let turns = crowd(setting, way)?;
            unfair.note(&turns);
            Ok(turns.iter().map(|turn| turn.end - turn.start).sum::<u64>() as f64 / turns.len() as f64)
        }),
    });
    let found = side_by_side(contenders.collect(), setting.plan(PLAN_CROWD))?;
    for ((name, _), Unfair { time, passed }) in ways.into_iter().zip(unfair) {
        eprintln!(
            "  {name}: the longest turn took {time:.0} times the median, and {passed} turns of others came to their end \
             in one (worst of all runs)"
        );
    }
    Ok(found)
}

/// How badly one of many was treated: a disk that is slow at times makes the first figure large, but not the second.
#[derive(Default)]
struct Unfair {
    /// The longest turn, in medians.
    time: f64,
    /// Turns of others that ended within one.
    passed: usize,
}

impl Unfair {
    fn note(&mut self, turns: &[Range<u64>]) {
        let mut times: Vec<u64> = turns.iter().map(|turn| turn.end - turn.start).collect();
        times.sort_unstable();
        self.time = self.time.max(times[times.len() - 1] as f64 / times[times.len() / 2] as f64);
        let mut ends: Vec<u64> = turns.iter().map(|turn| turn.end).collect();
        ends.sort_unstable();
        let within = |turn: &Range<u64>| {
            ends.partition_point(|end| *end < turn.end) - ends.partition_point(|end| *end <= turn.start)
        };
        self.passed = self.passed.max(turns.iter().map(within).max().unwrap_or(0));
    }
}

fn crowd(setting: &Setting, way: &str) -> Result<Vec<Range<u64>>> {
    let address = match way {
        "bare" => setting.directory.join("crowd-bare.db").display().to_string(),
        _ => sqlite_address(setting),
    };
    let start = |number: usize| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["leaser", way, &address, &format!("crowd-{number}")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    };
    let mut children = (0..PROCESSES).map(start).collect::<std::io::Result<Vec<_>>>()?;
    for child in &mut children {
        let mut ready = [0];
        std::io::Read::read_exact(child.stdout.as_mut().ok_or("a pipe")?, &mut ready)?;
    }
    children.iter_mut().for_each(|child| drop(child.stdin.take()));
    let mut turns = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("a process ended with {}", output.status).into());
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            let (start, end) = line.split_once(' ').ok_or("a turn has two ends")?;
            turns.push(start.parse()?..end.parse()?);
        }
    }
    Ok(turns)
}

/// One of the processes: prints when each turn began and ended, in nanoseconds.
pub(crate) fn take_turns(way: &str, address: &str, name: &str) -> Result<()> {
    let turn: Box<dyn Fn() -> Result<()>> = match way {
        "bare" => {
            let connection = bare_sqlite(Path::new(address))?;
            Box::new(move || bare_pair(&connection).map(drop))
        }
        _ => {
            let (store, name) = (LeaseStore::connect(address)?, name.to_owned());
            Box::new(move || Ok(store.acquire(name.as_str(), TTL, Wait::Forever)?.release()?))
        }
    };
    write!(std::io::stdout(), "r")?;
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    for _ in 0..EACH_PROCESS {
        let start = now();
        turn()?;
        println!("{start} {}", now());
    }
    Ok(())
}

/// One acquisition and release of a free lease, in PostgreSQL. The bare statements are prepared once, as ours are.
pub(crate) fn postgres(setting: &Setting) -> Result<Finding> {
    let Some(address) = postgres_address() else { return Ok(no_server()) };
    let plan = setting.plan(PLAN);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bare = runtime.block_on(Bare::connect(&address))?;
    // As the bare one's: an address without an `sslmode` means encrypted if the server can.
    let store = LeaseStore::connect(&with_option(&address, "sslmode=disable"))?;
    let contenders = vec![
        timed("bare upsert and update, tokio-postgres", None, plan, || runtime.block_on(bare.pair())),
        timed("tenure acquire and release", Some(1.15), plan, || pair(&store)),
    ];
    side_by_side(contenders, plan)
}

fn postgres_address() -> Option<String> {
    std::env::var("TENURE_TEST_POSTGRES").ok()
}

fn no_server() -> Finding {
    Finding::Skipped("no server: run it by `scripts/with-postgres`".into())
}

/// The least that would do, over the same driver.
struct Bare {
    client: tokio_postgres::Client,
    take: tokio_postgres::Statement,
    give: tokio_postgres::Statement,
}

impl Bare {
    async fn connect(address: &str) -> Result<Bare> {
        let (client, connection) = tokio_postgres::connect(address, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(BARE_TABLE).await?;
        let clock = "(date_part('epoch', clock_timestamp()) * 1000000)::bigint";
        let take = client.prepare(&BARE_TAKE.replace("$2", clock)).await?;
        let give = client.prepare(BARE_GIVE).await?;
        Ok(Bare { client, take, give })
    }

    async fn pair(&self) -> Result<()> {
        let owner = "00000000-0000-4000-8000-000000000000";
        let fence: i64 = self.client.query_one(&self.take, &[&owner]).await?.get(0);
        self.client.execute(&self.give, &[&owner, &fence]).await?;
        Ok(())
    }
}

pub(crate) fn postgres_handoff(setting: &Setting) -> Result<Finding> {
    let Some(address) = postgres_address() else { return Ok(no_server()) };
    handoff(setting, &with_option(&address, "notify=on"))
}

fn with_option(address: &str, option: &str) -> String {
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}{option}")
}

/// From a release in one process to the acquisition in another.
pub(crate) fn sqlite_handoff(setting: &Setting) -> Result<Finding> {
    handoff(setting, &sqlite_address(setting))
}

fn handoff(setting: &Setting, address: &str) -> Result<Finding> {
    let ways = [("try every second", "poll", None), ("tenure", "wait", Some(0.01))];
    let mut contenders = Vec::new();
    for (name, way, goal) in ways {
        let store = LeaseStore::connect(address)?;
        let mut waiter = Waiter::start(way, address)?;
        let sample = Box::new(move |_| waiter.handoff(&store));
        contenders.push(Contender { name, goal, sample });
    }
    side_by_side(contenders, setting.plan(PLAN_HANDOFF))
}

struct Waiter {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // Waiting closes the waiter's input first, which ends it.
        let _ended = self.child.wait();
    }
}

impl Waiter {
    fn start(way: &str, address: &str) -> Result<Waiter> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["lease-waiter", way, address]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("the waiter has no output")?);
        Ok(Waiter { child, answers })
    }

    /// The nanoseconds from before the release to the acquisition.
    fn handoff(&mut self, store: &LeaseStore) -> Result<f64> {
        let lease = store.acquire("handoff", TTL, Wait::within(Duration::from_secs(5)))?;
        self.child.stdin.as_mut().ok_or("the waiter has no input")?.write_all(b"wait\n")?;
        std::thread::sleep(SETTLE);
        let released = now();
        lease.release()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let acquired: u64 = line.trim_end().parse().map_err(|_| "the waiter ended early")?;
        Ok(acquired.saturating_sub(released) as f64)
    }
}

/// The waiting process.
pub(crate) fn wait(way: &str, address: &str) -> Result<()> {
    let store = LeaseStore::connect(address)?;
    for line in std::io::stdin().lines() {
        line?;
        let lease = match way {
            "poll" => loop {
                if let Some(lease) = store.try_acquire("handoff", TTL)? {
                    break lease;
                }
                std::thread::sleep(Duration::from_secs(1));
            },
            _ => store.acquire("handoff", TTL, Wait::Forever)?,
        };
        let acquired = now();
        lease.release()?;
        println!("{acquired}");
    }
    Ok(())
}
