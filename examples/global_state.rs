//! One `global.yaml` that several runs of a program share, and that people also edit by hand.
//!
//! It grew from mcp-synology's report of 2025: every process loaded the file, changed a field and saved the whole, so the
//! later save erased the earlier change; and its upgrade kept a copy loaded while a subprocess ran for minutes.
//!
//! ```console
//! $ cargo run -p tenure --example global_state -- global.yaml check     # what every run does
//! $ cargo run -p tenure --example global_state -- global.yaml upgrade   # what takes long
//! $ cargo run -p tenure --example global_state                          # both at once, in a new directory
//! ```

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure::{Document, Wait};

/// What the program knows of the file. Fields that others put there stay.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Global {
    checks: u64,
    installed: String,
}

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [path, "check"] => check(Path::new(path)),
        [path, "upgrade"] => upgrade(Path::new(path)),
        [] => both(),
        _ => Err("usage: global_state [FILE check|upgrade]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("global_state: {error}");
            ExitCode::FAILURE
        }
    }
}

fn global(path: &Path) -> Result<Document, tenure::Error> {
    Document::open(path).initial(&Global::default())
}

/// A short change: one step, in which nothing is lost.
fn check(path: &Path) -> Outcome {
    global(path)?.update(Wait::within(Duration::from_secs(10)), |state: &mut Global| state.checks += 1)?;
    Ok(())
}

/// A long one: no lock while the subprocess runs, and no stale copy saved after it.
fn upgrade(path: &Path) -> Outcome {
    let mut draft = global(path)?.edit::<Global>()?;
    let download = Command::new("sh").args(["-c", "sleep 1; echo 2.0.1"]).output()?;
    draft.installed = String::from_utf8(download.stdout)?.trim().to_owned();
    draft.commit(Wait::within(Duration::from_secs(10)))?;
    Ok(())
}

const BY_HAND: &str = "\
# Shared by every run of the program.

checks: 0 # how often we looked
installed: 1.9.0 # by hand, in May
theme: dark
";

/// An upgrade while twenty runs check.
#[expect(clippy::disallowed_methods, reason = "an example looks at its own directory")]
fn both() -> Outcome {
    let directory = std::env::temp_dir().join(format!("tenure-global-state-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let path = directory.join("global.yaml");
    std::fs::write(&path, BY_HAND)?;
    let start = |verb: &str| Command::new(std::env::current_exe()?).arg(&path).arg(verb).spawn();
    let mut upgrade = start("upgrade")?;
    let mut ok = true;
    for mut run in (0..20).map(|_| start("check")).collect::<Result<Vec<_>, _>>()? {
        ok &= run.wait()?.success();
    }
    ok &= upgrade.wait()?.success();
    print!("{}", std::fs::read_to_string(&path)?);
    std::fs::remove_dir_all(&directory)?;
    if ok { Ok(()) } else { Err("a run failed".into()) }
}
