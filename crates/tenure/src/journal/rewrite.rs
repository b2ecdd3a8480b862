//! A new file in the place of a journal's present one: its beginning, rotation, stamps in a header, reset, repair.
//!
//! A new file is finished under a name of its own, synced, renamed, and the directory synced, before anything in it is
//! acknowledged; so the path always names a whole journal. In a rotation, the old file is synced and gets its number as a
//! further name first, and that name is synced: a power loss that keeps the rename keeps the number, too. A crash in between
//! leaves a file with two names, which the next comer takes back.
//!
//! Nobody copies and truncates: whatever came between would be lost, and readers would lose their place.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::cursor::{Cursor, Place};
use super::record::Header;
use super::recover::{copy_range, sync_directory};
use super::scan::scan_all;
use super::seek::{self, Found};
use super::segment::{Head, Segment, numbered, rotated};
use super::writer::{Batch, Known, Writer};
use super::{Format, Journal, Receipt, disturbed};
use crate::document::Reached;
use crate::error::{Error, Result};
use crate::host::{Errno, Host, Open};
use crate::scratch;
use crate::wait::Patience;

/// How often a step begins again because the lock file was deleted.
pub(super) const ROUNDS_MAX: usize = 16;

/// A part of a file that goes into the new one.
pub(super) type Kept<H> = (Arc<<H as Host>::File>, Range<u64>);

/// Puts a new file in place: a first line, parts of old files, and text. What stands there is the model for its owner and
/// mode.
pub(super) fn put<H: Host>(
    journal: &Journal<H>,
    target: &Path,
    old: Option<&Segment<H>>,
    first_line: &[u8],
    kept: &[Kept<H>],
    text: &[u8],
) -> Result<()> {
    let host = &journal.host;
    let fail = |errno| Error::host("write a new file for the journal", target, errno);
    let mode = if old.is_none() && journal.mode.is_none() { 0o666 } else { 0o600 };
    let temporary = scratch::name(host, target);
    let file = host.open(&temporary, Open::New { mode }).map_err(fail)?;
    let put = || {
        scratch::write_all(host, &file, first_line).map_err(fail)?;
        for (from, range) in kept {
            copy_range(host, from, range.clone(), &file).map_err(fail)?;
        }
        scratch::write_all(host, &file, text).map_err(fail)?;
        match (old, journal.mode) {
            (Some(old), _) => {
                let stat = host.stat_file(&old.file).map_err(fail)?;
                scratch::dress(host, target, &file, (&old.file, &stat))?;
            }
            (None, Some(mode)) => host.set_mode(&file, mode).map_err(fail)?,
            (None, None) => {}
        }
        host.fsync(&file).map_err(fail)?;
        let id = host.id(&file).map_err(fail)?;
        match host.rename(&temporary, target) {
            // It may have been done, and only the reply of an NFS server been lost.
            Err(_) if host.stat(target).is_ok_and(|stat| stat.id == id) => Ok(()),
            renamed => renamed.map_err(fail),
        }
    };
    let done = put();
    if done.is_err() {
        // If this fails, the next comer sweeps.
        let _swept_later = host.unlink(&temporary);
    }
    done?;
    sync_directory(host, target)
}

/// Opens the file that was just put in place.
fn opened<H: Host>(journal: &Journal<H>, target: &Path) -> Result<Segment<H>> {
    let segment = Segment::open(&journal.host, target, &journal.format, Open::ReadWrite)?;
    let segment = segment.ok_or_else(|| Error::host("open the journal", target, Errno::NOENT))?;
    journal.shared().settled = Some(segment.id);
    Ok(segment)
}

/// The file after [`put`], whose records up to `next` are all synced.
fn known<H: Host>(journal: &Journal<H>, target: &Path, next: u64, sum: u32) -> Result<Known<H>> {
    let segment = opened(journal, target)?;
    let stat = journal.host.stat_file(&segment.file);
    let end = stat.map_err(|errno| Error::host("look at the journal", target, errno))?.size;
    if let Head::Checked(Header { journal: number, .. }) = segment.head {
        journal.shared().note_synced(number, next - 1);
    }
    Ok(Known { segment, end, next, sum })
}

/// The first line of a plain journal.
fn plain_line(format: &Format, stamp: Option<&[u8]>) -> Vec<u8> {
    match (format, stamp) {
        (Format::Plain { header: Some(header) }, Some(stamp)) => [header.as_bytes(), stamp, b"\n"].concat(),
        _ => Vec::new(),
    }
}

