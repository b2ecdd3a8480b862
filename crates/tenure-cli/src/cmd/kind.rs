//! Which kind of lock a path is, for those who were not told: `status` and `break`.
//!
//! 1. A path that does not exist, with PATH.guard beside it: a free lock of the lockfile kind. Without: nothing.
//! 2. A regular file that nobody holds by flock(2), and that has PATH.guard beside it or is the record of an owner: a held
//!    lock of the lockfile kind. Its takers, who made the guard, wait for it whatever it contains.
//! 3. Everything else: a lock of the flock kind, whose content means nothing.
//!
//! The guard alone decides nothing while somebody holds the file itself by flock(2): then that is the holder to name.

use std::path::Path;

use tenure::{Error, Holders, Lock};

/// A lock as it was found.
pub(super) enum Found {
    /// Nothing is there, nor was there a lock of the lockfile kind.
    Missing,
    Flock(Holders),
    /// Nobody holds it if the list is empty.
    Lockfile(Holders),
}

pub(super) fn find(path: &Path) -> Result<Found, Error> {
    let guarded = exists(&guard(path));
    if !exists(path) {
        return Ok(if guarded { Found::Lockfile(Holders::default()) } else { Found::Missing });
    }
    let by_flock = Lock::flock(path).holder()?;
    if !by_flock.list.is_empty() || !is_regular(path) {
        return Ok(Found::Flock(by_flock));
    }
    match Lock::lockfile(path).holder() {
        Ok(owner) if guarded || owner.list.iter().any(|owner| owner.host.is_some()) => {
            Ok(Found::Lockfile(owner))
        }
        // Whoever locks a file need not be able to read it.
        Err(error) if guarded => Err(error),
        Ok(_) | Err(_) => Ok(Found::Flock(by_flock)),
    }
}

fn guard(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".guard");
    name.into()
}

#[expect(clippy::disallowed_methods, reason = "a look for the reader's benefit; no decision rests on it")]
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[expect(clippy::disallowed_methods, reason = "the library looks again before it acts")]
fn is_regular(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}
