//! The guard of a held lock, and how it is released.
//!
//! 1. `flock(LOCK_UN)`: the lock is free, also for children that inherited the descriptor.
//! 2. If others may share the descriptor: open the file and close it again. Our close would not be the last
//!    one, so it would emit no event, and the waiters would sleep until their backstop.
//! 3. Close, which wakes the waiters. 4. Take down the watch that this holder's own wait left. 5. Let the next thread of this process pass.
//!
//! In a forked child all of this is left out but the close of the child's own copy: an unlock there would
//! free the parent's lock.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Lock;
use super::flock::Place;
use super::open::is_current;
use crate::error::{Error, Result};
use crate::host::{Host, Native, Open};

/// A lock that is held until this guard is released or dropped.
///
/// Dropping releases too, but has no way to report a failure; [`Held::release`] has. A process that ends,
/// however it ends, releases.
///
/// **After `fork`** the child's copy of the guard holds nothing: dropping or releasing it there closes the
/// child's copy of the descriptor and leaves the parent's lock alone. The kernel keeps the lock until the
/// parent releases it, or until every process that inherited the descriptor has closed it. Descriptors are
/// close-on-exec, so a program that is started does not inherit the lock unless it is asked to.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct Held<H: Host = Native> {
    lock: Lock<H>,
    /// `None` once released.
    file: Option<H::File>,
    /// Left over from a wait: its watch is taken down after the lock is released.
    _waiter: Option<H::Waiter>,
    place: Place<H>,
    process: u64,
    forks: u64,
    lent: AtomicBool,
}

impl<H: Host> Held<H> {
    /// `forks` is the count from before the file was opened: whoever forked since shares the descriptor.
    pub(super) fn new(
        lock: &Lock<H>,
        file: H::File,
        place: Place<H>,
        forks: u64,
        waiter: Option<H::Waiter>,
    ) -> Held<H> {
        let process = lock.host.process_mark();
        let lent = AtomicBool::new(false);
        Held { lock: lock.clone(), file: Some(file), _waiter: waiter, place, process, forks, lent }
    }

    /// The path of the lock file.
    pub fn path(&self) -> &Path {
        &self.lock.path
    }

    /// Releases the lock and wakes those who wait for it.
    ///
    /// # Errors
    ///
    /// [`Error::is_io`] if the kernel refuses the unlock; the descriptor is closed all the same, which
    /// releases the lock unless a child shares it.
    pub fn release(mut self) -> Result<()> {
        self.let_go()
    }

    /// Whether the path still names the file that is locked, that is, whether the lock still excludes
    /// newcomers: someone may have deleted or replaced the lock file.
    ///
    /// # Errors
    ///
    /// [`Error::is_permission`] or [`Error::is_io`] if the path can't be looked at.
    pub fn is_current(&self) -> Result<bool> {
        is_current(&self.lock, self.place.file)
    }

    /// Whether this is the process that acquired the lock, and not a child that it forked.
    pub(crate) fn is_mine(&self) -> bool {
        self.lock.host.process_mark() == self.process
    }

    fn let_go(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        if !self.is_mine() {
            return Ok(());
        }
        let host = &self.lock.host;
        let unlocked = host.unlock(&file);
        if self.lent.load(Ordering::Relaxed) || host.forks() != self.forks {
            // Best effort: a waiter that this does not wake is woken by its backstop.
            drop(host.open(&self.lock.path, Open::Read));
        }
        drop(file);
        unlocked.map_err(|errno| Error::host("unlock the file", &self.lock.path, errno))
    }
}

impl AsFd for Held<Native> {
    /// The locked descriptor, for handing it to a child process: the lock then lasts until this guard is
    /// released, or, if this process dies first, until the child has closed its copy.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lent.store(true, Ordering::Relaxed);
        self.file.as_ref().expect("the descriptor is there until the guard is gone").as_fd()
    }
}

impl<H: Host> Drop for Held<H> {
    fn drop(&mut self) {
        // Drop is the best effort; `release` is the call that reports. The close that follows a failed
        // unlock releases the lock in any case but one, a child that shares the descriptor.
        let _reported_by_release_only = self.let_go();
    }
}

impl<H: Host> fmt::Debug for Held<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("path", &self.lock.path).finish_non_exhaustive()
    }
}