/// A journal that is not there yet. If segments of it are, it goes on where they end.
pub(super) fn begin<H: Host>(journal: &Journal<H>, target: &Path) -> Result<Known<H>> {
    let host = &journal.host;
    let last = rotated(host, target, None)?.pop();
    let last =
        last.map(|(_, path)| Segment::open(host, &path, &journal.format, Open::Read)).transpose()?.flatten();
    let (first_line, next, sum) = match (&journal.format, &last) {
        (Format::Checked, Some(last)) => {
            let found = scan_all(host, last)?;
            let next = found.course.next.unwrap_or(1).max(found.synced + 1);
            let Head::Checked(header) = last.head else { return Err(disturbed(target)) };
            (Header { base: next, ..header }.line(), next, found.course.sum)
        }
        (Format::Checked, None) => (Header { journal: host.random(), first: 1, base: 1 }.line(), 1, 0),
        (format @ Format::Plain { .. }, _) => (plain_line(format, Some(b"")), 1, 0),
    };
    // An empty file is a journal that somebody wanted to begin: it gives its owner and mode.
    let empty = Format::Plain { header: None };
    let old = Segment::open(host, target, &empty, Open::Read)?;
    put(journal, target, old.as_ref(), &first_line, &[], &[])?;
    known(journal, target, next, sum)
}

/// Removes segments from before the last reset, which a crash left.
pub(super) fn remove_obsolete<H: Host>(host: &H, active: &Segment<H>) -> Result<()> {
    let Head::Checked(Header { first, .. }) = active.head else { return Ok(()) };
    for (_, path) in rotated(host, &active.path, Some(active.id))? {
        let segment = Segment::open(host, &path, &Format::Checked, Open::Read)?;
        if segment.is_none_or(|segment| segment.base() >= first) {
            break;
        }
        host.unlink(&path).map_err(|errno| Error::host("remove a file from before a reset", &path, errno))?;
    }
    Ok(())
}

/// Begins a new file under the lock; the old one has records.
pub(super) fn rotate_now<H: Host>(writer: &mut Writer<'_, H>) -> Result<()> {
    let (journal, host, target) = (writer.journal, &writer.journal.host, writer.target);
    let Known { segment, next, sum, .. } = &writer.known;
    let (next, sum) = (*next, *sum);
    if let Err(errno) = host.sync_data(&segment.file) {
        journal.shared().suspect = Some(segment.id);
        return Err(Error::host("sync the journal before its rotation", target, errno));
    }
    number(writer)?;
    let first_line = match &segment.head {
        Head::Checked(header) => Header { base: next, ..*header }.line(),
        Head::Plain(stamp) => plain_line(&journal.format, stamp.as_deref()),
    };
    put(journal, target, Some(segment), &first_line, &[], &[])?;
    writer.known = known(journal, target, next, sum)?;
    retain(writer)
}

/// Gives the present file its number, as a further name.
fn number<H: Host>(writer: &Writer<'_, H>) -> Result<()> {
    let (host, target) = (&writer.journal.host, writer.target);
    let last = rotated(host, target, None)?.pop().map_or(0, |(number, _)| number);
    let path = numbered(target, last + 1);
    match host.link(target, &path) {
        // The reply of an NFS server may have been lost.
        Err(_) if host.stat(&path).is_ok_and(|stat| stat.id == writer.known.segment.id) => {}
        linked => linked.map_err(|errno| Error::host("give the journal's file its number", &path, errno))?,
    }
    sync_directory(host, target)
}

/// Removes the oldest segments beyond the number to keep.
fn retain<H: Host>(writer: &Writer<'_, H>) -> Result<()> {
    let Some(keep) = writer.journal.keep_segments else { return Ok(()) };
    let (host, active) = (&writer.journal.host, writer.known.segment.id);
    let segments = rotated(host, writer.target, Some(active))?;
    for (_, path) in segments.iter().take(segments.len().saturating_sub(keep)) {
        host.unlink(path).map_err(|errno| Error::host("remove an old file of the journal", path, errno))?;
    }
    Ok(())
}

/// Leaves a file of which a sync has failed: a later one could report success for data that was dropped. Whatever is not
/// known to be synced is copied into the new file, and the old one counts no further than where that begins.
pub(super) fn leave<H: Host>(writer: &mut Writer<'_, H>) -> Result<()> {
    let (journal, target) = (writer.journal, writer.target);
    let Known { segment, end, next, sum } = &writer.known;
    let (end, next, sum) = (*end, *next, *sum);
    match &segment.head {
        Head::Plain(stamp) => {
            // Nothing says how far it was synced.
            let line = plain_line(&journal.format, stamp.as_deref());
            let kept = (segment.file.clone(), segment.body..end);
            put(journal, target, Some(segment), &line, &[kept], &[])?;
        }
        Head::Checked(header) => {
            let base = writer.synced() + 1;
            let from = seek::seek(&journal.host, segment, base)?.offset;
            if base > header.base {
                number(writer)?;
            }
            let kept = (segment.file.clone(), from..end);
            put(journal, target, Some(segment), &Header { base, ..*header }.line(), &[kept], &[])?;
        }
    }
    writer.known = known(journal, target, next, sum)?;
    journal.shared().suspect = None;
    Ok(())
}

