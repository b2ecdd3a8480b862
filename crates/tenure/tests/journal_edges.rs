//! What a review of the journal found: cases at the edges of crashes, rotation, repair and cursors.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    missing_docs,
    reason = "tests look at the real system"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Host, Native};
use tenure::journal::{Entry, Format, Journal, Reader};
use tenure::{Durability, Reached, Wait};

fn soon() -> Wait {
    Wait::within(Duration::from_secs(20))
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.journal")
    }

    fn beside(&self, end: &str) -> PathBuf {
        self.0.path().join(format!("a.journal.{end}"))
    }

    /// A journal that knows nothing yet.
    fn journal(&self) -> Journal {
        Journal::open(self.path())
    }

    fn append(&self, records: &[&str]) {
        for record in records {
            self.journal().append(soon(), [record]).unwrap();
        }
    }

    /// Flips the case of a payload.
    fn damage(&self, file: &Path, record: &str) {
        let text = fs::read_to_string(file).unwrap();
        let flipped = text.replace(&format!(" {record}\n"), &format!(" {}\n", record.to_uppercase()));
        assert_ne!(flipped, text);
        fs::write(file, flipped).unwrap();
    }
}

fn rest<H: Host>(reader: &mut Reader<H>) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        found.push(match entry {
            Entry::Record(record) => String::from_utf8(record.payload).unwrap(),
            Entry::Missed(missed) => format!("missed {:?}", missed.sequences),
        });
    }
    found
}

fn all(journal: &Journal) -> Vec<String> {
    rest(&mut journal.read_from(None).unwrap())
}

