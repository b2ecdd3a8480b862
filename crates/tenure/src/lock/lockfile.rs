//! The lockfile kind: how it is acquired, and stolen from the dead.
//!
//! The lock file `L` exists while the lock is held, and names its owner ([`super::record`]). Beside it lies its guard
//! ([`super::gate`]). Acquisition:
//!
//! 1. Open the guard (create it if missing); join the queue of this process's threads.
//! 2. Read `L`. If there is none: write a finished record to a temporary file `T`, `fsync` it (a record half on the disk
//!    after a power cut would name nobody, for ever), and `link(T, L)`.
//!    - It succeeds: the lock is held. Unlink `T`, and sweep the temporary files of those who died.
//!    - `EEXIST`, or any error: read `L` again. If it carries the nonce of `T`, the link was made and only its reply was
//!      lost (L12). `ENOENT`: a holder swept `T`; write another.
//! 3. If there is an `L`: judge its owner ([`super::stale`]). Alive or unknown: wait for a change of `L` or the end of
//!    its owner, if that is a process here, and look at both again at least every 250 ms.
//! 4. Dead or expired: `flock` the guard; read `L` **again**; only if it still is, byte for byte, the record that was
//!    judged, and is judged the same again: `rename(T, L)`. Unlock the guard.
//!
//! [`super::hold`] renews, releases and persists under the same guard. So between the second look of 4 and its rename,
//! `L` can't be released, renewed, broken or stolen, and no link can succeed while it is there.
//!
//! Proved by the model checker (`crates/tenure-sim`, every interleaving) for two processes in two rounds with up to
//! two deaths and three processes in one round with up to one; for two processes with one fault at any call, and with every state that a
//! power loss can leave on the disk; with lifetimes, for two processes, a clock that runs on at any moment, and one
//! death; with two machines of one name, for two rounds and two deaths; for persist, handles and force as
//! `tenure-sim list` says.
//!
//! Not protected against: programs that remove lock files or the guard without asking; a guard deleted while a steal is
//! under way; a lifetime shorter than the holder is stopped, which lets another in: the holder is told, but what it does
//! before it asks can't be undone; a file server whose clock jumps forward by a lifetime; a machine cloned while
//! it runs, boot id and all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::gate::{Gate, gate_path};
use super::guard::Held;
use super::hold::Hold;
use super::look::{Seen, judge_seen, look};
use super::open::is_current;
use super::record::{Nonce, Record};
use super::stale::{Verdict, shares_processes};
use super::waiting::{Place, Waiting, jittered};
use super::{Lock, keeper, waiting};
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Mode, Open};
use crate::owner::Identity;
use crate::scratch;
use crate::wait::{Moment, Patience};

/// A shorter lifetime could not be renewed in time by a machine that is merely busy.
pub(super) const LIFETIME_MIN: Duration = Duration::from_millis(100);

pub(super) fn acquire<H: Host>(
    lock: &Lock<H>,
    lifetime: Option<Duration>,
    patience: Patience,
) -> Result<Held<H>> {
    if lifetime.is_some_and(|lifetime| lifetime < LIFETIME_MIN) {
        let problem = format!("a lifetime of less than {} ms can't be kept up", LIFETIME_MIN.as_millis());
        return Err(Error::unsupported(&lock.path, problem));
    }
    let path = gate_path(&lock.path);
    let mut waiting = Waiting::new(lock, &path, Mode::Exclusive, patience);
    loop {
        let gate = Gate::open(lock)?;
        let Some(place) = waiting.queue(gate.id())? else {
            waiting.restart()?;
            continue;
        };
        let here = lock.host.identity();
        let mut attempt = Attempt { lock, lifetime, here, gate, claim: None };
        attempt.win(&mut waiting)?;
        return attempt.into_held(place);
    }
}

/// A record under a temporary name, which is removed unless it was given the lock's name.
pub(super) struct Claim<H: Host> {
    host: H,
    path: PathBuf,
    pub(super) file: H::File,
    pub(super) id: FileId,
    pub(super) nonce: Nonce,
    synced: bool,
    renamed: bool,
    /// From before the request that decided: the owner's lifetime counts from here.
    pub(super) began: Moment,
}

impl<H: Host> Drop for Claim<H> {
    fn drop(&mut self) {
        if !self.renamed {
            self.tidy();
        }
    }
}

