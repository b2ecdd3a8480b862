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
use super::recover::{self, copy_range, sync_directory};
use super::scan::{Course, scan, scan_all, scan_end};
use super::seek::{self, Found};
use super::segment::{Head, Segment, numbered, rotated};
use super::writer::{Batch, Known, Writer};
use super::{Format, Journal, Receipt, disturbed};
use crate::document::Reached;
use crate::error::{Error, Result};
use crate::host::{Host, Open};
use crate::scratch;
use crate::wait::Patience;

/// How often a step begins again because the lock file was deleted.
pub(super) const ROUNDS_MAX: usize = 16;

/// A part of a file that goes into the new one.
pub(super) type Kept<H> = (Arc<<H as Host>::File>, Range<u64>);

/// A file that was put in place.
pub(super) struct Placed<H: Host> {
    segment: Segment<H>,
    end: u64,
    /// Whether its name survives a power loss.
    is_settled: bool,
}

impl<H: Host> Placed<H> {
    /// What its content survives.
    fn reached(&self) -> Reached {
        if self.is_settled { Reached::Power } else { Reached::Unknown }
    }

    /// The file as the next append finds it, whose records up to `next` all stand in it.
    fn known(self, journal: &Journal<H>, next: u64, sum: u32) -> Known<H> {
        let Placed { segment, end, is_settled } = self;
        let mut shared = journal.shared();
        shared.settled = is_settled.then_some(segment.id);
        shared.synced = is_settled.then_some((segment.id, next - 1));
        Known { segment, end, next, sum }
    }
}

/// Puts a new file in place: a head, parts of old files, and text. What stands there is the model for its owner and mode.
/// Nothing can fail any more once it has its name: whether that name is synced is told apart.
pub(super) fn put<H: Host>(
    journal: &Journal<H>,
    target: &Path,
    old: Option<&Segment<H>>,
    head: Head,
    kept: &[Kept<H>],
    text: &[u8],
) -> Result<Placed<H>> {
    let host = &journal.host;
    let first_line = match &head {
        Head::Checked(header) => header.line(),
        Head::Plain(stamp) => plain_line(&journal.format, stamp.as_deref()),
    };
    let fail = |errno| Error::host("write a new file for the journal", target, errno);
    let mode = if old.is_none() && journal.mode.is_none() { 0o666 } else { 0o600 };
    let temporary = scratch::name(host, target);
    let file = host.open(&temporary, Open::New { mode }).map_err(fail)?;
    let put = || {
        scratch::write_all(host, &file, &first_line).map_err(fail)?;
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
        let stat = host.stat_file(&file).map_err(fail)?;
        match host.rename(&temporary, target) {
            // It may have been done, and only the reply of an NFS server been lost.
            Err(_) if host.stat(target).is_ok_and(|there| there.id == stat.id) => Ok(stat),
            renamed => renamed.map(|()| stat).map_err(fail),
        }
    };
    let done = put();
    if done.is_err() {
        // If this fails, the next comer sweeps.
        let _swept_later = host.unlink(&temporary);
    }
    let stat = done?;
    let is_settled = sync_directory(host, target).is_ok();
    let (path, body) = (target.to_owned(), first_line.len() as u64);
    let segment = Segment::of(path, Arc::new(file), stat.id, head, body);
    Ok(Placed { segment, end: stat.size, is_settled })
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
    let (head, next, sum) = match (&journal.format, &last) {
        (Format::Checked, Some(last)) => {
            let found = scan_all(host, last)?;
            let next = found.course.next.unwrap_or(1).max(found.synced.saturating_add(1));
            let Head::Checked(header) = last.head else { return Err(disturbed(target)) };
            (Head::Checked(Header { base: next, ..header }), next, found.course.sum)
        }
        (Format::Checked, None) => {
            (Head::Checked(Header { journal: host.random(), first: 1, base: 1 }), 1, 0)
        }
        (Format::Plain { header }, _) => (Head::Plain(header.as_ref().map(|_| Vec::new())), 1, 0),
    };
    // An empty file is a journal that somebody wanted to begin: it gives its owner and mode.
    let empty = Format::Plain { header: None };
    let old = Segment::open(host, target, &empty, Open::Read)?;
    Ok(put(journal, target, old.as_ref(), head, &[], &[])?.known(journal, next, sum))
}

