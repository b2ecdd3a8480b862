//! The watchdog, as `tenure run` sees it: it is started, told of each renewal, and heard of when it ends.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ioctl_fionbio, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tenure::host::{Host, Native, inherit_nothing};
use tenure::lease::{Lease, Lost};

use super::orders::{Lines, Order, Setup};
use super::schedule::{Schedule, Step};
use super::watchdog::this_program;
use crate::cmd::signals::Switch;
use crate::exit::{Exit, Failure};
use crate::output;

/// How many looks at the deadline there are in a time to live, and in the time that is left until the command is asked to end.
const LOOKS: u32 = 10;

/// The shortest time between two looks.
const LOOK_MIN: Duration = Duration::from_millis(2);

/// A watchdog that has a process group for the command.
pub(super) struct Watchdog {
    process: Child,
    handle: OwnedFd,
    orders: ChildStdin,
    pub(super) group: Pid,
}

impl Watchdog {
    pub(super) fn start(setup: &Setup) -> Result<Watchdog, Failure> {
        let fail = |problem: String| {
            Failure::new(Exit::Io, format!("cannot start the watchdog of the command: {problem}"))
        };
        let mut command = this_program();
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = inherit_nothing(&mut command).spawn().map_err(|error| fail(error.to_string()))?;
        // Also valid while another thread waits for the process, and hits nobody else afterwards.
        let handle = pidfd_open(Pid::from_child(&process), PidfdFlags::empty());
        let handle = handle.map_err(|errno| fail(errno.to_string()))?;
        let mut orders = process.stdin.take().expect("it is a pipe");
        let answers = process.stdout.take().expect("it is a pipe");
        // If this fails, there is no answer either.
        let _unanswered = orders.write_all(setup.line().as_bytes());
        let number = Lines::new(answers).wait().and_then(|line| line.parse().ok());
        match number.and_then(Pid::from_raw) {
            Some(group) => Ok(Watchdog { process, handle, orders, group }),
            None => {
                drop(orders);
                let status = process.wait().map_err(|error| fail(error.to_string()))?;
                Err(fail(format!("it has ended ({status})")))
            }
        }
    }

    /// Its two sides: whom to tell, and whose end to wait for.
    pub(super) fn split(self) -> ((ChildStdin, OwnedFd), Child) {
        ((self.orders, self.handle), self.process)
    }

    /// There is no command after all.
    pub(super) fn dismiss(self) {
        let ((mut orders, _), mut process) = self.split();
        let _dead_or_full = tell(&mut orders, Order::Ended);
        drop(orders);
        // It ends with its orders at the latest.
        let _ended = process.wait();
    }
}

/// Waits for the end of the watchdog. If that was not its own doing, nobody watches the command any more: it is killed.
pub(super) fn outlive(mut watchdog: Child, command: &Switch) -> Option<ExitStatus> {
    // Who can't be waited for is taken for one that was killed.
    let status = watchdog.wait().ok();
    if status.and_then(|status| status.code()).is_none() {
        command.send(Signal::KILL);
    }
    status
}

/// What happens to the lease or the command.
pub(super) enum Event {
    Lost(Lost),
    Ended,
}

/// Tells the watchdog of each renewal, and of a loss, until the command has ended; and says to the person what is being done.
///
/// Should the watchdog not get to it (it was stopped, say), the command is killed from here, and the watchdog after it; `true`
/// if it came to that.
pub(super) fn report(
    lease: &Lease,
    mut schedule: Schedule,
    events: &Receiver<Event>,
    (mut orders, watchdog): (ChildStdin, OwnedFd),
    command: &Switch,
    said: &Once,
) -> bool {
    let mut killed = false;
    let mut told = schedule.deadline();
    // The pipe to a watchdog that is stopped becomes full. Who waited there could not kill the command.
    if let Err(errno) = ioctl_fionbio(&orders, true) {
        output::tell(format_args!("the watchdog may be waited for: {errno}"));
    }
    loop {
        let now = Native.now();
        let pause = match schedule.step(now) {
            Step::Wait(at) if schedule.was_asked() => at.since(now),
            Step::Wait(at) => (lease.handle().ttl().min(at.since(now)) / LOOKS).max(LOOK_MIN),
            Step::Ask => {
                schedule.asked(now);
                let left = schedule.deadline().since(now);
                said.call_once(|| {
                    let problem = "could not be renewed in time";
                    output::tell(format_args!(
                        "the lease {} (token {}) {problem}: it ends in {left:.1?}. The command is asked to end (SIGTERM)",
                        lease.name(),
                        lease.token()
                    ));
                });
                continue;
            }
            Step::Kill => {
                if !killed {
                    command.send(Signal::KILL);
                }
                killed = true;
                Duration::MAX
            }
        };
        match events.recv_timeout(pause) {
            Ok(Event::Lost(lost)) => {
                let _dead_or_full = tell(&mut orders, Order::Lost);
                schedule.asked(Native.now());
                // Last: standard error may be a pipe that nobody empties.
                said.call_once(|| {
                    output::tell(format_args!("{lost}. The command is asked to end (SIGTERM)"))
                });
            }
            Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => {
                let _dead_or_full = tell(&mut orders, Order::Ended);
                if killed {
                    end(&watchdog);
                }
                return killed;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let deadline = lease.deadline();
        if !schedule.was_asked() {
            schedule.renewed(deadline);
            if deadline != told && tell(&mut orders, Order::Renewed(deadline)) {
                told = deadline;
            }
        }
    }
}

/// Ends a watchdog that has had its time.
fn end(watchdog: &OwnedFd) {
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    // It is readable when the process has ended.
    let ended = retry_on_intr(|| poll(&mut [PollFd::new(watchdog, PollFlags::IN)], Some(&patience)));
    if ended == Ok(0) {
        // It fails if the process has just ended.
        let _ended = pidfd_send_signal(watchdog, Signal::KILL);
    }
}

/// Whether there was room for it. An order is written as a whole or not at all (pipe(7)).
fn tell(orders: &mut ChildStdin, order: Order) -> bool {
    // It also fails if the watchdog is dead, which is noticed by another way.
    orders.write_all(order.line().as_bytes()).is_ok()
}