impl<H: Host> Claim<H> {
    pub(super) fn write(lock: &Lock<H>, record: &Record) -> Result<Claim<H>> {
        let host = lock.host.clone();
        let fail = |errno| Error::host("write a record beside the lock file", &lock.path, errno);
        let path = scratch::name(&host, &lock.path);
        let file = host.open(&path, Open::New { mode: lock.creation.initial() }).map_err(fail)?;
        let (id, began) = (FileId { device: 0, inode: 0 }, host.now());
        let nonce = record.nonce.clone();
        let mut claim = Claim { host, path, file, id, nonce, synced: false, renamed: false, began };
        let written = scratch::write_all(&claim.host, &claim.file, &record.to_bytes())
            .and_then(|()| lock.creation.apply(&claim.host, &claim.file))
            .and_then(|()| claim.host.id(&claim.file));
        claim.id = written.map_err(fail)?;
        Ok(claim)
    }

    /// The time by the file server's clock.
    fn server_time(&self, lock: &Lock<H>) -> Result<i128> {
        let touched = self.host.touch(&self.file).and_then(|()| self.host.stat_file(&self.file));
        Ok(touched
            .map_err(|errno| Error::host("ask the file server for its time", &lock.path, errno))?
            .modified_ns)
    }

    /// Makes the claim ready to be the lock file: whole on the disk, and touched just now.
    pub(super) fn ready(&mut self, lock: &Lock<H>) -> Result<()> {
        let fail = |errno| Error::host("sync the lock file's record to disk", &lock.path, errno);
        if !self.synced {
            self.host.fsync(&self.file).map_err(fail)?;
            self.synced = true;
        }
        self.began = self.host.now();
        self.host.touch(&self.file).map_err(fail)
    }

    /// Puts the claim in place of the lock file. The caller holds the gate.
    pub(super) fn replace(&mut self, lock: &Lock<H>) -> std::result::Result<(), Errno> {
        let renamed = self.host.rename(&self.path, &lock.path);
        self.renamed = renamed.is_ok();
        renamed
    }

    /// Removes the temporary name. If that fails, the next holder sweeps.
    fn tidy(&mut self) {
        let _swept_later = self.host.unlink(&self.path);
        self.renamed = true;
    }
}

/// One caller's way to the lock, from the second step on.
struct Attempt<'a, H: Host> {
    lock: &'a Lock<H>,
    lifetime: Option<Duration>,
    here: Identity,
    gate: Gate<H>,
    claim: Option<Claim<H>>,
}

