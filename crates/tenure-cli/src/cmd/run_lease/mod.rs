//! `tenure run --lease`: a command under a lease.
//!
//! 1. Acquire the lease; a thread of the library renews it. 2. Start the watchdog ([`watchdog`]), which makes a process group
//!    for the command. 3. Put that group into the terminal's foreground, if this process is there. 4. Start the command in the
//!    group; the kernel kills it when this process dies. 5. Pass signals on to the group. Tell the watchdog of each renewal; it
//!    ends the group before the lease ends. If the lease is lost at once, have it do so at once. 6. When the command has ended,
//!    dismiss the watchdog, or wait until it has ended the rest of the group; then release the lease. 7. End as the command
//!    ended, or with 79.
//!
//! The store is not told of this process as the lease's owner: then it would give the lease to another as soon as this process
//! is dead, while the command is still being killed. The watchdog releases it instead.

mod orders;
mod schedule;
mod terminal;
mod watchdog;
mod watched;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitCode, ExitStatus};
use std::sync::Once;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tenure::host::{end_with_this_thread, signal_rest_of_group, wall_clock};
use tenure::lease::{Lease, Lost};
use tenure::{LeaseStore, Wait};

pub(crate) use self::terminal::Terminal;
pub(crate) use self::watchdog::{anchor, watchdog};

use self::orders::Setup;
use self::schedule::Schedule;
use self::watched::{Event, Watchdog, outlive, report};
use super::lease::{Place, failure, request};
use super::run::{code, command, not_started};
use super::show::utc;
use super::signals::{Switch, end_by};
use crate::args::{Run, wait};
use crate::exit::{Exit, Failure};
use crate::output;

/// The grace of those who have not said any, unless a quarter of the time to live is less.
const GRACE: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Run, place: &str) -> Result<ExitCode, Failure> {
    let place = Place::parse(place)?;
    let ttl = args.lease.ttl.expect("clap demands it");
    let grace = grace(args, ttl)?;
    let store = place.connect()?;
    // Not before: what has not begun is ended by its signal.
    let switch = Switch::new()?;
    let (tell, events) = channel();
    let lease = match acquire(args, &store, &place, ttl, &switch, tell.clone()) {
        Ok(lease) => lease,
        Err(failure) => return switch.came().map_or(Err(failure), |signal| Ok(end_by(signal))),
    };
    let setup = Setup {
        address: place.address,
        handle: lease.handle().to_string(),
        grace,
        deadline: lease.deadline(),
    };
    let watchdog = Watchdog::start(&setup)?;
    let group = watchdog.group;
    let terminal = Terminal::of(group);
    if !switch.direct_to(group, terminal.clone()) {
        watchdog.dismiss();
        drop(lease);
        return Ok(switch.came().map_or(ExitCode::FAILURE, end_by));
    }
    let schedule = Schedule::new(grace, setup.deadline);
    let (orders, process) = watchdog.split();
    let said = Once::new();
    // The command is tied to the thread that starts it, which is this one: it stays until the end.
    let (ended, watched, killed) = std::thread::scope(|scope| {
        let (lease, switch, said) = (&lease, &*switch, &said);
        let watched = scope.spawn(move || outlive(process, switch));
        let reported = scope.spawn(move || report(lease, schedule, &events, orders, switch, said));
        let ended = work(args, lease, group, terminal.as_deref(), switch);
        // The receiver is this function's: it is there.
        let _there = tell.send(Event::Ended);
        // A thread that has panicked has said so.
        let killed = reported.join().unwrap_or(true);
        (ended, watched.join().ok().flatten(), killed)
    });
    conclude(ended, watched, killed, lease, &said)
}

/// How long before the lease's end the command is asked to end: there must be time for renewals before.
fn grace(args: &Run, ttl: Duration) -> Result<Duration, Failure> {
    let limit = args.lease.wishes.at_most.map_or(ttl, |at_most| at_most.min(ttl));
    let grace = args.lease.grace.unwrap_or(GRACE.min(limit / 4));
    if grace > limit / 2 {
        let option = if limit < ttl { "--at-most" } else { "--ttl" };
        let problem = format!(
            "--grace {grace:?} leaves no time for renewals within {option} {limit:?}: the command would be asked to end before. \
             At most half of it is allowed"
        );
        return Err(Failure::new(Exit::Usage, problem));
    }
    Ok(grace)
}

