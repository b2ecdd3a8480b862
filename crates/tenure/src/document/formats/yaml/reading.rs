//! The value that a tree means: strictly, for updates, or with aliases, merge keys and tags resolved, for reads.

use std::collections::HashMap;

use granit_parser::{ScalarStyle, Tag};
use indexmap::map::Entry as Slot;

use super::super::Problem;
use super::scalar::resolve;
use super::tree::{Content, Entry, Node, Scalar};
use crate::document::value::{DEPTH_MAX, Fields, Value};

/// As much as aliases may stand for in all: each value that they repeat counts one, and each byte of its text.
const REPEATED_MAX: usize = 1_000_000;

fn problem(text: &str, at: usize, what: impl Into<String>) -> Problem {
    Problem::at(text.as_bytes(), at, what)
}

/// What a scalar without a tag means.
pub(super) fn scalar_value(is_empty: bool, style: ScalarStyle, text: &str) -> Value {
    match style {
        ScalarStyle::Plain if is_empty => Value::Null,
        ScalarStyle::Plain => resolve(text),
        _ => Value::String(text.to_owned()),
    }
}

/// Takes a tree apart that was built for an update, in which there are no aliases, anchors and tags.
pub(super) fn strict(text: &str, node: Node<'_>) -> Result<Value, Problem> {
    let is_empty = node.is_empty();
    match node.content {
        Content::Scalar(found) => Ok(scalar_value(is_empty, found.style, &found.text)),
        Content::Sequence { items, .. } => {
            items.into_iter().map(|item| strict(text, item)).collect::<Result<_, _>>().map(Value::Array)
        }
        Content::Mapping { entries, .. } => {
            let mut fields = Fields::with_capacity(entries.len());
            for Entry { key, value, .. } in entries {
                let at = key.start;
                add(text, at, &mut fields, strict_key(text, key)?, strict(text, value)?)?;
            }
            Ok(Value::Object(fields))
        }
        Content::Alias(_) => Err(problem(text, node.start, "an alias can't be updated")),
    }
}

fn strict_key(text: &str, node: Node<'_>) -> Result<String, Problem> {
    let (at, is_empty) = (node.start, node.is_empty());
    let Content::Scalar(key) = node.content else {
        return Err(problem(text, at, COMPLEX_KEY));
    };
    if key.style == ScalarStyle::Plain && key.text == "<<" {
        let what = "a merge key can be read but not updated: write the fields out that it stands for";
        return Err(problem(text, at, what));
    }
    match scalar_value(is_empty, key.style, &key.text) {
        Value::String(key) => Ok(key),
        _ => Err(problem(text, at, "a key that is no string can be read but not updated: put it in quotes")),
    }
}

const COMPLEX_KEY: &str = "a key that is a list or a mapping has no place in a document: only strings have";

fn add(text: &str, at: usize, fields: &mut Fields, key: String, value: Value) -> Result<(), Problem> {
    match fields.entry(key) {
        Slot::Vacant(slot) => {
            slot.insert(value);
            Ok(())
        }
        Slot::Occupied(slot) => Err(problem(text, at, format!("the key {:?} stands here twice", slot.key()))),
    }
}

/// Reads what an update would refuse.
pub(super) struct Reader<'t, 'n> {
    text: &'t str,
    /// The anchored values that were read to their end, so that none contains itself.
    anchors: HashMap<usize, &'n Node<'t>>,
    /// How many aliases the value that is read stands in.
    aliases: usize,
    repeated: usize,
}

impl<'t, 'n> Reader<'t, 'n> {
    pub(super) fn new(text: &'t str) -> Reader<'t, 'n> {
        Reader { text, anchors: HashMap::new(), aliases: 0, repeated: 0 }
    }

    fn problem<T>(&self, node: &Node<'_>, what: impl Into<String>) -> Result<T, Problem> {
        Err(problem(self.text, node.start, what))
    }