fn add(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// The number of the last call of this name that `step` makes.
fn last_call(name: &str, step: impl FnOnce(&Faulty<Native>)) -> usize {
    let host = Faulty::new(Native, usize::MAX, Fault::Crash);
    step(&host);
    host.calls().iter().rposition(|call| *call == name).unwrap()
}

#[test]
fn a_journal_that_was_deleted_and_begun_again_claims_no_more_than_it_has() {
    let place = Place::new();
    let journal = place.journal();
    journal.append(soon(), ["a"]).unwrap();
    journal.rotate(soon()).unwrap();
    for record in ["b", "c", "d", "e", "f"] {
        journal.append(soon(), [record]).unwrap();
    }
    fs::remove_file(place.path()).unwrap();
    assert_eq!(journal.append(soon(), ["g"]).unwrap().sequences, Some((2, 2)));
    add(&place.path(), b"torn");
    assert_eq!(place.journal().append(soon(), ["h"]).unwrap().sequences, Some((3, 3)));
    assert_eq!(all(&journal), ["a", "g", "h"]);
}

#[test]
fn a_reader_is_told_that_another_journal_stands_there() {
    let place = Place::new();
    place.append(&["a", "b"]);
    let mut reader = place.journal().read_from(None).unwrap();
    assert_eq!(rest(&mut reader), ["a", "b"]);
    fs::remove_file(place.path()).unwrap();
    place.append(&["c", "d", "e"]);
    let error = reader.next().unwrap_err();
    assert!(error.is_conflict() && error.to_string().contains("another journal"), "{error}");
}

#[test]
fn a_reader_is_told_that_what_it_read_was_lost() {
    let place = Place::new();
    place.append(&["a"]);
    place.journal().rotate(soon()).unwrap();
    place.append(&["b", "c"]);
    let mut reader = place.journal().read_from(None).unwrap();
    assert_eq!(rest(&mut reader), ["a", "b", "c"]);
    fs::remove_file(place.path()).unwrap();
    place.append(&["d"]);
    let error = reader.next().unwrap_err();
    assert!(error.is_conflict() && error.to_string().contains("power loss"), "{error}");
}

#[test]
fn a_reader_that_stands_at_damage_goes_on_after_the_repair() {
    let place = Place::new();
    place.append(&["a", "b", "c", "d"]);
    place.damage(&place.path(), "b");
    let mut reader = place.journal().read_from(None).unwrap();
    assert!(reader.next().unwrap().is_some() && reader.next().unwrap_err().is_corrupt());
    assert!(reader.next().unwrap_err().is_corrupt());
    place.journal().repair(soon()).unwrap();
    assert_eq!(rest(&mut reader), ["missed Some((2, 2))", "c", "d"]);
}

#[test]
fn a_reader_that_stands_at_damage_at_a_files_end_goes_on_after_the_repair() {
    let place = Place::new();
    place.append(&["a", "b"]);
    place.journal().rotate(soon()).unwrap();
    place.append(&["c"]);
    place.damage(&place.beside("000001"), "b");
    let mut reader = place.journal().read_from(None).unwrap();
    assert!(reader.next().unwrap().is_some());
    for _ in 0..2 {
        let error = reader.next().unwrap_err();
        assert!(error.is_corrupt() && error.to_string().contains("000001"), "{error}");
    }
    place.journal().repair(soon()).unwrap();
    assert_eq!(rest(&mut reader), ["missed Some((2, 2))", "c"]);
}

#[test]
fn a_cursor_behind_what_a_repair_took_out_holds_good() {
    for rotate in [false, true] {
        let place = Place::new();
        place.append(&["a", "b", "c", "d"]);
        let mut reader = place.journal().read_from(None).unwrap();
        let cursors: Vec<_> = std::iter::from_fn(|| reader.next().unwrap())
            .map(|entry| entry.record().unwrap().cursor)
            .collect();
        let mut file = place.path();
        if rotate {
            place.journal().rotate(soon()).unwrap();
            file = place.beside("000001");
        }
        place.append(&["e"]);
        let damaged = if rotate { ["c", "d"] } else { ["b", "c"] };
        damaged.iter().for_each(|record| place.damage(&file, record));
        // Behind damage a cursor is as good as before.
        let last = if rotate { 3 } else { 2 };
        let from = |at: usize| place.journal().read_from(Some(&cursors[at]));
        assert_eq!(rest(&mut from(3).unwrap()), ["e"], "{rotate}");
        assert_eq!(place.journal().repair(soon()).unwrap().damage.len(), 1);
        let gone = if rotate { "missed Some((4, 4))" } else { "missed Some((3, 3))" };
        assert_eq!(rest(&mut from(last - 1).unwrap())[0], gone, "{rotate}");
        assert_eq!(rest(&mut from(3).unwrap()), ["e"], "{rotate}");
    }
}

#[test]
fn a_rotation_cut_short_is_taken_back_by_who_knows_the_end() {
    for format in [Format::Checked, Format::Plain { header: None }] {
        let place = Place::new();
        let journal = place.journal().format(format.clone());
        let mut reader = journal.read_from(None).unwrap();
        journal.append(soon(), ["a"]).unwrap();
        // Another process died between the two steps of its rotation.
        fs::hard_link(place.path(), place.beside("000001")).unwrap();
        journal.append(soon(), ["b"]).unwrap();
        journal.rotate(soon()).unwrap();
        journal.append(soon(), ["c"]).unwrap();
        assert_eq!(journal.verify(|_, _| {}).unwrap().files, 2);
        assert!(!place.beside("000002").exists());
        assert_eq!(rest(&mut reader), ["a", "b", "c"]);
        assert_eq!(all(&journal), ["a", "b", "c"]);
    }
}

#[test]
fn a_repair_cut_short_is_done_again_and_hides_no_damage() {
    let place = Place::new();
    place.append(&["a", "b", "c"]);
    place.damage(&place.path(), "b");
    fs::hard_link(place.path(), place.beside("damaged-0123456789abcdef")).unwrap();
    fs::hard_link(place.path(), place.beside("000001")).unwrap();
    let error = place.journal().append(soon(), ["d"]).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    fs::hard_link(place.path(), place.beside("000001")).unwrap();
    let repaired = place.journal().repair(soon()).unwrap();
    assert_eq!((repaired.copies.len(), place.beside("000001").exists()), (1, false));
    assert_eq!(all(&place.journal()), ["a", "missed Some((2, 2))", "c"]);
    place.append(&["d"]);
}

#[test]
fn a_hard_link_by_hand_is_refused() {
    let place = Place::new();
    place.append(&["a"]);
    fs::hard_link(place.path(), place.0.path().join("b.journal")).unwrap();
    let error = place.journal().append(soon(), ["b"]).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("2 names"), "{error}");
}

