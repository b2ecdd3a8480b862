//! Promise: a lock of the lockfile kind has one holder, however many takers there are and whoever of them is killed at
//! whatever moment; it is free soon after a holder's death, and nothing is left behind.
//!
//! Sixteen processes take the lock in a loop while this one kills them, every other time the one that holds it. Whoever is
//! in shows it by a witness, a file that can be made only once, which names its maker: that of a dead one may be removed,
//! that of a living one is a second holder. The control is the protocol that everyone writes first: remove the dead owner's
//! file, then make one's own. The same test catches it.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{directory, litter, names, tenure};
use support::{PATIENCE, Scatter, eventually};
use tenure::{Lock, Wait};

const TAKERS: usize = 16;

/// Set for the takers, which are this test's own program: the directory to work in.
const TAKER: &str = "TENURE_TEST_TAKER";

const STORM: Duration = Duration::from_secs(60);

/// `PID START` of a process that lives; `None` for one that is dead, reaped or not.
fn living(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
    (!matches!(fields[0], "Z" | "X")).then(|| format!("{pid} {}", fields[19]))
}

/// Notes one event in a file that all write to.
fn note(directory: &Path, event: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(directory.join("events")).unwrap();
    // One write of one line, which the kernel appends as one.
    file.write_all(format!("{event}\n").as_bytes()).unwrap();
}

fn noted(directory: &Path, event: &str) -> usize {
    let text = fs::read_to_string(directory.join("events")).unwrap_or_default();
    text.lines().filter(|line| line.split(' ').next() == Some(event)).count()
}

/// What is done while the lock is held.
fn alone(directory: &Path, scatter: &mut Scatter) {
    let me = living(std::process::id()).unwrap();
    let (mine, witness) = (directory.join(format!("witness-{me}")), directory.join("witness"));
    fs::write(&mine, &me).unwrap();
    // A link, so that whoever sees the witness sees its maker's name.
    while let Err(error) = fs::hard_link(&mine, &witness) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let maker = fs::read_to_string(&witness).unwrap_or_default();
        let pid = maker.split(' ').next().unwrap().parse().unwrap_or(0);
        if maker.is_empty() || living(pid).as_ref() == Some(&maker) {
            note(directory, &format!("violated {me} beside {maker}"));
            fs::remove_file(&mine).unwrap();
            return;
        }
        note(directory, "stolen");
        fs::remove_file(&witness).unwrap();
        fs::remove_file(directory.join(format!("witness-{maker}"))).unwrap();
    }
    std::thread::sleep(Duration::from_micros(scatter.below(3000)));
    if fs::read_to_string(&witness).unwrap_or_default() != me {
        return note(directory, &format!("violated {me}: its witness is gone"));
    }
    fs::remove_file(&witness).unwrap();
    fs::remove_file(&mine).unwrap();
    note(directory, "held");
}

/// Takes the lock again and again until it is killed.
fn take(directory: &Path) -> ! {
    let mut scatter = Scatter(u64::from(std::process::id()) * 0x9E37_79B9);
    let lock = Lock::lockfile(directory.join("a.lock"));
    loop {
        let held = lock.acquire(Wait::Forever).unwrap();
        alone(directory, &mut scatter);
        if held.is_current().unwrap() {
            held.release().unwrap();
        } else {
            note(directory, "violated: the lock file is another's");
        }
    }
}

/// The broken twin: between its look at a dead owner's file and the removal, another has taken the lock.
fn take_naively(directory: &Path) -> ! {
    let mut scatter = Scatter(u64::from(std::process::id()) * 0x9E37_79B9);
    let lock = directory.join("a.lock");
    loop {
        let made = File::create_new(&lock).and_then(|mut file| write!(file, "{}", std::process::id()));
        if made.is_ok() {
            alone(directory, &mut scatter);
            let _broken_by_another = fs::remove_file(&lock);
        } else if let Ok(text) = fs::read_to_string(&lock)
            && let Ok(pid) = text.parse()
            && living(pid).is_none()
        {
            std::thread::sleep(Duration::from_micros(scatter.below(1000)));
            let _broken_by_another = fs::remove_file(&lock);
        }
        std::thread::sleep(Duration::from_micros(scatter.below(1000)));
    }
}

/// The takers; killed when this is dropped.
struct Storm<'a> {
    directory: &'a Path,
    test: &'static str,
    takers: Vec<Child>,
    kills: usize,
    holders_killed: usize,
}