impl<H: Host> Attempt<'_, H> {
    /// Comes back when the lock file carries the claim.
    fn win(&mut self, waiting: &mut Waiting<'_, H>) -> Result<()> {
        loop {
            let won = match look(&self.lock.host, &self.lock.path)? {
                None => self.link()?,
                Some(seen) if self.is_mine(&seen) => true,
                Some(seen) if self.judge(&seen)?.is_stale() => self.steal(&seen, waiting)?,
                Some(seen) => {
                    self.until_change(&seen, waiting)?;
                    continue;
                }
            };
            if won {
                return Ok(());
            }
            waiting.restart()?;
        }
    }

    /// Step 2.
    fn link(&mut self) -> Result<bool> {
        let lock = self.lock;
        let claim = self.claim()?;
        claim.ready(lock)?;
        match lock.host.link(&claim.path, &lock.path) {
            Ok(()) => return Ok(true),
            // A path that no file can have, such as one that ends in a slash, would be tried for ever.
            Err(Errno::NOENT) if lock.host.stat(&claim.path).is_err() => {
                if self.is_there()? {
                    return Ok(true);
                }
                self.claim = None;
            }
            Err(Errno::EXIST) => {}
            Err(Errno::PERM | Errno::NOTSUP | Errno::MLINK) => {
                let problem = "a lock of the lockfile kind needs a file system with hard links, which this one lacks or \
                               forbids; put the lock file on another";
                return Err(Error::unsupported(&lock.path, problem));
            }
            Err(errno) => {
                if !self.is_there()? {
                    return Err(Error::host("link the lock file into place", &lock.path, errno));
                }
            }
        }
        // If only the reply was lost, the next look finds our own nonce.
        Ok(false)
    }

    /// Step 4.
    fn steal(&mut self, seen: &Seen<H::File>, waiting: &mut Waiting<'_, H>) -> Result<bool> {
        let lock = self.lock;
        self.claim()?;
        // The gate leaves `self` while it is held, so that the step can use the rest.
        let Attempt { gate, claim, here, .. } = self;
        let claim = claim.as_mut().expect("made above");
        let mut swept = false;
        let won = gate.within(lock, waiting, || {
            let Some(again) = look(&lock.host, &lock.path)?.filter(|again| again.bytes == seen.bytes) else {
                return Ok(false);
            };
            let now = claim.server_time(lock)?;
            if !judge_seen(&lock.host, here, &again, Some(now)).is_stale() {
                return Ok(false);
            }
            claim.ready(lock)?;
            match claim.replace(lock) {
                Ok(()) => Ok(true),
                // Whatever the error says: it may have been done, and only the reply been lost.
                Err(_) if names(lock, &claim.nonce)? => Ok(true),
                Err(Errno::NOENT) => {
                    swept = true;
                    Ok(false)
                }
                Err(errno) => Err(Error::host("put a record in place of the dead one", &lock.path, errno)),
            }
        })?;
        if swept {
            self.claim = None;
        }
        Ok(won)
    }

    /// Waits until the lock file is gone, is another, or has a stale owner; and at most as long as a backstop.
    fn until_change(&mut self, seen: &Seen<H::File>, waiting: &mut Waiting<'_, H>) -> Result<()> {
        waiting.check_patience()?;
        let lock = self.lock;
        let watched = lock.host.watch(waiting.waiter(), &seen.file);
        let mut pauses = waiting::pauses(watched);
        let owner = seen.record.as_ref().and_then(|record| record.owner.as_ref());
        if let Some(owner) = owner.filter(|owner| watched && shares_processes(owner, &self.here))
            && !lock.host.watch_end(waiting.waiter(), owner.pid)
            && self.judge(seen)?.is_stale()
        {
            // It ended since it was judged.
            return Ok(());
        }
        while is_current(&lock.host, &lock.path, seen.id)? {
            let longest = pauses.next().expect("there is always another pause");
            waiting.sleep(Some(jittered(longest, lock.host.random())))?;
            if self.judge(seen)?.is_stale() {
                break;
            }
        }
        waiting.was_patient();
        Ok(())
    }

    fn judge(&mut self, seen: &Seen<H::File>) -> Result<Verdict> {
        let lock = self.lock;
        let limited = seen.record.as_ref().is_some_and(|record| record.lifetime.is_some());
        let now = if limited { Some(self.claim()?.server_time(lock)?) } else { None };
        Ok(judge_seen(&lock.host, &self.here, seen, now))
    }

    fn claim(&mut self) -> Result<&mut Claim<H>> {
        if self.claim.is_none() {
            let host = &self.lock.host;
            let record = Record {
                nonce: Nonce::new(host.random(), host.random()),
                owner: Some(self.here.clone()),
                host: self.here.host.clone(),
                lifetime: self.lifetime,
                command: host.command(),
            };
            self.claim = Some(Claim::write(self.lock, &record)?);
        }
        Ok(self.claim.as_mut().expect("made above"))
    }

    fn is_mine(&self, seen: &Seen<H::File>) -> bool {
        let claim = self.claim.as_ref().map(|claim| &claim.nonce);
        claim.is_some() && claim == seen.record.as_ref().map(|record| &record.nonce)
    }

    fn is_there(&self) -> Result<bool> {
        match &self.claim {
            Some(claim) => names(self.lock, &claim.nonce),
            None => Ok(false),
        }
    }

    /// The lock is held: what follows must not fail for want of anything but a thread.
    fn into_held(self, place: Place<H>) -> Result<Held<H>> {
        let lock = self.lock;
        let mut claim = self.claim.expect("nothing is won without a claim");
        claim.tidy();
        scratch::sweep(&lock.host, &lock.path);
        let hold = Arc::new(Hold::new(lock, self.lifetime, claim, self.gate));
        if let Some(reason) = hold.lost() {
            // The acquisition took longer than the lifetime: somebody else may be in by now.
            return Err(Error::lost(&lock.path, reason));
        }
        if self.lifetime.is_some()
            && let Err(errno) = keeper::start(&hold)
        {
            // The error that matters is the one that is returned.
            let _second = hold.release();
            return Err(Error::host("start the thread that renews the lock", &lock.path, errno));
        }
        Ok(Held::of_lockfile(lock, hold, place))
    }
}

/// Whether the lock file carries this nonce.
fn names<H: Host>(lock: &Lock<H>, nonce: &Nonce) -> Result<bool> {
    let seen = look(&lock.host, &lock.path)?;
    Ok(seen.and_then(|seen| seen.record).is_some_and(|record| record.nonce == *nonce))
}
