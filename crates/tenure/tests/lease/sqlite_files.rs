//! Database files that are not as they should be, and what becomes of one that is in use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tenure::{Error, LeaseStore, Wait};

use crate::mounted::{Mounted, skip};
use crate::place::{LONG, Place, SHORT, eventually, soon};
use crate::worker::{Worker, tell, told};

fn refused(place: &Place) -> Error {
    LeaseStore::connect(&place.address).map(drop).unwrap_err()
}

fn made(place: &Place) {
    drop(place.connect());
}

fn sql(place: &Place, statements: &str) {
    Connection::open(place.file()).unwrap().execute_batch(statements).unwrap();
}

/// Every byte of the directory's files, but for SQLite's own side files.
fn content(place: &Place) -> Vec<u8> {
    fs::read(place.file()).unwrap()
}

#[test]
fn another_programs_database_is_left_alone() {
    let table = [
        "CREATE TABLE t (x)",
        "CREATE TABLE tenure_lease (name TEXT)",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 1",
        "PRAGMA user_version = 2; CREATE TABLE t (x)",
    ];
    for statements in table {
        let place = Place::sqlite();
        sql(&place, statements);
        let before = content(&place);
        let error = refused(&place);
        let text = error.to_string();
        assert!(
            error.is_unsupported() && text.contains("another program's database"),
            "{statements}: {text}"
        );
        assert!(text.contains(place.file().to_str().unwrap()), "{text}");
        assert!(content(&place) == before, "{statements}: it was changed");
    }
}

#[test]
fn an_empty_file_becomes_a_database() {
    let place = Place::sqlite();
    fs::write(place.file(), "").unwrap();
    assert!(place.connect().try_acquire("a", LONG).unwrap().is_some());
    sql(&place, "PRAGMA integrity_check");
}

#[test]
fn a_later_version_is_not_touched() {
    let place = Place::sqlite();
    made(&place);
    sql(&place, "PRAGMA user_version = 2");
    let error = refused(&place);
    assert!(error.is_unsupported() && error.to_string().contains("later version"), "{error}");
    sql(&place, "PRAGMA user_version = 1");
    made(&place);
    sql(&place, "PRAGMA user_version = 0");
    assert!(refused(&place).is_unsupported(), "ours without a version was made by nobody");
}

#[test]
fn columns_that_are_not_ours_are_damage() {
    for statements in [
        "ALTER TABLE tenure_lease DROP COLUMN ended_reason",
        "ALTER TABLE tenure_lease RENAME COLUMN fence TO fencing",
        "DROP TABLE tenure_lease",
    ] {
        let place = Place::sqlite();
        made(&place);
        sql(&place, statements);
        let error = refused(&place);
        assert!(error.is_corrupt() && error.to_string().contains("not as it was made"), "{error}");
    }
    let place = Place::sqlite();
    place.connect().acquire("a", LONG, Wait::Never).unwrap().release().unwrap();
    sql(&place, "PRAGMA ignore_check_constraints = 1; UPDATE tenure_lease SET fence = 0");
    let store = place.connect();
    for error in [store.holder("a").map(drop).unwrap_err(), store.list().map(drop).unwrap_err()] {
        assert!(error.is_corrupt() && error.to_string().contains("the token 0"), "{error}");
    }
}

#[test]
fn what_is_no_database_is_said_to_be_none() {
    let table: [(&str, &[u8]); 3] = [
        ("text", &b"leases: none so far\n".repeat(100)),
        ("zeros", &[0; 8192]),
        ("a header alone", &[b"SQLite format 3\0".as_slice(), &[0; 200]].concat()),
    ];
    for (what, bytes) in table {
        let place = Place::sqlite();
        fs::write(place.file(), bytes).unwrap();
        let error = refused(&place);
        assert!(error.is_corrupt() && error.to_string().contains("leases.db"), "{what}: {error}");
        assert!(content(&place) == bytes, "{what} was changed");
    }
    let place = Place::sqlite();
    fs::create_dir(place.file()).unwrap();
    let error = refused(&place);
    assert!(error.to_string().contains("leases.db"), "{error}");
}

