//! Promise: records stand whole and in one order, whoever wrote them; a tail is found, moved away and told of; readers get
//! every record once, across rotation and reset, and are told of what is gone.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    missing_docs,
    reason = "tests look at the real system"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure::journal::{Cursor, Entry, Format, Journal, Reader, Record};
use tenure::{Durability, Reached, Wait};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.journal")
    }

    fn journal(&self) -> Journal {
        Journal::open(self.path()).durability(Durability::Process)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn soon() -> Wait {
    Wait::within(Duration::from_secs(20))
}

fn payloads(reader: &mut Reader) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        found.push(match entry {
            Entry::Record(Record { payload, is_stamp, .. }) => {
                format!("{}{}", if is_stamp { "=" } else { "" }, String::from_utf8_lossy(&payload))
            }
            Entry::Missed(missed) => format!("missed {:?}", missed.sequences),
        });
    }
    found
}

fn all(journal: &Journal) -> Vec<String> {
    payloads(&mut journal.read_from(None).unwrap())
}

fn add(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn records_come_back_with_their_places() {
    let place = Place::new();
    let journal = Journal::open(place.path());
    let first = journal.append(soon(), ["one"]).unwrap();
    assert_eq!((first.sequences, first.durability, &first.recovery), (Some((1, 1)), Reached::Power, &None));
    let more = journal.append(soon(), ["two\nlines", "three"]).unwrap();
    assert_eq!(more.sequences, Some((2, 3)));
    let stamped = journal.append_and_stamp(soon(), ["four"], "rev 7").unwrap();
    assert_eq!(stamped.sequences, Some((4, 5)));
    assert_eq!(all(&journal), ["one", "two\nlines", "three", "four", "=rev 7"]);
    assert_eq!(journal.stamp().unwrap(), Some(b"rev 7".to_vec()));
    let other = Journal::open(place.path());
    assert_eq!(payloads(&mut other.read_from(Some(&first.cursor)).unwrap()).len(), 4);
    let mut reader = other.read_from(Some(&more.cursor)).unwrap();
    assert_eq!(payloads(&mut reader), ["four", "=rev 7"]);
    assert_eq!(reader.cursor(), stamped.cursor);
    assert_eq!(reader.cursor().to_string().parse(), Ok(stamped.cursor));
    let text = place.text();
    assert!(text.lines().nth(1).unwrap().ends_with(" 1 1/1 0 one"), "{text}");
    assert!(text.lines().nth(2).unwrap().ends_with(r" 2 1/2 1 two\nlines"), "{text}");
    assert!(text.lines().nth(5).unwrap().ends_with(" 5 2/2= 3 rev 7"), "{text}");
    assert_eq!(other.append(soon(), ["six"]).unwrap().sequences, Some((6, 6)));
    assert_eq!(place.names(), ["a.journal", "a.journal.lock"]);
}

#[test]
fn a_cursor_may_stand_within_a_batch() {
    let place = Place::new();
    let journal = place.journal();
    journal.append(soon(), ["a", "b", "c", "d"]).unwrap();
    journal.append(soon(), ["e"]).unwrap();
    let mut reader = journal.read_from(None).unwrap();
    let cursors: Vec<Cursor> =
        std::iter::from_fn(|| reader.next().unwrap()).map(|entry| entry.record().unwrap().cursor).collect();
    for (cursor, rest) in cursors.iter().zip(["bcde", "cde", "de", "e", ""]) {
        let mut reader = journal.read_from(Some(cursor)).unwrap();
        assert_eq!(payloads(&mut reader).concat(), rest);
    }
}

#[test]
fn a_torn_end_is_moved_away_and_told_of() {
    let tails: [(&[u8], &str); 6] = [
        (b"12ab", "not written to its end"),
        (b"garbage\n", "no record"),
        (&[0; 5000], "not written to its end"),
        (b"00000000 2 1/1 1 x\n", "checksum is wrong"),
        (b"\n\n\n", "no record"),
        (b"\xff\xfe\n00000000 2", "no record"),
    ];
    for (tail, cause) in tails {
        let place = Place::new();
        place.journal().append(soon(), ["one"]).unwrap();
        let sound = place.text().len() as u64;
        add(&place.path(), tail);
        let journal = place.journal();
        assert_eq!(all(&journal), ["one"]);
        let report = journal.verify(|_, _| {}).unwrap();
        assert_eq!((report.records, report.damage.len(), report.tail.unwrap().offset), (1, 0, sound));
        let receipt = journal.append(soon(), ["two"]).unwrap();
        let recovery = receipt.recovery.unwrap();
        assert_eq!((recovery.offset, recovery.bytes), (sound, tail.len() as u64));
        assert!(recovery.cause.contains(cause), "{}", recovery.cause);
        assert_eq!(fs::read(recovery.quarantine).unwrap(), tail);
        assert_eq!(all(&journal), ["one", "two"]);
        assert_eq!(journal.append(soon(), ["three"]).unwrap().recovery, None);
    }
}

#[test]
fn a_batch_of_which_a_part_was_written_does_not_exist() {
    let place = Place::new();
    let journal = place.journal();
    journal.append(soon(), ["one"]).unwrap();
    let before = place.text().len();
    journal.append(soon(), ["two", "three", "four"]).unwrap();
    let whole = place.text();
    for length in before + 1..whole.len() {
        fs::write(place.path(), &whole[..length]).unwrap();
        let journal = place.journal();
        assert_eq!(all(&journal), ["one"], "{length}");
        let receipt = journal.append(soon(), ["other"]).unwrap();
        assert_eq!(receipt.sequences, Some((2, 2)));
        assert_eq!(receipt.recovery.unwrap().bytes as usize, length - before);
        assert_eq!(all(&journal), ["one", "other"]);
    }
}

#[test]
fn damage_is_told_and_repaired_when_asked() {
    let place = Place::new();
    let journal = Journal::open(place.path());
    for record in ["one", "two", "three", "four"] {
        journal.append(soon(), [record]).unwrap();
    }
    let text = place.text().replace(" two", " twO");
    fs::write(place.path(), &text).unwrap();
    let journal = Journal::open(place.path());
    let mut reader = journal.read_from(None).unwrap();
    assert!(reader.next().unwrap().is_some());
    let error = reader.next().unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("instead of record 2"), "{error}");
    let error = journal.append(soon(), ["five"]).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    let report = journal.verify(|_, _| {}).unwrap();
    assert_eq!((report.records, report.missing, report.damage.len(), &report.tail), (3, 1, 1, &None));
    assert_eq!(place.text(), text, "nobody touched it");
    let repaired = journal.repair(soon()).unwrap();
    assert_eq!(repaired.damage, report.damage);
    assert_eq!(fs::read_to_string(&repaired.copies[0]).unwrap(), text);
    assert_eq!(all(&journal), ["one", "missed Some((2, 2))", "three", "four"]);
    assert_eq!(journal.append(soon(), ["five"]).unwrap().sequences, Some((5, 5)));
    assert_eq!(journal.repair(soon()).unwrap(), Default::default());
}

