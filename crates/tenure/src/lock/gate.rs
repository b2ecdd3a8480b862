//! The guard of a lock file of the lockfile kind: `<lock>.guard` beside it, an `flock` file that is never deleted.
//!
//! Whoever replaces, renews or removes a lock file holds its guard, so that none of these can come between another's look
//! and its act. Whoever creates the lock file need not: link(2) makes it or fails. The descriptor is kept open while
//! the lock is held: a release needs no new one, so that a process out of descriptors can't lock itself out (L5).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Lock;
use super::open::{Opened, open};
use super::waiting::Waiting;
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Mode, Open};
use crate::wait::{Patience, Wait};

/// How long a release or renewal waits for the guard, which others hold for a few system calls.
const PATIENCE: Duration = Duration::from_secs(30);

/// The guard of the lock file at `path`.
pub(super) fn gate_path(path: &Path) -> PathBuf {
    crate::target::beside(path, ".guard")
}

/// The guard while it is held: given free also if a step panics, as a caller's hook may.
struct Locked<'a, H: Host> {
    host: &'a H,
    gate: &'a mut Gate<H>,
}

impl<H: Host> Drop for Locked<'_, H> {
    fn drop(&mut self) {
        let unlocked = self.host.unlock(&self.gate.file);
        // An unlock wakes nobody; the close of any descriptor does. Best effort: the backstop of those who wait is left.
        let nudge = self.host.open(&self.gate.path, Open::Read);
        if let (Err(_), Ok(file)) = (unlocked, nudge) {
            // What was done stays done, so no failure is reported: a lock just taken would be held by nobody who knows.
            // The close of the old descriptor gives the guard free.
            self.gate.file = file;
        }
    }
}

pub(super) struct Gate<H: Host> {
    path: PathBuf,
    file: H::File,
    id: FileId,
}

impl<H: Host> Gate<H> {
    /// Opens the guard, or creates it; then it shows whether this file system has `flock`, without which nothing here
    /// would be safe.
    pub(super) fn open(lock: &Lock<H>) -> Result<Gate<H>> {
        let (host, path) = (&lock.host, gate_path(&lock.path));
        let Opened { file, created } = open(host, &path, lock.creation)?;
        if created {
            match host.try_flock(&file, Mode::Exclusive) {
                Err(errno @ (Errno::NOLCK | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL)) => {
                    // Nobody can be using a guard that can't be locked.
                    let _left_behind = host.unlink(&path);
                    let problem = format!(
                        "a lock of the lockfile kind needs a file system with flock(2) for its guard, which this one \
                         lacks ({errno}); put the lock file on another"
                    );
                    return Err(Error::unsupported(&lock.path, problem));
                }
                // The lock's own use will report anything else.
                Ok(true) => {
                    host.unlock(&file).map_err(|errno| Error::host("unlock the guard", &path, errno))?
                }
                Ok(false) | Err(_) => {}
            }
        }
        let id = host.id(&file).map_err(|errno| Error::host("look at the guard", &path, errno))?;
        Ok(Gate { path, file, id })
    }

    /// Which file the guard is: it names the queue of this process's threads.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Takes the guard while `step` runs. `waiting` bounds the wait.
    pub(super) fn within<R>(
        &mut self,
        lock: &Lock<H>,
        waiting: &mut Waiting<'_, H>,
        step: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        while !waiting.flock(&mut self.file, self.id)? {
            waiting.restart()?;
            *self = Gate::open(lock)?;
        }
        let locked = Locked { host: &lock.host, gate: self };
        let done = step();
        drop(locked);
        done
    }

    /// [`Gate::within`] for those who hold the lock: they wait for the guard until `limit`, and at most for [`PATIENCE`].
    pub(super) fn within_bounds<R>(
        &mut self,
        lock: &Lock<H>,
        limit: Option<crate::Moment>,
        step: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let patience = lock.host.now() + PATIENCE;
        let until = limit.map_or(patience, |limit| limit.min(patience));
        let path = self.path.clone();
        let silent = lock.clone().reporting(None);
        let mut waiting = Waiting::new(&silent, &path, Mode::Exclusive, Patience::from(Wait::Until(until)));
        self.within(lock, &mut waiting, step)
    }
}
