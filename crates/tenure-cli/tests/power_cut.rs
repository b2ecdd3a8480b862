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

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Mounted, directory, litter, run, skip, tenure};
use tempfile::TempDir;
use tenure::{Document, Durability, Reached, Wait};

const CYCLES: usize = 100;

/// A cycle of the control loses nearly always something.
const CONTROL_CYCLES: usize = 10;

/// Each starts dozens of processes.
const LOCK_CYCLES: usize = 40;

const WRITERS: [&str; 3] = ["ada", "ben", "cleo"];

/// A counter for each writer of a document.
type Counters = BTreeMap<String, u64>;

/// What a document must hold: for each writer the last count that was acknowledged and the last one tried.
type Bounds = BTreeMap<PathBuf, BTreeMap<String, (u64, u64)>>;

/// An ext4 file system in a file, and where it is mounted.
struct Disk {
    mounted: Option<Mounted>,
    // Dropped, and so deleted, after the unmount.
    files: TempDir,
}

impl Disk {
    fn new() -> Result<Disk, String> {
        let files = directory();
        let image = files.path().join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        // Not every user's PATH leads there.
        let mut mkfs = Command::new("mkfs.ext4");
        let made = run(mkfs.arg("-q").arg(&image).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"));
        assert!(made.status.success(), "{}", made.stderr);
        std::fs::create_dir(files.path().join("root")).unwrap();
        let mut disk = Disk { mounted: None, files };
        disk.mount()?;
        Ok(disk)
    }

    fn root(&self) -> PathBuf {
        self.files.path().join("root")
    }

    fn mount(&mut self) -> Result<(), String> {
        let options = ["-t".as_ref(), "ext4".as_ref(), "-o".as_ref(), "loop".as_ref()];
        let image = self.files.path().join("image");
        let mounted = Mounted::new(options.into_iter().chain([image.as_os_str()]), &self.root())?;
        self.mounted = Some(mounted);
        Ok(())
    }

    /// From here on nothing reaches the disk.
    fn cut(&self) {
        shut_down(&File::open(self.root()).unwrap()).unwrap();
    }

    /// Replays the journal, as the next boot does.
    fn reboot(&mut self) {
        self.mounted.take().unwrap().unmount();
        self.mount().unwrap();
    }
}

#[expect(unsafe_code, reason = "rustix has no wrapper for this ioctl")]
fn shut_down(root: &File) -> rustix::io::Result<()> {
    const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: EXT4_IOC_SHUTDOWN reads one u32 through the pointer and writes nothing.
    unsafe { rustix::ioctl::ioctl(root, rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }
}

/// Random numbers that a seed repeats (xorshift64).
struct Random(u64);

impl Random {
    fn new() -> Random {
        let given = std::env::var("TENURE_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        let seed = given.unwrap_or_else(clock);
        println!("TENURE_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

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
    for cycle in 0..LOCK_CYCLES {
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
        "{LOCK_CYCLES} cuts: {handles} handles, none lost; {rounds} rounds, {dead} times a dead owner's file was left; \
         control: {lost} files lost that were not synced"
    );
    assert!(handles > 0 && rounds > 0, "hardly a lock was taken");
    assert!(lost > 0, "the control lost nothing, so the test proves nothing");
}
