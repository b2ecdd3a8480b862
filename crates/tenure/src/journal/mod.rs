//! An append-only file of lines that several processes write, and that grep reads.
//!
//! ```
//! use tenure::{Journal, Wait};
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("changes.journal");
//! let journal = Journal::open(&path);
//! let receipt = journal.append(Wait::Forever, ["deploy started"])?;
//! let mut reader = journal.read_from(None)?;
//! assert_eq!(reader.next()?.unwrap().record().unwrap().payload, b"deploy started");
//! assert_eq!(reader.cursor(), receipt.cursor);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Records stand in one order, each whole, whoever wrote them and whatever died when. What was acknowledged stays; what was
//! not is there whole or not at all. A reader takes no lock, disturbs no writer, and sees whole records alone.
//!
//! Each record is one line. In the *checked* format ([`Format::Checked`]) it carries a number, a checksum, its place in its
//! batch, and how far the journal was known to be synced: so that a power loss, which may leave any part of what was not
//! synced, can be told from damage. The *plain* format has payload lines alone, for files that other programs read and write.
//!
//! - A **tail** is what a crash left behind the last whole batch. The next append moves it, byte for byte, to a file of its
//!   own, and says so ([`Recovery`]).
//! - **Damage** is a flaw among what was synced. Nothing is appended to a damaged journal, readers get what stands before it
//!   and then an error, and [`Journal::repair`] takes it out when asked to.
//!
//! What it rests on: that everyone who writes takes the lock beside it (`<file>.lock`), and a file system that keeps the word
//! of `fdatasync(2)`, `rename(2)` and `link(2)`.

mod append;
mod cursor;
mod lines;
mod reader;
mod record;
mod recover;
mod rewrite;
mod scan;
mod seek;
mod segment;
mod verify;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use cursor::{Cursor, NotACursor};
pub use reader::{Entry, Missed, Reader, Record};
pub use recover::Recovery;
pub use verify::{Damage, Repaired, Report, TailFound};

use crate::document::{Durability, Reached};
use crate::error::{Error, Result};
use crate::host::{Host, Native};
use crate::lock::{self, Contention, Lock};
use crate::target;
use crate::wait::Patience;

/// How a journal's records stand in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Numbered and with checksums; see docs/formats.md in the repository.
    #[default]
    Checked,
    /// Payloads alone, a line each, for a file that other programs read and write.
    ///
    /// A record must not contain a line end. A torn last line is found, by its missing end; nothing else is: no damage, no
    /// batch of which a crash left a part, no line that another program wrote without the lock.
    Plain {
        /// How the first line begins if it is a header; what stands behind it is the stamp. `None`: there is no header.
        header: Option<String>,
    },
}

/// What an append, a stamp, a reset or a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The sequences of the first and the last record that were written, the stamp included; `None` in the plain format,
    /// whose records have none, and if there were none.
    pub sequences: Option<(u64, u64)>,
    /// Behind the last of them.
    pub cursor: Cursor,
    /// What they survive. [`Reached::Unknown`] if syncing failed: they stand in the journal and are read, and may be gone
    /// after a power loss.
    pub durability: Reached,
    /// The tail of a crashed writer that was found and moved away.
    pub recovery: Option<Recovery>,
}

/// The longest payload unless [`Journal::record_max`] says otherwise, in bytes.
pub const RECORD_MAX_DEFAULT: usize = 1024 * 1024;

/// A journal and how to treat it. Cheap to make; nothing is opened before the first call. Clones share what is known of the
/// file's end, which makes their appends faster.
///
/// A relative path is resolved at each call, against the working directory of that moment. A path that is a symbolic link
/// means the file it leads to.
#[derive(Clone)]
pub struct Journal<H: Host = Native> {
    host: H,
    path: PathBuf,
    format: Format,
    durability: Durability,
    record_max: usize,
    rotate_at: Option<u64>,
    keep_segments: Option<usize>,
    mode: Option<u32>,
    lockfile: bool,
    report: Option<lock::Report>,
    shared: Arc<Mutex<writer::Shared<H>>>,
}

impl Journal {
    /// The journal at `path`, which need not exist; its directory must.
    pub fn open(path: impl Into<PathBuf>) -> Journal {
        Journal::open_on(Native, path)
    }
}

