//! The process that ends the command when `tenure` can't: it is stopped, or dead.
//!
//! 1. Take the number of a process group for the command, by a child (the anchor) that leads it. As long as this process has
//!    not asked for the anchor's status, no other group can get the number, whoever in it is dead: so a signal to the group
//!    never hits a stranger. 2. Say the number. 3. Ask the command to end, and kill it, when the lease that was heard of last
//!    demands it ([`super::schedule`]), or when told that the lease is lost. 4. If the pipe from `tenure` is at its end without a
//!    word that the command has ended, `tenure` is dead: kill the group at once, wait until nobody is left in it, and release
//!    the lease, so that the next comer need not wait for the end of its time. 5. Otherwise leave the lease to `tenure`.
//!
//! It is in a process group of its own, so that what is sent to the command's group or to that of `tenure` does not reach it,
//! and has none of their descriptors, so that nobody waits for it at the end of a pipe.
//!
//! It does not protect against a signal to itself that can't be caught, which `tenure` answers by killing the command, nor against
//! a process that leaves the group.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGTSTP, SIGTTIN, SIGTTOU};
use tenure::LeaseStore;
use tenure::host::{Alarm, Errno, Host, Native, end_with_this_thread, group_members, inherit_nothing};
use tenure::lease::{Address, Handle};

use super::orders::{Lines, Order, Setup};
use super::schedule::{Schedule, Step};
use crate::cmd::signals::PASSED_ON;
use crate::exit::{Exit, Failure};
use crate::output;

/// What this process ends with if it has ended the command.
pub(super) const HAS_ENDED_IT: i32 = 79;

/// Between two looks whether anybody is left in the group.
const LOOK: Duration = Duration::from_millis(5);

/// How long the dead may take to be gone. One that hangs in the kernel for longer keeps the lease from being released.
const GONE_MAX: Duration = Duration::from_secs(30);

/// This program's own file, also if another has been installed in its place meanwhile.
pub(super) fn this_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Not the name by which it was called, which may be `flock`.
    command.arg0("tenure").arg("watchdog");
    command
}

/// The process that leads the command's group: it does nothing.
pub(crate) fn anchor() -> Result<ExitCode, Failure> {
    // Until the watchdog closes its end, or dies.
    let _nothing_comes = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn watchdog() -> Result<ExitCode, Failure> {
    ignore_signals()?;
    let mut lines = Lines::new(std::io::stdin());
    let setup = lines.wait().and_then(|line| Setup::parse(&line)).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "`tenure watchdog` is started by `tenure run --lease`, and of no use otherwise",
        )
    })?;
    let system = |errno: Errno| Failure::new(Exit::Io, format!("the watchdog cannot work: {errno}"));
    let group = Group::new().map_err(|error| Failure::new(Exit::Io, format!("no process group: {error}")))?;
    let alarm = Alarm::new().map_err(system)?;
    output::deliver(&format!("{}\n", group.number))?;
    let outcome =
        watch(&mut lines, Schedule::new(setup.grace, setup.deadline), &alarm, &group).map_err(system);
    match outcome {
        Ok(Outcome::Over) => {
            group.leave();
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Outcome::Due) => drop(group.end()),
        // What can't watch must not let the command go on.
        Ok(Outcome::Alone) | Err(_) => {
            if group.end() {
                release(&setup)?;
            }
        }
    }
    outcome?;
    Ok(Exit::Code(HAS_ENDED_IT as u8).into())
}

/// What comes to the group of `tenure` in other ways, `pkill tenure` for instance, is for `tenure` to answer. Handlers that do
/// nothing: what is ignored would stay so in the anchor.
fn ignore_signals() -> Result<(), Failure> {
    for signal in PASSED_ON.into_iter().chain([SIGTSTP, SIGTTIN, SIGTTOU]) {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(|error| Failure::new(Exit::Io, format!("cannot catch signals: {error}")))?;
    }
    Ok(())
}

/// Why there is nothing more to watch.
enum Outcome {
    /// The command has ended by itself.
    Over,
    /// The command, or what is left of its group, must be gone now.
    Due,
    /// `tenure` is dead.
    Alone,
}

