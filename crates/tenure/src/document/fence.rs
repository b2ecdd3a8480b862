//! The fence: the largest fencing token that a document has accepted, kept beside it in `<file>.fence`.
//!
//! A write that carries a token ([`Document::fence`]) goes so, under the document's lock:
//!
//! 1. [`admit`], before the updater runs: read the fence. A token smaller than it is refused.
//! 2. [`raise`], after the new version is complete under its temporary name and before the last look that precedes its
//!    rename: a token that is larger than the fence takes its place, on the disk, whatever durability the document's own
//!    change asks for: later writes with the same token do not write the fence again, and rely on it.
//! 3. The document's rename. A crash between 2 and 3 leaves a fence that is raised and data that is not written: who held the
//!    older token is shut out a little early, which harms nobody.
//!
//! The fence is raised so: a. Where there is none, link(2) puts a complete, synced file in its place, and fails if there is
//! one by then. b. Otherwise take the `flock(2)` of the present fence itself, look at it again, put a complete, synced file
//! in its place by rename, and sync the directory. Whoever replaces a fence holds the lock of the very file that the path
//! names. So it is never lowered, not even when somebody deletes the document's lock file and two writers are at work.
//!
//! What it does not protect against: writes without a token, and programs that know nothing of it; they go round it. A fence
//! that somebody removes. And, as with the document itself, a lock file that is deleted in the microseconds between the last
//! look and the rename: then a write may still be put in place that another with a larger token had shut out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::replace::{Found, Place};
use super::{Document, Durability, Reached, update};
use crate::error::{Error, Result};
use crate::host::{Errno, Host, Open, Wishes};
use crate::lease::{Token, without_passwords};
use crate::lock::{Creation, Lock};
use crate::owner::{COMMAND_MAX, HOST_MAX, plain};
use crate::wait::Wait;

/// More than any fence that was written by this version; a longer file is not one.
const BYTES_MAX: usize = 1024;

/// The layout that this version writes, and the only one that it reads.
const VERSION: u32 = 1;

/// How long a fence may be in the hands of another who raises it: of a process that is just dying, say, since whoever raises
/// it holds the document's lock.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// A fence, as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    tenure: u32,
    token: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

/// The largest token so far, and who came with it first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    token: Token,
    host: Option<String>,
    pid: Option<u32>,
    command: Option<String>,
}

impl Mark {
    fn own<H: Host>(host: &H, token: Token) -> Mark {
        let identity = host.identity();
        let command = host.command().map(|command| plain(&without_passwords(&command), COMMAND_MAX));
        Mark { token, host: Some(plain(&identity.host, HOST_MAX)), pid: Some(identity.pid), command }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Mark { token, host, pid, command } = self.clone();
        let line = Line { tenure: VERSION, token: token.number(), host, pid, command };
        let line = serde_json::to_string(&line).expect("numbers and ASCII strings have a JSON form");
        format!("{line}\n").into_bytes()
    }

    /// What it says, or why it says nothing.
    fn parse(bytes: &[u8]) -> std::result::Result<Mark, String> {
        if bytes.len() > BYTES_MAX {
            return Err(format!("it is longer than {BYTES_MAX} bytes"));
        }
        let line = bytes.strip_suffix(b"\n").ok_or("it does not end with a newline")?;
        let Line { tenure, token, host, pid, command } =
            serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if tenure != VERSION {
            return Err(format!("it has the layout {tenure}, and this version knows {VERSION} alone"));
        }
        let token = Token::new(token).ok_or_else(|| format!("{token} is no fencing token"))?;
        // Another's text: nothing in it may drive the reader's terminal.
        let host = host.map(|host| plain(&host, HOST_MAX));
        Ok(Mark { token, host, pid, command: command.map(|command| plain(&command, COMMAND_MAX)) })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fencing token {}", self.token)?;
        match self.pid {
            Some(pid) => write!(f, " from pid {pid}")?,
            None => f.write_str(" from an unknown process")?,
        }
        if let Some(command) = &self.command {
            write!(f, " `{command}`")?;
        }
        match &self.host {
            Some(host) => write!(f, " on {host}"),
            None => Ok(()),
        }
    }
}

/// The fence's file beside the document.
fn path_of(target: &Path) -> PathBuf {
    crate::target::beside(target, ".fence")
}

fn read<H: Host>(host: &H, path: &Path) -> Result<Option<Mark>> {
    let fail = |errno| Error::host("read the fence of the document", path, errno);
    let file = match host.open(path, Open::Read) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(fail)?,
    };
    let mut bytes = [0; BYTES_MAX + 1];
    let mut length = 0;
    while length < bytes.len() {
        match host.read(&file, &mut bytes[length..]).map_err(fail)? {
            0 => break,
            read => length += read,
        }
    }
    Mark::parse(&bytes[..length]).map(Some).map_err(|problem| {
        let problem = format!(
            "should be the fence of the document beside it, which says in one line which fencing token is the \
             largest, but is not: {problem}. No write with a token is made before that is mended: move the file \
             away when nobody with an older token can be at work any more, and the next such write makes a new one"
        );
        Error::corrupt(path, problem)
    })
}

/// Step 1: refuses a document's change whose token is smaller than the fence. `batch` is the largest token that was admitted
/// in the same batch, which is no smaller than the fence.
pub(super) fn admit<H: Host>(document: &Document<H>, target: &Path, batch: Option<Token>) -> Result<()> {
    let Some(token) = document.fence else { return Ok(()) };
    let newest = match batch {
        Some(newest) => Some(Mark::own(&document.host, newest)),
        None => read(&document.host, &path_of(target))?,
    };
    match newest.filter(|newest| token < newest.token) {
        None => Ok(()),
        Some(newest) => Err(Error::fenced(
            &document.path,
            format!(
                "has accepted {newest}, which is newer than the {token} that this write carries: whoever makes it \
                 has lost its lease. Nothing was written. Acquire the lease again for a larger token, then read the \
                 document again and decide anew. If the leases count from 1 again, since their database is another: \
                 move {} away when nobody with an older token can be at work",
                path_of(target).display()
            ),
        )),
    }
}