/// Removes segments from before the last reset, which a crash left. They count no more, so that a failure harms nobody.
pub(super) fn remove_obsolete<H: Host>(host: &H, active: &Segment<H>) {
    let Head::Checked(Header { first, .. }) = active.head else { return };
    for (_, path) in rotated(host, &active.path, Some(active.id)).unwrap_or_default() {
        let segment = Segment::open(host, &path, &Format::Checked, Open::Read).ok().flatten();
        if segment.is_none_or(|segment| segment.base() >= first) {
            break;
        }
        let _removed_later = host.unlink(&path);
    }
}

/// Begins a new file under the lock; the old one has records.
pub(super) fn rotate_now<H: Host>(writer: &mut Writer<'_, H>) -> Result<Reached> {
    let (journal, host, target) = (writer.journal, &writer.journal.host, writer.target);
    let Known { segment, next, sum, .. } = &writer.known;
    let (next, sum) = (*next, *sum);
    if let Err(errno) = host.sync_data(&segment.file) {
        journal.shared().suspects.push(segment.id);
        return Err(Error::host("sync the journal before its rotation", target, errno));
    }
    let head = match &segment.head {
        Head::Checked(header) => Head::Checked(Header { base: next, ..*header }),
        plain @ Head::Plain(_) => plain.clone(),
    };
    let placed = put_behind(writer, head, &[])?;
    let reached = placed.reached();
    writer.known = placed.known(journal, next, sum);
    retain(writer);
    Ok(reached)
}

/// Puts a new file in the place of the present one, which keeps its content under a number.
fn put_behind<H: Host>(writer: &Writer<'_, H>, head: Head, kept: &[Kept<H>]) -> Result<Placed<H>> {
    let (journal, target, segment) = (writer.journal, writer.target, &writer.known.segment);
    let host = &journal.host;
    let last = rotated(host, target, None)?.pop().map_or(0, |(number, _)| number);
    let path = numbered(target, last.saturating_add(1));
    match host.link(target, &path) {
        // The reply of an NFS server may have been lost.
        Err(_) if host.stat(&path).is_ok_and(|stat| stat.id == segment.id) => {}
        linked => linked.map_err(|errno| Error::host("give the journal's file its number", &path, errno))?,
    }
    let placed =
        sync_directory(host, target).and_then(|()| put(journal, target, Some(segment), head, kept, &[]));
    if placed.is_err() {
        // If this fails, the next comer does it.
        let _taken_back_later = host.unlink(&path);
    }
    placed
}

/// Removes the oldest segments beyond the number to keep. What can't be removed now is one too many until the next rotation.
fn retain<H: Host>(writer: &Writer<'_, H>) {
    let Some(keep) = writer.journal.keep_segments else { return };
    let (host, active) = (&writer.journal.host, writer.known.segment.id);
    let segments = rotated(host, writer.target, Some(active)).unwrap_or_default();
    for (_, path) in segments.iter().take(segments.len().saturating_sub(keep)) {
        let _removed_later = host.unlink(path);
    }
}

/// Leaves a file of which a sync has failed: a later one could report success for data that was dropped. Whatever is not
/// known to be synced is copied into the new file, as far as it can still be read, and the old one counts no further than
/// where that begins.
pub(super) fn leave<H: Host>(writer: &mut Writer<'_, H>) -> Result<()> {
    let (journal, target) = (writer.journal, writer.target);
    let Known { segment, end, next, sum } = &writer.known;
    let (mut end, mut next, mut sum) = (*end, *next, *sum);
    let left = segment.id;
    let placed = match &segment.head {
        plain @ Head::Plain(_) => {
            // Nothing says how far it was synced.
            let kept = (segment.file.clone(), segment.body..end);
            put(journal, target, Some(segment), plain.clone(), &[kept], &[])?
        }
        Head::Checked(header) => {
            let host = &journal.host;
            let from = seek::seek(host, segment, writer.synced() + 1)?;
            let base = from.next;
            let found = scan(host, segment, Course::from(from.offset, Some(from.next), from.sum), 0)?;
            if let Some(flawed) = found.flawed {
                // The system may have dropped what it could not write.
                let lost = recover::set_aside(host, segment, found.course.end..found.size, flawed.flaw)?;
                journal.shared().recovered = Some(lost);
                (end, next, sum) = (found.course.end, found.course.next.unwrap_or(base), found.course.sum);
            }
            let kept = [(segment.file.clone(), from.offset..end)];
            let head = Head::Checked(Header { base, ..*header });
            match base > header.base {
                true => put_behind(writer, head, &kept)?,
                false => put(journal, target, Some(segment), head, &kept, &[])?,
            }
        }
    };
    writer.known = placed.known(journal, next, sum);
    journal.shared().suspects.retain(|id| *id != left);
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
        let Some(mut writer) = Writer::open(journal, &target, &held)? else { continue };
        let done = step(&mut writer)?;
        writer.keep();
        drop(held);
        return Ok(done);
    }
    Err(disturbed(&journal.path))
}

