//! How a lock file is opened, and created with the right owner and mode.

use super::{Creation, Lock};
use crate::error::{Error, Result};
use crate::host::{self, Errno, FileId, Host, Open, directory_of};

/// How often an open starts again because the file was created or deleted between two looks at it.
const ROUNDS_MAX: usize = 100;

/// Opens the lock file, or creates it. It is never opened by `O_CREAT` if it exists, which the system forbids for
/// other people's files in shared directories (`fs.protected_regular`).
pub(super) fn open<H: Host>(lock: &Lock<H>) -> Result<H::File> {
    for _ in 0..ROUNDS_MAX {
        match lock.host.open(&lock.path, Open::Read) {
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(|errno| Error::host("open the lock file", &lock.path, errno)),
        }
        match create(lock) {
            Err(Errno::EXIST) => {}
            created => {
                return created.map_err(|errno| Error::host("create the lock file", &lock.path, errno));
            }
        }
    }
    Err(Error::conflict(
        &lock.path,
        "is deleted as fast as it is created: some program removes the lock file",
    ))
}

pub(super) fn open_writable<H: Host>(lock: &Lock<H>) -> Result<H::File> {
    let opened = lock.host.open(&lock.path, Open::ReadWrite);
    opened.map_err(|errno| Error::host("open the lock file for writing, as NFS demands", &lock.path, errno))
}

/// Whether the path still names the file. Needed for correctness: a lock on a replaced file excludes nobody.
pub(super) fn is_current<H: Host>(lock: &Lock<H>, file: FileId) -> Result<bool> {
    match lock.host.stat(&lock.path) {
        Ok(stat) => Ok(stat.id == file),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::host("look at the lock file", &lock.path, errno)),
    }
}

fn create<H: Host>(lock: &Lock<H>) -> host::Result<H::File> {
    match lock.creation {
        Creation::Filtered(mode) => lock.host.open(&lock.path, Open::New { mode }),
        Creation::Exact(mode) => create_as(lock, mode, None),
        Creation::Like { mode, uid, gid } => create_as(lock, mode, Some((uid, gid))),
    }
}

/// Creates the lock file with owner and mode before it has its name: whoever died between a name and its mode
/// would lock out those who may use the lock.
fn create_as<H: Host>(lock: &Lock<H>, mode: u32, owner: Option<(u32, u32)>) -> host::Result<H::File> {
    let unnamed = || {
        let file = lock.host.open(&directory_of(&lock.path), Open::Unnamed)?;
        dress(&lock.host, &file, mode, owner)?;
        lock.host.publish(&file, &lock.path)?;
        Ok(file)
    };
    match unnamed() {
        // No unnamed files on this file system, or no /proc to name them by. The gap remains; chmod closes it.
        Err(Errno::NOTSUP | Errno::ISDIR | Errno::NOENT) => {
            let file = lock.host.open(&lock.path, Open::New { mode: 0o600 })?;
            dress(&lock.host, &file, mode, owner)?;
            Ok(file)
        }
        created => created,
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
