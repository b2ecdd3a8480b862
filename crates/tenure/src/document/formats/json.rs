//! JSON: strict to read, careful to edit.
//!
//! serde_json is the judge of what is JSON (with the place of a mistake); jsonc-parser gives the syntax tree
//! in which numbers are text, duplicate keys are visible and edits leave the rest alone.

use indexmap::IndexMap;
use jsonc_parser::ast;
use jsonc_parser::cst::{CstInputValue, CstNode, CstRootNode};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::Problem;
use crate::document::change::{Action, Change, Step};
use crate::document::value::{DEPTH_MAX, Value};

/// RFC 8259 and nothing more.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

const BYTE_ORDER_MARK: char = '\u{feff}';

pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    check::<serde::de::IgnoredAny>(body.as_bytes())?;
    let parsed = parse_to_ast(body, &CollectOptions::default(), &STRICT)
        .map_err(|error| Problem::at(body.as_bytes(), error.range().start, error.kind().to_string()))?;
    match parsed.value {
        Some(value) => convert(body, value).and_then(|value| match too_deep(&value, DEPTH_MAX) {
            true => Err(Problem::at(body.as_bytes(), 0, format!("nested more than {DEPTH_MAX} deep"))),
            false => Ok(value),
        }),
        None => Err(Problem::at(body.as_bytes(), 0, "the file is empty")),
    }
}

pub(crate) fn deserialize<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    check(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes))
}

fn check<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text);
        let what = if bytes.iter().all(u8::is_ascii_whitespace) { "the file is empty" } else { what };
        Problem::at(bytes, offset(bytes, error.line(), error.column()), what)
    })
}

/// serde_json counts lines from 1 and bytes of the line up to and including the one that is wrong; column 0 means
/// the line end before.
fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let starts =
        std::iter::once(0).chain(bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1));
    (starts.take(line.max(1)).last().unwrap_or(0) + column).saturating_sub(1)
}

fn convert(text: &str, value: ast::Value<'_>) -> Result<Value, Problem> {
    Ok(match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
        ast::Value::StringLit(literal) => Value::String(literal.value.into_owned()),
        ast::Value::Array(array) => Value::Array(
            array.elements.into_iter().map(|item| convert(text, item)).collect::<Result<_, _>>()?,
        ),
        ast::Value::Object(object) => {
            let mut fields = IndexMap::with_capacity(object.properties.len());
            for property in object.properties {
                let start = property.range.start;
                let key = property.name.into_string();
                let value = convert(text, property.value)?;
                if fields.insert(key, value).is_some() {
                    let what = "this key stands twice in one object, so it is not clear which value is meant";
                    return Err(Problem::at(text.as_bytes(), start, what));
                }
            }
            Value::Object(fields)
        }
    })
}

/// Carries `changes` out on `text`; `target` is the value that results.
pub(crate) fn edit(text: &str, target: &Value, changes: &[Change]) -> Result<String, String> {
    let (mark, body) = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    if too_deep(target, DEPTH_MAX) {
        return Err(format!("it would nest arrays and objects more than {DEPTH_MAX} deep"));
    }
    if changes.iter().any(|change| change.path.is_empty()) {
        return Ok(format!("{mark}{}", replace_all(body, target)));
    }
    let root = CstRootNode::parse(body, &STRICT).map_err(|error| error.to_string())?;
    for change in changes {
        edit_one(&root, change).ok_or("the syntax tree does not have the place to change")?;
    }
    let edited = root.to_string();
    // The tree puts each new field on a line of its own, which is not the manner of a document on one line.
    let broken = is_one_line(body) && edited.trim().contains('\n');
    Ok(format!("{mark}{}", if broken { replace_all(body, target) } else { edited }))
}

fn is_one_line(text: &str) -> bool {
    let trimmed = text.trim();
    trimmed.starts_with(['[', '{']) && trimmed.len() > 2 && !trimmed.contains('\n')
}

/// The whole value anew, in the file's manner: on one line or with its indentation and line ends, with what
/// surrounds it.
fn replace_all(text: &str, value: &Value) -> String {
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    let (before, behind) = (&text[..start], &text[start + trimmed.len()..]);
    let indent = if is_one_line(text) { None } else { Some(indentation(trimmed)) };
    let mut new = value.to_text(indent);
    if text.contains("\r\n") {
        // Strings hold no raw line ends, so these are all of the layout.
        new = new.replace('\n', "\r\n");
    }
    format!("{before}{new}{behind}")
}

/// The blanks or tabs before the first indented line; two blanks if none is.
fn indentation(text: &str) -> &str {
    let indented = text.lines().skip(1).find(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty());
    indented.map_or("  ", |line| &line[..line.len() - line.trim_start().len()])
}

fn edit_one(root: &CstRootNode, change: &Change) -> Option<()> {
    let (last, parents) = change.path.split_last()?;
    let parent = parents.iter().try_fold(root.value()?, |node, step| child(&node, step))?;
    match (last, &change.action) {
        (Step::Key(key), Action::Set(new)) => match parent.as_object()?.get(key) {
            Some(property) => set(&property.value()?, new, |new| property.set_value(new)),
            None => drop(parent.as_object()?.append(key, input(new))),
        },
        (Step::Key(key), Action::Remove) => parent.as_object()?.get(key)?.remove(),
        (Step::Index(index), Action::Set(new)) => {
            let node = parent.as_array()?.elements().into_iter().nth(*index)?;
            set(&node, new, |new| drop(replace(&node, new)));
        }
        (Step::Index(index), Action::Insert(new)) => drop(parent.as_array()?.insert(*index, input(new))),
        (Step::Index(index), Action::Remove) => {
            parent.as_array()?.elements().into_iter().nth(*index)?.remove()
        }
        (Step::Key(_), Action::Insert(_)) => return None,
    }
    Some(())
}

/// Replaces a scalar's text in place where that is enough.
fn set(node: &CstNode, new: &Value, otherwise: impl FnOnce(CstInputValue)) {
    match (new, node.as_number_lit(), node.as_string_lit()) {
        (Value::Number(text), Some(literal), _) => literal.set_raw_value(text.clone()),
        (Value::String(text), _, Some(literal)) => {
            literal.set_raw_value(serde_json::Value::from(text.as_str()).to_string());
        }
        _ => otherwise(input(new)),
    }
}

fn replace(node: &CstNode, new: CstInputValue) -> Option<CstNode> {
    if let Some(array) = node.as_array() {
        return array.replace_with(new);
    }
    if let Some(object) = node.as_object() {
        return object.replace_with(new);
    }
    if let Some(literal) = node.as_string_lit() {
        return literal.replace_with(new);
    }
    if let Some(literal) = node.as_number_lit() {
        return literal.replace_with(new);
    }
    if let Some(literal) = node.as_boolean_lit() {
        return literal.replace_with(new);
    }
    node.as_null_keyword()?.replace_with(new)
}

fn child(node: &CstNode, step: &Step) -> Option<CstNode> {
    match step {
        Step::Key(key) => node.as_object()?.get(key)?.value(),
        Step::Index(index) => node.as_array()?.elements().into_iter().nth(*index),
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(text) => CstInputValue::Number(text.clone()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(fields) => {
            CstInputValue::Object(fields.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}

fn too_deep(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left == 0 || items.iter().any(|item| too_deep(item, left - 1)),
        Value::Object(fields) => left == 0 || fields.values().any(|field| too_deep(field, left - 1)),
        _ => false,
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
pub(crate) mod tests;