impl<H: Host> Journal<H> {
    /// [`Journal::open`] on another host.
    pub fn open_on(host: H, path: impl Into<PathBuf>) -> Journal<H> {
        Journal {
            host,
            path: path.into(),
            format: Format::Checked,
            durability: Durability::Power,
            record_max: RECORD_MAX_DEFAULT,
            rotate_at: None,
            keep_segments: None,
            mode: None,
            lockfile: false,
            report: None,
            shared: Arc::default(),
        }
    }

    /// Sets the format (default: [`Format::Checked`]). Everyone who uses the journal chooses the same.
    #[must_use]
    pub fn format(mut self, format: Format) -> Journal<H> {
        self.format = format;
        self
    }

    /// Sets what an acknowledged record must survive (default: [`Durability::Power`]).
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Journal<H> {
        self.durability = durability;
        self
    }

    /// Sets the longest payload, in bytes, that is appended (default: 1 MiB; at most 16 MiB, which is also the longest that
    /// is read).
    #[must_use]
    pub fn record_max(mut self, bytes: usize) -> Journal<H> {
        self.record_max = bytes.min(segment::PAYLOAD_MAX);
        self
    }

    /// Begins a new file before an append when the present one has this many bytes or more (default: never).
    #[must_use]
    pub fn rotate_at(mut self, bytes: u64) -> Journal<H> {
        self.rotate_at = Some(bytes);
        self
    }

    /// Sets how many files that were rotated away are kept (default: all); the oldest are removed when another is.
    #[must_use]
    pub fn keep_segments(mut self, count: usize) -> Journal<H> {
        self.keep_segments = Some(count);
        self
    }

    /// Sets the exact permission bits of a journal that has to be created (default: `0o666` less the umask).
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Journal<H> {
        self.mode = Some(mode);
        self
    }

    /// Guards the journal by a lock of the lockfile kind ([`Lock::lockfile`]), for file systems that several machines share.
    /// Everyone who writes the journal chooses the same.
    #[must_use]
    pub fn lockfile(mut self) -> Journal<H> {
        self.lockfile = true;
        self
    }

