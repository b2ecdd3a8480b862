//! One holder, or many readers, of a name that several processes agree on.
//!
//! [`Lock::flock`] is the kind that the kernel keeps: it is gone when its holder is gone, however that ended.
//! It excludes, and is excluded by, everything else that uses `flock(2)` on the same file: flock(1), Python's
//! `filelock.FileLock`, portalocker, cargo.
//!
//! ```
//! use std::time::Duration;
//! use tenure::{Lock, Wait};
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("deploy.lock");
//! let lock = Lock::flock(&path);
//! let held = lock.acquire(Wait::within(Duration::from_secs(5)))?;
//! // ... what only one process may do at a time ...
//! held.release()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Lock::lockfile`] is the kind that is held by a file's being there. It works across machines that share a file
//! system, and can outlive its process; its holder's death is not seen by the kernel but judged by the next comer:
//!
//! - *dead*: the record names this machine, this boot and this pid namespace, and that process is gone, or its number
//!   has another start time. Or it names an earlier boot of this machine, on a local file system.
//! - *expired*: it has a lifetime, which is over by the file server's clock, with a margin for coarse time stamps.
//! - *alive* or *unknown*: anything else; another machine, another container, a file that some other program
//!   wrote. Nobody takes the lock then, but by force ([`Lock::force_break`]).

mod flock;
mod gate;
mod guard;
mod handle;
mod hold;
mod keeper;
mod lockfile;
mod look;
mod open;
mod record;
mod stale;
mod waiting;
#[cfg(feature = "sqlite")]
pub(crate) use stale::judge_owner;
pub(crate) use stale::shares_processes;
pub(crate) use waiting::{jittered, pauses};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use guard::Held;
pub use handle::{Handle, NotAHandle};
pub use hold::{LossReason, Lost};
pub use stale::{State, Verdict};
pub(crate) use waiting::Waiting;

use crate::error::{Error, Result};
use crate::host::{Errno, Host, Mode, Native};
use crate::owner::Holders;
use crate::wait::{Patience, Wait};

/// Permission bits of a lock file that does not exist yet, before the umask: others may lock it, since a
/// lock needs no more than the right to read, but they may not write it.
const DEFAULT_MODE: u32 = 0o644;

/// A name that can be held. Cheap to make; nothing is opened before the first acquisition.
///
/// Threads of one process exclude each other as processes do, in the order in which they asked. The order
/// among processes is the kernel's and not promised. A thread that asks for what it already holds gets an
/// error ([`Error::is_already_held`]); a guard counts as its acquiring thread's, also after it moved.
///
/// A lock file of the flock kind is created if missing and **never deleted**: deleting it on release would let one process
/// hold the deleted file while another creates and locks a new one. Do not delete it while anyone may use it;
/// a waiter notices and starts again, but a holder cannot be told.
#[derive(Clone)]
pub struct Lock<H: Host = Native> {
    host: H,
    path: Arc<Path>,
    kind: Kind,
    creation: Creation,
    report: Option<Report>,
    on_loss: Option<Arc<LossFn>>,
}

/// What keeps the lock. Everyone who shares a lock chooses the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The kernel, by `flock(2)` on the file.
    Flock,
    /// The file itself, by being there.
    Lockfile { lifetime: Option<Duration> },
}

pub(crate) type LossFn = dyn Fn(&Lost) + Send + Sync;

/// Who may use a lock file that this process creates.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Creation {
    /// These bits, less the umask.
    Filtered(u32),
    /// Exactly these bits, whatever the umask.
    Exact(u32),
    /// Exactly these bits, and this owner and group if this process may set them.
    Like {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Nobody: a file that is not there is an error.
    Never,
}

pub(crate) type ReportFn = dyn Fn(&Contention) + Send + Sync;

/// Who is told of a wait, and after how long.
#[derive(Clone)]
pub(crate) struct Report {
    pub(crate) after: Duration,
    pub(crate) tell: Arc<ReportFn>,
}

/// A wait that goes on, as told to [`Lock::on_wait`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contention {
    /// The lock that is awaited.
    pub path: PathBuf,
    /// Who holds it.
    pub holders: Holders,
    /// How long this caller has been waiting.
    pub waited: Duration,
}

impl Lock {
    /// A lock on the file at `path` that lasts as long as its holder, kept by the kernel (`flock(2)`).
    ///
    /// The path may also be an existing directory or a file that this user may only read. A symbolic link is
    /// refused. On NFS the kernel turns the lock into a byte-range lock of the server.
    pub fn flock(path: impl Into<PathBuf>) -> Lock {
        Lock::flock_on(Native, path)
    }

