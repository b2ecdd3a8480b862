//! Random documents with every layout that there is: a value, written with comments, blank lines and styles that a
//! list of random choices decides on.

use granit_parser::ScalarStyle;
use proptest::prelude::*;

use super::random_value::{NUMBERS, any_value};
use super::scalar::quoted;
use super::write::indent;
use crate::document::value::Value;

/// A document and what it means.
pub(super) fn any_document() -> impl Strategy<Value = (String, Value)> {
    (any_value(), prop::collection::vec(any::<u8>(), 0..250)).prop_map(|(value, choices)| {
        let text = Renderer { choices, at: 0, out: String::new(), comments: 0, guard: None, keeps: false }
            .document(&value);
        (text, value)
    })
}

struct Renderer {
    choices: Vec<u8>,
    at: usize,
    out: String,
    comments: usize,
    /// A comment from this column on would become part of the block scalar above.
    guard: Option<usize>,
    /// So would a blank line.
    keeps: bool,
}

impl Renderer {
    /// One of `count` choices; the first when nothing is left to choose by.
    fn pick(&mut self, count: usize) -> usize {
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % count
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.pick(one_in) == one_in - 1
    }

    fn comment(&mut self) {
        self.comments += 1;
        let text = ["", " - a", " a: b", " 'x", " [", " é"][self.pick(6)];
        self.out.push_str(&format!("# c{}{text}", self.comments));
    }

    fn tail_comment(&mut self) {
        if self.chance(4) {
            let blanks = 1 + self.pick(3);
            indent(&mut self.out, blanks);
            self.comment();
        } else if self.chance(10) {
            self.out.push(' ');
        }
    }

    /// Comment and blank lines before an entry at `column`.
    fn trivia(&mut self, column: usize) {
        while self.chance(4) {
            if self.chance(3) {
                if !self.keeps {
                    let blanks = [0, 0, 2, 7][self.pick(4)];
                    indent(&mut self.out, self.guard.map_or(blanks, |guard| blanks.min(guard)));
                    self.out.push('\n');
                }
                continue;
            }
            let near = [column, column, column + 1, column + 3, 0][self.pick(5)];
            let near = self.guard.map_or(near, |guard| near.min(guard.saturating_sub(1)));
            if self.guard == Some(0) {
                return;
            }
            indent(&mut self.out, near);
            self.comment();
            self.out.push('\n');
            (self.guard, self.keeps) = (None, false);
        }
    }

    fn document(mut self, value: &Value) -> String {
        let mark = self.chance(10);
        self.trivia(0);
        let explicit = self.chance(5);
        if explicit {
            self.out.push_str("---");
        }
        let column = if self.chance(6) { 1 + self.pick(3) } else { 0 };
        let nothing = matches!(value, Value::Null) && self.comments > 0 && self.chance(2);
        if is_block(value) && !self.chance(8) {
            if explicit {
                self.tail_comment();
                self.out.push('\n');
            }
            self.trivia(column);
            self.collection(value, column);
        } else if nothing {
            if explicit {
                self.out.push('\n');
            }
        } else {
            if explicit {
                let text = if self.chance(2) { " " } else { "\n" };
                self.out.push_str(text);
            } else {
                self.trivia(0);
            }
            self.inline(value, None, true);
        }
        self.trivia(0);
        if self.chance(8) {
            self.out.push_str("...\n");
            (self.guard, self.keeps) = (None, false);
            self.trivia(0);
        }
        let mut text = self.out.clone();
        if self.chance(6) && self.guard.is_none() {
            text.pop();
        }
        if self.chance(6) {
            text = text.replace('\n', "\r\n");
        }
        if mark { format!("\u{feff}{text}") } else { text }
    }

