//! A held lock of the lockfile kind: how it is renewed, given up, and given away; and how its loss is noticed.
//!
//! Each of these takes the guard, looks whether the lock file still is the very file of this owner (the inode that it
//! keeps open, so its number can't be another's), and only then acts: touch to renew, unlink to release, rename to give
//! the lock to a handle. None of them is done once the owner's own deadline has passed: it counts from before the touch
//! that began the lifetime, on a clock that runs through suspension, and so ends before any other's patience does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::gate::Gate;
use super::handle::Handle;
use super::lockfile::Claim;
use super::open::is_current;
use super::record::Record;
use super::{Lock, LossFn};
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Open, directory_of};
use crate::wait::Moment;

/// How often a record is written anew because somebody removes it before it can be put in place.
const SWEPT_MAX: usize = 16;

/// Why a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// Its lifetime ended before it was renewed: another may hold it by now.
    Expired,
    /// Another owner's record stands in the lock file.
    Taken,
    /// The lock file is gone: it was broken, or deleted by hand.
    Gone,
}

/// A lock that its holder no longer holds, as told to [`Lock::on_loss`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The lock file.
    pub path: PathBuf,
    /// Why.
    pub reason: LossReason,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossReason::Expired => "its lifetime ended before it was renewed, so another may hold it",
            LossReason::Taken => "another owner holds it",
            LossReason::Gone => "the lock file is gone: somebody broke or deleted it",
        })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: this lock was lost: {}", self.path.display(), self.reason)
    }
}

/// What the guard and the keeper thread share.
pub(super) struct Hold<H: Host> {
    pub(super) lock: Lock<H>,
    pub(super) lifetime: Option<Duration>,
    /// `None` once the lock is given up. Locked for a whole step.
    files: Mutex<Option<Files<H>>>,
    /// Locked for a moment only, never while the host is called.
    view: Mutex<View>,
}

struct Files<H: Host> {
    claim: Claim<H>,
    gate: Gate<H>,
}