#[test]
fn a_file_of_which_a_sync_failed_is_left_and_reset_counts_its_records_once() {
    let steps = |host: &Faulty<Native>, place: &Place| {
        let journal = Journal::open_on(host.clone(), place.path());
        let receipts = ["a", "b", "c"].map(|record| journal.append(soon(), [record]).unwrap());
        receipts.map(|receipt| (receipt.durability, receipt.cursor))
    };
    let place = Place::new();
    let at = last_call("fdatasync", |host| assert_eq!(steps(host, &place).len(), 3));
    let place = Place::new();
    let host = Faulty::new(Native, at, Fault::Fail(Errno::IO));
    let receipts = steps(&host, &place);
    assert_eq!(receipts.map(|(reached, _)| reached), [Reached::Power, Reached::Power, Reached::Unknown]);
    assert!(place.beside("000001").exists(), "the file was left for a new one");
    assert_eq!(all(&place.journal()), ["a", "b", "c"]);
    let report = place.journal().verify(|_, _| {}).unwrap();
    assert_eq!((report.records, report.missing, report.sequences), (3, 0, Some((1, 3))));
    place.append(&["d"]);
    place.journal().reset(soon(), "stamp", Some(&receipts[0].1)).unwrap();
    assert_eq!(all(&place.journal()), ["b", "c", "d", "stamp"]);
    let report = place.journal().verify(|_, _| {}).unwrap();
    assert_eq!((report.records, report.damage, report.tail), (4, vec![], None));
}

#[test]
fn a_plain_reset_refuses_a_cursor_whose_line_is_gone() {
    let place = Place::new();
    let journal = place.journal().format(Format::Plain { header: Some("# v1 ".to_owned()) });
    let cursor = journal.append(soon(), ["a", "bcd"]).unwrap().cursor;
    journal.reset(soon(), "1", None).unwrap();
    journal.append(soon(), ["efgh", "i"]).unwrap();
    let error = journal.reset(soon(), "2", Some(&cursor)).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(all(&journal), ["efgh", "i"]);
}

#[test]
fn a_plain_journal_is_read_again_behind_a_new_stamp() {
    let place = Place::new();
    let journal = place.journal().format(Format::Plain { header: Some("# v1 ".to_owned()) });
    let cursor = journal.append(soon(), ["a", "b"]).unwrap().cursor;
    let mut reader = journal.read_from(Some(&cursor)).unwrap();
    journal.append_and_stamp(soon(), ["c"], "a longer stamp").unwrap();
    journal.rotate(soon()).unwrap();
    journal.append(soon(), ["d"]).unwrap();
    let again = ["missed None", "a", "b", "c", "d"];
    assert_eq!(rest(&mut reader), again);
    assert_eq!(rest(&mut journal.read_from(Some(&cursor)).unwrap()), again);
}

/// Paths repeat: the line before a cursor may stand at the same place again, and is another.
#[test]
fn a_line_that_came_after_a_plain_reset_is_not_taken_for_the_one_before() {
    let place = Place::new();
    let journal = place.journal().format(Format::Plain { header: Some("# v1 ".to_owned()) });
    journal.reset(soon(), "1", None).unwrap();
    let cursor = journal.append(soon(), ["src/a.ts"]).unwrap().cursor;
    let mut reader = journal.read_from(Some(&cursor)).unwrap();
    for stamp in 2..6 {
        journal.reset(soon(), stamp.to_string(), None).unwrap();
        journal.append(soon(), ["src/a.ts"]).unwrap();
    }
    assert_eq!(rest(&mut journal.read_from(Some(&cursor)).unwrap()), ["missed None", "src/a.ts"]);
    assert_eq!(rest(&mut reader), ["missed None", "src/a.ts"]);
    assert!(journal.reset(soon(), "7", Some(&cursor)).unwrap_err().is_conflict());
}

#[test]
fn no_cursor_is_too_large() {
    let place = Place::new();
    place.append(&["a"]);
    for sequence in [u64::MAX, u64::MAX - 1, 2] {
        let cursor = format!("0000000000000001.{sequence}.00000000").parse().unwrap();
        assert!(place.journal().read_from(Some(&cursor)).err().unwrap().is_conflict());
    }
}

#[test]
fn a_cursor_within_a_batch_of_a_large_file_holds_good() {
    let place = Place::new();
    let journal = place.journal().durability(Durability::Process);
    let long = "x".repeat(1000);
    for batch in 0..20 {
        let records: Vec<String> = (0..100).map(|number| format!("{batch} {number} {long}")).collect();
        journal.append(soon(), &records).unwrap();
    }
    let mut reader = journal.read_from(None).unwrap();
    let mut cursors = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        cursors.push(entry.record().unwrap().cursor);
    }
    assert_eq!(cursors.len(), 2000);
    for at in (0..1999).step_by(37) {
        let mut reader = journal.read_from(Some(&cursors[at])).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().record().unwrap().cursor, cursors[at + 1], "{at}");
    }
}

