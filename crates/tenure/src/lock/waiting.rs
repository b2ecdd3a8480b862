//! How a caller waits for a lock file: in the queue of its own process first, then for other processes.
//!
//! Both kinds of lock wait here, the lockfile kind also for its guard.

use std::path::Path;
use std::time::Duration;

use super::open::{is_current, open_writable};
use super::{Contention, Lock};
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Mode, Ticket, Woken};
use crate::wait::{CancelRegistration, Moment, Patience, Wait};

/// The longest a waiter sleeps without looking, so that an unlock that emits no event is found.
pub(super) const BACKSTOP: Duration = Duration::from_millis(250);

/// The first and longest pause where the system can't tell of changes; each pause is twice the last.
const POLL: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=BACKSTOP;

/// How often an acquisition starts again without a pause.
const RESTARTS_AT_ONCE: u32 = 8;

/// Pauses before further attempts where the first one after a close event failed: the lock may fall a moment later.
const AFTER_EVENT: [Duration; 3] =
    [Duration::from_micros(20), Duration::from_micros(100), Duration::from_millis(1)];

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

/// One caller's wait, from the first attempt to the last.
pub(crate) struct Waiting<'a, H: Host> {
    lock: &'a Lock<H>,
    /// The file whose `flock` is awaited: the lock's own, or its guard.
    path: &'a Path,
    mode: Mode,
    patience: Patience,
    /// When the first attempt failed: most acquisitions never look at the clock, nor need a waiter.
    started: Option<Moment>,
    reported: bool,
    restarts: u32,
    parked: Option<Parked<H>>,
}

/// Where this thread sleeps, and its entry with the caller's `Cancel`.
struct Parked<H: Host> {
    waiter: H::Waiter,
    _cancelling: Option<CancelRegistration>,
}

