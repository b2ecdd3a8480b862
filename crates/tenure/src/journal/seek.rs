//! Where in a journal's files a place is: by sequence or by cursor.

use std::path::{Path, PathBuf};

use super::cursor::{Cursor, Place};
use super::lines::{Line, Lines};
use super::reader::Missed;
use super::record::{Flaw, Header};
use super::scan::Course;
use super::segment::{Head, LINE_MAX, Segment, rotated};
use super::{Format, Journal};
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Open};

/// Why a reader can't go on in a journal that was deleted and made anew.
pub(super) const ANOTHER: &str =
    "is another journal than the one that was read before; read it from the beginning";

/// Why a reader can't go on where records were lost.
pub(super) const LOST: &str = "has not the record that was read last: it was not synced, and a power loss took it. Read from \
                               an earlier cursor, or from the beginning";

/// How often the journal's files are looked at again because one was rotated meanwhile.
const LOOKS_MAX: usize = 1000;

/// A place in a file.
pub(super) struct Found<H: Host> {
    pub(super) segment: Segment<H>,
    pub(super) offset: u64,
    /// The sequence that belongs there.
    pub(super) next: u64,
    pub(super) sum: u32,
    /// The sum of the record before the one that was asked for.
    pub(super) before: Option<u32>,
    /// What was asked for is the first of its file.
    is_first: bool,
    /// Sequences before it that the caller asked for and that are gone.
    pub(super) missed: Option<Missed>,
}

pub(super) fn beginning<H: Host>(segment: Segment<H>, missed: Option<Missed>) -> Found<H> {
    Found {
        offset: segment.body,
        next: segment.base(),
        sum: 0,
        before: None,
        is_first: true,
        missed,
        segment,
    }
}

/// Looks at the journal's files by `look` until none was rotated meanwhile: what was opened first would stand in the wrong
/// place among them.
fn at_rest<H: Host, T>(
    journal: &Journal<H>,
    target: &Path,
    mut look: impl FnMut() -> Result<(Option<FileId>, T)>,
) -> Result<T> {
    for _ in 0..LOOKS_MAX {
        let (active, found) = look()?;
        let now = match journal.host.stat(target) {
            Ok(stat) => Some(stat.id),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(Error::host("look at the journal", target, errno)),
        };
        // An empty file is none yet.
        if active.is_none() || now == active {
            return Ok(found);
        }
    }
    Err(Error::conflict(target, "was rotated each time that its files were looked at"))
}

/// All files of the journal that still count, oldest first.
pub(super) fn files<H: Host>(journal: &Journal<H>, target: &Path) -> Result<Vec<Segment<H>>> {
    at_rest(journal, target, || {
        let files = files_once(journal, target)?;
        Ok((files.last().map(|active| active.id), files))
    })
}

fn files_once<H: Host>(journal: &Journal<H>, target: &Path) -> Result<Vec<Segment<H>>> {
    let open = |path: &Path| Segment::open(&journal.host, path, &journal.format, Open::Read);
    let Some(active) = open(target)? else { return Ok(Vec::new()) };
    let first = match active.head {
        Head::Checked(Header { first, .. }) => first,
        Head::Plain(_) => 0,
    };
    let paths: Vec<PathBuf> =
        rotated(&journal.host, target, Some(active.id))?.into_iter().map(|(_, path)| path).collect();
    let mut found = Vec::new();
    for path in paths {
        // One that is gone by now was too old to be kept.
        found.extend(open(&path)?.filter(|segment| segment.base() >= first));
    }
    found.push(active);
    Ok(found)
}

pub(super) fn oldest<H: Host>(journal: &Journal<H>, target: &Path) -> Result<Option<Found<H>>> {
    Ok(files(journal, target)?.into_iter().next().map(|segment| beginning(segment, None)))
}

