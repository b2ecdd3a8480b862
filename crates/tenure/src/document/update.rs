//! The locked step: lock, read, change, replace, release, acknowledge.
//!
//! 1. Follow symbolic links to the real file. 2. Take `<file>.lock` beside it (flock kind), which is stable,
//!    while the document is a new file after each change. Needed for correctness: reading, changing and
//!    writing must not be interleaved with another's.
//! 3. Sweep the temporaries of writers that died. 4. Read and parse. 5. Run the updater; exactly one result.
//! 6. If it is what the file holds already, make sure that is durable and acknowledge.
//! 7. Otherwise replace the file as [`super::replace`] says; start again if that finds the lock file or the
//!    document changed by somebody who does not keep the rules.

use std::path::{Path, PathBuf};

use super::replace::{Found, Place};
use super::{Document, Reached, Receipt, Version, versions};
use crate::error::{Error, Result};
use crate::host::{Errno, FileKind, Host, Open};
use crate::lock::{Creation, Held, Lock};
use crate::wait::Patience;

/// As many symbolic links as Linux follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// How often a step starts again because somebody broke the rules, before it gives up and says so.
pub(super) const ROUNDS_MAX: usize = 16;

/// Makes the new content of the old, or `None` if nothing is to be changed.
type Change<'a> = &'a mut dyn FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>>;

pub(super) fn step<H: Host>(
    document: &Document<H>,
    patience: &Patience,
    change: Change<'_>,
) -> Result<Receipt> {
    for _ in 0..ROUNDS_MAX {
        let target = resolve(&document.host, &document.path)?;
        let held = lock(document, &target)?.acquire(patience.clone())?;
        // A symbolic link may have been given another target while we waited.
        if resolve(&document.host, &document.path)? != target {
            continue;
        }
        if let Some(receipt) = locked(document, &target, held, change)? {
            return Ok(receipt);
        }
    }
    Err(disturbed(&document.path))
}

/// Why a step gave up.
pub(super) fn disturbed(path: &Path) -> Error {
    let problem = "was replaced, or its lock file deleted, each time it was about to be changed: \
                   some program changes it without taking its lock. Nothing was written";
    Error::conflict(path, problem)
}

/// Steps 3 to 7; `None` asks for another round.
fn locked<H: Host>(
    document: &Document<H>,
    target: &Path,
    held: Held<H>,
    change: Change<'_>,
) -> Result<Option<Receipt>> {
    let place = Place { host: &document.host, path: target, durability: document.durability };
    crate::scratch::sweep(&document.host, target);
    let found = place.read()?;
    refuse_hard_links(target, found.as_ref())?;
    let old = found.as_ref().map(|found| found.bytes.as_slice());
    expect_version(document, old)?;
    let new = change(old)?.filter(|new| Some(new.as_slice()) != old);
    let Some(new) = new else {
        drop(held);
        let durability = place.settle_unchanged(found.as_ref())?;
        return Ok(Some(Receipt { changed: false, version: Version::of(old), durability }));
    };
    if !held.is_mine() {
        return Err(forked(target));
    }
    let mut prepared = place.prepare(&new, found.as_ref(), document.mode)?;
    if let (Some(count), Some(found)) = (document.versions_kept, &found) {
        versions::keep(&place, found, count)?;
    }
    if !held.is_current()? || !place.is_unchanged(found.as_ref())? || !place.commit(&mut prepared)? {
        return Ok(None);
    }
    // Released before the directory is synced, so that the next one works meanwhile. The change stands
    // whatever the release says, and the kernel releases a descriptor that is closed.
    drop(held);
    let durability: Reached = place.settle(&prepared);
    Ok(Some(Receipt { changed: true, version: Version::of(Some(&new)), durability }))
}

/// What an updater's forked child hears.
pub(super) fn forked(target: &Path) -> Error {
    let problem = "the updater forked, and this is the child: the lock is its parent's. Nothing was written";
    Error::conflict(target, problem)
}

/// The sidecar, open to whoever may use the document.
pub(super) fn lock<H: Host>(document: &Document<H>, target: &Path) -> Result<Lock<H>> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let mut lock = Lock::flock_on(document.host.clone(), target.with_file_name(name));
    match document.host.stat(target) {
        Ok(stat) => {
            // Whoever may not read the document must not leave a lock file of his own beside it.
            let readable = document.host.open(target, Open::Read);
            readable.map_err(|errno| Error::host("read the file", target, errno))?;
            let (mode, uid, gid) = (stat.mode & 0o666, stat.uid, stat.gid);
            lock = lock.created_as(Creation::Like { mode, uid, gid });
        }
        Err(Errno::NOENT) => {
            if let Some(mode) = document.mode {
                lock = lock.mode(mode & 0o666);
            }
        }
        Err(errno) => return Err(Error::host("look at the file", target, errno)),
    }
    Ok(lock.reporting(document.report.clone()))
}

/// The file that the path means: symbolic links in the last component are followed, also to a file that does
/// not exist yet.
pub(super) fn resolve<H: Host>(host: &H, path: &Path) -> Result<PathBuf> {
    let text = path.as_os_str().as_encoded_bytes();
    if path.file_name().is_none() || text.ends_with(b"/") || text.ends_with(b"/.") {
        return Err(Error::unsupported(path, "names a directory, so it can't be a document"));
    }
    let mut target = path.to_owned();
    for _ in 0..LINKS_MAX {
        match host.stat(&target) {
            Ok(stat) if stat.kind == FileKind::Symlink => {
                let fail = |errno| Error::host("follow the symbolic link", &target, errno);
                let next = host.read_link(&target).map_err(fail)?;
                target = target.parent().unwrap_or(Path::new("")).join(next);
            }
            Ok(stat) if stat.kind == FileKind::Directory => {
                return Err(Error::unsupported(path, "is a directory, so it can't be a document"));
            }
            Ok(stat) if stat.kind == FileKind::Other => {
                return Err(Error::unsupported(path, "is not a regular file, so it can't be a document"));
            }
            Ok(_) | Err(Errno::NOENT) => return Ok(target),
            Err(errno) => return Err(Error::host("look at the file", &target, errno)),
        }
    }
    Err(Error::host("follow the symbolic link", path, Errno::LOOP))
}

pub(super) fn refuse_hard_links<F>(target: &Path, found: Option<&Found<F>>) -> Result<()> {
    match found {
        Some(found) if found.stat.links > 1 => {
            let problem = format!(
                "has {} names (hard links): replacing it would split them, and each name has a lock of its own. \
                 Make the other names symbolic links",
                found.stat.links
            );
            Err(Error::unsupported(target, problem))
        }
        _ => Ok(()),
    }
}

pub(super) fn expect_version<H: Host>(document: &Document<H>, bytes: Option<&[u8]>) -> Result<()> {
    let version = Version::of(bytes);
    match document.expected {
        Some(expected) if expected != version => {
            let problem =
                format!("is version {version} by now, not {expected}. Read it again and decide anew");
            Err(Error::conflict(&document.path, problem))
        }
        _ => Ok(()),
    }
}
