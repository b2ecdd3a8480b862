//! Whether the owner that a lock file names is alive. Pure: a function of the record, of who asks, and of what the
//! system said about the process and the file's age.
//!
//! Unknown is never dead. A lock file that is gone is not judged here at all: gone is not stale (L6).

use std::fmt;
use std::time::Duration;

use super::record::Record;
use crate::host::Process;
use crate::owner::{Age, Identity};

/// What is known of the owner of a lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It lives, and its lifetime, if it has one, is not over.
    Alive,
    /// It is gone, for certain: the next comer takes the lock.
    Dead,
    /// Its lifetime is over by the file server's clock: the next comer takes the lock, whether the owner lives or not.
    Expired,
    /// Nobody here can tell. The lock is never taken from such an owner but by force.
    Unknown,
}

/// A [`State`] and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The judgement.
    pub state: State,
    /// Why: a phrase that goes on from "alive: ", "dead: " and so on.
    pub reason: String,
}

impl Verdict {
    fn new(state: State, reason: impl Into<String>) -> Verdict {
        Verdict { state, reason: reason.into() }
    }

    /// Whether the lock may be taken from its owner.
    pub fn is_stale(&self) -> bool {
        matches!(self.state, State::Dead | State::Expired)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Alive => "alive",
            State::Dead => "dead",
            State::Expired => "expired",
            State::Unknown => "unknown",
        };
        write!(f, "{state}: {}", self.reason)
    }
}

/// What the asking process knows besides the record.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) here: &'a Identity,
    /// What the system says of the process with the recorded number, if it was asked.
    pub(super) process: Option<Process>,
    /// Whether no other machine writes this file system.
    pub(super) local: bool,
    /// Modification times of the lock file and of a file touched just now, by the file server's clock; nanoseconds.
    pub(super) times: Option<(i128, i128)>,
}

/// Whether the owner's number means, to this process, what it meant to the owner.
pub(crate) fn shares_processes(owner: &Identity, here: &Identity) -> bool {
    owner.boot.is_some()
        && owner.pid_namespace.is_some()
        && (&owner.machine, &owner.boot, owner.pid_namespace)
            == (&here.machine, &here.boot, here.pid_namespace)
}

pub(super) fn judge(record: &Record, evidence: &Evidence<'_>) -> Verdict {
    if let Some(verdict) = expired(record, evidence.times) {
        return verdict;
    }
    let Some(owner) = &record.owner else {
        let limit = if record.lifetime.is_some() { "its lifetime ends" } else { "it is released or broken" };
        return Verdict::new(State::Unknown, format!("held by a handle, not by a process, until {limit}"));
    };
    judge_owner(owner, evidence.here, evidence.process, evidence.local)
}

/// The verdict on an owner by what is known of its process alone. `process` is what the system says of its number, if that was
/// asked; `local`, whether no other machine writes where its name was found.
pub(crate) fn judge_owner(
    owner: &Identity,
    here: &Identity,
    process: Option<Process>,
    local: bool,
) -> Verdict {
    let pid = owner.pid;
    if shares_processes(owner, here) {
        return match process {
            Some(Process::Gone) => {
                Verdict::new(State::Dead, format!("no process of this boot has pid {pid}"))
            }
            Some(Process::Running { started }) => match (started, owner.started) {
                (Some(now), Some(then)) if now != then => {
                    Verdict::new(State::Dead, format!("pid {pid} of this boot has another start time"))
                }
                (Some(_), Some(_)) => Verdict::new(State::Alive, format!("pid {pid} runs here")),
                _ => Verdict::new(
                    State::Alive,
                    format!("a process with pid {pid} runs here, of unknown start time"),
                ),
            },
            None => Verdict::new(State::Unknown, format!("the system did not tell of pid {pid}")),
        };
    }
    match (owner.machine == here.machine, owner.boot == here.boot) {
        (true, _) if owner.machine.is_none() || owner.boot.is_none() || here.boot.is_none() => {
            Verdict::new(State::Unknown, "its machine or boot is not recorded, or not known here")
        }
        (true, true) => {
            Verdict::new(State::Unknown, "its pid counts in another pid namespace, a container perhaps")
        }
        // The name too: a file server's own disk is local to it, and its clients may be copies of one image.
        (true, false) if local && owner.host == here.host => {
            Verdict::new(State::Dead, "it ran before this machine was booted")
        }
        (true, false) => Verdict::new(
            State::Unknown,
            "it ran in another boot, perhaps on a machine with a copy of this one's id that shares the file system",
        ),
        (false, _) => Verdict::new(State::Unknown, format!("it runs on another machine, {}", owner.host)),
    }
}

