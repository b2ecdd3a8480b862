//! What the bytes of a document mean: a value, or a caller's type; and what they become when that is changed.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::formats::{self, Problem};
use super::replace::Place;
use super::update::resolve;
use super::value::Value;
use super::{Document, Format, merge};
use crate::error::{BoxError, Error, Result};
use crate::host::Host;

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

/// The format of the file that the path leads to.
pub(super) fn format<H: Host>(document: &Document<H>) -> Result<Format> {
    if let Some(format) = document.format {
        return Ok(format);
    }
    let target = resolve(&document.host, &document.path)?;
    Format::of(&target).map_err(|problem| Error::unsupported(&document.path, problem))
}

/// The bytes now, without a lock.
pub(super) fn found<H: Host>(document: &Document<H>) -> Result<Option<Vec<u8>>> {
    let target = resolve(&document.host, &document.path)?;
    let place = Place { host: &document.host, path: &target, durability: document.durability };
    Ok(place.read()?.map(|found| Arc::unwrap_or_clone(found.bytes)))
}

/// What stands in for a file that is missing, or blank where an initial value was given.
fn absent<'a, H: Host>(document: &'a Document<H>, bytes: Option<&[u8]>) -> Option<&'a Value> {
    match (bytes, &document.initial) {
        (None, None) => Some(&Value::Null),
        (None, Some(initial)) => Some(initial),
        (Some(bytes), Some(initial)) if bytes.trim_ascii().is_empty() => Some(initial),
        (Some(_), _) => None,
    }
}

/// The document's value, for those who only look at it.
pub(super) fn read_value<H: Host>(document: &Document<H>, bytes: Option<&[u8]>) -> Result<Value> {
    value(document, bytes, Format::read)
}

/// The document's value, if its text is one that can be edited.
pub(super) fn editable_value<H: Host>(document: &Document<H>, bytes: Option<&[u8]>) -> Result<Value> {
    value(document, bytes, Format::parse)
}

fn value<H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    parse: impl FnOnce(Format, &[u8]) -> std::result::Result<Value, Problem>,
) -> Result<Value> {
    match (absent(document, bytes), bytes) {
        (Some(value), _) => Ok(value.clone()),
        (None, bytes) => {
            let format = format(document)?;
            parse(format, bytes.unwrap_or_default()).map_err(|problem| {
                let guessed = document.format.is_none() && format == Format::Json && !is_named_json(&document.path);
                let hint = "; it was read as JSON, since its name says nothing else: name the format if it has another";
                Error::corrupt(&document.path, if guessed { problem.with(hint) } else { problem })
            })
        }
    }
}

fn is_named_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

pub(super) fn read_model<T: DeserializeOwned, H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
) -> Result<T> {
    model(document, bytes, &read_value(document, bytes)?)
}

/// The document as a `T`; `value` is what it reads as.
pub(super) fn model<T: DeserializeOwned, H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    value: &Value,
) -> Result<T> {
    match (absent(document, bytes), bytes) {
        (None, Some(bytes)) => {
            let read = format(document)?.deserialize(bytes, value);
            read.map_err(|problem| Error::corrupt(&document.path, problem))
        }
        (_, bytes) => formats::by_value(value).map_err(|problem| match bytes {
            None if *value == Value::Null => Error::missing(&document.path),
            _ => {
                let problem = format!("the initial value does not fit: {problem}");
                Error::rejected(&document.path, problem, None)
            }
        }),
    }
}

/// A caller's value as a tree, by way of its JSON text, so that no digit is lost.
pub(super) fn to_value<T: Serialize>(path: &Path, value: &T) -> Result<Value> {
    let unfit =
        |problem: String| Error::rejected(path, format!("the value has no JSON form: {problem}"), None);
    let text = serde_json::to_string(value).map_err(|error| unfit(error.to_string()))?;
    Value::parse_json(&text).map_err(unfit)
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
    let file = editable_value(document, bytes)?;
    let mut model: T = model(document, bytes, &file)?;
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
    let format = format(document)?;
    let reread = format.parse(bytes).map_err(|problem| unfit(problem.to_string()))?;
    let reread: T = format.deserialize(bytes, &reread).map_err(unfit)?;
    match merge::same_but_for_order(&value(&reread)?, meant) {
        true => Ok(()),
        false => Err(unfit("does its type read and write the same fields?".to_owned())),
    }
}

pub(super) fn with_values<H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    change: &mut impl FnMut(&Value) -> std::result::Result<(Value, Value), BoxError>,
) -> Result<Option<Vec<u8>>> {
    let file = editable_value(document, bytes)?;
    let (before, after) = change(&file).map_err(|error| failed(&document.path, error))?;
    let target = merged(document, &file, &before, &after)?;
    // A large document is large in each of its forms.
    drop((before, after));
    written(document, bytes, &file, &target)
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

pub(super) fn failed(path: &Path, error: BoxError) -> Error {
    Error::rejected(path, error.to_string(), Some(error))
}

/// The file's text with the differences between `before` and `after` carried over; a file that is missing or
/// empty is written afresh.
pub(super) fn carry_over<H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    file: &Value,
    before: &Value,
    after: &Value,
) -> Result<Option<Vec<u8>>> {
    written(document, bytes, file, &merged(document, file, before, after)?)
}

/// What the document is to hold.
fn merged<H: Host>(document: &Document<H>, file: &Value, before: &Value, after: &Value) -> Result<Value> {
    merge::merge(file, before, after).map_err(|problem| Error::rejected(&document.path, problem, None))
}

/// The text that holds it; `None` if the file's own does.
fn written<H: Host>(
    document: &Document<H>,
    bytes: Option<&[u8]>,
    file: &Value,
    target: &Value,
) -> Result<Option<Vec<u8>>> {
    let rejected = |problem: String| Error::rejected(&document.path, problem, None);
    let format = format(document)?;
    let exists = absent(document, bytes).is_none();
    if target == file && (exists || (bytes.is_none() && document.initial.is_none())) {
        return Ok(None);
    }
    let new = match exists {
        true => format.edited(bytes.unwrap_or_default(), file, target),
        false => format.fresh(target),
    };
    new.map(Some).map_err(rejected)
}
