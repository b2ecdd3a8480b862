//! Carries edits out on the tree of a TOML document.
//!
//! Values are edited in their [places](super::places), which is fast and touches nothing else. Where fields or tables come
//! and go, the tree is edited: what stands before a key or a header is its *decor*. The tree writes one kind of line end
//! only, so a document gets its own back, line by line.

use std::collections::HashMap;

use similar::{Algorithm, DiffOp, capture_diff_slices};
use toml_edit::{Decor, Document, DocumentMut, Item, Key, RawString, Table, Value as Toml};

use super::{NOT_A_TABLE, Source, new_item, new_table, new_value, places};
use crate::document::difference::{Edit, FieldEdit, ItemEdit, applied};
use crate::document::formats::list::detached;
use crate::document::value::Value;

/// `text` with `edit` carried out.
///
/// # Errors
///
/// A sentence, if the value can't be written in TOML.
pub(crate) fn edit(text: &str, edit: &Edit<'_>) -> Result<String, String> {
    if let Some(edited) = places::spliced(text, edit)? {
        return Ok(edited);
    }
    let unix = text.replace("\r\n", "\n");
    let mut document: DocumentMut = unix.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let kept = document.to_string();
    if kept.trim_end_matches('\n') != unix.trim_end_matches('\n') {
        return Err("the layout of this file can't be kept".to_owned());
    }
    let Edit::Fields(edits) = edit else { return Err(NOT_A_TABLE.to_owned()) };
    // In a file of comments alone they stand behind everything; what comes in goes below them.
    let comments = match document.as_table().is_empty() {
        true => document.trailing().as_str().unwrap_or_default().to_owned(),
        false => String::new(),
    };
    if !comments.is_empty() {
        document.set_trailing("");
    }
    let left = fields(document.as_table_mut(), edits)?;
    if !left.is_empty() {
        // No field is left that these comments could stand above.
        let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing(format!("{left}{trailing}"));
    }
    let mut edited = comments;
    if !edited.is_empty() && !edited.ends_with('\n') {
        edited.push('\n');
    }
    edited.push_str(&document.to_string());
    if !unix.starts_with('\n') {
        // What stood first is gone, and the blank line before the next is the first now.
        edited.drain(..edited.len() - edited.trim_start_matches('\n').len());
    }
    Ok(with_line_ends(text, &kept, &edited))
}

/// `edited` with the line ends of `text`, whose copy with the tree's line ends is `kept`.
fn with_line_ends(text: &str, kept: &str, edited: &str) -> String {
    if text == kept {
        return edited.to_owned();
    }
    let crlf = text.matches("\r\n").count();
    let line_end = if crlf * 2 > text.matches('\n').count() { "\r\n" } else { "\n" };
    // The tree ends the last line, whether the file did or not.
    let ended = if text.ends_with('\n') { text.to_owned() } else { format!("{text}{line_end}") };
    let old: Vec<&str> = ended.split_inclusive('\n').collect();
    let mut out = String::with_capacity(edited.len() + crlf);
    if old.iter().all(|line| line.ends_with("\r\n") == (line_end == "\r\n")) {
        out.push_str(&edited.replace('\n', line_end));
    } else {
        let bare: Vec<&str> =
            old.iter().map(|line| line.trim_end_matches('\n').trim_end_matches('\r')).collect();
        let new: Vec<&str> = edited.split_terminator('\n').collect();
        for op in capture_diff_slices(Algorithm::Myers, &bare, &new) {
            match op {
                DiffOp::Equal { old_index, len, .. } => {
                    out.extend(old[old_index..old_index + len].iter().copied());
                }
                op => new[op.new_range()].iter().for_each(|line| out.extend([line, line_end])),
            }
        }
    }
    if !text.ends_with('\n') {
        out.truncate(out.strip_suffix(line_end).unwrap_or(&out).len());
    }
    out
}

