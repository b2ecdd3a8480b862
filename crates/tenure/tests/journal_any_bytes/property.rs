//! What must hold of any bytes as a journal's file. Used by the property test and by the fuzz target.

#[path = "directory.rs"]
mod directory;

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use directory::directory;
use tenure::journal::{Cursor, Entry, Format, Journal};
use tenure::{Durability, Error, Wait};

/// More steps than any file of these sizes has entries.
const STEPS_MAX: usize = 10_000;

/// A sound journal, and what was appended to it.
#[allow(dead_code, clippy::allow_attributes, reason = "the fuzz target has none")]
pub(crate) struct Original {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Vec<u8>>,
}

/// Appends batches, of which those marked end in a stamp.
#[allow(dead_code, clippy::allow_attributes, reason = "the fuzz target has none")]
pub(crate) fn original(batches: &[(Vec<Vec<u8>>, bool)], is_power: bool) -> Original {
    let (directory, _removed) = directory();
    let path = directory.join("a.journal");
    let durability = if is_power { Durability::Power } else { Durability::Process };
    let journal = Journal::open(&path).durability(durability);
    let mut records = Vec::new();
    for (batch, is_stamped) in batches {
        records.extend(batch.iter().cloned());
        let done = match is_stamped {
            true => journal.append_and_stamp(Wait::Never, batch, "stamp"),
            false => journal.append(Wait::Never, batch),
        };
        done.expect("an append to a sound journal");
        records.extend(is_stamped.then(|| b"stamp".to_vec()));
    }
    Original { bytes: fs::read(&path).expect("the journal"), records }
}

/// The files of a journal with these batches, rotated often, one behind the other.
#[allow(dead_code, clippy::allow_attributes, reason = "the fuzz target has none")]
pub(crate) fn rotated(batches: &[(Vec<Vec<u8>>, bool)]) -> Vec<u8> {
    let (directory, _removed) = directory();
    let path = directory.join("a.journal");
    let journal = Journal::open(&path).durability(Durability::Process).rotate_at(150);
    for (batch, _) in batches {
        journal.append(Wait::Never, batch).expect("an append to a sound journal");
    }
    let older = (1..).map(|number| directory.join(format!("a.journal.{number:06}")));
    let mut bytes: Vec<u8> = older.map_while(|path| fs::read(path).ok()).flatten().collect();
    bytes.extend(fs::read(&path).expect("the journal"));
    bytes
}

/// What a reader gives, and why it ends if it is not the end.
struct Read {
    records: Vec<(Option<u64>, Vec<u8>, Cursor)>,
    ended: Option<Error>,
}

fn read(journal: &Journal, from: Option<&Cursor>) -> Read {
    let mut found = Read { records: Vec::new(), ended: None };
    match journal.read_from(from) {
        Err(error) => found.ended = Some(error),
        Ok(mut reader) => {
            for step in 0.. {
                assert!(step < STEPS_MAX, "the reader never ends");
                match reader.next() {
                    Ok(None) => break,
                    Ok(Some(Entry::Missed(_))) => {}
                    Ok(Some(Entry::Record(record))) => {
                        found.records.push((record.sequence, record.payload, record.cursor));
                    }
                    Err(error) => {
                        found.ended = Some(error);
                        break;
                    }
                }
            }
        }
    }
    found
}

