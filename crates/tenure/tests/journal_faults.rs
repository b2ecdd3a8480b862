//! Each of the journal's operations under every fault at every host call.
//!
//! Whatever failed or died in the middle: earlier records stay, a batch is there whole or not at all, an acknowledged one is
//! there, a refused one is not, the next append works, and nothing is left lying about. The same judge must catch the broken
//! twins below, or it proves nothing.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Host, Native, Open};
use tenure::journal::{Cursor, Entry, Format, Journal};
use tenure::{Durability, Wait};

const FAULTS: [Fault; 6] = [
    Fault::Fail(Errno::IO),
    Fault::Fail(Errno::NOSPC),
    Fault::Fail(Errno::MFILE),
    Fault::Fail(Errno::ACCESS),
    Fault::ShortWrite,
    Fault::Crash,
];

/// In memory if that can be had: nobody here loses power, and thousands of syncs take their time.
fn directory() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_none| tempfile::tempdir()).unwrap()
}

fn soon() -> Wait {
    Wait::within(Duration::from_secs(20))
}

fn plain() -> Format {
    Format::Plain { header: Some("# v1 ".to_owned()) }
}

/// What a fresh reader gets, or why it gets no more.
fn read<H: Host>(journal: &Journal<H>) -> Result<Vec<String>, String> {
    let mut reader = journal.read_from(None).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    while let Some(entry) = reader.next().map_err(|error| format!("{error} after {found:?}"))? {
        found.push(match entry {
            Entry::Record(record) => String::from_utf8(record.payload).unwrap(),
            Entry::Missed(_) => "missed".to_owned(),
        });
    }
    Ok(found)
}

/// A journal in some state, what is done to it, and what it may hold afterwards.
struct Case {
    name: &'static str,
    format: Format,
    /// Makes the journal as it is before, and gives a cursor if the step needs one.
    before: fn(&Path) -> Option<Cursor>,
    step: Step,
    /// What is there if the step was not done, and if it was.
    old: &'static [&'static str],
    new: &'static [&'static str],
    /// How the names end of files that may stand beside the journal and its lock.
    beside: &'static [&'static str],
}

/// What is done, on a host that fails; `Ok` acknowledges it.
type Step = fn(&Faulty<Native>, &Path, Option<&Cursor>) -> Result<(), String>;

fn journal(path: &Path) -> Journal {
    Journal::open(path).durability(Durability::Process)
}

fn on(host: &Faulty<Native>, path: &Path) -> Journal<Faulty<Native>> {
    Journal::open_on(host.clone(), path)
}

fn told<T>(done: tenure::Result<T>) -> Result<(), String> {
    done.map(drop).map_err(|error| error.to_string())
}

fn two(path: &Path) -> Option<Cursor> {
    journal(path).append(soon(), ["a"]).unwrap();
    Some(journal(path).append(soon(), ["b"]).unwrap().cursor)
}

fn torn(path: &Path) -> Option<Cursor> {
    two(path);
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"00000000 3 1/2 0 to").unwrap();
    None
}

fn damaged(path: &Path) -> Option<Cursor> {
    let journal = Journal::open(path);
    for record in ["a", "b", "c", "d"] {
        journal.append(soon(), [record]).unwrap();
    }
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text.replace("1 b\n", "1 B\n")).unwrap();
    None
}

fn rotated(path: &Path) -> Option<Cursor> {
    journal(path).append(soon(), ["z"]).unwrap();
    journal(path).rotate(soon()).unwrap();
    let cursor = journal(path).append(soon(), ["a"]).unwrap().cursor;
    journal(path).rotate(soon()).unwrap();
    journal(path).append(soon(), ["b"]).unwrap();
    Some(cursor)
}

fn plain_file(path: &Path) -> Option<Cursor> {
    fs::write(path, "# v1 7\na\nb\n").unwrap();
    None
}

fn append(host: &Faulty<Native>, path: &Path, _: Option<&Cursor>) -> Result<(), String> {
    told(on(host, path).append(soon(), ["x", "y", "z"]))
}

