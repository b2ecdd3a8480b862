//! util-linux's flock(1) and ours under both its names, for tests that compare them.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part of this")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::common::{Ended, TENURE, directory, names, run};

/// The three programs, as folders in which each is called `flock`; the name that the third goes by is another.
pub(crate) struct Programs {
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) const PEER: &str = "theirs";
pub(crate) const OURS: [&str; 2] = ["ours", "command"];

impl Programs {
    pub(crate) fn new() -> Programs {
        let folder = directory();
        for name in [PEER, OURS[0], OURS[1]] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let theirs = run(Command::new("sh").args(["-c", "command -v flock"]));
        symlink(theirs.stdout.trim(), folder.path().join(PEER).join("flock")).unwrap();
        symlink(TENURE, folder.path().join(OURS[0]).join("flock")).unwrap();
        let script = format!("#!/bin/sh\nexec '{TENURE}' flock \"$@\"\n");
        let command = folder.path().join(OURS[1]).join("flock");
        std::fs::write(&command, script).unwrap();
        std::fs::set_permissions(&command, PermissionsExt::from_mode(0o755)).unwrap();
        Programs { folder }
    }

    /// The program that is called `flock` in the folder of this name.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.folder.path().join(program).join("flock")
    }

    /// Runs a shell's line in a new directory; returns what it did and left there.
    pub(crate) fn run(&self, program: &str, line: &str) -> (Ended, Vec<String>) {
        let at = directory();
        let path = at.path();
        std::fs::create_dir(path.join("folder")).unwrap();
        for (name, text) in
            [("line", line), ("script", "echo \"$# $1\"; exit 5\n"), ("garbage", "\u{7f}ELF\0")]
        {
            std::fs::write(path.join(name), text).unwrap();
            std::fs::set_permissions(path.join(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        for (name, target) in [("loop", "loop"), ("dangling", "made"), ("link", "folder")] {
            symlink(target, path.join(name)).unwrap();
        }
        let search = [self.folder.path().join(program), path.to_owned(), "/usr/bin".into(), "/bin".into()];
        let mut shell = Command::new("bash");
        shell.arg(path.join("line")).current_dir(path).env("LC_ALL", "C").env("SHELL", "/bin/sh");
        let ended = run(shell.env("PATH", std::env::join_paths(search).unwrap()));
        let left = names(path);
        (ended, left)
    }
}