/// Puts `bytes` in a journal's place and does everything with it. `sound`: what the bytes were made of.
pub(crate) fn survives(bytes: &[u8], sound: Option<(&[u8], &[Vec<u8>])>) {
    let (directory, _removed) = directory();
    let path = directory.join("a.journal");
    fs::write(&path, bytes).expect("a file to look at");
    plain(&path);
    fs::write(&path, bytes).expect("a file to look at");
    let journal = || Journal::open(&path).durability(Durability::Process);
    let before = read(&journal(), None);
    if let Some((original, records)) = sound {
        is_a_part(&before, records, whole_before(original, bytes, records));
    }
    for (_, _, cursor) in &before.records {
        read(&journal(), Some(cursor));
    }
    let verified = journal().verify(|_, _| {});
    let Ok(report) = verified else {
        let error = verified.expect_err("looked at above");
        assert!(error.is_corrupt() || error.is_missing(), "{error}");
        assert!(before.records.is_empty());
        // It is no journal: nobody touches it, but an empty one.
        let refused = journal().append(Wait::Never, ["x"]).is_err();
        assert!(
            refused != bytes.is_empty()
                && (bytes.is_empty() || fs::read(&path).ok().as_deref() == Some(bytes))
        );
        return;
    };
    assert_eq!(fs::read(&path).expect("the file"), bytes, "a look changed it");
    let is_damaged = before.ended.as_ref().is_some_and(Error::is_corrupt);
    assert_eq!(is_damaged, !report.damage.is_empty(), "{report:?}, but the reader: {:?}", before.ended);
    if is_damaged {
        assert!(journal().append(Wait::Never, ["x"]).is_err_and(|error| error.is_corrupt()));
        let repaired = journal().repair(Wait::Never).expect("a repair");
        assert_eq!(repaired.damage, report.damage);
        assert_eq!(fs::read(&repaired.copies[0]).expect("the copy"), bytes);
        let report = journal().verify(|_, _| {}).expect("a repaired journal");
        assert_eq!((report.damage, report.tail), (Vec::new(), None));
    }
    let kept = read(&journal(), None);
    assert!(kept.ended.is_none(), "{:?}", kept.ended);
    assert_eq!(
        kept.records.len() as u64,
        if is_damaged { report.records } else { before.records.len() as u64 }
    );
    if let Some((_, records)) = sound {
        is_a_part(&kept, records, before.records.len());
    }
    for round in 0..3_u64 {
        match journal().append(Wait::Never, ["x", "y"]) {
            Ok(_) => {}
            // They were used up by what stands there.
            Err(error) => return assert!(error.to_string().contains("has no sequences left"), "{error}"),
        }
        let now = read(&journal(), None);
        assert!(now.ended.is_none(), "{:?}", now.ended);
        assert_eq!(now.records.len(), kept.records.len() + 2 * (round as usize + 1));
        assert!(now.records.iter().zip(&kept.records).all(|(now, before)| now.1 == before.1));
    }
}

/// What the files of a rotated journal, one behind the other, are split at.
pub(crate) const HEADER: &[u8] = b"# tenure-journal ";

/// Puts `bytes` in the place of a journal's files, of which each begins with a header, and does everything with them.
pub(crate) fn files_survive(bytes: &[u8]) {
    let (directory, _removed) = directory();
    let path = directory.join("a.journal");
    let begins = |at: &usize| *at == 0 || bytes[*at..].starts_with(HEADER) && bytes[at - 1] == b'\n';
    let mut begins: Vec<usize> = (0..bytes.len()).filter(begins).collect();
    begins.push(bytes.len());
    let files: Vec<&[u8]> = begins.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
    let Some((active, older)) = files.split_last().filter(|(_, older)| !older.is_empty()) else { return };
    fs::write(&path, active).expect("a file to look at");
    for (older, number) in older.iter().zip(1..) {
        fs::write(directory.join(format!("a.journal.{number:06}")), older).expect("a file to look at");
    }
    let journal = || Journal::open(&path).durability(Durability::Process);
    // No damage makes sound headers, or records, of another order.
    let is_ordered = files.windows(2).all(|two| follows(two[0], two[1]));
    let shown = String::from_utf8_lossy(bytes);
    let is_refused = |error: &Error| error.is_corrupt() || error.is_conflict();
    let before = read(&journal(), None);
    assert!(before.ended.as_ref().is_none_or(is_refused), "{:?}\n{shown}", before.ended);
    for (_, _, cursor) in &before.records {
        let behind = read(&journal(), Some(cursor));
        assert!(behind.ended.as_ref().is_none_or(is_refused), "{:?}\n{shown}", behind.ended);
    }
    let report = match journal().verify(|_, _| {}) {
        Ok(report) => report,
        Err(error) => return assert!(error.is_corrupt(), "{error}\n{shown}"),
    };
    let repaired = journal().repair(Wait::Never).expect("a repair");
    assert_eq!(repaired.damage, report.damage);
    assert!(journal().verify(|_, _| {}).expect("a repaired journal").damage.is_empty());
    let kept = read(&journal(), None);
    let is_read = kept.ended.as_ref().is_none_or(Error::is_conflict);
    assert!(is_read || !is_ordered, "{:?}\n{shown}", kept.ended);
    match journal().append(Wait::Never, ["x", "y"]) {
        Err(error) => assert!(error.is_unsupported(), "{error}\n{shown}"),
        Ok(_) if kept.ended.is_some() || !is_ordered => drop(read(&journal(), None)),
        Ok(_) => {
            let now = read(&journal(), None);
            assert!(now.ended.as_ref().is_none_or(Error::is_conflict), "{:?}\n{shown}", now.ended);
            let count = kept.records.len() + 2;
            assert!(
                now.ended.is_some() || now.records.len() == count,
                "{count}, but {:?}\n{shown}",
                now.records
            );
            assert!(now.records.iter().zip(&kept.records).all(|(now, before)| now.1 == before.1));
        }
    }
}

