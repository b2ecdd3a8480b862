//! How long a lock lies idle between a release in one process and the acquisition in another one that waits.
//!
//! This process holds, a second one waits; each contender has a waiter and a lock file of its own. For each
//! handoff the holder takes the lock, sends the waiter a line, keeps the lock for a while, reads the clock and
//! releases. The waiter answers with the clock before it began to wait and right after it had the lock.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use tenure::{Held, Lock, Wait};

use crate::measure::{Contender, Finding, Plan, Result, Setting, now, side_by_side};

const PLAN: Plan = Plan { rounds: 30, samples: 10, batch: 1 };
const GOAL: f64 = 1.5;

/// The lock is held at least this long, so that the waiter is asleep by then.
const HOLD_MIN: Duration = Duration::from_millis(3);

/// And up to this much longer: the longest poll period, so that releases fall everywhere in a poller's sleep.
const HOLD_SPREAD: Duration = Duration::from_millis(50);

/// A waiter that began later than this before the release may not have been asleep; the handoff is repeated.
const WAITED_MIN_NS: u64 = 1_000_000;

/// How often a handoff is repeated before the machine is declared too busy.
const ATTEMPTS_MAX: usize = 10;

/// How a contender waits.
#[derive(Clone, Copy)]
enum Way {
    /// In the kernel, `flock(LOCK_EX)`.
    Kernel,
    /// As Tenure does.
    Tenure,
    /// By trying again each time this has passed.
    Poll(Duration),
}

const WAYS: [(&str, Way); 4] = [
    ("kernel flock(LOCK_EX)", Way::Kernel),
    ("tenure", Way::Tenure),
    ("poll every 25 ms", Way::Poll(Duration::from_millis(25))),
    ("poll every 50 ms", Way::Poll(Duration::from_millis(50))),
];

/// A lock that is held.
enum Grip {
    Raw(OwnedFd),
    Tenure(Held),
}

impl Way {
    fn acquire(self, path: &Path) -> Result<Grip> {
        if let Way::Tenure = self {
            return Ok(Grip::Tenure(Lock::flock(path).acquire(Wait::Forever)?));
        }
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        match self {
            Way::Kernel | Way::Tenure => flock(&file, FlockOperation::LockExclusive)?,
            Way::Poll(pause) => loop {
                match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Err(Errno::WOULDBLOCK) => std::thread::sleep(pause),
                    locked => break locked?,
                }
            },
        }
        Ok(Grip::Raw(file))
    }
}

impl Grip {
    fn release(self) -> Result<()> {
        match self {
            Grip::Raw(file) => flock(&file, FlockOperation::Unlock)?,
            Grip::Tenure(held) => held.release()?,
        }
        Ok(())
    }
}

pub(crate) fn run(setting: &Setting) -> Result<Finding> {
    let mut contenders = Vec::new();
    for (index, (name, way)) in WAYS.into_iter().enumerate() {
        let path = setting.directory.join(format!("handoff-{index}.lock"));
        std::fs::File::create(&path)?;
        let mut pair = Pair::start(name, way, path)?;
        let goal = matches!(way, Way::Tenure).then_some(GOAL);
        contenders.push(Contender { name, goal, sample: Box::new(move |number| pair.handoff(number)) });
    }
    side_by_side(contenders, setting.plan(PLAN))
}

/// A holder, which is this process, and its waiter.
struct Pair {
    way: Way,
    path: PathBuf,
    waiter: Child,
    answers: BufReader<ChildStdout>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Waiting closes the waiter's input first, which ends it. There is nothing to do about a failure.
        let _ended = self.waiter.wait();
    }
}

impl Pair {
    fn start(name: &str, way: Way, path: PathBuf) -> Result<Pair> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("waiter").arg(name).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut waiter = command.spawn()?;
        let answers = waiter.stdout.take().ok_or("the waiter has no output")?;
        Ok(Pair { way, path, waiter, answers: BufReader::new(answers) })
    }

    /// The nanoseconds from release to acquisition.
    fn handoff(&mut self, number: usize) -> Result<f64> {
        for _ in 0..ATTEMPTS_MAX {
            let held = self.way.acquire(&self.path)?;
            let input = self.waiter.stdin.as_mut().ok_or("the waiter has no input")?;
            input.write_all(b"wait\n")?;
            std::thread::sleep(hold(number));
            let released = now();
            held.release()?;
            let (began, acquired) = self.answer()?;
            if began + WAITED_MIN_NS <= released {
                return Ok(acquired.saturating_sub(released) as f64);
            }
        }
        Err("the machine is too busy: the waiter never began to wait in time".into())
    }

    fn answer(&mut self) -> Result<(u64, u64)> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (began, acquired) = line.trim_end().split_once(' ').ok_or("the waiter ended early")?;
        Ok((began.parse()?, acquired.parse()?))
    }
}

/// The same for every contender, and spread evenly however many handoffs there are (golden ratio).
fn hold(number: usize) -> Duration {
    HOLD_MIN + HOLD_SPREAD.mul_f64((number as f64 * 0.618_033_988_749_895).fract())
}

/// The waiting process: waits for the lock once for each line of input.
pub(crate) fn wait(way: &str, path: &Path) -> Result<()> {
    let known = WAYS.into_iter().find(|(name, _)| *name == way);
    let (_, way) = known.ok_or_else(|| format!("there is no way of waiting called `{way}`"))?;
    for line in std::io::stdin().lines() {
        line?;
        let began = now();
        let held = way.acquire(path)?;
        let acquired = now();
        held.release()?;
        writeln!(std::io::stdout(), "{began} {acquired}")?;
    }
    Ok(())
}
