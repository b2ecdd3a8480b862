//! What a journal holds, sound or not, and taking damage out of it.

use std::ops::Range;
use std::path::PathBuf;

use super::lines::{Line, Lines};
use super::record::Flaw;
use super::recover::{DAMAGED, beside, sync_directory};
use super::rewrite::{self, put};
use super::scan::Course;
use super::seek::files;
use super::segment::{Head, LINE_MAX, Segment};
use super::{Format, Journal, disturbed, writer};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::wait::Patience;

/// A stretch that is not what was written there, among what was synced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// The first sequence that is concerned.
    pub sequence: u64,
    /// What stands there.
    pub cause: String,
}

/// What stands behind the last whole batch, never acknowledged as synced: a crash's, or a writer's in the middle of its
/// write. The next append moves it away.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TailFound {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// What stands there.
    pub cause: String,
}

/// What [`Journal::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many files the journal has.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whole records, without those behind damage whose batch is not whole.
    pub records: u64,
    /// The sequences of the first and the last; `None` in the plain format, or if there is none.
    pub sequences: Option<(u64, u64)>,
    /// Sequences in between that nobody has: a repair, or damage, took them.
    pub missing: u64,
    /// Damage, in its order.
    pub damage: Vec<Damage>,
    /// What a crash left at the end.
    pub tail: Option<TailFound>,
}

/// What [`Journal::repair`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// What was taken out.
    pub damage: Vec<Damage>,
    /// The damaged files as they were.
    pub copies: Vec<PathBuf>,
}

/// A stretch of a file.
#[derive(Debug)]
struct Piece {
    range: Range<u64>,
    /// Why it is not whole batches in order, if it is not.
    flaw: Option<Flaw>,
    records: u64,
    /// The sequences of its first and last record; for a flaw, the one that was expected there, twice.
    sequences: (u64, u64),
}

/// A file, taken apart.
#[derive(Debug, Default)]
struct Pieces {
    list: Vec<Piece>,
    /// The highest sequence that a record says was synced.
    synced: u64,
}

impl Pieces {
    /// Adds a stretch, to the one before it if that is of the same sort.
    fn add(&mut self, piece: Piece) {
        if piece.range.is_empty() {
            return;
        }
        match self.list.last_mut() {
            Some(last) if last.flaw.is_some() == piece.flaw.is_some() => {
                last.range.end = piece.range.end;
                last.records += piece.records;
                if piece.flaw.is_none() {
                    last.sequences.1 = piece.sequences.1;
                }
            }
            _ => self.list.push(piece),
        }
    }

    /// How many pieces stand before the tail: flaws of what nobody says was synced, and all that follows.
    fn before_tail(&self, synced: u64) -> usize {
        let is_tail = |piece: &Piece| piece.flaw.is_some() && piece.sequences.0 > synced;
        self.list.iter().position(is_tail).unwrap_or(self.list.len())
    }
}

/// Where a file has its last record with one of these sequences, as far as it begins behind `from`.
fn last_of<H: Host>(
    host: &H,
    segment: &Segment<H>,
    from: u64,
    sequences: &Range<u64>,
) -> Result<Option<u64>> {
    let fail = |errno| Error::host("read the journal", &segment.path, errno);
    let mut lines = Lines::from(host, &segment.file, from, LINE_MAX);
    let mut last = None;
    while let Some(line) = lines.next().map_err(fail)? {
        if let Line::Whole { at, text } = line
            && segment.parse(text, None).is_ok_and(|entry| sequences.contains(&entry.sequence))
        {
            last = Some(at);
        }
    }
    Ok(last)
}

