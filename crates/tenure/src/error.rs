//! One error type, which says what was tried, on which path, why it failed and what to do about it.
//!
//! Callers decide by predicate ([`Error::is_busy`], [`Error::is_corrupt`], ...); the reasons behind them may
//! grow without breaking anyone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{Errno, Mode};
use crate::lease;
use crate::lock::{LossReason, State};
use crate::owner::{Age, Holders};

/// What the operations of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// Any error that an updater or a caller's own function may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An operation that failed. Unless its text says otherwise, nothing was changed.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    path: PathBuf,
    message: String,
    holders: Option<Holders>,
    lease: Option<lease::Entry>,
    waited: Duration,
    source: Option<BoxError>,
}

/// Why an operation failed; each kind is one predicate and one exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Busy,
    Cancelled,
    AlreadyHeld,
    Missing,
    Corrupt,
    Rejected,
    Conflict,
    Fenced,
    Lost,
    Permission,
    CannotCreate,
    Unreachable,
    Unsupported,
    Io,
}

impl Error {
    fn new(kind: Kind, path: &Path, message: String) -> Error {
        let path = path.to_owned();
        Error(Box::new(Inner {
            kind,
            path,
            message,
            holders: None,
            lease: None,
            waited: Duration::ZERO,
            source: None,
        }))
    }

    fn with_source(mut self, source: impl Into<BoxError>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, for another caller who waited for the same thing. Its source is left out unless it is an errno.
    pub(crate) fn again(&self) -> Error {
        let Inner { kind, path, message, holders, lease, waited, source } = &*self.0;
        let errno = source.as_ref().and_then(|source| source.downcast_ref::<Errno>());
        let source = errno.map(|errno| BoxError::from(*errno));
        let (path, message) = (path.clone(), message.clone());
        let (holders, lease) = (holders.clone(), lease.clone());
        Error(Box::new(Inner { kind: *kind, path, message, holders, lease, waited: *waited, source }))
    }

    pub(crate) fn busy(path: &Path, mode: Mode, waited: Duration, holders: Holders) -> Error {
        let what = match mode {
            Mode::Shared => "locked exclusively by",
            Mode::Exclusive => "locked by",
        };
        let after = if waited.is_zero() {
            "not waiting".to_owned()
        } else {
            format!("gave up after waiting {}", Age(waited))
        };
        let advice = match holders.list.iter().find_map(|holder| holder.verdict.as_ref()) {
            Some(verdict) if verdict.state == State::Unknown => {
                "Wait longer; or, if you know that this owner is gone or has stopped its work, break the lock"
            }
            _ => "Wait longer, or end the holder",
        };
        let message = format!("is {what} {holders}; {after}. {advice}");
        let mut error = Error::new(Kind::Busy, path, message);
        error.0.holders = Some(holders);
        error.0.waited = waited;
        error
    }

    /// A watch whose time is over.
    pub(crate) fn unchanged(path: &Path, waited: Duration) -> Error {
        let mut error = Error::new(Kind::Busy, path, format!("did not change in {}", Age(waited)));
        error.0.waited = waited;
        error
    }

    /// This failure came when these documents were changed already.
    pub(crate) fn after(mut self, done: &[String]) -> Error {
        if !done.is_empty() {
            self.0.message.push_str(&format!(". Changed before this one, and so left: {}", done.join(", ")));
        }
        self
    }

    pub(crate) fn lease_busy(target: &Path, waited: Duration, entry: &lease::Entry) -> Error {
        let after = match waited {
            Duration::ZERO => "not waiting".to_owned(),
            waited => format!("gave up after waiting {}", Age(waited)),
        };
        let advice = "Wait longer, or end the holder; `break` releases a lease by force";
        let mut error = Error::new(Kind::Busy, target, format!("is {entry}; {after}. {advice}"));
        error.0.lease = Some(entry.clone());
        error.0.waited = waited;
        error
    }

    pub(crate) fn lease_lost(target: &Path, lost: &lease::Lost) -> Error {
        let message = format!("this lease (token {}) was lost: {}", lost.token, lost.reason);
        Error::new(Kind::Lost, target, message)
    }

    /// A name or a time that no lease can have.
    pub(crate) fn refused_lease(target: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Rejected, target, problem.to_string())
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn denied(path: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Permission, path, problem.to_string())
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn uncreatable(path: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::CannotCreate, path, problem.to_string())
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn failed(path: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Io, path, problem.to_string())
    }