/// The place of the record `next` in a journal of the checked format; `None` if there is no journal.
pub(super) fn locate<H: Host>(journal: &Journal<H>, target: &Path, next: u64) -> Result<Option<Found<H>>> {
    let found = at_rest(journal, target, || segment_of(journal, target, next))?;
    let Some((later, following)) = found else { return Ok(None) };
    if later.base() > next {
        let missed = Missed { sequences: Some((next, later.base() - 1)) };
        return Ok(Some(beginning(later, Some(missed))));
    }
    if later.base() == next {
        // Nothing stands before it that could be damaged and passed over.
        return Ok(Some(beginning(later, None)));
    }
    let sought = seek(&journal.host, &later, next)?;
    if let Some(following) = following
        && sought.before.is_none()
        && !sought.is_passed
    {
        // A repair took the end of its file.
        let missed = Missed { sequences: Some((next, following.base() - 1)) };
        return Ok(Some(beginning(following, Some(missed))));
    }
    let Sought { offset, sum, before, is_passed, .. } = sought;
    let next = if is_passed { next } else { sought.next };
    Ok(Some(Found { segment: later, offset, next, sum, before, is_first: is_passed, missed: None }))
}

/// The file that has the record `next`, or the first after it, and the one behind that.
#[expect(clippy::type_complexity, reason = "a pair of files, and which one was written when they were found")]
fn segment_of<H: Host>(
    journal: &Journal<H>,
    target: &Path,
    next: u64,
) -> Result<(Option<FileId>, Option<(Segment<H>, Option<Segment<H>>)>)> {
    let host = &journal.host;
    let Some(active) = Segment::open(host, target, &journal.format, Open::Read)? else {
        return Ok((None, None));
    };
    let id = active.id;
    let first = match active.head {
        Head::Checked(Header { first, .. }) => first,
        Head::Plain(_) => 1,
    };
    let (mut later, mut following) = (active, None);
    for (_, path) in rotated(host, target, Some(later.id))?.into_iter().rev() {
        if later.base() <= next {
            break;
        }
        match Segment::open(host, &path, &journal.format, Open::Read)? {
            Some(segment) if segment.base() >= first => {
                following = Some(std::mem::replace(&mut later, segment))
            }
            _ => break,
        }
    }
    Ok((Some(id), Some((later, following))))
}

/// The place behind a cursor.
///
/// # Errors
///
/// [`Error::is_conflict`] if the cursor is of another journal, or of records that are not there any more though none after
/// them are; [`Error::is_missing`] if there is no journal.
pub(super) fn find<H: Host>(journal: &Journal<H>, target: &Path, cursor: &Cursor) -> Result<Found<H>> {
    let conflict = |problem: &str| Err(Error::conflict(target, format!("{problem} ({cursor})")));
    match (cursor.0, &journal.format) {
        (Place::Checked { journal: 0, sequence: 0, .. }, Format::Checked) => {
            oldest(journal, target)?.ok_or_else(|| Error::missing(target))
        }
        (Place::Checked { journal: of, sequence, sum }, Format::Checked) => {
            let Some(next) = sequence.checked_add(1) else { return conflict("no place in any journal") };
            let found = locate(journal, target, next)?.ok_or_else(|| Error::missing(target))?;
            let Head::Checked(header) = found.segment.head else {
                return conflict("no place in this journal");
            };
            if header.journal != of {
                return conflict(ANOTHER);
            }
            let is_there = found.missed.is_some() || found.is_first || found.before.is_some();
            let is_another = sum != 0 && found.before.is_some_and(|before| before != sum);
            if !is_there || is_another {
                return conflict(LOST);
            }
            Ok(found)
        }
        (Place::Plain { file, offset, sum }, Format::Plain { .. }) => {
            let mut files = files(journal, target)?;
            if let Some(at) = files.iter().position(|segment| segment.id == file)
                && ends_line(journal, &files[at], offset, sum)?
            {
                return Ok(plain_at(files.swap_remove(at), offset, sum, None));
            }
            // It was replaced by one with the same header, or copied.
            for at in (0..files.len()).rev() {
                if ends_line(journal, &files[at], offset, sum)? {
                    return Ok(plain_at(files.swap_remove(at), offset, sum, None));
                }
            }
            let oldest = files.into_iter().next().ok_or_else(|| Error::missing(target))?;
            Ok(plain_at(oldest, 0, 0, Some(Missed { sequences: None })))
        }
        _ => conflict("the cursor is of the other format"),
    }
}

fn plain_at<H: Host>(segment: Segment<H>, offset: u64, sum: u32, missed: Option<Missed>) -> Found<H> {
    Found { offset: segment.body + offset, next: 1, sum, before: None, is_first: false, missed, segment }
}

