//! Carries edits out on the text of a JSON document: the syntax tree says where each value stands, and of a container
//! that is edited, [`list`](crate::document::formats::list) keeps all that is not.

use std::collections::HashMap;

use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ast, parse_to_ast};

use super::{Dialect, STRICT, plain};
use crate::document::difference::{Edit, FieldEdit, ItemEdit};
use crate::document::formats::list::{Comments, Manner, Pieces, Step};
use crate::document::value::Value;

/// `text` with `edit` carried out.
///
/// # Errors
///
/// A sentence, if the text is not what the edit was made for.
pub(crate) fn edit(text: &str, edit: &Edit<'_>, dialect: Dialect) -> Result<String, String> {
    let body = plain(text, dialect);
    let parsed =
        parse_to_ast(&body, &CollectOptions::default(), &STRICT).map_err(|error| error.to_string())?;
    let root = parsed.value.ok_or("there is no value to edit")?;
    let range = root.range();
    let inner = &text[range.start..range.end];
    let has_elements = matches!(&root, ast::Value::Object(object) if !object.properties.is_empty())
        || matches!(&root, ast::Value::Array(array) if !array.elements.is_empty());
    let editor = Editor {
        text,
        on_lines: inner.contains('\n') || !has_elements,
        spaced: !has_elements || inner.contains("\": ") || inner.contains(", "),
        unit: indentation(inner),
        line_end: if text.contains("\r\n") { "\r\n" } else { "\n" },
    };
    let mut out = String::with_capacity(text.len() + 64);
    out.push_str(&text[..range.start]);
    editor.node(&root, edit, editor.on_lines.then_some(""), &mut out)?;
    out.push_str(&text[range.end..]);
    Ok(out)
}

/// The blanks or tabs before the first indented line; two blanks if none is.
fn indentation(text: &str) -> &str {
    let indented = text.lines().skip(1).find(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty());
    indented.map_or("  ", |line| &line[..line.len() - line.trim_start().len()])
}

/// The document and its manner.
struct Editor<'t> {
    text: &'t str,
    /// Whether it has several lines.
    on_lines: bool,
    /// Whether a blank follows a colon and a comma on one line.
    spaced: bool,
    /// What each level is indented by.
    unit: &'t str,
    line_end: &'t str,
}

impl Editor<'_> {
    /// Writes the edited node. `indent` is the indentation of its line, `None` if it stands on a line with others.
    fn node(
        &self,
        node: &ast::Value<'_>,
        edit: &Edit<'_>,
        indent: Option<&str>,
        out: &mut String,
    ) -> Result<(), String> {
        match (node, edit) {
            (_, Edit::Set(new)) => out.push_str(&self.render(new, indent)),
            (ast::Value::Object(object), Edit::Fields(edits)) => out.push_str(&self.object(object, edits)?),
            (ast::Value::Array(array), Edit::Items(edits)) => out.push_str(&self.array(array, edits)?),
            _ => return Err("the text does not have the place to change".to_owned()),
        }
        Ok(())
    }

    fn object(&self, object: &ast::Object<'_>, edits: &[(&str, FieldEdit<'_>)]) -> Result<String, String> {
        let properties = &object.properties;
        let places: Vec<_> =
            properties.iter().map(|property| (property.range.start, property.range.end)).collect();
        let pieces = self.take_apart(object.range, &places);
        let names = properties.iter().enumerate();
        let indexes: HashMap<&str, usize> =
            names.map(|(index, property)| (property.name.as_str(), index)).collect();
        let mut steps = Vec::with_capacity(edits.len());
        for (key, edit) in edits {
            let step = match (edit, indexes.get(key)) {
                (FieldEdit::Add(new), None) => {
                    let colon = if self.spaced || pieces.indent().is_some() { ": " } else { ":" };
                    let value = self.render(new, pieces.indent());
                    let key = Value::String((*key).to_owned());
                    (properties.len(), Step::Insert(format!("{key}{colon}{value}")))
                }
                (FieldEdit::Remove, Some(index)) => (*index, Step::Remove),
                (FieldEdit::Change(edit), Some(index)) => {
                    let step =
                        self.change(&properties[*index].value, places[*index].0, edit, pieces.indent())?;
                    (*index, step)
                }
                _ => return Err(format!("the text does not have the field {key:?} as it was read")),
            };
            steps.push(step);
        }
        steps.sort_by_key(|(index, _)| *index);
        Ok(pieces.edited(steps))
    }

    fn array(&self, array: &ast::Array<'_>, edits: &[(usize, ItemEdit<'_>)]) -> Result<String, String> {
        let elements = &array.elements;
        let places: Vec<_> = elements.iter().map(|item| (item.range().start, item.range().end)).collect();
        let pieces = self.take_apart(array.range, &places);
        let steps = edits.iter().rev().map(|(index, edit)| {
            let step = match edit {
                ItemEdit::Remove => Step::Remove,
                ItemEdit::Insert(new) => Step::Insert(self.render(new, pieces.indent())),
                ItemEdit::Change(edit) => {
                    self.change(&elements[*index], places[*index].0, edit, pieces.indent())?
                }
            };
            Ok((*index, step))
        });
        let steps = steps.collect::<Result<Vec<_>, String>>()?;
        Ok(pieces.edited(steps))
    }

    /// An element's text from `start`, with its value edited.
    fn change(
        &self,
        value: &ast::Value<'_>,
        start: usize,
        edit: &Edit<'_>,
        indent: Option<&str>,
    ) -> Result<Step, String> {
        let mut body = self.text[start..value.range().start].to_owned();
        self.node(value, edit, indent, &mut body)?;
        Ok(Step::Change(body))
    }

    fn take_apart(&self, range: Range, places: &[(usize, usize)]) -> Pieces<'_> {
        let manner = Manner {
            comments: Comments::Slashes,
            on_lines: self.on_lines,
            spaced: self.spaced,
            unit: self.unit,
            line_end: self.line_end,
        };
        Pieces::take_apart(manner, self.text, [range.start, range.end], places)
    }

    fn render(&self, value: &Value, indent: Option<&str>) -> String {
        match indent {
            // Strings hold no raw line ends, so these are all of the layout.
            Some(indent) => {
                value.to_text(Some(self.unit)).replace('\n', &format!("{}{indent}", self.line_end))
            }
            None => value.to_line(self.spaced),
        }
    }
}
