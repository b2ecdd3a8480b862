//! One update under every fault at every host call: hazards U4, U6, U8, U10, U11, U12, U13.
//!
//! The same judge that passes the shipped update must catch each broken twin below, or it proves nothing.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Host, Native, Open};
use tenure::{Document, Wait};

const OLD: &str = "{\n    \"n\": 1,\n    \"keep\": 1.10\n}\n";
const NEW: &str = "{\n    \"n\": 2,\n    \"keep\": 1.10\n}\n";

/// An update of `n` from 1 to 2 by some protocol; `Ok` acknowledges it.
type Update = fn(&Faulty<Native>, &Path) -> Result<(), String>;

const FAULTS: [Fault; 6] = [
    Fault::Fail(Errno::IO),
    Fault::Fail(Errno::NOSPC),
    Fault::Fail(Errno::MFILE),
    Fault::Fail(Errno::ACCESS),
    Fault::ShortWrite,
    Fault::Crash,
];

fn shipped(host: &Faulty<Native>, path: &Path) -> Result<(), String> {
    let document = Document::open_on(host.clone(), path);
    let receipt = document.update(Wait::within(Duration::from_secs(20)), bump);
    receipt.map(drop).map_err(|error| error.to_string())
}

fn bump(value: &mut serde_json::Value) {
    value["n"] = (value["n"].as_u64().unwrap() + 1).into();
}

/// Runs the update with the fault at call 0, 1, 2, ... and judges what each run leaves.
fn judge(update: Update) -> Result<usize, String> {
    let mut runs = 0;
    for fault in FAULTS {
        for n in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("state.json");
            fs::write(&path, OLD).unwrap();
            let host = Faulty::new(Native, n, fault);
            let outcome = update(&host, &path);
            let at = format!("{fault:?} at call {n} of {:?}: {outcome:?}", host.calls());
            judge_run(&path, &outcome, fault).map_err(|problem| format!("{problem}: {at}"))?;
            runs += 1;
            if !host.met() {
                judge_order(&host.calls()).map_err(|problem| format!("{problem}: {at}"))?;
                break;
            }
        }
    }
    Ok(runs)
}

fn judge_run(path: &Path, outcome: &Result<(), String>, fault: Fault) -> Result<(), String> {
    let content = fs::read_to_string(path).map_err(|error| error.to_string())?;
    match (content.as_str(), outcome) {
        (NEW, Ok(())) | (OLD, Err(_)) => {}
        (OLD, Ok(())) => return Err("an acknowledged update is not there".into()),
        (NEW, Err(_)) if fault == Fault::Crash => {}
        (NEW, Err(_)) => return Err("a change was made but an error reported".into()),
        (other, _) => return Err(format!("neither old nor new: {other:?}")),
    }
    // The next comer gets in at once, and cleans up.
    let next = Document::open(path).update(Wait::within(Duration::from_secs(20)), bump);
    next.map_err(|error| format!("the next update fails: {error}"))?;
    let mut names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    match names == ["state.json", "state.json.lock"] {
        true => Ok(()),
        false => Err(format!("litter: {names:?}")),
    }
}

/// What durability needs of an acknowledged update: content synced before the rename, the name after it.
fn judge_order(calls: &[&str]) -> Result<(), String> {
    let rename = calls.iter().position(|call| *call == "rename").ok_or("no rename")?;
    let synced = |calls: &[&str]| calls.contains(&"fsync");
    match (synced(&calls[..rename]), synced(&calls[rename..])) {
        (true, true) => Ok(()),
        (before, after) => Err(format!("synced before the rename: {before}, after it: {after}")),
    }
}

#[test]
fn the_shipped_update_survives_every_fault_at_every_call() {
    let runs = judge(shipped).unwrap();
    assert!(runs > 100, "only {runs} runs: the faults were not met");
}

