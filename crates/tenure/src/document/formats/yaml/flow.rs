//! Carries edits out on flow collections, which stay flow collections: `[1, 2]`, `{a: 1}`.
//!
//! Where the entries stand on lines of their own, new ones do too. A comma belongs to the entry before it.

use std::collections::HashMap;

use super::edit::Editor;
use super::meaning::{after, fields_after, items_after, key};
use super::tree::{Content, Entry, Node};
use super::write::{flow, flow_field, indent};
use crate::document::difference::{Edit, FieldEdit, ItemEdit};
use crate::document::value::Value;

pub(super) struct Flow<'e, 't> {
    pub(super) editor: &'e mut Editor<'t>,
}

/// A flow collection's entries in the text.
struct Places {
    open: usize,
    close: usize,
    /// For each entry: its start, its end, and its comma.
    entries: Vec<(usize, usize, Option<usize>)>,
}

impl Places {
    /// The end of an entry with its comma.
    fn after(&self, index: usize) -> usize {
        let (_, end, comma) = self.entries[index];
        comma.map_or(end, |comma| comma + 1)
    }
}

impl Flow<'_, '_> {
    pub(super) fn value(&mut self, node: &Node<'_>, edit: &Edit<'_>) {
        match (edit, &node.content) {
            (Edit::Set(value), _) => self.set(node, value),
            (Edit::Fields(edits), Content::Mapping { entries, .. }) => self.fields(node, entries, edits),
            (Edit::Items(edits), Content::Sequence { items, .. }) => self.items(node, items, edits),
            _ => self.set(node, &after(node, edit)),
        }
    }

    fn set(&mut self, node: &Node<'_>, value: &Value) {
        let style = if let Content::Scalar(scalar) = &node.content { Some(scalar.style) } else { None };
        self.editor.splices.replace(node.start, node.end, flow(value, true, style));
    }

