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

/// Stops this process and the rest of its group by a signal of job control (SIGTSTP, SIGTTIN, SIGTTOU), and returns when it was
/// continued. Returns at once if the kernel does not stop it: nobody could continue an orphaned group.
///
/// Errors: as for [`signal_rest_of_group`].
pub fn stop_with_group(signal: Signal) -> Result<()> {
    // A signal to the whole group would stop this process some time later, on whichever of its threads. One to this very thread
    // stops it before the call returns.
    signal_rest_of_group(signal)?;
    // SAFETY: the call takes no pointer.
    check(unsafe { libc::raise(signal.as_raw()) })
}

/// Sends a signal to all of this process's group but itself. It ignores that signal meanwhile: by one thread at a time.
///
/// Errors: `INVAL` for SIGKILL and SIGSTOP, which nobody can ignore.
pub fn signal_rest_of_group(signal: Signal) -> Result<()> {
    let number = signal.as_raw();
    // SAFETY: a sigaction of zeros is valid, and both live through the calls.
    unsafe {
        let (mut ignored, mut before): (libc::sigaction, libc::sigaction) =
            (std::mem::zeroed(), std::mem::zeroed());
        ignored.sa_sigaction = libc::SIG_IGN;
        if libc::sigaction(number, &raw const ignored, &raw mut before) == -1 {
            return Err(last_error());
        }
        // This process is in the group, so the call finds somebody.
        let _found = libc::kill(0, number);
        if libc::sigaction(number, &raw const before, ptr::null_mut()) == -1 {
            return Err(last_error());
        }
    }
    Ok(())
}

fn check(number: libc::c_int) -> Result<()> {
    if number == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(number)) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
