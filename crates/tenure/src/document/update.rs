//! The locked step: lock, read, change, replace, release, acknowledge.
//!
//! 1. Follow symbolic links to the real file. 2. Take `<file>.lock` beside it (flock kind), which is stable,
//!    while the document is a new file after each change. Needed for correctness: reading, changing and
//!    writing must not be interleaved with another's.
//! 3. Sweep the temporaries of writers that died. 4. Read and parse. 5. Run the updater; exactly one result.
//! 6. If it is what the file holds already, make sure that is durable and acknowledge.
//! 7. Otherwise replace the file as [`super::replace`] says; start again if that finds the lock file or the
//!    document changed by somebody who does not keep the rules.
//!
//! A fencing token is judged between 4 and 5, and remembered within 6 or 7, before the rename ([`super::fence`]).
//!
//! Steps 2 to 7 are in [`super::combine`], since the updates that wait in one process go through them together.

use std::path::{Path, PathBuf};

use super::replace::Found;
use super::{Document, Receipt, Version, combine};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::target;
use crate::wait::Patience;

/// How often a step starts again because somebody broke the rules, before it gives up and says so.
pub(super) const ROUNDS_MAX: usize = 16;

/// Makes the new content of the old, or `None` if nothing is to be changed.
pub(super) type Change<'a> = &'a mut dyn FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>>;

/// Rounds but for the first are for paths that come to mean another file while their updates wait.
pub(super) fn step<H: Host>(
    document: &Document<H>,
    patience: &Patience,
    change: Change<'_>,
) -> Result<Receipt> {
    for _ in 0..ROUNDS_MAX {
        let target = resolve(&document.host, &document.path)?;
        if let Some(receipt) = combine::take_part(document, &target, patience, change)? {
            return Ok(receipt);
        }
    }
    Err(replaced_each_time(document))
}

pub(super) fn replaced_each_time<H: Host>(document: &Document<H>) -> Error {
    let problem = "was replaced, or its lock file deleted, each time it was about to be changed: \
                   some program changes it without taking its lock. Nothing was written";
    Error::conflict(&document.path, problem)
}

/// What an updater's forked child hears.
pub(super) fn forked(path: &Path) -> Error {
    let problem = "the updater forked, and this is the child: the lock is its parent's. Nothing was written";
    Error::conflict(path, problem)
}

/// The file that a document's path means.
pub(super) fn resolve<H: Host>(host: &H, path: &Path) -> Result<PathBuf> {
    target::resolve(host, path, "document")
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
