//! What is done to a journal's present file under its lock: find its end, move a tail away, write.

use std::path::Path;

use super::cursor::{Cursor, Place};
use super::record::{self, Header, Part};
use super::recover::{self, DAMAGED, Recovery, copies};
use super::scan::{Course, scan, scan_end};
use super::segment::{Head, Segment, rotated};
use super::{Format, Journal, rewrite};
use crate::document::Durability;
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, Host, Open, Stat};
use crate::lock::Held;
use crate::scratch;

/// The last sequence behind which an append of any size has room.
const SEQUENCE_MAX: u64 = u64::MAX - (1 << 40);

/// How many records that nobody says are synced a newcomer reads without syncing them, who is not asked for that: the next one
/// would read them again.
const UNSYNCED_MAX: u64 = 10_000;

/// What the clones of a journal know together.
pub(super) struct Shared<H: Host> {
    /// The file's end as it was when the lock was last let go. Taken out while it is worked with.
    known: Option<Known<H>>,
    /// The last sequence that is known to be synced in that file.
    pub(super) synced: Option<(FileId, u64)>,
    /// The file whose name is known to be synced.
    pub(super) settled: Option<FileId>,
    /// Files of which a sync has failed: what they say of later syncs is not to be believed.
    pub(super) suspects: Vec<FileId>,
    /// A tail that was moved away, until somebody is told.
    pub(super) recovered: Option<Recovery>,
}

impl<H: Host> Default for Shared<H> {
    fn default() -> Shared<H> {
        Shared { known: None, synced: None, settled: None, suspects: Vec::new(), recovered: None }
    }
}

impl<H: Host> Shared<H> {
    /// Whether the file at this path has been written to.
    pub(super) fn is_known(&self, target: &Path) -> bool {
        self.known.as_ref().is_some_and(|known| known.segment.path == target)
    }

    /// Takes note that the records of a file up to this sequence are synced.
    pub(super) fn note_synced(&mut self, file: FileId, sequence: u64) {
        let before = self.synced.filter(|(of, _)| *of == file).map_or(0, |(_, before)| before);
        self.synced = Some((file, before.max(sequence)));
    }

    /// Forgets what is known of files that are not open any more: another may have got the number of one that was deleted.
    fn forget(&mut self) {
        (self.synced, self.settled) = (None, None);
    }
}

/// A file's end.
pub(super) struct Known<H: Host> {
    pub(super) segment: Segment<H>,
    pub(super) end: u64,
    /// The sequence of the next record.
    pub(super) next: u64,
    /// The sum of the last one.
    pub(super) sum: u32,
}

/// A journal whose lock is held.
pub(super) struct Writer<'a, H: Host> {
    pub(super) journal: &'a Journal<H>,
    pub(super) target: &'a Path,
    pub(super) known: Known<H>,
}

/// Records that are written as one.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Vec<u8>>,
    /// Whether the last of them is a stamp.
    pub(super) is_stamped: bool,
}

/// Where a batch came to stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) sequences: Option<(u64, u64)>,
    pub(super) cursor: Cursor,
}

