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
//! Steps 2 to 7 are in [`super::combine`], since the updates that wait in one process go through them together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::replace::{Found, Place};
use super::value::Value;
use super::{Document, Format, Receipt, Version, change, combine};
use crate::error::{BoxError, Error, Result};
use crate::host::{Errno, FileKind, Host};
use crate::wait::Patience;

/// As many symbolic links as Linux follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// How often a step starts again because somebody broke the rules, before it gives up and says so.
pub(super) const ROUNDS_MAX: usize = 16;

/// What an updater may return: nothing, or a result whose error becomes the update's.
pub trait Outcome {
    /// The error, if there is one.
    ///
    /// # Errors
    ///
    /// The updater's own.
    fn outcome(self) -> std::result::Result<(), BoxError>;
}

impl Outcome for () {
    fn outcome(self) -> std::result::Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for std::result::Result<(), E> {
    fn outcome(self) -> std::result::Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

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

/// The format of the file that the path leads to.
pub(super) fn format<H: Host>(document: &Document<H>) -> Result<Format> {
    let target = resolve(&document.host, &document.path)?;
    Format::of(&target).map_err(|problem| Error::unsupported(&document.path, problem))
}

/// The bytes now, without a lock.
pub(super) fn found<H: Host>(document: &Document<H>) -> Result<Option<Vec<u8>>> {
    let target = resolve(&document.host, &document.path)?;
    let place = Place { host: &document.host, path: &target, durability: document.durability };
    Ok(place.read()?.map(|found| Arc::unwrap_or_clone(found.bytes)))
}

/// What stands in for a file that is missing, or empty where an initial value was given.
fn absent<'a, H: Host>(document: &'a Document<H>, bytes: Option<&[u8]>) -> Option<&'a Value> {
    match (bytes, &document.initial) {
        (None | Some([]), Some(initial)) => Some(initial),
        (None, None) => Some(&Value::Null),
        (Some(_), _) => None,
    }
}

pub(super) fn read_value<H: Host>(document: &Document<H>, bytes: Option<&[u8]>) -> Result<Value> {
    match (absent(document, bytes), bytes) {
        (Some(value), _) => Ok(value.clone()),
        (None, bytes) => {
            let parsed = format(document)?.parse(bytes.unwrap_or_default());
            parsed.map_err(|problem| Error::corrupt(&document.path, problem))
        }
    }
}

pub(super) fn read_model<T: DeserializeOwned, H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
) -> Result<T> {
    // First as strictly as for an update: no duplicate keys.
    read_value(document, bytes)?;
    let format = format(document)?;
    let Some(value) = absent(document, bytes) else {
        let read = format.deserialize(bytes.unwrap_or_default());
        return read.map_err(|problem| Error::corrupt(&document.path, problem));
    };
    let fresh = format.fresh(value).map_err(|problem| Error::rejected(&document.path, problem, None))?;
    format.deserialize(&fresh).map_err(|problem| match bytes {
        None if *value == Value::Null => Error::missing(&document.path),
        _ => Error::rejected(&document.path, format!("the initial value does not fit: {problem}"), None),
    })
}

/// A caller's value as a tree, by way of its JSON text, so that no digit is lost.
pub(super) fn to_value<T: Serialize>(path: &Path, value: &T) -> Result<Value> {
    let unfit =
        |problem: String| Error::rejected(path, format!("the value has no JSON form: {problem}"), None);
    let text = serde_json::to_string(value).map_err(|error| unfit(error.to_string()))?;
    super::formats::json::parse(&text).map_err(|problem| unfit(problem.to_string()))
}

pub(super) fn with_model<T, O, H>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    change: &mut impl FnMut(&mut T) -> O,
) -> Result<Option<Vec<u8>>>
where
    T: Serialize + DeserializeOwned,
    O: Outcome,
    H: Host,
{
    let file = read_value(document, bytes)?;
    let mut model: T = read_model(document, bytes)?;
    let before = to_value(&document.path, &model)?;
    change(&mut model).outcome().map_err(|error| failed(&document.path, error))?;
    let after = to_value(&document.path, &model)?;
    let new = carry_over(document, bytes, &file, &before, &after)?;
    if before != after {
        reads_as(document, new.as_deref().or(bytes).unwrap_or_default(), &after, |reread: &T| {
            to_value(&document.path, reread)
        })?;
    }
    Ok(new)
}

/// What the updater made must be what the next reader gets: a type whose fields have other names when read than
/// when written, or are not written at all, would lose its own change.
fn reads_as<T: DeserializeOwned, H: Host>(
    document: &Document<H>,
    bytes: &[u8],
    meant: &Value,
    value: impl FnOnce(&T) -> Result<Value>,
) -> Result<()> {
    let unfit = |problem: String| {
        let problem = format!("the changed document would not read as what the updater made: {problem}");
        Error::rejected(&document.path, problem, None)
    };
    let reread: T = format(document)?.deserialize(bytes).map_err(|problem| unfit(problem.to_string()))?;
    match change::same_but_for_order(&value(&reread)?, meant) {
        true => Ok(()),
        false => Err(unfit("does its type read and write the same fields?".to_owned())),
    }
}

pub(super) fn with_values<H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    change: &mut impl FnMut(&Value) -> std::result::Result<(Value, Value), BoxError>,
) -> Result<Option<Vec<u8>>> {
    let file = read_value(document, bytes)?;
    let (before, after) = change(&file).map_err(|error| failed(&document.path, error))?;
    carry_over(document, bytes, &file, &before, &after)
}

pub(super) fn with_bytes<O: Outcome, H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    change: &mut impl FnMut(&mut Vec<u8>) -> O,
) -> Result<Option<Vec<u8>>> {
    let mut new = bytes.unwrap_or_default().to_vec();
    change(&mut new).outcome().map_err(|error| failed(&document.path, error))?;
    Ok((bytes.is_some() || !new.is_empty()).then_some(new))
}

fn failed(path: &Path, error: BoxError) -> Error {
    Error::rejected(path, error.to_string(), Some(error))
}

/// The file's text with the differences between `before` and `after` carried over; a file that is missing or
/// empty is written afresh.
fn carry_over<H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    file: &Value,
    before: &Value,
    after: &Value,
) -> Result<Option<Vec<u8>>> {
    let rejected = |problem: String| Error::rejected(&document.path, problem, None);
    let format = format(document)?;
    let target = change::merge(file, before, after).map_err(|problem| rejected(problem.to_owned()))?;
    let exists = absent(document, bytes).is_none();
    if target == *file && (exists || (bytes.is_none() && document.initial.is_none())) {
        return Ok(None);
    }
    let new = match exists {
        true => format.edited(bytes.unwrap_or_default(), file, &target),
        false => format.fresh(&target),
    };
    new.map(Some).map_err(rejected)
}
