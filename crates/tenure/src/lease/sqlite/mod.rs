//! Leases in a database file of this machine.
//!
//! A change is a transaction: 1. Wait for the turn to write, below. SQLite itself lets all writers try again after pauses, and
//! some never get their turn. 2. The path must still name the file that
//! was opened: whoever deleted it made the tokens start over. 3. `BEGIN IMMEDIATE`. 4. Read the boot clock, and not before: the
//! wait may have been long. 5. Read the row, decide ([`super::row`]), write it. 6. `COMMIT`, in WAL mode with `synchronous=FULL`: what
//! was acknowledged survives a power loss, the token first of all. 7. Give the queue free. 8. After a release, open and close
//! `PATH-notice`, which wakes the waiters.
//!
//! The turn is an flock on `PATH-turn`. Who has just had it would often have it again before any other has woken up; so it is
//! waited for by one alone, the holder of another flock, on `PATH-queue`: whoever comes back finds that one before itself.
//!
//! The turn also covers SQLite's one weakness with threads: two copies of SQLite in one process drop each other's locks
//! (sqlite.org/howtocorrupt.html, 2.2).
//!
//! A database on a file system that other machines may write is refused: neither WAL nor the boot clock would mean anything.

mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use self::schema::{Found, Problem};
use super::row::{self, Now, Row};
use super::store::{Answer, Ask, Attempt, Claim, Notice, Owner, Store};
use super::{Entry, Name, Occupancy, Tenant};
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Native, Open, directory_of, is_mount_point};
use crate::lock::{Creation, Lock, State, judge_owner, shares_processes};
use crate::target;
use crate::wait::{Moment, Wait};

/// How long opening may take: others may be making the tables.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// How long an owner whose answer was lost is looked for.
const ABANDON_MAX: Duration = Duration::from_secs(1);

/// Leases in a file.
pub(super) struct Sqlite {
    path: PathBuf,
    address: String,
    turns: Turns,
    notice: PathBuf,
    side: Side,
    boot: String,
    connection: Arc<Mutex<Opened>>,
    /// SQLite's connections must not be used in a forked child.
    process: u64,
}

/// Who may use the files beside the database: those who may write it. Whoever else could lock them would keep the writers out.
#[derive(Clone, Copy)]
struct Side {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Side {
    /// Makes an empty database if there is none, so that there is something to go by.
    fn of(path: &Path) -> Result<Side> {
        // Opened only if it is new: to close a database that this process has open would drop SQLite's locks on it.
        match Native.open(path, Open::New { mode: 0o644 }) {
            Ok(_) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(errno) => return Err(Error::host("create the database", path, errno)),
        }
        let stat = Native.stat(path).map_err(|errno| Error::host("look at the database", path, errno))?;
        let writers = stat.mode & 0o222;
        Ok(Side { mode: writers | writers << 1, uid: stat.uid, gid: stat.gid })
    }

    fn creation(self) -> Creation {
        Creation::Like { mode: self.mode, uid: self.uid, gid: self.gid }
    }
}

/// The right to write, and the right to wait for it.
struct Turns {
    queue: Lock,
    turn: Lock,
}

struct Opened {
    connection: Connection,
    /// The file that the path named when it was opened.
    id: FileId,
}

impl Sqlite {
    /// Opens the database, and makes it if it is missing.
    pub(super) fn open(path: &Path) -> Result<Sqlite> {
        let host = Native;
        // The program may change its directory; and SQLite would take a name like `:memory:` for something else than a file.
        let path = std::path::absolute(path)
            .map_err(|error| Error::failed(path, format!("the current directory can't be told: {error}")))?;
        // The side files lie beside the real file, whatever path leads to it.
        let path = target::resolve(&host, &path, "database")?;
        refuse_network(&path)?;
        refuse_other_names(&path)?;
        let boot = host.identity().boot.ok_or_else(|| {
            let problem = "the kernel's boot id can't be read (/proc/sys/kernel/random/boot_id), which times are kept with";
            Error::unsupported(&path, problem)
        })?;
        let beside = |suffix| target::beside(&path, suffix);
        let address = format!("sqlite:{}", path.display());
        let side = Side::of(&path)?;
        let lock = |suffix| Lock::flock(beside(suffix)).created_as(side.creation());
        let turns = Turns { queue: lock("-queue"), turn: lock("-turn") };
        let until = host.now() + OPEN_MAX;
        let connection = Arc::new(Mutex::new(open_database(&path, &address, &turns, until)?));
        let (notice, process) = (beside("-notice"), host.process_mark());
        Ok(Sqlite { path, address, turns, notice, side, boot, connection, process })
    }

    fn now(&self) -> Result<Now> {
        let clock = Native
            .machine_clock()
            .map_err(|errno| Error::host("read the machine's boot clock", &self.path, errno))?;
        Ok(Now { us: row::micros(clock.since_zero()), boot: self.boot.clone() })
    }

