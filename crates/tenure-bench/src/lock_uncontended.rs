//! What it costs to take and release a lock that nobody else wants.
//!
//! The lock file exists. Every contender opens it, locks, unlocks and closes in each operation.

use std::fs::File;

use fs4::FileExt;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use tenure::{Lock, Wait};

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};

const PLAN: Plan = Plan { rounds: 40, samples: 10, batch: 500 };
const GOAL: f64 = 1.3;

pub(crate) fn run(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let path = setting.directory.join("uncontended.lock");
    File::create(&path)?;
    let lock = Lock::flock(&path);

    let raw = || {
        let file = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(())
    };
    let tenure = || {
        lock.acquire(Wait::Never)?.release()?;
        Ok(())
    };
    let fd_lock = || {
        let mut file = fd_lock::RwLock::new(File::open(&path)?);
        drop(file.try_write()?);
        Ok(())
    };
    let fs4 = || {
        let file = File::open(&path)?;
        // The standard library's own methods of these names would win otherwise.
        FileExt::try_lock(&file)?;
        FileExt::unlock(&file)?;
        Ok(())
    };
    let contenders = vec![
        timed("raw open+flock+close", None, plan, raw),
        timed("tenure", Some(GOAL), plan, tenure),
        timed("fd-lock", None, plan, fd_lock),
        timed("fs4", None, plan, fs4),
    ];
    side_by_side(contenders, plan)
}
