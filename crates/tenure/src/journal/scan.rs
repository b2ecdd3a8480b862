//! What a stretch of a journal's file holds: whole batches, and where they end.
//!
//! Reading stops to mean anything at the first flaw. What is flawed is *damage* if a record that was written later says that
//! it had been synced, and *tail* otherwise: what was never synced may survive a power loss in any part, so that a flaw can
//! stand before records that are good.

use super::lines::{Line, Lines};
use super::record::{Entry, Flaw};
use super::segment::{LINE_MAX, Segment};
use crate::error::{Error, Result};
use crate::host::Host;

/// How far the records are in order.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// Behind the last whole batch.
    pub(super) end: u64,
    /// The sequence that belongs there; `None` if nothing is known of what stands before.
    pub(super) next: Option<u64>,
    /// The sum of the last record before it, 0 if there is none.
    pub(super) sum: u32,
    /// How many records stand before it.
    pub(super) records: u64,
    /// Sequences that were passed over: a repair took their records away.
    pub(super) missing: u64,
    batch: Option<Batch>,
}

/// A batch whose end is yet to come.
#[derive(Clone, Copy, Debug)]
struct Batch {
    place: u32,
    of: u32,
    next: u64,
}

impl Course {
    pub(super) fn from(end: u64, next: Option<u64>, sum: u32) -> Course {
        Course { end, next, sum, records: 0, missing: 0, batch: None }
    }

    /// Takes the record whose line ends before `after`.
    pub(super) fn take(&mut self, entry: &Entry<'_>, after: u64) -> std::result::Result<(), Flaw> {
        let Entry { sequence, part, .. } = *entry;
        match (self.batch, self.next) {
            (Some(batch), _) => {
                if (sequence, part.place, part.of) != (batch.next, batch.place + 1, batch.of) {
                    return Err(Flaw::Batch);
                }
            }
            (None, Some(next)) if sequence < next => return Err(Flaw::Order(sequence)),
            (None, Some(_)) if !part.begins() => return Err(Flaw::Batch),
            (None, _) => {}
        }
        if !part.ends() {
            let next = sequence.checked_add(1).ok_or(Flaw::Order(sequence))?;
            self.batch = Some(Batch { place: part.place, of: part.of, next });
            return Ok(());
        }
        let size = u64::from(part.of);
        if let Some(next) = self.next {
            self.missing += sequence - (size - 1) - next;
        }
        self.batch = None;
        self.records += size;
        self.next = Some(sequence.checked_add(1).ok_or(Flaw::Order(sequence))?);
        (self.end, self.sum) = (after, entry.sum);
        Ok(())
    }

    pub(super) fn is_in_batch(&self) -> bool {
        self.batch.is_some()
    }

    /// Goes on behind a flaw, where nothing is known of what stands before.
    pub(super) fn resume(&mut self) {
        self.batch = None;
    }
}

/// The first line that is not what belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flawed {
    /// Where it begins.
    pub(super) at: u64,
    pub(super) flaw: Flaw,
}

/// What was found from some place to the end of the file.
pub(super) struct Scan {
    pub(super) course: Course,
    /// The first sequence that was seen, and where it stands.
    pub(super) first: Option<u64>,
    /// The highest sequence that a record says was synced when it was written.
    pub(super) synced: u64,
    pub(super) flawed: Option<Flawed>,
    /// Where the file ended.
    pub(super) size: u64,
}

impl Scan {
    /// Whether the flaw stands among what was synced.
    pub(super) fn is_damage(&self) -> bool {
        self.flawed.is_some() && self.course.next.is_some_and(|next| next <= self.synced)
    }
}

/// Reads `segment` from `course.end` to its end. Behind a flaw only what records say of their being synced counts.
pub(super) fn scan<H: Host>(host: &H, segment: &Segment<H>, course: Course, synced: u64) -> Result<Scan> {
    let mut lines = Lines::from(host, &segment.file, course.end, LINE_MAX);
    let mut scan = Scan { first: None, synced, flawed: None, size: course.end, course };
    loop {
        let line = lines.next().map_err(|errno| Error::host("read the journal", &segment.path, errno))?;
        let (at, found) = match line {
            None => break,
            Some(Line::Whole { at, text }) => {
                (at, segment.parse(text, scan.course.next).map(|entry| (entry, text)))
            }
            Some(Line::Long { at }) => (at, Err(Flaw::Long)),
            Some(Line::Open { at, size }) => {
                scan.size = at + size;
                scan.flawed.get_or_insert(Flawed { at, flaw: Flaw::Torn });
                return Ok(scan);
            }
        };
        let taken = found.and_then(|(entry, text)| {
            scan.synced = scan.synced.max(entry.synced);
            if scan.flawed.is_none() {
                scan.course.take(&entry, at + text.len() as u64 + 1)?;
                scan.first.get_or_insert(entry.sequence);
            }
            Ok(())
        });
        if let Err(flaw) = taken {
            scan.flawed.get_or_insert(Flawed { at, flaw });
        }
    }
    scan.size = lines.at();
    if scan.flawed.is_none() && scan.course.is_in_batch() {
        scan.flawed = Some(Flawed { at: scan.size, flaw: Flaw::Batch });
    }
    Ok(scan)
}

/// How much of a file's end is read first.
const WINDOW: u64 = 64 * 1024;

/// What stands at the end of a file of which nothing is known yet. Reads backward as far as records say that what stands
/// before them is synced, so that a large file is opened quickly.
pub(super) fn scan_end<H: Host>(host: &H, segment: &Segment<H>) -> Result<Scan> {
    let fail = |errno| Error::host("read the journal", &segment.path, errno);
    let size = host.stat_file(&segment.file).map_err(fail)?.size;
    let mut window = WINDOW;
    while size > segment.body && window < size - segment.body {
        let mut lines = Lines::from(host, &segment.file, size - window - 1, LINE_MAX);
        let _the_rest_of_a_line = lines.next().map_err(fail)?;
        let from = lines.at();
        let scan = scan(host, segment, Course::from(from, None, 0), 0)?;
        let is_anchored = match scan.first {
            Some(first) => !segment.is_checked() || (first <= scan.synced && scan.course.end > from),
            None => false,
        };
        if is_anchored {
            return Ok(scan);
        }
        window = window.saturating_mul(8);
    }
    scan_all(host, segment)
}

/// What stands in a file, from its first record on.
pub(super) fn scan_all<H: Host>(host: &H, segment: &Segment<H>) -> Result<Scan> {
    let base = segment.base();
    // What the header's base says: all before it was synced when the header was written.
    scan(host, segment, Course::from(segment.body, Some(base), 0), base - 1)
}
