//! Writes values as YAML: block style, one line for each entry, and flow style where a flow collection is edited.

use granit_parser::ScalarStyle;

use super::scalar::{literal, plain, quoted};
use crate::document::value::Value;

/// A key may be written without `?` if it is found within 1024 characters.
const SIMPLE_KEY_MAX: usize = 1000;

/// How what is new is laid out: as its surroundings are.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) newline: &'static str,
    /// The indentation of a mapping below a key.
    pub(super) step: usize,
    /// The indentation of a sequence below a key.
    pub(super) dash: usize,
    /// Whether strings on several lines become block scalars.
    pub(super) blocks: bool,
}

/// What a value stands behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    /// Nothing: it is the document.
    Root,
    /// A key, in a mapping at this column.
    Key(usize),
    /// A dash at this column.
    Dash(usize),
}

/// A value as it goes behind an indicator.
pub(super) enum Written {
    /// On the same line.
    Inline(String),
    /// A block scalar: its header, and its lines.
    Literal(&'static str, String),
    /// The lines of a block collection.
    Lines(String),
}

impl Layout {
    /// A new document.
    pub(super) const FRESH: Layout = Layout { newline: "\n", step: 2, dash: 2, blocks: true };

    /// Where the entries of a collection start.
    pub(super) fn column(&self, under: Under, value: &Value) -> usize {
        match (under, value) {
            (Under::Root, _) => 0,
            (Under::Key(column), Value::Array(_)) => column + self.dash,
            (Under::Key(column), _) => column + self.step,
            (Under::Dash(column), _) => column + 2,
        }
    }

    /// Where the lines of a block scalar start.
    pub(super) fn literal_column(&self, under: Under) -> usize {
        match under {
            Under::Root => self.step,
            Under::Key(column) => column + self.step,
            Under::Dash(column) => column + 2,
        }
    }

    /// A value behind an indicator.
    pub(super) fn written(&self, value: &Value, under: Under) -> Written {
        match value {
            Value::Array(items) if !items.is_empty() => {
                Written::Lines(self.lines(value, self.column(under, value)))
            }
            Value::Object(fields) if !fields.is_empty() => {
                Written::Lines(self.lines(value, self.column(under, value)))
            }
            Value::String(text) if self.blocks && text.contains('\n') => match literal(text, false) {
                Some((header, body)) => {
                    Written::Literal(header, self.literal_lines(body, self.literal_column(under)))
                }
                None => Written::Inline(quoted(text, false, None)),
            },
            _ => Written::Inline(flow(value, false, None)),
        }
    }

    pub(super) fn literal_lines(&self, body: &str, column: usize) -> String {
        let mut out = String::with_capacity(body.len() + 16);
        for line in body.split('\n') {
            if !line.is_empty() {
                indent(&mut out, column);
            }
            out.push_str(line);
            out.push_str(self.newline);
        }
        out
    }

    /// The lines of a collection's entries.
    fn lines(&self, value: &Value, column: usize) -> String {
        let mut out = String::new();
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.item(&mut out, item, column)),
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| self.entry(&mut out, key, value, column));
            }
            _ => {}
        }
        out
    }

    /// The lines of one entry of a mapping at `column`.
    pub(super) fn entry(&self, out: &mut String, key: &str, value: &Value, column: usize) {
        indent(out, column);
        let key = quoted(key, false, None);
        if key.len() > SIMPLE_KEY_MAX {
            out.push_str("? ");
            out.push_str(&key);
            out.push_str(self.newline);
            indent(out, column);
        } else {
            out.push_str(&key);
        }
        out.push(':');
        self.behind(out, value, Under::Key(column));
    }

    /// The lines of one item of a sequence at `column`.
    pub(super) fn item(&self, out: &mut String, value: &Value, column: usize) {
        indent(out, column);
        out.push('-');
        self.behind(out, value, Under::Dash(column));
    }

    /// A value behind its indicator, to the end of its last line.
    pub(super) fn behind(&self, out: &mut String, value: &Value, under: Under) {
        match self.written(value, under) {
            Written::Inline(text) => {
                out.push(' ');
                out.push_str(&text);
                out.push_str(self.newline);
            }
            Written::Literal(header, lines) => {
                out.push(' ');
                out.push_str(header);
                out.push_str(self.newline);
                out.push_str(&lines);
            }
            Written::Lines(lines) if matches!(under, Under::Dash(_)) => {
                out.push(' ');
                out.push_str(lines.trim_start_matches(' '));
            }
            Written::Lines(lines) => {
                out.push_str(self.newline);
                out.push_str(&lines);
            }
        }
    }

    /// A document of its own, or one without its first indentation.
    pub(super) fn document(&self, value: &Value) -> String {
        match self.written(value, Under::Root) {
            Written::Inline(text) => text + self.newline,
            Written::Literal(header, lines) => format!("{header}{}{lines}", self.newline),
            Written::Lines(lines) => lines,
        }
    }
}

pub(super) fn indent(out: &mut String, column: usize) {
    out.extend(std::iter::repeat_n(' ', column));
}

/// A value on one line: in flow style, if it is a collection.
pub(super) fn flow(value: &Value, inside: bool, before: Option<ScalarStyle>) -> String {
    match value {
        Value::String(text) => quoted(text, inside, before),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(item, true, None)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| flow_field(key, value)).collect();
            format!("{{{}}}", fields.join(", "))
        }
        scalar => plain(scalar).unwrap_or("null").to_owned(),
    }
}

/// One entry of a flow mapping.
pub(super) fn flow_field(key: &str, value: &Value) -> String {
    let key = quoted(key, true, None);
    let value = flow(value, true, None);
    if key.len() > SIMPLE_KEY_MAX { format!("? {key} : {value}") } else { format!("{key}: {value}") }
}