#[test]
fn a_tail_is_told_of_even_if_the_append_that_moved_it_fails() {
    let torn = || {
        let place = Place::new();
        place.append(&["a"]);
        add(&place.path(), b"torn");
        place
    };
    let place = torn();
    let at = last_call("pwrite", |host| {
        Journal::open_on(host.clone(), place.path()).append(soon(), ["b"]).map(drop).unwrap();
    });
    let place = torn();
    let journal = Journal::open_on(Faulty::new(Native, at, Fault::Fail(Errno::NOSPC)), place.path());
    assert!(journal.append(soon(), ["b"]).unwrap_err().is_io());
    let recovery = journal.append(soon(), ["c"]).unwrap().recovery.unwrap();
    assert_eq!(fs::read(recovery.quarantine).unwrap(), b"torn");
    assert_eq!(all(&place.journal()), ["a", "c"]);
}

#[test]
fn a_failed_read_within_a_batch_gives_no_part_of_it() {
    let place = Place::new();
    let records = vec!["x".repeat(200_000); 4];
    place.journal().append(soon(), &records).unwrap();
    let reads = last_call("pread", |host| {
        let mut reader = Journal::open_on(host.clone(), place.path()).read_from(None).unwrap();
        assert_eq!(rest(&mut reader).len(), 4);
    });
    let mut met = 0;
    for at in 0..=reads {
        let host = Faulty::new(Native, at, Fault::Fail(Errno::IO));
        let Ok(mut reader) = Journal::open_on(host.clone(), place.path()).read_from(None) else { continue };
        let (mut found, mut failed) = (0, false);
        loop {
            match reader.next() {
                Ok(Some(_)) => found += 1,
                Ok(None) => break,
                Err(error) => {
                    assert!(error.is_io() && found % 4 == 0, "{found} of a batch, then {error}");
                    (failed, met) = (true, met + 1);
                }
            }
        }
        assert_eq!(found, 4, "{failed}");
    }
    assert!(met > 1);
}

#[test]
fn a_cursor_asked_for_too_early_hides_nothing() {
    let place = Place::new();
    place.append(&["a", "b"]);
    let cursor = place.journal().append(soon(), ["c"]).unwrap().cursor;
    place.append(&["d"]);
    place.journal().reset(soon(), "stamp", None).unwrap();
    let mut reader = place.journal().read_from(Some(&cursor)).unwrap();
    assert_eq!(reader.cursor(), cursor, "nothing was given out yet");
    assert_eq!(rest(&mut reader), ["missed Some((4, 4))", "stamp"]);
}

#[test]
fn a_million_flawed_lines_are_looked_at_once() {
    let place = Place::new();
    place.append(&["a"]);
    add(&place.path(), &vec![b'\n'; 300_000]);
    let start = Instant::now();
    let report = place.journal().verify(|_, _| {}).unwrap();
    assert_eq!((report.records, report.tail.unwrap().bytes), (1, 300_000));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_reader_needs_no_right_to_write_and_leaves_nothing() {
    let place = Place::new();
    place.append(&["a"]);
    fs::remove_file(place.beside("lock")).unwrap();
    let mut mode = fs::metadata(place.0.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o555);
    fs::set_permissions(place.0.path(), mode).unwrap();
    assert_eq!(all(&place.journal()), ["a"]);
    assert_eq!(place.journal().verify(|_, _| {}).unwrap().records, 1);
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 1, "a reader made a file");
}

#[test]
fn a_symbolic_link_means_the_file_behind_it() {
    let place = Place::new();
    let link = place.0.path().join("link");
    std::os::unix::fs::symlink("a.journal", &link).unwrap();
    let journal = Journal::open(&link);
    journal.append(soon(), ["a"]).unwrap();
    journal.rotate(soon()).unwrap();
    place.append(&["b"]);
    assert_eq!(all(&journal), ["a", "b"]);
    assert!(place.beside("000001").exists() && fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn the_last_records_are_found_from_the_end() {
    let place = Place::new();
    let journal = place.journal();
    assert_eq!(rest(&mut journal.read_last(3).unwrap()), [""; 0]);
    journal.append(soon(), ["a", "b", "c"]).unwrap();
    journal.rotate(soon()).unwrap();
    journal.append(soon(), ["d"]).unwrap();
    for (count, last) in [(0, ""), (1, "d"), (2, "cd"), (3, "bcd"), (9, "abcd"), (u64::MAX, "abcd")] {
        assert_eq!(rest(&mut journal.read_last(count).unwrap()).concat(), last, "{count}");
    }
}