#[test]
fn readers_go_on_across_rotation() {
    let place = Place::new();
    let journal = place.journal();
    let mut reader = journal.read_from(None).unwrap();
    let mut cursors = Vec::new();
    for number in 0..30 {
        if number % 7 == 3 {
            journal.rotate(soon()).unwrap();
        }
        cursors.push(journal.append(soon(), [number.to_string()]).unwrap().cursor);
    }
    let expected: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    assert_eq!(payloads(&mut reader), expected);
    assert_eq!(all(&journal), expected);
    for (cursor, number) in cursors.iter().zip(1..) {
        assert_eq!(payloads(&mut journal.read_from(Some(cursor)).unwrap()), expected[number..]);
    }
    assert_eq!(place.names().len(), 2 + 4);
    journal.clone().keep_segments(1).rotate(soon()).unwrap();
    assert_eq!(place.names(), ["a.journal", "a.journal.000005", "a.journal.lock"]);
    assert_eq!(payloads(&mut journal.read_from(Some(&cursors[4])).unwrap())[0], "missed Some((6, 24))");
    assert_eq!(payloads(&mut reader), [""; 0]);
}

#[test]
fn a_large_file_is_rotated_by_itself() {
    let place = Place::new();
    let journal = place.journal().rotate_at(500).keep_segments(3);
    for number in 0..100 {
        journal.append(soon(), [number.to_string()]).unwrap();
    }
    assert_eq!(place.names().len(), 2 + 3);
    assert_eq!(all(&journal).last().unwrap(), "99");
}

