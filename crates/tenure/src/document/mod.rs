//! A file that several processes change, one whole step at a time.
//!
//! [`Document::update`] locks, reads, runs your function and replaces the file, so that no change is lost and
//! no half-written file is ever seen, whoever dies when. Readers need no lock.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tenure::{Document, Wait};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct State {
//!     visits: u64,
//! }
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("state.json");
//! let document = Document::open(&path).initial(&State::default())?;
//! let receipt = document.update(Wait::Forever, |state: &mut State| state.visits += 1)?;
//! assert!(receipt.changed);
//! assert_eq!(document.read::<State>()?.visits, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The type may be any that serde knows, `serde_json::Value` included. Only what the function changed is
//! written: fields that the type does not have, digits that it can't hold and the layout of the file stay.
//!
//! # What it does not protect against
//!
//! Programs that write the file without taking its lock (`<file>.lock`, see [`crate::lock`]): a write that
//! ends before ours begins to commit is noticed, and the update runs again on it; one that falls between that
//! look and our rename is lost. A file with several hard links, or a mount point, is refused: it would be
//! locked under several names.

mod by_hand;
mod combine;
mod content;
mod difference;
mod draft;
mod fence;
mod formats;
mod merge;
mod replace;
mod three_way;
mod together;
mod update;
mod value;
mod version;
mod versions;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use by_hand::Unmerged;
pub use content::Outcome;
pub use draft::{Draft, Uncommitted};
pub use formats::Format;
pub use three_way::Clash;
pub use together::update_all;
pub use value::{DEPTH_MAX, Fields, Value};
pub use version::Version;
pub use watch::Watch;

use self::replace::Place;
use crate::error::{BoxError, Error, Result};
use crate::host::{Host, Native};
use crate::lease::Token;
use crate::lock::{Contention, Report};
use crate::wait::Patience;

/// What an acknowledged change must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power loss or a crash of the kernel: file and directory are synced before the acknowledgement.
    #[default]
    Power,
    /// The death of any process, not of the machine; nothing is synced.
    Process,
}

/// What an acknowledged change does survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// A power loss.
    Power,
    /// The death of any process.
    Process,
    /// The change is made and everyone sees it, but syncing the directory failed: after a power loss the old
    /// or the new content will be there, whole.
    Unknown,
}

/// What an update or a replace did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Whether this call changed anything. The file is not written if it has the content asked for already.
    pub changed: bool,
    /// The version of the document that this call left, together with those that were done with it (see
    /// [`Document::update`]).
    pub version: Version,
    /// What that version survives: what this call asked for, or more.
    pub durability: Reached,
}

/// A document and how to treat it. Cheap to make; nothing is opened before the first call.
///
/// A relative path is resolved at each call, against the working directory of that moment. A path that is a
/// symbolic link means the file it leads to.
#[derive(Clone)]
pub struct Document<H: Host = Native> {
    host: H,
    path: PathBuf,
    format: Option<Format>,
    durability: Durability,
    initial: Option<Value>,
    mode: Option<u32>,
    versions_kept: Option<usize>,
    expected: Option<Version>,
    fence: Option<Token>,
    report: Option<Report>,
}

impl Document {
    /// The document at `path`, which need not exist; its directory must.
    pub fn open(path: impl Into<PathBuf>) -> Document {
        Document::open_on(Native, path)
    }
}

impl<H: Host> Document<H> {
    /// [`Document::open`] on another host.
    pub fn open_on(host: H, path: impl Into<PathBuf>) -> Document<H> {
        let path = path.into();
        Document {
            host,
            path,
            format: None,
            durability: Durability::Power,
            initial: None,
            mode: None,
            versions_kept: None,
            expected: None,
            fence: None,
            report: None,
        }
    }

    /// Sets the format (default: as the extension of the file says, see [`Format::of`]).
    #[must_use]
    pub fn format(mut self, format: Format) -> Document<H> {
        self.format = Some(format);
        self
    }

    /// Sets what an acknowledged change must survive (default: [`Durability::Power`]).
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Document<H> {
        self.durability = durability;
        self
    }

    /// Sets what a missing or blank file reads as (default: null, and a blank file is an error).
    ///
    /// # Errors
    ///
    /// [`Error::is_rejected`] if the value has no JSON form.
    pub fn initial<T: Serialize>(mut self, value: &T) -> Result<Document<H>> {
        self.initial = Some(content::to_value(&self.path, value)?);
        Ok(self)
    }

    /// [`Document::initial`] with a value of the document's own kind.
    #[must_use]
    pub fn initial_value(mut self, value: Value) -> Document<H> {
        self.initial = Some(value);
        self
    }