const CASES: &[Case] = &[
    Case {
        name: "the first append",
        format: Format::Checked,
        before: |_| None,
        step: append,
        old: &[],
        new: &["x", "y", "z"],
        beside: &[],
    },
    Case {
        name: "an append",
        format: Format::Checked,
        before: two,
        step: append,
        old: &["a", "b"],
        new: &["a", "b", "x", "y", "z"],
        beside: &["000001"],
    },
    Case {
        name: "an append by one that knows the end",
        format: Format::Checked,
        before: |_| None,
        step: |host, path, _| {
            let journal = on(host, path);
            told(journal.append(soon(), ["a"]))?;
            told(journal.append(soon(), ["x", "y", "z"]))
        },
        old: &["a"],
        new: &["a", "x", "y", "z"],
        // A file of which a sync has failed is left.
        beside: &["000001"],
    },
    Case {
        name: "an append after a torn tail",
        format: Format::Checked,
        before: torn,
        step: append,
        old: &["a", "b"],
        new: &["a", "b", "x", "y", "z"],
        beside: &["torn", "000001"],
    },
    Case {
        name: "a rotation",
        format: Format::Checked,
        before: two,
        step: |host, path, _| told(on(host, path).rotate(soon())),
        old: &["a", "b"],
        new: &["a", "b"],
        beside: &["000001"],
    },
    Case {
        name: "an append that rotates and removes",
        format: Format::Checked,
        before: rotated,
        step: |host, path, _| {
            told(on(host, path).rotate_at(10).keep_segments(3).append(soon(), ["x", "y", "z"]))
        },
        old: &["z", "a", "b"],
        new: &["z", "a", "b", "x", "y", "z"],
        beside: &["000001", "000002", "000003"],
    },
    Case {
        name: "a reset",
        format: Format::Checked,
        before: rotated,
        step: |host, path, cursor| told(on(host, path).reset(soon(), "done", cursor)),
        old: &["z", "a", "b"],
        new: &["b", "done"],
        beside: &["000001", "000002"],
    },
    Case {
        name: "a plain append",
        format: Format::Plain { header: None },
        before: plain_file,
        step: |host, path, _| told(on(host, path).format(plain()).append(soon(), ["x"])),
        old: &["# v1 7", "a", "b"],
        new: &["# v1 7", "a", "b", "x"],
        beside: &[],
    },
    Case {
        name: "a plain stamp",
        format: Format::Plain { header: None },
        before: plain_file,
        step: |host, path, _| {
            told(on(host, path).format(plain()).append_and_stamp(soon(), ["x", "y", "z"], "8"))
        },
        old: &["# v1 7", "a", "b"],
        new: &["# v1 8", "a", "b", "x", "y", "z"],
        beside: &[],
    },
    Case {
        name: "a repair",
        format: Format::Checked,
        before: damaged,
        step: |host, path, _| told(on(host, path).repair(soon())),
        old: &["damaged"],
        new: &["a", "missed", "c", "d"],
        beside: &["damaged"],
    },
];

/// Runs the case with the fault at call 0, 1, 2, ... and judges what each run leaves.
fn judge(case: &Case) -> Result<usize, String> {
    let mut runs = 0;
    for fault in FAULTS {
        for n in 0.. {
            let directory = directory();
            let path = directory.path().join("a.journal");
            let cursor = (case.before)(&path);
            let host = Faulty::new(Native, n, fault);
            let outcome = (case.step)(&host, &path, cursor.as_ref());
            judge_run(case, &path, &outcome, fault).map_err(|problem| {
                format!("{}: {problem}: {fault:?} at call {n} of {:?}: {outcome:?}", case.name, host.calls())
            })?;
            runs += 1;
            if !host.met() {
                break;
            }
        }
    }
    Ok(runs)
}

fn judge_run(case: &Case, path: &Path, outcome: &Result<(), String>, fault: Fault) -> Result<(), String> {
    let fresh = || journal(path).format(case.format.clone());
    let found = match (read(&fresh()), case.old) {
        (Err(problem), ["damaged"]) if problem.contains("is damaged") => vec!["damaged".to_owned()],
        (found, _) => found?,
    };
    let (is_old, is_new) = (found == case.old, found == case.new);
    match outcome {
        _ if !(is_old || is_new || case.old == ["a"] && found.is_empty()) => {
            return Err(format!("neither the old records nor the new ones: {found:?}"));
        }
        Ok(()) if !is_new => return Err("an acknowledged batch is not there".into()),
        Err(_) if !is_old && is_new && fault != Fault::Crash => {
            return Err("a batch is there whose append reported an error".into());
        }
        _ => {}
    }
    if found == ["damaged"] {
        fresh().repair(soon()).map_err(|error| format!("the next repair fails: {error}"))?;
    }
    let mut expected = read(&fresh())?;
    for record in ["next", "and one more"] {
        let next = fresh().append(soon(), [record]);
        next.map_err(|error| format!("the next append fails: {error}"))?;
        expected.push(record.to_owned());
    }
    let found = read(&fresh())?;
    if found != expected {
        return Err(format!("after the next appends: {found:?}"));
    }
    let report = fresh().verify(|_, _| {}).map_err(|error| error.to_string())?;
    if !report.damage.is_empty() || report.tail.is_some() {
        return Err(format!("not sound: {report:?}"));
    }
    let left = beside(path);
    match left.iter().all(|name| case.beside.iter().any(|known| name.starts_with(known))) {
        // A crash between the copy of a tail and its removal leaves two copies.
        true if left.len() <= case.beside.len() + usize::from(fault == Fault::Crash) => Ok(()),
        _ => Err(format!("litter: {left:?}")),
    }
}