#[test]
fn damage_is_found_and_told() {
    let place = Place::sqlite();
    let store = place.connect();
    for n in 0..200 {
        store.lease(format!("name {n}"), LONG).acquire_detached(Wait::Never).unwrap();
    }
    drop(store);
    sql(&place, "PRAGMA wal_checkpoint(TRUNCATE)");
    let mut bytes = content(&place);
    let length = bytes.len();
    assert!(length > 5 * 4096, "{length}");
    // The first page stays; what it leads to is gone.
    bytes[4096..].fill(0xAB);
    fs::write(place.file(), &bytes).unwrap();
    let store = LeaseStore::connect(&place.address);
    let error = match store {
        Ok(store) => store.acquire("name 7", LONG, Wait::Never).map(drop).unwrap_err(),
        Err(error) => error,
    };
    assert!(error.is_corrupt() && error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_refusal_writes_nothing() {
    let place = Place::sqlite();
    let store = place.connect();
    let lease = store.acquire("a", LONG, Wait::Never).unwrap();
    let log = place.directory().join("leases.db-wal");
    let length = || fs::metadata(&log).unwrap().len();
    let before = length();
    assert!(before > 0);
    for _ in 0..3 {
        assert!(store.try_acquire("a", LONG).unwrap().is_none());
        assert!(store.acquire("a", LONG, Wait::within(Duration::from_millis(1))).unwrap_err().is_busy());
    }
    store.list().unwrap();
    assert_eq!(length(), before);
    lease.renew().unwrap();
    assert!(length() > before, "this would have shown a write");
}

#[test]
fn a_path_that_leads_nowhere_is_named() {
    let place = Place::sqlite();
    let missing = place.directory().join("none/leases.db");
    let error = LeaseStore::connect(&format!("sqlite:{}", missing.display())).map(drop).unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
    assert!(!place.directory().join("none").exists());
    std::os::unix::fs::symlink(place.directory().join("loop"), place.directory().join("loop")).unwrap();
    let looping = place.directory().join("loop");
    assert!(LeaseStore::connect(&format!("sqlite:{}", looping.display())).is_err());
}

#[test]
fn any_path_means_a_file() {
    // As SQLite reads names: a database in memory, a temporary one, and URIs with options.
    for name in [":memory:", "file::memory:", "file:x.db?mode=memory", "a b%20c?d&e.db", "\u{e9}.db", "-.db"]
    {
        let place = Place::sqlite();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.current_dir(place.directory());
        // The worker goes to another directory in between.
        let mut worker =
            Worker::start_by(command, "move away", &json!({ "address": format!("sqlite:{name}") }));
        assert_eq!(worker.hear(), "done", "{name}");
        assert!(place.directory().join(name).is_file(), "{name} is no file");
        worker.finish();
    }
}

/// A worker: opens a store by a relative path, goes elsewhere, and uses it.
pub(crate) fn move_away(task: &Value) {
    let store = LeaseStore::connect(task["address"].as_str().unwrap()).unwrap();
    std::env::set_current_dir("/").unwrap();
    store.acquire("a", LONG, Wait::Never).unwrap().release().unwrap();
    tell("done");
}

#[test]
fn a_symbolic_link_leads_to_the_same_leases() {
    let place = Place::sqlite();
    let other = tempfile::tempdir().unwrap();
    let link = other.path().join("link.db");
    // Also before there is a database.
    std::os::unix::fs::symlink(place.file(), &link).unwrap();
    let through = LeaseStore::connect(&format!("sqlite:{}", link.display())).unwrap();
    let direct = place.connect();
    let held = through.acquire("a", LONG, Wait::Never).unwrap();
    assert!(direct.try_acquire("a", LONG).unwrap().is_none());
    assert_eq!(through.address(), direct.address());
    let names = |path: &Path| -> Vec<String> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(other.path()), ["link.db"], "side files beside the link");
    assert!(names(place.directory()).contains(&"leases.db-queue".to_owned()));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| direct.acquire("a", LONG, soon()).unwrap().token());
        held.release().unwrap();
        assert_eq!(waiter.join().unwrap().number(), 2);
    });
}

#[test]
fn a_database_with_two_names_is_refused_by_both() {
    let place = Place::sqlite();
    let store = place.connect();
    let held = store.acquire("a", LONG, Wait::Never).unwrap();
    let other = place.directory().join("other.db");
    fs::hard_link(place.file(), &other).unwrap();
    for path in [&other, &place.file()] {
        let error = LeaseStore::connect(&format!("sqlite:{}", path.display())).map(drop).unwrap_err();
        assert!(error.is_unsupported() && error.to_string().contains("2 names"), "{error}");
    }
    // It does not cost those who are at work their leases, a backup by links for instance.
    held.renew().unwrap();
    fs::remove_file(other).unwrap();
    assert!(place.connect().try_acquire("a", LONG).unwrap().is_none());
}

