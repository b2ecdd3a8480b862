//! The guard of a held lock, of either kind.
//!
//! The flock kind is released so: 1. `flock(LOCK_UN)`: the lock is free, also for children that inherited the
//! descriptor. 2. If others may share the descriptor: open the file and close it again. Our close would not be the last
//! one, so it would emit no event, and the waiters would sleep until their backstop. 3. Close, which wakes the
//! waiters. 4. Take down the watch that this holder's own wait left. 5. Let the next thread of this process pass.
//!
//! In a forked child all of this is left out but the close of the child's own copy: an unlock there would
//! free the parent's lock. The lockfile kind is released as [`super::hold`] says, and in a forked child not at all.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handle::Handle;
use super::hold::{Hold, LossReason, Lost};
use super::open::is_current;
use super::waiting::Place;
use super::{Lock, LossFn};
use crate::error::{Error, Result};
use crate::host::{self, FileId, Host, Native, Open};
use crate::wait::Moment;

/// A lock that is held until this guard is released or dropped.
///
/// Dropping releases too, but has no way to report a failure; [`Held::release`] has. The flock kind is released by the
/// end of its process, however that ends; the lockfile kind is then taken by the next comer who sees that its owner is
/// dead.
///
/// **After `fork`** the child's copy of the guard holds nothing: dropping or releasing it there closes the
/// child's copy of the descriptor and leaves the parent's lock alone. The kernel keeps an flock until the
/// parent releases it, or until every process that inherited the descriptor has closed it. Descriptors are
/// close-on-exec, so a program that is started does not inherit the lock unless it is asked to.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct Held<H: Host = Native> {
    lock: Lock<H>,
    kind: Kind<H>,
    /// Declared last, dropped last: the next thread of this process comes when all is done.
    place: Place<H>,
    process: u64,
}

enum Kind<H: Host> {
    Flock(Flocked<H>),
    Lockfile(Arc<Hold<H>>),
}

/// A descriptor that carries an `flock`.
pub(super) struct Flocked<H: Host> {
    /// `None` once released.
    file: Option<H::File>,
    /// Left over from a wait: its watch is taken down after the lock is released.
    _waiter: Option<H::Waiter>,
    forks: u64,
    lent: AtomicBool,
}

impl<H: Host> Flocked<H> {
    /// `forks` is the count from before the file was opened: whoever forked since shares the descriptor.
    pub(super) fn hold(
        lock: &Lock<H>,
        file: H::File,
        place: Place<H>,
        forks: u64,
        waiter: Option<H::Waiter>,
    ) -> Held<H> {
        let flocked = Flocked { file: Some(file), _waiter: waiter, forks, lent: AtomicBool::new(false) };
        Held { lock: lock.clone(), kind: Kind::Flock(flocked), place, process: lock.host.process_mark() }
    }

    fn release(&mut self, lock: &Lock<H>) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let unlocked = lock.host.unlock(&file);
        if self.lent.load(Ordering::Relaxed) || lock.host.forks() != self.forks {
            // Best effort: a waiter that this does not wake is woken by its backstop.
            drop(lock.host.open(&lock.path, Open::Read));
        }
        drop(file);
        unlocked.map_err(|errno| Error::host("unlock the file", &lock.path, errno))
    }
}

impl<H: Host> Held<H> {
    pub(super) fn of_lockfile(lock: &Lock<H>, hold: Arc<Hold<H>>, place: Place<H>) -> Held<H> {
        Held { lock: lock.clone(), kind: Kind::Lockfile(hold), place, process: lock.host.process_mark() }
    }

    /// The path of the lock file.
    pub fn path(&self) -> &Path {
        &self.lock.path
    }

    /// Releases the lock and wakes those who wait for it.
    ///
    /// # Errors
    ///
    /// As for [`Held::try_release`]; whatever is then still held is released by the end of this process.
    pub fn release(mut self) -> Result<()> {
        self.try_release()
    }

    /// [`Held::release`] that leaves the guard, to try again.
    ///
    /// # Errors
    ///
    /// [`Error::is_io`] if the kernel refuses; for the flock kind the descriptor is closed all the same, which
    /// releases the lock unless a child shares it. For the lockfile kind [`Error::is_lost`] if the lock was lost
    /// before, and [`Error::is_busy`] if its guard file can't be had for 30 s.
    pub fn try_release(&mut self) -> Result<()> {
        if !self.is_mine() {
            return Ok(());
        }
        match &mut self.kind {
            Kind::Flock(flocked) => flocked.release(&self.lock),
            Kind::Lockfile(hold) => hold.release(),
        }
    }

    /// Whether the lock is held as far as this process can know without asking anyone: it is the one that acquired it, and
    /// knows of no loss. Once `false`, it stays so.
    ///
    /// A lock with a lifetime is not held any more from the moment its deadline passes, whether or not anybody has taken
    /// it: a process that was stopped, or a machine that was asleep, hears so from its first question. But no question
    /// can stop what happens after the answer: what must not be done twice wants a lock without a lifetime.
    pub fn is_held(&self) -> bool {
        self.is_mine()
            && match &self.kind {
                Kind::Flock(flocked) => flocked.file.is_some(),
                Kind::Lockfile(hold) => hold.is_held(),
            }
    }