impl<'a, H: Host> Writer<'a, H> {
    /// Finds the end of the journal, creates it if there is none, and moves a tail away; `None`, and nothing was changed, if
    /// the lock's file has been deleted.
    pub(super) fn open(
        journal: &'a Journal<H>,
        target: &'a Path,
        held: &Held<H>,
    ) -> Result<Option<Writer<'a, H>>> {
        let host = &journal.host;
        let known = journal.shared().known.take();
        let stat = match host.stat(target) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(Error::host("look at the journal", target, errno)),
        };
        let known = known.filter(|known| {
            // A second name is that of a rotation that a crash cut short, and is to be taken back.
            let is_same =
                |stat: Stat| stat.id == known.segment.id && stat.size >= known.end && stat.links <= 1;
            stat.is_some_and(is_same) && known.segment.path == target
        });
        let is_new = known.is_none();
        let (segment, found) = match known {
            Some(Known { segment, end, next, sum }) if stat.is_some_and(|stat| stat.size == end) => {
                let known = Known { segment, end, next, sum };
                return if held.is_current()? {
                    Writer { journal, target, known }.ready().map(Some)
                } else {
                    Ok(None)
                };
            }
            Some(Known { segment, end, next, sum }) => {
                let found =
                    scan(host, &segment, Course::from(end, Some(next), sum), synced(journal, &segment))?;
                (segment, found)
            }
            None => {
                journal.shared().forget();
                if !held.is_current()? {
                    return Ok(None);
                }
                scratch::sweep(host, target);
                match Segment::open(host, target, &journal.format, Open::ReadWrite)? {
                    None => {
                        let known = rewrite::begin(journal, target)?;
                        return Writer { journal, target, known }.ready().map(Some);
                    }
                    Some(segment) => {
                        refuse_hard_links(host, &segment)?;
                        rewrite::remove_obsolete(host, &segment);
                        let found = scan_end(host, &segment)?;
                        (segment, found)
                    }
                }
            }
        };
        if found.is_damage() {
            return Err(recover::damaged(&segment, &found));
        }
        // The search may have taken a while.
        if !held.is_current()? {
            return Ok(None);
        }
        if found.flawed.is_some() {
            let (recovery, synced) = recover::quarantine(host, &segment, &found)?;
            let mut shared = journal.shared();
            shared.recovered = Some(recovery);
            if synced.is_err() {
                shared.suspects.push(segment.id);
            }
        }
        let vouches = is_new
            && segment.is_checked()
            && (journal.durability == Durability::Power || found.course.records > UNSYNCED_MAX);
        if vouches {
            recover::write_again(host, &segment, &found)?;
        }
        if let Head::Checked(Header { base, .. }) = segment.head {
            let mut shared = journal.shared();
            shared.note_synced(segment.id, found.synced);
            if found.synced >= base {
                // Nobody says so of a record before the file's name is synced, too.
                shared.settled = Some(segment.id);
            }
        }
        let Course { end, next, sum, .. } = found.course;
        let known = Known { end, next: next.unwrap_or(1), sum, segment };
        if vouches {
            vouch(journal, &known);
        }
        Writer { journal, target, known }.ready().map(Some)
    }

    /// Begins a new file if this one is large enough, or can't be relied on.
    fn ready(mut self) -> Result<Writer<'a, H>> {
        if self.known.next > SEQUENCE_MAX {
            return Err(Error::unsupported(self.target, "has no sequences left to give"));
        }
        let is_suspect = self.journal.shared().suspects.contains(&self.known.segment.id);
        if is_suspect {
            rewrite::leave(&mut self)?;
        } else if self.journal.rotate_at.is_some_and(|bytes| self.known.end >= bytes) && !self.is_empty() {
            rewrite::rotate_now(&mut self)?;
        }
        Ok(self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.end <= self.known.segment.body
    }

    /// The last sequence that is known to be synced.
    pub(super) fn synced(&self) -> u64 {
        synced(self.journal, &self.known.segment).min(self.known.next - 1)
    }

    /// Behind the last record.
    pub(super) fn cursor(&self) -> Cursor {
        cursor(&self.known.segment, self.known.end, self.known.next, self.known.sum)
    }

    /// The text of batches as they will stand at the end of the file, and where each ends.
    pub(super) fn encoded<'b>(
        &self,
        batches: impl Iterator<Item = &'b Batch>,
    ) -> (Vec<u8>, Vec<(u64, Written)>) {
        let Known { segment, end, next, sum } = &self.known;
        let (mut next, mut sum) = (*next, *sum);
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        let synced = self.synced();
        for batch in batches {
            let first = next;
            let of = u32::try_from(batch.records.len()).expect("checked before it was queued");
            for (record, place) in batch.records.iter().zip(1..) {
                match segment.head {
                    Head::Checked(_) => {
                        let part = Part { place, of };
                        let is_stamp = batch.is_stamped && part.ends();
                        sum = record::encode(&mut text, segment.seed, next, part, is_stamp, synced, record);
                    }
                    Head::Plain(_) => {
                        text.extend_from_slice(record);
                        text.push(b'\n');
                        sum = crc32c::crc32c_append(segment.seed, record);
                    }
                }
                next += 1;
            }
            let end = end + text.len() as u64;
            let sequences = segment.is_checked().then_some((first, next - 1));
            ends.push((end, Written { sequences, cursor: cursor(segment, end, next, sum) }));
        }
        (text, ends)
    }

    /// Writes batches at the end of the file: those that are there whole, and why the others are not.
    pub(super) fn write<'b>(
        &mut self,
        batches: impl Iterator<Item = &'b Batch>,
    ) -> (Vec<Written>, Option<Error>) {
        let (text, ends) = self.encoded(batches);
        let (host, file, start) = (&self.journal.host, &self.known.segment.file, self.known.end);
        let mut written = 0;
        let mut failed = None;
        while written < text.len() && failed.is_none() {
            match host.write_at(file, start + written as u64, &text[written..]) {
                Ok(0) => failed = Some(Errno::NOSPC),
                Ok(count) => written += count,
                Err(errno) => failed = Some(errno),
            }
        }
        let reached = start + written as u64;
        let whole: Vec<(u64, Written)> = ends.into_iter().take_while(|(end, _)| *end <= reached).collect();
        if let Some((end, last)) = whole.last() {
            self.known.end = *end;
            match last.cursor.0 {
                Place::Checked { sequence, sum, .. } => {
                    (self.known.next, self.known.sum) = (sequence + 1, sum)
                }
                Place::Plain { sum, .. } => self.known.sum = sum,
            }
        }
        let failed = failed.map(|errno| {
            // If this fails, too, the next append finds a tail.
            let _sealed_later = host.truncate(file, self.known.end);
            Error::host("append to the journal", self.target, errno)
        });
        (whole.into_iter().map(|(_, written)| written).collect(), failed)
    }

    /// Keeps what is known for the next append, before the lock is let go.
    pub(super) fn keep(self) {
        self.journal.shared().known = Some(self.known);
    }
}

