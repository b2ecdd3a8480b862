//! What it costs to change one field of a file at the shell: the whole process. The peers do less: they lock nothing, sync
//! nothing, and `yq` drops comments' places and quotes.

use std::path::Path;
use std::process::Command;

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};
use crate::run_command::{is_there, succeed};

const PLAN: Plan = Plan { rounds: 15, samples: 5, batch: 1 };

pub(crate) fn small(setting: &Setting) -> Result<Finding> {
    run(setting, setting.plan(PLAN), 8)
}

pub(crate) fn large(setting: &Setting) -> Result<Finding> {
    run(setting, setting.plan(Plan { rounds: 5, samples: 2, ..PLAN }), 9000)
}

/// Measures a file with so many entries: a hundred and ten bytes each.
fn run(setting: &Setting, plan: Plan, entries: usize) -> Result<Finding> {
    for program in ["jq", "sponge", "yq"] {
        if !is_there(program)? {
            return Ok(Finding::Skipped(format!("there is no {program}: apt install jq moreutils yq")));
        }
    }
    let path = |name: &str| setting.directory.join(name);
    let (json, yaml) = (super::edit_large::json(entries), super::edit_large::yaml(entries));
    for (name, text) in [("jq.json", &json), ("ours.json", &json), ("yq.yaml", &yaml), ("ours.yaml", &yaml)] {
        std::fs::write(path(name), text)?;
    }
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&setting.directory);
        command
    };
    let mut jq = shell("jq '.mark += 1' jq.json | sponge jq.json");
    let mut yq = shell("yq -i -y '.mark += 1' yq.yaml");
    let update = |name: &str, durability: &str| tenure(&path(name), durability);
    let (mut ours, mut ours_yaml) = (update("ours.json", "power")?, update("ours.yaml", "power")?);
    let mut unsynced = update("ours.json", "process")?;
    let contenders = vec![
        timed("jq ... | sponge FILE", None, plan, || succeed(&mut jq)),
        timed("tenure update --durability process", None, plan, || succeed(&mut unsynced)),
        timed("tenure update", None, plan, || succeed(&mut ours)),
        timed("yq -i (YAML)", None, plan, || succeed(&mut yq)),
        timed("tenure update (YAML)", None, plan, || succeed(&mut ours_yaml)),
    ];
    side_by_side(contenders, plan)
}

/// `tenure update FILE '.mark += 1'`.
pub(crate) fn tenure(path: &Path, durability: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("tenure"));
    command.args(["update", "--durability", durability]).arg(path).arg(".mark += 1");
    Ok(command)
}
