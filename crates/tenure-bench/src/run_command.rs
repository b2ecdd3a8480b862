//! What running a command under a lock costs at the shell: the whole process, from its start to its end.

use std::io::ErrorKind;
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

    for (name, program) in [("flock", &flock), ("tenure run", &tenure)] {
        if let Some(reason) = obstacle(name, program)? {
            return Ok(Finding::Skipped(reason));
        }
    }
    flock.arg("true");
    tenure.arg("true");
    let contenders = vec![
        timed("flock LOCK true", None, plan, || succeed(&mut flock)),
        timed("tenure run LOCK -- true", Some(GOAL), plan, || succeed(&mut tenure)),
    ];
    side_by_side(contenders, plan)
}

/// Why the program can't be measured, if it does not run what it is given: one that does nothing would be fast.
pub(crate) fn obstacle(name: &str, program: &Command) -> Result<Option<String>> {
    let mut probe = Command::new(program.get_program());
    match probe.args(program.get_args()).args(["echo", "it runs"]).output() {
        Ok(output) if output.status.success() && output.stdout == b"it runs\n" => Ok(None),
        Ok(_) => Ok(Some(format!("the `{name}` of this machine runs no command"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(Some(format!("there is no `{name}`; ours is built by cargo build --release")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether there is such a program.
pub(crate) fn is_there(program: &str) -> Result<bool> {
    match Command::new(program)
        .arg("-h")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
    {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} ended with {status}").into()),
    }
}
