//! `tenure run`: a command under a lock.
//!
//! 1. Acquire the lock. 2. Catch the signals that can be passed on. 3. Start the command, which inherits a copy
//!    of the locked descriptor (unless `--close`): if this process is killed, the kernel keeps the lock until
//!    the command has ended too. 4. Pass on every signal but those that the terminal sent to the whole process
//!    group, which the command has got already. 5. When the command has ended, unlock: also what it left
//!    running in the background loses the lock then. 6. End as it ended.
//!
//! With the lockfile kind the command inherits nothing in step 3: the lock is this process's. If it is lost while the
//! command runs, the command is told by SIGTERM, once, and whatever it answers, the exit code says so.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Once};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_send_signal};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use tenure::lease::{Address, split};
use tenure::{Held, Lock, Lost, Wait};

use super::run_lease;
use super::signals;
use crate::args::{KindArg, Run, wait};
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn run(args: &Run) -> Result<ExitCode, Failure> {
    match (&args.lease.place, &args.lock) {
        (Some(place), _) => run_lease::run(args, place),
        (None, Some(path)) => run_locked(args, path),
        (None, None) => unreachable!("clap demands one of them"),
    }
}

/// A lock file of this name would be no lease; and an address may have a password in it, which no message shows.
fn refuse_address(path: &Path) -> Result<(), Failure> {
    // A path that is no text is no address.
    let Some((address, name)) = path.to_str().map(split) else { return Ok(()) };
    if name.is_none() || Address::parse(address).is_err() {
        return Ok(());
    }
    let problem =
        "this is the address of a lease: put --lease before it (or `./`, if a lock file is called so)";
    Err(Failure::new(Exit::Usage, problem))
}

fn run_locked(args: &Run, path: &Path) -> Result<ExitCode, Failure> {
    check(args)?;
    refuse_address(path)?;
    let (loss, losses) = channel();
    let held = acquire(args, path, loss)?;
    let signals = signals::catch(&signals::PASSED_ON)?;
    if let Some(lost) = held.lost() {
        return Err(Failure::new(Exit::Lost, format!("{lost}. The command was not started")));
    }
    let mut child = start(args, &held)?;
    // From here on nothing may end this process before the command, or the lock would not outlast it.
    let said = Arc::new(Once::new());
    if let Some(process) = descriptor(&child).map(Arc::new) {
        end_on_loss(losses, process.clone(), said.clone());
        pass_on(signals, process);
    }
    let status =
        child.wait().map_err(|error| Failure::new(Exit::Io, format!("cannot await the command: {error}")))?;
    match held.release() {
        Ok(()) => {}
        Err(error) if error.is_lost() => {
            // The other thread may be saying so just now: this waits for it.
            said.call_once(|| output::tell(error));
            return Ok(Exit::Lost.into());
        }
        // The command is done and its code is what the caller asked for; the lock is free when we have ended.
        Err(error) => output::tell(error),
    }
    Ok(code(status))
}

/// Refuses options that make no sense together.
fn check(args: &Run) -> Result<(), Failure> {
    let lockfile = args.kind == KindArg::Lockfile;
    let table = [
        (
            args.lease.is_of_a_lease(),
            "--ttl, --grace, --note, --at-least and --at-most say something of a lease only: they need --lease, and no LOCK",
        ),
        (
            !lockfile && args.lifetime.is_some(),
            "--lifetime needs --kind lockfile: a lock of the flock kind lasts exactly as long as its holder",
        ),
        (
            lockfile && args.shared,
            "--shared needs --kind flock: a lock of the lockfile kind has one holder at a time",
        ),
        (
            lockfile && args.close,
            "--close says nothing with --kind lockfile: there is no descriptor that the command could inherit",
        ),
    ];
    match table.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, problem)) => Err(Failure::new(Exit::Usage, problem)),
        None => Ok(()),
    }
}

fn acquire(args: &Run, path: &Path, loss: Sender<Lost>) -> Result<Held, Failure> {
    let lock = match args.kind {
        KindArg::Flock => Lock::flock(path),
        // Whoever finds the loss may hold the guard that others wait for, so it only leaves a note: if nobody reads it any
        // more, we are past the command.
        KindArg::Lockfile => Lock::lockfile(path).lifetime(args.lifetime).on_loss(move |lost| {
            let _too_late = loss.send(lost.clone());
        }),
    };
    let lock = lock.on_wait(output::SILENCE, output::tell_waiting);
    let wait = if args.try_once { Wait::Never } else { wait(args.wait) };
    let acquired = if args.shared { lock.acquire_shared(wait) } else { lock.acquire(wait) };
    acquired.map_err(|error| match error.is_busy() {
        true => Failure::new(Exit::Code(args.busy_exit), error.to_string()),
        false => Failure::from(error),
    })
}

fn start(args: &Run, held: &Held) -> Result<Child, Failure> {
    let mut command = command(args);
    // dup(2) clears close-on-exec, so the child inherits this copy; ours is closed at the end of this scope.
    let inherited = match args.close || args.kind == KindArg::Lockfile {
        true => None,
        false => Some(rustix::io::dup(held.as_fd()).map_err(|errno| not_started(&command, &errno.into()))?),
    };
    let child = command.spawn().map_err(|error| not_started(&command, &error));
    drop(inherited);
    child
}

/// What is to be run.
pub(super) fn command(args: &Run) -> Command {
    let (program, arguments) = args.command.split_first().expect("clap demands a command");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Why it was not.
pub(super) fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::NotFound,
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotADirectory => Exit::NotExecutable,
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => Exit::NotExecutable,
        _ => Exit::Io,
    };
    Failure::new(exit, format!("cannot run {}: {error}", command.get_program().display()))
}

/// A descriptor of the process, so that a signal that comes late can't hit a stranger with its number.
fn descriptor(child: &Child) -> Option<OwnedFd> {
    let opened = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty());
    opened
        .inspect_err(|errno| {
            output::tell(format_args!("signals can't be passed on to the command: {errno}"));
        })
        .ok()
}

/// Starts the thread that ends the command when the lock is lost.
fn end_on_loss(losses: Receiver<Lost>, process: Arc<OwnedFd>, said: Arc<Once>) {
    std::thread::spawn(move || {
        // Nothing comes if the lock is never lost, nor from a lock of the flock kind.
        let Ok(lost) = losses.recv() else { return };
        // The signal first: standard error may be a pipe that nobody empties. It fails if the command has ended: then the
        // release has found the loss, and says so.
        if pidfd_send_signal(&process, Signal::TERM).is_ok() {
            said.call_once(|| output::tell(format_args!("{lost}. The command is sent SIGTERM")));
        }
    });
}

/// Starts the thread that passes signals on for as long as this process lives.
fn pass_on(mut signals: SignalsInfo<WithOrigin>, process: Arc<OwnedFd>) {
    // Fails if the command has just ended, which is what its status will tell.
    let send = move |signal| Signal::from_named_raw(signal).map(|signal| pidfd_send_signal(&process, signal));
    // The terminal may have sent these before the command was there to get them: twice is better than never.
    for Origin { signal, .. } in signals.pending() {
        send(signal);
    }
    let leads_session = tenure::host::leads_session();
    std::thread::spawn(move || {
        for Origin { signal, cause, .. } in signals.forever() {
            // A terminal that goes away tells the leader of its session alone.
            let sent_to_group = cause == Cause::Kernel && !(signal == SIGHUP && leads_session);
            if !sent_to_group {
                send(signal);
            }
        }
    });
}

/// The exit code that passes a command's status on.
pub(super) fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(70);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