    pub(super) fn read(&mut self, node: &'n Node<'t>, depth: usize) -> Result<Value, Problem> {
        if depth > DEPTH_MAX {
            return self.problem(node, format!("nested more than {DEPTH_MAX} deep"));
        }
        self.count(node)?;
        let value = match &node.content {
            Content::Alias(anchor) => {
                let Some(meant) = self.anchors.get(anchor).copied() else {
                    return self.problem(node, "this alias stands for a value that contains it");
                };
                self.aliases += 1;
                let value = self.read(meant, depth)?;
                self.aliases -= 1;
                value
            }
            Content::Scalar(found) => self.scalar(node, found)?,
            Content::Sequence { items, .. } => {
                self.expect_tag(node, "seq")?;
                let items = items.iter().map(|item| self.read(item, depth + 1));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Content::Mapping { entries, .. } => {
                self.expect_tag(node, "map")?;
                self.mapping(entries, depth)?
            }
        };
        if node.anchor > 0 {
            self.anchors.insert(node.anchor, node);
        }
        Ok(value)
    }

    /// A short text can repeat itself by aliases until no memory holds it.
    fn count(&mut self, node: &Node<'_>) -> Result<(), Problem> {
        if self.aliases > 0 {
            self.repeated +=
                1 + if let Content::Scalar(scalar) = &node.content { scalar.text.len() } else { 0 };
        }
        match self.repeated > REPEATED_MAX {
            true => self.problem(node, format!("aliases repeat more than {REPEATED_MAX} values and bytes")),
            false => Ok(()),
        }
    }

    fn mapping(&mut self, entries: &'n [Entry<'t>], depth: usize) -> Result<Value, Problem> {
        let mut fields = Fields::with_capacity(entries.len());
        let mut merged = Vec::new();
        for entry in entries {
            let key = self.read_key(&entry.key)?;
            let value = self.read(&entry.value, depth + 1)?;
            let is_merge = matches!(&entry.key.content, Content::Scalar(key)
                if key.style == ScalarStyle::Plain && key.text == "<<" && entry.key.tag.is_none());
            if is_merge {
                merged.push((&entry.value, value));
            } else {
                add(self.text, entry.key.start, &mut fields, key, value)?;
            }
        }
        for (node, value) in merged {
            let sources = if let Value::Array(items) = value { items } else { vec![value] };
            for source in sources {
                let Value::Object(source) = source else {
                    return self.problem(node, "a merge key takes a mapping, or a list of mappings");
                };
                for (key, value) in source {
                    fields.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(fields))
    }

    fn read_key(&mut self, node: &'n Node<'t>) -> Result<String, Problem> {
        self.count(node)?;
        let key = match &node.content {
            Content::Scalar(_) if node.is_empty() => String::new(),
            Content::Scalar(key) => key.text.clone().into_owned(),
            Content::Alias(anchor) => match self.anchors.get(anchor).copied() {
                Some(meant) => return self.read_key(meant),
                None => return self.problem(node, COMPLEX_KEY),
            },
            _ => return self.problem(node, COMPLEX_KEY),
        };
        if node.anchor > 0 {
            self.anchors.insert(node.anchor, node);
        }
        Ok(key)
    }

    fn expect_tag(&self, node: &Node<'_>, expected: &str) -> Result<(), Problem> {
        match &node.tag {
            Some(tag) if core(tag) != Some(expected) => self.unknown_tag(node, tag),
            _ => Ok(()),
        }
    }

    fn unknown_tag<T>(&self, node: &Node<'_>, tag: &Tag) -> Result<T, Problem> {
        self.problem(
            node,
            format!("the tag {} does not fit this value, or is not of the core schema", tag.original()),
        )
    }

    fn scalar(&self, node: &Node<'t>, found: &Scalar<'t>) -> Result<Value, Problem> {
        let Some(tag) = &node.tag else {
            return Ok(scalar_value(node.is_empty(), found.style, &found.text));
        };
        let text = if node.is_empty() && found.style == ScalarStyle::Plain { "" } else { &*found.text };
        let value = resolve(text);
        let fits = match (core(tag), &value) {
            (Some("str"), _) => return Ok(Value::String(text.to_owned())),
            (Some("int"), Value::Number(number)) => !number.contains(['.', 'e', 'E']),
            (Some("null"), Value::Null)
            | (Some("bool"), Value::Bool(_))
            | (Some("float"), Value::Number(_) | Value::Foreign(_)) => true,
            _ => false,
        };
        if fits { Ok(value) } else { self.unknown_tag(node, tag) }
    }
}

/// The name of a tag of the core schema; `!` alone makes a scalar a string.
fn core(tag: &Tag) -> Option<&str> {
    if tag.original() == "!" { Some("str") } else { tag.core_suffix() }
}
