//! How long a caller is willing to wait, and how another thread ends that wait.
//!
//! Every call of Tenure that can wait takes a [`Wait`]: there is no default that waits for ever. A wait that
//! somebody else must be able to end carries a [`Cancel`] as well: `Wait::Forever.or(&cancel)`.

use std::ops::Add;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// A point on the host's monotonic clock (Linux: `CLOCK_BOOTTIME`, which runs on while the machine is suspended), in
/// nanoseconds since that clock's own zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// Builds a moment from the time since the clock's zero; hosts and simulations use it.
    pub const fn from_clock(since_zero: Duration) -> Moment {
        Moment(since_zero)
    }

    /// The time from `earlier` to this moment, zero if `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment on a clock that is ahead by so many nanoseconds.
    pub(crate) fn shifted(self, nanoseconds: i128) -> Moment {
        let shifted = i128::try_from(self.0.as_nanos()).unwrap_or(i128::MAX).saturating_add(nanoseconds);
        Moment(Duration::from_nanos(u64::try_from(shifted.max(0)).unwrap_or(u64::MAX)))
    }

    /// The time since the clock's zero.
    pub const fn since_zero(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Saturates: a deadline beyond the clock's range is as good as none.
    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(time))
    }
}

/// How long a call may wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Try once; a lock that is held is an error at once.
    Never,
    /// Give up at this moment. [`Wait::within`] builds one from a duration.
    Until(Moment),
    /// Wait until the lock is free, however long that takes.
    Forever,
}

impl Wait {
    /// Waits until the lock is free or another thread calls [`Cancel::cancel`].
    pub fn or(self, cancel: &Cancel) -> Patience {
        Patience { wait: self, cancel: Some(cancel.clone()) }
    }
}

/// A [`Wait`] with, perhaps, a [`Cancel`]; what the waiting calls accept (`impl Into<Patience>`).
#[derive(Clone, Debug)]
pub struct Patience {
    pub(crate) wait: Wait,
    pub(crate) cancel: Option<Cancel>,
}

impl From<Wait> for Patience {
    fn from(wait: Wait) -> Patience {
        Patience { wait, cancel: None }
    }
}

/// Ends waits from another thread; clones share one state, and a cancelled handle stays cancelled.
///
/// A wait that starts after the cancellation fails at once. A lock that is free is still taken: `Cancel`
/// ends waiting, nothing else.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Mutex<CancelState>>);

#[derive(Debug, Default)]
struct CancelState {
    cancelled: bool,
    next_id: u64,
    wakers: Vec<(u64, Waker)>,
}

impl Cancel {
    /// Creates a handle that nobody has cancelled yet.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Ends every wait that carries this handle, now and later.
    pub fn cancel(&self) {
        let wakers = {
            let mut state = self.state();
            state.cancelled = true;
            std::mem::take(&mut state.wakers)
        };
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    /// Whether [`Cancel::cancel`] has been called.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Wakes `waker` at cancellation for as long as the returned registration lives.
    pub(crate) fn register(&self, waker: Waker) -> CancelRegistration {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        state.wakers.push((id, waker));
        CancelRegistration { cancel: self.clone(), id }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, CancelState> {
        // A panic cannot leave the state half changed: every change above is a single assignment or push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct CancelRegistration {
    cancel: Cancel,
    id: u64,
}

impl Drop for CancelRegistration {
    fn drop(&mut self) {
        self.cancel.state().wakers.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_the_clock_saturates() {
        let late = Moment::from_clock(Duration::from_secs(1)) + Duration::MAX;
        assert_eq!(late.since_zero(), Duration::MAX);
        assert_eq!(Moment::from_clock(Duration::ZERO).since(late), Duration::ZERO);
    }

    #[test]
    fn a_registration_ends_with_its_wait() {
        let cancel = Cancel::new();
        drop(cancel.register(Waker::noop().clone()));
        assert!(cancel.state().wakers.is_empty());
        let _waiting = cancel.register(Waker::noop().clone());
        cancel.cancel();
        assert!(cancel.is_cancelled());
    }
}
