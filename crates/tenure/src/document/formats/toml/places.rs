//! Edits of values in their places: the text between them is copied.

use std::collections::HashMap;
use std::ops::Range;

use toml_edit::visit_mut::{VisitMut, visit_value_mut};
use toml_edit::{Document, InlineTable, Item, Key, Table, Value as Toml};

use super::{NOT_A_TABLE, Source, new_value};
use crate::document::difference::{Edit, FieldEdit, ItemEdit, applied};
use crate::document::formats::list::{Comments, Manner, Pieces, Step};
use crate::document::value::Value;

/// `text` with those of the edits carried out that change values, and whether that is all of them.
pub(super) fn spliced(text: &str, edit: &Edit<'_>) -> Result<(String, bool), String> {
    let Edit::Fields(edits) = edit else { return Err(NOT_A_TABLE.to_owned()) };
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    let mut splices = Vec::new();
    let is_all = fields(&Text::of(text), document.as_table(), edits, &mut splices)?;
    Ok((put(text, 0..text.len(), splices), is_all))
}

/// A part of the text, with pieces of it replaced.
fn put(text: &str, part: Range<usize>, mut splices: Vec<(Range<usize>, String)>) -> String {
    splices.sort_by_key(|(place, _)| place.start);
    let mut out = String::with_capacity(part.len());
    let mut from = part.start;
    for (place, new) in &splices {
        out.push_str(&text[from..place.start]);
        out.push_str(new);
        from = place.end;
    }
    out.push_str(&text[from..part.end]);
    out
}

/// A text, and the line ends of what comes into it.
#[derive(Clone, Copy)]
struct Text<'t> {
    text: &'t str,
    line_end: &'t str,
}

