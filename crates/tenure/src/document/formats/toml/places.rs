//! Edits of values in their places: the text between them is copied.

use std::collections::HashMap;
use std::ops::Range;

use toml_edit::{Document, Item, Key, Table, Value as Toml};

use super::{Source, new_value};
use crate::document::difference::{Edit, FieldEdit, ItemEdit, applied};
use crate::document::formats::list::{Comments, Manner, Pieces, Step};
use crate::document::value::Value;

/// `text` with `edit` carried out, if that only changes values; `None` if fields or tables come or go.
pub(super) fn spliced(text: &str, edit: &Edit<'_>) -> Result<Option<String>, String> {
    let Edit::Fields(edits) = edit else { return Ok(None) };
    if !edits.iter().all(|(_, edit)| matches!(edit, FieldEdit::Change(_))) {
        return Ok(None);
    }
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    let mut splices = Vec::new();
    if !fields(&Text::of(text), document.as_table(), edits, &mut splices)? {
        return Ok(None);
    }
    splices.sort_by_key(|(place, _): &(Range<usize>, String)| place.start);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (place, new) in &splices {
        out.push_str(&text[from..place.start]);
        out.push_str(new);
        from = place.end;
    }
    out.push_str(&text[from..]);
    Ok(Some(out))
}

/// A text, and the line ends of what comes into it.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    text: &'t str,
    line_end: &'t str,
}

impl<'t> Text<'t> {
    pub(super) fn of(text: &'t str) -> Text<'t> {
        Text { text, line_end: if text.contains("\r\n") { "\r\n" } else { "\n" } }
    }
}

/// Collects what is put where; `false` if that is not all.
fn fields(
    whole: &Text<'_>,
    table: &Table,
    edits: &[(&str, FieldEdit<'_>)],
    splices: &mut Vec<(Range<usize>, String)>,
) -> Result<bool, String> {
    for (key, edit) in edits {
        let (FieldEdit::Change(edit), Some(item)) = (edit, table.get(key)) else { return Ok(false) };
        let done = match (item, edit) {
            (Item::Value(value), edit) if !is_dotted(value) => {
                splices.push((value.span().ok_or(NO_PLACE)?, edited(whole, value, edit)?));
                true
            }
            (Item::Table(table), Edit::Fields(edits)) => fields(whole, table, edits, splices)?,
            (Item::ArrayOfTables(tables), Edit::Items(edits)) => {
                let mut done = true;
                for (index, edit) in edits {
                    let (ItemEdit::Change(Edit::Fields(edits)), Some(table)) = (edit, tables.get(*index))
                    else {
                        return Ok(false);
                    };
                    done = done && fields(whole, table, edits, splices)?;
                }
                done
            }
            _ => false,
        };
        if !done {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A new value in an old one's place; a string keeps its quotes.
pub(super) fn replaced(old: &Toml, new: &Value) -> Result<Toml, String> {
    if let (Toml::String(_), Value::String(text)) = (old, new)
        && old.to_string().starts_with('\'')
        && !text.contains(|c: char| c == '\'' || c.is_control())
    {
        return super::literal(&format!("'{text}'"));
    }
    new_value(new)
}

/// The text of a value, edited.
pub(super) fn edited(whole: &Text<'_>, value: &Toml, edit: &Edit<'_>) -> Result<String, String> {
    let place =
        |span: Option<std::ops::Range<usize>>| span.map(|span| (span.start, span.end)).ok_or(NO_PLACE);
    let (start, end) = place(value.span())?;
    let Text { text, line_end } = *whole;
    let manner = Manner { comments: Comments::Hash, on_lines: false, spaced: true, unit: "    ", line_end };
    match (value, edit) {
        (_, Edit::Set(new)) => Ok(replaced(&literal_of(&text[start..end])?, new)?.to_string()),
        (Toml::Array(array), Edit::Items(edits)) => {
            let places = array.iter().map(|item| place(item.span())).collect::<Result<Vec<_>, _>>()?;
            let pieces = Pieces::take_apart(manner, text, [start, end], &places);
            let steps = edits.iter().rev().map(|(index, edit)| {
                let step = match edit {
                    ItemEdit::Remove => Step::Remove,
                    ItemEdit::Insert(new) => Step::Insert(new_value(new)?.to_string()),
                    ItemEdit::Change(edit) => {
                        let item = array.get(*index).ok_or(NO_PLACE)?;
                        Step::Change(edited(whole, item, edit)?)
                    }
                };
                Ok((*index, step))
            });
            Ok(pieces.edited(steps.collect::<Result<Vec<_>, String>>()?))
        }
        (Toml::InlineTable(table), Edit::Fields(edits))
            if !table.iter().any(|(_, field)| is_dotted(field)) =>
        {
            let names: Vec<&str> = table.iter().map(|(name, _)| name).collect();
            let keys = names.iter().map(|name| place(table.key(name).and_then(Key::span)));
            let values = table.iter().map(|(_, field)| place(field.span()));
            let places = keys.zip(values).map(|(key, value)| Ok((key?.0, value?.1)));
            let places = places.collect::<Result<Vec<_>, String>>()?;
            let pieces = Pieces::take_apart(manner, text, [start, end], &places);
            let indexes: HashMap<&str, usize> =
                names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
            let mut steps = Vec::with_capacity(edits.len());
            for (key, edit) in edits {
                steps.push(match (edit, indexes.get(key)) {
                    (FieldEdit::Add(new), None) => {
                        let field = format!("{} = {}", Key::new(*key), new_value(new)?);
                        (names.len(), Step::Insert(field))
                    }
                    (FieldEdit::Remove, Some(index)) => (*index, Step::Remove),
                    (FieldEdit::Change(edit), Some(index)) => {
                        let field = table.get(key).ok_or(NO_PLACE)?;
                        let name = &text[places[*index].0..place(field.span())?.0];
                        (*index, Step::Change(format!("{name}{}", edited(whole, field, edit)?)))
                    }
                    _ => return Err(NO_PLACE.to_owned()),
                });
            }
            steps.sort_by_key(|(index, _)| *index);
            Ok(pieces.edited(steps))
        }
        _ => Ok(new_value(&applied(&Source("").value(&literal_of(&text[start..end])?), edit))?.to_string()),
    }
}

const NO_PLACE: &str = "the text does not have the place to change";

/// A value with its own text, which a part of a parsed document does not have.
fn literal_of(text: &str) -> Result<Toml, String> {
    super::literal(text)
}

fn is_dotted(field: &Toml) -> bool {
    matches!(field, Toml::InlineTable(table) if table.is_dotted())
}
