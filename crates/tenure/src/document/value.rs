//! A document's content as a tree in which numbers keep their text.

use std::fmt;

use indexmap::IndexMap;

use super::formats::json;

/// The fields of an object, in the order of the document.
pub type Fields = IndexMap<String, Value>;

/// The deepest nesting of arrays and objects that a document may have: as deep as serde_json reads.
pub const DEPTH_MAX: usize = 127;

/// A JSON value. A number is kept as it is written: `1.10`, `1e3` and integers of any size survive.
///
/// Two numbers are equal if their texts are; two objects are equal whatever the order of their fields.
/// `{}` prints on one line, `{:#}` indented by two blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`; also what a missing document reads as.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as JSON writes it.
    Number(String),
    /// A string, decoded.
    String(String),
    /// A scalar of another format that JSON has no kind for: a TOML date or time, an infinity, "not a number". By its
    /// text; JSON sees a string.
    Foreign(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Fields),
}

impl Value {
    /// Parses a JSON text as strictly as a document: no duplicate keys, no trailing text.
    ///
    /// # Errors
    ///
    /// The place and the problem, as text.
    pub fn parse_json(text: &str) -> Result<Value, String> {
        json::parse(text, json::Dialect::Json).map_err(|problem| problem.to_string())
    }

    /// The value as text, indented by `indent` for each level, or on one line.
    pub fn to_text(&self, indent: Option<&str>) -> String {
        let mut text = String::new();
        self.write(&mut text, &Layout { indent, spaced: indent.is_some() }, 0);
        text
    }

    /// The value on one line, with or without a blank behind each colon and comma.
    pub(crate) fn to_line(&self, spaced: bool) -> String {
        let mut text = String::new();
        self.write(&mut text, &Layout { indent: None, spaced }, 0);
        text
    }

    /// Whether arrays and objects are nested in more than `levels` levels.
    pub(crate) fn is_deeper_than(&self, levels: usize) -> bool {
        match self {
            Value::Array(items) => levels == 0 || items.iter().any(|item| item.is_deeper_than(levels - 1)),
            Value::Object(fields) => {
                levels == 0 || fields.values().any(|field| field.is_deeper_than(levels - 1))
            }
            _ => false,
        }
    }

    fn write(&self, out: &mut String, layout: &Layout<'_>, level: usize) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Number(text) => out.push_str(text),
            Value::String(text) | Value::Foreign(text) => write_string(out, text),
            Value::Array(items) => {
                layout.write(out, ['[', ']'], level, items, |out, item| item.write(out, layout, level + 1));
            }
            Value::Object(fields) => layout.write(out, ['{', '}'], level, fields, |out, (key, value)| {
                write_string(out, key);
                out.push_str(if layout.spaced { ": " } else { ":" });
                value.write(out, layout, level + 1);
            }),
        }
    }
}

/// How a value is laid out as JSON.
struct Layout<'a> {
    /// What each level is indented by, on lines of its own.
    indent: Option<&'a str>,
    /// Whether a blank follows each colon, and each comma on a line.
    spaced: bool,
}

impl Layout<'_> {
    fn write<I: IntoIterator>(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        level: usize,
        items: I,
        mut write: impl FnMut(&mut String, I::Item),
    ) {
        let new_line = |out: &mut String, level: usize| {
            if let Some(indent) = self.indent {
                out.push('\n');
                (0..level).for_each(|_| out.push_str(indent));
            }
        };
        out.push(open);
        let mut empty = true;
        for item in items {
            if !empty {
                out.push_str(if self.spaced && self.indent.is_none() { ", " } else { "," });
            }
            empty = false;
            new_line(out, level + 1);
            write(out, item);
        }
        if !empty {
            new_line(out, level);
        }
        out.push(close);
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// A field as a step of a jq path.
pub(crate) fn step(key: &str) -> String {
    let is_word = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match is_word {
        true => format!(".{key}"),
        false => format!("[{}]", Value::String(key.to_owned())),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(f.alternate().then_some("  ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_print() {
        let fields = [
            ("n".to_owned(), Value::Number("1.10".into())),
            ("a\"\u{1}".to_owned(), Value::Array(vec![Value::Null, Value::Bool(true)])),
            ("e".to_owned(), Value::Object(Fields::new())),
        ];
        let value = Value::Object(fields.into_iter().collect());
        assert_eq!(value.to_string(), r#"{"n":1.10,"a\"\u0001":[null,true],"e":{}}"#);
        let indented = "{\n  \"n\": 1.10,\n  \"a\\\"\\u0001\": [\n    null,\n    true\n  ],\n  \"e\": {}\n}";
        assert_eq!(format!("{value:#}"), indented);
    }
}
