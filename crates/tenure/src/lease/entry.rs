//! What a store says of a lease, and who holds it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Name, Token, without_passwords};
use crate::host::Host;
use crate::owner::{Age, Identity, Shown};

/// As much of a command line, and of a note, as is recorded, in characters.
const TEXT_MAX: usize = 500;

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// Who holds a lease, as it said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tenant {
    /// The name of its host.
    pub host: String,
    /// The process id; `None` for a lease that belongs to a handle, not to a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its command line, without passwords of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What the caller wrote about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid_namespace: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<u64>,
}

impl Tenant {
    /// This process.
    pub(super) fn here<H: Host>(host: &H) -> Tenant {
        let Identity { host: name, machine, boot, pid_namespace, pid, started } = host.identity();
        // Everyone who may see the store sees it.
        let command = host.command().map(|command| cut(&without_passwords(&command)));
        Tenant { host: name, pid: Some(pid), command, note: None, machine, boot, pid_namespace, started }
    }

    pub(super) fn noting(self, note: Option<&str>) -> Tenant {
        Tenant { note: note.map(cut), ..self }
    }

    /// The same, without what a process could be told dead by: its death means nothing.
    pub(super) fn unproven(self) -> Tenant {
        Tenant { machine: None, boot: None, pid_namespace: None, started: None, ..self }
    }

    /// The same, as whoever has the handle.
    pub(super) fn without_process(self) -> Tenant {
        Tenant { pid: None, ..self.unproven() }
    }

    /// The process whose end is the end of the lease, as another of its machine can recognise it; `None` if there is none.
    pub fn process(&self) -> Option<Identity> {
        Some(Identity {
            host: self.host.clone(),
            machine: self.machine.clone(),
            boot: Some(self.boot.clone()?),
            pid_namespace: self.pid_namespace,
            pid: self.pid?,
            started: self.started,
        })
    }

    /// As a store keeps it: one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers have a JSON form")
    }

    /// Reads what [`Tenant::to_json`] wrote. Text that is something else is a tenant of whom nothing is known.
    pub fn from_json(text: &str) -> Tenant {
        serde_json::from_str(text).unwrap_or_else(|_| Tenant {
            host: "unknown".to_owned(),
            pid: None,
            command: None,
            note: None,
            machine: None,
            boot: None,
            pid_namespace: None,
            started: None,
        })
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid} on host {}", Shown(&self.host))?,
            None => write!(f, "a handle from host {}", Shown(&self.host))?,
        }
        if let Some(command) = &self.command {
            write!(f, " `{}`", Shown(command))?;
        }
        match &self.note {
            Some(note) => write!(f, " ({})", Shown(note)),
            None => Ok(()),
        }
    }
}

/// A lease as its store shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Entry {
    /// What it is called.
    pub name: Name,
    /// The largest token that was given out for it.
    pub token: Token,
    /// Whether somebody holds it, and who.
    pub occupancy: Occupancy,
    /// The time since the last acquisition, by the store's clock.
    pub held_for: Duration,
    /// The time until the store would give it to another; zero if it would do so now.
    pub remaining: Duration,
}

/// Whether a lease is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Occupancy {
    /// It can be had.
    Free,
    /// Its holder's time is not over.
    Held(Tenant),
    /// Its holder has released it or is dead, but asked that nobody gets it earlier ([`Request::at_least`](super::Request::at_least)).
    Kept(Tenant),
}

impl Entry {
    /// An entry as a store read it.
    pub fn new(
        name: Name,
        token: Token,
        occupancy: Occupancy,
        held_for: Duration,
        remaining: Duration,
    ) -> Entry {
        Entry { name, token, occupancy, held_for, remaining }
    }

    /// Who holds the lease, or has it kept.
    pub fn tenant(&self) -> Option<&Tenant> {
        match &self.occupancy {
            Occupancy::Free => None,
            Occupancy::Held(tenant) | Occupancy::Kept(tenant) => Some(tenant),
        }
    }
}

impl fmt::Display for Entry {
    /// Goes on from "is ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (since, until) = (Age(self.held_for), Age(self.remaining));
        match &self.occupancy {
            Occupancy::Free => write!(f, "free; the last token was {}", self.token),
            Occupancy::Held(tenant) => {
                write!(
                    f,
                    "held by {tenant} for {since}, for another {until} unless renewed, token {}",
                    self.token
                )
            }
            Occupancy::Kept(tenant) => {
                write!(
                    f,
                    "kept for another {until} by {tenant}, who took it {since} ago and holds it no longer"
                )
            }
        }
    }
}
