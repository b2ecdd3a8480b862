//! Random nested documents in JSON, JSONC, TOML and YAML, with comments wherever they may stand, and a record of what each line
//! is about. Every value, key and comment has a number of its own, so that it can be told from all others.

use proptest::prelude::*;

use super::*;
use crate::document::value::Fields;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way to a value.
pub(super) type Way = Vec<Step>;

pub(super) fn at<'v>(value: &'v Value, way: &[Step]) -> &'v Value {
    way.iter().fold(value, |value, step| match (value, step) {
        (Value::Object(fields), Step::Key(key)) => &fields[key],
        (Value::Array(items), Step::Index(index)) => &items[*index],
        _ => unreachable!("the way leads through the value"),
    })
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A comment, a header, or a whole scalar.
    Whole,
    /// It has a bracket that can move to another line.
    Bracket,
    /// It has a value that can be edited within the line.
    Inline,
    /// A comment that a blank line separates from what follows.
    Detached,
    Blank,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// The value that the line is about.
    pub(super) owner: Way,
    pub(super) comment: Option<String>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnds {
    Unix,
    Windows,
    Mixed,
}

#[derive(Clone, Debug)]
pub(super) struct Nested {
    pub(super) format: Format,
    pub(super) text: String,
    pub(super) value: Value,
    pub(super) lines: Vec<Line>,
    pub(super) line_ends: LineEnds,
}

/// A document, and a writer of more that could stand in it.
pub(super) fn any_nested(format: Format) -> impl Strategy<Value = (Nested, Writer)> {
    let choices = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    (choices(600), choices(60)).prop_map(move |(choices, more)| {
        let mut writer = Writer { format, choices, at: 0, lines: Vec::new(), count: 0, in_flow: false };
        let depth = 1 + writer.pick(3);
        let value = match format {
            Format::Toml => writer.toml(depth),
            _ => writer.value("", &Way::new(), "", depth, ""),
        };
        let line_ends = [LineEnds::Unix, LineEnds::Windows, LineEnds::Mixed][writer.pick(3)];
        let mut text = String::new();
        let lines = std::mem::take(&mut writer.lines);
        for line in &lines {
            let is_windows =
                line_ends == LineEnds::Windows || (line_ends == LineEnds::Mixed && writer.one_in(2));
            text.extend([line.text.as_str(), if is_windows { "\r\n" } else { "\n" }]);
        }
        if writer.one_in(5) {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        let read = format.parse(text.as_bytes()).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        // Line ends in a string depend on those of the file.
        assert!(read == value || line_ends != LineEnds::Unix, "{text}\n{read}\n{value}");
        (Nested { format, text, value: read, lines, line_ends }, Writer { choices: more, at: 0, ..writer })
    })
}

/// Writes what a list of random choices decides on.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    format: Format,
    choices: Vec<u8>,
    at: usize,
    lines: Vec<Line>,
    /// The last number that was given.
    count: usize,
    /// Whether what is written stands in brackets.
    in_flow: bool,
}