#[test]
fn a_reset_takes_what_was_read_and_no_more() {
    let place = Place::new();
    let journal = place.journal();
    let mut slow = journal.read_from(None).unwrap();
    journal.append(soon(), ["a"]).unwrap();
    assert_eq!(payloads(&mut slow), ["a"]);
    journal.rotate(soon()).unwrap();
    let through = journal.append(soon(), ["b"]).unwrap().cursor;
    journal.rotate(soon()).unwrap();
    journal.append(soon(), ["c"]).unwrap();
    let receipt = journal.reset(soon(), "rev 8", Some(&through)).unwrap();
    assert_eq!(receipt.sequences, Some((4, 4)));
    assert_eq!(all(&journal), ["c", "=rev 8"]);
    assert_eq!(payloads(&mut slow), ["missed Some((2, 2))", "c", "=rev 8"]);
    assert_eq!(place.names(), ["a.journal", "a.journal.lock"]);
    let late = journal.reset(soon(), "rev 9", None).unwrap();
    assert_eq!(all(&journal), ["=rev 9"]);
    assert_eq!(payloads(&mut slow), ["=rev 9"]);
    assert_eq!(slow.cursor(), late.cursor);
    let error = journal.read_from(Some(&"0000000000000001.1.00000000".parse().unwrap())).err().unwrap();
    assert!(error.is_conflict(), "{error}");
}

#[test]
fn a_cursor_of_lost_records_is_refused() {
    let place = Place::new();
    let journal = place.journal();
    journal.append(soon(), ["one"]).unwrap();
    let before = place.text();
    let two = journal.append(soon(), ["two"]).unwrap().cursor;
    fs::write(place.path(), &before).unwrap();
    let journal = place.journal();
    for step in 0..2 {
        let error = journal.read_from(Some(&two)).err().unwrap();
        assert!(error.is_conflict() && error.to_string().contains("power loss"), "{error}");
        if step == 0 {
            journal.append(soon(), ["another two"]).unwrap();
        }
    }
}

#[test]
fn a_follower_wakes_for_each_record() {
    let place = Place::new();
    let journal = place.journal();
    let mut reader = journal.read_from(None).unwrap();
    assert!(reader.next_wait(Wait::within(Duration::from_millis(5))).unwrap_err().is_busy());
    let writer = std::thread::spawn({
        let journal = place.journal();
        move || {
            for number in 0..200 {
                journal.append(soon(), [number.to_string()]).unwrap();
                match number % 50 {
                    20 => drop(journal.rotate(soon()).unwrap()),
                    40 => std::thread::sleep(Duration::from_millis(20)),
                    _ => {}
                }
            }
        }
    });
    for number in 0..200 {
        let record = reader.next_wait(soon()).unwrap().record().unwrap();
        assert_eq!(record.payload, number.to_string().as_bytes());
    }
    writer.join().unwrap();
}