fn acquire(
    args: &Run,
    store: &LeaseStore,
    place: &Place,
    ttl: Duration,
    switch: &Switch,
    loss: Sender<Event>,
) -> Result<Lease, Failure> {
    let request =
        request(store, place, ttl, &args.lease.wishes).without_process().on_loss(move |lost: &Lost| {
            // If nobody reads it any more, we are past the command.
            let _too_late = loss.send(Event::Lost(lost.clone()));
        });
    let wait = if args.try_once { Wait::Never } else { wait(args.wait) };
    request.acquire(wait.or(switch.cancel())).map_err(|error| match error.is_busy() {
        true => Failure::new(Exit::Code(args.busy_exit), error.to_string()),
        false => failure(error),
    })
}

/// Runs the command to its end.
fn work(
    args: &Run,
    lease: &Lease,
    group: Pid,
    terminal: Option<&Terminal>,
    switch: &Switch,
) -> Result<ExitStatus, Failure> {
    // In the background it stays there.
    let _in_foreground = terminal.is_some_and(Terminal::hand_over);
    let ended = start(args, lease, group).and_then(|mut child| {
        let fail =
            |error: std::io::Error| Failure::new(Exit::Io, format!("cannot await the command: {error}"));
        terminal::until_ended(Pid::from_child(&child), terminal).map_err(|errno| fail(errno.into()))?;
        // Before the number of a group without a watchdog is given free.
        switch.over();
        child.wait().map_err(fail)
    });
    switch.over();
    let at_terminal = terminal.is_some_and(Terminal::take_back);
    if let Ok(status) = &ended
        && at_terminal
    {
        pass_key_on(*status, switch);
    }
    ended
}

fn start(args: &Run, lease: &Lease, group: Pid) -> Result<Child, Failure> {
    if let Some(lost) = lease.lost() {
        return Err(Failure::new(Exit::Lost, format!("{lost}. The command was not started")));
    }
    let mut command = command(args);
    command
        .process_group(group.as_raw_nonzero().get())
        .env("TENURE_TOKEN", lease.token().to_string())
        .env("TENURE_LEASE", lease.handle().to_string())
        .env("TENURE_EXPIRES", utc(wall_clock() + lease.remaining()));
    end_with_this_thread(&mut command).spawn().map_err(|error| not_started(&command, &error))
}

/// A key that has ended the command at the terminal would have reached this process's group as well, had the command been in it:
/// a script that started this process, say.
fn pass_key_on(status: ExitStatus, switch: &Switch) {
    let signal = status.signal().and_then(Signal::from_named_raw);
    if let Some(signal @ (Signal::INT | Signal::QUIT)) = signal
        && !switch.has_passed(signal)
    {
        // The command's status says it, too.
        let _said_anyway = signal_rest_of_group(signal);
    }
}

/// Releases the lease, and says how it went.
fn conclude(
    ended: Result<ExitStatus, Failure>,
    watched: Option<ExitStatus>,
    killed: bool,
    lease: Lease,
    said: &Once,
) -> Result<ExitCode, Failure> {
    let what = format!("the lease {} (token {})", lease.name(), lease.token());
    let released = lease.release();
    let status = ended?;
    let was_lost = match &released {
        Err(error) if error.is_lost() => {
            said.call_once(|| output::tell(error));
            true
        }
        // The command is done and its code is what the caller asked for; the lease ends when its time is over.
        Err(error) => {
            output::tell(error);
            killed
        }
        Ok(()) => killed,
    };
    match watched.and_then(|watched| watched.code()) {
        None if !was_lost && status.signal() == Some(Signal::KILL.as_raw()) => {
            let problem = "the watchdog was killed, so the command was killed as well";
            Err(Failure::new(Exit::Io, format!("{what}: {problem}")))
        }
        Some(0) | None if !was_lost => Ok(code(status)),
        _ => {
            said.call_once(|| {
                output::tell(format_args!("{what} was not renewed in time. The command was ended"));
            });
            Ok(Exit::Lost.into())
        }
    }
}