/// Whether the header of one file is such as may come after that of another.
fn follows(before: &[u8], after: &[u8]) -> bool {
    let [before, after] = [before, after].map(|file| {
        let line = file.split(|byte| *byte == b'\n').next().expect("there is always a first part");
        let mut fields = line.split(|byte| *byte == b' ').skip(3).take(3).map(String::from_utf8_lossy);
        let journal = fields.next().map(Cow::into_owned);
        (journal, fields.map_while(|number| number.parse::<u64>().ok()).collect::<Vec<_>>())
    });
    // The first never falls, and the base grows.
    before.0 == after.0
        && before.1.len() == 2
        && after.1.len() == 2
        && before.1[0] <= after.1[0]
        && before.1[1] < after.1[1]
}

/// That what was read are records that were appended, in their order, and no fewer than `least`.
fn is_a_part(found: &Read, records: &[Vec<u8>], least: usize) {
    let mut last = 0;
    for (sequence, payload, _) in &found.records {
        let sequence = sequence.expect("the checked format has sequences");
        assert!(sequence > last, "{sequence} after {last}");
        let original = usize::try_from(sequence - 1).ok().and_then(|at| records.get(at));
        assert_eq!(original, Some(payload), "record {sequence} was never appended");
        last = sequence;
    }
    let count = found.records.len();
    assert!(count >= least, "{count} records of {least} that stand before the first flaw");
}

/// How many records stand in whole batches before the first byte that is another.
fn whole_before(original: &[u8], bytes: &[u8], records: &[Vec<u8>]) -> usize {
    let same = original.iter().zip(bytes).take_while(|(one, other)| one == other).count();
    let lines = original[..same].iter().filter(|byte| **byte == b'\n').count();
    let mut whole = 0;
    for (line, number) in original.split(|byte| *byte == b'\n').skip(1).zip(1..lines) {
        let text = String::from_utf8_lossy(line);
        let part = text.split(' ').nth(2).unwrap_or_default().trim_end_matches('=').to_owned();
        if part.split_once('/').is_some_and(|(place, of)| place == of) {
            whole = number;
        }
    }
    whole.min(records.len())
}

/// The plain format takes any bytes.
fn plain(path: &Path) {
    let bytes = fs::read(path).expect("the file");
    let journal = || {
        let format = Format::Plain { header: Some("# tenure".to_owned()) };
        Journal::open(path).format(format).durability(Durability::Process)
    };
    let before = read(&journal(), None);
    assert!(before.ended.is_none(), "{:?}", before.ended);
    let line_ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!((line_ends.saturating_sub(1)..=line_ends).contains(&before.records.len()));
    assert!(journal().verify(|_, _| {}).expect("a report").damage.is_empty());
    journal().append(Wait::Never, ["x"]).expect("an append");
    journal().append_and_stamp(Wait::Never, ["y"], "7").expect("a stamp");
    let now = read(&journal(), None);
    assert_eq!(now.records.len(), before.records.len() + 2);
    assert!(now.records.iter().zip(&before.records).all(|(now, before)| now.1 == before.1));
}