#[test]
fn plain_files_are_those_of_report_b() {
    let place = Place::new();
    let plain = Format::Plain { header: Some("# codegraph-journal v1 ".to_owned()) };
    let journal = place.journal().format(plain.clone());
    fs::write(place.path(), "# codegraph-journal v1 1700000000000\nsrc/a.ts\nDELETED src/tor").unwrap();
    assert_eq!(journal.stamp().unwrap(), Some(b"1700000000000".to_vec()));
    assert_eq!(all(&journal), ["src/a.ts"]);
    let receipt = journal.append(soon(), ["src/b.ts"]).unwrap();
    let recovery = receipt.recovery.unwrap();
    assert_eq!(fs::read(recovery.quarantine).unwrap(), b"DELETED src/tor");
    assert_eq!(all(&journal), ["src/a.ts", "src/b.ts"]);
    let mut reader = journal.read_from(Some(&receipt.cursor)).unwrap();
    let stamped = journal.append_and_stamp(soon(), ["DELETED src/a.ts"], "1700000000001").unwrap();
    assert_eq!(place.text(), "# codegraph-journal v1 1700000000001\nsrc/a.ts\nsrc/b.ts\nDELETED src/a.ts\n");
    assert_eq!(payloads(&mut reader), ["missed None", "src/a.ts", "src/b.ts", "DELETED src/a.ts"]);
    journal.append(soon(), ["src/c.ts"]).unwrap();
    journal.rotate(soon()).unwrap();
    journal.append(soon(), ["src/d.ts"]).unwrap();
    assert_eq!(payloads(&mut reader), ["src/c.ts", "src/d.ts"]);
    assert_eq!(payloads(&mut journal.read_from(Some(&stamped.cursor)).unwrap()), ["src/c.ts", "src/d.ts"]);
    journal.reset(soon(), "1700000000002", Some(&stamped.cursor)).unwrap();
    assert_eq!(place.text(), "# codegraph-journal v1 1700000000002\nsrc/c.ts\nsrc/d.ts\n");
    for (record, problem) in [("a\nb", "line end"), ("# codegraph-journal v1 x", "header")] {
        let error = journal.append(soon(), [record]).unwrap_err();
        assert!(error.is_rejected() && error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn empty_and_header_less_files() {
    let place = Place::new();
    fs::write(place.path(), "").unwrap();
    assert_eq!(place.journal().append(soon(), ["one"]).unwrap().sequences, Some((1, 1)));
    let plain = Format::Plain { header: Some("# v1 ".to_owned()) };
    let place = Place::new();
    fs::write(place.path(), "").unwrap();
    let journal = place.journal().format(plain.clone());
    assert_eq!(all(&journal), [""; 0]);
    journal.append(soon(), ["one"]).unwrap();
    assert_eq!(place.text(), "one\n");
    assert_eq!(journal.stamp().unwrap(), None);
    journal.append_and_stamp(soon(), ["two"], "7").unwrap();
    assert_eq!(place.text(), "# v1 7\none\ntwo\n");
    let error = place.journal().append(soon(), ["x"]).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("plain format"), "{error}");
    assert_eq!(place.text(), "# v1 7\none\ntwo\n");
}

#[test]
fn threads_and_writers_lose_nothing() {
    let place = Place::new();
    let journal = place.journal();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            // Half of them share what is known, half know for themselves.
            let journal = if thread % 2 == 0 { journal.clone() } else { place.journal() };
            scope.spawn(move || {
                for number in 0..100 {
                    let records: Vec<String> =
                        (0..1 + number % 3).map(|part| format!("{thread} {number} {part}")).collect();
                    journal.append(soon(), &records).unwrap();
                }
            });
        }
    });
    let found = all(&journal);
    assert_eq!(found.len(), 8 * (34 + 33 * 2 + 33 * 3));
    for thread in 0..8 {
        let own: Vec<&String> = found.iter().filter(|text| text.starts_with(&format!("{thread} "))).collect();
        let wanted: Vec<String> = (0..100)
            .flat_map(|number| (0..1 + number % 3).map(move |part| format!("{thread} {number} {part}")))
            .collect();
        assert!(own.iter().zip(&wanted).all(|(a, b)| *a == b) && own.len() == wanted.len());
    }
}