    /// A lease store that does not answer, or not in time; for who brings a [`Store`](lease::store::Store). `address` shows no
    /// password.
    pub fn unreachable(address: &str, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Unreachable, Path::new(address), problem.to_string())
    }

    /// A lease store whose tables are not ours.
    #[cfg(feature = "postgres")]
    pub(crate) fn foreign(address: &Path, problem: String) -> Error {
        Error::new(Kind::Corrupt, address, problem)
    }

    pub(crate) fn cancelled(path: &Path, waited: Duration) -> Error {
        let message = format!("the wait was cancelled after {}", Age(waited));
        let mut error = Error::new(Kind::Cancelled, path, message);
        error.0.waited = waited;
        error
    }

    pub(crate) fn already_held(path: &Path) -> Error {
        let message = "this thread already holds, or awaits, this lock and would wait for itself; \
                       release the first guard, or pass it on instead of locking again";
        Error::new(Kind::AlreadyHeld, path, message.to_owned())
    }

    pub(crate) fn lost(path: &Path, reason: LossReason) -> Error {
        Error::new(Kind::Lost, path, format!("this lock was lost: {reason}"))
    }

    pub(crate) fn missing(path: &Path) -> Error {
        let message = "no such file; nothing creates it but an update or a replace";
        Error::new(Kind::Missing, path, message.to_owned())
    }

    pub(crate) fn missing_journal(path: &Path) -> Error {
        Error::new(Kind::Missing, path, "no such file; nothing creates it but an append".to_owned())
    }

    pub(crate) fn missing_version(path: &Path) -> Error {
        let message = "no earlier version was kept beside it, so there is nothing to go back to";
        Error::new(Kind::Missing, path, message.to_owned())
    }

    pub(crate) fn corrupt(path: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Corrupt, path, format!("{problem}\n  The file was left as it is"))
    }

    /// An updater that failed or asked for what can't be written.
    pub(crate) fn rejected(path: &Path, problem: impl fmt::Display, source: Option<BoxError>) -> Error {
        let error = Error::new(Kind::Rejected, path, format!("{problem}. The file was left as it is"));
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    pub(crate) fn conflict(path: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Conflict, path, problem.to_string())
    }

    /// What an SQL driver said.
    pub(crate) fn driver(path: &Path, operation: &str, error: BoxError) -> Error {
        Error::new(Kind::Io, path, format!("cannot {operation}: {error}")).with_source(error)
    }

    pub(crate) fn fenced(path: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Fenced, path, problem.to_string())
    }

    pub(crate) fn link_loop(path: &Path) -> Error {
        let message = "is a symbolic link that leads back to itself; name the file that is meant";
        Error::new(Kind::CannotCreate, path, message.to_owned()).with_source(Errno::LOOP)
    }

    pub(crate) fn unsupported(path: &Path, problem: impl fmt::Display) -> Error {
        Error::new(Kind::Unsupported, path, problem.to_string())
    }

    pub(crate) fn io(path: &Path, problem: impl fmt::Display, errno: Errno) -> Error {
        Error::new(Kind::Io, path, format!("{problem}: {}", sentence(errno))).with_source(errno)
    }

    /// A host call on `path` that failed while trying to `operation`.
    pub(crate) fn host(operation: &str, path: &Path, errno: Errno) -> Error {
        let (kind, advice) = match errno {
            Errno::ACCESS | Errno::PERM => {
                (Kind::Permission, "check owner and mode of the file and its directory")
            }
            Errno::ROFS => (Kind::Permission, "the file system is mounted read-only"),
            Errno::NOENT => (Kind::CannotCreate, "its directory does not exist; create that first"),
            Errno::NOTDIR => (Kind::CannotCreate, "a part of the path is not a directory"),
            Errno::NAMETOOLONG => (Kind::CannotCreate, "the name is too long for this file system"),
            Errno::LOOP => (
                Kind::CannotCreate,
                "it is a symbolic link, which a lock does not follow; name the file itself",
            ),
            Errno::ISDIR => (Kind::CannotCreate, "it is a directory"),
            Errno::NOSPC | Errno::DQUOT => (Kind::Io, "free some space and try again"),
            Errno::FBIG => (Kind::Io, "a limit on file sizes is reached; see `ulimit -f`"),
            Errno::MFILE => {
                (Kind::Io, "this process has too many open files; raise `ulimit -n` or close some")
            }
            Errno::NFILE => (Kind::Io, "the system has too many open files"),
            Errno::BUSY => {
                (Kind::Io, "it is a mount point (a single-file bind mount?); mount its directory instead")
            }
            Errno::NOLCK | Errno::NOTSUP | Errno::NOSYS => {
                (Kind::Io, "this file system does not offer the call")
            }
            _ => (Kind::Io, "the device or file system failed"),
        };
        Error::new(kind, path, format!("cannot {operation}: {} ({advice})", sentence(errno)))
            .with_source(errno)
    }

    /// The path that the operation was about.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Who held the lock, where that is why the operation failed.
    pub fn holders(&self) -> Option<&Holders> {
        self.0.holders.as_ref()
    }

    /// Who held the lease, and until when, where that is why the operation failed.
    pub fn lease(&self) -> Option<&lease::Entry> {
        self.0.lease.as_ref()
    }

    /// How long the caller waited for a lock.
    pub fn waited(&self) -> Duration {
        self.0.waited
    }

    /// The lock is held by someone else, and the time the caller gave is over.
    pub fn is_busy(&self) -> bool {
        self.0.kind == Kind::Busy
    }

    /// Another thread ended the wait with [`Cancel`](crate::Cancel).
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == Kind::Cancelled
    }

    /// The calling thread holds the lock it asks for.
    pub fn is_already_held(&self) -> bool {
        self.0.kind == Kind::AlreadyHeld
    }

    /// The document does not exist, and neither an initial value nor null fits the type asked for; or there is no earlier
    /// version of it to go back to.
    pub fn is_missing(&self) -> bool {
        self.0.kind == Kind::Missing
    }

    /// The document's content is not what its format demands.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == Kind::Corrupt
    }

    /// The updater failed, or made a value that the document can't hold; or the name or time of a lease is one that no lease can
    /// have.
    pub fn is_rejected(&self) -> bool {
        self.0.kind == Kind::Rejected
    }

    /// The document is not, or not any longer, the version that the caller named.
    pub fn is_conflict(&self) -> bool {
        self.0.kind == Kind::Conflict
    }

    /// The database that keeps a lease did not answer, or not in time.
    pub fn is_unreachable(&self) -> bool {
        self.0.kind == Kind::Unreachable
    }

    /// The document has accepted a larger fencing token than the one that this change carries: a later holder of the lease
    /// has been there. To try again with the same token is in vain.
    pub fn is_fenced(&self) -> bool {
        self.0.kind == Kind::Fenced
    }

    /// The lock or lease was held and is not any longer, though it was not released: its lifetime ended, or it was broken.
    pub fn is_lost(&self) -> bool {
        self.0.kind == Kind::Lost
    }

    /// The operating system denies this user the access.
    pub fn is_permission(&self) -> bool {
        self.0.kind == Kind::Permission
    }

    /// The file, or the lock file beside it, can't be created or opened where the path points.
    pub fn is_cannot_create(&self) -> bool {
        self.0.kind == Kind::CannotCreate
    }

    /// Tenure does not do this to such a file (hard links, special files, a format of a later version).
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == Kind::Unsupported
    }

    /// The device, the file system or a limit of the system failed: disk full, I/O error, too many open files.
    pub fn is_io(&self) -> bool {
        self.0.kind == Kind::Io
    }
}

/// The system's text for an error number, without its "(os error N)".
fn sentence(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.path.display(), self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