    /// Until when the lock is held without being renewed; `None` without a lifetime, and once it is given up or lost.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.kind {
            Kind::Lockfile(hold) if self.is_mine() => hold.deadline(),
            _ => None,
        }
    }

    /// Why the lock was lost, if it was (lockfile kind only).
    pub fn lost(&self) -> Option<Lost> {
        let reason: LossReason = match &self.kind {
            Kind::Lockfile(hold) if self.is_mine() => hold.lost()?,
            _ => return None,
        };
        Some(Lost { path: self.lock.path.to_path_buf(), reason })
    }

    /// Begins the lock's lifetime anew. A lock with a lifetime does so by itself, from a thread of its own, after each
    /// third of it; without a lifetime this finds out whether the lock file is still there.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`], or what the file system says; a lifetime that is not over goes on.
    pub fn renew(&self) -> Result<()> {
        match &self.kind {
            Kind::Flock(_) => {
                Err(Error::unsupported(&self.lock.path, "a lock of the flock kind has no lifetime"))
            }
            Kind::Lockfile(_) if !self.is_mine() => Err(self.not_mine()),
            Kind::Lockfile(hold) => hold.renew(),
        }
    }

    /// Gives the lock to a handle: it then belongs to no process, survives this one and a reboot, and is held until the
    /// handle is released, its lifetime is over, or someone breaks it. The guard then holds nothing.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`], or what the file system says: then the guard still holds the lock. [`Error::is_unsupported`]
    /// for the flock kind, which ends with its process.
    pub fn persist(&mut self) -> Result<Handle> {
        match &self.kind {
            Kind::Flock(_) => {
                let problem = "a lock of the flock kind ends with its process; take the lockfile kind";
                Err(Error::unsupported(&self.lock.path, problem))
            }
            Kind::Lockfile(_) if !self.is_mine() => Err(self.not_mine()),
            Kind::Lockfile(hold) => hold.persist(),
        }
    }

    fn not_mine(&self) -> Error {
        Error::unsupported(&self.lock.path, "this is a forked child, and the lock is its parent's")
    }

    /// The file that is locked; `None` if a lock file of the lockfile kind is not known to be there.
    pub(crate) fn file(&self) -> Option<FileId> {
        match &self.kind {
            Kind::Flock(_) => Some(self.place.file),
            Kind::Lockfile(hold) => hold.file(),
        }
    }

    /// Whether the path still names the file that is locked, that is, whether the lock still excludes
    /// newcomers: someone may have deleted or replaced the lock file.
    ///
    /// # Errors
    ///
    /// [`Error::is_permission`] or [`Error::is_io`] if the path can't be looked at.
    pub fn is_current(&self) -> Result<bool> {
        match self.file() {
            Some(file) => is_current(&self.lock.host, &self.lock.path, file),
            None => Ok(false),
        }
    }

    /// Whether this is the process that acquired the lock, and not a child that it forked.
    pub(crate) fn is_mine(&self) -> bool {
        self.lock.host.process_mark() == self.process
    }
}

impl Held<Native> {
    /// A descriptor that becomes readable when the lock is lost, for poll(2) and event loops (lockfile kind only).
    ///
    /// # Errors
    ///
    /// [`Error::is_io`] if the system has no descriptor left; [`Error::is_unsupported`] for the flock kind, which is not
    /// lost while its process lives.
    pub fn loss_descriptor(&self) -> Result<OwnedFd> {
        let Kind::Lockfile(hold) = &self.kind else {
            return Err(Error::unsupported(&self.lock.path, "a lock of the flock kind is not lost"));
        };
        let fail = |errno| Error::host("make a descriptor that tells of a loss", &self.lock.path, errno);
        let (ours, theirs) = host::bell().map_err(fail)?;
        let ring: Arc<LossFn> = Arc::new(move |_| host::ring(&ours));
        hold.on_loss(&ring);
        Ok(theirs)
    }
}

impl AsFd for Held<Native> {
    /// The locked descriptor, for handing it to a child process: an flock then lasts until this guard is
    /// released, or, if this process dies first, until the child has closed its copy.
    ///
    /// # Panics
    ///
    /// For the lockfile kind, which lives in its file and not in a descriptor.
    fn as_fd(&self) -> BorrowedFd<'_> {
        let Kind::Flock(flocked) = &self.kind else {
            panic!("a lock of the lockfile kind has no descriptor to hand on");
        };
        flocked.lent.store(true, Ordering::Relaxed);
        flocked.file.as_ref().expect("the descriptor is there until the guard is gone").as_fd()
    }
}

impl<H: Host> Drop for Held<H> {
    fn drop(&mut self) {
        // Drop is the best effort; `release` is the call that reports. The close that follows a failed unlock releases
        // an flock in any case but one, a child that shares the descriptor; a lock file is taken once we are dead.
        let _reported_by_release_only = self.try_release();
    }
}

impl<H: Host> fmt::Debug for Held<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("path", &self.lock.path).finish_non_exhaustive()
    }
}