impl Writer {
    /// One of `count` choices; the first when nothing is left to choose by.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % count
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.pick(count) == count - 1
    }

    fn is_toml(&self) -> bool {
        self.format == Format::Toml
    }

    fn number(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// A new key, and its text.
    pub(super) fn key(&mut self) -> (String, String) {
        let n = self.number();
        let key = match self.pick(8) {
            6 => format!("k {n}"),
            7 => format!("k.{n}"),
            _ => format!("k{n}"),
        };
        let bare = self.is_toml() && !key.contains([' ', '.']);
        let text = if bare { key.clone() } else { format!("\"{key}\"") };
        (key, text)
    }

    fn scalar(&mut self) -> (Value, String) {
        let n = self.number();
        match self.pick(6) {
            1 => (Value::String(format!("s{n}")), format!("\"s{n}\"")),
            2 => (Value::String(format!("a,]}}#//{n}")), format!("\"a,]}}#//{n}\"")),
            3 => (Value::Number(format!("{n}.50")), format!("{n}.50")),
            4 if self.is_toml() => (Value::String(format!("l#{n}")), format!("'l#{n}'")),
            5 if self.is_toml() => {
                (Value::Foreign(format!("{}-01-02", 1000 + n)), format!("{}-01-02", 1000 + n))
            }
            _ => (Value::Number(n.to_string()), n.to_string()),
        }
    }

    /// A value on one line. What stands in an array has something in it, or it could not be told from its like.
    pub(super) fn inline(&mut self, depth: usize, in_array: bool) -> (Value, String) {
        let kind = if depth == 0 { 0 } else { self.pick(5) };
        if kind < 3 {
            return self.scalar();
        }
        let count = usize::from(in_array).max(self.pick(4));
        let (mut items, mut fields, mut texts) = (Vec::new(), Fields::new(), Vec::new());
        for _ in 0..count {
            let is_array = kind == 3;
            let (value, text) = self.inline(depth - 1, is_array);
            if is_array {
                items.push(value);
                texts.push(text);
            } else {
                let (key, key_text) = self.key();
                fields.insert(key, value);
                texts.push(format!("{key_text}{}{text}", if self.is_toml() { " = " } else { ": " }));
            }
        }
        let text = texts.join(if self.one_in(4) { "," } else { ", " });
        let blank = if count > 0 && self.one_in(3) { " " } else { "" };
        match kind {
            3 => (Value::Array(items), format!("[{blank}{text}{blank}]")),
            _ => (Value::Object(fields), format!("{{{blank}{text}{blank}}}")),
        }
    }

    /// A comment, once in so many times.
    fn comment(&mut self, one_in: usize) -> Option<String> {
        if self.format == Format::Json || !self.one_in(one_in) {
            return None;
        }
        let n = self.number();
        let hash = matches!(self.format, Format::Toml | Format::Yaml);
        Some(match (hash, self.one_in(4)) {
            (true, _) => format!("# c{n}."),
            (false, true) => format!("/* c{n}. */"),
            (false, false) => format!("// c{n}."),
        })
    }

    fn line(&mut self, text: &str, owner: &Way, comment: Option<String>, kind: Kind) {
        let blank = if comment.is_some() && !text.trim().is_empty() { " " } else { "" };
        let text = format!("{text}{blank}{}", comment.as_deref().unwrap_or_default());
        self.lines.push(Line { text, owner: owner.clone(), comment, kind });
    }

    fn blank(&mut self) {
        self.line("", &Way::new(), None, Kind::Blank);
    }

    /// What stands above a value that is part of another.
    fn above(&mut self, owner: &Way, outer: &Way, indent: &str) {
        if let Some(comment) = self.comment(6) {
            self.line(indent, outer, Some(comment), Kind::Detached);
            self.blank();
        } else if self.one_in(6) {
            self.blank();
        }
        while let Some(comment) = self.comment(4) {
            self.line(indent, owner, Some(comment), Kind::Whole);
        }
    }

    /// A value behind `start`, which begins its line, up to the end of its last line.
    fn value(&mut self, start: &str, way: &Way, indent: &str, depth: usize, comma: &str) -> Value {
        match if depth == 0 { 0 } else { self.pick(6) } {
            3 if self.is_toml() && self.one_in(3) => {
                let n = self.number();
                self.line(&format!("{start}\"\"\""), way, None, Kind::Inline);
                self.line(&format!("text # {n}"), way, None, Kind::Inline);
                let comment = self.comment(3);
                self.line(&format!("\"\"\"{comma}"), way, comment, Kind::Inline);
                Value::String(format!("text # {n}\n"))
            }
            4 => self.list(start, way, indent, depth, comma, true),
            5 => self.list(start, way, indent, depth, comma, false),
            _ => {
                let in_array = matches!(way.last(), Some(Step::Index(_)));
                let (value, text) = self.inline(depth.min(2), in_array);
                let comment = self.comment(3);
                self.line(&format!("{start}{text}{comma}"), way, comment, Kind::Inline);
                value
            }
        }
    }

    /// An array, or an object in braces, on lines of its own.
    fn list(
        &mut self,
        start: &str,
        way: &Way,
        indent: &str,
        depth: usize,
        comma: &str,
        is_array: bool,
    ) -> Value {
        if self.format == Format::Yaml && !self.in_flow && !self.one_in(3) {
            return self.block(start, way, indent, depth, is_array);
        }
        let was_in_flow = std::mem::replace(&mut self.in_flow, true);
        let [open, close] = if is_array { ["[", "]"] } else { ["{", "}"] };
        let head = self.comment(4);
        self.line(&format!("{start}{open}"), way, head, Kind::Bracket);
        let inner = format!("{indent}  ");
        let in_array = matches!(way.last(), Some(Step::Index(_)));
        let count = usize::from(in_array).max(self.pick(4));
        let last_comma = self.format != Format::Json && self.one_in(3);
        let (mut items, mut fields) = (Vec::new(), Fields::new());
        for index in 0..count {
            let comma = if index + 1 < count || last_comma { "," } else { "" };
            let mut here = way.clone();
            if is_array {
                here.push(Step::Index(index));
                self.above(&here, way, &inner);
                items.push(self.value(&inner, &here, &inner, depth - 1, comma));
            } else {
                let (key, text) = self.key();
                here.push(Step::Key(key.clone()));
                self.above(&here, way, &inner);
                let colon = if self.is_toml() { " = " } else { ": " };
                let value = self.value(&format!("{inner}{text}{colon}"), &here, &inner, depth - 1, comma);
                fields.insert(key, value);
            }
        }
        if let Some(comment) = self.comment(6) {
            if self.one_in(2) {
                self.blank();
            }
            self.line(&inner, way, Some(comment), Kind::Detached);
        }
        let tail = self.comment(4);
        self.line(&format!("{indent}{close}{comma}"), way, tail, Kind::Bracket);
        self.in_flow = was_in_flow;
        if is_array { Value::Array(items) } else { Value::Object(fields) }
    }
}

