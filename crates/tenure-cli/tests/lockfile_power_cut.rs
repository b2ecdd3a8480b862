//! Promise: a lock whose handle was printed is held after a power loss; and whatever state such a loss leaves a lock file in, the
//! next comer gets in: the file is whole, so that it names an owner who is dead, or it is gone. The control shows that this test
//! would notice: files that were not synced are lost.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod disk;

use std::path::PathBuf;
use std::time::Duration;

use common::mounted::skip;
use common::{litter, tenure};
use disk::{Disk, Random};

/// Each starts dozens of processes.
const CYCLES: usize = 40;

/// What was done until the power was cut.
#[derive(Default)]
struct Locks {
    /// Those that were printed.
    handles: Vec<String>,
    /// Acquisitions and releases by `tenure run`.
    rounds: u32,
    /// Files that were written without a sync, with their content: the control.
    unsynced: Vec<(PathBuf, String)>,
}

/// Acquires one lock after the other for a handle, and one in turns for a command, until the power is cut.
fn lock_until_cut(disk: &Disk, cycle: usize, later: Duration) -> Locks {
    let root = disk.root();
    let runs = || {
        let arguments = ["run", "--kind", "lockfile", "--wait", "10s", "turns.lock", "--", "true"];
        (0..).find(|_| tenure(&root, arguments).code() != Some(0)).unwrap()
    };
    std::thread::scope(|scope| {
        let takers = [scope.spawn(runs), scope.spawn(runs)];
        let keeper = scope.spawn(|| {
            let mut locks = Locks::default();
            for n in 0.. {
                let (path, text) = (root.join(format!("{cycle}-{n}.unsynced")), format!("{cycle} {n}"));
                if std::fs::write(&path, &text).is_ok() {
                    locks.unsynced.push((path, text));
                }
                let ended = tenure(&root, ["lock", "acquire", &format!("{cycle}-{n}.lock")]);
                // A warning on standard error says that the sync of the directory failed.
                if ended.code() != Some(0) || !ended.stderr.is_empty() {
                    break;
                }
                locks.handles.push(ended.stdout.trim().to_owned());
            }
            locks
        });
        std::thread::sleep(later);
        disk.cut();
        let rounds = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        Locks { rounds, ..keeper.join().unwrap() }
    })
}

#[test]
fn a_lock_file_is_whole_or_gone_after_a_power_loss() {
    let mut random = Random::new();
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(reason) => return skip("power_cut_lock_files", &reason),
    };
    let (mut handles, mut rounds, mut dead, mut lost) = (0, 0, 0, 0);
    for cycle in 0..CYCLES {
        let later = Duration::from_micros(random.below(100_000));
        let locks = lock_until_cut(&disk, cycle, later);
        disk.reboot();
        let root = disk.root();
        for handle in &locks.handles {
            let renewed = tenure(&root, ["lock", "renew", handle]);
            assert_eq!(
                renewed.code(),
                Some(0),
                "cycle {cycle}, cut after {later:?}: {handle} is lost: {renewed:?}"
            );
        }
        let status = tenure(&root, ["status", "turns.lock"]).stdout;
        assert!(!status.contains("unknown"), "cycle {cycle}, cut after {later:?}: {status}");
        dead += u32::from(status.contains("(dead: "));
        let next = ["run", "--kind", "lockfile", "--wait", "5s", "turns.lock", "--", "true"];
        let next = tenure(&root, next);
        assert_eq!(next.code(), Some(0), "cycle {cycle}, cut after {later:?}, {status}: {next:?}");
        let left: Vec<String> = litter(&root).into_iter().filter(|name| name.contains("turns")).collect();
        assert_eq!(left, [""; 0], "cycle {cycle}, cut after {later:?}");
        let is_lost =
            |(path, text): &&(PathBuf, String)| std::fs::read_to_string(path).ok().as_ref() != Some(text);
        lost += locks.unsynced.iter().filter(is_lost).count();
        handles += locks.handles.len();
        rounds += locks.rounds;
    }
    println!(
        "{CYCLES} cuts: {handles} handles, none lost; {rounds} rounds, {dead} times a dead owner's file was left; \
         control: {lost} files lost that were not synced"
    );
    assert!(handles > 0 && rounds > 0, "hardly a lock was taken");
    assert!(lost > 0, "the control lost nothing, so the test proves nothing");
}