/// The verdict on a lifetime that is over by the file server's clock.
fn expired(record: &Record, times: Option<(i128, i128)>) -> Option<Verdict> {
    let (lifetime, (touched, now)) = (record.lifetime?, times?);
    let age = Duration::from_nanos(u64::try_from(now - touched).ok()?);
    (age > lifetime + margin(lifetime, touched, now)).then(|| {
        let reason = format!("last renewed {} ago, for a lifetime of {}", Age(age), Age(lifetime));
        Verdict::new(State::Expired, reason)
    })
}

/// How much longer than the lifetime a lock is respected: two machines' clocks run at slightly different rates, and a
/// time stamp may lie before the moment that it stands for, by a tick of the server's kernel (10 ms at 100 Hz), or by up to
/// two seconds on a file system that stores whole ones (FAT).
pub(super) fn margin(lifetime: Duration, touched: i128, now: i128) -> Duration {
    const SECOND: i128 = 1_000_000_000;
    let coarse = touched % SECOND == 0 && now % SECOND == 0;
    let grain = if coarse { Duration::from_secs(2) } else { Duration::from_millis(10) };
    grain + lifetime / 100
}

#[cfg(test)]
mod tests {
    use super::super::record::Nonce;
    use super::*;

    const MACHINE: &str = "0123456789abcdef0123456789abcdef";

    fn identity(machine: &str, boot: &str, pid_namespace: u64) -> Identity {
        Identity {
            host: "one-name-for-all".into(),
            machine: Some(machine.into()),
            boot: Some(boot.into()),
            pid_namespace: Some(pid_namespace),
            pid: 4711,
            started: Some(100),
        }
    }

    fn state(
        owner: Option<Identity>,
        process: Option<Process>,
        local: bool,
        lifetime_s: Option<u64>,
        age_ms: i128,
    ) -> State {
        let here = identity(MACHINE, "boot-2", 1);
        let record = Record {
            nonce: Nonce::new(0, 0),
            owner,
            host: "one-name-for-all".into(),
            lifetime: lifetime_s.map(Duration::from_secs),
            command: None,
        };
        let times = Some((1, 1 + age_ms * 1_000_000));
        judge(&record, &Evidence { here: &here, process, local, times }).state
    }

    #[test]
    fn unknown_is_never_dead() {
        let gone = Some(Process::Gone);
        let runs = |started| Some(Process::Running { started });
        let same = || Some(identity(MACHINE, "boot-2", 1));
        let earlier = || Some(identity(MACHINE, "boot-1", 1));
        let twin = || Some(identity("ffffffffffffffffffffffffffffffff", "boot-1", 1));
        let container = || Some(identity(MACHINE, "boot-2", 2));
        let nameless = || Some(Identity { machine: None, boot: None, ..identity(MACHINE, "", 1) });
        let table = [
            (same(), gone, true, None, 0, State::Dead),
            (same(), runs(Some(100)), true, None, 0, State::Alive),
            (same(), runs(Some(101)), true, None, 0, State::Dead),
            (same(), runs(None), true, None, 0, State::Alive),
            (same(), None, true, None, 0, State::Unknown),
            (earlier(), gone, true, None, 0, State::Dead),
            (earlier(), gone, false, None, 0, State::Unknown),
            (
                earlier().map(|owner| Identity { host: "client".into(), ..owner }),
                gone,
                true,
                None,
                0,
                State::Unknown,
            ),
            (twin(), gone, true, None, 0, State::Unknown),
            (container(), gone, true, None, 0, State::Unknown),
            (nameless(), gone, true, None, 0, State::Unknown),
            (None, gone, true, None, i128::from(u32::MAX), State::Unknown),
            // Age alone is no reason (L8); a lifetime is one, by the server's clock, with its margin.
            (same(), runs(Some(100)), true, None, i128::from(u32::MAX), State::Alive),
            (same(), runs(Some(100)), true, Some(30), 30_300, State::Alive),
            (same(), runs(Some(100)), true, Some(30), 30_311, State::Expired),
            (twin(), None, false, Some(30), 30_311, State::Expired),
            (None, None, false, Some(30), 30_000, State::Unknown),
            (None, None, false, Some(30), 30_311, State::Expired),
            // A server's clock that ran backward has expired nothing.
            (same(), runs(Some(100)), true, Some(30), -5, State::Alive),
        ];
        for (row, (owner, process, local, lifetime_s, age_ms, expected)) in table.into_iter().enumerate() {
            assert_eq!(state(owner, process, local, lifetime_s, age_ms), expected, "row {row}");
        }
    }

    #[test]
    fn whole_seconds_get_a_larger_margin() {
        let lifetime = Duration::from_secs(1);
        assert_eq!(margin(lifetime, 1, 2), Duration::from_millis(20));
        assert_eq!(margin(lifetime, 0, 3_000_000_000), Duration::from_millis(2010));
    }
}