/// The block collections of YAML.
impl Writer {
    fn block(&mut self, start: &str, way: &Way, indent: &str, depth: usize, is_array: bool) -> Value {
        let mut inner = indent.to_owned();
        if !start.is_empty() {
            let head = self.comment(4);
            self.line(start.trim_end(), way, head, Kind::Bracket);
            inner.push_str("  ");
        }
        let (mut items, mut fields) = (Vec::new(), Fields::new());
        for index in 0..=self.pick(3) {
            let mut here = way.clone();
            if is_array {
                here.push(Step::Index(index));
                self.above(&here, way, &inner);
                items.push(self.value(&format!("{inner}- "), &here, &inner, depth - 1, ""));
            } else {
                let (key, text) = self.key();
                here.push(Step::Key(key.clone()));
                self.above(&here, way, &inner);
                let value = self.value(&format!("{inner}{text}: "), &here, &inner, depth - 1, "");
                fields.insert(key, value);
            }
        }
        if let Some(comment) = self.comment(6) {
            if self.one_in(2) {
                self.blank();
            }
            self.line(&inner, way, Some(comment), Kind::Detached);
        }
        if is_array { Value::Array(items) } else { Value::Object(fields) }
    }
}

/// The tables of TOML.
impl Writer {
    fn toml(&mut self, depth: usize) -> Value {
        let mut fields = Fields::new();
        let root = Way::new();
        self.table_fields(&root, "", depth, &mut fields);
        let mut sections = Vec::new();
        let mut lines = std::mem::take(&mut self.lines);
        self.tables(
            &Header { way: root.clone(), text: String::new() },
            "",
            depth,
            &mut fields,
            &mut sections,
        );
        if self.one_in(2) {
            // Headers may stand in any order.
            for index in (1..sections.len()).rev() {
                let other = self.pick(index + 1);
                sections.swap(index, other);
            }
        }
        for section in sections {
            if !self.one_in(3) {
                self.blank();
            }
            lines.append(&mut self.lines);
            lines.extend(section);
        }
        self.lines = lines;
        if let Some(comment) = self.comment(4) {
            self.blank();
            self.line("", &root, Some(comment), Kind::Detached);
        }
        Value::Object(fields)
    }

