//! Earlier versions of a document, kept beside it.
//!
//! Before a new version is put in place of `<file>`, the old one is written to `<file>.~N~`, N one more than the largest
//! that is there, complete and synced like the document itself; then the oldest beyond the number asked for are removed.
//! So a crash at any moment leaves every version whole. The names are those of numbered backups of GNU cp.
//!
//! An undo puts the newest of them back. What it replaces is kept in `<file>.~undone~`, so that nothing is lost.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::replace::{Found, Place};
use super::{Document, Reached, Receipt, Version, combine, fence, update};
use crate::error::{Error, Result};
use crate::host::{Errno, Host, directory_of};
use crate::target::beside;
use crate::wait::Patience;

/// Behind the file's name, before the number.
const MARK: &str = ".~";

/// What an undo replaced.
const UNDONE: &str = ".~undone~";

/// The kept versions of a document, the oldest first.
pub(super) fn list<H: Host>(place: &Place<'_, H>) -> Result<Vec<(u64, PathBuf)>> {
    let prefix = beside(place.path, MARK);
    let prefix = prefix.file_name().unwrap_or_default();
    let directory = directory_of(place.path);
    let names = place.host.list(&directory, prefix);
    let names = names.map_err(|errno| Error::host("list the versions beside the file", place.path, errno))?;
    let number = |name: &OsString| {
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes())?.strip_suffix(b"~")?;
        let text = std::str::from_utf8(rest).ok().filter(|text| !text.starts_with(['0', '+']))?;
        text.parse::<u64>().ok()
    };
    let mut versions: Vec<(u64, PathBuf)> =
        names.iter().filter_map(|name| Some((number(name)?, place.path.with_file_name(name)))).collect();
    versions.sort_unstable();
    Ok(versions)
}

/// Keeps the document as it is now, and at most `count` versions.
pub(super) fn keep<H: Host>(place: &Place<'_, H>, now: &Found<H::File>, count: usize) -> Result<()> {
    let mut versions = list(place)?;
    // An update that kept it, and then came to nothing, need not be followed by a second copy.
    let newest = versions.last().map(|(_, path)| place.at(path).read()).transpose()?.flatten();
    if newest.is_none_or(|newest| newest.bytes != now.bytes) {
        let number = versions.last().map_or(1, |(number, _)| number.saturating_add(1));
        let path = beside(place.path, &format!("{MARK}{number}~"));
        put(place, &path, now)?;
        versions.push((number, path));
    }
    let surplus = versions.len().saturating_sub(count.max(1));
    for (_, path) in &versions[..surplus] {
        match place.host.unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::host("remove the oldest version", path, errno)),
        }
    }
    Ok(())
}

/// Keeps what an undo is about to replace.
pub(super) fn keep_undone<H: Host>(place: &Place<'_, H>, now: &Found<H::File>) -> Result<()> {
    put(place, &beside(place.path, UNDONE), now)
}

/// Writes the document's present content, with its mode and owner, under another name.
fn put<H: Host>(place: &Place<'_, H>, path: &Path, now: &Found<H::File>) -> Result<()> {
    let mut prepared = place.prepare(&now.bytes, Some(now), None)?;
    match place.at(path).commit(&mut prepared)? {
        true => Ok(()),
        false => Err(Error::conflict(
            place.path,
            "its lock file was deleted while a version was being kept. Nothing was written",
        )),
    }
}

/// Puts the newest kept version in place of the document.
pub(super) fn undo<H: Host>(document: &Document<H>, patience: &Patience) -> Result<Receipt> {
    for _ in 0..update::ROUNDS_MAX {
        let target = update::resolve(&document.host, &document.path)?;
        let held = combine::lock(document, &target)?.acquire(patience.clone())?;
        let place = Place { host: &document.host, path: &target, durability: document.durability };
        crate::scratch::sweep(&document.host, &target);
        let found = place.read()?;
        update::refuse_hard_links(&target, found.as_ref())?;
        fence::admit(document, &target, None)?;
        update::expect_version(document, found.as_ref().map(|found| found.bytes.as_slice()))?;
        let none = || Error::missing_version(&document.path);
        let (_, path) = list(&place)?.pop().ok_or_else(none)?;
        let newest = place.at(&path).read()?.ok_or_else(none)?;
        if let Some(found) = &found {
            keep_undone(&place, found)?;
        }
        // What is in the page cache only may be the work of a process that died before it synced.
        place.settle_unchanged(Some(&newest))?;
        if !fence::raise(&place, found.as_ref(), document.wishes())?
            || !held.is_current()?
            || !place.is_unchanged(found.as_ref())?
        {
            continue;
        }
        let renamed = place.host.rename(&path, &target);
        renamed.map_err(|errno| Error::host("put the kept version in place of the file", &target, errno))?;
        drop(held);
        let durability = match place.settle_unchanged(None) {
            Ok(reached) => reached,
            Err(_) => Reached::Unknown,
        };
        return Ok(Receipt { changed: true, version: Version::of(Some(&newest.bytes)), durability });
    }
    Err(update::replaced_each_time(document))
}