    /// The entries of a collection at `column`, where the first line is indented already if `out` does not end a line.
    fn collection(&mut self, value: &Value, column: usize) {
        let mut first = !(self.out.is_empty() || self.out.ends_with('\n'));
        let mut start = |renderer: &mut Renderer| {
            if !std::mem::take(&mut first) {
                renderer.trivia(column);
                indent(&mut renderer.out, column);
            }
            (renderer.guard, renderer.keeps) = (None, false);
        };
        match value {
            Value::Array(items) => {
                for item in items {
                    start(self);
                    self.out.push('-');
                    self.behind(item, column, true);
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    start(self);
                    let style = self.quotes();
                    let key = quoted(key, false, style);
                    if key.len() > 1000 || self.chance(10) {
                        self.out.push_str("? ");
                        self.out.push_str(&key);
                        if matches!(value, Value::Null) && self.chance(2) {
                            self.tail_comment();
                            self.out.push('\n');
                            continue;
                        }
                        self.tail_comment();
                        self.out.push('\n');
                        self.trivia(column);
                        indent(&mut self.out, column);
                    } else {
                        self.out.push_str(&key);
                        if self.chance(8) {
                            self.out.push(' ');
                        }
                    }
                    self.out.push(':');
                    self.behind(value, column, false);
                }
            }
            _ => {}
        }
    }

    fn quotes(&mut self) -> Option<ScalarStyle> {
        [None, None, Some(ScalarStyle::SingleQuoted), Some(ScalarStyle::DoubleQuoted)][self.pick(4)]
    }

    /// A value behind the indicator of a collection at `column`, to the end of its last line.
    fn behind(&mut self, value: &Value, column: usize, dash: bool) {
        if matches!(value, Value::Null) && self.chance(2) {
            self.tail_comment();
            self.out.push('\n');
        } else if is_block(value) && !self.chance(4) {
            if dash && self.chance(2) {
                let blanks = 1 + self.pick(3);
                indent(&mut self.out, blanks);
                self.collection(value, column + 1 + blanks);
                return;
            }
            self.tail_comment();
            self.out.push('\n');
            let least = usize::from(dash || matches!(value, Value::Object(_)));
            let column = column + least + [1, 0, 3][self.pick(3)];
            self.trivia(column);
            self.collection(value, column);
        } else {
            if self.chance(10) {
                self.tail_comment();
                self.out.push('\n');
                self.trivia(column + 1);
                indent(&mut self.out, column + 1);
            } else {
                let blanks = 1 + self.pick(2);
                indent(&mut self.out, blanks);
            }
            self.inline(value, Some(column), true);
        }
    }

    /// A scalar or a flow collection, to the end of its line.
    fn inline(&mut self, value: &Value, column: Option<usize>, end: bool) {
        match value {
            Value::String(text) if end && self.chance(2) && self.block_scalar(text, column) => return,
            Value::String(text) if self.chance(3) && is_words(text) => {
                let deeper = column.map_or(0, |column| column + 1);
                let mut joint = "\n".to_owned();
                indent(&mut joint, deeper);
                self.out.push_str(&text.replace(' ', &joint));
            }
            Value::String(text) => {
                let style = self.quotes();
                self.out.push_str(&quoted(text, !end, style));
            }
            Value::Number(number) => {
                let found = NUMBERS.iter().filter(|(_, json)| json == number).map(|(text, _)| *text);
                let found: Vec<&str> = found.collect();
                let text = found[self.pick(found.len())];
                self.out.push_str(text);
            }
            Value::Null => {
                let text = ["null", "~", "Null"][self.pick(3)];
                self.out.push_str(text);
            }
            Value::Bool(value) => {
                let text = if *value { ["true", "True"] } else { ["false", "FALSE"] }[self.pick(2)];
                self.out.push_str(text);
            }
            Value::Foreign(text) => self.out.push_str(text),
            Value::Array(_) | Value::Object(_) => self.flow(value, column),
        }
        if end {
            self.tail_comment();
            self.out.push('\n');
        }
    }

