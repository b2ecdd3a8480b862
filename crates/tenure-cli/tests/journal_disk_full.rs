//! Promise: an append that finds no space says so and leaves no part of its batch; what was acknowledged stays, also of appends
//! that were written together with it; readers see neither; and with space again all goes on.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use common::mounted::{Mounted, skip};
use common::{directory, litter, names};
use tenure::journal::{Entry, Format, Journal};
use tenure::{Durability, Wait};

const PAGE: usize = 4096;

fn soon() -> Wait {
    Wait::within(Duration::from_secs(20))
}

/// Fills the file system but for `free` pages.
fn fill_but(directory: &Path, free: usize) {
    let mut filler = File::create(directory.join("filler")).unwrap();
    let mut length = 0;
    while filler.write_all(&[1; PAGE]).is_ok() {
        length += PAGE;
    }
    filler.set_len((length - free * PAGE) as u64).unwrap();
}

fn all(journal: &Journal) -> Vec<String> {
    let mut reader = journal.read_from(None).unwrap();
    let entries = std::iter::from_fn(|| reader.next().unwrap());
    entries
        .map(|entry| match entry {
            Entry::Record(record) => String::from_utf8(record.payload).unwrap(),
            Entry::Missed(missed) => panic!("{missed:?}"),
        })
        .collect()
}

/// Batches of two records from eight threads until each has been refused.
fn fill_with_batches(journal: &Journal) -> Vec<String> {
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                for number in 0.. {
                    let long = "x".repeat(50 + number % 7 * 40);
                    let batch = [1, 2].map(|place| format!("{thread} {number} {place} {long}"));
                    match journal.append(soon(), &batch) {
                        Ok(_) => acknowledged.lock().unwrap().extend(batch),
                        Err(error) => {
                            assert!(error.is_io() && error.to_string().contains("No space left"), "{error}");
                            return;
                        }
                    }
                }
            });
        }
    });
    acknowledged.into_inner().unwrap()
}

#[test]
fn a_full_disk_keeps_whole_batches_and_no_other() {
    let at = directory();
    let mounted = Mounted::new(["-t", "tmpfs", "-o", "size=256k", "tenure-test"], at.path());
    let disk = match mounted {
        Ok(disk) => disk,
        Err(reason) => return skip("journal_disk_full", &reason),
    };
    let path = disk.path().join("a.journal");
    for format in [Format::Checked, Format::Plain { header: None }] {
        for durability in [Durability::Process, Durability::Power] {
            for free in [1, 2, 5] {
                for name in names(disk.path()) {
                    fs::remove_file(disk.path().join(name)).unwrap();
                }
                let open = || Journal::open(&path).format(format.clone()).durability(durability);
                let journal = open();
                journal.append(soon(), ["first"]).unwrap();
                fill_but(disk.path(), free);
                let mut wanted = fill_with_batches(&journal);
                let mut found = all(&open());
                assert!(wanted.len() > 2, "{free} pages were enough for nothing");
                let report = open().verify(|_, _| {}).unwrap();
                assert_eq!((report.damage.len(), report.tail), (0, None), "{format:?} {durability:?} {free}");
                fs::remove_file(disk.path().join("filler")).unwrap();
                for again in [&journal, &open()] {
                    let receipt = again.append(soon(), ["again"]).unwrap();
                    assert_eq!(receipt.recovery, None);
                }
                found.extend(["again".to_owned(), "again".to_owned()]);
                assert_eq!(all(&open()), found);
                wanted.extend(["first".to_owned(), "again".to_owned(), "again".to_owned()]);
                wanted.sort();
                found.sort();
                assert_eq!(found, wanted, "what is there is what was acknowledged");
                assert_eq!(litter(disk.path()), [""; 0]);
            }
        }
    }
    disk.unmount();
}

#[test]
fn a_rotation_or_a_tail_without_space_changes_nothing() {
    let at = directory();
    let mounted = Mounted::new(["-t", "tmpfs", "-o", "size=256k", "tenure-test"], at.path());
    let disk = match mounted {
        Ok(disk) => disk,
        Err(reason) => return skip("journal_disk_full_rotation", &reason),
    };
    let path = disk.path().join("a.journal");
    let open = || Journal::open(&path);
    open().append(soon(), ["first"]).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"torn").unwrap();
    drop(file);
    let before = fs::read(&path).unwrap();
    fill_but(disk.path(), 0);
    for step in 0..2 {
        // The tail can't be kept elsewhere, so it stays where it is.
        let done = if step == 0 { open().append(soon(), ["x"]) } else { open().rotate(soon()) };
        let error = done.unwrap_err();
        assert!(error.is_io() && error.to_string().contains("No space left"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(names(disk.path()), ["a.journal", "a.journal.lock", "filler"]);
    }
    assert_eq!(all(&open()), ["first"]);
    fs::remove_file(disk.path().join("filler")).unwrap();
    let receipt = open().append(soon(), ["second"]).unwrap();
    assert_eq!(fs::read(receipt.recovery.unwrap().quarantine).unwrap(), b"torn");
    fill_but(disk.path(), 0);
    assert!(open().rotate(soon()).unwrap_err().is_io());
    assert!(open().reset(soon(), "stamp", None).unwrap_err().is_io());
    assert_eq!(all(&open()), ["first", "second"]);
    assert!(!names(disk.path()).contains(&"a.journal.000001".to_owned()));
    fs::remove_file(disk.path().join("filler")).unwrap();
    open().rotate(soon()).unwrap();
    open().append(soon(), ["third"]).unwrap();
    assert_eq!(all(&open()), ["first", "second", "third"]);
    assert_eq!(litter(disk.path()), [""; 0]);
    disk.unmount();
}