/// Runs `step` on the journal under its lock, as often as somebody deletes the lock file.
pub(super) fn locked<H: Host, T>(
    journal: &Journal<H>,
    patience: &Patience,
    mut step: impl FnMut(&mut Writer<'_, H>) -> Result<T>,
) -> Result<T> {
    for _ in 0..ROUNDS_MAX {
        let target = journal.target()?;
        let held = journal.lock(&target)?.acquire(patience.clone())?;
        if journal.target()? != target {
            continue;
        }
        let mut writer = Writer::open(journal, &target)?;
        if !held.is_current()? {
            continue;
        }
        let done = step(&mut writer)?;
        writer.keep();
        drop(held);
        return Ok(done);
    }
    Err(disturbed(&journal.path))
}

fn receipt<H: Host>(writer: &mut Writer<'_, H>, sequences: Option<(u64, u64)>) -> Receipt {
    let (cursor, recovery) = (writer.cursor(), writer.recovery.take());
    Receipt { sequences, cursor, durability: Reached::Power, recovery }
}

pub(super) fn rotate<H: Host>(journal: &Journal<H>, patience: &Patience) -> Result<Receipt> {
    locked(journal, patience, |writer| {
        if !writer.is_empty() {
            rotate_now(writer)?;
        }
        Ok(receipt(writer, None))
    })
}

pub(super) fn reset<H: Host>(
    journal: &Journal<H>,
    patience: &Patience,
    stamp: &[u8],
    through: Option<&Cursor>,
) -> Result<Receipt> {
    locked(journal, patience, |writer| {
        let (kept, base) = kept(writer, through)?;
        replace(writer, &kept, base, Some(base), &[], stamp)
    })
}

/// What stands behind a cursor, or nothing: parts of files, and the sequence of the first record there.
fn kept<H: Host>(writer: &Writer<'_, H>, through: Option<&Cursor>) -> Result<(Vec<Kept<H>>, u64)> {
    let Known { segment, end, next, .. } = &writer.known;
    let Some(through) = through else { return Ok((Vec::new(), *next)) };
    let Found { segment: from, offset, next: base, .. } = seek::find(writer.journal, writer.target, through)?;
    if from.id == segment.id {
        return Ok((vec![(from.file, offset..*end)], base));
    }
    let host = &writer.journal.host;
    let mut kept = Vec::new();
    let mut behind = false;
    for (_, path) in rotated(host, writer.target, Some(segment.id))? {
        let Some(each) = Segment::open(host, &path, &writer.journal.format, Open::Read)? else { continue };
        let is_from = each.id == from.id;
        if is_from || behind {
            let size = scan_all(host, &each)?.course.end;
            kept.push((each.file.clone(), if is_from { offset } else { each.body }..size));
        }
        behind |= is_from;
    }
    kept.push((segment.file.clone(), segment.body..*end));
    Ok((kept, base))
}

/// Records and a stamp where the stamp stands in the header: a new file.
pub(super) fn stamped_plain<H: Host>(
    writer: &mut Writer<'_, H>,
    records: &[Vec<u8>],
    stamp: &[u8],
) -> Result<Receipt> {
    let Known { segment, end, .. } = &writer.known;
    let kept = vec![(segment.file.clone(), segment.body..*end)];
    replace(writer, &kept, 1, None, records, stamp)
}

/// Puts a new file in place, of what is kept, records and a stamp. `reset`: what is not kept is gone, from that sequence on.
fn replace<H: Host>(
    writer: &mut Writer<'_, H>,
    kept: &[Kept<H>],
    base: u64,
    reset: Option<u64>,
    records: &[Vec<u8>],
    stamp: &[u8],
) -> Result<Receipt> {
    let (journal, target) = (writer.journal, writer.target);
    let segment = &writer.known.segment;
    let (first_line, batch) = match &segment.head {
        Head::Checked(header) => {
            let first = reset.unwrap_or(header.first);
            let line = Header { first, base, ..*header }.line();
            (line, Some(Batch { records: vec![stamp.to_vec()], is_stamped: true }))
        }
        Head::Plain(_) => {
            if !matches!(journal.format, Format::Plain { header: Some(_) }) {
                let problem = "has no header that a stamp could stand in: name the header of its format";
                return Err(Error::unsupported(target, problem));
            }
            if stamp.contains(&b'\n') {
                return Err(Error::rejected(&journal.path, "the stamp has a line end", None));
            }
            let batch = (!records.is_empty()).then(|| Batch { records: records.to_vec(), is_stamped: false });
            (plain_line(&journal.format, Some(stamp)), batch)
        }
    };
    let (text, ends) = writer.encoded(batch.iter());
    put(journal, target, Some(segment), &first_line, kept, &text)?;
    let (next, sum) = match ends.last().map(|(_, written)| written.cursor.0) {
        Some(Place::Checked { sequence, sum, .. }) => (sequence + 1, sum),
        Some(Place::Plain { sum, .. }) => (1, sum),
        None => (1, if kept.is_empty() { 0 } else { writer.known.sum }),
    };
    let sequences = ends.last().and_then(|(_, written)| written.sequences);
    writer.known = known(journal, target, next, sum)?;
    if reset.is_some() {
        for (_, path) in rotated(&journal.host, target, Some(writer.known.segment.id))? {
            let removed = journal.host.unlink(&path);
            removed.map_err(|errno| Error::host("remove a file from before a reset", &path, errno))?;
        }
    }
    Ok(receipt(writer, sequences))
}