    fn fields(&mut self, node: &Node<'_>, entries: &[Entry<'_>], edits: &[(&str, FieldEdit<'_>)]) {
        let places = self.places(node, entries.iter().map(|entry| entry.value.end));
        let by_key: HashMap<&str, usize> =
            entries.iter().enumerate().filter_map(|(index, entry)| Some((key(entry)?, index))).collect();
        let mut removed = vec![false; entries.len()];
        let (mut added, mut changes) = (Vec::new(), Vec::new());
        for (name, edit) in edits {
            match (edit, by_key.get(name)) {
                (FieldEdit::Remove, Some(index)) => removed[*index] = true,
                (FieldEdit::Change(edit), Some(index)) => changes.push((*index, edit)),
                (FieldEdit::Add(value), _) => added.push(flow_field(name, value)),
                _ => {}
            }
        }
        // `? key` without a colon can't get a value where it stands.
        let lone = |index: usize| {
            entries[index].colon.is_none() && self.editor.text[places.entries[index].0..].starts_with('?')
        };
        let nothing_stays = removed.iter().all(|removed| *removed) && !entries.is_empty();
        if nothing_stays || changes.iter().any(|(index, _)| lone(*index)) {
            return self.set(node, &fields_after(node, edits));
        }
        // A pair in a sequence needs no braces as long as it is one.
        let braces = !added.is_empty() && !self.editor.text[node.start..].starts_with('{');
        if braces {
            self.editor.splices.insert(node.start, "{");
        }
        for (index, edit) in changes {
            let Entry { key, colon, value } = &entries[index];
            match (colon, value.is_empty()) {
                (None, _) => {
                    let text = flow(&after(value, edit), true, None);
                    self.editor.splices.insert(key.end, format!(": {text}"));
                }
                (Some(colon), true) => {
                    let text = flow(&after(value, edit), true, None);
                    self.editor.splices.insert(*colon, format!(" {text}"));
                }
                _ => self.value(value, edit),
            }
        }
        self.carry_out(&places, &removed, &[], &added);
        if braces {
            self.editor.splices.insert(node.end, "}");
        }
    }

    fn items(&mut self, node: &Node<'_>, items: &[Node<'_>], edits: &[(usize, ItemEdit<'_>)]) {
        let places = self.places(node, items.iter().map(|item| item.end));
        let mut removed = vec![false; items.len()];
        let (mut inserted, mut added, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for (index, edit) in edits.iter().rev() {
            match edit {
                ItemEdit::Remove => removed[*index] = true,
                ItemEdit::Change(edit) => changes.push((*index, edit)),
                ItemEdit::Insert(value) if *index == items.len() => added.push(flow(value, true, None)),
                ItemEdit::Insert(value) => inserted.push((*index, flow(value, true, None))),
            }
        }
        // What is inserted between removed items and the end has no item to stand before.
        let remaining = removed.iter().rposition(|removed| !removed);
        let adrift = inserted.iter().any(|(index, _)| remaining.is_none_or(|last| *index > last));
        if adrift || (remaining.is_none() && !items.is_empty()) {
            return self.set(node, &items_after(node, edits));
        }
        for (index, edit) in changes {
            self.value(&items[index], edit);
        }
        self.carry_out(&places, &removed, &inserted, &added);
    }

    fn places(&self, node: &Node<'_>, ends: impl Iterator<Item = usize>) -> Places {
        let (text, lines) = (self.editor.text, self.editor.lines);
        let has_bracket = text[node.start..].starts_with(['{', '[']);
        let open = node.start + usize::from(has_bracket);
        let mut start = lines.skip(open);
        let mut entries = Vec::new();
        for end in ends {
            let comma = lines.skip(end);
            let comma = (has_bracket && text[comma..].starts_with(',')).then_some(comma);
            entries.push((start, end, comma));
            start = lines.skip(comma.map_or(end, |comma| comma + 1));
        }
        Places { open, close: node.end - usize::from(has_bracket), entries }
    }

    /// Some entries remain, or there were none.
    fn carry_out(
        &mut self,
        places: &Places,
        removed: &[bool],
        inserted: &[(usize, String)],
        added: &[String],
    ) {
        for (index, text) in inserted {
            self.insert(places, *index, text);
        }
        let Some(last) = removed.iter().rposition(|removed| !removed) else {
            return self.editor.splices.insert(places.close, added.join(", "));
        };
        let trailing = places.entries.last().and_then(|(_, _, comma)| *comma).is_some();
        let tail = last + 1..places.entries.len();
        let end = places.after(places.entries.len() - 1);
        let behind = &self.editor.text[places.after(last)..end];
        let on_one_line = !behind.contains(['\n', '\r']);
        if !added.is_empty() {
            self.append(places, last, trailing, added);
        } else if !tail.is_empty()
            && !trailing
            && let (_, _, Some(comma)) = places.entries[last]
        {
            self.editor.splices.remove(comma, comma + 1);
        }
        for index in (0..last).filter(|index| removed[*index]) {
            self.remove(places, index);
        }
        if on_one_line {
            self.editor.splices.remove(places.after(last), end);
        } else {
            tail.for_each(|index| self.remove(places, index));
        }
    }

    /// Whether an entry is the first on its line.
    fn is_first(&self, places: &Places, index: usize) -> bool {
        let start = places.entries[index].0;
        let lines = self.editor.lines;
        let trimmed = lines.trim(start);
        trimmed > places.open && lines.is_blank_before(start)
    }

    fn insert(&mut self, places: &Places, index: usize, text: &str) {
        let start = places.entries[index].0;
        if !self.is_first(places, index) {
            return self.editor.splices.insert(start, format!("{text}, "));
        }
        let mut line = String::new();
        indent(&mut line, self.editor.lines.column(start));
        line.push_str(text);
        line.push(',');
        line.push_str(self.editor.layout.newline);
        self.editor.splices.insert_lines(self.lead(places, index), line);
    }

    /// The start of an entry's own line, or of the comments directly above it.
    fn lead(&self, places: &Places, index: usize) -> usize {
        let lines = self.editor.lines;
        let start = places.entries[index].0;
        let above = if index == 0 { places.open } else { places.after(index - 1) };
        lines.comments_above(lines.start(start), lines.next(above), lines.column(start))
    }

    fn append(&mut self, places: &Places, last: usize, trailing: bool, added: &[String]) {
        let lines = self.editor.lines;
        let (start, end, comma) = places.entries[last];
        let after = places.after(last);
        let separator = if self.is_first(places, last) {
            let mut separator = self.editor.layout.newline.to_owned();
            indent(&mut separator, lines.column(start));
            separator
        } else {
            " ".to_owned()
        };
        let mut text = String::new();
        for (index, new) in added.iter().enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            text.push_str(&separator);
            text.push_str(new);
        }
        text.push_str(if trailing { "," } else { "" });
        let behind_comment = self.is_first(places, last) && lines.is_rest(after) && after < places.close;
        let at = if behind_comment { lines.end(after) } else { after };
        if comma.is_none() {
            self.editor.splices.insert(end, ",");
        }
        self.editor.splices.insert(at, text);
    }

    /// Removes an entry with its comma, and with its comments if none of them may be another's.
    fn remove(&mut self, places: &Places, index: usize) {
        let lines = self.editor.lines;
        let start = places.entries[index].0;
        let after = places.after(index);
        let next = places.entries.get(index + 1).map_or(places.close, |next| next.0);
        match (self.is_first(places, index), lines.is_rest(after)) {
            (true, true) => {
                let lead = self.lead(places, index);
                self.editor.splices.remove(lead, lines.next(after));
            }
            (false, true) if index > 0 => self.editor.splices.remove(lines.trim(start), lines.end(after)),
            (false, true) => self.editor.splices.remove(start, lines.end(after)),
            (_, false) if index + 1 < places.entries.len() => self.editor.splices.remove(start, next),
            (_, false) => self.editor.splices.remove(lines.trim(start), after),
        }
    }
}
