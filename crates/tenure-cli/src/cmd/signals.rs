//! The signals that a person or a service manager may send to `tenure run`, and where they go.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Origin;
use tenure::Cancel;

use super::run_lease::Terminal;
use crate::exit::{Exit, Failure};

/// What is passed on to a command; the rest keeps its default effect.
pub(super) const PASSED_ON: [i32; 9] =
    [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH];

/// Catches these signals, but not what our caller had us ignore (`nohup`): the command inherits that.
pub(super) fn catch(signals: &[i32]) -> Result<SignalsInfo<WithOrigin>, Failure> {
    let fail = |error| Failure::new(Exit::Io, format!("cannot catch signals: {error}"));
    let ignored = ignored();
    let caught = signals.iter().filter(|signal| ignored >> (**signal - 1) & 1 == 0);
    // Where SIGCHLD is ignored, a child leaves no status to wait for. A handler, which need not do a thing, is
    // the cure.
    signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false))).map_err(fail)?;
    SignalsInfo::<WithOrigin>::new(caught).map_err(fail)
}

/// The signals that this process ignores, one bit each, as /proc shows them; none if it can't be read.
#[expect(clippy::disallowed_methods, reason = "/proc is no file of the protocols")]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Where signals go: while this process waits for a lease, they end the wait, so that none is left held by nobody; from then on
/// they go to the command's process group.
pub(super) struct Switch {
    state: Mutex<State>,
    cancel: Cancel,
    /// The signals that were passed on, one bit each.
    passed: AtomicU64,
}

enum State {
    Waiting,
    /// This one has ended the wait.
    Came(i32),
    Command {
        group: Pid,
        terminal: Option<Arc<Terminal>>,
    },
    Over,
}

impl Switch {
    /// Catches the signals from now on.
    pub(super) fn new() -> Result<Arc<Switch>, Failure> {
        // Ctrl-Z comes here while the command is not in the foreground: the command is stopped, and this process after it.
        let mut signals = catch(&[&PASSED_ON[..], &[SIGTSTP]].concat())?;
        let switch = Arc::new(Switch {
            state: Mutex::new(State::Waiting),
            cancel: Cancel::new(),
            passed: AtomicU64::new(0),
        });
        let known = switch.clone();
        std::thread::spawn(move || signals.forever().for_each(|Origin { signal, .. }| known.deliver(signal)));
        Ok(switch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, signal: i32) {
        let mut state = self.state();
        match &*state {
            // By default they do nothing.
            State::Waiting if matches!(signal, SIGCONT | SIGWINCH) => {}
            State::Waiting if signal == SIGTSTP => {
                drop(state);
                // It fails for no such signal.
                let _stopped = tenure::host::stop(Signal::TSTP);
            }
            State::Waiting => {
                *state = State::Came(signal);
                self.cancel.cancel();
            }
            State::Command { group, terminal } => {
                if let (SIGCONT, Some(terminal)) = (signal, terminal) {
                    // First, or the command would be stopped again as soon as it reads.
                    let _in_background = terminal.hand_over();
                }
                self.passed.fetch_or(1 << signal, Ordering::Relaxed);
                send(*group, signal);
            }
            State::Came(_) | State::Over => {}
        }
    }

    /// Cancelled by a signal while this process waits.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The signal that has ended the wait.
    pub(super) fn came(&self) -> Option<i32> {
        match *self.state() {
            State::Came(signal) => Some(signal),
            _ => None,
        }
    }

    /// From now on signals go to this group; `false` if one has come before.
    pub(super) fn direct_to(&self, group: Pid, terminal: Option<Arc<Terminal>>) -> bool {
        let mut state = self.state();
        let waits = matches!(*state, State::Waiting);
        if waits {
            *state = State::Command { group, terminal };
        }
        waits
    }

    /// Sends a signal to the command's group, as long as the command has not ended.
    pub(super) fn send(&self, signal: Signal) {
        if let State::Command { group, .. } = &*self.state() {
            send(*group, signal.as_raw());
        }
    }

    /// Whether this signal was passed on.
    pub(super) fn has_passed(&self, signal: Signal) -> bool {
        self.passed.load(Ordering::Relaxed) >> signal.as_raw() & 1 == 1
    }

    /// The command has ended: the group's number may soon be another's.
    pub(super) fn over(&self) {
        *self.state() = State::Over;
    }
}

fn send(group: Pid, signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        // Fails if nobody is left there, whom it could concern.
        let _nobody = kill_process_group(group, signal);
    }
}

/// Ends this process as the signal would have ended it, had it not been caught.
pub(super) fn end_by(signal: i32) -> ExitCode {
    // It returns only if it fails.
    let _not_ended = signal_hook::low_level::emulate_default_handler(signal);
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}
