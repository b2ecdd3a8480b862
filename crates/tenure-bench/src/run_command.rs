//! What running a command under a lock costs at the shell: the whole process, from its start to its end.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};

const PLAN: Plan = Plan { rounds: 30, samples: 10, batch: 1 };
const GOAL: f64 = 1.3;

pub(crate) fn run(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let lock = setting.directory.join("run.lock");
    std::fs::File::create(&lock)?;
    let mut tenure = Command::new(std::env::current_exe()?.with_file_name("tenure"));
    tenure.arg("run").arg(&lock).arg("--");
    let mut flock = Command::new("flock");
    flock.arg(&lock);

    if !Path::new(tenure.get_program()).exists() {
        let missing = tenure.get_program().display();
        return Ok(Finding::Skipped(format!("there is no {missing}; build it: cargo build --release")));
    }
    match runs_commands(&flock) {
        Ok(true) => {}
        Ok(false) => {
            return Ok(Finding::Skipped("the `flock` of this machine is not util-linux's".to_owned()));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Finding::Skipped("this machine has no flock(1) to compare with".to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    if !runs_commands(&tenure)? {
        return Ok(Finding::Skipped("this `tenure` has no working `run` yet".to_owned()));
    }
    flock.arg("true");
    tenure.arg("true");
    let contenders = vec![
        timed("flock LOCK true", None, plan, || succeed(&mut flock)),
        timed("tenure run LOCK -- true", Some(GOAL), plan, || succeed(&mut tenure)),
    ];
    side_by_side(contenders, plan)
}

/// Whether the program really runs what it is given: one that does nothing would be fast.
fn runs_commands(program: &Command) -> std::io::Result<bool> {
    let mut probe = Command::new(program.get_program());
    let output = probe.args(program.get_args()).args(["echo", "it runs"]).output()?;
    Ok(output.status.success() && output.stdout == b"it runs\n")
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} ended with {status}").into()),
    }
}