    /// As [`Lock::on_wait`], for the waits of this journal.
    #[must_use]
    pub fn on_wait(
        mut self,
        after: Duration,
        tell: impl Fn(&Contention) + Send + Sync + 'static,
    ) -> Journal<H> {
        self.report = Some(lock::Report { after, tell: Arc::new(tell) });
        self
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends records as one batch: they stand one after the other, with nothing between, and in the checked format they
    /// are there all or none, whatever dies.
    ///
    /// Appends that wait in one process are written and synced together. The lock is held while they are written, not while
    /// they are synced, so that the syncs of several processes join in the kernel, too. The time that `wait` gives ends when
    /// the batch is picked up.
    ///
    /// # Errors
    ///
    /// All of [`Lock::acquire`]; [`Error::is_rejected`] for no record at all, one that is too long, or, in the plain format,
    /// one with a line end; [`Error::is_corrupt`] if the journal is damaged or no journal; [`Error::is_io`] if the disk is
    /// full or fails. After any of these nothing was appended. A sync that fails is told by the receipt.
    pub fn append<R: AsRef<[u8]>>(
        &self,
        wait: impl Into<Patience>,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Receipt> {
        append::append(self, &wait.into(), owned(records), None)
    }

    /// [`Journal::append`] with a stamp behind the records, in one step: a record that says something of all before it (a
    /// revision that was reached, say). In the plain format the stamp stands in the header, and the file is replaced by one
    /// with the new header and the records.
    ///
    /// # Errors
    ///
    /// As for [`Journal::append`]; no record at all is no error.
    pub fn append_and_stamp<R: AsRef<[u8]>>(
        &self,
        wait: impl Into<Patience>,
        records: impl IntoIterator<Item = R>,
        stamp: impl AsRef<[u8]>,
    ) -> Result<Receipt> {
        append::append(self, &wait.into(), owned(records), Some(stamp.as_ref().to_vec()))
    }

    /// Takes away every record up to `through`, or all there are, and leaves a stamp, in one step. What was appended after
    /// `through` stays, before the stamp, and so does a batch in the middle of which `through` stands, whole: so a reader that has worked a journal off empties it and loses nothing that came
    /// meanwhile.
    ///
    /// Sequences go on; whoever has not read what is taken away is told so ([`Missed`]).
    ///
    /// # Errors
    ///
    /// As for [`Journal::append`]; [`Error::is_conflict`] if `through` is not a place in this journal any more.
    pub fn reset(
        &self,
        wait: impl Into<Patience>,
        stamp: impl AsRef<[u8]>,
        through: Option<&Cursor>,
    ) -> Result<Receipt> {
        rewrite::reset(self, &wait.into(), stamp.as_ref(), through)
    }

    /// Begins a new file. The present one becomes `<file>.NNNNNN`, with a number one higher than any before it, and is synced
    /// first; appends that wait meanwhile go to the new one. An empty journal is left as it is.
    ///
    /// # Errors
    ///
    /// As for [`Journal::append`].
    pub fn rotate(&self, wait: impl Into<Patience>) -> Result<Receipt> {
        rewrite::rotate(self, &wait.into())
    }

    /// The records behind `cursor`, or from the oldest that is there. Reads nothing yet, and takes no lock.
    ///
    /// # Errors
    ///
    /// [`Error::is_conflict`] if the cursor is of another journal, [`Error::is_corrupt`] if the file is no journal,
    /// [`Error::is_permission`], [`Error::is_io`].
    pub fn read_from(&self, cursor: Option<&Cursor>) -> Result<Reader<H>> {
        Reader::begin(self, cursor)
    }

    /// The last `count` records, or fewer where sequences are missing among them, and what comes then. Finds them without
    /// reading what stands before, in the checked format; in the plain one the whole journal is read.
    ///
    /// # Errors
    ///
    /// As for [`Journal::read_from`].
    pub fn read_last(&self, count: u64) -> Result<Reader<H>> {
        Reader::last(self, count)
    }

    /// The latest stamp, `None` if there is none.
    ///
    /// # Errors
    ///
    /// As for [`Reader::next`].
    pub fn stamp(&self) -> Result<Option<Vec<u8>>> {
        reader::stamp(self)
    }

    /// Reads the whole journal and says what is there. `progress` is told how many bytes were read, of how many.
    ///
    /// # Errors
    ///
    /// [`Error::is_missing`], [`Error::is_permission`], [`Error::is_io`]; damage is no error here.
    pub fn verify(&self, progress: impl FnMut(u64, u64)) -> Result<Report> {
        verify::verify(self, progress)
    }

    /// Takes the damage out of a journal: each damaged file is kept as `<file>.damaged-HHHHHHHHHHHHHHHH`, and replaced by
    /// one with every whole batch that is left, byte for byte. Sequences that are gone are not given again.
    ///
    /// # Errors
    ///
    /// As for [`Journal::append`]; [`Error::is_unsupported`] for the plain format, which can't tell damage.
    pub fn repair(&self, wait: impl Into<Patience>) -> Result<Repaired> {
        verify::repair(self, &wait.into())
    }

    fn shared(&self) -> MutexGuard<'_, writer::Shared<H>> {
        // Each use is one assignment, which a panic can't leave half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target(&self) -> Result<PathBuf> {
        target::resolve(&self.host, &self.path, "journal")
    }

    /// The lock beside the journal.
    fn sidecar(&self, target: &Path) -> Lock<H> {
        let path = target::lock_path(target);
        let lock = match self.lockfile {
            true => Lock::lockfile_on(self.host.clone(), path),
            false => Lock::flock_on(self.host.clone(), path),
        };
        lock.reporting(self.report.clone())
    }

    /// The lock beside the journal, to be created open to whoever may use it.
    fn lock(&self, target: &Path) -> Result<Lock<H>> {
        // Who has written to it may, and has left a lock file there.
        if self.shared().is_known(target) {
            return Ok(self.sidecar(target));
        }
        target::open_to_its_users(&self.host, target, self.sidecar(target), self.mode)
    }
}

fn owned<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Vec<Vec<u8>> {
    records.into_iter().map(|record| record.as_ref().to_vec()).collect()
}

/// Somebody broke the rules each time: deleted the lock file, or wrote without it.
fn disturbed(path: &Path) -> Error {
    let problem = "its lock file was deleted each time it was about to be written. Nothing was written";
    Error::conflict(path, problem)
}

impl<H: Host> fmt::Debug for Journal<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.path)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