    fn connection(&self) -> Result<MutexGuard<'_, Opened>> {
        if Native.process_mark() != self.process {
            let problem = "this process was forked from the one that opened the lease store. Open it anew";
            return Err(Error::unsupported(&self.path, problem));
        }
        // A panic rolls its transaction back.
        Ok(self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn explain(&self, problem: Problem) -> Error {
        match problem {
            Problem::Sqlite(error) => schema::explain(&self.path, &self.address, &error),
            Problem::Ours(error) => error,
        }
    }

    /// Changes one row as `step` says; `None` leaves it as it is.
    fn change<R>(
        &self,
        name: &Name,
        until: Moment,
        step: impl FnOnce(Option<Row>, &Now) -> (Option<Row>, R),
    ) -> Result<R> {
        let _turn = self.turns.next(&self.address, until)?;
        let mut opened = self.connection()?;
        self.expect_same_file(&opened)?;
        patience(&opened.connection, until).map_err(|error| self.explain(error.into()))?;
        let failed = |error: rusqlite::Error| self.explain(error.into());
        let transaction =
            opened.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let now = self.now()?;
        let row = schema::read(&transaction, name.as_str()).map_err(failed)?;
        let (changed, outcome) = step(row, &now);
        // SQLite leaves a page alone that would be as it was: a refusal costs no sync.
        if let Some(row) = changed {
            schema::write(&transaction, &row).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(outcome)
    }

    fn expect_same_file(&self, opened: &Opened) -> Result<()> {
        let problem = match Native.stat(&self.path) {
            Ok(stat) if stat.id == opened.id => return Ok(()),
            Ok(_) => "another file was put in this database's place",
            Err(Errno::NOENT) => "this database was deleted",
            Err(errno) => return Err(Error::host("look at the database", &self.path, errno)),
        };
        let rest = "while it was in use. Its leases are lost, and tokens would start over: put the file back, or open it anew";
        Err(Error::conflict(&self.path, format!("{problem} {rest}")))
    }

    fn one(&self, name: &Name, until: Moment) -> Result<Option<(Row, Now)>> {
        let opened = self.connection()?;
        self.expect_same_file(&opened)?;
        let read = patience(&opened.connection, until)
            .and_then(|()| schema::read(&opened.connection, name.as_str()));
        // The clock after the row: a row that was written meanwhile would come from the future.
        let now = self.now()?;
        let row = read.map_err(|error| self.explain(error.into()))?;
        Ok(row.map(|row| (row.carried_over(&now), now)))
    }

    fn entry(&self, row: &Row, now: &Now) -> Result<Entry> {
        row.entry(now, is_dead).ok_or_else(|| self.not_ours(row))
    }

    fn not_ours(&self, row: &Row) -> Error {
        let problem = format!("the lease {} has the token {}, which no lease has", row.name, row.fence);
        Error::corrupt(&self.path, problem)
    }

    /// Tells those who wait.
    fn announce(&self) {
        let open = || match Native.open(&self.notice, Open::Read) {
            Err(Errno::NOENT) => {
                let made = Native.open(&self.notice, Open::New { mode: 0o600 })?;
                Native.set_mode(&made, self.side.mode)?;
                Ok(made)
            }
            opened => opened,
        };
        // If this fails, the waiters find out by looking, within a quarter of a second.
        drop(open());
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // A forked child must not close its copy either: SQLite would roll back what another thread was writing at the fork, in
        // memory that it shares with the parent, whose change would be lost after it was acknowledged.
        if Native.process_mark() != self.process {
            let _never_dropped = std::mem::ManuallyDrop::new(self.connection.clone());
        }
    }
}

impl Store for Sqlite {
    fn address(&self) -> &str {
        &self.address
    }

    fn acquire(&self, ask: &Ask, until: Moment) -> Result<Attempt> {
        if ask.again
            && let Some((row, now)) = self.one(&ask.name, until)?
            && !row.is_for(ask, &now, is_dead)
        {
            return Ok(Attempt::Held(Box::new(self.entry(&row, &now)?)));
        }
        self.change(&ask.name, until, |row, now| {
            let (row, attempt) = row::acquire(row, ask, now, is_dead);
            let attempt = attempt.ok_or_else(|| self.not_ours(&row));
            (Some(row), attempt)
        })?
    }

    fn renew(&self, claim: &Claim, ttl: Duration, tenant: Option<&Tenant>, until: Moment) -> Result<Answer> {
        self.change(&claim.name, until, |row, now| row::renew(row, claim, ttl, tenant, now))
    }

    fn release(&self, claim: &Claim, until: Moment) -> Result<Answer> {
        let answer = self.change(&claim.name, until, |row, now| row::release(row, claim, now))?;
        if matches!(answer, Answer::Done { .. }) {
            self.announce();
        }
        Ok(answer)
    }

    fn break_lease(&self, name: &Name, reason: &str, until: Moment) -> Result<Option<Entry>> {
        let broken =
            self.change(name, until, |row, now| match row::end_by_force(row, reason, now, is_dead) {
                Some((ended, row)) => (Some(ended), Some(self.entry(&row, now))),
                None => (None, None),
            })?;
        self.announce();
        Ok(broken.transpose()?.filter(|entry| entry.occupancy != Occupancy::Free))
    }

    fn look(&self, name: &Name, until: Moment) -> Result<Option<Entry>> {
        let found = self.one(name, until)?;
        found.map(|(row, now)| self.entry(&row, &now)).transpose()
    }

    fn list(&self, until: Moment) -> Result<Vec<Entry>> {
        let opened = self.connection()?;
        self.expect_same_file(&opened)?;
        let rows = patience(&opened.connection, until).and_then(|()| schema::read_all(&opened.connection));
        let now = self.now()?;
        let rows = rows.map_err(|error| self.explain(error.into()))?;
        rows.into_iter().map(|row| self.entry(&row.carried_over(&now), &now)).collect()
    }

    fn abandon(&self, name: &Name, owner: &Owner) {
        let until = Native.now() + ABANDON_MAX;
        let freed = self.change(name, until, |row, now| (row::abandon(row, owner, now), ()));
        // If it can't be done, the lease ends with its time.
        if freed.is_ok() {
            self.announce();
        }
    }

    fn notice(&self, _name: &Name, _waker: &Waker) -> Notice {
        if let Err(Errno::NOENT) = Native.stat(&self.notice) {
            self.announce();
        }
        Notice::File(self.notice.clone())
    }
}

/// Whether the owner's process is gone for certain.
fn is_dead(tenant: &Tenant) -> bool {
    let Some(owner) = tenant.process() else { return false };
    let here = Native.identity();
    // An error of the system is no evidence of death.
    let process = shares_processes(&owner, &here).then(|| Native.process(owner.pid).ok()).flatten();
    judge_owner(&owner, &here, process, true).state == State::Dead
}

impl Turns {
    fn next(&self, address: &str, until: Moment) -> Result<crate::Held> {
        let first = self.queue.acquire(Wait::Until(until));
        let turn = first.and_then(|_first| self.turn.acquire(Wait::Until(until)));
        turn.map_err(|error| match error.is_busy() {
            true => Error::unreachable(address, format!("the queue of its writers does not move: {error}")),
            false => error,
        })
    }
}

/// From now on, SQLite waits for other programs' locks until this moment.
fn patience(connection: &Connection, until: Moment) -> rusqlite::Result<()> {
    connection.busy_timeout(until.since(Native.now()))
}

fn refuse_network(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    let local = Native.open(&directory, Open::Read).and_then(|opened| Native.is_local(&opened));
    match local {
        Ok(true) => Ok(()),
        Ok(false) => {
            let problem = "lies on a file system that other machines may write (or whose kind is not known): SQLite's locks \
                           and this machine's clock mean nothing there. Take a local disk, or PostgreSQL";
            Err(Error::unsupported(path, problem))
        }
        Err(errno) => Err(Error::host("open the directory of the database", path, errno)),
    }
}

/// SQLite's journal of changes lies beside the name by which the file was opened. Who comes by another name in another directory, or
/// by a name of its own in this one, sees neither the changes nor the locks: the same lease would be given out twice.
fn refuse_other_names(path: &Path) -> Result<()> {
    let fail = |errno| Error::host("look at the database", path, errno);
    let links = match Native.stat(path) {
        Ok(stat) => stat.links,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(fail(errno)),
    };
    let problem = if links > 1 {
        format!("has {links} names (hard links). Make the others symbolic links")
    } else if is_mount_point(path).map_err(fail)? {
        "is mounted as a single file, and has another name elsewhere. Mount its directory".to_owned()
    } else {
        return Ok(());
    };
    let risk = "who opens the database by another name would be given leases that are held";
    Err(Error::unsupported(path, format!("{problem}: {risk}")))
}

fn open_database(path: &Path, address: &str, turns: &Turns, until: Moment) -> Result<Opened> {
    let turn = match turns.next(address, until) {
        // Who may only read changes nothing.
        Err(error) if error.is_permission() => Err(error),
        turn => Ok(turn?),
    };
    let open = || -> std::result::Result<Connection, Problem> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        patience(&connection, until)?;
        if let Found::ToMigrate { from } = schema::look(&connection, path)? {
            if let Err(error) = turn {
                return Err(Problem::Ours(error));
            }
            connection.pragma_update(None, "journal_mode", "wal")?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            schema::migrate(&transaction, from)?;
            transaction.commit()?;
        }
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        }
        connection.pragma_update(None, "synchronous", "full")?;
        Ok(connection)
    };
    let connection = open().map_err(|problem| match problem {
        Problem::Sqlite(error) => schema::explain(path, address, &error),
        Problem::Ours(error) => error,
    })?;
    let id = Native.stat(path).map_err(|errno| Error::host("look at the database", path, errno))?.id;
    Ok(Opened { connection, id })
}