/// Whether a line with this sum ends at this offset behind the header.
fn ends_line<H: Host>(journal: &Journal<H>, segment: &Segment<H>, offset: u64, sum: u32) -> Result<bool> {
    if offset == 0 {
        return Ok(true);
    }
    let fail = |errno| Error::host("read the journal", &segment.path, errno);
    let end = segment.body + offset;
    let mut window = 4096;
    loop {
        let from = segment.body.max(end.saturating_sub(window));
        let mut lines = Lines::from(&journal.host, &segment.file, from, LINE_MAX);
        if from > segment.body {
            let _the_rest_of_a_line = lines.next().map_err(fail)?;
        }
        while let Some(line) = lines.next().map_err(fail)? {
            match line {
                Line::Whole { at, text } if at + text.len() as u64 + 1 == end => {
                    return Ok(crc32c::crc32c_append(segment.seed, text) == sum);
                }
                Line::Whole { at, .. } if at < end => {}
                _ => break,
            }
        }
        if from == segment.body {
            return Ok(false);
        }
        window = end;
    }
}

/// Where a record stands in its file.
pub(super) struct Sought {
    /// The beginning of its batch, or the end of the last whole batch before it.
    pub(super) offset: u64,
    /// The sequence that belongs there.
    pub(super) next: u64,
    /// The sum of the record there.
    pub(super) sum: u32,
    /// The sum of the record before the one sought, if it is there.
    pub(super) before: Option<u32>,
    /// Whether the one before is not there, but a later one is: a repair took it.
    is_passed: bool,
}

/// Finds the record with the sequence `next` in a segment that begins no later: by halves as far as the file is sound, and
/// then line by line, past damage.
pub(super) fn seek<H: Host>(host: &H, segment: &Segment<H>, next: u64) -> Result<Sought> {
    let fail = |errno| Error::host("read the journal", &segment.path, errno);
    let size = host.stat_file(&segment.file).map_err(fail)?.size;
    let (mut low, mut high) = (segment.body, size);
    while high.saturating_sub(low) > 512 * 1024 {
        let middle = low + (high - low) / 2;
        let mut lines = Lines::from(host, &segment.file, middle, LINE_MAX);
        let _the_rest_of_a_line = lines.next().map_err(fail)?;
        match lines.next().map_err(fail)? {
            Some(Line::Whole { at, text }) => match segment.parse(text, None) {
                // The one before it is to be read, too.
                Ok(entry) if entry.sequence < next && entry.part.begins() => low = at,
                Ok(entry) if entry.sequence >= next => high = middle,
                _ => break,
            },
            _ => break,
        }
    }
    let expected = (low == segment.body).then(|| segment.base());
    let (mut course, mut before) = (Course::from(low, expected, 0), None);
    let mut lines = Lines::from(host, &segment.file, low, LINE_MAX);
    let (mut inside, mut is_passed) = (None, false);
    while before.is_none() {
        let (entry, after) = match lines.next().map_err(fail)? {
            None | Some(Line::Open { .. }) => break,
            Some(Line::Long { .. }) => (Err(Flaw::Long), 0),
            Some(Line::Whole { at, text }) => (segment.parse(text, course.next), at + text.len() as u64 + 1),
        };
        let taken = entry.and_then(|entry| {
            if entry.sequence >= next {
                is_passed = inside.is_none() && !course.is_in_batch() && entry.part.begins();
                return Ok(true);
            }
            // Its own batch is not passed over.
            let behind = entry.sequence.saturating_add(u64::from(entry.part.of));
            if entry.part.begins() && behind > next {
                inside.get_or_insert(entry.sequence);
            }
            if inside.is_none() {
                course.take(&entry, after)?;
            }
            before = (entry.sequence + 1 == next).then_some(entry.sum);
            Ok(false)
        });
        match taken {
            Ok(false) => {}
            Ok(true) => break,
            Err(_damage_before_what_is_sought) => {
                (course, inside) = (Course::from(lines.at(), None, 0), None)
            }
        }
    }
    let reached = inside.or(course.next).unwrap_or(if is_passed { next } else { segment.base() });
    Ok(Sought { offset: course.end, next: reached, sum: course.sum, before, is_passed })
}
