//! Real processes that append to one journal and are killed at any moment, while readers follow and the journal is rotated.
//!
//! Each writer is this test's own program. It notes in a file of its own, by one write, what was acknowledged, and what it is
//! about to append: so this one knows what must be there once, what may, and what must not be.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    missing_docs,
    reason = "tests look at the real system"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tenure::journal::{Entry, Format, Journal};
use tenure::{Durability, Lock, Wait};

const WRITERS: usize = 8;
const STORM_MAX: Duration = Duration::from_secs(20);

/// How many batches the storm goes on for, and for how long at most: ten thousand for each writer, if there is time.
fn bounds() -> (usize, Duration) {
    match std::env::var("TENURE_LONG") {
        Ok(seconds) => (
            WRITERS * 10_000,
            Duration::from_secs(seconds.parse().expect("TENURE_LONG is a number of seconds")),
        ),
        Err(_) => (10_000, STORM_MAX),
    }
}

/// Set for the writers: the directory, and the writer's name, with a blank between.
const WRITER: &str = "TENURE_TEST_JOURNAL_WRITER";

fn soon() -> Wait {
    Wait::within(Duration::from_secs(60))
}

/// A small generator: the same in every run.
struct Scatter(u64);

impl Scatter {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("a.journal")
}

fn journal(directory: &Path) -> Journal {
    let plain = directory.join("plain").exists();
    let journal = Journal::open(path(directory));
    if plain { journal.format(Format::Plain { header: None }) } else { journal }
}

/// Appends until it is killed, or told to stop: a record is `WRITER NUMBER PLACE/OF`.
fn write(wanted: &str) {
    let (directory, name) = wanted.rsplit_once(' ').unwrap();
    let directory = Path::new(directory);
    let mut note =
        OpenOptions::new().create(true).append(true).open(directory.join(format!("note-{name}"))).unwrap();
    let mut scatter = Scatter(0x9E37_79B9_7F4A_7C15 ^ u64::from(std::process::id()));
    let shared = journal(directory);
    for number in 0.. {
        if directory.join("stop").exists() {
            break;
        }
        let of = if scatter.below(3) == 0 { 1 + scatter.below(5) } else { 1 };
        let filler = "é\\".repeat(scatter.below(40) as usize);
        let records: Vec<String> =
            (1..=of).map(|place| format!("{name} {number} {place}/{of} {filler}")).collect();
        // Some know the end of the file, some come new; some want it synced.
        let journal = if scatter.below(4) == 0 { journal(directory) } else { shared.clone() };
        let durability = if scatter.below(20) == 0 { Durability::Power } else { Durability::Process };
        writeln!(note, "begun {number} {of}").unwrap();
        journal.durability(durability).append(soon(), &records).unwrap();
        writeln!(note, "done {number} {of}").unwrap();
    }
}

struct Storm<'a> {
    directory: &'a Path,
    test: &'static str,
    writers: Vec<Child>,
    names: usize,
}

impl<'a> Storm<'a> {
    fn start(directory: &'a Path, test: &'static str, count: usize) -> Storm<'a> {
        let mut storm = Storm { directory, test, writers: Vec::new(), names: 0 };
        storm.writers = (0..count).map(|_| storm.writer()).collect();
        storm
    }

    fn writer(&mut self) -> Child {
        self.names += 1;
        let errors =
            OpenOptions::new().create(true).append(true).open(self.directory.join("errors")).unwrap();
        let wanted = format!("{} w{}", self.directory.display(), self.names);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", self.test, "--nocapture"]).env(WRITER, wanted);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap()
    }

    fn kill(&mut self, at: usize) {
        assert_eq!(self.writers[at].try_wait().unwrap(), None, "{}", self.errors());
        self.writers[at].kill().unwrap();
        self.writers[at].wait().unwrap();
        self.writers[at] = self.writer();
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.directory.join("errors")).unwrap_or_default()
    }

    /// Lets the writers end what they are at.
    fn stop(&mut self) {
        File::create(self.directory.join("stop")).unwrap();
        for writer in &mut self.writers {
            writer.wait().unwrap();
        }
        assert_eq!(self.errors(), "");
    }
}

impl Drop for Storm<'_> {
    fn drop(&mut self) {
        for writer in &mut self.writers {
            let _ended_already = writer.kill();
            let _ended_already = writer.wait();
        }
    }
}

/// How many batches were acknowledged so far.
fn acknowledged(directory: &Path) -> usize {
    notes(directory).values().flatten().filter(|line| line.starts_with("done")).count()
}