impl<'t> Text<'t> {
    fn of(text: &'t str) -> Text<'t> {
        Text { text, line_end: if text.contains("\r\n") { "\r\n" } else { "\n" } }
    }

    /// The text of a new value.
    fn written(&self, mut value: Toml) -> String {
        if self.line_end == "\r\n" {
            OneLine.visit_value_mut(&mut value);
        }
        value.to_string()
    }
}

/// Collects what is put where; `false` if fields or tables come or go, too.
fn fields(
    whole: &Text<'_>,
    table: &Table,
    edits: &[(&str, FieldEdit<'_>)],
    splices: &mut Vec<(Range<usize>, String)>,
) -> Result<bool, String> {
    let mut is_all = true;
    for (key, edit) in edits {
        let FieldEdit::Change(edit) = edit else {
            is_all = false;
            continue;
        };
        match (table.get(key).ok_or(NO_PLACE)?, edit) {
            (Item::Value(value), edit) => {
                splices.push((value.span().ok_or(NO_PLACE)?, edited(whole, value, edit)?));
            }
            (Item::Table(table), Edit::Fields(edits)) => is_all &= fields(whole, table, edits, splices)?,
            (Item::ArrayOfTables(tables), Edit::Items(edits))
                if edits.iter().all(|(_, edit)| is_table(edit)) =>
            {
                for (index, edit) in edits {
                    is_all &= match edit {
                        ItemEdit::Change(Edit::Fields(edits)) => {
                            fields(whole, tables.get(*index).ok_or(NO_PLACE)?, edits, splices)?
                        }
                        _ => false,
                    };
                }
            }
            _ => is_all = false,
        }
    }
    Ok(is_all)
}

/// Whether an array of tables is one still after this edit of an element.
pub(super) fn is_table(edit: &ItemEdit<'_>) -> bool {
    match edit {
        ItemEdit::Remove | ItemEdit::Insert(Value::Object(_)) | ItemEdit::Change(Edit::Fields(_)) => true,
        ItemEdit::Insert(_) | ItemEdit::Change(_) => false,
    }
}

/// A new value in an old one's place; a string keeps its quotes.
fn replaced(old: &Toml, new: &Value) -> Result<Toml, String> {
    if let (Toml::String(_), Value::String(text)) = (old, new)
        && old.to_string().starts_with('\'')
        && !text.contains(|c: char| c == '\'' || c.is_control())
    {
        return super::literal(&format!("'{text}'"));
    }
    new_value(new)
}

/// The text of a value, edited.
fn edited(whole: &Text<'_>, value: &Toml, edit: &Edit<'_>) -> Result<String, String> {
    let place =
        |span: Option<std::ops::Range<usize>>| span.map(|span| (span.start, span.end)).ok_or(NO_PLACE);
    let (start, end) = place(value.span())?;
    let Text { text, line_end } = *whole;
    let manner = Manner { comments: Comments::Hash, on_lines: false, spaced: true, unit: "    ", line_end };
    let mut splices = Vec::new();
    match (value, edit) {
        (_, Edit::Set(new)) => Ok(whole.written(replaced(&literal_of(&text[start..end])?, new)?)),
        (Toml::Array(array), Edit::Items(edits)) => {
            let places = array.iter().map(|item| place(item.span())).collect::<Result<Vec<_>, _>>()?;
            let pieces = Pieces::take_apart(manner, text, [start, end], &places);
            let steps = edits.iter().rev().map(|(index, edit)| {
                let step = match edit {
                    ItemEdit::Remove => Step::Remove,
                    ItemEdit::Insert(new) => Step::Insert(whole.written(new_value(new)?)),
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
                        let field = format!("{} = {}", Key::new(*key), whole.written(new_value(new)?));
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
        (Toml::InlineTable(table), Edit::Fields(edits)) if dotted(whole, table, edits, &mut splices)? => {
            Ok(put(text, start..end, splices))
        }
        _ if text[start..end].contains('\n') => {
            Err("the layout of a table in braces with dotted keys on several lines can't be kept".to_owned())
        }
        _ => {
            let old = Source("").value(&literal_of(&text[start..end])?);
            Ok(whole.written(new_value(&applied(&old, edit))?))
        }
    }
}

/// Collects what is put where in a table in braces with dotted keys; `false` if fields come or go.
fn dotted(
    whole: &Text<'_>,
    table: &InlineTable,
    edits: &[(&str, FieldEdit<'_>)],
    splices: &mut Vec<(Range<usize>, String)>,
) -> Result<bool, String> {
    for (key, edit) in edits {
        match (table.get(key), edit) {
            (Some(Toml::InlineTable(inner)), FieldEdit::Change(Edit::Fields(edits))) if inner.is_dotted() => {
                if !dotted(whole, inner, edits, splices)? {
                    return Ok(false);
                }
            }
            (Some(field), FieldEdit::Change(edit)) if !is_dotted(field) => {
                splices.push((field.span().ok_or(NO_PLACE)?, edited(whole, field, edit)?));
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Writes the line ends in new strings as escapes. In a file with carriage returns, line ends in a string would become other
/// ones, or the file would have two kinds.
pub(super) struct OneLine;

impl VisitMut for OneLine {
    fn visit_value_mut(&mut self, value: &mut Toml) {
        // A string that was read has its own text.
        let new = match value {
            Toml::String(text) if text.as_repr().is_none() && text.value().contains(['\n', '\r']) => {
                // TOML knows the escapes of JSON, and wants one more.
                Some(Value::String(text.value().clone()).to_string().replace('\u{7f}', "\\u007f"))
            }
            _ => None,
        };
        match new.and_then(|text| text.parse::<Toml>().ok()) {
            Some(mut new) => {
                *new.decor_mut() = value.decor().clone();
                *value = new;
            }
            None => visit_value_mut(self, value),
        }
    }
}

pub(super) const NO_PLACE: &str = "the text does not have the place to change";

/// A value with its own text, which a part of a parsed document does not have.
fn literal_of(text: &str) -> Result<Toml, String> {
    super::literal(text)
}

fn is_dotted(field: &Toml) -> bool {
    matches!(field, Toml::InlineTable(table) if table.is_dotted())
}
