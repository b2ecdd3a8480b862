//! What a node of a document for update means, and what an edit makes of it: for the places where a node is written
//! anew.

use std::collections::HashMap;

use super::reading::scalar_value;
use super::tree::{Content, Entry, Node};
use crate::document::difference::{Edit, FieldEdit, ItemEdit};
use crate::document::value::Value;

/// An entry's key; all are scalars in a document for update.
pub(super) fn key<'n>(entry: &'n Entry<'_>) -> Option<&'n str> {
    match &entry.key.content {
        Content::Scalar(key) => Some(&key.text),
        _ => None,
    }
}

fn value(node: &Node<'_>) -> Value {
    match &node.content {
        Content::Scalar(scalar) => scalar_value(node.is_empty(), scalar.style, &scalar.text),
        Content::Sequence { items, .. } => Value::Array(items.iter().map(value).collect()),
        Content::Mapping { entries, .. } => Value::Object(
            entries.iter().filter_map(|entry| Some((key(entry)?.to_owned(), value(&entry.value)))).collect(),
        ),
        Content::Alias(_) => Value::Null,
    }
}

/// What the node means once it is edited.
pub(super) fn after(node: &Node<'_>, edit: &Edit<'_>) -> Value {
    match edit {
        Edit::Set(value) => (*value).clone(),
        Edit::Fields(edits) => fields_after(node, edits),
        Edit::Items(edits) => items_after(node, edits),
    }
}

pub(super) fn fields_after(node: &Node<'_>, edits: &[(&str, FieldEdit<'_>)]) -> Value {
    let Content::Mapping { entries, .. } = &node.content else { return value(node) };
    let by_key: HashMap<&str, &FieldEdit<'_>> = edits.iter().map(|(key, edit)| (*key, edit)).collect();
    let kept = entries.iter().filter_map(|entry| {
        let key = key(entry)?;
        let value = match by_key.get(key) {
            None => value(&entry.value),
            Some(FieldEdit::Change(edit)) => after(&entry.value, edit),
            Some(_) => return None,
        };
        Some((key.to_owned(), value))
    });
    let added = edits.iter().filter_map(|(key, edit)| match edit {
        FieldEdit::Add(value) => Some(((*key).to_owned(), (*value).clone())),
        _ => None,
    });
    Value::Object(kept.chain(added).collect())
}

pub(super) fn items_after(node: &Node<'_>, edits: &[(usize, ItemEdit<'_>)]) -> Value {
    let Content::Sequence { items, .. } = &node.content else { return value(node) };
    let mut made = Vec::new();
    // From the first to the last, with the untouched items between.
    let mut next = 0;
    for (index, edit) in edits.iter().rev() {
        made.extend(items[next.min(*index)..*index].iter().map(value));
        next = next.max(*index);
        match edit {
            ItemEdit::Insert(value) => made.push((*value).clone()),
            ItemEdit::Remove => next = index + 1,
            ItemEdit::Change(edit) => {
                made.push(after(&items[*index], edit));
                next = index + 1;
            }
        }
    }
    made.extend(items[next..].iter().map(value));
    Value::Array(made)
}
