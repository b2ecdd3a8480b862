//! File systems of a test's own, and how a test is skipped that this machine does not permit.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part of this")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long what is closed may stay in use.
const PATIENCE: Duration = Duration::from_secs(20);

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
        let mount = Command::new("mount").args(arguments).arg(at).env("LC_ALL", "C").output().unwrap();
        let said = String::from_utf8_lossy(&mount.stderr);
        if mount.status.success() {
            return Ok(Mounted { at: at.to_owned(), unmounted: false });
        }
        let forbidden = FORBIDDEN.iter().any(|reason| said.contains(reason));
        assert!(forbidden, "mount failed for a reason that is no lack of privilege: {said}");
        Err(said.lines().next().unwrap_or_default().to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts, and fails if something still uses it.
    pub(crate) fn unmount(mut self) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let ended = Command::new("umount").arg(&self.at).output().unwrap();
            if ended.status.success() {
                break;
            }
            // A child of another test has our descriptors until its exec.
            assert!(Instant::now() < give_up, "{}", String::from_utf8_lossy(&ended.stderr));
            std::thread::sleep(Duration::from_millis(20));
        }
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
