//! YAML 1.2 (core schema): what is not edited stays byte for byte, comments and layout included.
//!
//! granit-parser parses, and says where in the text each value stands. An edit is a list of pieces of text that are
//! replaced ([`splice`]): a value, or the whole lines of an entry with the comments that are its own.
//!
//! 1. [`tree`] builds nodes with their places; for an update it refuses what an edit could silently change the meaning
//!    of: anchors, aliases, tags, directives, several documents.
//! 2. [`reading`] makes values of nodes. Booleans are strict: `yes`, `on`, `1:30` are strings.
//! 3. [`edit`] and [`flow`] carry edits out, in block and in flow collections; [`write`] and [`scalar`] write new values
//!    so that readers of YAML 1.1 see the same.
//!
//! It does not keep the layout *within* what it replaces: a flow collection that becomes a scalar takes its comments
//! with it.

mod edit;
mod flow;
mod lines;
mod meaning;
mod reading;
mod scalar;
mod splice;
mod tree;
mod write;

#[cfg(test)]
mod layout_properties;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod random_text;
#[cfg(test)]
mod random_value;
#[cfg(test)]
mod tests;

use super::Problem;
use crate::document::difference::Edit;
use crate::document::value::Value;

/// Reads a document that may be updated.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let tree = tree::tree(text, true)?;
    tree.root.map_or(Ok(Value::Null), |root| reading::strict(text, root))
}

/// Reads a document that need not be updatable: aliases, merge keys and the tags of the core schema are resolved, keys
/// are taken by their text.
pub(crate) fn read(text: &str) -> Result<Value, Problem> {
    let tree = tree::tree(text, false)?;
    tree.root.as_ref().map_or(Ok(Value::Null), |root| reading::Reader::new(text).read(root, 0))
}

/// The text with the edit carried out, which leads to `target`.
pub(crate) fn edit(text: &str, edit: &Edit<'_>, target: &Value) -> Result<String, String> {
    let tree = tree::tree(text, true).map_err(|problem| problem.to_string())?;
    let edited = edit::edited(text, &tree, edit, target);
    // A block scalar that has become the last one needs the line end that the text did without.
    let ends_line = |text: &str| text.ends_with(['\n', '\r']);
    if ends_line(text) || !ends_line(&edited) {
        return Ok(edited);
    }
    let last = tree::tree(&edited, true).map_err(|problem| problem.to_string())?.root;
    let keeps = last.is_some_and(|last| last.last_leaf().is_block_scalar());
    // Blank lines that stood between what has gone may be the last now.
    let trimmed = edited.trim_end_matches(['\n', '\r']);
    Ok(if keeps || trimmed.is_empty() { edited } else { trimmed.to_owned() })
}

/// A new document.
pub(crate) fn fresh(value: &Value) -> Result<String, String> {
    Ok(write::Layout::FRESH.document(value))
}
