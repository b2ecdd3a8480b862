//! What the tests of the real binary share: the binary, places to work in, and how a test is skipped.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part of this")]

#[path = "../../../tenure/tests/mounted/mod.rs"]
pub(crate) mod mounted;

use std::ffi::OsStr;
use std::path::Path;
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
