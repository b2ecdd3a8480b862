//! A tail: what a crash left behind the last whole batch.
//!
//! It is moved, not removed: 1. its bytes are copied to a new file beside the journal, which is synced, with its name; 2. the
//! journal is cut off at the last whole batch; 3. and synced, so that no power loss brings back what was cut off under
//! records that were written since. A crash in between leaves the tail where it is, and a copy of it.
//!
//! The caller holds the journal's lock.

use std::fmt;
use std::path::{Path, PathBuf};

use super::record::Flaw;
use super::scan::Scan;
use super::seek;
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::host::{Errno, Host, Open, directory_of};
use crate::scratch;

/// In the name of a file that a repair has replaced.
pub(super) const DAMAGED: &str = "damaged";

/// A tail that was moved away.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Where in the file it began.
    pub offset: u64,
    /// How many bytes it had.
    pub bytes: u64,
    /// The file that has them now.
    pub quarantine: PathBuf,
    /// What it was.
    pub cause: String,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recovery { offset, bytes, quarantine, cause } = self;
        let quarantine = quarantine.display();
        write!(f, "{cause} at byte {offset}, left by a crash, was moved ({bytes} bytes) to {quarantine}")
    }
}

/// The error for a flaw among what was synced.
pub(super) fn damaged<H: Host>(segment: &Segment<H>, scan: &Scan) -> Error {
    let (at, flaw) = scan.flawed.map_or((scan.course.end, Flaw::Form), |flawed| (flawed.at, flawed.flaw));
    damaged_at(&segment.path, at, scan.course.next, flaw)
}

pub(super) fn damaged_at(path: &Path, at: u64, next: Option<u64>, flaw: Flaw) -> Error {
    let instead = next.map(|next| format!(" instead of record {next}")).unwrap_or_default();
    let advice = "Look at it with `tenure verify`; `tenure repair` takes the damage out and keeps a copy";
    Error::corrupt(path, format!("is damaged: at byte {at} stands {flaw}{instead}. {advice}"))
}

/// Moves what stands behind the last whole batch to a file of its own, and says whether the cut is synced: it has been made
/// even if that failed, and then the file is not to be relied on.
pub(super) fn quarantine<H: Host>(
    host: &H,
    segment: &Segment<H>,
    scan: &Scan,
) -> Result<(Recovery, crate::host::Result<()>)> {
    let flaw = scan.flawed.map_or(Flaw::Torn, |flawed| flawed.flaw);
    let recovery = set_aside(host, segment, scan.course.end..scan.size, flaw)?;
    if let Err(errno) = host.truncate(&segment.file, recovery.offset) {
        // The tail is where it was; a second copy would only be in the way.
        let _one_too_many = host.unlink(&recovery.quarantine);
        return Err(Error::host("cut off the torn end of the journal", &segment.path, errno));
    }
    Ok((recovery, host.sync_data(&segment.file)))
}

/// Copies a stretch to a new file beside the journal, and syncs that and its name.
pub(super) fn set_aside<H: Host>(
    host: &H,
    segment: &Segment<H>,
    range: std::ops::Range<u64>,
    flaw: Flaw,
) -> Result<Recovery> {
    let path = beside(host, &segment.path, "torn");
    let fail = |errno| Error::host("move the torn end of the journal away", &path, errno);
    let stat = host.stat_file(&segment.file).map_err(fail)?;
    let copy = host.open(&path, Open::New { mode: 0o600 }).map_err(fail)?;
    let copied = || {
        copy_range(host, &segment.file, range.clone(), &copy).map_err(fail)?;
        host.set_mode(&copy, stat.mode & 0o666).map_err(fail)?;
        host.fsync(&copy).map_err(fail)?;
        sync_directory(host, &segment.path)
    };
    if let Err(error) = copied() {
        let _nothing_was_moved = host.unlink(&path);
        return Err(error);
    }
    let (offset, bytes) = (range.start, range.end - range.start);
    Ok(Recovery { offset, bytes, quarantine: path, cause: flaw.to_string() })
}

/// The most that [`write_again`] writes, in bytes.
const AGAIN_MAX: u64 = 4 * 1024 * 1024;

/// Writes what is not known to be synced once more, as it stands. A process whose sync failed may have died before it could
/// tell anyone: the kernel takes its data for written by now, and no later sync would, unless it is written again. Whoever
/// had the file open then hears of the failure; this is for those who open it afterwards.
pub(super) fn write_again<H: Host>(host: &H, segment: &Segment<H>, scan: &Scan) -> Result<()> {
    let end = scan.course.end;
    let from = match scan.course.next {
        Some(next) if next - 1 > scan.synced => seek::seek(host, segment, scan.synced + 1)?.offset,
        _ => return Ok(()),
    };
    let fail = |errno| Error::host("write the end of the journal again", &segment.path, errno);
    let size = usize::try_from(end - from).ok().filter(|_| end - from <= AGAIN_MAX);
    let Some(size) = size else { return Ok(()) };
    let mut bytes = vec![0; size];
    let mut read = 0;
    while read < size {
        match host.read_at(&segment.file, from + read as u64, &mut bytes[read..]).map_err(fail)? {
            0 => return Err(fail(Errno::IO)),
            more => read += more,
        }
    }
    let mut written = 0;
    while written < size {
        match host.write_at(&segment.file, from + written as u64, &bytes[written..]).map_err(fail)? {
            0 => return Err(fail(Errno::NOSPC)),
            more => written += more,
        }
    }
    Ok(())
}

/// A new name beside the journal's file for something that is kept.
pub(super) fn beside<H: Host>(host: &H, path: &Path, what: &str) -> PathBuf {
    crate::target::beside(path, &format!(".{what}-{:016x}", host.random()))
}

/// The files beside the journal whose names [`beside`] gave.
pub(super) fn copies<H: Host>(host: &H, path: &Path, what: &str) -> Result<Vec<PathBuf>> {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(format!(".{what}-"));
    let names = host.list(&directory_of(path), &prefix);
    let names = names.map_err(|errno| Error::host("list the directory of the journal", path, errno))?;
    let is_ours = |name: &std::ffi::OsString| name.len() == prefix.len() + 16;
    Ok(names.iter().filter(|name| is_ours(name)).map(|name| path.with_file_name(name)).collect())
}

pub(super) fn copy_range<H: Host>(
    host: &H,
    from: &H::File,
    range: std::ops::Range<u64>,
    to: &H::File,
) -> crate::host::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = range.start;
    while at < range.end {
        let most = usize::try_from(range.end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        match host.read_at(from, at, &mut buffer[..most])? {
            0 => break,
            read => {
                scratch::write_all(host, to, &buffer[..read])?;
                at += read as u64;
            }
        }
    }
    Ok(())
}

pub(super) fn sync_directory<H: Host>(host: &H, path: &Path) -> Result<()> {
    let fail = |errno| Error::host("sync the directory of the journal", path, errno);
    let directory = host.open(&directory_of(path), Open::Read).map_err(fail)?;
    host.fsync(&directory).map_err(fail)
}