impl<'a> Storm<'a> {
    fn start(directory: &'a Path, test: &'static str) -> Storm<'a> {
        let mut storm = Storm { directory, test, takers: Vec::new(), kills: 0, holders_killed: 0 };
        storm.takers = (0..TAKERS).map(|_| storm.taker()).collect();
        storm
    }

    fn taker(&self) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", self.test, "--nocapture"]).env(TAKER, self.directory);
        let errors = OpenOptions::new().create(true).append(true).open(self.directory.join("errors"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.unwrap()).spawn().unwrap()
    }

    /// Kills one taker, every other time the one that holds the lock, and starts another.
    fn kill(&mut self, scatter: &mut Scatter) {
        let text = fs::read_to_string(self.directory.join("a.lock")).unwrap_or_default();
        let holder = text.lines().next().and_then(|line| line.parse::<u32>().ok());
        let holder = self.takers.iter().position(|taker| Some(taker.id()) == holder);
        let any = scatter.below(TAKERS as u64) as usize;
        let victim = if self.kills.is_multiple_of(2) { holder.unwrap_or(any) } else { any };
        assert_eq!(self.takers[victim].try_wait().unwrap(), None, "{}", self.errors());
        self.takers[victim].kill().unwrap();
        self.kills += 1;
        self.holders_killed += usize::from(Some(victim) == holder);
        // Its parent takes its time, so that its number is a zombie's at first.
        std::thread::sleep(Duration::from_millis(scatter.below(10)));
        self.takers[victim].wait().unwrap();
        self.takers[victim] = self.taker();
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.directory.join("errors")).unwrap_or_default()
    }
}

impl Drop for Storm<'_> {
    fn drop(&mut self) {
        for taker in &mut self.takers {
            let _ended_already = taker.kill();
            let _ended_already = taker.wait();
        }
    }
}

#[test]
fn one_holder_at_a_time_whoever_is_killed() {
    if let Some(directory) = std::env::var_os(TAKER) {
        take(directory.as_ref());
    }
    let directory = directory();
    let path = directory.path();
    let mut storm = Storm::start(path, "one_holder_at_a_time_whoever_is_killed");
    let (mut scatter, start) = (Scatter(4711), Instant::now());
    while start.elapsed() < STORM {
        std::thread::sleep(Duration::from_millis(scatter.below(40)));
        storm.kill(&mut scatter);
        assert_eq!(noted(path, "violated"), 0, "{}", fs::read_to_string(path.join("events")).unwrap());
    }
    let before = noted(path, "held");
    eventually("the lock goes on from hand to hand", || noted(path, "held") > before);
    let (kills, holders_killed) = (storm.kills, storm.holders_killed);
    drop(storm);
    let (held, stolen) = (noted(path, "held"), noted(path, "stolen"));
    println!(
        "{STORM:?}: held {held} times, {kills} kills, {holders_killed} of the holder, {stolen} steals seen by a witness left behind"
    );
    assert_eq!(fs::read_to_string(path.join("errors")).unwrap(), "");
    assert!(stolen > 0 && held > stolen, "no dead holder was robbed, so the test proves nothing");
    let start = Instant::now();
    let fresh = tenure(path, ["run", "--kind", "lockfile", "--wait", "10s", "a.lock", "--", "true"]);
    assert_eq!(fresh.code(), Some(0), "{}", fresh.stderr);
    println!("a fresh taker was in after {:?}", start.elapsed());
    assert_eq!(litter(path), [""; 0]);
    assert!(!names(path).contains(&"a.lock".to_owned()), "{:?}", names(path));
}

#[test]
fn the_naive_protocol_is_caught() {
    if let Some(directory) = std::env::var_os(TAKER) {
        take_naively(directory.as_ref());
    }
    let directory = directory();
    let mut storm = Storm::start(directory.path(), "the_naive_protocol_is_caught");
    let (mut scatter, start) = (Scatter(4711), Instant::now());
    while noted(directory.path(), "violated") == 0 {
        assert!(
            start.elapsed() < PATIENCE,
            "the naive protocol let nobody in twice: the witness sees nothing"
        );
        std::thread::sleep(Duration::from_millis(scatter.below(40)));
        storm.kill(&mut scatter);
    }
    println!("caught after {:?} and {} kills", start.elapsed(), storm.kills);
}