    fn flow(&mut self, value: &Value, column: Option<usize>) {
        let (open, close) = if matches!(value, Value::Array(_)) { ('[', ']') } else { ('{', '}') };
        let long = self.chance(2);
        let deeper = column.map_or(1, |column| column + 2);
        self.out.push(open);
        let count = match value {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        for index in 0..count {
            self.flow_gap(long, deeper);
            match value {
                Value::Array(items) => {
                    if let Value::Object(fields) = &items[index]
                        && let (1, Some((key, value))) = (fields.len(), fields.first())
                        && key.len() < 1000
                        && self.chance(2)
                    {
                        let key = quoted(key, true, None);
                        self.out.push_str(&format!("{key}: "));
                        self.inline(value, column, false);
                    } else {
                        self.inline(&items[index], column, false);
                    }
                }
                Value::Object(fields) => {
                    if let Some((key, value)) = fields.get_index(index) {
                        self.flow_field(key, value, column);
                    }
                }
                _ => {}
            }
            if index + 1 < count || self.chance(4) {
                self.out.push(',');
            }
            if long && self.chance(3) {
                self.out.push(' ');
                self.comment();
                self.out.push('\n');
                indent(&mut self.out, deeper);
            }
        }
        let long = long && self.chance(2);
        self.flow_gap(long, column.map_or(0, |column| column + 1));
        self.out.push(close);
    }

    fn flow_field(&mut self, key: &str, value: &Value, column: Option<usize>) {
        let style = self.quotes();
        let key = quoted(key, true, style);
        let question = key.len() > 1000 || self.chance(10);
        if question {
            self.out.push_str("? ");
        }
        self.out.push_str(&key);
        match value {
            Value::Null if self.chance(2) => {
                let colon = if self.chance(2) { " :" } else { "" };
                self.out.push_str(colon);
            }
            _ => {
                let tight = key.starts_with(['"', '\'']) && self.chance(3);
                self.out.push_str(if question {
                    " : "
                } else if tight {
                    ":"
                } else {
                    ": "
                });
                self.inline(value, column, false);
            }
        }
    }

    /// What stands before an entry or a bracket: blanks, or a new line and perhaps comments.
    fn flow_gap(&mut self, long: bool, column: usize) {
        if !long {
            if self.chance(3) {
                self.out.push(' ');
            }
            return;
        }
        self.out.push('\n');
        while self.chance(4) {
            indent(&mut self.out, column);
            if !self.chance(3) {
                self.comment();
            }
            self.out.push('\n');
        }
        indent(&mut self.out, column);
    }

    /// A literal block scalar, if the text permits one.
    fn block_scalar(&mut self, text: &str, column: Option<usize>) -> bool {
        let body = text.trim_end_matches('\n');
        let fits = !body.is_empty()
            && body.chars().all(|c| !c.is_control() || c == '\n')
            && !body.contains(['\u{85}', '\u{2028}', '\u{feff}'])
            && body.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
            && !body.starts_with('\n');
        let ends = text.len() - body.len();
        // A folded scalar keeps the ends of its lines where an empty line follows.
        let folded = !text.contains("\n\n") && !body.contains('\n') && !body.starts_with(' ');
        if !fits {
            return false;
        }
        let deeper = column.map_or(1, |column| column + 1) + self.pick(3);
        let indicated = body.starts_with(' ') || self.chance(4);
        let header = if folded && self.chance(3) { '>' } else { '|' };
        self.out.push(header);
        if indicated {
            // A document's own block scalar counts from column 0, as one in a collection there.
            self.out.push_str(&(deeper - column.unwrap_or(0)).to_string());
        }
        self.keeps = ends > 1 || (ends == 1 && self.chance(4));
        let chomping = if ends == 0 {
            "-"
        } else if self.keeps {
            "+"
        } else {
            ""
        };
        self.out.push_str(chomping);
        self.tail_comment();
        self.out.push('\n');
        for line in body.split('\n') {
            if !line.is_empty() {
                indent(&mut self.out, deeper);
            }
            self.out.push_str(line);
            self.out.push('\n');
        }
        (1..ends).for_each(|_| self.out.push('\n'));
        self.guard = Some(deeper);
        true
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

/// Words that a plain scalar may have on several lines.
fn is_words(text: &str) -> bool {
    text.contains(' ')
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains("  ")
        && text.chars().all(|c| c.is_ascii_lowercase() || c == ' ')
}