/// What can be said without looking at the file.
struct View {
    deadline: Option<Moment>,
    lost: Option<LossReason>,
    over: bool,
    keeper: Option<Waker>,
    on_loss: Vec<Arc<LossFn>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in the middle leaves what the file system shows, which every step looks at anew.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<H: Host> Hold<H> {
    pub(super) fn new(lock: &Lock<H>, lifetime: Option<Duration>, claim: Claim<H>, gate: Gate<H>) -> Hold<H> {
        let deadline = lifetime.map(|lifetime| claim.began + lifetime);
        let on_loss = lock.on_loss.iter().cloned().collect();
        let view = View { deadline, lost: None, over: false, keeper: None, on_loss };
        let files = Mutex::new(Some(Files { claim, gate }));
        Hold { lock: lock.clone(), lifetime, files, view: Mutex::new(view) }
    }

    fn path(&self) -> &Path {
        &self.lock.path
    }

    /// Why the lock is lost, if it is; a deadline that has passed counts, whether anybody noticed or not.
    pub(super) fn lost(&self) -> Option<LossReason> {
        let (lost, deadline) = {
            let view = locked(&self.view);
            (view.lost, view.deadline.filter(|_| !view.over))
        };
        match deadline {
            _ if lost.is_some() => lost,
            Some(deadline) if self.lock.host.now() >= deadline => {
                self.lose(LossReason::Expired);
                Some(LossReason::Expired)
            }
            _ => None,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.lost().is_none() && !locked(&self.view).over
    }

    /// Records the loss and tells everyone, once.
    fn lose(&self, reason: LossReason) {
        let tell = {
            let mut view = locked(&self.view);
            if view.lost.is_some() || view.over {
                return;
            }
            view.lost = Some(reason);
            std::mem::take(&mut view.on_loss)
        };
        let lost = Lost { path: self.path().to_owned(), reason };
        tell.iter().for_each(|tell| tell(&lost));
    }

    /// Calls `tell` at the loss; at once if that has happened.
    pub(super) fn on_loss(&self, tell: &Arc<LossFn>) {
        let lost = {
            let mut view = locked(&self.view);
            if view.lost.is_none() {
                view.on_loss.push(tell.clone());
            }
            view.lost
        };
        if let Some(reason) = lost {
            tell(&Lost { path: self.path().to_owned(), reason });
        }
    }

    fn ensure_held(&self) -> Result<()> {
        self.lost().map_or(Ok(()), |reason| Err(Error::lost(self.path(), reason)))
    }

    /// Begins the lifetime anew.
    pub(super) fn renew(&self) -> Result<()> {
        let mut files = locked(&self.files);
        let began = self.act(&mut files, |claim| {
            let began = self.lock.host.now();
            let touched = self.lock.host.touch(&claim.file);
            touched.map_err(|errno| Error::host("renew the lock", self.path(), errno))?;
            Ok(began)
        })?;
        locked(&self.view).deadline = self.lifetime.map(|lifetime| began + lifetime);
        Ok(())
    }

    /// Gives the lock up. If that fails for another reason than a loss, it is still held.
    pub(super) fn release(&self) -> Result<()> {
        let mut files = locked(&self.files);
        if files.is_none() {
            return Ok(());
        }
        let released = self.act(&mut files, |_| match self.lock.host.unlink(self.path()) {
            // Gone although it was there a moment ago, under the guard: NFS repeated a request whose reply was lost.
            Err(Errno::NOENT) => Ok(()),
            unlinked => unlinked.map_err(|errno| Error::host("remove the lock file", self.path(), errno)),
        });
        match released {
            Err(error) if !error.is_lost() => Err(error),
            released => {
                self.give_up(&mut files);
                released
            }
        }
    }

    /// Gives the lock to whoever has the handle: it then outlives this process.
    pub(super) fn persist(&self) -> Result<Handle> {
        let mut files = locked(&self.files);
        let fail = |errno| Error::host("give the lock to a handle", self.path(), errno);
        let directory = self.lock.host.open(&directory_of(self.path()), Open::Read).map_err(fail)?;
        let nonce = self.act(&mut files, |claim| {
            let here = self.lock.host.identity();
            let nonce = claim.nonce.clone();
            let record = Record {
                nonce: nonce.clone(),
                owner: None,
                host: here.host,
                lifetime: self.lifetime,
                command: self.lock.host.command(),
            };
            for _ in 0..SWEPT_MAX {
                let mut fresh = Claim::write(&self.lock, &record)?;
                fresh.ready(&self.lock)?;
                let Err(errno) = fresh.replace(&self.lock) else { return Ok(nonce) };
                // NFS: it was done, and only the reply was lost.
                if is_current(&self.lock.host, self.path(), fresh.id)? {
                    return Ok(nonce);
                }
                // A holder of former times, stopped until now, may have swept the file away.
                if errno != Errno::NOENT {
                    return Err(fail(errno));
                }
            }
            Err(fail(Errno::NOENT))
        })?;
        self.give_up(&mut files);
        // The lock is the handle's by now, whatever happens; the handle says whether that survives a power loss.
        let durable = self.lock.host.fsync(&directory).is_ok();
        Ok(Handle::new(self.path(), nonce, durable))
    }

    /// Runs `step` under the guard if the lock file still is this owner's and its deadline has not passed.
    fn act<R>(&self, files: &mut Option<Files<H>>, step: impl FnOnce(&Claim<H>) -> Result<R>) -> Result<R> {
        self.ensure_held()?;
        let Some(Files { claim, gate }) = files else {
            return Err(Error::lost(self.path(), LossReason::Gone));
        };
        let limit = locked(&self.view).deadline;
        let done = gate.within_bounds(&self.lock, limit, || {
            // The wait for the guard may have outlasted the lifetime.
            self.ensure_held()?;
            let reason = match self.lock.host.stat(self.path()) {
                Ok(stat) if stat.id == claim.id => return step(claim),
                Ok(_) => LossReason::Taken,
                Err(Errno::NOENT) => LossReason::Gone,
                Err(errno) => return Err(Error::host("look at the lock file", self.path(), errno)),
            };
            self.lose(reason);
            Err(Error::lost(self.path(), reason))
        });
        match done {
            Err(error) if error.is_busy() => self.ensure_held().and(Err(error)),
            done => done,
        }
    }

    fn give_up(&self, files: &mut Option<Files<H>>) {
        *files = None;
        let keeper = {
            let mut view = locked(&self.view);
            view.over = true;
            view.keeper.take()
        };
        if let Some(keeper) = keeper {
            keeper.wake();
        }
    }

    /// `keeper` is woken when the lock is given up.
    pub(super) fn kept_by(&self, keeper: Waker) {
        locked(&self.view).keeper = Some(keeper);
    }

    /// Which file the lock is.
    pub(super) fn file(&self) -> Option<FileId> {
        locked(&self.files).as_ref().map(|files| files.claim.id)
    }

    /// When the lifetime runs out, while the lock is held.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let view = locked(&self.view);
        view.deadline.filter(|_| !view.over && view.lost.is_none())
    }
}
