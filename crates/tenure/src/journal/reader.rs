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
use std::path::Path;
use std::time::Duration;

use super::cursor::{Cursor, Place};
use super::lines::{Line, Lines};
use super::record::unescape;
use super::recover::damaged;
use super::scan::{Course, scan, scan_end};
use super::seek::{ANOTHER, Found, LOST, beginning, files, find, locate, oldest};
use super::segment::{Head, LINE_MAX, Segment};
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

/// The records of a journal, one after the other. See [`Journal::read_from`].
pub struct Reader<H: Host = Native> {
    journal: Journal<H>,
    /// What was asked for, until a file is there to be read.
    from: Option<Cursor>,
    open: Option<OpenSegment<H>>,
    ready: VecDeque<Record>,
    /// With the place behind them.
    missed: Option<(Missed, Cursor)>,
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
    fn read(
        &mut self,
        host: &H,
        ready: &mut VecDeque<Record>,
        missed: &mut Option<(Missed, Cursor)>,
    ) -> Result<bool> {
        let read = self.read_batch(ready, missed);
        let is_flawed = self.lines.at() > self.course.end;
        if !matches!(read, Ok(true)) {
            // What is not whole is read again when there is more.
            ready.clear();
            self.course.resume();
            self.lines.rewind(self.course.end);
        }
        match read {
            Ok(false) if is_flawed && self.segment.is_checked() => self.refuse_damage(host).map(|()| false),
            read => read,
        }
    }

    /// Two looks: what one sees may be older at its beginning than at its end.
    fn refuse_damage(&self, host: &H) -> Result<()> {
        for look in 0..2 {
            let found = scan(host, &self.segment, self.course.clone(), 0)?;
            if !found.is_damage() {
                break;
            }
            if look == 1 {
                return Err(damaged(&self.segment, &found));
            }
        }
        Ok(())
    }

