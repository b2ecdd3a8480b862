//! A text that a person edited while nobody was kept waiting.
//!
//! If the document is still what the person began with, their text is written as it is. If others changed it meanwhile,
//! the two are made one, and no comment of either side is lost: line by line, if that reads as both sides' values; else,
//! if one side changed values alone, these are carried over to the other side's text. Where neither can be, nothing is
//! written.

use super::three_way::{self, Clash};
use super::{Document, Format, Receipt, Value, content, update};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::wait::Patience;

/// A text that was not written, because of what others wrote meanwhile or for another reason.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unmerged {
    /// Why.
    pub error: Error,
    /// What both sides changed; empty if that is not the reason.
    pub clashes: Vec<Clash>,
}

impl From<Box<Unmerged>> for Error {
    fn from(unmerged: Box<Unmerged>) -> Error {
        unmerged.error
    }
}

impl<H: Host> Document<H> {
    /// Reads `bytes` as if they were this document's.
    ///
    /// # Errors
    ///
    /// [`Error::is_corrupt`] with the place.
    pub fn parse(&self, bytes: &[u8]) -> Result<Value> {
        let read = content::format(self)?.read(bytes);
        read.map_err(|problem| Error::corrupt(self.path(), problem))
    }

    /// Writes `mine`, the text that somebody made of `base` (`None`: of a document that did not exist), together with what
    /// others changed since `base` was read.
    ///
    /// # Errors
    ///
    /// [`Error::is_corrupt`] with the place if `mine` is not of the document's format; [`Error::is_conflict`] if others
    /// changed the same places; and those of [`Document::update`].
    pub fn commit_text(
        &self,
        wait: impl Into<Patience>,
        base: Option<&[u8]>,
        mine: &[u8],
    ) -> std::result::Result<Receipt, Box<Unmerged>> {
        let mut clashes = Vec::new();
        let committed = self.parse(mine).and_then(|_| {
            update::step(self, &wait.into(), &mut |theirs| match theirs {
                theirs if theirs == base => Ok(Some(mine.to_vec())),
                None => Err(Error::conflict(self.path(), "was removed by others. Nothing was written")),
                Some(theirs) => self.merge_texts(base, theirs, mine, &mut clashes).map(Some),
            })
        });
        committed.map_err(|error| Box::new(Unmerged { error, clashes }))
    }

    fn merge_texts(
        &self,
        base: Option<&[u8]>,
        theirs: &[u8],
        mine: &[u8],
        clashes: &mut Vec<Clash>,
    ) -> Result<Vec<u8>> {
        let conflict = |problem: &str| {
            Error::conflict(
                self.path(),
                format!("was changed by others meanwhile{problem}. Nothing was written"),
            )
        };
        let format = content::format(self)?;
        let [base_value, their_value, my_value] = [base, Some(theirs), Some(mine)]
            .map(|bytes| bytes.map_or(Ok(Value::Null), |bytes| format.parse(bytes)));
        let (Ok(base_value), Ok(their_value), Ok(my_value)) = (base_value, their_value, my_value) else {
            return Err(conflict(", and one of the texts can't be merged with others"));
        };
        let merged = three_way::merge(&base_value, &their_value, &my_value).map_err(|found| {
            let places: Vec<&str> = found.iter().map(|clash| clash.place.as_str()).collect();
            let error = conflict(&format!(", in the same places: {}", places.join(", ")));
            *clashes = found;
            error
        })?;
        let base = base.unwrap_or_default();
        by_lines(base, theirs, mine)
            .filter(|text| format.parse(text).is_ok_and(|value| value == merged))
            .or_else(|| {
                carried(format, (base, &base_value), (mine, &my_value), (theirs, &their_value), &merged)
            })
            .or_else(|| {
                carried(format, (base, &base_value), (theirs, &their_value), (mine, &my_value), &merged)
            })
            .ok_or_else(|| conflict(", and both sides changed comments or layout in the same lines"))
    }
}

/// The lines of both sides, if they do not meet.
fn by_lines(base: &[u8], theirs: &[u8], mine: &[u8]) -> Option<Vec<u8>> {
    diffy::merge_bytes(base, theirs, mine).ok()
}

/// `merged` in the text of `kept`, if `other` changed nothing of the base but values.
fn carried(
    format: Format,
    (base, base_value): (&[u8], &Value),
    (other, other_value): (&[u8], &Value),
    (kept, kept_value): (&[u8], &Value),
    merged: &Value,
) -> Option<Vec<u8>> {
    let only_values =
        !base.is_empty() && format.edited(base, base_value, other_value).is_ok_and(|text| text == other);
    only_values.then(|| format.edited(kept, kept_value, merged).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_comment_is_lost() {
        let merge = |base: &str, theirs: &str, mine: &str| {
            let document = Document::open("x.jsonc");
            let merged = document.merge_texts(
                Some(base.as_bytes()),
                theirs.as_bytes(),
                mine.as_bytes(),
                &mut Vec::new(),
            );
            merged.map(|text| String::from_utf8(text).unwrap()).map_err(|error| error.to_string())
        };
        let base = "{\n  \"a\": 1,\n  \"x\": 0,\n  \"y\": 0,\n  \"b\": 1\n}\n";
        let theirs = base.replace("\"a\": 1,", "\"a\": 2, // theirs");
        let mine = base.replace("\"b\": 1", "\"b\": 2 // mine");
        let both = theirs.replace("\"b\": 1", "\"b\": 2 // mine");
        assert_eq!(merge(base, &theirs, &mine).unwrap(), both);
        // Neighbouring lines: one side changed a value alone.
        let mine = base.replace("\"x\": 0", "\"x\": 5");
        assert_eq!(merge(base, &theirs, &mine).unwrap(), theirs.replace("\"x\": 0", "\"x\": 5"));
        assert_eq!(merge(base, &mine, &theirs).unwrap(), theirs.replace("\"x\": 0", "\"x\": 5"));
        let commented = base.replace("\"x\": 0,", "\"x\": 5, // mine");
        assert!(merge(base, &theirs, &commented).unwrap_err().contains("same lines"));
        let clash = base.replace("\"a\": 1", "\"a\": 3");
        assert!(merge(base, &theirs, &clash).unwrap_err().contains("same places: .a"));
    }
}