    /// Sets the exact permission bits of a document that has to be created (default: `0o666` less the umask).
    /// One that exists keeps its own.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Document<H> {
        self.mode = Some(mode);
        self
    }

    /// Keeps the last `count` versions beside the document (at least one): before a change, the content that it replaces is
    /// written to `<file>.~N~`, N one more than the largest there is, and the oldest beyond `count` are removed. Default:
    /// none are kept, and none that are there are touched.
    #[must_use]
    pub fn keep_versions(mut self, count: usize) -> Document<H> {
        self.versions_kept = Some(count.max(1));
        self
    }

    /// Makes changes fail with [`Error::is_conflict`] unless the document is this version when they hold the
    /// lock.
    #[must_use]
    pub fn if_version(mut self, version: Version) -> Document<H> {
        self.expected = Some(version);
        self
    }

    /// Fences all changes through this value with a token: the number that whoever makes them got with a lease, which
    /// grows from holder to holder.
    ///
    /// The document remembers the largest token that it has accepted, in `<file>.fence` beside it. A change that carries a
    /// smaller one fails with [`Error::is_fenced`] and is not made, for it comes from a holder who has lost the lease
    /// without noticing, and a successor has been here. The token is looked at and remembered under the same lock as the
    /// change is made, and is on the disk before the change is seen. Equal and larger tokens pass. An update that changes
    /// nothing counts, too, and so shuts out who held an older token: see [`Document::raise_fence`].
    ///
    /// A fence stops those who carry a token. Whoever writes without one goes round it.
    ///
    /// ```
    /// use tenure::{Document, Token, Wait};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("state.json");
    /// let [old, new] = [7, 8].map(|number| Token::new(number).expect("a positive number"));
    /// let bump = |state: &mut serde_json::Value| state["n"] = (state["n"].as_u64().unwrap_or(0) + 1).into();
    /// Document::open(&path).fence(old).update(Wait::Forever, bump)?;
    /// Document::open(&path).fence(new).update(Wait::Forever, bump)?;
    /// let late = Document::open(&path).fence(old).update(Wait::Forever, bump);
    /// assert!(late.unwrap_err().is_fenced());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fence(mut self, token: Token) -> Document<H> {
        self.fence = Some(token);
        self
    }

    /// As [`crate::Lock::on_wait`], for the waits of this document.
    #[must_use]
    pub fn on_wait(
        mut self,
        after: Duration,
        tell: impl Fn(&Contention) + Send + Sync + 'static,
    ) -> Document<H> {
        self.report = Some(Report { after, tell: Arc::new(tell) });
        self
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the document without a lock: the latest content that was put in place, whole.
    ///
    /// A missing file reads as the initial value, or as null.
    ///
    /// # Errors
    ///
    /// [`Error::is_corrupt`] with the place if the content is not of its format or does not fit `T`,
    /// [`Error::is_missing`] if there is no file and null does not fit `T`, [`Error::is_permission`],
    /// [`Error::is_io`].
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        content::read_model(self, content::found(self)?.as_deref())
    }

    /// Reads the document as a [`Value`], numbers with their text.
    ///
    /// # Errors
    ///
    /// As for [`Document::read`].
    pub fn read_value(&self) -> Result<Value> {
        content::read_value(self, content::found(self)?.as_deref())
    }

    /// [`Document::read_value`] with the version of what was read, for [`Document::if_version`].
    ///
    /// # Errors
    ///
    /// As for [`Document::read`].
    pub fn read_versioned(&self) -> Result<(Value, Version)> {
        let bytes = content::found(self)?;
        Ok((content::read_value(self, bytes.as_deref())?, Version::of(bytes.as_deref())))
    }

    /// Reads the document's bytes, `None` if there is no file.
    ///
    /// # Errors
    ///
    /// [`Error::is_permission`], [`Error::is_io`].
    pub fn read_bytes(&self) -> Result<Option<Vec<u8>>> {
        content::found(self)
    }

    /// Reads, changes and writes the document as one step that nothing comes between.
    ///
    /// `change` gets the document as a `T` and changes it in place; it returns `()` or a `Result`. If it fails
    /// or panics, the file is as before and the lock is free. If it changes nothing, nothing is written.
    ///
    /// `change` runs while the lock is held, so it should be short and must not touch this document itself, nor wait for
    /// another thread that does. It runs again, on fresh content, in the rare case that the lock file was deleted, or that a
    /// program which takes no lock wrote the file, while it ran.
    ///
    /// Calls that wait in the same process may be done together: each `change` runs on its caller's thread, in the order of
    /// their coming, on what the one before it left; then all is written at once, as durably as the strictest asked for, and
    /// each caller gets its receipt. Nobody is concerned by another's `change` that fails or panics. If the write fails, all
    /// of them hear so. The time that `wait` gives ends when `change` begins.
    ///
    /// # Errors
    ///
    /// All of [`crate::Lock::acquire`] and [`Document::read`]; [`Error::is_rejected`] if `change` fails, if it
    /// changes an array so that fields which `T` does not know would be lost or get into another element, or if
    /// its result would not read back as it is;
    /// [`Error::is_conflict`]; [`Error::is_io`] if the disk is full or fails. After any of these the document
    /// is unchanged.
    ///
    /// # Durability
    ///
    /// As asked by [`Document::durability`]; the receipt says what was reached.
    pub fn update<T, O>(
        &self,
        wait: impl Into<Patience>,
        mut change: impl FnMut(&mut T) -> O,
    ) -> Result<Receipt>
    where
        T: Serialize + DeserializeOwned,
        O: Outcome,
    {
        // Before a lock file is made beside a file that is not for us.
        content::format(self)?;
        update::step(self, &wait.into(), &mut |bytes| content::with_model(self, bytes, &mut change))
    }

    /// [`Document::update`] for callers that bring their own model of the document: `change` gets the value and
    /// returns its model of it before and after; only the differences between the two are written.
    ///
    /// # Errors
    ///
    /// As for [`Document::update`].
    pub fn transform(
        &self,
        wait: impl Into<Patience>,
        mut change: impl FnMut(&Value) -> std::result::Result<(Value, Value), BoxError>,
    ) -> Result<Receipt> {
        content::format(self)?;
        update::step(self, &wait.into(), &mut |bytes| content::with_values(self, bytes, &mut change))
    }

    /// The bytes that [`Document::transform`] would leave, without a lock and without writing them: the bytes
    /// now (`None` if there is no file) and then.
    ///
    /// # Errors
    ///
    /// As for [`Document::update`].
    pub fn preview(
        &self,
        mut change: impl FnMut(&Value) -> std::result::Result<(Value, Value), BoxError>,
    ) -> Result<(Option<Vec<u8>>, Vec<u8>)> {
        let now = content::found(self)?;
        fence::admit(self, &update::resolve(&self.host, &self.path)?, None)?;
        update::expect_version(self, now.as_deref())?;
        let then = content::with_values(self, now.as_deref(), &mut change)?;
        let then = then.unwrap_or_else(|| now.clone().unwrap_or_default());
        Ok((now, then))
    }

    /// [`Document::update`] of the bytes, whatever they are; a missing file is empty.
    ///
    /// # Errors
    ///
    /// As for [`Document::update`], but never corrupt.
    pub fn update_bytes<O: Outcome>(
        &self,
        wait: impl Into<Patience>,
        mut change: impl FnMut(&mut Vec<u8>) -> O,
    ) -> Result<Receipt> {
        update::step(self, &wait.into(), &mut |bytes| content::with_bytes(self, bytes, &mut change))
    }

    /// The versions that [`Document::keep_versions`] has kept, the newest last.
    ///
    /// # Errors
    ///
    /// [`Error::is_permission`], [`Error::is_io`].
    pub fn versions(&self) -> Result<Vec<PathBuf>> {
        let target = update::resolve(&self.host, &self.path)?;
        let place = Place { host: &self.host, path: &target, durability: self.durability };
        Ok(versions::list(&place)?.into_iter().map(|(_, path)| path).collect())
    }

    /// Goes back to the newest version that was kept, which so is the document again and is no longer kept beside it.
    /// What it replaces is left in `<file>.~undone~`.
    ///
    /// # Errors
    ///
    /// [`Error::is_missing`] if no version was kept; otherwise as for [`Document::replace_bytes`].
    pub fn undo(&self, wait: impl Into<Patience>) -> Result<Receipt> {
        versions::undo(self, &wait.into())
    }

    /// Raises the fence to this value's token and changes nothing: once it returns, no change with a smaller token is made.
    ///
    /// Whoever takes over a lease, and reads the document to go on from there, does this first: nothing that its
    /// predecessor is still about to write comes behind what it has read.
    ///
    /// # Errors
    ///
    /// [`Error::is_fenced`] if a larger token was here already; [`Error::is_unsupported`] without a token
    /// ([`Document::fence`]); and those of [`Document::update_bytes`].
    ///
    /// # Durability
    ///
    /// The fence survives a power loss, whatever [`Document::durability`] says.
    pub fn raise_fence(&self, wait: impl Into<Patience>) -> Result<()> {
        if self.fence.is_none() {
            let problem = "has no fence to raise without a token; name one with `Document::fence`";
            return Err(Error::unsupported(&self.path, problem));
        }
        update::step(self, &wait.into(), &mut |_| Ok(None)).map(drop)
    }

    /// The document's states as they come, from the one it has now: see [`Watch::next`].
    pub fn watch(&self) -> Watch<H> {
        Watch::of(self.clone())
    }

    /// Writes the document whole, whatever stood there, in the layout of a new document.
    ///
    /// # Errors
    ///
    /// As for [`Document::update`], but never corrupt.
    pub fn replace<T: Serialize>(&self, wait: impl Into<Patience>, value: &T) -> Result<Receipt> {
        let fresh = content::format(self)?.fresh(&content::to_value(&self.path, value)?);
        let bytes = fresh.map_err(|problem| Error::rejected(&self.path, problem, None))?;
        self.replace_bytes(wait, &bytes)
    }

    /// Writes the document's bytes, whatever stood there.
    ///
    /// # Errors
    ///
    /// As for [`Document::update`], but never corrupt.
    pub fn replace_bytes(&self, wait: impl Into<Patience>, bytes: &[u8]) -> Result<Receipt> {
        update::step(self, &wait.into(), &mut |_| Ok(Some(bytes.to_vec())))
    }
}

impl<H: Host> fmt::Debug for Document<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("path", &self.path)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