/// What the twins have in common: the whole new content, made without looking.
fn put(host: &Faulty<Native>, path: &Path, sync: bool, sync_directory: bool) -> Result<(), Errno> {
    let temporary = path.with_extension("tmp");
    let directory = host.open(path.parent().unwrap(), Open::Read)?;
    let result = (|| {
        let file = host.open(&temporary, Open::New { mode: 0o600 })?;
        let mut left = NEW.as_bytes();
        while !left.is_empty() {
            left = &left[host.write(&file, left)?..];
        }
        if sync {
            host.fsync(&file)?;
        }
        host.rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = host.unlink(&temporary);
    }
    result?;
    if sync_directory {
        let _durability_unknown = host.fsync(&directory);
    }
    Ok(())
}

fn caught(update: Update, expected: &str) {
    let problem = judge(update).expect_err("the judge must catch this twin");
    assert!(problem.contains(expected), "{problem}");
}

#[test]
fn u4_writing_in_place_is_caught() {
    caught(
        |host, path| {
            let run = || {
                fs::write(path, "").unwrap();
                let file = host.open(path, Open::ReadWrite)?;
                host.write(&file, NEW.as_bytes())?;
                host.fsync(&file)
            };
            run().map_err(|errno| errno.to_string())
        },
        "neither old nor new",
    );
}

#[test]
fn u6_a_short_write_that_is_renamed_is_caught() {
    caught(
        |host, path| {
            let temporary = path.with_extension("tmp");
            let run = || {
                let file = host.open(&temporary, Open::New { mode: 0o600 })?;
                let _unverified = host.write(&file, NEW.as_bytes());
                host.fsync(&file)?;
                host.rename(&temporary, path)
            };
            run().map_err(|errno| {
                let _ = fs::remove_file(&temporary);
                errno.to_string()
            })
        },
        "neither old nor new",
    );
}

#[test]
fn u8_a_missing_sync_is_caught() {
    caught(|host, path| put_swept(host, path, false, true), "synced before the rename: false");
    caught(|host, path| put_swept(host, path, true, false), "after it: false");
}

#[test]
fn u12_litter_is_caught() {
    caught(|host, path| put(host, path, true, true).map_err(|errno| errno.to_string()), "litter");
}

#[test]
fn an_error_after_the_rename_is_caught() {
    // The directory is opened when the change is visible already, and a failure is reported as if nothing had
    // happened.
    caught(
        |host, path| {
            put_swept(host, path, true, true)?;
            host.open(path.parent().unwrap(), Open::Read).map(drop).map_err(|errno| errno.to_string())
        },
        "a change was made but an error reported",
    );
}

/// `put` whose litter is swept by magic, to look at its other mistakes.
fn put_swept(host: &Faulty<Native>, path: &Path, sync: bool, sync_directory: bool) -> Result<(), String> {
    let result = put(host, path, sync, sync_directory);
    let _ = fs::remove_file(path.with_extension("tmp"));
    result.map_err(|errno| errno.to_string())
}

#[test]
fn u10_u11_nothing_is_written_for_corrupt_input_or_a_failing_updater() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    for corrupt in ["", "{\"n\":1,", "{\"n\":1,\"n\":2}", "{\"n\": \"\u{fffd}\"} x"] {
        fs::write(&path, corrupt).unwrap();
        let error = Document::open(&path).update(Wait::Never, bump).unwrap_err();
        assert!(error.is_corrupt(), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), corrupt);
    }
    fs::write(&path, OLD).unwrap();
    let document = Document::open(&path);
    let failing = |value: &mut serde_json::Value| {
        value["n"] = 5.into();
        Err::<(), _>("no")
    };
    assert!(document.update(Wait::Never, failing).unwrap_err().is_rejected());
    let panicking = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let panic = |value: &mut serde_json::Value| value["nothing"].as_u64().map(drop).unwrap();
        drop(document.update(Wait::Never, panic));
    }));
    assert!(panicking.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), OLD);
    // The lock is free, and the next caller fine.
    document.update(Wait::Never, bump).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), NEW);
}

#[test]
fn u13_a_lock_file_deleted_during_an_update_does_not_lose_another_update() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    fs::write(&path, OLD).unwrap();
    let mut rounds = 0;
    Document::open(&path)
        .update(Wait::Never, |value: &mut serde_json::Value| {
            rounds += 1;
            if rounds == 1 {
                // Somebody cleans up "stale locks", and another process gets in and out meanwhile.
                fs::remove_file(directory.path().join("state.json.lock")).unwrap();
                // A thread of this process would queue behind us.
                let other = Faulty::new(Native, usize::MAX, Fault::Crash);
                Document::open_on(other, &path).update(Wait::Never, bump).unwrap();
            }
            bump(value);
        })
        .unwrap();
    let value: serde_json::Value = Document::open(&path).read().unwrap();
    assert_eq!((rounds, value["n"].as_u64()), (2, Some(3)), "the update ran again on the other's result");
}

#[test]
fn a_write_without_the_lock_is_noticed_before_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    fs::write(&path, OLD).unwrap();
    let mut rounds = 0;
    Document::open(&path)
        .update(Wait::Never, |value: &mut serde_json::Value| {
            rounds += 1;
            if rounds == 1 {
                fs::write(&path, "{\"n\":10,\"editor\":true}").unwrap();
            }
            bump(value);
        })
        .unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":11,\"editor\":true}");
}