/// The names beside the journal and its lock, without their common beginning.
fn beside(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "a.journal" && name != "a.journal.lock")
        .map(|name| name.strip_prefix("a.journal.").unwrap_or(&name).to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_operation_survives_every_fault_at_every_call() {
    let mut runs = 0;
    let mut problems = Vec::new();
    std::thread::scope(|scope| {
        let judges: Vec<_> = CASES.iter().map(|case| scope.spawn(|| judge(case))).collect();
        for judged in judges {
            match judged.join().unwrap() {
                Ok(count) => runs += count,
                Err(problem) => problems.push(problem),
            }
        }
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(runs > 1000, "only {runs} runs: the faults were not met");
}

/// That the judge catches a step that is not the shipped one.
fn caught(base: &str, step: Step, expected: &str) {
    let case = CASES.iter().find(|case| case.name == base).unwrap();
    let problem = judge(&Case { step, ..*case_like(case) }).expect_err("the judge must catch this twin");
    assert!(problem.contains(expected), "{problem}");
}

fn case_like(case: &Case) -> Box<Case> {
    let Case { name, before, step, old, new, beside, .. } = *case;
    Box::new(Case { name, format: case.format.clone(), before, step, old, new, beside })
}

fn name_beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(end);
    name.into()
}

/// Opens the plain file and adds `text` behind `end`, by as many calls as the system asks for.
fn add(host: &Faulty<Native>, path: &Path, end: u64, text: &[u8]) -> Result<(), Errno> {
    let file = host.open(path, Open::ReadWrite)?;
    let mut done = 0;
    while done < text.len() {
        done += host.write_at(&file, end + done as u64, &text[done..])?;
    }
    host.sync_data(&file)
}

#[test]
fn a_sync_whose_failure_denies_what_was_written_is_caught() {
    let step: Step = |host, path, _| add(host, path, 11, b"x\n").map_err(|errno| errno.to_string());
    caught("a plain append", step, "whose append reported an error");
}

#[test]
fn a_batch_by_several_writes_is_caught() {
    let step: Step = |host, path, _| {
        let journal = on(host, path).durability(Durability::Process);
        ["x", "y", "z"].iter().try_for_each(|record| told(journal.append(soon(), [record])))
    };
    caught("an append", step, "neither the old records nor the new ones");
}

#[test]
fn an_append_that_does_not_look_at_short_writes_is_caught() {
    let step: Step = |host, path, _| {
        let write = || host.write_at(&host.open(path, Open::ReadWrite)?, 11, b"x\n");
        write().map(drop).map_err(|errno| errno.to_string())
    };
    caught("a plain append", step, "acknowledged batch is not there");
}

#[test]
fn a_stamp_that_rewrites_in_place_is_caught() {
    let step: Step = |host, path, _| {
        let write = || {
            let file = host.open(path, Open::ReadWrite)?;
            host.truncate(&file, 0)?;
            drop(file);
            add(host, path, 0, b"# v1 8\na\nb\nx\ny\nz\n")
        };
        write().map_err(|errno| errno.to_string())
    };
    caught("a plain stamp", step, "neither the old records nor the new ones");
}

#[test]
fn a_rotation_by_copy_and_truncate_is_caught() {
    let step: Step = |host, path, _| {
        let rotate = || {
            let text = fs::read(path).unwrap();
            let copy = host.open(&name_beside(path, ".000001"), Open::New { mode: 0o600 })?;
            let mut left = &text[..];
            while !left.is_empty() {
                left = &left[host.write(&copy, left)?..];
            }
            host.truncate(&host.open(path, Open::ReadWrite)?, 0)
        };
        rotate().map_err(|errno| errno.to_string())
    };
    // Its copy stands there under the number of a rotation that never came to its end.
    let case = CASES.iter().find(|case| case.name == "a rotation").unwrap();
    assert!(judge(&Case { step, ..*case_like(case) }).is_err());
}

#[test]
fn a_temporary_file_that_nobody_sweeps_is_caught() {
    let step: Step = |host, path, _| {
        let write = || {
            let temporary = name_beside(path, ".tmp");
            let file = host.open(&temporary, Open::New { mode: 0o600 })?;
            let mut left = b"# v1 8\na\nb\nx\ny\nz\n".as_slice();
            while !left.is_empty() {
                left = &left[host.write(&file, left)?..];
            }
            host.rename(&temporary, path)
        };
        write().map_err(|errno| errno.to_string())
    };
    caught("a plain stamp", step, "litter");
}