/// Takes a file apart, as far as records before the sequence `until` stand there: a file that was left counts no further.
fn pieces<H: Host>(
    host: &H,
    segment: &Segment<H>,
    until: u64,
    mut progress: impl FnMut(u64),
) -> Result<Pieces> {
    let fail = |errno| Error::host("read the journal", &segment.path, errno);
    let mut lines = Lines::from(host, &segment.file, segment.body, LINE_MAX);
    let base = segment.base();
    let mut found = Pieces { list: Vec::new(), synced: base - 1 };
    let (mut expected, mut told) = (base, segment.body);
    let mut course = Course::from(segment.body, Some(base), 0);
    let mut last = None;
    loop {
        let line = lines.next().map_err(fail)?;
        let mut later = None;
        if let Some(Line::Whole { at, text }) = line
            && !course.is_in_batch()
            && let Ok(entry) = segment.parse(text, course.next)
            && entry.sequence >= until
        {
            if expected >= until {
                break;
            }
            // It may be behind a gap that a repair has left; among records of this file it is damage.
            let last = match last {
                Some(last) => last,
                None => *last.insert(last_of(host, segment, at, &(expected..until))?),
            };
            later = last.filter(|last| *last > at).map(|_| Flaw::Order(entry.sequence));
        }
        let (at, taken) = match line {
            None if course.is_in_batch() => (None, Err(Flaw::Batch)),
            None => break,
            Some(Line::Long { at }) => (Some(at), Err(Flaw::Long)),
            Some(Line::Open { at, .. }) => (Some(at), Err(Flaw::Torn)),
            Some(Line::Whole { at, text }) => {
                let parsed = later.map_or_else(|| segment.parse(text, course.next), Err);
                let taken = parsed.and_then(|entry| {
                    found.synced = found.synced.max(entry.synced);
                    course.take(&entry, at + text.len() as u64 + 1)
                });
                (Some(at), taken)
            }
        };
        let was_in_batch = course.is_in_batch();
        match taken {
            Ok(()) if was_in_batch => {}
            Ok(()) => {
                let next = course.next.unwrap_or(base);
                let records = std::mem::take(&mut course.records);
                if next - records >= until {
                    break;
                }
                let begin = found.list.last().map_or(segment.body, |piece| piece.range.end);
                let sequences = (next - records, next - 1);
                found.add(Piece { range: begin..course.end, flaw: None, records, sequences });
                expected = next;
            }
            Err(flaw) => {
                // The line that shows a batch to be cut off may begin another.
                let is_other = was_in_batch && matches!(flaw, Flaw::Batch);
                let end = at.filter(|_| is_other).unwrap_or(lines.at());
                let sequences = (expected, expected);
                found.add(Piece { range: course.end..end, flaw: Some(flaw), records: 0, sequences });
                lines.back(end);
                // What is older than what stands before it is no record of this place, behind a flaw either.
                course = Course::from(end, Some(expected), 0);
            }
        }
        if lines.at() > told + (1 << 20) {
            progress(lines.at() - told);
            told = lines.at();
        }
    }
    progress(lines.at() - told);
    Ok(found)
}

