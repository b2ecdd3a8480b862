//! What `tenure` costs where a script calls flock(1): the whole process, from its start to its end, under both its names.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};
use crate::run_command::{obstacle, succeed};

const PLAN: Plan = Plan { rounds: 30, samples: 20, batch: 1 };
const GOAL: f64 = 1.2;

pub(crate) fn run(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let lock = setting.directory.join("flock.lock");
    std::fs::File::create(&lock)?;
    let tenure = std::env::current_exe()?.with_file_name("tenure");
    let link = setting.directory.join("flock");
    symlink(&tenure, &link)?;
    let mut theirs = Command::new("flock");
    theirs.arg(&lock);
    let mut command = Command::new(&tenure);
    command.arg("flock").arg(&lock);
    let mut by_name = Command::new(&link);
    by_name.arg(&lock);

    for (program, probe) in [(&theirs, "flock"), (&command, "tenure flock"), (&by_name, "tenure as flock")] {
        if let Some(reason) = obstacle(probe, program)? {
            return Ok(Finding::Skipped(reason));
        }
    }
    for program in [&mut theirs, &mut command, &mut by_name] {
        program.arg("true");
    }
    let contenders = vec![
        timed("flock LOCK true", None, plan, || succeed(&mut theirs)),
        timed("tenure flock LOCK true", Some(GOAL), plan, || succeed(&mut command)),
        timed("tenure as flock LOCK true", Some(GOAL), plan, || succeed(&mut by_name)),
    ];
    side_by_side(contenders, plan)
}