fn notes(directory: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(writer) = name.strip_prefix("note-") {
            let text = fs::read_to_string(directory.join(&name)).unwrap();
            found.insert(writer.to_owned(), text.lines().map(str::to_owned).collect());
        }
    }
    found
}

/// Follows from the beginning until it is told to stop and there is no more.
fn follow(directory: &Path, is_over: &AtomicBool) -> Vec<String> {
    let mut reader = journal(directory).read_from(None).unwrap();
    let mut found = Vec::new();
    loop {
        let over = is_over.load(Ordering::SeqCst);
        match reader.next_wait(Wait::within(Duration::from_millis(100))) {
            Ok(Entry::Record(record)) => found.push(String::from_utf8(record.payload).unwrap()),
            Ok(Entry::Missed(missed)) => panic!("{missed:?} after {:?}", found.last()),
            Err(error) if error.is_busy() && over => return found,
            Err(error) => assert!(error.is_busy(), "{error} after {:?}", found.last()),
        }
    }
}

/// That every acknowledged batch is there once and whole, in its writer's order, and nothing that was never begun.
fn judge(directory: &Path, found: &[String], has_batches: bool) {
    let mut batches: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let mut records = found.iter();
    while let Some(record) = records.next() {
        let fields: Vec<&str> = record.split(' ').collect();
        let (place, of) = fields[2].split_once('/').unwrap();
        assert_eq!(place, "1", "a batch without its beginning: {record}");
        let of: u64 = of.parse().unwrap();
        if has_batches {
            for place in 2..=of {
                let wanted = format!("{} {} {place}/{of} {}", fields[0], fields[1], fields[3]);
                assert_eq!(records.next(), Some(&wanted), "a batch in parts");
            }
        }
        batches.entry(fields[0].to_owned()).or_default().push((fields[1].parse().unwrap(), of));
    }
    for (writer, lines) in notes(directory) {
        let of = |word: &str| -> Vec<(u64, u64)> {
            let fields = lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().split_once(' '));
            fields.map(|(number, of)| (number.parse().unwrap(), of.parse().unwrap())).collect()
        };
        let (begun, done) = (of("begun"), of("done"));
        let there = batches.remove(&writer).unwrap_or_default();
        assert!(
            there.len() >= done.len() && there[..done.len()] == done[..],
            "{writer}: {there:?} for {done:?}"
        );
        assert!(begun.starts_with(&there), "{writer}: {there:?} of {begun:?}");
    }
    assert!(batches.is_empty(), "nobody wrote {batches:?}");
}

/// On the disk that cargo builds on, which is not a tmpfs as /tmp may be.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn no_acknowledged_record_is_lost_whoever_is_killed() {
    if let Ok(wanted) = std::env::var(WRITER) {
        return write(&wanted);
    }
    let directory = directory();
    let path = directory.path();
    let is_over = AtomicBool::new(false);
    let mut storm = Storm::start(path, "no_acknowledged_record_is_lost_whoever_is_killed", WRITERS);
    let (mut scatter, start, mut kills, mut rotations) = (Scatter(4711), Instant::now(), 0, 0_u32);
    let (batches, longest) = bounds();
    let (one, other) = std::thread::scope(|scope| {
        let followers = [0, 1].map(|_| scope.spawn(|| follow(path, &is_over)));
        while start.elapsed() < longest && acknowledged(path) < batches {
            std::thread::sleep(Duration::from_millis(scatter.below(60)));
            storm.kill(scatter.below(WRITERS as u64) as usize);
            kills += 1;
            if start.elapsed() > Duration::from_secs(1) * (rotations + 1) {
                journal(path).rotate(soon()).unwrap();
                rotations += 1;
            }
        }
        storm.stop();
        is_over.store(true, Ordering::SeqCst);
        let [one, other] = followers.map(|follower| follower.join().unwrap());
        (one, other)
    });
    assert!(one == other, "two readers saw two orders");
    assert!(one == follow(path, &is_over), "a late reader sees another order");
    judge(path, &one, true);
    let report = journal(path).verify(|_, _| {}).unwrap();
    assert_eq!((report.records, report.missing, report.damage.len()), (one.len() as u64, 0, 0));
    println!(
        "{:?}: {} batches acknowledged, {} records, {kills} kills, {rotations} rotations",
        start.elapsed(),
        acknowledged(path),
        one.len()
    );
    assert!(acknowledged(path) > 500 && kills > 20, "too little happened to prove anything");
}