/// A journal's files with what stands in them, and the highest sequence that is known to be synced in each.
fn examine<H: Host>(
    journal: &Journal<H>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Vec<(Segment<H>, Pieces)>> {
    let target = journal.target()?;
    let segments = files(journal, &target)?;
    if segments.is_empty() {
        return Err(Error::missing_journal(&target));
    }
    let size = |segment: &Segment<H>| {
        let stat = journal.host.stat_file(&segment.file);
        stat.map(|stat| stat.size).map_err(|errno| Error::host("look at the journal", &segment.path, errno))
    };
    let total = segments.iter().map(size).sum::<Result<u64>>()?;
    let mut done = 0;
    let bases: Vec<u64> = segments.iter().map(Segment::base).collect();
    let mut examined: Vec<(Segment<H>, Pieces)> = Vec::new();
    for (segment, following) in segments.into_iter().zip(1..) {
        let until = bases.get(following).filter(|_| segment.is_checked());
        let found = pieces(&journal.host, &segment, until.copied().unwrap_or(u64::MAX), |more| {
            done += more;
            progress(done, total);
        })?;
        // A file's base says that everything before it was synced.
        if let Some((_, before)) = examined.last_mut().filter(|_| segment.is_checked()) {
            before.synced = before.synced.max(segment.base() - 1);
        }
        examined.push((segment, found));
    }
    Ok(examined)
}

pub(super) fn verify<H: Host>(journal: &Journal<H>, progress: impl FnMut(u64, u64)) -> Result<Report> {
    let mut report = Report::default();
    let mut sequences: Option<(u64, u64)> = None;
    let examined = examine(journal, progress)?;
    let last = examined.len() - 1;
    for (number, (segment, pieces)) in examined.into_iter().enumerate() {
        report.files += 1;
        report.bytes += pieces.list.last().map_or(segment.body, |piece| piece.range.end);
        let (sound, tail) = pieces.list.split_at(pieces.before_tail(pieces.synced));
        for piece in sound {
            match piece.flaw {
                None => {
                    report.records += piece.records;
                    let (first, last) = piece.sequences;
                    // The files may be in the wrong order, as when one was put back from a copy.
                    sequences =
                        Some(sequences.map_or((first, last), |(lowest, highest)| {
                            (lowest.min(first), highest.max(last))
                        }));
                }
                Some(flaw) => report.damage.push(damage(&segment, piece, flaw)),
            }
        }
        // What stands there in a file that was left after a sync had failed stands in the next file, too.
        if let (Some(begin), Some(end)) = (tail.first(), tail.last())
            && number == last
        {
            let (offset, bytes) = (begin.range.start, end.range.end - begin.range.start);
            let cause = begin.flaw.unwrap_or(Flaw::Torn).to_string();
            report.tail = Some(TailFound { offset, bytes, cause });
        }
    }
    if journal.format == Format::Checked {
        report.sequences = sequences;
        report.missing =
            sequences.map_or(0, |(first, last)| (last - first + 1).saturating_sub(report.records));
    }
    Ok(report)
}

fn damage<H: Host>(segment: &Segment<H>, piece: &Piece, flaw: Flaw) -> Damage {
    Damage {
        path: segment.path.clone(),
        offset: piece.range.start,
        bytes: piece.range.end - piece.range.start,
        sequence: piece.sequences.0,
        cause: flaw.to_string(),
    }
}

pub(super) fn repair<H: Host>(journal: &Journal<H>, patience: &Patience) -> Result<Repaired> {
    if journal.format != Format::Checked {
        let problem = "is in the plain format, in which damage can't be told from records";
        return Err(Error::unsupported(&journal.path, problem));
    }
    for _ in 0..rewrite::ROUNDS_MAX {
        let target = journal.target()?;
        let held = journal.lock(&target)?.acquire(patience.clone())?;
        let mut repaired = Repaired::default();
        let examined = examine(journal, |_, _| {})?;
        if !held.is_current()? {
            continue;
        }
        if let Some((active, _)) = examined.last() {
            writer::take_back(&journal.host, active)?;
        }
        for (segment, pieces) in &examined {
            repair_file(journal, segment, pieces, &mut repaired)?;
        }
        return Ok(repaired);
    }
    Err(disturbed(&journal.path))
}

/// Keeps the file under a further name, syncs that, and puts one without its flaws in its place.
fn repair_file<H: Host>(
    journal: &Journal<H>,
    segment: &Segment<H>,
    pieces: &Pieces,
    repaired: &mut Repaired,
) -> Result<()> {
    let host = &journal.host;
    let sound = &pieces.list[..pieces.before_tail(pieces.synced)];
    let flawed = sound.iter().filter_map(|piece| Some((piece, piece.flaw?)));
    let found: Vec<Damage> = flawed.map(|(piece, flaw)| damage(segment, piece, flaw)).collect();
    let Head::Checked(header) = segment.head else { return Ok(()) };
    if found.is_empty() {
        return Ok(());
    }
    let copy = beside(host, &segment.path, DAMAGED);
    let linked = host.link(&segment.path, &copy);
    linked.map_err(|errno| Error::host("keep the damaged file under another name", &copy, errno))?;
    let kept: Vec<_> = sound
        .iter()
        .filter(|piece| piece.flaw.is_none())
        .map(|piece| (segment.file.clone(), piece.range.clone()))
        .collect();
    let head = Head::Checked(header);
    let done = sync_directory(host, &segment.path)
        .and_then(|()| put(journal, &segment.path, Some(segment), head, &kept, &[]));
    if let Err(error) = done {
        // If this fails, the next comer does it.
        let _taken_back_later = host.unlink(&copy);
        return Err(error);
    }
    repaired.damage.extend(found);
    repaired.copies.push(copy);
    Ok(())
}
