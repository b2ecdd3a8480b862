//! The changes that a watcher has seen and a build has not worked off yet, in a plain file that other programs know.
//!
//! It grew from codegraph's report of 2025: a watcher and builds that people start append to `changes.journal`, one path a
//! line, below a header with the time of the last build. The build wrote a new header over the whole file when it was done,
//! and what the watcher had appended meanwhile was gone.
//!
//! ```console
//! $ cargo run -p tenure --example change_journal -- .codegraph watch src 20   # twenty changes below src/
//! $ cargo run -p tenure --example change_journal -- .codegraph build          # works them off
//! $ cargo run -p tenure --example change_journal                              # both at once, in a new directory
//! ```

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tenure::journal::{Entry, Format};
use tenure::{Journal, Lock, Wait};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [folder, "watch", below, count] => watch(Path::new(folder), below, count),
        [folder, "build"] => build(Path::new(folder)),
        [] => both(),
        _ => Err("usage: change_journal [FOLDER watch NAME COUNT|build]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("change_journal: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The file is other programs', too: plain lines below `# codegraph-journal v1 <ms>`.
fn journal(folder: &Path) -> Journal {
    let header = Some("# codegraph-journal v1 ".to_owned());
    Journal::open(folder.join("changes.journal")).format(Format::Plain { header })
}

fn soon() -> Wait {
    Wait::within(Duration::from_secs(30))
}

/// Notes one change after the other. When this returns, they survive a power loss.
fn watch(folder: &Path, below: &str, count: &str) -> Outcome {
    let journal = journal(folder);
    for number in 0..count.parse::<u32>()? {
        let change = match number % 5 {
            4 => format!("DELETED {below}/{number}.ts"),
            _ => format!("{below}/{number}.ts"),
        };
        journal.append(soon(), [change])?;
    }
    Ok(())
}

/// Works off what is there, which may take long, and takes exactly that away. One build at a time.
#[expect(clippy::disallowed_methods, reason = "an example asks the clock itself")]
fn build(folder: &Path) -> Outcome {
    let _alone = Lock::flock(folder.join("build.lock")).acquire(soon())?;
    let journal = journal(folder);
    let mut reader = journal.read_from(None)?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut worked = Vec::new();
    while let Some(Entry::Record(change)) = reader.next()? {
        worked.push(String::from_utf8(change.payload)?);
    }
    Command::new("sleep").arg("0.05").status()?;
    if !worked.is_empty() {
        // What was appended since stands behind the cursor, and stays.
        journal.reset(soon(), started.to_string(), Some(&reader.cursor()))?;
    }
    worked.iter().for_each(|change| println!("{change}"));
    Ok(())
}

/// Four watchers, and builds as long as these see changes.
#[expect(clippy::disallowed_methods, reason = "an example looks at its own directory")]
fn both() -> Outcome {
    let folder = std::env::temp_dir().join(format!("tenure-change-journal-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let start = |arguments: &[&str]| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(&folder).args(arguments).stdout(Stdio::piped()).spawn()
    };
    let mut watchers = ["app", "lib", "src", "test"]
        .map(|name| start(&["watch", name, "50"]))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let (mut built, mut at_work) = (Vec::new(), true);
    while at_work {
        at_work = false;
        for watcher in &mut watchers {
            at_work |= watcher.try_wait()?.is_none();
        }
        // One that somebody starts by hand beside the other; and a last one, when no change comes any more.
        for build in [start(&["build"])?, start(&["build"])?] {
            let done = build.wait_with_output()?;
            built.extend(String::from_utf8(done.stdout)?.lines().map(str::to_owned));
        }
    }
    let done = built.len();
    built.sort();
    built.dedup();
    println!("{done} changes were built, {} of them different", built.len());
    let left = journal(&folder).read_from(None)?.next()?;
    println!("{} are left", if left.is_none() { "none" } else { "some" });
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