    /// A lock that is held while a file exists at `path`, which names its owner (see the [module](self)).
    ///
    /// For file systems that several machines share, and for locks that outlive their process ([`Held::persist`]). Beside
    /// the file lies `PATH.guard`, which is created if missing, must never be deleted while anyone may use the lock, and
    /// needs a file system with `flock(2)`.
    pub fn lockfile(path: impl Into<PathBuf>) -> Lock {
        Lock::lockfile_on(Native, path)
    }
}

impl<H: Host> Lock<H> {
    /// [`Lock::flock`] on another host.
    pub fn flock_on(host: H, path: impl Into<PathBuf>) -> Lock<H> {
        let creation = Creation::Filtered(DEFAULT_MODE);
        Lock { host, path: path.into().into(), kind: Kind::Flock, creation, report: None, on_loss: None }
    }

    /// [`Lock::lockfile`] on another host.
    pub fn lockfile_on(host: H, path: impl Into<PathBuf>) -> Lock<H> {
        Lock { kind: Kind::Lockfile { lifetime: None }, ..Lock::flock_on(host, path) }
    }

    /// Limits how long a lock of the lockfile kind is held without being renewed (default: `None`, no limit; at least
    /// 100 ms). A thread of the holder's process renews it after each third of that time. When it is over, by the file
    /// server's clock, the next comer takes the lock, even from a holder that lives: see [`Held::is_held`].
    ///
    /// This is for holders on other machines, whose death can't be seen from here; give it the longest time that the
    /// others can bear to wait for a machine that will not come back.
    ///
    /// # Panics
    ///
    /// On a lock of the flock kind, which the kernel keeps for as long as its holder lives.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Option<Duration>) -> Lock<H> {
        assert!(self.kind != Kind::Flock, "a lock of the flock kind has no lifetime");
        self.kind = Kind::Lockfile { lifetime };
        self
    }

    /// Calls `tell` when a lock of the lockfile kind is lost while it is held, from whichever thread finds out. It must
    /// not wait, nor release the lock.
    #[must_use]
    pub fn on_loss(mut self, tell: impl Fn(&Lost) + Send + Sync + 'static) -> Lock<H> {
        self.on_loss = Some(Arc::new(tell));
        self
    }

    /// Sets the exact permission bits of a lock file that has to be created (default: `0o644` less the umask).
    ///
    /// Whoever may read the lock file may hold the lock.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Lock<H> {
        self.creation = Creation::Exact(mode);
        self
    }

    pub(crate) fn created_as(mut self, creation: Creation) -> Lock<H> {
        self.creation = creation;
        self
    }

    /// Calls `tell` once in each acquisition that has waited for `after`, so that nobody waits in silence.
    #[must_use]
    pub fn on_wait(mut self, after: Duration, tell: impl Fn(&Contention) + Send + Sync + 'static) -> Lock<H> {
        self.report = Some(Report { after, tell: Arc::new(tell) });
        self
    }

    pub(crate) fn reporting(mut self, report: Option<Report>) -> Lock<H> {
        self.report = report;
        self
    }

    /// The path of the lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Acquires the lock for this caller alone, waiting as long as `wait` allows.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`] with the holder when the time is over, [`Error::is_cancelled`],
    /// [`Error::is_already_held`], and what opening the lock file may say ([`Error::is_permission`],
    /// [`Error::is_cannot_create`], [`Error::is_io`]).
    pub fn acquire(&self, wait: impl Into<Patience>) -> Result<Held<H>> {
        self.name_holders(Mode::Exclusive, self.take(Mode::Exclusive, wait.into()))
    }

    /// Acquires the lock together with other shared holders.
    ///
    /// # Errors
    ///
    /// As for [`Lock::acquire`]; [`Error::is_unsupported`] for the lockfile kind, which has one holder.
    pub fn acquire_shared(&self, wait: impl Into<Patience>) -> Result<Held<H>> {
        self.name_holders(Mode::Shared, self.take(Mode::Shared, wait.into()))
    }

    /// Acquires the lock if it is free now; `None` if someone else holds it.
    ///
    /// # Errors
    ///
    /// As for [`Lock::acquire`], but never busy.
    pub fn try_acquire(&self) -> Result<Option<Held<H>>> {
        unless_busy(self.take(Mode::Exclusive, Wait::Never.into()))
    }

    /// Acquires the lock together with other shared holders if that is possible now.
    ///
    /// # Errors
    ///
    /// As for [`Lock::acquire`], but never busy.
    pub fn try_acquire_shared(&self) -> Result<Option<Held<H>>> {
        unless_busy(self.take(Mode::Shared, Wait::Never.into()))
    }

    /// A wait for this lock alone that is yet to begin, of the flock kind.
    pub(crate) fn waiting(&self, patience: Patience) -> Waiting<'_, H> {
        Waiting::new(self, &self.path, Mode::Exclusive, patience)
    }

    /// Goes on with a wait for a lock of the same path, which the caller began elsewhere.
    pub(crate) fn acquire_after(&self, waiting: Waiting<'_, H>) -> Result<Held<H>> {
        self.name_holders(Mode::Exclusive, flock::acquire(self, waiting))
    }

    /// The error of a wait that ended before there was anything to acquire.
    pub(crate) fn refused(&self, error: Error) -> Error {
        match error.is_busy() {
            true => Error::busy(&self.path, Mode::Exclusive, error.waited(), self.holders_or_unknown()),
            false => error,
        }
    }

    fn take(&self, mode: Mode, patience: Patience) -> Result<Held<H>> {
        match (self.kind, mode) {
            (Kind::Flock, mode) => flock::acquire(self, Waiting::new(self, &self.path, mode, patience)),
            (Kind::Lockfile { lifetime }, Mode::Exclusive) => lockfile::acquire(self, lifetime, patience),
            (Kind::Lockfile { .. }, Mode::Shared) => {
                let problem =
                    "a lock of the lockfile kind has one holder; shared holders need the flock kind";
                Err(Error::unsupported(&self.path, problem))
            }
        }
    }

    /// Takes a lock of the lockfile kind away from whoever holds it, and says from whom; `None` if nobody did.
    ///
    /// **This lets another in while the holder may be at work.** A holder with a lifetime hears of it at its next renewal,
    /// one without at its release. A stale lock need not be broken: the next comer takes it.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] for the flock kind (end its holder instead); [`Error::is_busy`] if the guard file can't
    /// be had for 30 s; [`Error::is_permission`], [`Error::is_io`].
    pub fn force_break(&self) -> Result<Option<Holders>> {
        if self.kind == Kind::Flock {
            let problem =
                "a lock of the flock kind can't be broken: the kernel keeps it until its holder ends";
            return Err(Error::unsupported(&self.path, problem));
        }
        if look::look(&self.host, &self.path)?.is_none() {
            return Ok(None);
        }
        gate::Gate::open(self)?.within_bounds(self, None, || {
            let broken = look::holders(&self.host, &self.path)?;
            if broken.list.is_empty() {
                // Released meanwhile. A newcomer's link needs no guard: by now the file may be one that nobody asked to
                // break. One that was seen here stays: whoever removes or replaces it needs the guard.
                return Ok(None);
            }
            match self.host.unlink(&self.path) {
                Err(Errno::NOENT) => Ok(None),
                Ok(()) => Ok(Some(broken)),
                Err(errno) => Err(Error::host("remove the lock file", &self.path, errno)),
            }
        })
    }

    /// Who holds the lock now, as far as this process may see; nobody is disturbed by asking.
    ///
    /// An empty list that is not partial means that no process on this machine, visible from here, holds it.
    /// Holders on other machines (NFS) or in pid namespaces outside this one are not seen.
    ///
    /// # Errors
    ///
    /// [`Error::is_permission`] or [`Error::is_io`] if the path or /proc can't be read. A lock file that does
    /// not exist is held by nobody.
    pub fn holder(&self) -> Result<Holders> {
        if self.kind != Kind::Flock {
            return look::holders(&self.host, &self.path);
        }
        match self.host.flock_holders(&self.path) {
            Err(Errno::NOENT) => Ok(Holders::default()),
            found => found.map_err(|errno| Error::host("look for the holder", &self.path, errno)),
        }
    }

    /// The holders, for a message; what can't be found out (no descriptors left, say) is said to be unknown.
    fn holders_or_unknown(&self) -> Holders {
        self.holder().unwrap_or(Holders { list: Vec::new(), partial: true })
    }

    /// Adds the holders to a refusal. A mere attempt leaves this out: it costs a walk through /proc.
    fn name_holders(&self, mode: Mode, outcome: Result<Held<H>>) -> Result<Held<H>> {
        outcome.map_err(|error| match error.is_busy() {
            true => Error::busy(&self.path, mode, error.waited(), self.holders_or_unknown()),
            false => error,
        })
    }
}

fn unless_busy<H: Host>(outcome: Result<Held<H>>) -> Result<Option<Held<H>>> {
    match outcome {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.is_busy() => Ok(None),
        Err(error) => Err(error),
    }
}

impl<H: Host> fmt::Debug for Lock<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("path", &self.path)
            .field("creation", &self.creation)
            .finish_non_exhaustive()
    }
}