#[test]
fn a_database_that_is_mounted_as_a_single_file_is_refused() {
    let place = Place::sqlite();
    made(&place);
    let other = place.directory().join("other.db");
    fs::write(&other, "").unwrap();
    let file = place.file();
    let bind = [std::ffi::OsStr::new("--bind"), file.as_os_str()];
    match Mounted::new(bind, &other) {
        Ok(mounted) => {
            let address = format!("sqlite:{}", mounted.path().display());
            let error = LeaseStore::connect(&address).map(drop).unwrap_err();
            assert!(error.is_unsupported() && error.to_string().contains("single file"), "{error}");
            mounted.unmount();
        }
        Err(reason) => skip("a_database_that_is_mounted_as_a_single_file_is_refused", &reason),
    }
}

#[test]
fn a_database_that_is_deleted_or_replaced_is_noticed() {
    for replaced in [false, true] {
        let place = Place::sqlite();
        let store = place.connect();
        let lease = store.acquire("a", LONG, Wait::Never).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let path = place.directory().join(format!("leases.db{suffix}"));
            fs::rename(&path, place.directory().join(format!("old{suffix}"))).unwrap();
        }
        if replaced {
            let newcomer = place.connect().acquire("a", LONG, Wait::Never).unwrap();
            assert_eq!(newcomer.token(), lease.token(), "this is what must not go unnoticed");
            newcomer.release().unwrap();
        }
        let errors = [
            lease.renew().unwrap_err(),
            store.acquire("b", LONG, Wait::Never).map(drop).unwrap_err(),
            store.holder("a").map(drop).unwrap_err(),
            store.list().map(drop).unwrap_err(),
            store.force_release("a", "so").map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_conflict() && error.to_string().contains("while it was in use"), "{error}");
        }
        assert!(lease.release().is_err());
        assert!(place.connect().try_acquire("b", LONG).unwrap().is_some(), "opened anew, it works");
    }
}

#[test]
fn a_database_shell_keeps_nobody_for_longer_than_they_wait() {
    let place = Place::sqlite();
    let store = place.connect();
    let lease = store.acquire("a", LONG, Wait::Never).unwrap();
    let shell = Connection::open(place.file()).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE; UPDATE tenure_lease SET name = name").unwrap();
    for wait in [Wait::Never, Wait::within(Duration::from_millis(1500))] {
        let start = Instant::now();
        let error = match wait {
            // Who would wait for ever is answered after ten seconds, who has no time after one.
            Wait::Never => store.lease("b", SHORT).acquire(Wait::within(Duration::ZERO)),
            wait => store.acquire("b", LONG, wait),
        }
        .map(drop)
        .unwrap_err();
        assert!(error.is_unreachable() && error.to_string().contains("database shell"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(8), "it waited for {:?}", start.elapsed());
    }
    // Who only reads sees the last state.
    assert_eq!(store.holder("a").unwrap().unwrap().token, lease.token());
    shell.execute_batch("ROLLBACK").unwrap();
    lease.renew().unwrap();
    assert!(store.try_acquire("b", LONG).unwrap().is_some());
}

/// A worker without privileges: answers what came of opening the store and of an acquisition.
pub(crate) fn try_once(task: &Value) {
    let trying = || -> tenure::Result<()> {
        let store = LeaseStore::connect(task["address"].as_str().unwrap())?;
        store.acquire("a", LONG, Wait::Never)?.release()
    };
    for _ in told() {
        match trying() {
            Ok(()) => tell("done"),
            Err(error) => tell(&format!(
                "permission {} cannot create {}: {error}",
                error.is_permission(),
                error.is_cannot_create()
            )),
        }
    }
}

/// A process of another user, who owns nothing here. `None`, with a note, where that can't be had.
fn as_nobody(place: &Place, test: &str) -> Option<Worker> {
    let directory = place.directory();
    fs::set_permissions(directory, PermissionsExt::from_mode(0o777)).unwrap();
    let program = directory.join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let root = rustix::process::getuid().is_root();
    if !root {
        // An ordinary user is held back by modes as well, but owns these files and could change them.
        return Some(Worker::start("try once", &json!({ "address": place.address })));
    }
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let there = Command::new("setpriv").args(nobody).arg("true").output().unwrap();
    if !there.status.success() {
        skip(test, &String::from_utf8_lossy(&there.stderr));
        return None;
    }
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(&program);
    Some(Worker::start_by(command, "try once", &json!({ "address": place.address })))
}

#[test]
fn what_may_not_be_written_is_said_so() {
    let place = Place::sqlite();
    let Some(mut worker) = as_nobody(&place, "what_may_not_be_written_is_said_so") else { return };
    let mut answer = |what: &str| {
        worker.say("go");
        let answer = worker.hear();
        println!("{what}: {answer}");
        answer
    };
    // Nobody can make the database here.
    fs::set_permissions(place.directory(), PermissionsExt::from_mode(0o555)).unwrap();
    let said = answer("a directory that can't be written");
    assert!(said.contains("true") && said.contains("leases.db"), "{said}");
    fs::set_permissions(place.directory(), PermissionsExt::from_mode(0o777)).unwrap();
    made(&place);
    // The database is another's, and may only be read.
    for suffix in ["", "-queue", "-turn", "-notice"] {
        let path = place.directory().join(format!("leases.db{suffix}"));
        if path.exists() {
            fs::set_permissions(path, PermissionsExt::from_mode(0o444)).unwrap();
        }
    }
    let said = answer("a database that can't be written");
    assert!(said.contains("permission true") && said.contains("leases.db"), "{said}");
    for suffix in ["", "-queue", "-turn", "-notice"] {
        let path = place.directory().join(format!("leases.db{suffix}"));
        if path.exists() {
            fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
        }
    }
    // SQLite made them by the mode that the database had.
    for suffix in ["-wal", "-shm"] {
        let _not_there = fs::remove_file(place.directory().join(format!("leases.db{suffix}")));
    }
    assert_eq!(answer("a database that may be written"), "done");
    worker.finish();
}

/// Whoever can lock the queue keeps the writers out, so it must not be for readers.
#[test]
fn the_files_beside_it_are_for_those_who_may_write_it() {
    for (mode, beside) in [(0o600, 0o600), (0o644, 0o600), (0o664, 0o660), (0o666, 0o666)] {
        let place = Place::sqlite();
        fs::write(place.file(), "").unwrap();
        fs::set_permissions(place.file(), PermissionsExt::from_mode(mode)).unwrap();
        place.connect().acquire("a", LONG, Wait::Never).unwrap().release().unwrap();
        for suffix in ["-queue", "-turn", "-notice"] {
            let path = place.directory().join(format!("leases.db{suffix}"));
            let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, beside, "{suffix} of {mode:o}: {found:o}");
        }
    }
}

