//! A descriptor that becomes readable at a moment, by the kernel's doing alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::Result;
use crate::wait::Moment;

/// A timer (timerfd_create(2)) on the clock of [`super::Native`], which runs on while the machine is suspended.
pub struct Alarm(OwnedFd);

impl Alarm {
    /// A timer that was never set, and so never rings.
    ///
    /// Errors: `MFILE`, `NFILE`, `NOMEM`.
    pub fn new() -> Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        timerfd_create(TimerfdClockId::Boottime, flags).map(Alarm)
    }

    /// From `at` on the descriptor is readable, and not before.
    ///
    /// Errors: none that a timer which was made can meet.
    pub fn set(&self, at: Moment) -> Result<()> {
        let at = at.since_zero();
        // A time of zero would stop the timer.
        let (seconds, nanos) = (i64::try_from(at.as_secs()).unwrap_or(i64::MAX), at.subsec_nanos().max(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once).map(drop)
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::host::{Host, Native};

    fn readable(alarm: &Alarm, within: Duration) -> bool {
        let within =
            Timespec { tv_sec: within.as_secs().try_into().unwrap(), tv_nsec: within.subsec_nanos().into() };
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], Some(&within)).unwrap() == 1
    }

    #[test]
    fn it_rings_at_its_moment_and_can_be_set_again() {
        let alarm = Alarm::new().unwrap();
        let now = Native.now();
        alarm.set(now + Duration::MAX).unwrap();
        assert!(!readable(&alarm, Duration::from_millis(20)));
        alarm.set(now).unwrap();
        assert!(readable(&alarm, Duration::ZERO));
        alarm.set(now + Duration::from_secs(3600)).unwrap();
        assert!(!readable(&alarm, Duration::ZERO));
    }
}
