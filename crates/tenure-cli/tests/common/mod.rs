//! What the tests of the real binary share: the binary, places to work in, and how a test is skipped.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part of this")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// The `tenure` that cargo has just built.
pub(crate) const TENURE: &str = env!("CARGO_BIN_EXE_tenure");

/// What a command did, as text.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Runs a command to its end. A program that is not there is a mistake of the machine, not a reason to skip.
pub(crate) fn run(command: &mut Command) -> Ended {
    let program = command.get_program().to_owned();
    // cargo's library path makes the dynamic linker search its directories first: a hundred calls more.
    let output = command.env_remove("LD_LIBRARY_PATH").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{} ({error}): run ./test", program.display()));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Runs `tenure` in `directory`.
pub(crate) fn tenure<S: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = S>) -> Ended {
    run(Command::new(TENURE).args(arguments).current_dir(directory))
}

/// A directory on the disk that cargo builds on, which is not a tmpfs as /tmp may be.
pub(crate) fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The names that an update left behind although it should have removed them.
pub(crate) fn litter(directory: &Path) -> Vec<String> {
    names(directory).into_iter().filter(|name| name.ends_with(".tenure-tmp")).collect()
}

/// Says that `name` was not run because this machine does not permit it, and notes it for `./test`.
pub(crate) fn skip(name: &str, reason: &str) {
    println!("skipped {name}: {reason}");
    if let Some(path) = std::env::var_os("TENURE_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(list, "{name}: {reason}").unwrap();
    }
}

/// A mounted file system, gone when this is dropped.
pub(crate) struct Mounted {
    at: PathBuf,
    unmounted: bool,
}

impl Mounted {
    /// `mount ARGUMENTS AT`; the error says why this machine does not permit it.
    pub(crate) fn new<S: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = S>,
        at: &Path,
    ) -> Result<Mounted, String> {
        const FORBIDDEN: [&str; 5] =
            ["ermission denied", "not permitted", "must be superuser", "loop device", "unknown filesystem"];
        let mount = run(Command::new("mount").args(arguments).arg(at).env("LC_ALL", "C"));
        if mount.status.success() {
            return Ok(Mounted { at: at.to_owned(), unmounted: false });
        }
        let forbidden = FORBIDDEN.iter().any(|reason| mount.stderr.contains(reason));
        assert!(forbidden, "mount failed for a reason that is no lack of privilege: {}", mount.stderr);
        Err(mount.stderr.lines().next().unwrap_or_default().to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts, and fails if something still uses it.
    pub(crate) fn unmount(mut self) {
        let ended = run(Command::new("umount").arg(&self.at));
        assert!(ended.status.success(), "{}", ended.stderr);
        self.unmounted = true;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.unmounted {
            // Lazily: this runs on panic, when something may still be open in there.
            let _nothing_left_to_try = Command::new("umount").arg("--lazy").arg(&self.at).status();
        }
    }
}
