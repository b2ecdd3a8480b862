//! Reading a journal, from a cursor on, while others write it.
//!
//! A reader takes no lock and changes nothing. It keeps the file open that it reads, and remembers the end of the last whole
//! batch that it gave out: whatever stands behind that and is not a whole batch is read again from there, never spliced with
//! what is written later. When it has come to the end it looks whether the path names another file by now; if so, it reads
//! the old one to its end once more, since the last records may have come between, and goes on in the next.
//!
//! A flaw is damage if a record behind it says that it had been synced, and a second look, which begins after that record was
//! there, finds it again. Otherwise it is a tail, or a writer in the middle of its write, and the reader waits.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cursor::{Cursor, Place};
use super::lines::{Line, Lines};
use super::record::{Header, unescape};
use super::recover::damaged;
use super::scan::{Course, scan};
use super::segment::{Head, LINE_MAX, Segment, rotated};
use super::writer::cursor;
use super::{Format, Journal};
use crate::error::{Error, Result};
use crate::host::{Errno, Host, Native, Open, Woken};
use crate::lock::{jittered, pauses};
use crate::wait::{Patience, Wait};

/// A record as a reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its number; `None` in the plain format.
    pub sequence: Option<u64>,
    /// The very bytes that were appended.
    pub payload: Vec<u8>,
    /// Whether it is a stamp.
    pub is_stamp: bool,
    /// Behind it.
    pub cursor: Cursor,
}

/// Records that are not there any more: reset, removed with an old segment, or taken out by a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed {
    /// The first and the last sequence; `None` in the plain format, where nobody can tell.
    pub sequences: Option<(u64, u64)>,
}

/// What a reader comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The next record.
    Record(Record),
    /// Records that stood here are gone.
    Missed(Missed),
}

impl Entry {
    /// The record, if it is one.
    pub fn record(self) -> Option<Record> {
        match self {
            Entry::Record(record) => Some(record),
            Entry::Missed(_) => None,
        }
    }
}

/// A place in a file.
pub(super) struct Found<H: Host> {
    pub(super) segment: Segment<H>,
    pub(super) offset: u64,
    /// The sequence that belongs there.
    pub(super) next: u64,
    pub(super) sum: u32,
    /// The sum of the record before the one that was asked for.
    before: Option<u32>,
    /// What was asked for is the first of its file.
    is_first: bool,
    /// Sequences before it that the caller asked for and that are gone.
    missed: Option<Missed>,
}

/// The records of a journal, one after the other. See [`Journal::read_from`].
pub struct Reader<H: Host = Native> {
    journal: Journal<H>,
    /// What was asked for, until a file is there to be read.
    from: Option<Cursor>,
    open: Option<OpenSegment<H>>,
    ready: VecDeque<Record>,
    missed: Option<Missed>,
    at: Cursor,
    /// Records up to this sequence were asked not to be given: a cursor may stand in the middle of a batch.
    beyond: u64,
}

struct OpenSegment<H: Host> {
    segment: Segment<H>,
    lines: Lines<H>,
    course: Course,
    /// Nothing is written to it any more.
    is_final: bool,
}

impl<H: Host> OpenSegment<H> {
    fn at(host: &H, found: Found<H>) -> OpenSegment<H> {
        let Found { segment, offset, next, sum, .. } = found;
        let lines = Lines::from(host, &segment.file, offset, LINE_MAX);
        OpenSegment { lines, course: Course::from(offset, Some(next), sum), segment, is_final: false }
    }

    fn cursor(&self) -> Cursor {
        cursor(&self.segment, self.course.end, self.course.next.unwrap_or(1), self.course.sum)
    }

