//! `flock(2)` as the command of that name needs it: on a descriptor that is known by its number alone.
//!
//! 1. With a limit, `setitimer(2)` has SIGALRM interrupt what follows. 2. `flock(2)`, which sleeps in the kernel.
//! 3. If it was interrupted, the clock says whether the limit is reached; if not, 2 again. 4. The timer is stopped.
//!
//! One thread waits and decides, so that a lock that came at the last moment is never left to a caller who is told that
//! there is none: the description may be another process's as well, and would keep it.
//!
//! It protects nobody from a lock file that was replaced, and is for programs of one thread: SIGALRM is the process's.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use super::{Errno, Result};

/// The timer goes on ringing after the limit, since its first signal may come just before the wait that it is to end.
const REPEAT_US: libc::suseconds_t = 10_000;

/// What [`flock_numbered`] does to the lock of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Takes it together with other shared holders.
    Shared,
    /// Takes it alone.
    Exclusive,
    /// Gives it up.
    Unlock,
}

/// What became of a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is done.
    Done,
    /// Others hold the lock, and there was no time to wait.
    Busy,
    /// Others held the lock until the limit.
    TimedOut,
}

/// `flock(2)` on the descriptor `number`, whoever opened it; waits for ever without a `limit`, and not at all with one of 0.
///
/// With a limit it replaces this process's handler of SIGALRM and its real-time timer. Errors: `BADF` if no descriptor has
/// the number, and on NFS, which wants a writable one for an exclusive lock; `NOLCK`, `IO`.
pub fn flock_numbered(number: i32, request: Request, limit: Option<Duration>) -> Result<Settled> {
    let operation = match request {
        Request::Shared => libc::LOCK_SH,
        Request::Exclusive => libc::LOCK_EX,
        Request::Unlock => libc::LOCK_UN,
    };
    let alarm = match limit {
        None => None,
        Some(Duration::ZERO) => return attempt(number, operation | libc::LOCK_NB),
        Some(limit) => Some((Alarm::after(limit)?, now(), limit)),
    };
    loop {
        match attempt(number, operation) {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
        if alarm.as_ref().is_some_and(|(_, start, limit)| since(*start) >= *limit) {
            return Ok(Settled::TimedOut);
        }
    }
}

/// One call of `flock(2)`.
fn attempt(number: i32, operation: i32) -> Result<Settled> {
    // SAFETY: the call takes no pointer, and changes nothing of a descriptor but its lock.
    match check(unsafe { libc::flock(number, operation) }) {
        Err(Errno::WOULDBLOCK) => Ok(Settled::Busy),
        outcome => outcome.map(|()| Settled::Done),
    }
}

/// A timer that interrupts this process's system calls; stopped when this is dropped.
struct Alarm;

impl Alarm {
    fn after(limit: Duration) -> Result<Alarm> {
        extern "C" fn interrupt(_signal: libc::c_int) {}
        // SAFETY: a sigaction of zeros is valid: no flags, so that the call is not restarted, and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = interrupt as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: `action` lives through the call, and its handler does nothing that a handler may not do.
        check(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) })?;
        let first = libc::timeval {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            // Not zero, since that would stop the timer; less than a million all the same.
            tv_usec: libc::suseconds_t::from(i32::try_from(limit.subsec_micros().max(1)).unwrap_or(1)),
        };
        set_timer(first, REPEAT_US)?;
        Ok(Alarm)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // A timer that was set can be stopped.
        let _cannot_fail = set_timer(libc::timeval { tv_sec: 0, tv_usec: 0 }, 0);
    }
}

fn set_timer(first: libc::timeval, repeat_us: libc::suseconds_t) -> Result<()> {
    let timer =
        libc::itimerval { it_value: first, it_interval: libc::timeval { tv_sec: 0, tv_usec: repeat_us } };
    // SAFETY: `timer` lives through the call.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) })
}

fn now() -> Timespec {
    clock_gettime(ClockId::Monotonic)
}

fn since(start: Timespec) -> Duration {
    now().checked_sub(start).and_then(|passed| passed.try_into().ok()).unwrap_or_default()
}

fn check(outcome: libc::c_int) -> Result<()> {
    match outcome {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        _ => Ok(()),
    }
}
