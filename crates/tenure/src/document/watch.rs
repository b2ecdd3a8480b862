//! A document's states, one after the other, without a lock.
//!
//! A watcher keeps the file open that it has read, and watches it. When something happens it looks at the path, which
//! disturbs nobody; only if another file stands there, or the file was changed, it opens and reads again. So two
//! watchers do not wake each other.

use std::time::Duration;

use super::replace::{Found, Place};
use super::{Document, Value, Version, content, update};
use crate::error::{Error, Result};
use crate::host::{Errno, Host, Native, Stat, Woken};
use crate::lock::{jittered, pauses};
use crate::wait::{Patience, Wait};

/// The states of a document, as they come. See [`Document::watch`].
pub struct Watch<H: Host = Native> {
    document: Document<H>,
    seen: Option<Version>,
    /// The file that was read last; open, so that its number is not another's.
    file: Option<Found<H::File>>,
}

impl<H: Host> Watch<H> {
    pub(super) fn of(document: Document<H>) -> Watch<H> {
        Watch { document, seen: None, file: None }
    }

    /// Waits until the document is not what the last call returned, and returns its version; the first call returns at
    /// once. A document that does not exist is the version `absent`.
    ///
    /// No state is returned twice in a row. States that follow each other faster than they are asked for are skipped:
    /// the one returned is the latest. Wakes by event where the system tells of changes, and looks at least every 250 ms.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`] when the time is over, [`Error::is_cancelled`], [`Error::is_permission`], [`Error::is_io`].
    pub fn next(&mut self, wait: impl Into<Patience>) -> Result<Version> {
        let patience = wait.into();
        let host = self.document.host.clone();
        let mut waiter = host.waiter();
        let _cancelling = patience.cancel.as_ref().map(|cancel| cancel.register(host.waker(&waiter)));
        let started = host.now();
        loop {
            // The watch comes before the look, so that nothing falls between.
            let armed = self.stat();
            let watched = self.file.as_ref().is_some_and(|found| host.watch(&mut waiter, found.file()));
            let mut pauses = pauses(watched);
            loop {
                if let Some(version) = self.look()? {
                    return Ok(version);
                }
                if self.stat() != armed {
                    // Another file with the same content: the watch is on the old one.
                    break;
                }
                let waited = || host.now().since(started);
                if patience.cancel.as_ref().is_some_and(crate::Cancel::is_cancelled) {
                    return Err(Error::cancelled(&self.document.path, waited()));
                }
                let deadline = match patience.wait {
                    Wait::Never => Some(started),
                    Wait::Until(deadline) => Some(deadline),
                    Wait::Forever => None,
                };
                if deadline.is_some_and(|deadline| host.now() >= deadline) {
                    return Err(Error::unchanged(&self.document.path, waited()));
                }
                let pause = pauses.next().unwrap_or(Duration::from_millis(250));
                let longest = host.now() + jittered(pause, host.random());
                let until = deadline.map_or(longest, |deadline| deadline.min(longest));
                if host.wait(&mut waiter, Some(until)) == Woken::Changed {
                    break;
                }
            }
        }
    }

    /// The document's value in the state that the last [`Watch::next`] returned.
    ///
    /// # Errors
    ///
    /// As for [`Document::read`].
    pub fn value(&self) -> Result<Value> {
        content::read_value(&self.document, self.file.as_ref().map(|found| found.bytes.as_slice()))
    }

    fn stat(&self) -> Option<Stat> {
        self.file.as_ref().map(|found| found.stat)
    }

    /// The state now, if it is another than the last.
    fn look(&mut self) -> Result<Option<Version>> {
        let host = &self.document.host;
        let target = update::resolve(host, &self.document.path)?;
        let place = Place { host, path: &target, durability: self.document.durability };
        let now: Option<Stat> = match host.stat(&target) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(Error::host("look at the file", &target, errno)),
        };
        if self.seen.is_some() && now == self.stat() {
            return Ok(None);
        }
        self.file = place.read()?;
        let version = Version::of(self.file.as_ref().map(|found| found.bytes.as_slice()));
        Ok((self.seen.replace(version) != Some(version)).then_some(version))
    }
}
