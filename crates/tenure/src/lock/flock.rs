//! The flock kind: how it is acquired.
//!
//! 1. `open` the file without following a symlink, or create it. `fstat` gives its device and inode, which name
//!    the queue of this process's threads. Join the queue, wait for the turn.
//! 2. `flock(LOCK_NB)`. If it succeeds, `lstat` the path: another inode means that someone replaced the file
//!    since 1, and the lock just taken protects nothing; start again.
//! 3. If it fails: watch this very inode, try the same descriptor again (a release between 2 and the watch would
//!    be missed), then sleep until an event, the backstop, the caller's deadline or a cancellation. On waking: 2 without
//!    opening anything, and before the event is read; without success, check that the path still names the inode.
//!
//! A waiter opens once and closes when it is done, because a close is the very event that waiters wait for:
//! waiters that reopen at each attempt wake each other for ever. Its descriptor also keeps the inode's number
//! from being given to another file while threads queue under that number.
//!
//! What emits no event is found by the backstop: an unlock without close (`flock -u`, or a holder whose child
//! shares the descriptor). And the close event precedes the kernel's release of the lock by a hair (`__fput`
//! notifies first), so an attempt after an event is followed by a few short retries.
//!
//! Not protected against: processes that do not lock; a lock file that is deleted or replaced while the lock is
//! held (the next comer locks the new file); NFS mounted with `local_lock=flock` or `nolock`.

use super::Lock;
use super::guard::{Flocked, Held};
use super::open::{Opened, open};
use super::waiting::Waiting;
use crate::error::{Error, Result};
use crate::host::Host;

pub(super) fn acquire<H: Host>(lock: &Lock<H>, mut waiting: Waiting<'_, H>) -> Result<Held<H>> {
    let forks = lock.host.forks();
    // Each further round means that someone replaced the lock file; the caller's patience bounds them.
    loop {
        let Opened { mut file, .. } = open(&lock.host, &lock.path, lock.creation)?;
        let id = lock.host.id(&file);
        let id = id.map_err(|errno| Error::host("look at the lock file", &lock.path, errno))?;
        let Some(place) = waiting.queue(id)? else {
            waiting.restart()?;
            continue;
        };
        if waiting.flock(&mut file, id)? {
            return Ok(Flocked::hold(lock, file, place, forks, waiting.into_waiter()));
        }
        drop((file, place));
        waiting.restart()?;
    }
}
