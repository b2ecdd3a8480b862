//! The crash-safe write: after it, and after any crash in it, the file is the old one or the new one, whole.
//!
//! The caller holds the document's lock.
//!
//! 1. Open the directory, so that a lack of descriptors shows before anything is written.
//! 2. Create a temporary file in the same directory: `O_EXCL`, mode 0600, a random name that no other process
//!    has. Loop the write; `fstat` must show the full length.
//! 3. Give it the old file's owner, extended attributes and mode, in this order: `chown` clears mode bits.
//! 4. `fsync` it (`Power`). If that fails, the file is discarded: a second fsync may report what is not so.
//! 5. The lock file and the document must be the ones that step 0 saw. If somebody deleted the lock file,
//!    another process may hold a new one; if a program that does not lock wrote the document, its change
//!    would be lost. The caller starts again.
//! 6. `rename`. From here on the change is visible. 7. The caller releases the lock. 8. `fsync` the directory
//!    (`Power`): the name survives. If that fails, the change is visible and its durability unknown.
//!
//! A crash before 6 leaves the temporary file. Whoever holds the lock next knows that it is an orphan, by its
//! exact name pattern, and removes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Durability, Reached};
use crate::error::{Error, Result};
use crate::host::{Errno, Host, Open, Stat, directory_of};
use crate::scratch;

/// A document's file as it was found under the lock.
pub(super) struct Found<F> {
    /// Shared, since other threads may be handed it.
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) stat: Stat,
    file: F,
}

impl<F> Found<F> {
    /// The open file.
    pub(super) fn file(&self) -> &F {
        &self.file
    }
}

/// Where the document really is.
pub(super) struct Place<'a, H: Host> {
    pub(super) host: &'a H,
    pub(super) path: &'a Path,
    pub(super) durability: Durability,
}

/// A written file that nobody sees yet, removed unless it is renamed.
pub(super) struct Prepared<H: Host> {
    host: H,
    temporary: PathBuf,
    /// As it was when all was written.
    stat: Option<Stat>,
    /// To sync the new name by; for `Power` alone.
    directory: Option<H::File>,
    renamed: bool,
}

impl<H: Host> Drop for Prepared<H> {
    fn drop(&mut self) {
        if !self.renamed {
            // If this fails, the next holder of the lock sweeps.
            let _swept_later = self.host.unlink(&self.temporary);
        }
    }
}

impl<H: Host> Prepared<H> {
    /// Where it is written, until it is renamed.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Whether `stat` is of this very file: a number alone may be another's once the file is gone.
    fn is(&self, stat: &Stat) -> bool {
        let identity = |stat: &Stat| (stat.id, stat.size, stat.modified_ns);
        self.stat.as_ref().map(identity) == Some(identity(stat))
    }
}

