//! The flock kind: how it is acquired.
//!
//! 1. `lstat` the path, or create the file; its device and inode name the queue of this process's threads.
//!    Join the queue, wait for the turn.
//! 2. `open` without following a symlink; `fstat` must show the same inode, else start again.
//! 3. `flock(LOCK_NB)`. If it succeeds, `lstat` the path once more: another inode means that someone replaced
//!    the file between 2 and 3, and the lock just taken protects nothing; start again.
//! 4. If it fails: watch this very inode, try the same descriptor again (a release between 3 and the watch
//!    would be missed), then sleep until an event, the backstop, the caller's deadline or a cancellation.
//!    On waking: check that the path still names the inode; then 3 without opening anything.
//!
//! A waiter opens once and closes when it is done, because a close is the very event that waiters wait for:
//! waiters that reopen at each attempt wake each other for ever.
//!
//! What emits no event is found by the backstop: an unlock without close (`flock -u`, or a holder whose child
//! shares the descriptor). And the close event precedes the kernel's release of the lock by a hair
//! (`__fput` notifies first), so an attempt after an event is followed by a few short retries.
//!
//! Not protected against: processes that do not lock; a lock file that is deleted or replaced while the lock
//! is held (the next comer locks the new file); NFS mounted with `local_lock=flock` or `nolock`.

use std::time::Duration;

use super::guard::Held;
use super::{Contention, Creation, Lock};
use crate::error::{Error, Result};
use crate::host::{self, Errno, FileId, Host, Mode, Open, Ticket, Woken, directory_of};
use crate::wait::{CancelRegistration, Moment, Patience, Wait};

/// The longest a waiter sleeps without looking, so that an unlock that emits no event is found.
const BACKSTOP: Duration = Duration::from_millis(250);

/// The first and longest pause where the system can't tell of changes; each pause is twice the last.
const POLL: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=BACKSTOP;

/// Pauses before the attempts that follow a close event, whose lock may fall a moment later.
const AFTER_EVENT: [Duration; 4] =
    [Duration::ZERO, Duration::from_micros(20), Duration::from_micros(100), Duration::from_millis(1)];

/// What one attempt at steps 2 and 3 came to.
enum Attempt<H: Host> {
    Acquired(H::File),
    Busy(H::File),
    /// The path names another file, or none, by now.
    Replaced,
}

pub(super) fn acquire<H: Host>(lock: &Lock<H>, mode: Mode, patience: Patience) -> Result<Held<H>> {
    let mut waiting = Waiting::new(lock, mode, patience);
    // Bounded by the caller's patience: each further round means that someone replaced the lock file.
    loop {
        let Some(place) = waiting.queue()? else { continue };
        match attempt(lock, mode, place.file)? {
            Attempt::Acquired(file) => return Ok(Held::new(lock, file, place)),
            Attempt::Replaced => {}
            Attempt::Busy(file) => {
                if let Some(file) = waiting.for_kernel(file, place.file)? {
                    return Ok(Held::new(lock, file, place));
                }
            }
        }
        drop(place);
        waiting.check_patience()?;
    }
}

/// A place in the queue of this process's threads; dropping it lets the next thread pass.
pub(super) struct Place<H: Host> {
    host: H,
    pub(super) file: FileId,
    ticket: Ticket,
    process: u64,
}