impl<'a, H: Host> Waiting<'a, H> {
    pub(super) fn new(lock: &'a Lock<H>, path: &'a Path, mode: Mode, patience: Patience) -> Waiting<'a, H> {
        Waiting { lock, path, mode, patience, started: None, reported: false, restarts: 0, parked: None }
    }

    /// Joins the queue and comes back when it is this thread's turn; `None` if the path names another file by
    /// then, in whose queue this thread belongs.
    pub(super) fn queue(&mut self, file: FileId) -> Result<Option<Place<H>>> {
        let host = self.lock.host.clone();
        let (thread, process) = (host.thread(), host.process_mark());
        let entered = host.local(|local| local.enter(file, thread, self.mode));
        let (ticket, admitted) = entered.map_err(|_| Error::already_held(&self.lock.path))?;
        let place = Place { host: host.clone(), file, ticket, process };
        if !admitted {
            self.check_patience()?;
            let waker = host.waker(self.waiter());
            while !host.local(|local| local.poll_turn(file, ticket, &waker)) {
                self.sleep(Some(jittered(BACKSTOP, host.random())))?;
                if !is_current(&self.lock.host, self.path, file)? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(place))
    }

    /// Before another round: at once for the first few, then with pauses. A file system that shows one file
    /// under changing numbers would otherwise burn a core, and who does not wait would be told "busy" for no more
    /// than another's replacing the file.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.restarts += 1;
        if self.restarts > RESTARTS_AT_ONCE {
            self.sleep(Some(*POLL.start() * self.restarts.min(100)))?;
        }
        Ok(())
    }

    /// A wait that was a real one: the rounds before it do not count as restarts.
    pub(super) fn was_patient(&mut self) {
        self.restarts = 0;
    }

    /// Takes the kernel's lock of the open file, waiting for it, and looks whether it excludes anyone; `false` if the path
    /// names another file by now. Replaces `file` by one opened for writing where the system wants that.
    pub(super) fn flock(&mut self, file: &mut H::File, id: FileId) -> Result<bool> {
        let host = self.lock.host.clone();
        let got = match host.try_flock(file, self.mode) {
            // NFS emulates flock by a byte-range lock, which wants a writable descriptor (flock(2)).
            Err(Errno::BADF) if self.mode == Mode::Exclusive => {
                *file = open_writable(&host, self.path)?;
                let now = host
                    .stat_file(file)
                    .map_err(|errno| Error::host("look at the lock file", self.path, errno))?;
                if now.id != id {
                    return Ok(false);
                }
                self.attempt(file)?
            }
            tried => tried.map_err(|errno| Error::host("lock the file", self.path, errno))?,
        };
        if !got && !self.for_kernel(file, id)? {
            return Ok(false);
        }
        let current = is_current(&host, self.path, id);
        if current.is_err() {
            // The caller may keep the file open, and others would wait for it. An unlock that fails has no better remedy.
            let _second_error = host.unlock(file);
        }
        current
    }

    /// Sleeps and tries again: `true` with the lock, `false` if the path names another file by now.
    fn for_kernel(&mut self, file: &H::File, id: FileId) -> Result<bool> {
        self.check_patience()?;
        let host = self.lock.host.clone();
        let watched = host.watch(self.waiter(), file);
        let mut pauses = pauses(watched);
        // A release before the watch would be missed.
        let mut taken = self.attempt(file)?;
        while !taken {
            if !is_current(&self.lock.host, self.path, id)? {
                return Ok(false);
            }
            let longest = pauses.next().expect("there is always another pause");
            let until = self.until(Some(jittered(longest, host.random())))?;
            let mode = self.mode;
            let woken = host.wait_flock(self.waiter(), until, file, mode);
            taken = match woken.map_err(|errno| Error::host("lock the file", self.path, errno))? {
                None => true,
                Some(Woken::Changed) => self.retry(file)?,
                Some(Woken::Called | Woken::TimedOut) => self.attempt(file)?,
            };
            if !taken {
                self.report_if_due();
            }
        }
        Ok(true)
    }

    /// Tries the same descriptor again after short pauses.
    fn retry(&mut self, file: &H::File) -> Result<bool> {
        let host = &self.lock.host;
        for pause in AFTER_EVENT {
            // A waiter of its own, so that an event that arrives meanwhile is kept for the real wait.
            host.wait(&mut host.waiter(), Some(host.now() + pause));
            if self.attempt(file)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn attempt(&self, file: &H::File) -> Result<bool> {
        let tried = self.lock.host.try_flock(file, self.mode);
        tried.map_err(|errno| Error::host("lock the file", self.path, errno))
    }

    /// Sleeps until something happens or `longest` is over, and fails if the caller's patience is.
    pub(crate) fn sleep(&mut self, longest: Option<Duration>) -> Result<Woken> {
        let until = self.until(longest)?;
        let host = self.lock.host.clone();
        let woken = host.wait(self.waiter(), until);
        self.report_if_due();
        Ok(woken)
    }

    /// Until when to sleep at most; fails if the caller's patience is over.
    fn until(&mut self, longest: Option<Duration>) -> Result<Option<Moment>> {
        self.check_patience()?;
        let deadline = match self.patience.wait {
            Wait::Until(deadline) => Some(deadline),
            Wait::Never | Wait::Forever => None,
        };
        let longest = longest.map(|longest| self.lock.host.now() + longest);
        Ok([longest, self.report_due(), deadline].into_iter().flatten().min())
    }

    pub(super) fn check_patience(&mut self) -> Result<()> {
        let (path, waited) = (&self.lock.path, self.waited());
        if self.patience.cancel.as_ref().is_some_and(crate::Cancel::is_cancelled) {
            return Err(Error::cancelled(path, waited));
        }
        let over = match self.patience.wait {
            Wait::Never => true,
            Wait::Until(deadline) => self.lock.host.now() >= deadline,
            Wait::Forever => false,
        };
        match over {
            true => Err(Error::busy(path, self.mode, waited, crate::Holders::default())),
            false => Ok(()),
        }
    }

    /// The time since the first failed attempt; zero for a caller that does not wait.
    pub(super) fn waited(&mut self) -> Duration {
        if self.patience.wait == Wait::Never {
            return Duration::ZERO;
        }
        let now = self.lock.host.now();
        now.since(*self.started.get_or_insert(now))
    }

    fn report_due(&self) -> Option<Moment> {
        let report = self.lock.report.as_ref().filter(|_| !self.reported)?;
        Some(self.started? + report.after)
    }

    fn report_if_due(&mut self) {
        let (Some(due), Some(report)) = (self.report_due(), &self.lock.report) else { return };
        if self.lock.host.now() >= due {
            self.reported = true;
            let holders = self.lock.holders_or_unknown();
            (report.tell)(&Contention { path: self.lock.path.to_path_buf(), holders, waited: self.waited() });
        }
    }

    pub(crate) fn waiter(&mut self) -> &mut H::Waiter {
        let (host, cancel) = (&self.lock.host, self.patience.cancel.as_ref());
        let parked = self.parked.get_or_insert_with(|| {
            let waiter = host.waiter();
            let _cancelling = cancel.map(|cancel| cancel.register(host.waker(&waiter)));
            Parked { waiter, _cancelling }
        });
        &mut parked.waiter
    }

    /// The watch of a waiter that has got in. Taking it down takes microseconds, which the holder can spend
    /// when it has released.
    pub(super) fn into_waiter(self) -> Option<H::Waiter> {
        self.parked.map(|parked| parked.waiter)
    }
}

/// How long to sleep at most between two looks: the backstop, or, where nothing tells of changes, growing pauses.
pub(crate) fn pauses(watched: bool) -> impl Iterator<Item = Duration> {
    let first = if watched { *POLL.end() } else { *POLL.start() };
    std::iter::successors(Some(first), |pause| Some((*pause * 2).min(*POLL.end())))
}

/// Between three quarters of `time` and all of it, so that waiters do not march in step.
pub(crate) fn jittered(time: Duration, random: u64) -> Duration {
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