    fn table_fields(&mut self, way: &Way, indent: &str, depth: usize, fields: &mut Fields) {
        for _ in 0..self.pick(4) {
            let (key, text) = self.key();
            let mut here = way.clone();
            here.push(Step::Key(key.clone()));
            if !self.one_in(6) {
                self.above(&here, way, indent);
                let equals = [" = ", "=", "   = "][self.pick(3)];
                let value = self.value(&format!("{indent}{text}{equals}"), &here, indent, depth, "");
                fields.insert(key, value);
                continue;
            }
            let mut dotted = Fields::new();
            for _ in 0..=self.pick(2) {
                let (inner, inner_text) = self.key();
                let mut leaf = here.clone();
                leaf.push(Step::Key(inner.clone()));
                self.above(&leaf, way, indent);
                let value = self.value(&format!("{indent}{text}.{inner_text} = "), &leaf, indent, 1, "");
                dotted.insert(inner, value);
            }
            fields.insert(key, Value::Object(dotted));
        }
    }

    /// Tables and arrays of tables in a table, each header with its fields in a section of its own.
    fn tables(
        &mut self,
        outer: &Header,
        indent: &str,
        depth: usize,
        fields: &mut Fields,
        sections: &mut Vec<Vec<Line>>,
    ) {
        for _ in 0..if depth == 0 { 0 } else { self.pick(3) } {
            let (key, text) = self.key();
            let header = outer.with(&key, &text);
            let deeper = if self.one_in(5) { format!("{indent}  ") } else { indent.to_owned() };
            if self.one_in(3) {
                let mut items = Vec::new();
                let mut all = Vec::new();
                for index in 0..=self.pick(3) {
                    let mut way = header.way.clone();
                    way.push(Step::Index(index));
                    let header = Header { way, text: header.text.clone() };
                    let mut item = Fields::new();
                    let own = [format!("{indent}[[{}]]", header.text), deeper.clone()];
                    all.extend(self.section(&header, outer, own, depth, &mut item));
                    let mut inner = Vec::new();
                    self.tables(&header, &deeper, depth - 1, &mut item, &mut inner);
                    all.extend(inner.into_iter().flatten());
                    items.push(Value::Object(item));
                }
                fields.insert(key, Value::Array(items));
                sections.push(all);
                continue;
            }
            let mut table = Fields::new();
            let mut inner = Vec::new();
            self.tables(&header, &deeper, depth - 1, &mut table, &mut inner);
            // A table that has others in it needs no header.
            if inner.is_empty() || !self.one_in(3) {
                let own = [format!("{indent}[{}]", header.text), deeper.clone()];
                sections.push(self.section(&header, outer, own, depth, &mut table));
            }
            sections.append(&mut inner);
            fields.insert(key, Value::Object(table));
        }
    }

    /// A header and its fields, the first of which tells it from all others.
    fn section(
        &mut self,
        header: &Header,
        outer: &Header,
        [text, indent]: [String; 2],
        depth: usize,
        fields: &mut Fields,
    ) -> Vec<Line> {
        let blanks = &text[..text.len() - text.trim_start().len()];
        self.above(&header.way, &outer.way, blanks);
        let comment = self.comment(3);
        self.line(&text, &header.way, comment, Kind::Whole);
        if text.contains("[[") {
            let n = self.number();
            let mut way = header.way.clone();
            way.push(Step::Key(format!("u{n}")));
            self.line(&format!("{indent}u{n} = {n}"), &way, None, Kind::Inline);
            fields.insert(format!("u{n}"), Value::Number(n.to_string()));
        }
        self.table_fields(&header.way, &indent, depth, fields);
        std::mem::take(&mut self.lines)
    }
}

/// A table, and what its header says.
struct Header {
    way: Way,
    text: String,
}

impl Header {
    fn with(&self, key: &str, text: &str) -> Header {
        let mut way = self.way.clone();
        way.push(Step::Key(key.to_owned()));
        let dot = if self.text.is_empty() { "" } else { "." };
        Header { way, text: format!("{}{dot}{text}", self.text) }
    }
}