    /// Reads the next whole batch into `ready`; `false` if there is none now.
    fn read(&mut self, host: &H, ready: &mut VecDeque<Record>, missed: &mut Option<Missed>) -> Result<bool> {
        let OpenSegment { segment, lines, course, .. } = self;
        let fail = |errno| Error::host("read the journal", &segment.path, errno);
        let mut is_flawed = false;
        while let Some(line) = lines.next().map_err(fail)? {
            let Line::Whole { at, text } = line else {
                is_flawed = true;
                break;
            };
            let Ok(entry) = segment.parse(text, course.next) else {
                is_flawed = true;
                break;
            };
            if let Some(next) = course.next
                && entry.sequence > next
                && entry.part.begins()
                && !course.is_in_batch()
            {
                *missed = Some(Missed { sequences: Some((next, entry.sequence - 1)) });
                course.next = Some(entry.sequence);
                lines.rewind(course.end);
                return Ok(true);
            }
            let payload = if segment.is_checked() { unescape(entry.text) } else { Some(entry.text.into()) };
            let after = at + text.len() as u64 + 1;
            let (Some(payload), Ok(())) = (payload, course.take(&entry, after)) else {
                is_flawed = true;
                break;
            };
            ready.push_back(Record {
                sequence: segment.is_checked().then_some(entry.sequence),
                payload: payload.into_owned(),
                is_stamp: entry.is_stamp,
                cursor: cursor(segment, after, entry.sequence + 1, entry.sum),
            });
            if !course.is_in_batch() {
                return Ok(true);
            }
        }
        // What is not whole is read again when there is more.
        ready.clear();
        course.resume();
        lines.rewind(course.end);
        if is_flawed && segment.is_checked() {
            for look in 0..2 {
                let found = scan(host, segment, course.clone(), 0)?;
                if !found.is_damage() {
                    break;
                }
                if look == 1 {
                    return Err(damaged(segment, &found));
                }
            }
        }
        Ok(false)
    }
}

impl<H: Host> Reader<H> {
    pub(super) fn begin(journal: &Journal<H>, from: Option<&Cursor>) -> Result<Reader<H>> {
        let at = from.copied().unwrap_or(Cursor(match journal.format {
            Format::Checked => Place::Checked { journal: 0, sequence: 0, sum: 0 },
            Format::Plain { .. } => {
                Place::Plain { file: crate::host::FileId { device: 0, inode: 0 }, offset: 0, sum: 0 }
            }
        }));
        let journal = journal.clone();
        let mut reader = Reader {
            journal,
            from: from.copied(),
            open: None,
            ready: VecDeque::new(),
            missed: None,
            at,
            beyond: 0,
        };
        reader.beyond = from.and_then(Cursor::sequence).unwrap_or(0);
        reader.ensure_open()?;
        Ok(reader)
    }

    /// Behind what [`Reader::next`] returned last.
    pub fn cursor(&self) -> Cursor {
        self.at
    }

