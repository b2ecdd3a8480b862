//! The formats of a document: how text becomes a value, and how a change becomes an edit of the text.
//!
//! A format has two functions: `parse`, which refuses what it can't keep, and `edit`, which carries changes
//! out on the text and touches nothing else. What `edit` makes is parsed again and compared with the value
//! that was meant, before anyone may see it: see [`Format::edited`].

pub(crate) mod json;

use std::fmt;
use std::path::Path;

use super::change;
use super::value::Value;

/// How a document's bytes are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// JSON (RFC 8259), UTF-8, an optional byte order mark.
    Json,
}

/// Where and why a text is not a document of its format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    what: String,
    excerpt: String,
}

/// The characters shown before and behind the place of a problem.
const EXCERPT_SIDE: usize = 40;

impl Problem {
    /// A problem at a byte offset of `bytes`.
    pub(crate) fn at(bytes: &[u8], offset: usize, what: impl Into<String>) -> Problem {
        let offset = offset.min(bytes.len());
        let line_start =
            bytes[..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line_end =
            bytes[offset..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| offset + end);
        let line = bytes[..line_start].iter().filter(|byte| **byte == b'\n').count() + 1;
        let before = String::from_utf8_lossy(&bytes[line_start..offset]).into_owned();
        let behind = String::from_utf8_lossy(&bytes[offset..line_end]).into_owned();
        let column = before.chars().count() + 1;
        let skipped = column - 1 - (column - 1).min(EXCERPT_SIDE);
        let shown: String = before.chars().skip(skipped).chain(behind.chars().take(EXCERPT_SIDE)).collect();
        let visible: String =
            shown.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
        let margin = line.to_string();
        let caret = " ".repeat(column - 1 - skipped);
        let blank = " ".repeat(margin.len());
        let excerpt = format!("  {margin} | {visible}\n  {blank} | {caret}^");
        Problem { line, column, what: what.into(), excerpt }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}\n{}", self.line, self.column, self.what, self.excerpt)
    }
}

impl Format {
    /// The format that a file name asks for.
    ///
    /// # Errors
    ///
    /// A sentence, for the extensions of formats that are not supported yet. Unknown extensions are JSON.
    pub fn of(path: &Path) -> Result<Format, String> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some(other @ ("yaml" | "yml" | "toml" | "jsonc" | "json5")) => Err(format!(
                "is a .{other} file, a format that this version does not update; only JSON can be changed by value"
            )),
            _ => Ok(Format::Json),
        }
    }

    pub(crate) fn parse(self, bytes: &[u8]) -> Result<Value, Problem> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Problem::at(bytes, error.valid_up_to(), "this byte is not UTF-8 text"))?;
        match self {
            Format::Json => json::parse(text),
        }
    }

    pub(crate) fn deserialize<T: serde::de::DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Problem> {
        match self {
            Format::Json => json::deserialize(bytes),
        }
    }

    /// A new document's text, verified as in [`Format::edited`].
    ///
    /// # Errors
    ///
    /// A sentence, if the value can't be written in this format.
    pub(crate) fn fresh(self, value: &Value) -> Result<Vec<u8>, String> {
        let text = match self {
            Format::Json => format!("{value:#}\n"),
        };
        self.verified(text, value)
    }

    /// The text changed so that it reads as `target`, and touched nowhere else than it must be.
    ///
    /// # Errors
    ///
    /// A sentence, if the edit would write anything else.
    pub(crate) fn edited(self, bytes: &[u8], value: &Value, target: &Value) -> Result<Vec<u8>, String> {
        let text = String::from_utf8_lossy(bytes);
        let edited = match self {
            Format::Json => json::edit(&text, target, &change::changes(value, target))?,
        };
        self.verified(edited, target)
    }

    fn verified(self, text: String, meant: &Value) -> Result<Vec<u8>, String> {
        match self.parse(text.as_bytes()) {
            Ok(read) if read == *meant => Ok(text.into_bytes()),
            Ok(_) => Err("the new text would not mean what was asked for".to_owned()),
            Err(problem) => Err(format!("the new text could not be read back: {problem}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_place() {
        let shown = Problem::at(b"{\n  \"a\": tru\n}", 9, "expected a value").to_string();
        assert_eq!(shown, "line 2, column 8: expected a value\n  2 |   \"a\": tru\n    |        ^");
        let long = "x".repeat(300);
        assert!(Problem::at(long.as_bytes(), 200, "?").to_string().lines().all(|line| line.len() < 100));
        assert!(Problem::at(b"", 5, "?").to_string().starts_with("line 1, column 1"));
    }

    #[test]
    fn extensions_choose() {
        assert_eq!(Format::of(Path::new("a.json")), Ok(Format::Json));
        assert_eq!(Format::of(Path::new("state")), Ok(Format::Json));
        assert!(Format::of(Path::new("a.YML")).is_err());
    }
}
