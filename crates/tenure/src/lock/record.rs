//! What a lock file of the lockfile kind says of its owner. Pure.
//!
//! Two lines. The first is the owner's pid, which is all that liblockfile's `dotlockfile -p` reads. The second is a JSON
//! object in ASCII, which Python's `filelock.SoftFileLock` takes for the name of another host, whose locks it never
//! breaks; a file of more lines, or of more than 1024 bytes, it would break after two seconds (filelock 4.2).
//!
//! A lock that was given to a handle has no owner process; its first line is 1, since pid 1 always lives.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::owner::{COMMAND_MAX, HOST_MAX, Identity, plain};

/// More than any record; a longer file is not one.
pub(super) const BYTES_MAX: usize = 1024;

/// The layout that this version writes, and the only one that it judges.
const VERSION: u32 = 1;

/// Names one acquisition: 128 random bits in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Nonce(pub(super) String);

impl Nonce {
    pub(super) fn new(high: u64, low: u64) -> Nonce {
        Nonce(format!("{high:016x}{low:016x}"))
    }

    /// Whether this is text that a nonce can be.
    pub(super) fn is_well_formed(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who holds the lock for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) nonce: Nonce,
    /// `None` for a lock that was given to a handle.
    pub(super) owner: Option<Identity>,
    pub(super) host: String,
    pub(super) lifetime: Option<Duration>,
    pub(super) command: Option<String>,
}

/// The second line.
#[derive(Serialize, Deserialize)]
struct Line {
    tenure: u32,
    nonce: Nonce,
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid_namespace: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

impl Record {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let owner = self.owner.as_ref();
        let line = Line {
            tenure: VERSION,
            nonce: self.nonce.clone(),
            host: plain(&self.host, HOST_MAX),
            pid: owner.map(|owner| owner.pid),
            machine: owner.and_then(|owner| owner.machine.clone()),
            boot: owner.and_then(|owner| owner.boot.clone()),
            pid_namespace: owner.and_then(|owner| owner.pid_namespace),
            started: owner.and_then(|owner| owner.started),
            lifetime_ms: self.lifetime.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            command: self.command.as_ref().map(|command| plain(command, COMMAND_MAX)),
        };
        let line = serde_json::to_string(&line).expect("numbers and ASCII strings have a JSON form");
        format!("{}\n{line}\n", line_pid(owner)).into_bytes()
    }

    /// `None` for what this version did not write, half a record included.
    pub(super) fn parse(bytes: &[u8]) -> Option<Record> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BYTES_MAX)?;
        let (pid, line) = text.strip_suffix('\n')?.split_once('\n')?;
        let line: Line = serde_json::from_str(line).ok()?;
        if line.tenure != VERSION || !line.nonce.is_well_formed() {
            return None;
        }
        let Line { nonce, host, machine, boot, pid_namespace, started, .. } = line;
        let owner =
            line.pid.map(|pid| Identity { host: host.clone(), machine, boot, pid_namespace, pid, started });
        if pid != line_pid(owner.as_ref()).to_string() {
            return None;
        }
        let lifetime = line.lifetime_ms.map(Duration::from_millis);
        Some(Record { nonce, owner, host, lifetime, command: line.command })
    }
}

fn line_pid(owner: Option<&Identity>) -> u32 {
    owner.map_or(1, |owner| owner.pid)
}

/// The first line of a file that is no record of ours, if it is a pid: what other tools write.
pub(super) fn foreign_pid(bytes: &[u8]) -> Option<u32> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(owner: bool) -> Record {
        let identity = Identity {
            host: "build-7".into(),
            machine: Some("0123456789abcdef0123456789abcdef".into()),
            boot: Some("5f3c1a34-6f3e-4b0c-b6a5-1de0f9a7c001".into()),
            pid_namespace: Some(4_026_531_836),
            pid: 4_194_303,
            started: Some(u64::MAX),
        };
        Record {
            nonce: Nonce::new(u64::MAX, 1),
            owner: owner.then_some(identity),
            host: "build-7".into(),
            lifetime: Some(Duration::from_millis(u64::MAX)),
            command: Some("\"\\".repeat(400)),
        }
    }

    #[test]
    fn a_record_reads_back_and_is_short_enough_for_other_tools() {
        for owner in [true, false] {
            let mut record = record(owner);
            let bytes = record.to_bytes();
            assert!(bytes.len() <= BYTES_MAX, "{} bytes", bytes.len());
            assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 2);
            assert!(bytes.is_ascii());
            record.command = record.command.map(|command| plain(&command, COMMAND_MAX));
            assert_eq!(Record::parse(&bytes), Some(record));
        }
    }

    #[test]
    fn what_is_not_whole_is_no_record() {
        let bytes = record(true).to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Record::parse(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Record::parse(&vec![0; bytes.len()]), None);
        let swapped = String::from_utf8(bytes).unwrap().replacen("4194303\n", "4194302\n", 1);
        assert_eq!(Record::parse(swapped.as_bytes()), None, "the two pids differ");
    }

    #[test]
    fn other_tools_pids_are_read() {
        let table = [("4711\n", Some(4711)), ("  12\nhost\n", Some(12)), ("", None), ("host 3\n", None)];
        for (text, pid) in table {
            assert_eq!(foreign_pid(text.as_bytes()), pid, "{text:?}");
        }
    }
}