    /// The next record that is there, or that some are gone; `None` if there is none now. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::is_corrupt`] at damage, after everything that stands before it; [`Error::is_conflict`] if the cursor
    /// that was asked for is of another journal, or names records that this journal has lost in a power failure;
    /// [`Error::is_permission`], [`Error::is_io`].
    #[expect(clippy::should_implement_trait, reason = "`None` is not the end: there may be more later")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(missed) = self.missed.take() {
                return Ok(Some(Entry::Missed(missed)));
            }
            if let Some(record) = self.ready.pop_front() {
                if record.sequence.is_some_and(|sequence| sequence <= self.beyond) {
                    continue;
                }
                self.at = record.cursor;
                return Ok(Some(Entry::Record(record)));
            }
            if !self.ensure_open()? {
                return Ok(None);
            }
            let Some(open) = &mut self.open else { return Ok(None) };
            if open.read(&self.journal.host, &mut self.ready, &mut self.missed)? {
                continue;
            }
            if !open.is_final {
                if !is_replaced(&self.journal, open)? {
                    return Ok(None);
                }
                open.is_final = true;
                continue;
            }
            if !self.move_on()? {
                return Ok(None);
            }
        }
    }

    /// [`Reader::next`] that waits for a record. Wakes by event where the system tells of changes, and looks at least every
    /// 250 ms.
    ///
    /// # Errors
    ///
    /// As for [`Reader::next`]; [`Error::is_busy`] when the time is over, [`Error::is_cancelled`].
    pub fn next_wait(&mut self, wait: impl Into<Patience>) -> Result<Entry> {
        if let Some(entry) = self.next()? {
            return Ok(entry);
        }
        let patience = wait.into();
        let host = self.journal.host.clone();
        let mut waiter = host.waiter();
        let _cancelling = patience.cancel.as_ref().map(|cancel| cancel.register(host.waker(&waiter)));
        let started = host.now();
        let mut armed = None;
        let mut pauses = pauses(false);
        loop {
            // The watch comes before the look, so that nothing falls between.
            let now = self.open.as_ref().map(|open| open.segment.id);
            let is_new = now.is_some() && armed != now;
            if is_new && let Some(open) = &self.open {
                let watched = host.watch_writes(&mut waiter, &open.segment.file);
                (armed, pauses) = (now, self::pauses(watched));
            }
            if let Some(entry) = self.next()? {
                return Ok(entry);
            }
            if is_new {
                continue;
            }
            let waited = || host.now().since(started);
            if patience.cancel.as_ref().is_some_and(crate::Cancel::is_cancelled) {
                return Err(Error::cancelled(&self.journal.path, waited()));
            }
            let deadline = match patience.wait {
                Wait::Never => Some(started),
                Wait::Until(deadline) => Some(deadline),
                Wait::Forever => None,
            };
            if deadline.is_some_and(|deadline| host.now() >= deadline) {
                return Err(Error::unchanged(&self.journal.path, waited()));
            }
            let pause = pauses.next().unwrap_or(Duration::from_millis(250));
            let longest = host.now() + jittered(pause, host.random());
            let until = deadline.map_or(longest, |deadline| deadline.min(longest));
            if host.wait(&mut waiter, Some(until)) == Woken::Changed && armed.is_none() {
                pauses = self::pauses(false);
            }
        }
    }

    /// Opens the file that has what was asked for; `false` if there is no journal yet.
    fn ensure_open(&mut self) -> Result<bool> {
        if self.open.is_some() {
            return Ok(true);
        }
        let target = self.journal.target()?;
        let found = match &self.from {
            Some(cursor) => match find(&self.journal, &target, cursor) {
                Err(error) if error.is_missing() => None,
                found => Some(found?),
            },
            None => oldest(&self.journal, &target)?,
        };
        let Some(found) = found else { return Ok(false) };
        self.enter(found);
        Ok(true)
    }

    fn enter(&mut self, found: Found<H>) {
        self.missed = found.missed;
        let open = OpenSegment::at(&self.journal.host, found);
        if open.course.next.is_none_or(|next| next > self.beyond) {
            self.at = open.cursor();
        }
        self.open = Some(open);
    }

    /// Goes on in the file after this one, which is read to its end; `false` if that can't be found now.
    fn move_on(&mut self) -> Result<bool> {
        let Some(open) = &self.open else { return Ok(false) };
        let (journal, target) = (&self.journal, self.journal.target()?);
        let host = &journal.host;
        let found = match open.segment.head {
            Head::Checked(_) => locate(journal, &target, open.course.next.unwrap_or(1))?,
            Head::Plain(_) => {
                let files = files(journal, &target)?;
                let at = files.iter().position(|segment| segment.id == open.segment.id);
                let next = match at {
                    // It was rotated away: the one that came after it.
                    Some(at) => files.into_iter().nth(at + 1),
                    // It was stamped, or reset.
                    None => match find(journal, &target, &open.cursor()) {
                        Err(error) if error.is_missing() => None,
                        found => {
                            let found = found?;
                            self.enter(found);
                            return Ok(true);
                        }
                    },
                };
                next.map(|segment| beginning(segment, None))
            }
        };
        let Some(found) = found else { return Ok(false) };
        if found.segment.id == open.segment.id {
            return Ok(false);
        }
        if found.missed.is_some() {
            // Nothing was lost by rule, so it is damage if something stands where the records should.
            let left = scan(host, &open.segment, open.course.clone(), u64::MAX)?;
            if left.flawed.is_some() && found.segment.is_checked() {
                return Err(damaged(&open.segment, &left));
            }
        }
        self.enter(found);
        Ok(true)
    }
}

/// Whether the path names another file than this one.
fn is_replaced<H: Host>(journal: &Journal<H>, open: &OpenSegment<H>) -> Result<bool> {
    let target = journal.target()?;
    match journal.host.stat(&target) {
        Ok(stat) => Ok(stat.id != open.segment.id),
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(Error::host("look at the journal", &target, errno)),
    }
}

