//! Carries edits out on the tree of a TOML document.
//!
//! Values are edited in their [places](super::places), and fields and tables [removed](super::removal) by their lines, which
//! touches nothing else. Where fields or tables come, the tree is edited: what stands before a key or a header is its
//! *decor*. The tree writes one kind of line end only, so a document gets its own back, line by line.

use toml_edit::visit_mut::VisitMut;
use toml_edit::{ArrayOfTables, Decor, DocumentMut, Item, Key, RawString, Table};

use super::places::{NO_PLACE, OneLine};
use super::{NOT_A_TABLE, new_item, new_table, new_value, places, removal, without_line_end};
use crate::document::difference::{Edit, FieldEdit, ItemEdit, difference};
use crate::document::value::Value;

/// `text` with `edit` carried out, which leads to `target`.
///
/// # Errors
///
/// A sentence, if the value can't be written in TOML.
pub(crate) fn edit(text: &str, edit: &Edit<'_>, target: &Value) -> Result<String, String> {
    let mut edited = carried_out(text, edit, target)?;
    if !text.is_empty() && !text.ends_with('\n') {
        // The last line of the file has no end, whichever line that is.
        edited.truncate(without_line_end(&edited).len());
    }
    Ok(edited)
}

fn carried_out(text: &str, edit: &Edit<'_>, target: &Value) -> Result<String, String> {
    let (mut now, is_all) = places::spliced(text, edit)?;
    if is_all {
        return Ok(now);
    }
    // What has gone may have been all that named a table around it, and elements may be paired in another way then.
    for _ in 0..ROUNDS_MAX {
        let value = super::parse(&now).map_err(|problem| problem.to_string())?;
        let Some(edit) = difference(&value, target) else { return Ok(now) };
        match removal::removed(&now, &edit)? {
            Some(left) => now = left,
            None => {
                let (changed, is_all) = places::spliced(&now, &edit)?;
                return if is_all { Ok(changed) } else { grown(&changed, &edit, text) };
            }
        }
    }
    Err("the tables of this file can't be changed like that".to_owned())
}

/// How often what is left is compared with what is meant.
const ROUNDS_MAX: usize = 4;

/// `text` with an edit carried out that only adds fields and tables, and with the line ends of `whole`.
fn grown(text: &str, edit: &Edit<'_>, whole: &str) -> Result<String, String> {
    let unix = text.replace("\r\n", "\n");
    let mut document: DocumentMut = unix.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    if document.to_string().trim_end_matches('\n') != unix.trim_end_matches('\n') {
        return Err(NO_LAYOUT.to_owned());
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
    fields(document.as_table_mut(), edits)?;
    if whole.contains("\r\n") {
        OneLine.visit_document_mut(&mut document);
    }
    let mut edited = comments;
    if !edited.is_empty() && !edited.ends_with('\n') {
        edited.push('\n');
    }
    edited.push_str(&document.to_string());
    if !unix.starts_with('\n') {
        // A table that comes first has a blank line above it otherwise.
        edited.drain(..edited.len() - edited.trim_start_matches('\n').len());
    }
    with_line_ends(text, &edited, whole)
}

/// `edited` with the line ends of `text`, and in new lines those of `whole`, of which `text` is what is left.
///
/// # Errors
///
/// A sentence, if a line of `text` is not in `edited`.
fn with_line_ends(text: &str, edited: &str, whole: &str) -> Result<String, String> {
    let crlf = whole.matches("\r\n").count();
    let line_end = if crlf * 2 > whole.matches('\n').count() { "\r\n" } else { "\n" };
    let mut old = text.split_inclusive('\n').peekable();
    let mut out = String::with_capacity(edited.len() + crlf);
    for line in edited.split_terminator('\n') {
        let kept = old.next_if(|kept| without_line_end(kept) == line).filter(|kept| kept.ends_with('\n'));
        match kept {
            Some(kept) => out.push_str(kept),
            None => out.extend([line, line_end]),
        }
    }
    if old.any(|line| !line.trim().is_empty()) {
        return Err(NO_LAYOUT.to_owned());
    }
    Ok(out)
}

const NO_LAYOUT: &str = "the layout of this file can't be kept";

/// Edits a table.
fn fields(table: &mut Table, edits: &[(&str, FieldEdit<'_>)]) -> Result<(), String> {
    let is_dotted = table.is_dotted();
    for (name, edit) in edits {
        if let FieldEdit::Change(edit) = edit {
            change(table.get_mut(name).ok_or(NO_PLACE)?, edit)?;
        }
    }
    let manner = table.iter().filter(|(_, item)| item.is_value()).last();
    let manner =
        manner.and_then(|(name, item)| Some((table.key(name)?.clone(), item.as_value()?.decor().clone())));
    for (name, edit) in edits {
        if let FieldEdit::Add(new) = edit {
            add(table, name, new, is_dotted, manner.as_ref())?;
        }
    }
    Ok(())
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
        (Item::Table(table), Edit::Fields(edits)) => fields(table, edits)?,
        // Done already, in its place.
        (Item::Value(_), _) => {}
        (Item::ArrayOfTables(list), Edit::Items(edits)) => tables(list, edits)?,
        _ => return Err(NO_PLACE.to_owned()),
    }
    Ok(())
}

/// Edits the tables of an array.
fn tables(list: &mut ArrayOfTables, edits: &[(usize, ItemEdit<'_>)]) -> Result<(), String> {
    // Headers are written in the order of their numbers, equal ones in that of the tree.
    let behind = list.iter().filter_map(last_position).max();
    let mut edits = edits.iter().rev().peekable();
    for (index, mut old) in std::mem::take(list).into_iter().enumerate() {
        while let Some((_, edit)) = edits.next_if(|(place, _)| *place == index) {
            match edit {
                ItemEdit::Change(Edit::Fields(edits)) => fields(&mut old, edits)?,
                edit => list.push(inserted(edit, old.position())?),
            }
        }
        list.push(old);
    }
    edits.try_for_each(|(_, edit)| inserted(edit, behind).map(|table| list.push(table)))
}

/// A new table of an array, with the number of its header.
fn inserted(edit: &ItemEdit<'_>, position: Option<isize>) -> Result<Table, String> {
    let ItemEdit::Insert(Value::Object(fields)) = edit else { return Err(NO_PLACE.to_owned()) };
    let mut table = new_table(fields)?;
    table.set_implicit(false);
    table.set_position(position);
    Ok(table)
}

/// The number of the last header in a table.
fn last_position(table: &Table) -> Option<isize> {
    let inner = table.iter().filter_map(|(_, item)| match item {
        Item::Table(table) => last_position(table),
        Item::ArrayOfTables(tables) => tables.iter().filter_map(last_position).max(),
        Item::Value(_) | Item::None => None,
    });
    inner.chain(table.position()).max()
}
