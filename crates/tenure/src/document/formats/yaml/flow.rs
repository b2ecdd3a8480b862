//! Carries edits out on flow collections, which stay flow collections: `[1, 2]`, `{a: 1}`. What is not edited in them is
//! kept by [`list`](crate::document::formats::list).

use std::collections::HashMap;

use super::lines::Lines;
use super::meaning::{after, fields_after, items_after, key};
use super::tree::{Content, Entry, Node};
use super::write::{Layout, flow, flow_field};
use crate::document::difference::{Edit, FieldEdit, ItemEdit};
use crate::document::formats::list::{Comments, Manner, Pieces, Step};

pub(super) struct Flow<'t> {
    pub(super) text: &'t str,
    pub(super) lines: Lines<'t>,
    pub(super) layout: Layout,
}

impl Flow<'_> {
    /// The text of a node, edited.
    pub(super) fn edited(&self, node: &Node<'_>, edit: &Edit<'_>) -> String {
        // A carriage return alone ends a line in no other format.
        let has_old_line_ends = self.text[node.start..node.end].replace("\r\n", "").contains('\r');
        if has_old_line_ends { anew(node, edit) } else { self.node(node, edit) }
    }

    fn node(&self, node: &Node<'_>, edit: &Edit<'_>) -> String {
        match (edit, &node.content) {
            (Edit::Fields(edits), Content::Mapping { entries, .. }) => self.fields(node, entries, edits),
            (Edit::Items(edits), Content::Sequence { items, .. }) => self.items(node, items, edits),
            _ => anew(node, edit),
        }
    }

    fn fields(&self, node: &Node<'_>, entries: &[Entry<'_>], edits: &[(&str, FieldEdit<'_>)]) -> String {
        let places = self.places(node, entries.iter().map(|entry| entry.value.end));
        let by_key: HashMap<&str, usize> =
            entries.iter().enumerate().filter_map(|(index, entry)| Some((key(entry)?, index))).collect();
        let mut steps = Vec::with_capacity(edits.len());
        for (name, edit) in edits {
            match (edit, by_key.get(name)) {
                (FieldEdit::Remove, Some(index)) => steps.push((*index, Step::Remove)),
                (FieldEdit::Change(edit), Some(index)) => {
                    let Some(text) = self.entry(&entries[*index], places[*index], edit) else {
                        return flow(&fields_after(node, edits), true, None);
                    };
                    steps.push((*index, Step::Change(text)));
                }
                (FieldEdit::Add(value), _) => {
                    steps.push((entries.len(), Step::Insert(flow_field(name, value))));
                }
                _ => {}
            }
        }
        steps.sort_by_key(|(index, _)| *index);
        if self.text[node.start..].starts_with('{') {
            return self.list(node, &places, steps);
        }
        // A pair in a sequence needs no braces as long as it is one.
        let mut pair = self.text[node.start..node.end].to_owned();
        let count = steps.len();
        for (_, step) in steps {
            match step {
                Step::Change(text) if count == 1 => return text,
                Step::Change(text) => pair = text,
                Step::Insert(text) => pair.extend([", ", &text]),
                Step::Remove => return flow(&fields_after(node, edits), true, None),
            }
        }
        format!("{{{pair}}}")
    }

    /// An entry with its value edited; `None` for `? key` without a colon, which can't get a value where it stands.
    fn entry(&self, entry: &Entry<'_>, (start, end): (usize, usize), edit: &Edit<'_>) -> Option<String> {
        let Entry { key, colon, value } = entry;
        let new = || flow(&after(value, edit), true, None);
        let (from, to, new) = match (colon, value.is_empty()) {
            (None, _) if self.text[start..].starts_with('?') => return None,
            (None, _) => (key.end, key.end, format!(": {}", new())),
            (Some(colon), true) => (*colon, *colon, format!(" {}", new())),
            _ => (value.start, value.end, self.node(value, edit)),
        };
        Some([&self.text[start..from], &new, &self.text[to..end]].concat())
    }

    fn items(&self, node: &Node<'_>, items: &[Node<'_>], edits: &[(usize, ItemEdit<'_>)]) -> String {
        let places = self.places(node, items.iter().map(|item| item.end));
        let steps = edits.iter().rev().map(|(index, edit)| {
            let step = match edit {
                ItemEdit::Remove => Step::Remove,
                ItemEdit::Insert(value) => Step::Insert(flow(value, true, None)),
                ItemEdit::Change(edit) => {
                    let (start, end) = places[*index];
                    let (item, new) = (&items[*index], self.node(&items[*index], edit));
                    Step::Change([&self.text[start..item.start], &new, &self.text[item.end..end]].concat())
                }
            };
            (*index, step)
        });
        let steps = steps.collect();
        self.list(node, &places, steps)
    }

    fn list(&self, node: &Node<'_>, places: &[(usize, usize)], steps: Vec<(usize, Step)>) -> String {
        let unit = " ".repeat(self.layout.step.max(1));
        let manner = Manner {
            comments: Comments::Hash,
            on_lines: false,
            spaced: true,
            unit: &unit,
            line_end: self.layout.newline,
        };
        Pieces::take_apart(manner, self.text, [node.start, node.end], places).edited(steps)
    }

    /// Where each entry starts and ends.
    fn places(&self, node: &Node<'_>, ends: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
        let has_bracket = self.text[node.start..].starts_with(['{', '[']);
        let mut start = self.lines.skip(node.start + usize::from(has_bracket));
        let place = |end: usize| {
            let place = (start, end);
            let comma = self.lines.skip(end);
            start = self.lines.skip(comma + usize::from(self.text[comma..].starts_with(',')));
            place
        };
        ends.map(place).collect()
    }
}

/// A node that is written anew.
fn anew(node: &Node<'_>, edit: &Edit<'_>) -> String {
    let style = if let Content::Scalar(scalar) = &node.content { Some(scalar.style) } else { None };
    match edit {
        Edit::Set(value) => flow(value, true, style),
        Edit::Fields(edits) => flow(&fields_after(node, edits), true, None),
        Edit::Items(edits) => flow(&items_after(node, edits), true, None),
    }
}
