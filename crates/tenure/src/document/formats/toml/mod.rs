//! TOML, by toml_edit: its tree keeps comments and layout.
//!
//! A date, a time, an infinity and "not a number" are [`Value::Foreign`], by their text. Integers have 64 bits; a larger one
//! is refused by the format. There is no null.

mod edit;
mod places;
mod removal;
#[cfg(test)]
mod tests;

use toml_edit::{
    Array, ArrayOfTables, Datetime, Document, DocumentMut, InlineTable, Item, Repr, Table, Value as Toml,
};

pub(crate) use self::edit::edit;
use super::Problem;
use crate::document::value::{DEPTH_MAX, Fields, Value};

pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let document = Document::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        Problem::at(text.as_bytes(), offset, error.message().replace('\n', ", "))
    })?;
    let value = Source(text).table(document.as_table());
    match value.is_deeper_than(DEPTH_MAX) {
        true => Err(Problem::at(text.as_bytes(), 0, format!("nested more than {DEPTH_MAX} deep"))),
        false => Ok(value),
    }
}

/// The text that a tree was parsed from; a tree of values that has its own text needs none.
struct Source<'t>(&'t str);

impl Source<'_> {
    fn table(&self, table: &Table) -> Value {
        let fields = table.iter().filter(|(_, item)| !item.is_none());
        Value::Object(fields.map(|(key, item)| (key.to_owned(), self.item(item))).collect())
    }

    fn item(&self, item: &Item) -> Value {
        match item {
            Item::None => Value::Null,
            Item::Value(value) => self.value(value),
            Item::Table(table) => self.table(table),
            Item::ArrayOfTables(tables) => {
                Value::Array(tables.iter().map(|table| self.table(table)).collect())
            }
        }
    }

    fn value(&self, value: &Toml) -> Value {
        match value {
            Toml::String(text) => Value::String(text.value().clone()),
            Toml::Integer(number) => Value::Number(number.value().to_string()),
            Toml::Float(number) => {
                let raw = number.as_repr().map(Repr::as_raw);
                let span = || raw.and_then(|raw| self.0.get(raw.span()?));
                float(*number.value(), raw.and_then(|raw| raw.as_str()).or_else(span).unwrap_or_default())
            }
            Toml::Boolean(value) => Value::Bool(*value.value()),
            Toml::Datetime(moment) => Value::Foreign(moment.value().to_string()),
            Toml::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Toml::InlineTable(fields) => {
                Value::Object(fields.iter().map(|(key, field)| (key.to_owned(), self.value(field))).collect())
            }
        }
    }
}

/// A float keeps its text, as far as JSON would write it so.
fn float(number: f64, raw: &str) -> Value {
    if number.is_nan() {
        return Value::Foreign("nan".to_owned());
    }
    if number.is_infinite() {
        return Value::Foreign(if number > 0.0 { "inf" } else { "-inf" }.to_owned());
    }
    Value::Number(raw.trim_start_matches('+').replace('_', ""))
}

pub(crate) fn fresh(value: &Value) -> Result<String, String> {
    let Value::Object(fields) = value else { return Err(NOT_A_TABLE.to_owned()) };
    let mut document = DocumentMut::new();
    *document.as_table_mut() = new_table(fields)?;
    Ok(document.to_string().trim_start_matches('\n').to_owned())
}

const NOT_A_TABLE: &str = "a TOML document is a table of fields, so its value must be an object";

/// The value as TOML will read it: an integer has one text; and its strings are dates where the file has a date in their
/// place, or nothing but dates in their array: what reads as a string in JSON keeps its kind.
pub(crate) fn as_read(file: &Value, target: &Value) -> Value {
    match (file, target) {
        (Value::Foreign(_), Value::String(text)) => match text.parse::<Datetime>() {
            Ok(moment) => Value::Foreign(moment.to_string()),
            Err(_) => target.clone(),
        },
        (Value::Object(file), Value::Object(target)) => {
            let kept = target
                .iter()
                .map(|(key, value)| (key.clone(), as_read(file.get(key).unwrap_or(&Value::Null), value)));
            Value::Object(kept.collect())
        }
        (Value::Array(file), Value::Array(target)) => {
            let dates = file.first().filter(|_| file.iter().all(|item| matches!(item, Value::Foreign(_))));
            let kept = target.iter().enumerate().map(|(index, value)| match dates.or(file.get(index)) {
                Some(file) if dates.is_some() || !matches!(file, Value::Foreign(_)) => as_read(file, value),
                _ => as_read(&Value::Null, value),
            });
            Value::Array(kept.collect())
        }
        (_, Value::Number(text)) => match text.parse::<i64>() {
            Ok(number) => Value::Number(number.to_string()),
            Err(_) => target.clone(),
        },
        (_, Value::Object(fields)) => {
            let kept = fields.iter().map(|(key, value)| (key.clone(), as_read(&Value::Null, value)));
            Value::Object(kept.collect())
        }
        (_, Value::Array(items)) => {
            Value::Array(items.iter().map(|item| as_read(&Value::Null, item)).collect())
        }
        _ => target.clone(),
    }
}

/// A new field of a table: objects as tables of their own, arrays of objects as `[[tables]]`.
fn new_item(value: &Value) -> Result<Item, String> {
    match value {
        Value::Object(fields) => new_table(fields).map(Item::Table),
        Value::Array(items) if !items.is_empty() => {
            let mut tables = ArrayOfTables::new();
            for item in items {
                let Value::Object(fields) = item else { return new_value(value).map(Item::Value) };
                tables.push(new_table(fields)?);
            }
            Ok(Item::ArrayOfTables(tables))
        }
        scalar => new_value(scalar).map(Item::Value),
    }
}

fn new_table(fields: &Fields) -> Result<Table, String> {
    let mut table = Table::new();
    for (key, value) in fields {
        table.insert(key, new_item(value)?);
    }
    // A table that only has tables needs no line of its own.
    table.set_implicit(!fields.is_empty() && table.iter().all(|(_, item)| item.is_table()));
    Ok(table)
}

fn new_value(value: &Value) -> Result<Toml, String> {
    Ok(match value {
        Value::Null => {
            return Err("TOML has no null: remove the field instead, as `del(.field)` does".to_owned());
        }
        Value::Bool(value) => Toml::from(*value),
        Value::Number(text) if text.contains(['.', 'e', 'E']) => literal(text)?,
        Value::Number(text) => Toml::from(
            text.parse::<i64>()
                .map_err(|_| format!("TOML's integers have 64 bits, which {text} does not fit in"))?,
        ),
        Value::String(text) => Toml::from(text.as_str()),
        Value::Foreign(text) => literal(text)?,
        Value::Array(items) => Toml::Array(items.iter().map(new_value).collect::<Result<Array, String>>()?),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| Ok((key.as_str(), new_value(value)?)));
            Toml::InlineTable(fields.collect::<Result<InlineTable, String>>()?)
        }
    })
}

/// A text without the line end at its end.
fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

fn literal(text: &str) -> Result<Toml, String> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| format!("{text} is no TOML value: {}", error.message()))
}
