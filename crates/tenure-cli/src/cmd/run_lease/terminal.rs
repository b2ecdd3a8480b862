//! The command's terminal: what a small shell does for its one job.
//!
//! If this process is in the foreground when the command starts, the command's group is put there in its stead; but not if its
//! output goes elsewhere, since a pager at the end of a pipe reads keys, too: then only when the command wants to read. Keys that
//! reach this process are passed on.
//!
//! When the command stops, the terminal is taken back and this process stops as well, with its group, so that whoever started it
//! sees that. When this process is continued, the command is put into the foreground if this process is there, and continued. At
//! the end the terminal is taken back, unless another has it by then.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process_group, test_kill_process_group, waitid,
};
use tenure::host::{Host, Native, foreground, set_foreground, signal_rest_of_group, stop};

/// Between two attempts of a command that keeps reading in the background, where nothing stops this process.
const PAUSE: Duration = Duration::from_millis(50);

/// The controlling terminal of this process, and who is to have it.
pub(crate) struct Terminal {
    terminal: OwnedFd,
    own: Pid,
    group: Pid,
    /// Whether the command is to be in the foreground when this process could be.
    wanted: AtomicBool,
}

impl Terminal {
    /// `None` if this process has no terminal.
    pub(super) fn of(group: Pid) -> Option<Arc<Terminal>> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
        let terminal = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()?;
        foreground(&terminal).ok()?;
        let wanted = std::io::stdout().is_terminal().into();
        Some(Arc::new(Terminal { terminal, own: getpgrp(), group, wanted }))
    }

    /// Puts the command into the foreground if it is to be there, and this process is; `false` if not.
    pub(crate) fn hand_over(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
            && foreground(&self.terminal) == Ok(self.own)
            && set_foreground(&self.terminal, self.group).is_ok()
    }

    /// Puts this process into the foreground if the command is there, or nobody who lives. `true` if it was the command.
    pub(super) fn take_back(&self) -> bool {
        let Ok(now) = foreground(&self.terminal) else { return false };
        if now == self.group || test_kill_process_group(now) == Err(Errno::SRCH) {
            // It fails if the terminal is gone.
            let _gone = set_foreground(&self.terminal, self.own);
        }
        now == self.group
    }

    /// The command was stopped by this signal.
    fn stopped(&self, signal: Option<Signal>) {
        let wants_terminal = matches!(signal, Some(Signal::TTIN | Signal::TTOU));
        self.wanted.fetch_or(wants_terminal, Ordering::Relaxed);
        if !(wants_terminal && self.hand_over()) {
            self.take_back();
            let signal = signal.filter(|_| wants_terminal).unwrap_or(Signal::TSTP);
            // If this process can't be stopped, the command is continued, so that it does not wait for ever.
            let _goes_on = signal_rest_of_group(signal).and_then(|()| stop(signal));
            if !self.hand_over() && wants_terminal {
                Native.wait(&mut Native.waiter(), Some(Native.now() + PAUSE));
            }
        }
        // Fails if nobody is left there.
        let _nobody = kill_process_group(self.group, Signal::CONT);
    }
}

/// Waits until the command has ended, which leaves its status to be asked for, and its number taken.
pub(super) fn until_ended(command: Pid, terminal: Option<&Terminal>) -> rustix::io::Result<()> {
    let look = |options| rustix::io::retry_on_intr(|| waitid(WaitId::Pid(command), options));
    loop {
        let status = look(WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT)?;
        if !status.as_ref().is_some_and(rustix::process::WaitIdStatus::stopped) {
            return Ok(());
        }
        // Takes the news, so that they do not come again. By now the command may run.
        let stopped = look(WaitIdOptions::STOPPED | WaitIdOptions::NOHANG)?;
        if let (Some(status), Some(terminal)) = (stopped, terminal) {
            terminal.stopped(status.stopping_signal().and_then(Signal::from_named_raw));
        }
    }
}
