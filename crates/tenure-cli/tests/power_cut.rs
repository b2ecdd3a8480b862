//! Promise: a change that was acknowledged with the durability `Power` is there after a power loss, in a file
//! that is whole. The control shows that this test would notice: with `Process`, changes are lost.
//!
//! The power is cut by `EXT4_IOC_SHUTDOWN`, without a last flush of the journal: nothing that ext4 had not
//! yet sent to its disk ever gets there. What this does not show is a disk that lies about its own cache.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::mounted::skip;
use common::{litter, tenure};
use disk::{Disk, Random};
use tenure::{Document, Durability, Reached, Wait};

const CYCLES: usize = 100;

/// A cycle of the control loses nearly always something.
const CONTROL_CYCLES: usize = 10;

const WRITERS: [&str; 3] = ["ada", "ben", "cleo"];

/// A counter for each writer of a document.
type Counters = BTreeMap<String, u64>;

/// What a document must hold: for each writer the last count that was acknowledged and the last one tried.
type Bounds = BTreeMap<PathBuf, BTreeMap<String, (u64, u64)>>;

/// Counts up in the writer's own document and in the shared one until the power is gone.
fn write(root: &Path, writer: &str, durability: Durability, bounds: &Bounds, done: &AtomicU64) -> Bounds {
    let promised = match durability {
        Durability::Power => Reached::Power,
        Durability::Process => Reached::Process,
    };
    let mut mine = Bounds::new();
    loop {
        for path in [root.join(format!("{writer}.json")), root.join("shared.json")] {
            let before = bounds.get(&path).and_then(|writers| writers.get(writer)).copied();
            let (acknowledged, tried) = mine
                .entry(path.clone())
                .or_default()
                .entry(writer.to_owned())
                .or_insert_with(|| before.unwrap_or_default());
            let document = Document::open(&path).durability(durability).initial(&Counters::new()).unwrap();
            let mut count = 0;
            let receipt = document.update(Wait::Forever, |counters: &mut Counters| {
                let counter = counters.entry(writer.to_owned()).or_default();
                *counter += 1;
                (count, *tried) = (*counter, *counter);
            });
            match receipt {
                Ok(receipt) if receipt.durability == promised => {
                    *acknowledged = count;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                _ => return mine,
            }
        }
    }
}

/// When the power is cut: so many acknowledged changes, and then this long, after the start. A busy machine
/// makes the cycles longer, not emptier.
#[derive(Clone, Copy, Debug)]
struct Moment {
    changes: u64,
    later: Duration,
}

/// Writes until the power is cut: what may be expected then, given what was there before.
fn write_until_cut(disk: &Disk, durability: Durability, bounds: &Bounds, moment: Moment) -> Bounds {
    let (root, done) = (disk.root(), AtomicU64::new(0));
    let latest = Instant::now() + Duration::from_secs(10);
    let mut expected = bounds.clone();
    std::thread::scope(|scope| {
        let writers = WRITERS.map(|writer| scope.spawn(|| write(&root, writer, durability, bounds, &done)));
        while done.load(Ordering::Relaxed) < moment.changes && Instant::now() < latest {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(moment.later);
        disk.cut();
        for (path, counts) in writers.into_iter().flat_map(|writer| writer.join().unwrap()) {
            expected.entry(path).or_default().extend(counts);
        }
    });
    expected
}

fn total(bounds: &Bounds) -> u64 {
    bounds.values().flat_map(BTreeMap::values).map(|(acknowledged, _)| acknowledged).sum()
}

/// Checks every document; returns how many acknowledged changes are lost, and what the next cycle begins with.
fn look(bounds: &Bounds, durability: Durability) -> (u64, Bounds) {
    let (mut lost, mut start) = (0, Bounds::new());
    for (path, writers) in bounds {
        let document = Document::open(path).initial(&Counters::new()).unwrap();
        let counters: Counters = match document.read() {
            // Without a sync, not even that is promised.
            Err(_) if durability == Durability::Process => Counters::new(),
            read => read.unwrap_or_else(|error| panic!("not whole: {error}")),
        };
        assert!(counters.keys().all(|writer| writers.contains_key(writer)), "foreign content: {counters:?}");
        for (writer, (acknowledged, tried)) in writers {
            let count = counters.get(writer).copied().unwrap_or(0);
            assert!(count <= *tried, "{}: {writer} is at {count}, tried {tried}", path.display());
            lost += acknowledged.saturating_sub(count);
            start.entry(path.clone()).or_default().insert(writer.clone(), (count, count));
        }
    }
    (lost, start)
}

/// Cuts the power `cycles` times; returns the changes that were acknowledged and those that were lost.
fn cycles(disk: &mut Disk, durability: Durability, cycles: usize, random: &mut Random) -> (u64, u64) {
    let (mut acknowledged, mut lost) = (0, 0);
    let mut start = Bounds::new();
    for cycle in 0..cycles {
        let moment = Moment { changes: random.below(20), later: Duration::from_micros(random.below(2000)) };
        let expected = write_until_cut(disk, durability, &start, moment);
        disk.reboot();
        acknowledged += total(&expected) - total(&start);
        let (missing, found) = look(&expected, durability);
        let context = || format!("cycle {cycle}, cut {moment:?}: expected {expected:?}, found {found:?}");
        assert!(durability == Durability::Process || missing == 0, "{missing} changes lost, {}", context());
        lost += missing;
        start = found;
    }
    (acknowledged, lost)
}

#[test]
fn what_was_acknowledged_survives_a_power_loss() {
    let mut random = Random::new();
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(reason) => return skip("power_cut", &reason),
    };
    let (acknowledged, lost) = cycles(&mut disk, Durability::Power, CYCLES, &mut random);
    println!("Power: {CYCLES} cuts, {acknowledged} changes acknowledged, {lost} lost");
    assert_eq!(lost, 0);
    assert!(acknowledged > CYCLES as u64, "the writers hardly came to write");

    // The dead writers' temporaries are cleared away by the next ones.
    let root = disk.root();
    for name in WRITERS.into_iter().chain(["shared"]) {
        let file = format!("{name}.json");
        assert_eq!(tenure(&root, ["update", "--wait", "0s", &file, ".done = 1"]).code(), Some(0));
    }
    assert_eq!(litter(&root), [""; 0]);

    let mut fresh = Disk::new().unwrap();
    let (acknowledged, lost) = cycles(&mut fresh, Durability::Process, CONTROL_CYCLES, &mut random);
    println!("control (Process): {CONTROL_CYCLES} cuts, {acknowledged} changes acknowledged, {lost} lost");
    assert!(lost > 0, "the control lost nothing, so the test proves nothing");
}

#[test]
fn what_needs_no_change_survives_a_power_loss() {
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(reason) => return skip("power_cut_unchanged", &reason),
    };
    let count = Counters::from([("n".to_owned(), 1)]);
    let document = Document::open(disk.root().join("f.json"));
    document.clone().durability(Durability::Process).replace(Wait::Never, &count).unwrap();
    // Visible only so far; now somebody relies on it.
    let receipt = document.update(Wait::Never, |_: &mut Counters| ()).unwrap();
    assert_eq!((receipt.changed, receipt.durability), (false, Reached::Power));
    disk.cut();
    disk.reboot();
    assert_eq!(document.read::<Counters>().unwrap(), count);
}