fn beginning<H: Host>(segment: Segment<H>, missed: Option<Missed>) -> Found<H> {
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

/// All files of the journal that still count, oldest first.
pub(super) fn files<H: Host>(journal: &Journal<H>, target: &Path) -> Result<Vec<Segment<H>>> {
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

fn oldest<H: Host>(journal: &Journal<H>, target: &Path) -> Result<Option<Found<H>>> {
    Ok(files(journal, target)?.into_iter().next().map(|segment| beginning(segment, None)))
}

/// The place of the record `next` in a journal of the checked format; `None` if there is no journal.
fn locate<H: Host>(journal: &Journal<H>, target: &Path, next: u64) -> Result<Option<Found<H>>> {
    let host = &journal.host;
    let Some(active) = Segment::open(host, target, &journal.format, Open::Read)? else { return Ok(None) };
    let first = match active.head {
        Head::Checked(Header { first, .. }) => first,
        Head::Plain(_) => 1,
    };
    let mut later = active;
    for (_, path) in rotated(host, target, Some(later.id))?.into_iter().rev() {
        if later.base() <= next {
            break;
        }
        match Segment::open(host, &path, &journal.format, Open::Read)? {
            Some(segment) if segment.base() >= first => later = segment,
            _ => break,
        }
    }
    if later.base() > next {
        let missed = Missed { sequences: Some((next, later.base() - 1)) };
        return Ok(Some(beginning(later, Some(missed))));
    }
    let is_first = later.base() == next;
    let Sought { offset, next, sum, before } = seek(host, &later, next)?;
    Ok(Some(Found { segment: later, offset, next, sum, before, is_first, missed: None }))
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
            let next = sequence + 1;
            let found = locate(journal, target, next)?.ok_or_else(|| Error::missing(target))?;
            let Head::Checked(header) = found.segment.head else {
                return conflict("no place in this journal");
            };
            if header.journal != of {
                return conflict(
                    "is another journal than the one that the cursor is of; read from the beginning",
                );
            }
            let is_there = found.missed.is_some() || found.is_first || found.before.is_some();
            let is_another = sum != 0 && found.before.is_some_and(|before| before != sum);
            if !is_there || is_another {
                let problem = "has not the record that the cursor stands behind: it was not synced, and a power loss \
                               took it. Read from an earlier cursor, or from the beginning";
                return conflict(problem);
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
            let Some(active) = files.pop() else { return Err(Error::missing(target)) };
            if ends_line(journal, &active, offset, sum)? {
                return Ok(plain_at(active, offset, sum, None));
            }
            Ok(plain_at(active, 0, 0, Some(Missed { sequences: None })))
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
                    return Ok(crc32c::crc32c(text) == sum);
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
}

/// Finds the record with the sequence `next` in a segment that begins no later: by halves as far as the file is sound, and
/// then line by line.
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
    let mut is_inside = false;
    while before.is_none() {
        let Some(Line::Whole { at, text }) = lines.next().map_err(fail)? else { break };
        let Ok(entry) = segment.parse(text, course.next) else { break };
        if entry.sequence >= next {
            break;
        }
        // Its own batch is not passed over.
        is_inside |= entry.part.begins() && entry.sequence + u64::from(entry.part.of) > next;
        if !is_inside && course.take(&entry, at + text.len() as u64 + 1).is_err() {
            break;
        }
        before = (entry.sequence + 1 == next).then_some(entry.sum);
    }
    let reached = course.next.unwrap_or(segment.base());
    Ok(Sought { offset: course.end, next: reached, sum: course.sum, before })
}

/// The latest stamp.
pub(super) fn stamp<H: Host>(journal: &Journal<H>) -> Result<Option<Vec<u8>>> {
    let target = journal.target()?;
    if let Format::Plain { .. } = journal.format {
        let segment = Segment::open(&journal.host, &target, &journal.format, Open::Read)?;
        return Ok(segment.and_then(|segment| match segment.head {
            Head::Plain(stamp) => stamp,
            Head::Checked(_) => None,
        }));
    }
    let mut reader = journal.read_from(None)?;
    let mut stamp = None;
    while let Some(entry) = reader.next()? {
        if let Entry::Record(Record { payload, is_stamp: true, .. }) = entry {
            stamp = Some(payload);
        }
    }
    Ok(stamp)
}
