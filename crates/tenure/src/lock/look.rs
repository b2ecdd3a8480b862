//! What stands at the path of a lock file of the lockfile kind, and what that says of its owner.

use std::path::Path;

use super::record::{BYTES_MAX, Record, foreign_pid};
use super::stale::{Evidence, State, Verdict, judge, shares_processes};
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Mode, Open};
use crate::owner::{Holder, Holders, Identity};
use crate::scratch;

/// A lock file as it was read.
pub(super) struct Seen<F> {
    pub(super) file: F,
    pub(super) id: FileId,
    pub(super) bytes: Vec<u8>,
    /// `None` if some other program wrote the file.
    pub(super) record: Option<Record>,
}

/// Reads the lock file; `None` if there is none, which means that nobody holds the lock, and nothing else (L6).
pub(super) fn look<H: Host>(host: &H, path: &Path) -> Result<Option<Seen<H::File>>> {
    let fail = |errno| Error::host("read the lock file", path, errno);
    let file = match host.open(path, Open::Read) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(fail)?,
    };
    let read = || {
        let id = host.id(&file)?;
        let mut bytes = vec![0; BYTES_MAX + 1];
        let mut length = 0;
        while length < bytes.len() {
            match host.read(&file, &mut bytes[length..])? {
                0 => break,
                read => length += read,
            }
        }
        bytes.truncate(length);
        Ok((id, bytes))
    };
    match read() {
        // NFS: another machine removed the file between our open and our read.
        Err(Errno::STALE) => Ok(None),
        read => {
            let (id, bytes) = read.map_err(fail)?;
            let record = Record::parse(&bytes);
            Ok(Some(Seen { file, id, bytes, record }))
        }
    }
}

/// Judges the owner. `now` is the time by the file server's clock; without it, no lifetime is found to be over.
pub(super) fn judge_seen<H: Host>(
    host: &H,
    here: &Identity,
    seen: &Seen<H::File>,
    now: Option<i128>,
) -> Verdict {
    let Some(record) = &seen.record else {
        let pid = foreign_pid(&seen.bytes).map_or(String::new(), |pid| format!("; its first line is {pid}"));
        let reason =
            format!("another program wrote the file, or it is damaged ({} bytes{pid})", seen.bytes.len());
        return Verdict { state: State::Unknown, reason };
    };
    let shared = record.owner.as_ref().filter(|owner| shares_processes(owner, here));
    let evidence = Evidence {
        here,
        // An error of the system is no evidence of death.
        process: shared.and_then(|owner| host.process(owner.pid).ok()),
        local: shared.is_none() && host.is_local(&seen.file).unwrap_or(false),
        times: now.and_then(|now| Some((host.stat_file(&seen.file).ok()?.modified_ns, now))),
    };
    judge(record, &evidence)
}

/// The time by the clock of the server that keeps the directory of `path`: that of a file made just now.
pub(super) fn server_time<H: Host>(host: &H, path: &Path) -> std::result::Result<i128, Errno> {
    let temporary = scratch::name(host, path);
    let file = host.open(&temporary, Open::New { mode: 0o600 })?;
    let made = host.stat_file(&file).map(|stat| stat.modified_ns);
    // If this fails, the next holder of the lock sweeps.
    let _swept_later = host.unlink(&temporary);
    made
}

/// Who holds the lock, for people.
pub(super) fn holders<H: Host>(host: &H, path: &Path) -> Result<Holders> {
    let Some(seen) = look(host, path)? else { return Ok(Holders::default()) };
    let limited = seen.record.as_ref().is_some_and(|record| record.lifetime.is_some());
    // Whoever may not create a file here learns all but whether a lifetime is over.
    let now = limited.then(|| server_time(host, path).ok()).flatten();
    let verdict = judge_seen(host, &host.identity(), &seen, now);
    Ok(describe(&seen, verdict))
}

pub(super) fn describe<F>(seen: &Seen<F>, verdict: Verdict) -> Holders {
    let record = seen.record.as_ref();
    let pid = record.map_or(foreign_pid(&seen.bytes), |record| record.owner.as_ref().map(|owner| owner.pid));
    let command = record.and_then(|record| record.command.clone());
    let mut holder = Holder::new(pid.unwrap_or(0), command, None, Mode::Exclusive, true);
    holder.host = record.map(|record| record.host.clone());
    holder.verdict = Some(verdict);
    Holders::new(vec![holder], false)
}