fn receipt<H: Host>(writer: &Writer<'_, H>, sequences: Option<(u64, u64)>, durability: Reached) -> Receipt {
    let recovery = writer.journal.shared().recovered.take();
    Receipt { sequences, cursor: writer.cursor(), durability, recovery }
}

pub(super) fn rotate<H: Host>(journal: &Journal<H>, patience: &Patience) -> Result<Receipt> {
    locked(journal, patience, |writer| {
        let reached = if writer.is_empty() { Reached::Power } else { rotate_now(writer)? };
        Ok(receipt(writer, None, reached))
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
    let host = &writer.journal.host;
    let found = seek::find(writer.journal, writer.target, through)?;
    let Found { segment: from, offset, next: base, missed, .. } = found;
    if missed.is_some() && !segment.is_checked() {
        // What stands there now may all have come later, or may all be known.
        return Err(Error::conflict(
            writer.target,
            format!("has not the line that the cursor stands behind ({through})"),
        ));
    }
    if from.id == segment.id {
        return Ok((vec![(from.file, offset..*end)], base));
    }
    let mut kept = vec![(segment.file.clone(), segment.body..*end)];
    // Backward: a file that was left counts no further than where the one after it begins.
    let mut following = segment.base();
    for (_, path) in rotated(host, writer.target, Some(segment.id))?.into_iter().rev() {
        let Some(each) = Segment::open(host, &path, &writer.journal.format, Open::Read)? else { continue };
        let is_from = each.id == from.id;
        kept.push((
            each.file.clone(),
            if is_from { offset } else { each.body }..end_before(host, &each, following)?,
        ));
        if is_from {
            break;
        }
        following = each.base();
    }
    kept.reverse();
    Ok((kept, base))
}

/// Where the records of a file that was rotated away end, if the next file begins with the sequence `following`.
fn end_before<H: Host>(host: &H, segment: &Segment<H>, following: u64) -> Result<u64> {
    let found = scan_all(host, segment)?;
    let next = found.course.next.unwrap_or(following);
    if !segment.is_checked() || next == following || next < following && found.flawed.is_none() {
        return Ok(found.course.end);
    }
    if next < following {
        return Err(recover::damaged(segment, &found));
    }
    Ok(seek::seek(host, segment, following)?.offset)
}

/// Removes what a reset took away. In the checked format it counts no more by now, so that a failure harms nobody.
fn remove_older<H: Host>(writer: &Writer<'_, H>) -> Result<()> {
    let host = &writer.journal.host;
    let removed = || {
        for (_, path) in rotated(host, writer.target, Some(writer.known.segment.id))? {
            let what = "remove a file from before a reset, which was done otherwise";
            host.unlink(&path).map_err(|errno| Error::host(what, &path, errno))?;
        }
        Ok(())
    };
    match removed() {
        Err(_) if writer.known.segment.is_checked() => Ok(()),
        removed => removed,
    }
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
    let (head, batch) = match &segment.head {
        Head::Checked(header) => {
            let first = reset.unwrap_or(header.first);
            let head = Head::Checked(Header { first, base, ..*header });
            (head, Some(Batch { records: vec![stamp.to_vec()], is_stamped: true }))
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
            (Head::Plain(Some(stamp.to_vec())), batch)
        }
    };
    let (text, ends) = writer.encoded(batch.iter());
    let placed = put(journal, target, Some(segment), head, kept, &text)?;
    let (next, sum) = match ends.last().map(|(_, written)| written.cursor.0) {
        Some(Place::Checked { sequence, sum, .. }) => (sequence + 1, sum),
        // With another stamp, lines have other sums. Without it the cursor leads to the file's beginning.
        Some(Place::Plain { .. }) | None => {
            (1, scan_end(&journal.host, &placed.segment).map_or(0, |found| found.course.sum))
        }
    };
    let sequences = ends.last().and_then(|(_, written)| written.sequences);
    let reached = placed.reached();
    writer.known = placed.known(journal, next, sum);
    // If a power loss could bring back the file before, the older ones must still be there with what was to stay.
    if reset.is_some() && reached == Reached::Power {
        remove_older(writer)?;
    }
    Ok(receipt(writer, sequences, reached))
}
