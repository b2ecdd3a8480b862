//! The formats of a document: how text becomes a value, and how a change becomes an edit of the text.
//!
//! A format has a `parse`, which refuses what it can't keep, an `edit`, which carries edits out on the text and touches
//! nothing else, and a `fresh` for new documents. What `edit` makes is parsed again and compared with the value
//! that was meant, before anyone may see it: see [`Format::edited`].

pub(crate) mod json;
mod list;
mod toml;
mod yaml;

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;

use self::json::Dialect;
use super::difference::difference;
use super::value::{DEPTH_MAX, Value, step};

/// How a document's bytes are read and written. All are UTF-8, with an optional byte order mark, which stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// JSON (RFC 8259).
    Json,
    /// JSON with comments and trailing commas, as `.jsonc` files have it.
    Jsonc,
    /// TOML 1.1.
    Toml,
    /// YAML 1.2 (core schema): `yes`, `on` and `1:30` are strings.
    Yaml,
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

impl Problem {
    /// The same problem, with more to say.
    pub(crate) fn with(mut self, more: &str) -> Problem {
        self.what.push_str(more);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}\n{}", self.line, self.column, self.what, self.excerpt)
    }
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

impl Format {
    /// The format that a file name asks for: by its extension, JSON if that says nothing.
    ///
    /// # Errors
    ///
    /// A sentence, for extensions of formats that are like one of these but are not.
    pub fn of(path: &Path) -> Result<Format, String> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        Ok(match extension.as_deref() {
            Some("jsonc") => Format::Jsonc,
            Some("toml") => Format::Toml,
            Some("yaml" | "yml") => Format::Yaml,
            Some(other @ ("json5" | "hjson" | "jsonl" | "ndjson" | "ini" | "xml")) => {
                return Err(format!(
                    "is a .{other} file, a format that can't be changed by value; name the format if its content is \
                     JSON, JSONC, TOML or YAML"
                ));
            }
            _ => Format::Json,
        })
    }

    /// Reads a text that is to be changed, and so must be one that an edit can keep.
    pub(crate) fn parse(self, bytes: &[u8]) -> Result<Value, Problem> {
        let (_, body) = marked(bytes)?;
        match self {
            Format::Json => json::parse(body, Dialect::Json),
            Format::Jsonc => json::parse(body, Dialect::Jsonc),
            Format::Toml => toml::parse(body),
            Format::Yaml => yaml::parse(body),
        }
    }

    /// Reads a text that is only looked at.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Value, Problem> {
        match self {
            Format::Yaml => yaml::read(marked(bytes)?.1),
            Format::Json | Format::Jsonc | Format::Toml => self.parse(bytes),
        }
    }

    /// Reads the text as a caller's type; `value` is what [`Format::read`] made of it.
    pub(crate) fn deserialize<T: DeserializeOwned>(self, bytes: &[u8], value: &Value) -> Result<T, String> {
        let (_, body) = marked(bytes).map_err(|problem| problem.to_string())?;
        let read = match self {
            Format::Json => json::deserialize(body, Dialect::Json),
            Format::Jsonc => json::deserialize(body, Dialect::Jsonc),
            Format::Toml | Format::Yaml => return by_value(value),
        };
        read.map_err(|problem| problem.to_string())
    }

    /// A new document's text, verified as in [`Format::edited`].
    ///
    /// # Errors
    ///
    /// A sentence, if the value can't be written in this format.
    pub(crate) fn fresh(self, value: &Value) -> Result<Vec<u8>, String> {
        match self {
            Format::Json | Format::Jsonc => self.verified(format!("{value:#}\n"), value),
            Format::Toml => self.verified(toml::fresh(value)?, &toml::as_read(&Value::Null, value)),
            Format::Yaml => self.verified(yaml::fresh(value)?, value),
        }
    }

    /// The text changed so that it reads as `target`, and touched nowhere else than it must be.
    ///
    /// # Errors
    ///
    /// A sentence, if the edit would write anything else.
    pub(crate) fn edited(self, bytes: &[u8], value: &Value, target: &Value) -> Result<Vec<u8>, String> {
        if target.is_deeper_than(DEPTH_MAX) {
            return Err(format!("it would nest arrays and objects more than {DEPTH_MAX} deep"));
        }
        let kept;
        let target = match self {
            Format::Toml => {
                kept = toml::as_read(value, target);
                &kept
            }
            Format::Json | Format::Jsonc | Format::Yaml => target,
        };
        let (mark, body) = marked(bytes).map_err(|problem| problem.to_string())?;
        let Some(edit) = difference(value, target) else { return Ok(bytes.to_vec()) };
        let edited = match self {
            Format::Json => json::edit(body, &edit, Dialect::Json),
            Format::Jsonc => json::edit(body, &edit, Dialect::Jsonc),
            Format::Toml => toml::edit(body, &edit, target),
            Format::Yaml => yaml::edit(body, &edit, target),
        }?;
        self.verified(format!("{mark}{edited}"), target)
    }

    fn verified(self, text: String, meant: &Value) -> Result<Vec<u8>, String> {
        match self.parse(text.as_bytes()) {
            Ok(read) if read == *meant => Ok(text.into_bytes()),
            Ok(read) => {
                let place = first_difference(&read, meant);
                Err(format!("the new text would not mean what was asked for at {place}"))
            }
            Err(problem) => Err(format!("the new text could not be read back: {problem}")),
        }
    }
}

/// The byte order mark, if there is one, and the text behind it.
fn marked(bytes: &[u8]) -> Result<(&str, &str), Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::at(bytes, error.valid_up_to(), "this byte is not UTF-8 text"))?;
    let mark = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Ok(text.split_at(mark))
}

/// A value as a caller's type; what does not fit is named by its path.
pub(crate) fn by_value<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let text = value.to_text(None);
    let mut reader = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let message = error.inner().to_string();
        let what = message.split(" at line ").next().unwrap_or(&message);
        format!("at `{}`: {what}", error.path())
    })
}

/// Where two values differ first, as a path.
fn first_difference(a: &Value, b: &Value) -> String {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys());
            let key = keys.into_iter().find(|key| a.get(*key) != b.get(*key));
            key.map_or(".".to_owned(), |key| match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => format!("{}{}", step(key), first_difference(a, b)),
                _ => step(key),
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            let index = a.iter().zip(b).position(|(a, b)| a != b);
            match index {
                Some(index) => format!("[{index}]{}", first_difference(&a[index], &b[index])),
                None => format!("[{}]", a.len().min(b.len())),
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod keeping_tests;
#[cfg(test)]
mod nested_tests;
#[cfg(test)]
mod random_nested;

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
        assert_eq!(Format::of(Path::new("a.TOML")), Ok(Format::Toml));
        assert_eq!(Format::of(Path::new("a.YML")), Ok(Format::Yaml));
        assert!(Format::of(Path::new("a.json5")).is_err());
    }
}