impl<H: Host> Drop for Place<H> {
    fn drop(&mut self) {
        // A forked child has an empty queue of its own.
        if self.host.process_mark() == self.process {
            let next = self.host.local(|local| local.leave(self.file, self.ticket));
            next.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

/// The file that the path names now, created if there is none.
fn identify<H: Host>(lock: &Lock<H>) -> Result<FileId> {
    match lock.host.stat(&lock.path) {
        Ok(stat) => Ok(stat.id),
        Err(Errno::NOENT) => create(lock),
        Err(errno) => Err(Error::host("look at the lock file", &lock.path, errno)),
    }
}

fn create<H: Host>(lock: &Lock<H>) -> Result<FileId> {
    let created = match lock.creation {
        Creation::Filtered(mode) => lock.host.open(&lock.path, Open::New { mode }),
        Creation::Exact(mode) => create_as(lock, mode, None),
        Creation::Like { mode, uid, gid } => create_as(lock, mode, Some((uid, gid))),
    };
    let created = match created {
        // Somebody else was faster; theirs is as good.
        Err(Errno::EXIST) => lock.host.stat(&lock.path),
        created => created.and_then(|file| lock.host.stat_file(&file)),
    };
    created.map(|stat| stat.id).map_err(|errno| Error::host("create the lock file", &lock.path, errno))
}

/// Creates the lock file with owner and mode before it has its name: whoever died between a name and its mode
/// would lock out those who may use the lock.
fn create_as<H: Host>(lock: &Lock<H>, mode: u32, owner: Option<(u32, u32)>) -> host::Result<H::File> {
    let unnamed = || {
        let file = lock.host.open(&directory_of(&lock.path), Open::Unnamed)?;
        dress(&lock.host, &file, mode, owner)?;
        lock.host.publish(&file, &lock.path)?;
        Ok(file)
    };
    match unnamed() {
        // No unnamed files on this file system, or no /proc to name them by. The gap remains; chmod closes it.
        Err(Errno::NOTSUP | Errno::ISDIR | Errno::NOENT) => {
            let file = lock.host.open(&lock.path, Open::New { mode: 0o600 })?;
            dress(&lock.host, &file, mode, owner)?;
            Ok(file)
        }
        created => created,
    }
}

fn dress<H: Host>(host: &H, file: &H::File, mode: u32, owner: Option<(u32, u32)>) -> host::Result<()> {
    if let Some((uid, gid)) = owner {
        match host.set_owner(file, uid, gid) {
            // Only the superuser gives files away; the mode below lets the document's users in all the same.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    host.set_mode(file, mode)
}

/// Steps 2 and 3.
fn attempt<H: Host>(lock: &Lock<H>, mode: Mode, expected: FileId) -> Result<Attempt<H>> {
    let fail = |errno| Error::host("open the lock file", &lock.path, errno);
    let mut file = match lock.host.open(&lock.path, Open::Read) {
        Err(Errno::NOENT) => return Ok(Attempt::Replaced),
        opened => opened.map_err(fail)?,
    };
    if lock.host.stat_file(&file).map_err(fail)?.id != expected {
        return Ok(Attempt::Replaced);
    }
    let got = match lock.host.try_flock(&file, mode) {
        // NFS emulates flock by a byte-range lock, which wants a writable descriptor (flock(2)).
        Err(Errno::BADF) if mode == Mode::Exclusive => {
            file = lock.host.open(&lock.path, Open::ReadWrite).map_err(fail)?;
            if lock.host.stat_file(&file).map_err(fail)?.id != expected {
                return Ok(Attempt::Replaced);
            }
            lock.host.try_flock(&file, mode)
        }
        tried => tried,
    };
    match got {
        Ok(true) if is_current(lock, expected)? => Ok(Attempt::Acquired(file)),
        Ok(true) => Ok(Attempt::Replaced),
        Ok(false) => Ok(Attempt::Busy(file)),
        Err(errno) => Err(Error::host("lock the file", &lock.path, errno)),
    }
}

/// Whether the path still names the file. Needed for correctness: a lock on a replaced file excludes nobody.
pub(super) fn is_current<H: Host>(lock: &Lock<H>, file: FileId) -> Result<bool> {
    match lock.host.stat(&lock.path) {
        Ok(stat) => Ok(stat.id == file),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::host("look at the lock file", &lock.path, errno)),
    }
}

/// One caller's wait, from the first attempt to the last.
struct Waiting<'a, H: Host> {
    lock: &'a Lock<H>,
    mode: Mode,
    patience: Patience,
    started: Moment,
    reported: bool,
    /// Made when the first attempt has failed: most acquisitions need none.
    waiter: Option<H::Waiter>,
    cancelling: Option<CancelRegistration>,
}

impl<'a, H: Host> Waiting<'a, H> {
    fn new(lock: &'a Lock<H>, mode: Mode, patience: Patience) -> Waiting<'a, H> {
        let started = lock.host.now();
        Waiting { lock, mode, patience, started, reported: false, waiter: None, cancelling: None }
    }

    /// Step 1: `None` if the lock file was replaced while this thread stood in the queue.
    fn queue(&mut self) -> Result<Option<Place<H>>> {
        let host = &self.lock.host;
        let file = identify(self.lock)?;
        let ticket = host
            .local(|local| local.enter(file, host.thread(), self.mode))
            .map_err(|_| Error::already_held(&self.lock.path))?;
        let place = Place { host: host.clone(), file, ticket, process: host.process_mark() };
        let noop = std::task::Waker::noop();
        if host.local(|local| local.poll_turn(file, ticket, noop)) {
            return Ok(Some(place));
        }
        self.check_patience()?;
        let waker = self.lock.host.waker(self.waiter());
        while !self.lock.host.local(|local| local.poll_turn(file, ticket, &waker)) {
            self.sleep(None)?;
        }
        Ok(is_current(self.lock, file)?.then_some(place))
    }

    /// Step 4: the descriptor with its lock, or `None` if the path names another file by now.
    fn for_kernel(&mut self, file: H::File, id: FileId) -> Result<Option<H::File>> {
        self.check_patience()?;
        let host = self.lock.host.clone();
        let watched = host.watch(self.waiter(), &file);
        let mut pause = *POLL.start();
        let mut woken = Woken::TimedOut;
        loop {
            if self.attempts(&file, woken)? {
                return Ok(is_current(self.lock, id)?.then_some(file));
            }
            if !is_current(self.lock, id)? {
                return Ok(None);
            }
            let longest = if watched { jittered(BACKSTOP, host.random()) } else { pause };
            woken = self.sleep(Some(longest))?;
            pause = (pause * 2).min(*POLL.end());
        }
    }

    /// Step 3 on the same descriptor: once, or with short retries if a close event was the reason.
    fn attempts(&mut self, file: &H::File, woken: Woken) -> Result<bool> {
        let host = self.lock.host.clone();
        let pauses: &[Duration] = if woken == Woken::Changed { &AFTER_EVENT } else { &AFTER_EVENT[..1] };
        for pause in pauses {
            if !pause.is_zero() {
                // A waiter of its own, so that an event that arrives meanwhile is kept for the real wait.
                host.wait(&mut host.waiter(), Some(host.now() + *pause));
            }
            match host.try_flock(file, self.mode) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(errno) => return Err(Error::host("lock the file", &self.lock.path, errno)),
            }
        }
        Ok(false)
    }

    /// Sleeps until something happens or `longest` is over, and fails if the caller's patience is.
    fn sleep(&mut self, longest: Option<Duration>) -> Result<Woken> {
        self.check_patience()?;
        let now = self.lock.host.now();
        let report = self.report_due();
        let deadline = match self.patience.wait {
            Wait::Until(deadline) => Some(deadline),
            Wait::Never | Wait::Forever => None,
        };
        let until = [longest.map(|longest| now + longest), report, deadline].into_iter().flatten().min();
        let host = self.lock.host.clone();
        let woken = host.wait(self.waiter(), until);
        self.report_if_due();
        Ok(woken)
    }

    fn check_patience(&mut self) -> Result<()> {
        let (path, waited) = (&self.lock.path, self.waited());
        if self.patience.cancel.as_ref().is_some_and(crate::Cancel::is_cancelled) {
            return Err(Error::cancelled(path, waited));
        }
        let over = match self.patience.wait {
            Wait::Never => true,
            Wait::Until(deadline) => self.lock.host.now() >= deadline,
            Wait::Forever => false,
        };
        if !over {
            return Ok(());
        }
        let waited = if self.patience.wait == Wait::Never { Duration::ZERO } else { waited };
        Err(Error::busy(path, self.mode, waited, crate::Holders::default()))
    }

    fn waited(&self) -> Duration {
        self.lock.host.now().since(self.started)
    }

    fn report_due(&self) -> Option<Moment> {
        let report = self.lock.report.as_ref()?;
        (!self.reported).then(|| self.started + report.after)
    }

    fn report_if_due(&mut self) {
        let (Some(due), Some(report)) = (self.report_due(), &self.lock.report) else { return };
        if self.lock.host.now() >= due {
            self.reported = true;
            let holders = self.lock.holder().unwrap_or_default();
            (report.tell)(&Contention { path: self.lock.path.clone(), holders, waited: self.waited() });
        }
    }

    fn waiter(&mut self) -> &mut H::Waiter {
        let host = &self.lock.host;
        let waiter = self.waiter.get_or_insert_with(|| host.waiter());
        if self.cancelling.is_none() {
            let waker = host.waker(waiter);
            self.cancelling = self.patience.cancel.as_ref().map(|cancel| cancel.register(waker));
        }
        waiter
    }
}

/// Between three quarters of `time` and all of it, so that waiters do not march in step.
fn jittered(time: Duration, random: u64) -> Duration {
    let share = u32::try_from(random % 256).unwrap_or(0);
    time - time / 4 * share / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backstop_is_jittered_within_its_bound() {
        for random in [0, 1, 128, 255, u64::MAX] {
            let time = jittered(BACKSTOP, random);
            assert!(time <= BACKSTOP && time >= BACKSTOP / 4 * 3, "{time:?}");
        }
    }
}