/// A network file system can't be had on every machine; one whose kind is not in our list is refused by the same rule.
#[test]
fn a_file_system_that_is_not_known_to_be_local_is_refused() {
    let disk = tempfile::tempdir().unwrap();
    let mounted = match Mounted::new(["-t", "ramfs", "tenure-test"], disk.path()) {
        Ok(mounted) => mounted,
        Err(reason) => return skip("a_file_system_that_is_not_known_to_be_local_is_refused", &reason),
    };
    let address = format!("sqlite:{}", mounted.path().join("leases.db").display());
    let error = LeaseStore::connect(&address).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("PostgreSQL"), "{error}");
    assert_eq!(fs::read_dir(mounted.path()).unwrap().count(), 0, "nothing was made there");
}

#[test]
fn a_full_disk_costs_no_token() {
    let disk = tempfile::tempdir().unwrap();
    let mounted = match Mounted::new(["-t", "tmpfs", "-o", "size=256k", "tenure-test"], disk.path()) {
        Ok(mounted) => mounted,
        Err(reason) => return skip("a_full_disk_costs_no_token", &reason),
    };
    let address = format!("sqlite:{}", mounted.path().join("leases.db").display());
    let store = LeaseStore::connect(&address).unwrap();
    let first = store.acquire("a", LONG, Wait::Never).unwrap();
    let filler = mounted.path().join("filler");
    fs::write(&filler, vec![1; 1 << 20]).unwrap_err();
    let (mut last, mut full) = (first.token(), None);
    first.release().unwrap_or_else(|error| full = Some(error));
    for n in 0..200 {
        if full.is_some() {
            break;
        }
        // The write-ahead log's room is used up by and by.
        match store.lease("a", LONG).note("x".repeat(400)).acquire(Wait::Never) {
            Ok(lease) => {
                assert!(lease.token() > last, "round {n}");
                last = lease.token();
                lease.release().unwrap_or_else(|error| full = Some(error));
            }
            Err(error) => full = Some(error),
        }
    }
    let full = full.expect("the disk was never full");
    assert!(full.is_io() && full.to_string().contains("full"), "{full}");
    fs::remove_file(&filler).unwrap();
    eventually("the lease is free again", || {
        store.force_release("a", "room again").unwrap();
        store.holder("a").unwrap().unwrap().remaining.is_zero()
    });
    let next = LeaseStore::connect(&address).unwrap().acquire("a", LONG, Wait::Never).unwrap();
    assert!(next.token() > last, "{} after {last}", next.token());
    drop((next, store));
    mounted.unmount();
}
