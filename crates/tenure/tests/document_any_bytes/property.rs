//! What must hold of any bytes as a document's file, and of edits of what they mean. Used by the property test and by the fuzz
//! target.

#[path = "../journal_any_bytes/directory.rs"]
mod directory;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use directory::directory;

use tenure::document::{Fields, Format, Value};
use tenure::{Document, Error, Result};

/// What says that an edit went wrong and was caught in time, which is not to happen.
const CAUGHT: [&str; 4] = [
    "the new text would not mean",
    "the new text could not be read back",
    "does not have the place",
    "does not have the field",
];

/// Looks at `bytes` as a document, and changes it as `choices` say.
pub(crate) fn survives(format: Format, bytes: &[u8], choices: &[u8]) {
    let (directory, _removed) = directory();
    let path = directory.join("document");
    fs::write(&path, bytes).expect("a file to look at");
    let document = Document::open(&path).format(format);
    let read = document.read_value();
    if let Err(error) = document.read::<HashMap<String, String>>() {
        assert!(error.is_corrupt(), "{error}");
    }
    let mut found = None;
    let seen = document.preview(|value| {
        found = Some(value.clone());
        Ok((value.clone(), value.clone()))
    });
    let Some(value) = found else {
        // It may be readable nevertheless: YAML has more than can be edited.
        assert!(seen.is_err_and(|error| error.is_corrupt()) && read.is_ok_or_corrupt());
        return;
    };
    let (now, then) = seen.expect("no change is always possible");
    assert!(now.as_deref() == Some(bytes) && then == bytes, "no change changed something");
    assert_eq!(read.expect("what can be edited can be read"), value);
    let mut choices = Choices(choices);
    let mut target = value.clone();
    for _ in 0..=choices.pick(3) {
        target = changed(format, &target, &mut choices).unwrap_or(target);
    }
    if let Some(text) = edited(&document, format, &target, bytes) {
        fs::write(&path, &text).expect("a file to look at");
        edited(&document, format, &value, &text);
    }
    new(&directory.join("new"), format, &target);
}

trait IsOkOrCorrupt {
    fn is_ok_or_corrupt(&self) -> bool;
}

impl<T> IsOkOrCorrupt for Result<T> {
    fn is_ok_or_corrupt(&self) -> bool {
        self.as_ref().err().is_none_or(Error::is_corrupt)
    }
}

/// The text of the document with the target in it, which must read as that; `None` if it is refused.
fn edited(document: &Document, format: Format, target: &Value, bytes: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    let text = match document.preview(|value| Ok((value.clone(), target.clone()))) {
        Ok((_, text)) => text,
        Err(error) => {
            is_clear(format, &error, &format!("{text}\n=> {target:?}"));
            return None;
        }
    };
    let beside = document.path().with_extension("edited");
    fs::write(&beside, &text).expect("a file to look at");
    let read = Document::open(&beside).format(format).read_value();
    assert_eq!(read.as_ref().ok(), Some(target), "{format:?}: {text:?} from {bytes:?}: {read:?}");
    Some(text)
}

/// A new document has the value that it was given.
fn new(path: &Path, format: Format, value: &Value) {
    if *value == Value::Null {
        return;
    }
    let document = Document::open(path).format(format);
    match document.preview(|_| Ok((Value::Null, value.clone()))) {
        Ok((_, text)) => {
            fs::write(path, &text).expect("a file to look at");
            let read = document.read_value();
            assert_eq!(read.as_ref().ok(), Some(value), "{format:?}: {text:?}: {read:?}");
        }
        Err(error) => is_clear(format, &error, &format!("new: {value:?}")),
    }
}

/// A refusal says what can't be, and not that something went wrong. Only TOML can't have everything.
fn is_clear(format: Format, error: &Error, shown: &str) {
    let message = error.to_string();
    let is_caught = CAUGHT.iter().any(|caught| message.contains(caught));
    let is_usual = format == Format::Toml || message.contains("it would nest");
    assert!(error.is_rejected() && !is_caught && is_usual, "{format:?}: {message}\n{shown}");
}

/// Bytes that decide; when they are used up, the first choice is taken.
struct Choices<'b>(&'b [u8]);

impl Choices<'_> {
    fn pick(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count
    }

    fn text(&mut self) -> String {
        let (text, rest) = self.0.split_at(self.0.len().min(8));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

/// The value with one change somewhere in it; `None` if it is to be removed.
fn changed(format: Format, value: &Value, choices: &mut Choices<'_>) -> Option<Value> {
    let choice = choices.pick(8);
    Some(match (choice, value) {
        (0..=4, Value::Object(fields)) if !fields.is_empty() => {
            let mut fields = fields.clone();
            let (key, old) = fields.get_index(choices.pick(fields.len()))?;
            let (key, new) = (key.clone(), changed(format, old, choices));
            match new {
                Some(new) => drop(fields.insert(key, new)),
                None => drop(fields.shift_remove(&key)),
            }
            Value::Object(fields)
        }
        (0..=4, Value::Array(items)) if !items.is_empty() => {
            let mut items = items.clone();
            let index = choices.pick(items.len());
            match changed(format, &items[index], choices) {
                Some(new) => items[index] = new,
                None => drop(items.remove(index)),
            }
            Value::Array(items)
        }
        (5, Value::Object(fields)) => {
            let mut fields = fields.clone();
            fields.insert(new_key(choices), new_value(format, choices));
            Value::Object(fields)
        }
        (5, Value::Array(items)) => {
            let mut items = items.clone();
            items.insert(choices.pick(items.len() + 1), new_value(format, choices));
            Value::Array(items)
        }
        (6, _) => return None,
        _ => new_value(format, choices),
    })
}

fn new_key(choices: &mut Choices<'_>) -> String {
    let keys = ["new", "a", "", "k.x", "é #", "- a", "true", "1", "<<", "two\nlines"];
    let choice = choices.pick(keys.len() + 2);
    keys.get(choice).map_or_else(|| choices.text(), |key| (*key).to_owned())
}

fn new_value(format: Format, choices: &mut Choices<'_>) -> Value {
    let string = |text: &str| Value::String(text.to_owned());
    let number = |text: &str| Value::Number(text.to_owned());
    let object = |value| Value::Object(Fields::from_iter([("a".to_owned(), value)]));
    match choices.pick(18) {
        0 => number("7"),
        1 => number("-0.5e3"),
        2 => Value::Bool(true),
        3 => Value::Null,
        4 => Value::Array(Vec::new()),
        5 => Value::Object(Fields::new()),
        6 => object(number("1")),
        7 => object(object(Value::Array(vec![string("x\ny")]))),
        8 => Value::Array(vec![object(string("")), object(Value::Array(Vec::new()))]),
        9 => Value::Array(vec![number("1"), Value::Array(vec![object(number("2"))])]),
        10 => string("two\nlines\n"),
        11 => string(" \n\n  # no: comment\n "),
        12 => string("\t\u{1}\u{85}\u{2028}\u{feff}'\"\\"),
        13 => string("- a: b"),
        // A string that reads as a date takes the place of a date.
        _ if format == Format::Toml => Value::String(format!("s{}", choices.text())),
        _ => Value::String(choices.text()),
    }
}
