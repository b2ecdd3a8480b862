//! JSON and JSONC: strict to read, careful to edit.
//!
//! JSONC is JSON with `//` and `/* */` comments and a comma behind the last element, as VS Code and TypeScript read it.
//! Both are one format here: comments and such commas are blanked out, and what is left must be JSON. serde_json is the
//! judge of that (with the place of a mistake); jsonc-parser gives the tokens, and the syntax tree with the place of
//! each value, in which numbers are text and duplicate keys are visible.

mod edit;

use std::borrow::Cow;

use indexmap::IndexMap;
use jsonc_parser::tokens::Token;
use jsonc_parser::{CollectOptions, ParseOptions, Scanner, ScannerOptions, ast, parse_to_ast};

pub(crate) use self::edit::edit;
use super::Problem;
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

const TOKENS: ScannerOptions = ScannerOptions {
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Which of the two is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Json,
    Jsonc,
}

pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Value, Problem> {
    let body = plain(text, dialect);
    match check::<serde::de::IgnoredAny>(text, &body) {
        Err(problem) if dialect == Dialect::Json && is_jsonc(text) => {
            return Err(
                problem.with("; comments and trailing commas are JSONC, which a .jsonc file may have")
            );
        }
        checked => drop(checked?),
    }
    let fail = |offset, what: String| Problem::at(text.as_bytes(), offset, what);
    let parsed = parse_to_ast(&body, &CollectOptions::default(), &STRICT)
        .map_err(|error| fail(error.range().start, error.kind().to_string()))?;
    let value = convert(text, parsed.value.ok_or_else(|| fail(0, "the file is empty".to_owned()))?)?;
    match value.is_deeper_than(DEPTH_MAX) {
        true => Err(fail(0, format!("nested more than {DEPTH_MAX} deep"))),
        false => Ok(value),
    }
}

pub(crate) fn deserialize<T: serde::de::DeserializeOwned>(
    text: &str,
    dialect: Dialect,
) -> Result<T, Problem> {
    check(text, &plain(text, dialect))
}

/// The text with every comment and every comma before a closing bracket blanked out, so that all else keeps its place.
fn plain(text: &str, dialect: Dialect) -> Cow<'_, str> {
    if dialect == Dialect::Json {
        return Cow::Borrowed(text);
    }
    let mut scanner = Scanner::new(text, &TOKENS);
    let mut blanks: Vec<(usize, usize)> = Vec::new();
    // A comma behind a value, which a bracket may follow.
    let (mut comma, mut behind_value) = (None, false);
    // What the scanner can't read stays, and is named by the judge.
    while let Ok(Some(token)) = scanner.scan() {
        let place = (scanner.token_start(), scanner.token_end());
        match token {
            Token::CommentLine(_) | Token::CommentBlock(_) => blanks.push(place),
            Token::Comma => (comma, behind_value) = (behind_value.then_some(place), false),
            Token::CloseBrace | Token::CloseBracket => {
                blanks.extend(comma.take());
                behind_value = true;
            }
            other => {
                comma = None;
                behind_value = !matches!(other, Token::OpenBrace | Token::OpenBracket | Token::Colon);
            }
        }
    }
    let mut bytes = text.as_bytes().to_vec();
    for (start, end) in blanks {
        bytes[start..end]
            .iter_mut()
            .filter(|byte| !matches!(byte, b'\n' | b'\r'))
            .for_each(|byte| *byte = b' ');
    }
    Cow::Owned(String::from_utf8(bytes).expect("whole characters were replaced by blanks"))
}

/// Whether the text would be right if its comments were allowed.
fn is_jsonc(text: &str) -> bool {
    let body = plain(text, Dialect::Jsonc);
    body != text && serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok()
}

/// Reads the blanked `body` of `text`.
fn check<T: serde::de::DeserializeOwned>(text: &str, body: &str) -> Result<T, Problem> {
    serde_json::from_str(body).map_err(|error| {
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or(&message);
        let what = match text.trim().is_empty() {
            true => "the file is empty",
            false if body.trim().is_empty() => "there are comments, but no value",
            false => what,
        };
        Problem::at(text.as_bytes(), offset(body.as_bytes(), error.line(), error.column()), what)
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

#[cfg(test)]
pub(crate) mod tests;