impl<'a, H: Host> Place<'a, H> {
    /// Another file, treated likewise.
    pub(super) fn at<'b>(&self, path: &'b Path) -> Place<'b, H>
    where
        'a: 'b,
    {
        Place { host: self.host, path, durability: self.durability }
    }

    /// The document's content, `None` if it does not exist.
    pub(super) fn read(&self) -> Result<Option<Found<H::File>>> {
        let fail = |errno| Error::host("read the file", self.path, errno);
        let file = match self.host.open(self.path, Open::Read) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(fail)?,
        };
        let stat = self.host.stat_file(&file).map_err(fail)?;
        if stat.kind != crate::host::FileKind::Regular {
            return Err(Error::unsupported(self.path, "is not a regular file, so it can't be a document"));
        }
        let bytes = Arc::new(self.read_all(&file, stat.size).map_err(fail)?);
        Ok(Some(Found { bytes, stat, file }))
    }

    fn read_all(&self, file: &H::File, size: u64) -> std::result::Result<Vec<u8>, Errno> {
        // One byte more than the size, so that the end shows without growing the buffer.
        let capacity = usize::try_from(size).map_err(|_| Errno::NOMEM)?.saturating_add(1);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| Errno::NOMEM)?;
        bytes.resize(capacity, 0);
        let mut length = 0;
        loop {
            if length == bytes.len() {
                bytes.resize(length * 2, 0);
            }
            match self.host.read(file, &mut bytes[length..])? {
                0 => break,
                read => length += read,
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Steps 1 to 4.
    pub(super) fn prepare(
        &self,
        bytes: &[u8],
        old: Option<&Found<H::File>>,
        new_mode: Option<u32>,
    ) -> Result<Prepared<H>> {
        let fail = |errno| Error::host("write the new content beside the file", self.path, errno);
        let directory = match self.durability {
            Durability::Power => Some(self.open_directory()?),
            Durability::Process => None,
        };
        let temporary = scratch::name(self.host, self.path);
        // A new document gets the mode that its creator's umask gives, unless one was asked for.
        let mode = if old.is_none() && new_mode.is_none() { 0o666 } else { 0o600 };
        let file = self.host.open(&temporary, Open::New { mode }).map_err(fail)?;
        let host = self.host.clone();
        let mut prepared = Prepared { host, temporary, stat: None, directory, renamed: false };
        scratch::write_all(self.host, &file, bytes).map_err(fail)?;
        let stat = self.host.stat_file(&file).map_err(fail)?;
        let size = stat.size;
        prepared.stat = Some(stat);
        if size != bytes.len() as u64 {
            let problem = format!("wrote {} bytes, but the new file has {size}", bytes.len());
            return Err(Error::io(self.path, problem, Errno::IO));
        }
        match (old, new_mode) {
            (Some(old), _) => scratch::dress(self.host, self.path, &file, (&old.file, &old.stat))?,
            (None, Some(mode)) => self.host.set_mode(&file, mode).map_err(fail)?,
            (None, None) => {}
        }
        if self.durability == Durability::Power {
            self.host
                .fsync(&file)
                .map_err(|errno| Error::host("sync the new content to disk", self.path, errno))?;
        }
        Ok(prepared)
    }

    fn open_directory(&self) -> Result<H::File> {
        self.host
            .open(&directory_of(self.path), Open::Read)
            .map_err(|errno| Error::host("open the directory of the file", self.path, errno))
    }

    /// Whether the document is still the one that was read, its mode and owner included: the part of step 5 that
    /// concerns it.
    pub(super) fn is_unchanged(&self, found: Option<&Found<H::File>>) -> Result<bool> {
        match (self.host.stat(self.path), found) {
            (Ok(now), Some(found)) => Ok(now == found.stat),
            (Err(Errno::NOENT), found) => Ok(found.is_none()),
            (Ok(_), None) => Ok(false),
            (Err(errno), _) => Err(Error::host("look at the file", self.path, errno)),
        }
    }

    /// Step 6; `false` if the temporary file is gone: somebody deleted the lock file after step 5, and the holder
    /// of the new one swept.
    pub(super) fn commit(&self, prepared: &mut Prepared<H>) -> Result<bool> {
        match self.host.rename(&prepared.temporary, self.path) {
            Ok(()) => {}
            // Whatever the error says: it may have been done, and only the reply of an NFS server been lost.
            Err(_) if self.host.stat(self.path).is_ok_and(|stat| prepared.is(&stat)) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => {
                return Err(Error::host("put the new content in place of the file", self.path, errno));
            }
        }
        prepared.renamed = true;
        Ok(true)
    }

    /// Step 8.
    pub(super) fn settle(&self, prepared: &Prepared<H>) -> Reached {
        match prepared.directory.as_ref().map(|directory| self.host.fsync(directory)) {
            None => Reached::Process,
            Some(Ok(())) => Reached::Power,
            Some(Err(_)) => Reached::Unknown,
        }
    }

    /// Makes what was read as durable as was asked for: it may be the visible half of another's update, or a
    /// crashed one's, and whoever is told "nothing to change" relies on it.
    pub(super) fn settle_unchanged(&self, found: Option<&Found<H::File>>) -> Result<Reached> {
        if self.durability == Durability::Process {
            return Ok(Reached::Process);
        }
        let fail = |errno| Error::host("sync the file to disk", self.path, errno);
        if let Some(found) = found {
            self.host.fsync(&found.file).map_err(fail)?;
        }
        let directory = self.open_directory()?;
        self.host.fsync(&directory).map_err(fail)?;
        Ok(Reached::Power)
    }
}
