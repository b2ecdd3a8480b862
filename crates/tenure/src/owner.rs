//! Who holds a lock: what can be known of a process, and what is said when it can't be known.

use std::fmt;
use std::time::Duration;

use crate::host::Mode;
use crate::lock::Verdict;

/// A process, as others can recognise it, also after its end and from another machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The host's name. For people: two hosts may have one name.
    pub host: String,
    /// machine-id(5), which survives reboots.
    pub machine: Option<String>,
    /// The kernel's boot id, new at each boot and the same in all its containers.
    pub boot: Option<String>,
    /// The pid namespace in which `pid` is a number: the inode of /proc/self/ns/pid.
    pub pid_namespace: Option<u64>,
    /// The process id.
    pub pid: u32,
    /// When the process started, in the kernel's ticks since boot: tells it from a later one with its number.
    pub started: Option<u64>,
}

/// A process that holds a lock, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Process id, in this process's pid namespace; in the owner's for a lock file. 0 if there is no such process, as for
    /// a lock that was given to a handle.
    pub pid: u32,
    /// The command line, arguments joined by blanks; `None` if it can't be read.
    pub command: Option<String>,
    /// How long ago the process started. The kernel does not record when the lock was taken.
    pub running_for: Option<Duration>,
    /// Whether the lock is shared or exclusive.
    pub mode: Mode,
    /// Whether the process was seen to have the locked file open. If not, the kernel's lock table names it
    /// as the one that opened the file: it may be gone while a child that inherited the descriptor holds on.
    pub certain: bool,
    /// The host that a lock file's record names (lockfile kind only).
    pub host: Option<String>,
    /// Whether the owner that a lock file names is alive, and why (lockfile kind only).
    pub verdict: Option<Verdict>,
}

/// The holders of a lock as far as they can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holders {
    /// The holders found; several for a shared lock, or for a descriptor that children inherited.
    pub list: Vec<Holder>,
    /// Whether some processes could not be inspected, for want of permission: the list may then lack holders.
    pub partial: bool,
}

impl Holders {
    /// The holders found; several for a shared lock, or for a descriptor that children inherited.
    pub fn new(list: Vec<Holder>, partial: bool) -> Holders {
        Holders { list, partial }
    }
}

impl Holder {
    /// Describes a process; the fields are documented on [`Holder`].
    pub fn new(
        pid: u32,
        command: Option<String>,
        running_for: Option<Duration>,
        mode: Mode,
        certain: bool,
    ) -> Holder {
        Holder { pid, command, running_for, mode, certain, host: None, verdict: None }
    }
}

/// As much of a command line as is recorded in a file, in characters.
pub(crate) const COMMAND_MAX: usize = 200;

/// As much of a host name as is recorded; Linux allows 64 characters.
pub(crate) const HOST_MAX: usize = 64;

/// Printable ASCII alone: other tools split the file at whatever Unicode calls a line end.
pub(crate) fn plain(text: &str, longest: usize) -> String {
    let shown = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(longest).map(shown).collect()
}

/// The longest command, or other text of another process, shown in a message, in characters; the field holds all of it.
const SHOWN_COMMAND: usize = 100;

/// Another process's text, cut short: nothing in it may drive the reader's terminal.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(SHOWN_COMMAND) {
            write!(f, "{}", if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })?;
        }
        f.write_str(if self.0.chars().nth(SHOWN_COMMAND).is_some() { "..." } else { "" })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt = if self.certain { "" } else { " (opened the file, may be gone)" };
        match self.pid {
            0 if self.host.is_some() => write!(f, "a handle")?,
            0 => write!(f, "an owner without a name")?,
            pid => write!(f, "pid {pid}{doubt}")?,
        }
        match &self.command {
            Some(command) => write!(f, " `{}`", Shown(command))?,
            None => write!(f, ", command unknown")?,
        }
        if let Some(age) = self.running_for {
            write!(f, ", process started {} ago", Age(age))?;
        }
        if self.mode == Mode::Shared {
            write!(f, ", shared")?;
        }
        if let Some(host) = &self.host {
            write!(f, ", host {host}")?;
        }
        if let Some(verdict) = &self.verdict {
            write!(f, " ({verdict})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.list.is_empty() {
            let why = if self.partial {
                "some processes can't be inspected"
            } else {
                "no process on this machine shows the lock; it may have just been released"
            };
            return write!(f, "unknown ({why})");
        }
        for (n, holder) in self.list.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{holder}")?;
        }
        Ok(())
    }
}

/// A duration in the two coarsest units that fit, as `2m 5s`.
pub struct Age(pub Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..10 => write!(f, "{:.1}s", self.0.as_secs_f64()),
            10..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{}m {}s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{}h {}m", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{}d {}h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let table = [(0, "0.0s"), (12, "12s"), (125, "2m 5s"), (7260, "2h 1m"), (200_000, "2d 7h")];
        for (seconds, text) in table {
            assert_eq!(Age(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn a_command_line_cannot_drive_the_terminal() {
        let evil = Holder::new(7, Some("a\u{1b}[31m\nb".into()), None, Mode::Exclusive, true);
        assert_eq!(evil.to_string(), "pid 7 `a\u{fffd}[31m\u{fffd}b`");
        assert!(Holders::default().to_string().starts_with("unknown"));
    }
}
