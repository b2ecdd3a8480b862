//! A lock that outlives its process: whoever has the handle renews it and gives it up.

use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::Lock;
use super::gate::Gate;
use super::hold::LossReason;
use super::look::{Seen, judge_seen, look, server_time};
use super::record::Nonce;
use super::stale::State;
use crate::error::{Error, Result};
use crate::host::{Errno, Host, Native};

/// What does not stand for itself in a printed handle: everything that a shell, or a reader of lines, might take apart.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-')
    .remove(b'~')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The first part of a printed handle.
const PREFIX: &str = "tenure1";

/// The right to renew and release a lock that belongs to no process ([`Held::persist`](super::Held::persist)).
///
/// Printed, it is one word: `tenure1:NONCE:PATH`, with the path as it was given to the lock (make it absolute if the
/// word goes to a process elsewhere). Whoever has the word has the lock.
#[derive(Clone, Debug)]
pub struct Handle {
    path: PathBuf,
    nonce: Nonce,
    durable: bool,
}

impl Handle {
    pub(super) fn new(path: &Path, nonce: Nonce, durable: bool) -> Handle {
        Handle { path: path.to_owned(), nonce, durable }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was seen that the lock survives a power loss: the sync of its directory succeeded. `false` for a handle
    /// that was read from text.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Begins the lock's lifetime anew.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`] if the lifetime is over or another holds the lock; [`Error::is_busy`] if the guard can't be had
    /// for 30 s; [`Error::is_permission`], [`Error::is_io`].
    pub fn renew(&self) -> Result<()> {
        self.renew_on(Native)
    }

    /// Gives the lock up.
    ///
    /// # Errors
    ///
    /// As for [`Handle::renew`].
    pub fn release(&self) -> Result<()> {
        self.release_on(Native)
    }

    /// [`Handle::renew`] on another host.
    ///
    /// # Errors
    ///
    /// As for [`Handle::renew`].
    pub fn renew_on<H: Host>(&self, host: H) -> Result<()> {
        self.act(host, Ignorance::Fails, |lock, seen| {
            let touched = lock.host.touch(&seen.file);
            touched.map_err(|errno| Error::host("renew the lock", &self.path, errno))
        })
    }

    /// [`Handle::release`] on another host.
    ///
    /// # Errors
    ///
    /// As for [`Handle::renew`].
    pub fn release_on<H: Host>(&self, host: H) -> Result<()> {
        // A full disk has no room for the file that tells the time; and a lock that is over but that nobody took may be given
        // up as well as one that is not.
        self.act(host, Ignorance::Passes, |lock, _| match lock.host.unlink(&self.path) {
            Err(Errno::NOENT) => Ok(()),
            unlinked => unlinked.map_err(|errno| Error::host("remove the lock file", &self.path, errno)),
        })
    }

    /// Runs `step` under the guard if the lock file carries this handle's nonce and its lifetime is not over.
    fn act<H: Host>(
        &self,
        host: H,
        ignorance: Ignorance,
        step: impl FnOnce(&Lock<H>, &Seen<H::File>) -> Result<()>,
    ) -> Result<()> {
        let lock = Lock::lockfile_on(host, &self.path);
        let lost = |reason| Err(Error::lost(&self.path, reason));
        // A lock that is gone has no use for a guard.
        if look(&lock.host, &self.path)?.is_none() {
            return lost(LossReason::Gone);
        }
        Gate::open(&lock)?.within_bounds(&lock, None, || {
            let Some(seen) = look(&lock.host, &self.path)? else { return lost(LossReason::Gone) };
            let Some(record) = seen.record.as_ref().filter(|record| record.nonce == self.nonce) else {
                return lost(LossReason::Taken);
            };
            if record.lifetime.is_some() {
                let now = match (server_time(&lock.host, &self.path), ignorance) {
                    (Err(errno), Ignorance::Fails) => {
                        return Err(Error::host("ask the file server for its time", &self.path, errno));
                    }
                    (now, _) => now.ok(),
                };
                let verdict = judge_seen(&lock.host, &lock.host.identity(), &seen, now);
                if verdict.state == State::Expired {
                    return lost(LossReason::Expired);
                }
            }
            step(&lock, &seen)
        })
    }
}

/// What comes of a lifetime of which nobody can say whether it is over.
#[derive(Clone, Copy)]
enum Ignorance {
    Fails,
    Passes,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = percent_encode(self.path.as_os_str().as_bytes(), ESCAPED);
        write!(f, "{PREFIX}:{}:{path}", self.nonce)
    }
}

/// Text that is no handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAHandle(String);

impl fmt::Display for NotAHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no handle of a lock; it would begin with `{PREFIX}:`", self.0)
    }
}

impl std::error::Error for NotAHandle {}

impl FromStr for Handle {
    type Err = NotAHandle;

    fn from_str(text: &str) -> std::result::Result<Handle, NotAHandle> {
        let parts = text.trim().strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(':')?.split_once(':'));
        let (nonce, path) = parts.ok_or_else(|| NotAHandle(text.to_owned()))?;
        let nonce = Nonce(nonce.to_owned());
        let path: Vec<u8> = percent_decode_str(path).collect();
        // No path has a zero byte.
        if !nonce.is_well_formed() || path.is_empty() || path.contains(&0) {
            return Err(NotAHandle(text.to_owned()));
        }
        Ok(Handle { path: std::ffi::OsString::from_vec(path).into(), nonce, durable: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_word_and_reads_back() {
        for path in ["/a/b.lock", "/a b/$c%`d'\n.lock", "r\u{e9}.lock", "/a&b;c|d<e>(f)*?[#!{g}~@,=+:.lock"] {
            let handle = Handle::new(Path::new(path), Nonce::new(1, 2), true);
            let word = handle.to_string();
            let special = |c: char| " \n\"'\\$`&;|<>()*?[]#!{}^".contains(c);
            assert!(word.is_ascii() && !word.contains(special), "{word}");
            let read: Handle = format!("{word}\n").parse().unwrap();
            assert_eq!((read.path(), &read.nonce), (Path::new(path), &handle.nonce));
        }
        for text in [
            "",
            "tenure1:",
            "tenure1:12:/a",
            "tenure1:0123456789abcdef0123456789abcdef:",
            "tenure1:0123456789abcdef0123456789abcdef:/a%00",
            "/a/b.lock",
        ] {
            assert!(text.parse::<Handle>().is_err(), "{text}");
        }
    }
}
