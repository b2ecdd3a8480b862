//! Starting a command with every signal and descriptor as this process found it.
//!
//! `std::process::Command` gives a child the default effect of SIGPIPE, since Rust's own programs ignore it. A command that
//! only stands before another (`flock(1)`, `nice(1)`) has to hand on what it was given.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::{Errno, Result};

unsafe extern "C" {
    /// The environment of this process (environ(7)).
    static environ: *const *mut libc::c_char;
}

/// Starts a program, which is looked for in `PATH`, with its arguments; `command` begins with its name.
///
/// SIGCHLD gets its default effect first, here and in the child: where a caller has it ignored, a child leaves no status
/// to wait for. Errors: those of `fork(2)` and of `execve(2)`; `NOEXEC` for a script that names no interpreter.
pub fn spawn(command: &[OsString]) -> Result<Pid> {
    let (_words, pointers) = arguments(command)?;
    expect_children();
    let mut pid = 0;
    // SAFETY: `pointers` is an array of C strings that ends with a null and outlives the call, as is the environment, which
    // a program of one thread changes nowhere meanwhile; the null pointers stand for "as it is".
    let failed = unsafe {
        libc::posix_spawnp(&raw mut pid, pointers[0], ptr::null(), ptr::null(), pointers.as_ptr(), environ)
    };
    match failed {
        0 => Pid::from_raw(pid).ok_or(Errno::CHILD),
        failed => Err(Errno::from_raw_os_error(failed)),
    }
}

/// Becomes a program, as [`spawn`] would start it; returns only to say why not. A script that names no interpreter is given
/// to the shell.
pub fn become_command(command: &[OsString]) -> Errno {
    let (_words, pointers) = match arguments(command) {
        Ok(arguments) => arguments,
        Err(errno) => return errno,
    };
    expect_children();
    // SAFETY: `pointers` is an array of C strings that ends with a null and outlives the call.
    unsafe { libc::execvp(pointers[0], pointers.as_ptr().cast()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// The words, and pointers to them as C wants an array of arguments.
fn arguments(command: &[OsString]) -> Result<(Vec<CString>, Vec<*mut libc::c_char>)> {
    let words = command.iter().map(|word| CString::new(word.as_bytes()));
    let words: Vec<CString> = words.collect::<std::result::Result<_, _>>().map_err(|_| Errno::INVAL)?;
    if words.is_empty() {
        return Err(Errno::INVAL);
    }
    // What is called promises not to write to them, though its type does not say so.
    let pointers = words.iter().map(|word| word.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect();
    Ok((words, pointers))
}

/// Has the kernel kill the command (SIGKILL) when the thread that starts it has ended, however it ended: PR_SET_PDEATHSIG,
/// which speaks of the thread, not of its process. What the command starts itself is not covered, and a program that gets
/// other rights as it is started (set-user-ID) is not either.
pub fn end_with_this_thread(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let tie = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        match getppid() == Some(parent) {
            true => Ok(()),
            // The parent was gone before the kernel knew what to do then; so nobody hears this.
            false => Err(Errno::SRCH.into()),
        }
    };
    // SAFETY: what runs between fork and exec makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(tie) }
}

/// The command gets the three standard descriptors and no other, also none that this process was given by its parent: it
/// would keep somebody's pipe or lock.
pub fn inherit_nothing(command: &mut Command) -> &mut Command {
    let close = || {
        // SAFETY: the call takes no pointer. It marks descriptors for the exec that follows, and closes none before.
        let marked =
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        match marked {
            // Before Linux 5.11 the descriptors stay open for as long as the command lives.
            -1 | 0 => Ok(()),
            _ => Err(Errno::INVAL.into()),
        }
    };
    // SAFETY: what runs between fork and exec makes one system call, and allocates nothing.
    unsafe { command.pre_exec(close) }
}

fn expect_children() {
    // SAFETY: the call takes no pointer, and replaces no handler of this library.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}