/// Syncs what others have left, so that the next record can say so. Without it a journal to which each process appends once
/// would never name anything synced, and a flaw anywhere would pass for a crash's tail, with all that was acknowledged behind
/// it. Where the others have synced it themselves this costs little.
fn vouch<H: Host>(journal: &Journal<H>, known: &Known<H>) {
    let Known { segment, next, .. } = known;
    if !segment.is_checked() || synced(journal, segment) >= next - 1 {
        return;
    }
    let is_settled = journal.shared().settled == Some(segment.id);
    if !is_settled && recover::sync_directory(&journal.host, &segment.path).is_err() {
        return;
    }
    let done = journal.host.sync_data(&segment.file);
    let mut shared = journal.shared();
    match done {
        Ok(()) => {
            shared.settled = Some(segment.id);
            shared.note_synced(segment.id, next - 1);
        }
        Err(_a_later_one_says_nothing_true) => shared.suspects.push(segment.id),
    }
}

/// The last sequence of this segment's journal that is known to be synced.
fn synced<H: Host>(journal: &Journal<H>, segment: &Segment<H>) -> u64 {
    let Head::Checked(header) = segment.head else { return 0 };
    let known = journal.shared().synced.filter(|(of, _)| *of == segment.id);
    known.map_or(0, |(_, sequence)| sequence).max(header.base - 1)
}

/// The place at `end` of a file, where `next` is the sequence of the next record and `sum` the sum of the last.
pub(super) fn cursor<H: Host>(segment: &Segment<H>, end: u64, next: u64, sum: u32) -> Cursor {
    Cursor(match segment.head {
        Head::Checked(Header { journal, .. }) => Place::Checked { journal, sequence: next - 1, sum },
        Head::Plain(_) => Place::Plain { file: segment.id, offset: end - segment.body, sum },
    })
}

/// Removes the second name of a journal that a rotation or a repair left which a crash cut short.
pub(super) fn take_back<H: Host>(host: &H, segment: &Segment<H>) -> Result<()> {
    let fail = |errno| Error::host("look at the journal", &segment.path, errno);
    if host.stat_file(&segment.file).map_err(fail)?.links <= 1 {
        return Ok(());
    }
    let numbers = rotated(host, &segment.path, None)?.into_iter().map(|(_, path)| path);
    let repairs = copies(host, &segment.path, DAMAGED)?;
    for path in numbers.chain(repairs) {
        if host.stat(&path).is_ok_and(|stat| stat.id == segment.id) {
            let removed = host.unlink(&path);
            removed.map_err(|errno| Error::host("take back what a crash cut short", &path, errno))?;
        }
    }
    Ok(())
}

/// A journal with several names would be locked under each of them.
fn refuse_hard_links<H: Host>(host: &H, segment: &Segment<H>) -> Result<()> {
    let fail = |errno| Error::host("look at the journal", &segment.path, errno);
    take_back(host, segment)?;
    match host.stat_file(&segment.file).map_err(fail)?.links {
        0 | 1 => Ok(()),
        links => {
            let problem = format!(
                "has {links} names (hard links), and each has a lock of its own. Make the other names symbolic links"
            );
            Err(Error::unsupported(&segment.path, problem))
        }
    }
}

/// Whether payloads can be written in this format.
pub(super) fn check<H: Host>(journal: &Journal<H>, batch: &Batch) -> Result<()> {
    let refused = |problem: String| Err(Error::rejected(&journal.path, problem, None));
    if batch.records.is_empty() {
        return refused("there is no record to append".to_owned());
    }
    if u32::try_from(batch.records.len()).is_err() {
        return refused(format!("a batch of {} records is too long", batch.records.len()));
    }
    let most = journal.record_max;
    for (record, number) in batch.records.iter().zip(1..) {
        if record.len() > most {
            let size = record.len();
            return refused(format!(
                "record {number} has {size} bytes, and at most {most} may be appended (record_max)"
            ));
        }
        let Format::Plain { header } = &journal.format else { continue };
        if record.contains(&b'\n') {
            return refused(format!(
                "record {number} has a line end, for which the plain format has no room"
            ));
        }
        if header.as_ref().is_some_and(|header| record.starts_with(header.as_bytes())) && !batch.is_stamped {
            return refused(format!("record {number} begins as a header does, and would be taken for one"));
        }
    }
    Ok(())
}
