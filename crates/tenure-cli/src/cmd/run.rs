//! `tenure run`: a command under a lock.
//!
//! 1. Acquire the lock. 2. Catch the signals that can be passed on. 3. Start the command, which inherits a copy
//!    of the locked descriptor (unless `--close`): if this process is killed, the kernel keeps the lock until
//!    the command has ended too. 4. Pass on every signal but those that the terminal sent to the whole process
//!    group, which the command has got already. 5. When the command has ended, unlock: also what it left
//!    running in the background loses the lock then. 6. End as it ended.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::process::{Pid, PidfdFlags, Signal};
use signal_hook::consts::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use tenure::{Held, Lock, Wait};

use crate::args::{Run, wait};
use crate::exit::{Exit, Failure};
use crate::output;

/// What a person or a service manager may send; the rest keeps its default effect.
const PASSED_ON: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH];

pub(crate) fn run(args: &Run) -> Result<ExitCode, Failure> {
    let held = acquire(args)?;
    let signals = SignalsInfo::<WithOrigin>::new(PASSED_ON);
    let signals =
        signals.map_err(|error| Failure::new(Exit::Io, format!("cannot catch signals: {error}")))?;
    let mut child = start(args, &held)?;
    pass_on(signals, &child)?;
    let status =
        child.wait().map_err(|error| Failure::new(Exit::Io, format!("cannot await the command: {error}")))?;
    if let Err(error) = held.release() {
        // The command is done and its code is what the caller asked for; the kernel unlocks at our exit.
        output::tell(error);
    }
    Ok(code(status))
}

fn acquire(args: &Run) -> Result<Held, Failure> {
    let lock = Lock::flock(&args.lock).on_wait(output::SILENCE, output::tell_waiting);
    let wait = if args.try_once { Wait::Never } else { wait(args.wait) };
    let acquired = if args.shared { lock.acquire_shared(wait) } else { lock.acquire(wait) };
    acquired.map_err(|error| match error.is_busy() {
        true => Failure::new(Exit::Code(args.busy_exit), error.to_string()),
        false => Failure::from(error),
    })
}

fn start(args: &Run, held: &Held) -> Result<Child, Failure> {
    let (program, arguments) = args.command.split_first().expect("clap demands a command");
    let fail = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::PermissionDenied => Exit::NotExecutable,
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
                Exit::NotExecutable
            }
            _ => Exit::Io,
        };
        Failure::new(exit, format!("cannot run {}: {error}", program.display()))
    };
    // dup(2) clears close-on-exec, so the child inherits this copy; ours is closed at the end of this scope.
    let inherited = match args.close {
        true => None,
        false => Some(rustix::io::dup(held.as_fd()).map_err(|errno| fail(errno.into()))?),
    };
    let child = Command::new(program).args(arguments).spawn().map_err(fail);
    drop(inherited);
    child
}

/// Starts the thread that passes signals on for as long as this process lives.
fn pass_on(mut signals: SignalsInfo<WithOrigin>, child: &Child) -> Result<(), Failure> {
    let pid = Pid::from_child(child);
    // A descriptor of the process, so that a signal that comes late can't hit a stranger with its number.
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|errno| Failure::new(Exit::Io, format!("cannot watch the command: {errno}")))?;
    std::thread::spawn(move || {
        for Origin { signal, cause, .. } in signals.forever() {
            let Some(signal) = Signal::from_named_raw(signal).filter(|_| cause != Cause::Kernel) else {
                continue;
            };
            // Fails if the command has just ended, which is what its status will tell.
            let _ended = rustix::process::pidfd_send_signal(&process, signal);
        }
    });
    Ok(())
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(70);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