#[test]
fn plain_appends_from_two_writers_are_all_there() {
    if let Ok(wanted) = std::env::var(WRITER) {
        return write(&wanted);
    }
    let directory = directory();
    let path = directory.path();
    File::create(path.join("plain")).unwrap();
    let is_over = AtomicBool::new(false);
    let mut storm = Storm::start(path, "plain_appends_from_two_writers_are_all_there", 2);
    let found = std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(path, &is_over));
        let start = Instant::now();
        while acknowledged(path) < 200 && start.elapsed() < STORM_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        storm.stop();
        is_over.store(true, Ordering::SeqCst);
        follower.join().unwrap()
    });
    assert!(acknowledged(path) >= 200);
    judge(path, &found, true);
    let text = fs::read_to_string(path.join("a.journal")).unwrap();
    assert!(text.lines().eq(&found), "the follower saw another file");
}

#[test]
fn a_holder_killed_in_mid_write_leaves_a_tail_and_a_free_lock() {
    if let Ok(wanted) = std::env::var(WRITER) {
        // A writer that dies with the lock, when half of its batch is written.
        let path = path(Path::new(wanted.rsplit_once(' ').unwrap().0));
        let _held = Lock::flock(path.with_extension("journal.lock")).acquire(soon()).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"DELETED src/tor").unwrap();
        File::create(path.with_file_name("half")).unwrap();
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    for format in [Format::Checked, Format::Plain { header: Some("# v1 ".to_owned()) }] {
        let directory = directory();
        let test = "a_holder_killed_in_mid_write_leaves_a_tail_and_a_free_lock";
        let journal = || Journal::open(path(directory.path())).format(format.clone());
        journal().append(soon(), ["src/a.ts"]).unwrap();
        let mut reader = journal().read_from(None).unwrap();
        let mut storm = Storm::start(directory.path(), test, 1);
        let start = Instant::now();
        while !directory.path().join("half").exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", storm.errors());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(journal().append(Wait::Never, ["x"]).unwrap_err().is_busy());
        storm.writers[0].kill().unwrap();
        storm.writers[0].wait().unwrap();
        let receipt = journal().append(soon(), ["src/b.ts"]).unwrap();
        assert_eq!(fs::read(receipt.recovery.unwrap().quarantine).unwrap(), b"DELETED src/tor");
        for wanted in ["src/a.ts", "src/b.ts"] {
            assert_eq!(reader.next().unwrap().unwrap().record().unwrap().payload, wanted.as_bytes());
        }
        assert_eq!(reader.next().unwrap(), None);
    }
}

#[test]
fn a_follower_goes_across_a_hundred_rotations_and_twenty_resets() {
    let directory = directory();
    let journal = || journal(directory.path()).durability(Durability::Process);
    let mut reader = journal().read_from(None).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = journal();
            for number in 0..1200_u64 {
                let receipt = writer.append(soon(), [number.to_string()]).unwrap();
                match number % 60 {
                    9 | 19 | 29 | 39 | 49 => drop(writer.rotate(soon()).unwrap()),
                    // Half of the resets take what hardly anybody has read yet.
                    59 => drop(writer.reset(soon(), "stamp", Some(&receipt.cursor)).unwrap()),
                    _ => {}
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        let (mut last, mut number, mut stamps) = (0, None::<u64>, 0);
        loop {
            let over = is_over.load(Ordering::SeqCst);
            let entry = match reader.next_wait(Wait::within(Duration::from_millis(100))) {
                Err(error) if error.is_busy() && over => break,
                Err(error) => {
                    assert!(error.is_busy(), "{error}");
                    continue;
                }
                Ok(entry) => entry,
            };
            match entry {
                Entry::Missed(missed) => {
                    let (first, end) = missed.sequences.unwrap();
                    assert!(first == last + 1 && end >= first, "{first}-{end} after {last}");
                    (last, number) = (end, None);
                }
                Entry::Record(record) => {
                    let sequence = record.sequence.unwrap();
                    assert_eq!(sequence, last + 1, "nothing is missed that is not told");
                    last = sequence;
                    if record.is_stamp {
                        stamps += 1;
                        continue;
                    }
                    let found: u64 = String::from_utf8(record.payload).unwrap().parse().unwrap();
                    assert!(number.is_none_or(|before| before + 1 == found), "{found} after {number:?}");
                    number = Some(found);
                }
            }
        }
        assert_eq!((last, stamps > 0), (1220, true));
    });
}
