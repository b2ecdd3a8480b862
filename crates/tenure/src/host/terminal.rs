//! What a program does that has its child at a terminal, as a shell has: hand the terminal on, and stop when the child stops.

use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use rustix::process::{Pid, Signal};

use super::{Errno, Result};

/// The process group that the terminal's keys speak to, and that may read from it.
///
/// Errors: `NOTTY` if it is not this process's controlling terminal; `NOTSUP` if that group is in another pid namespace.
pub fn foreground(terminal: impl AsFd) -> Result<Pid> {
    // SAFETY: the call takes no pointer.
    match unsafe { libc::tcgetpgrp(terminal.as_fd().as_raw_fd()) } {
        -1 => Err(last_error()),
        group => Pid::from_raw(group).ok_or(Errno::NOTSUP),
    }
}

/// Puts a process group of this session into the terminal's foreground, also if this process is not there itself.
///
/// Errors: `NOTTY` as for [`foreground`]; `PERM` if the session has no such group.
pub fn set_foreground(terminal: impl AsFd, group: Pid) -> Result<()> {
    // A process in the background that is not to be stopped for this has SIGTTOU blocked (tcsetpgrp(3)).
    // SAFETY: a set of zeros is a valid place for one, and the sets live through the calls.
    unsafe {
        let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) =
            (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, libc::SIGTTOU);
        check(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before))?;
        let outcome = libc::tcsetpgrp(terminal.as_fd().as_raw_fd(), group.as_raw_nonzero().get());
        let outcome = if outcome == -1 { Err(last_error()) } else { Ok(()) };
        check(libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()))?;
        outcome
    }
}

/// Stops this process by a signal of job control (SIGTSTP, SIGTTIN, SIGTTOU), though it catches the signal, and returns when it
/// was continued. Returns at once if the signal is ignored, or if the kernel does not stop it: nobody could continue an orphaned
/// group.
///
/// By one thread at a time. Errors: `INVAL` for SIGKILL and SIGSTOP.
pub fn stop(signal: Signal) -> Result<()> {
    let number = signal.as_raw();
    let before = action(number, None)?;
    if before.sa_sigaction == libc::SIG_IGN {
        return Ok(());
    }
    action(number, Some(&default_or_ignored(libc::SIG_DFL)))?;
    // A signal to the process would stop it some time later, on whichever of its threads. This one is for the very thread that
    // calls, and stops the process before the call returns.
    // SAFETY: the call takes no pointer.
    let stopped = check(unsafe { libc::raise(number) });
    action(number, Some(&before))?;
    stopped
}

/// Sends a signal to all of this process's group but itself. It ignores that signal meanwhile: by one thread at a time.
///
/// Errors: `INVAL` for SIGKILL and SIGSTOP, which nobody can ignore.
pub fn signal_rest_of_group(signal: Signal) -> Result<()> {
    let before = action(signal.as_raw(), Some(&default_or_ignored(libc::SIG_IGN)))?;
    // This process is in the group, so the call finds somebody.
    // SAFETY: the call takes no pointer.
    let _found = unsafe { libc::kill(0, signal.as_raw()) };
    action(signal.as_raw(), Some(&before)).map(drop)
}

fn default_or_ignored(what: libc::sighandler_t) -> libc::sigaction {
    // SAFETY: a sigaction of zeros is valid: no flags, and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = what;
    action
}

/// What this process does with a signal; from now on it does as `new` says, if that is given.
fn action(signal: libc::c_int, new: Option<&libc::sigaction>) -> Result<libc::sigaction> {
    let mut before = default_or_ignored(libc::SIG_DFL);
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both live through the call; an action that is put back was there before, with its handler.
    match unsafe { libc::sigaction(signal, new, &raw mut before) } {
        -1 => Err(last_error()),
        _ => Ok(before),
    }
}

fn check(number: libc::c_int) -> Result<()> {
    if number == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(number)) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
