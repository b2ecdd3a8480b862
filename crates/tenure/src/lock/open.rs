//! How a lock file is opened, and created with the right owner and mode.

use std::path::Path;

use super::Creation;
use crate::error::{Error, Result};
use crate::host::{self, Errno, FileId, Host, Open, directory_of};

/// How often an open starts again because the file was created or deleted between two looks at it.
const ROUNDS_MAX: usize = 100;

pub(super) struct Opened<F> {
    pub(super) file: F,
    pub(super) created: bool,
}

/// Opens the lock file, or creates it. It is never opened by `O_CREAT` if it exists, which the system forbids for
/// other people's files in shared directories (`fs.protected_regular`).
pub(super) fn open<H: Host>(host: &H, path: &Path, creation: Creation) -> Result<Opened<H::File>> {
    for _ in 0..ROUNDS_MAX {
        match host.open(path, Open::Read) {
            Err(Errno::NOENT) if matches!(creation, Creation::Never) => return Err(Error::missing(path)),
            Err(Errno::NOENT) => {}
            opened => {
                let file = opened.map_err(|errno| Error::host("open the lock file", path, errno))?;
                return Ok(Opened { file, created: false });
            }
        }
        match create(host, path, creation) {
            Err(Errno::EXIST) => {}
            created => {
                let file = created.map_err(|errno| Error::host("create the lock file", path, errno))?;
                return Ok(Opened { file, created: true });
            }
        }
    }
    Err(Error::conflict(path, "is deleted as fast as it is created: some program removes the lock file"))
}

pub(super) fn open_writable<H: Host>(host: &H, path: &Path) -> Result<H::File> {
    let opened = host.open(path, Open::ReadWrite);
    opened.map_err(|errno| Error::host("open the lock file for writing, as NFS demands", path, errno))
}

/// Whether the path still names the file. Needed for correctness: a lock on a replaced file excludes nobody.
pub(super) fn is_current<H: Host>(host: &H, path: &Path, file: FileId) -> Result<bool> {
    match host.stat(path) {
        Ok(stat) => Ok(stat.id == file),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::host("look at the lock file", path, errno)),
    }
}

/// Creates the lock file with owner and mode before it has its name: whoever died between a name and its mode
/// would lock out those who may use the lock.
fn create<H: Host>(host: &H, path: &Path, creation: Creation) -> host::Result<H::File> {
    if let Creation::Filtered(mode) = creation {
        return host.open(path, Open::New { mode });
    }
    let unnamed = || {
        let file = host.open(&directory_of(path), Open::Unnamed)?;
        creation.apply(host, &file)?;
        host.publish(&file, path)?;
        Ok(file)
    };
    match unnamed() {
        // No unnamed files on this file system, or no /proc to name them by. The gap remains; chmod closes it.
        Err(Errno::NOTSUP | Errno::ISDIR | Errno::NOENT) => {
            let file = host.open(path, Open::New { mode: creation.initial() })?;
            creation.apply(host, &file)?;
            Ok(file)
        }
        created => created,
    }
}

impl Creation {
    /// The mode with which a file is created before [`Creation::apply`] sets the right one.
    pub(super) fn initial(self) -> u32 {
        match self {
            Creation::Filtered(mode) => mode,
            Creation::Exact(_) | Creation::Like { .. } | Creation::Never => 0o600,
        }
    }

    pub(super) fn apply<H: Host>(self, host: &H, file: &H::File) -> host::Result<()> {
        match self {
            Creation::Filtered(_) | Creation::Never => Ok(()),
            Creation::Exact(mode) => dress(host, file, mode, None),
            Creation::Like { mode, uid, gid } => dress(host, file, mode, Some((uid, gid))),
        }
    }
}

fn dress<H: Host>(host: &H, file: &H::File, mode: u32, owner: Option<(u32, u32)>) -> host::Result<()> {
    // The mode first: once the file is another's, changing it may be beyond our rights.
    host.set_mode(file, mode)?;
    let Some((uid, gid)) = owner else { return Ok(()) };
    let ours = host.stat_file(file)?;
    if (ours.uid, ours.gid) == (uid, gid) || host.set_owner(file, uid, gid).is_ok() {
        return Ok(());
    }
    // Only the superuser gives files away. The lock must not shut out the document's owner and users, and to
    // lock a file it takes no more than the right to read it; there is nothing in it to be read.
    let _next_best = host.set_owner(file, ours.uid, gid);
    host.set_mode(file, mode | 0o444)
}