/// Step 2: the fence is at least the token that is wished for, if one is, before anything is written with it. `false` if
/// it is larger by now, since somebody without the document's lock has raised it: the caller starts again.
pub(super) fn raise<H: Host>(
    place: &Place<'_, H>,
    found: Option<&Found<H::File>>,
    wishes: Wishes,
) -> Result<bool> {
    let Some(token) = wishes.fence else { return Ok(true) };
    let (host, path) = (place.host, path_of(place.path));
    // The document's own directory and name for temporary files, so that whoever sweeps finds them.
    let place = Place { durability: Durability::Power, ..*place };
    let new = || place.prepare(&Mark::own(host, token).to_bytes(), found, wishes.mode);
    for _ in 0..update::ROUNDS_MAX {
        let raised = match read(host, &path)? {
            Some(mark) if mark.token >= token => return Ok(mark.token == token),
            Some(_) => replace(&place, &path, token, new)?,
            None => create(&place, &path, new)?,
        };
        if raised {
            return Ok(true);
        }
    }
    let problem =
        "was replaced or removed each time the document's fence was about to be raised. Nothing was written";
    Err(Error::conflict(&path, problem))
}

type Prepared<H> = super::replace::Prepared<H>;

/// Step a; `false` if there is a fence by now, to be looked at.
fn create<H: Host>(
    place: &Place<'_, H>,
    path: &Path,
    new: impl FnOnce() -> Result<Prepared<H>>,
) -> Result<bool> {
    let mut prepared = new()?;
    match place.host.link(prepared.temporary(), path) {
        // A lost reply, or another's fence: either is read. Or the temporary file was swept.
        Err(Errno::EXIST | Errno::NOENT) => Ok(false),
        // No links on this file system. The document's lock alone keeps another's first fence from coming in between.
        Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS) => match place.at(path).commit(&mut prepared)? {
            true => settled(place, path, &prepared),
            false => Ok(false),
        },
        Err(errno) => Err(Error::host("make the fence of the document", path, errno)),
        Ok(()) => settled(place, path, &prepared),
    }
}

/// Step b; `false` if the fence is not what it was any more, and is to be looked at again.
fn replace<H: Host>(
    place: &Place<'_, H>,
    path: &Path,
    token: Token,
    new: impl FnOnce() -> Result<Prepared<H>>,
) -> Result<bool> {
    let host = place.host;
    let lock = Lock::flock_on(host.clone(), path).created_as(Creation::Never);
    let held = match lock.acquire(Wait::Until(host.now() + LOCK_WAIT)) {
        Err(error) if error.is_missing() => return Ok(false),
        acquired => acquired?,
    };
    if read(host, path)?.is_none_or(|mark| mark.token >= token) {
        return Ok(false);
    }
    let mut prepared = new()?;
    if !held.is_current()? || !place.at(path).commit(&mut prepared)? {
        return Ok(false);
    }
    settled(place, path, &prepared)
}

fn settled<H: Host>(place: &Place<'_, H>, path: &Path, prepared: &Prepared<H>) -> Result<bool> {
    match place.settle(prepared) {
        Reached::Power => Ok(true),
        Reached::Process | Reached::Unknown => {
            let problem =
                "the fence is raised, but its directory can't be synced. The document was not written";
            Err(Error::io(path, problem, Errno::IO))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        let (host, command) = (Some("build-7".into()), Some("deploy --to \"x\"".into()));
        Mark { token: Token::new(i64::MAX).unwrap(), host, pid: Some(4711), command }
    }

    #[test]
    fn a_fence_reads_back_and_names_its_writer() {
        let bytes = mark().to_bytes();
        assert_eq!(Mark::parse(&bytes), Ok(mark()));
        let text = "fencing token 9223372036854775807 from pid 4711 `deploy --to \"x\"` on build-7";
        assert_eq!(mark().to_string(), text);
        let plain = Mark { host: None, pid: None, command: None, ..mark() };
        assert_eq!(Mark::parse(&plain.to_bytes()), Ok(plain));
        let longest = Mark {
            host: Some(super::plain(&"\"".repeat(900), HOST_MAX)),
            command: Some(super::plain(&"\\".repeat(900), COMMAND_MAX)),
            ..mark()
        };
        assert!(longest.to_bytes().len() <= BYTES_MAX);
    }

    #[test]
    fn what_is_not_whole_or_not_ours_is_no_fence() {
        let bytes = mark().to_bytes();
        for length in 0..bytes.len() {
            assert!(Mark::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(Mark::parse(&vec![0; bytes.len()]).is_err());
        let table = [
            ("{\"tenure\":2,\"token\":7}\n", "layout 2"),
            ("{\"tenure\":1,\"token\":0}\n", "0 is no fencing token"),
            ("{\"tenure\":1,\"token\":1,\"more\":1}\n", "unknown field"),
            ("{\"token\":1}\n", "missing field"),
            ("7\n", "invalid type"),
        ];
        for (text, problem) in table {
            let found = Mark::parse(text.as_bytes()).unwrap_err();
            assert!(found.contains(problem), "{text}: {found}");
        }
    }

    #[test]
    fn a_command_in_a_fence_cannot_drive_the_terminal() {
        let line = "{\"tenure\":1,\"token\":1,\"command\":\"a\\u001b[31mb\"}\n";
        assert!(Mark::parse(line.as_bytes()).unwrap().to_string().contains("a?[31mb"));
    }
}