    fn read_batch(
        &mut self,
        ready: &mut VecDeque<Record>,
        missed: &mut Option<(Missed, Cursor)>,
    ) -> Result<bool> {
        let OpenSegment { segment, lines, course, .. } = self;
        let fail = |errno| Error::host("read the journal", &segment.path, errno);
        let mut gone = None;
        while let Some(line) = lines.next().map_err(fail)? {
            let Line::Whole { at, text } = line else { break };
            let Ok(entry) = segment.parse(text, course.next) else { break };
            if let Some(next) = course.next
                && entry.sequence > next
                && entry.part.begins()
                && !course.is_in_batch()
            {
                // Told with the whole batch: what stands before a part of one may yet turn out to be damage.
                let missing = Missed { sequences: Some((next, entry.sequence - 1)) };
                gone = Some((missing, cursor(segment, course.end, entry.sequence, 0)));
            }
            let payload = if segment.is_checked() { unescape(entry.text) } else { Some(entry.text.into()) };
            let after = at + text.len() as u64 + 1;
            let (Some(payload), Ok(())) = (payload, course.take(&entry, after)) else { break };
            ready.push_back(Record {
                sequence: segment.is_checked().then_some(entry.sequence),
                payload: payload.into_owned(),
                is_stamp: entry.is_stamp,
                cursor: cursor(segment, after, entry.sequence + 1, entry.sum),
            });
            if !course.is_in_batch() {
                *missed = gone;
                return Ok(true);
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

    pub(super) fn last(journal: &Journal<H>, count: u64) -> Result<Reader<H>> {
        let mut reader = Reader::begin(journal, None)?;
        let target = journal.target()?;
        let active = Segment::open(&journal.host, &target, &journal.format, Open::Read)?;
        if let Some(active) = active.filter(Segment::is_checked) {
            let end = scan_end(&journal.host, &active)?.course.next.unwrap_or(active.base());
            let first = end.saturating_sub(count).max(1);
            if let Some(mut found) = locate(journal, &target, first)? {
                // Nobody asked for those by their numbers.
                found.missed = None;
                reader.beyond = first - 1;
                reader.enter(found);
            }
        }
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
            if let Some((missed, behind)) = self.missed.take() {
                self.at = behind;
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
            match open.read(&self.journal.host, &mut self.ready, &mut self.missed) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) if error.is_corrupt() => {
                    // A repair may have put another file in its place.
                    if self.move_on()? {
                        continue;
                    }
                    return Err(error);
                }
                Err(error) => return Err(error),
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
        let missed = found.missed;
        let open = OpenSegment::at(&self.journal.host, found);
        let there = open.cursor();
        self.missed = missed.map(|missed| (missed, there));
        // In a file's first place the cursor that is there knows more: the sum of the record before.
        let is_same = there.sequence().is_some() && there.sequence() == self.at.sequence();
        let is_named = !matches!(self.at.0, Place::Checked { journal: 0, .. });
        let is_further = there.sequence().is_none_or(|sequence| sequence >= self.beyond);
        if self.missed.is_none() && is_further && !(is_same && is_named) {
            self.at = there;
        }
        self.open = Some(open);
    }

    /// Goes on in the file after this one, which is read to its end; `false` if that can't be found now.
    fn move_on(&mut self) -> Result<bool> {
        let Some(open) = &self.open else { return Ok(false) };
        let (journal, target) = (&self.journal, self.journal.target()?);
        let host = &journal.host;
        let found = match open.segment.head {
            Head::Checked(_) => {
                let next = open.course.next.unwrap_or(1);
                match locate(journal, &target, next)? {
                    // The record is not in any file, but later ones may be.
                    Some(found) if found.segment.id == open.segment.id => {
                        let files = files(journal, &target)?;
                        let at = files.iter().position(|segment| segment.id == open.segment.id);
                        at.and_then(|at| files.into_iter().nth(at + 1)).map(|segment| {
                            let last = segment.base().saturating_sub(1);
                            let missed = Missed { sequences: Some((next, last)) };
                            beginning(segment, (last >= next).then_some(missed))
                        })
                    }
                    found => found,
                }
            }
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
        let found = match found {
            Some(found) if found.segment.id == open.segment.id && found.segment.is_checked() => {
                self.behind_gap(&target)?
            }
            found => found,
        };
        let Some(found) = found else { return Ok(false) };
        if found.segment.id == open.segment.id {
            return Ok(false);
        }
        if let (Head::Checked(before), Head::Checked(header)) = (&open.segment.head, &found.segment.head) {
            let wanted = open.course.next.unwrap_or(1);
            if header.journal != before.journal {
                return Err(Error::conflict(&target, ANOTHER));
            }
            let sum = open.course.sum;
            let is_another = sum != 0 && found.before.is_some_and(|before| before != sum);
            if found.missed.is_none() && (found.next != wanted || is_another) {
                return Err(Error::conflict(&target, LOST));
            }
        }
        if found.missed.is_some() {
            // Nothing was lost by rule, so it is damage if something stands where the records should, and still does: a
            // repair, or a reset, may have taken it away. What stands behind the beginning of the next file was left.
            let left = scan(host, &open.segment, open.course.clone(), u64::MAX)?;
            let wanted = open.course.next.unwrap_or(1);
            let is_there = || -> Result<bool> {
                let files = files(journal, &target)?;
                let at = files.iter().position(|segment| segment.id == open.segment.id);
                let is_wanted = |at: usize| files.get(at + 1).is_none_or(|after| after.base() > wanted);
                Ok(at.is_some_and(is_wanted))
            };
            if left.flawed.is_some() && found.segment.is_checked() && is_there()? {
                return Err(damaged(&open.segment, &left));
            }
        }
        self.enter(found);
        Ok(true)
    }

    /// The file after this one where that begins with a later record: old files are removed one after the other, and a power
    /// loss may bring back the first of them alone.
    fn behind_gap(&self, target: &Path) -> Result<Option<Found<H>>> {
        let Some(open) = &self.open else { return Ok(None) };
        let next = open.course.next.unwrap_or(1);
        let mut later =
            files(&self.journal, target)?.into_iter().skip_while(|file| file.id != open.segment.id);
        let after = later.nth(1).filter(|after| after.base() > next);
        Ok(after.map(|after| {
            let missed = Missed { sequences: Some((next, after.base() - 1)) };
            beginning(after, Some(missed))
        }))
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