/// Edits a table, and returns the comments that stay of what was removed behind its last field.
fn fields(table: &mut Table, edits: &[(&str, FieldEdit<'_>)]) -> Result<String, String> {
    let edits_in_order = edits;
    let edits: HashMap<&str, &FieldEdit<'_>> = edits.iter().map(|(key, edit)| (*key, edit)).collect();
    let mut carried = String::new();
    let is_removed = |key: &str| matches!(edits.get(key), Some(FieldEdit::Remove));
    for (mut key, item) in table.iter_mut() {
        let removed = is_removed(&key);
        if let Some(decor) = decor_of(item, key.leaf_decor_mut()) {
            let lead = format!("\n{}", prefix(decor));
            if removed {
                let stays = detached(&lead).trim_start_matches('\n');
                if !stays.is_empty() {
                    carried.push_str(&format!("{stays}\n\n"));
                }
            } else if !carried.is_empty() {
                decor.set_prefix(format!("{}{}", std::mem::take(&mut carried), &lead[1..]));
            }
        }
    }
    table.retain(|key, _| !is_removed(key));
    let is_dotted = table.is_dotted();
    for (key, item) in table.iter_mut() {
        if let Some(FieldEdit::Change(edit)) = edits.get(key.get()) {
            change(item, edit)?;
        }
    }
    let last = table.iter_mut().filter_map(|(_, item)| item.as_value_mut()).last();
    if let Some(last) = last.filter(|_| !carried.is_empty()) {
        let suffix = last.decor().suffix().and_then(RawString::as_str).unwrap_or_default();
        let suffix = format!("{suffix}\n\n{}", std::mem::take(&mut carried).trim_end());
        last.decor_mut().set_suffix(suffix);
    }
    let manner = table.iter().filter(|(_, item)| item.is_value()).last();
    let manner =
        manner.and_then(|(name, item)| Some((table.key(name)?.clone(), item.as_value()?.decor().clone())));
    for (name, edit) in edits_in_order {
        if let FieldEdit::Add(new) = edit {
            add(table, name, new, is_dotted, manner.as_ref())?;
        }
    }
    Ok(carried)
}

/// Adds a field in the manner of its sibling: indentation, and blanks around the equals sign.
fn add(
    table: &mut Table,
    name: &str,
    new: &Value,
    is_dotted: bool,
    manner: Option<&(Key, Decor)>,
) -> Result<(), String> {
    // A header can't name a table that dotted keys made.
    let item = if is_dotted { Item::Value(new_value(new)?) } else { new_item(new)? };
    let (Item::Value(mut value), Some((sibling, decor))) = (item.clone(), manner) else {
        table.insert(name, item);
        return Ok(());
    };
    let blank = |text: Option<&RawString>| {
        let text = text.and_then(RawString::as_str).unwrap_or_default();
        text.rsplit('\n').next().filter(|text| text.trim().is_empty()).unwrap_or_default().to_owned()
    };
    let leaf = sibling.leaf_decor();
    let key = Key::new(name).with_leaf_decor(Decor::new(blank(leaf.prefix()), blank(leaf.suffix())));
    value.decor_mut().set_prefix(blank(decor.prefix()));
    table.insert_formatted(&key, Item::Value(value));
    Ok(())
}

/// Edits one field's value.
fn change(item: &mut Item, edit: &Edit<'_>) -> Result<(), String> {
    match (&mut *item, edit) {
        (Item::Table(table), Edit::Fields(edits)) => {
            let left = fields(table, edits)?;
            let suffix = table.decor().suffix().and_then(RawString::as_str).unwrap_or_default().to_owned();
            if !left.is_empty() && !table.is_implicit() && !table.is_dotted() {
                table.decor_mut().set_suffix(format!("{suffix}\n\n{}", left.trim_end()));
            }
        }
        (Item::ArrayOfTables(tables), Edit::Items(edits)) if edits.iter().all(|(_, edit)| is_table(edit)) => {
            for (index, edit) in edits {
                match edit {
                    ItemEdit::Remove => drop(tables.remove(*index)),
                    ItemEdit::Insert(Value::Object(fields)) => {
                        let mut table = new_table(fields)?;
                        table.set_implicit(false);
                        tables.insert(*index, table);
                    }
                    ItemEdit::Change(Edit::Fields(edits)) => {
                        let table = tables.get_mut(*index).ok_or("there is no such table")?;
                        // A comment above nothing goes with the field that it was about.
                        let _no_place = fields(table, edits)?;
                    }
                    ItemEdit::Insert(_) | ItemEdit::Change(_) => unreachable!("only tables were let in"),
                }
            }
            if tables.is_empty() {
                *item = Item::Value(Toml::Array(toml_edit::Array::new()));
            }
        }
        (Item::Value(value), edit) => *value = edited_value(value, edit)?,
        (item, Edit::Set(new)) => *item = new_item(new)?,
        (item, edit) => {
            let whole = applied(&Source("").item(item), edit);
            *item = Item::Value(new_value(&whole)?);
        }
    }
    Ok(())
}

fn is_table(edit: &ItemEdit<'_>) -> bool {
    match edit {
        ItemEdit::Remove | ItemEdit::Insert(Value::Object(_)) | ItemEdit::Change(Edit::Fields(_)) => true,
        ItemEdit::Insert(_) | ItemEdit::Change(_) => false,
    }
}

/// The value edited, with the comment behind it.
fn edited_value(value: &Toml, edit: &Edit<'_>) -> Result<Toml, String> {
    let mut bare = value.clone();
    *bare.decor_mut() = Decor::new("", "");
    let mut new: Toml = match edit {
        Edit::Set(new) => places::replaced(&bare, new)?,
        _ => {
            const NAME: &str = "v=";
            let text = format!("{NAME}{bare}");
            let document = Document::parse(text.as_str()).map_err(|error| error.to_string())?;
            let parsed = document.get("v").and_then(Item::as_value).ok_or("there is no value to edit")?;
            let edited = places::edited(&places::Text::of(&text), parsed, edit)?;
            edited.parse().map_err(|error: toml_edit::TomlError| error.to_string())?
        }
    };
    *new.decor_mut() = value.decor().clone();
    Ok(new)
}

/// The decor that has what stands above an item.
fn decor_of<'a>(item: &'a mut Item, key: &'a mut Decor) -> Option<&'a mut Decor> {
    match item {
        Item::Value(_) => Some(key),
        Item::Table(table) if !table.is_implicit() && !table.is_dotted() => Some(table.decor_mut()),
        Item::ArrayOfTables(tables) => tables.get_mut(0).map(Table::decor_mut),
        _ => None,
    }
}

fn prefix(decor: &Decor) -> String {
    decor.prefix().and_then(RawString::as_str).unwrap_or_default().to_owned()
}
