//! Which file a path means, and the lock file beside it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::{Errno, FileKind, Host, Open, Site, directory_of};
use crate::lock::{Creation, Lock};

/// As many symbolic links as Linux follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The file that the path means, which is to be a `noun`: symbolic links in the last component are followed, also to a file
/// that does not exist yet.
pub(crate) fn resolve<H: Host>(host: &H, path: &Path, noun: &str) -> Result<PathBuf> {
    let refused = |what| Error::unsupported(path, format!("{what}, so it can't be a {noun}"));
    let text = path.as_os_str().as_encoded_bytes();
    if path.file_name().is_none() || text.ends_with(b"/") || text.ends_with(b"/.") {
        return Err(refused("names a directory"));
    }
    let mut target = path.to_owned();
    for _ in 0..LINKS_MAX {
        match host.stat(&target) {
            Ok(stat) if stat.kind == FileKind::Symlink => {
                let fail = |errno| Error::host("follow the symbolic link", &target, errno);
                let next = host.read_link(&target).map_err(fail)?;
                target = target.parent().unwrap_or(Path::new("")).join(next);
            }
            Ok(stat) if stat.kind == FileKind::Directory => return Err(refused("is a directory")),
            Ok(stat) if stat.kind == FileKind::Other => return Err(refused("is not a regular file")),
            Ok(_) | Err(Errno::NOENT) => return Ok(target),
            Err(errno) => return Err(Error::host("look at the file", &target, errno)),
        }
    }
    Err(Error::link_loop(path))
}

/// The file as all threads know it.
pub(crate) fn site<H: Host>(host: &H, target: &Path) -> Result<Site> {
    let directory = host.stat(&directory_of(target));
    let directory =
        directory.map_err(|errno| Error::host("look at the directory of the file", target, errno))?.id;
    Ok(Site { directory, name: target.file_name().unwrap_or_default().to_owned() })
}

/// The file beside `target` whose name is its own and this suffix. A path without a name, `/` say, has been refused as no file.
pub(crate) fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

/// The name of the lock file beside it.
pub(crate) fn lock_path(target: &Path) -> PathBuf {
    beside(target, ".lock")
}

/// `lock`, to be created open to whoever may use the file; `mode` is that of a file that is yet to come.
pub(crate) fn open_to_its_users<H: Host>(
    host: &H,
    target: &Path,
    lock: Lock<H>,
    mode: Option<u32>,
) -> Result<Lock<H>> {
    match host.stat(target) {
        Ok(stat) => {
            // Whoever may not read the file must not leave a lock file of his own beside it.
            let readable = host.open(target, Open::Read);
            readable.map_err(|errno| Error::host("read the file", target, errno))?;
            let (mode, uid, gid) = (stat.mode & 0o666, stat.uid, stat.gid);
            Ok(lock.created_as(Creation::Like { mode, uid, gid }))
        }
        Err(Errno::NOENT) => Ok(match mode {
            Some(mode) => lock.mode(mode & 0o666),
            None => lock,
        }),
        Err(errno) => Err(Error::host("look at the file", target, errno)),
    }
}