fn watch(
    lines: &mut Lines<std::io::Stdin>,
    mut schedule: Schedule,
    alarm: &Alarm,
    group: &Group,
) -> Result<Outcome, Errno> {
    let mut ended = false;
    loop {
        while let Some(line) = lines.next() {
            match Order::parse(&line) {
                Some(Order::Renewed(deadline)) => schedule.renewed(deadline),
                Some(Order::Lost) => group.ask(&mut schedule),
                Some(Order::Ended) if schedule.was_asked() => ended = true,
                Some(Order::Ended) => return Ok(Outcome::Over),
                None => return Err(Errno::BADMSG),
            }
        }
        if lines.at_end && !ended {
            return Ok(Outcome::Alone);
        }
        let now = Native.now();
        let next = match schedule.step(now) {
            Step::Ask => {
                group.ask(&mut schedule);
                continue;
            }
            Step::Kill => return Ok(Outcome::Due),
            // The command has ended as it was asked to; others of its group have the rest of the grace.
            Step::Wait(_) if ended && group.is_gone() => return Ok(Outcome::Due),
            Step::Wait(_) if ended => now + LOOK,
            Step::Wait(at) => at,
        };
        alarm.set(next)?;
        let mut either = vec![
            PollFd::new(alarm, PollFlags::IN),
            PollFd::from_borrowed_fd(lines.descriptor(), PollFlags::IN),
        ];
        if lines.at_end {
            either.pop();
        }
        rustix::io::retry_on_intr(|| poll(&mut either, None))?;
        if either.get(1).is_some_and(|orders| !orders.revents().is_empty()) {
            lines.read();
        }
    }
}

/// The command's process group.
struct Group {
    anchor: Child,
    number: u32,
}

impl Group {
    fn new() -> std::io::Result<Group> {
        let mut command = this_program();
        command.arg("--anchor").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let anchor = inherit_nothing(end_with_this_thread(&mut command)).spawn()?;
        Ok(Group { number: anchor.id(), anchor })
    }

    fn send(&self, signal: Signal) {
        // Nobody but the anchor may be left, and that one may be dead.
        let _nobody = kill_process_group(Pid::from_child(&self.anchor), signal);
    }

    fn ask(&self, schedule: &mut Schedule) {
        schedule.asked(Native.now());
        self.send(Signal::TERM);
        // One that is stopped could not answer.
        self.send(Signal::CONT);
    }

    /// Whether nobody but the anchor is left, as far as /proc says; not if it says nothing.
    fn is_gone(&self) -> bool {
        group_members(Pid::from_child(&self.anchor)).is_ok_and(|members| {
            let others = members.iter().filter(|member| !member.ended && member.pid != self.number).count();
            // Who does not see the anchor does not see the others either.
            others == 0 && members.iter().any(|member| member.pid == self.number)
        })
    }

    /// Kills everyone in it, and waits until they are gone; `false` if that could not be seen.
    fn end(mut self) -> bool {
        // To all of them in one step, in which no child of theirs can be missed.
        self.send(Signal::KILL);
        let give_up = Native.now() + GONE_MAX;
        let mut waiter = Native.waiter();
        let gone = loop {
            if self.is_gone() {
                break true;
            }
            if Native.now() >= give_up {
                break false;
            }
            Native.wait(&mut waiter, Some(Native.now() + LOOK));
        };
        self.reap();
        gone
    }

    /// Leaves those alone whom the command has left behind.
    fn leave(mut self) {
        self.reap();
    }

    fn reap(&mut self) {
        // Both fail if it is dead.
        let _dead_already = self.anchor.kill();
        let _reaped = self.anchor.wait();
    }
}

/// Nobody else can release the lease any more.
fn release(setup: &Setup) -> Result<(), Failure> {
    let address =
        Address::parse(&setup.address).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let handle: Handle =
        setup.handle.parse().map_err(|_| Failure::new(Exit::Usage, "no handle of a lease"))?;
    Ok(LeaseStore::open(&address)?.release(&handle)?)
}
