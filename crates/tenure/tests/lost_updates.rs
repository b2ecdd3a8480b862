//! 50 threads x 20 updates of one file: hazards U1, U2, U3 and U7, with the patterns that lose updates shown to
//! lose them in the same test (source reports A and C; the latter lost 970 of 1000 writes).
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use tenure::{Document, Durability, Held, Lock, Wait};

const THREADS: u64 = 50;
const UPDATES: u64 = 20;

/// Runs `increment` from all threads at once and returns the count that is left.
fn hammer(increment: impl Fn(&Path) + Sync) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("count.json");
    fs::write(&path, "{\"n\":0}").unwrap();
    let start = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                (0..UPDATES).for_each(|_| increment(&path));
            });
        }
    });
    load(&path)
}

fn load(path: &Path) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    value["n"].as_u64().unwrap()
}

/// Atomic and private, so that the twins lose updates by nothing but their locking.
fn save(path: &Path, n: u64) {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{:?}", std::thread::current().id()));
    let temporary = PathBuf::from(name);
    fs::write(&temporary, format!("{{\"n\":{n}}}")).unwrap();
    fs::rename(&temporary, path).unwrap();
}

fn hold(path: &Path) -> Held {
    Lock::flock(path).acquire(Wait::Forever).unwrap()
}

#[test]
fn a_thousand_updates_are_a_thousand() {
    let count = hammer(|path| {
        let document = Document::open(path).durability(Durability::Process);
        let bump = |value: &mut serde_json::Value| value["n"] = (value["n"].as_u64().unwrap() + 1).into();
        document.update(Wait::Forever, bump).unwrap();
    });
    assert_eq!(count, THREADS * UPDATES);
}

#[test]
fn u2_atomic_rename_without_a_lock_loses_updates() {
    let count = hammer(|path| {
        let n = load(path);
        std::thread::yield_now();
        save(path, n + 1);
    });
    assert!(count < THREADS * UPDATES, "the twin lost nothing, so this test shows nothing");
}

#[test]
fn u1_a_lock_around_the_save_alone_loses_updates() {
    let count = hammer(|path| {
        let n = load(path);
        let _held = hold(&path.with_extension("lock"));
        save(path, n + 1);
    });
    assert!(count < THREADS * UPDATES, "the twin lost nothing, so this test shows nothing");
}

#[test]
fn u3_a_lock_on_the_file_that_is_replaced_loses_updates() {
    let count = hammer(|path| {
        // As flock(1) does it: open, lock, and never ask whether the path still means this file.
        let file = fs::File::open(path).unwrap();
        file.lock().unwrap();
        let n = load(path);
        std::thread::yield_now();
        save(path, n + 1);
    });
    assert!(count < THREADS * UPDATES, "the twin lost nothing, so this test shows nothing");
}

#[test]
fn u7_a_fixed_temporary_name_is_shared_by_two_writers() {
    let failures = std::sync::atomic::AtomicU64::new(0);
    hammer(|path| {
        let temporary = path.with_extension("tmp");
        let n = fs::read_to_string(path).map(|text| text.len()).unwrap_or(0);
        let written = fs::write(&temporary, format!("{{\"n\":{n}}}"));
        if written.and_then(|()| fs::rename(&temporary, path)).is_err() {
            failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert!(failures.into_inner() > 0, "the twin's writers never met, so this test shows nothing");
}

#[test]
fn two_writers_of_distinct_keys_keep_both() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("global.json");
    std::thread::scope(|scope| {
        for key in ["first", "second"] {
            let path = &path;
            scope.spawn(move || {
                let document = Document::open(path).durability(Durability::Process);
                for n in 0..100 {
                    let set = |value: &mut serde_json::Value| value[key][format!("k{n}")] = n.into();
                    document.update(Wait::Forever, set).unwrap();
                }
            });
        }
    });
    let value: serde_json::Value = Document::open(&path).read().unwrap();
    assert_eq!(["first", "second"].map(|key| value[key].as_object().unwrap().len()), [100, 100]);
}
