//! How the time and memory of an edit grow with the document: one field of a document of 1 MB, and of 10 MB.

use std::process::Stdio;

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};
use crate::run_command::succeed;
use crate::update_command::tenure;

const PLAN: Plan = Plan { rounds: 5, samples: 1, batch: 1 };

/// Ten times the size in little more than ten times the time.
const GOAL: f64 = 12.0;

/// Entries for about 1 MB in every format.
const ENTRIES: usize = 9000;

type Text = fn(usize) -> String;

const FORMATS: [(&str, [&str; 2], Text); 3] = [
    ("json", ["JSON, 1 MB", "JSON, 10 MB"], json),
    ("toml", ["TOML, 1 MB", "TOML, 10 MB"], toml),
    ("yaml", ["YAML, 1 MB", "YAML, 10 MB"], yaml),
];

pub(crate) fn run_json(setting: &Setting) -> Result<Finding> {
    run(setting, 0)
}

pub(crate) fn run_toml(setting: &Setting) -> Result<Finding> {
    run(setting, 1)
}

pub(crate) fn run_yaml(setting: &Setting) -> Result<Finding> {
    run(setting, 2)
}

fn run(setting: &Setting, format: usize) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let (extension, names, text) = FORMATS[format];
    let [small, large] =
        ["small", "large"].map(|name| setting.directory.join(name).with_extension(extension));
    let (small_text, large_text) = (text(ENTRIES), text(10 * ENTRIES));
    let sizes = [small_text.len(), large_text.len()].map(|size| size as f64 / 1e6);
    std::fs::write(&small, small_text)?;
    std::fs::write(&large, large_text)?;
    let (mut of_small, mut of_large) = (tenure(&small, "process")?, tenure(&large, "process")?);
    let contenders = vec![
        timed(names[0], None, plan, || succeed(&mut of_small)),
        timed(names[1], Some(GOAL), plan, || succeed(&mut of_large)),
    ];
    let found = side_by_side(contenders, plan)?;
    for (path, size) in [(&small, sizes[0]), (&large, sizes[1])] {
        eprintln!("  {extension}, {size:.1} MB: {} MB of memory at most", memory_mb(path)?);
    }
    Ok(found)
}

/// The peak memory of one edit (`VmHWM`, proc(5)), which is looked at until the process ends.
fn memory_mb(path: &std::path::Path) -> Result<u64> {
    let mut child = tenure(path, "process")?.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak: u64 = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(peak / 1024)
}

pub(crate) fn json(entries: usize) -> String {
    let entry = |n| {
        format!(
            "    {{\n      \"id\": {n},\n      \"name\": \"entry {n}\",\n      \"tags\": [\"a\", \"b\"],\n      \"on\": true\n    }}"
        )
    };
    let entries: Vec<String> = (0..entries).map(entry).collect();
    format!("{{\n  \"mark\": 1,\n  \"entries\": [\n{}\n  ]\n}}\n", entries.join(",\n"))
}

fn toml(entries: usize) -> String {
    let entry = |n| {
        format!(
            "\n[[entries]] # the entry of {n}\nid = {n}\nname = \"entry {n}\" # its name\ntags = [\"a\", \"b\"]\non = true\n"
        )
    };
    let entries: String = (0..entries).map(entry).collect();
    format!("mark = 1 # counted\n{entries}")
}

pub(crate) fn yaml(entries: usize) -> String {
    let entry = |n| {
        format!(
            "  # the entry of {n}\n  - id: {n}\n    name: entry {n} # its name\n    tags: [a, b]\n    on: true\n    note: nothing\n"
        )
    };
    let entries: String = (0..entries).map(entry).collect();
    format!("mark: 1 # counted\nentries:\n{entries}")
}
