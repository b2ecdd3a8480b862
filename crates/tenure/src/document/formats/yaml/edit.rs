//! Carries edits out on block collections and scalars.
//!
//! A block collection is a list of entries, each of whole lines: the comments directly above it, the entry itself with
//! the comment behind it, and the deeper comments below. Whatever is removed or inserted, is so by these lines. The
//! first entry may stand behind the dash of the item that it is in (`- key: value`), on a line that is not its own.

use std::collections::HashMap;

use granit_parser::ScalarStyle;

use super::flow::Flow;
use super::lines::Lines;
use super::meaning::{after, fields_after, items_after, key};
use super::scalar::{literal, quoted};
use super::splice::Splices;
use super::tree::{Content, Entry, Node, Tree};
use super::write::{Layout, Under, Written, indent};
use crate::document::difference::{Edit, FieldEdit, ItemEdit};
use crate::document::value::Value;

/// The text with the edit carried out.
pub(super) fn edited(text: &str, tree: &Tree<'_>, edit: &Edit<'_>, target: &Value) -> String {
    let lines = Lines::new(text);
    let layout = layout(tree, lines);
    let mut editor = Editor { text, lines, layout, splices: Splices::default() };
    match &tree.root {
        Some(root) if !root.is_empty() => {
            let on_marker_line = |marker: &usize| lines.end(*marker) > root.start;
            let slot = Slot {
                under: Under::Root,
                indicator: tree.marker.filter(on_marker_line),
                first_line: tree.marker.map_or(lines.body_start(), |marker| lines.next(marker)),
            };
            editor.value(root, &slot, edit);
        }
        _ => {
            let end = tree.body_end;
            let at = if lines.is_blank_before(end) { lines.start(end) } else { end };
            let layout = editor.layout_before(at, Under::Root);
            editor.splices.insert_lines(at, layout.document(target));
        }
    }
    editor.splices.apply(text, layout.newline)
}

/// The indentation of the first nested mapping and of the first sequence below a key.
fn layout(tree: &Tree<'_>, lines: Lines<'_>) -> Layout {
    let (mut step, mut dash) = (None, None);
    if let Some(root) = &tree.root {
        look_around(root, lines, &mut step, &mut dash);
    }
    let likely = step.or(dash.filter(|dash| *dash > 0)).unwrap_or(2);
    Layout { newline: lines.newline(), step: likely, dash: dash.unwrap_or(likely), blocks: true }
}

fn look_around(node: &Node<'_>, lines: Lines<'_>, step: &mut Option<usize>, dash: &mut Option<usize>) {
    if step.is_some() && dash.is_some() {
        return;
    }
    match &node.content {
        Content::Sequence { flow: false, items } => {
            items.iter().for_each(|item| look_around(item, lines, step, dash));
        }
        Content::Mapping { flow: false, entries } => {
            for Entry { value, .. } in entries.iter().filter(|entry| entry.value.is_block_collection()) {
                let deeper = lines.column(value.start).checked_sub(lines.column(node.start));
                match value.content {
                    Content::Mapping { .. } if step.is_none() => *step = deeper.filter(|step| *step > 0),
                    Content::Sequence { .. } if dash.is_none() => *dash = deeper,
                    _ => {}
                }
                look_around(value, lines, step, dash);
            }
        }
        _ => {}
    }
}

/// Where a value stands.
pub(super) struct Slot {
    under: Under,
    /// The end of the `:`, the dash, or the `---` on whose line the document starts.
    indicator: Option<usize>,
    /// The first line that may hold comments of the value.
    first_line: usize,
}

pub(super) struct Editor<'t> {
    pub(super) text: &'t str,
    pub(super) lines: Lines<'t>,
    pub(super) layout: Layout,
    pub(super) splices: Splices,
}

/// What becomes of the entries of a block collection besides changes within them.
struct Plan {
    removed: Vec<bool>,
    /// New entries, as lines, each before the entry with this index.
    inserted: Vec<(usize, String)>,
}

impl Editor<'_> {
    fn value(&mut self, node: &Node<'_>, slot: &Slot, edit: &Edit<'_>) {
        match (edit, &node.content) {
            (Edit::Set(value), _) => self.set(node, slot, value),
            (Edit::Fields(edits), Content::Mapping { flow: false, entries }) => {
                self.fields(node, entries, slot, edits);
            }
            (Edit::Items(edits), Content::Sequence { flow: false, items }) => {
                self.items(node, items, slot, edits)
            }
            _ if self.is_bare(node) => self.set(node, slot, &after(node, edit)),
            _ => {
                let flow = Flow { text: self.text, lines: self.lines, layout: self.layout };
                self.splices.replace(node.start, node.end, flow.edited(node, edit));
            }
        }
    }

    /// Whether it is `{}` or `[]`, which become block collections.
    fn is_bare(&self, node: &Node<'_>) -> bool {
        let inside = self.text.get(node.start + 1..node.end.saturating_sub(1));
        inside.is_some_and(|inside| inside.trim().is_empty())
    }

    fn fields(
        &mut self,
        node: &Node<'_>,
        entries: &[Entry<'_>],
        slot: &Slot,
        edits: &[(&str, FieldEdit<'_>)],
    ) {
        let column = self.lines.column(node.start);
        let places: HashMap<&str, usize> =
            entries.iter().enumerate().filter_map(|(index, entry)| Some((key(entry)?, index))).collect();
        let mut plan = Plan { removed: vec![false; entries.len()], inserted: Vec::new() };
        let mut changes = Vec::new();
        for (name, edit) in edits {
            match (edit, places.get(name)) {
                (FieldEdit::Remove, Some(index)) => plan.removed[*index] = true,
                (FieldEdit::Change(edit), Some(index)) => changes.push((*index, edit)),
                (FieldEdit::Add(value), _) => {
                    let mut lines = String::new();
                    self.layout.entry(&mut lines, name, value, column);
                    plan.inserted.push((entries.len(), lines));
                }
                _ => {}
            }
        }
        if self.must_rewrite(node, slot, &plan) {
            return self.set(node, slot, &fields_after(node, edits));
        }
        for (index, edit) in changes {
            self.entry(&entries[index], column, edit);
        }
        let nodes = entries.iter().map(Entry::last).collect();
        let block = Block { node, slot, column, nodes };
        self.carry_out(&block, plan);
    }

    /// The layout of what comes before the line at `at`, where a block scalar must not take what follows for its own.
    fn layout_before(&self, at: usize, under: Under) -> Layout {
        let least = match under {
            Under::Root => 1,
            Under::Key(column) | Under::Dash(column) => column + 1,
        };
        Layout { blocks: !self.lines.would_swallow(at, least), ..self.layout }
    }

    fn entry(&mut self, entry: &Entry<'_>, column: usize, edit: &Edit<'_>) {
        let under = Under::Key(column);
        let Some(colon) = entry.colon else {
            // `? key` alone.
            if let Edit::Set(value) = edit {
                let mut lines = String::new();
                indent(&mut lines, column);
                lines.push(':');
                let at = self.lines.next(entry.key.end);
                self.layout_before(at, under).behind(&mut lines, value, under);
                self.splices.insert_lines(at, lines);
            }
            return;
        };
        let slot = Slot { under, indicator: Some(colon), first_line: self.lines.next(colon) };
        self.value(&entry.value, &slot, edit);
    }

    fn items(&mut self, node: &Node<'_>, items: &[Node<'_>], slot: &Slot, edits: &[(usize, ItemEdit<'_>)]) {
        let column = self.lines.column(node.start);
        let mut plan = Plan { removed: vec![false; items.len()], inserted: Vec::new() };
        let mut changes = Vec::new();
        for (index, edit) in edits.iter().rev() {
            match edit {
                ItemEdit::Remove => plan.removed[*index] = true,
                ItemEdit::Change(edit) => changes.push((*index, edit)),
                ItemEdit::Insert(value) => {
                    let mut lines = String::new();
                    self.layout.item(&mut lines, value, column);
                    plan.inserted.push((*index, lines));
                }
            }
        }
        if self.must_rewrite(node, slot, &plan) {
            return self.set(node, slot, &items_after(node, edits));
        }
        let block = Block { node, slot, column, nodes: items.iter().collect() };
        for (index, edit) in changes {
            let dash = block.mark(self.lines, index) + 1;
            let under = Under::Dash(column);
            let slot = Slot { under, indicator: Some(dash), first_line: self.lines.next(dash) };
            self.value(&items[index], &slot, edit);
        }
        self.carry_out(&block, plan);
    }

    /// Whether nothing remains of the collection, or the line goes that it shares with a dash and another comes.
    fn must_rewrite(&self, node: &Node<'_>, slot: &Slot, plan: &Plan) -> bool {
        let remaining = plan.removed.iter().position(|removed| !removed);
        match remaining {
            None if plan.inserted.is_empty() => true,
            _ if !self.is_compact(node, slot) || !plan.removed[0] => false,
            None => true,
            Some(remaining) => plan.inserted.iter().any(|(index, _)| *index <= remaining),
        }
    }

    /// Whether the collection starts on the line of its indicator.
    fn is_compact(&self, node: &Node<'_>, slot: &Slot) -> bool {
        slot.indicator.is_some_and(|indicator| self.lines.end(indicator) > node.start)
    }

    fn carry_out(&mut self, block: &Block<'_, '_>, plan: Plan) {
        let compact = self.is_compact(block.node, block.slot);
        for (index, lines) in plan.inserted {
            if compact && index == 0 {
                let mut first = lines.trim_start_matches(' ').to_owned();
                indent(&mut first, block.column);
                self.splices.insert(block.node.start, first);
            } else if index == 0 && block.slot.under == Under::Root {
                // What stands above the first item is more likely about the whole file.
                self.splices.insert_lines(self.lines.start(block.node.start), lines);
            } else if index == block.nodes.len() {
                self.splices.insert_lines(block.tail(self.lines, index - 1), lines);
            } else {
                self.splices.insert_lines(block.lead(self.lines, index), lines);
            }
        }
        let mut first = 0;
        if compact && plan.removed[0] {
            first = plan.removed.iter().take_while(|removed| **removed).count();
            self.remove_compact(block, first);
        }
        let mut kept = None;
        for index in first..block.nodes.len() {
            if !plan.removed[index] {
                kept = Some(index);
                continue;
            }
            let mut end = block.tail(self.lines, index);
            if kept.is_some_and(|kept| self.keeps_blank_lines(block.nodes[kept])) {
                end = self.lines.blank_lines(end);
            }
            self.splices.remove(block.lead(self.lines, index), end);
        }
    }

    /// Whether the node ends in a block scalar to which the blank lines below belong.
    fn keeps_blank_lines(&self, node: &Node<'_>) -> bool {
        let last = node.last_leaf();
        last.is_block_scalar() && self.lines.word(last.start).contains('+')
    }

    /// Removes the first entries, where the first stands behind a dash. The next one takes its place, unless comments
    /// stand between, which need lines of their own.
    fn remove_compact(&mut self, block: &Block<'_, '_>, count: usize) {
        let next = block.mark(self.lines, count);
        let adjoins = |index: usize| block.lead(self.lines, index + 1) == block.tail(self.lines, index);
        let bare = block.tail(self.lines, count - 1) == self.lines.start(next);
        if bare && (0..count - 1).all(adjoins) {
            return self.splices.remove(block.node.start, next);
        }
        let indicator = block.slot.indicator.unwrap_or(block.node.start);
        self.splices.replace(indicator, block.tail(self.lines, 0), self.layout.newline);
        for index in 1..count {
            self.splices.remove(block.lead(self.lines, index), block.tail(self.lines, index));
        }
    }

    /// Puts a value in the place of a node.
    fn set(&mut self, node: &Node<'_>, slot: &Slot, value: &Value) {
        match &node.content {
            _ if node.is_empty() => self.fill(slot, value),
            Content::Sequence { flow: false, items } => {
                let block = Block {
                    node,
                    slot,
                    column: self.lines.column(node.start),
                    nodes: items.iter().collect(),
                };
                self.set_block(&block, value);
            }
            Content::Mapping { flow: false, entries } => {
                let nodes = entries.iter().map(Entry::last).collect();
                let block = Block { node, slot, column: self.lines.column(node.start), nodes };
                self.set_block(&block, value);
            }
            _ => self.set_inline(node, slot, value),
        }
    }

    /// Puts a value where nothing but an indicator stands.
    fn fill(&mut self, slot: &Slot, value: &Value) {
        let Some(indicator) = slot.indicator else { return };
        let after = self.lines.next(indicator);
        match self.layout_before(after, slot.under).written(value, slot.under) {
            Written::Inline(text) => self.splices.insert(indicator, format!(" {text}")),
            Written::Literal(header, lines) => {
                self.splices.insert(indicator, format!(" {header}"));
                self.splices.insert_lines(after, lines);
            }
            Written::Lines(lines) => self.put_lines(slot, indicator, after, &lines),
        }
    }

    /// Puts the lines of a collection behind an indicator in place of what ends at `end`: for an item on the same line
    /// if no comment stands there.
    fn put_lines(&mut self, slot: &Slot, end: usize, after: usize, lines: &str) {
        let indicator = slot.indicator.unwrap_or(end);
        if matches!(slot.under, Under::Dash(_)) && self.lines.is_blank(end) {
            let lines = lines.trim_start_matches(' ');
            let lines = lines.strip_suffix(self.layout.newline).unwrap_or(lines);
            // Blanks at the end of the line would become part of a block scalar.
            self.splices.replace(indicator, self.lines.end(end), format!(" {lines}"));
        } else {
            self.splices.remove(indicator, end);
            self.splices.insert_lines(after, lines);
        }
    }

    /// Puts a value in the place of a scalar or of a flow collection.
    fn set_inline(&mut self, node: &Node<'_>, slot: &Slot, value: &Value) {
        let is_block = node.is_block_scalar();
        let style = if let Content::Scalar(scalar) = &node.content { Some(scalar.style) } else { None };
        // Of a block scalar, the header has the place on the line; the lines below go in any case.
        let end = if is_block { node.start + self.lines.word(node.start).len() } else { node.end };
        let after = self.lines.next(end);
        let same_line = slot.indicator.is_some_and(|indicator| self.lines.end(indicator) > node.start);
        if is_block {
            self.splices.remove(after, node.end);
        }
        if let Some((header, lines)) = self.block_scalar_again(node, slot, end, value) {
            self.splices.replace(node.start, end, header);
            return self.splices.insert_lines(after, lines);
        }
        let mut layout = self.layout_before(if is_block { node.end } else { after }, slot.under);
        if matches!(value, Value::String(_)) {
            layout.blocks &= same_line && matches!(style, None | Some(ScalarStyle::Plain));
        }
        match (layout.written(value, slot.under), value) {
            (Written::Inline(_), Value::String(text)) => {
                self.splices.replace(node.start, end, quoted(text, false, style));
            }
            (Written::Inline(text), _) => self.splices.replace(node.start, end, text),
            (Written::Literal(header, lines), _) => {
                self.splices.replace(node.start, end, header);
                self.splices.insert_lines(after, lines);
            }
            (Written::Lines(lines), _) if same_line && !is_block => self.put_lines(slot, end, after, &lines),
            (Written::Lines(lines), _) => {
                match slot.indicator {
                    Some(indicator) if same_line => self.splices.remove(indicator, end),
                    _ if self.lines.is_blank(end) => self.splices.remove(self.lines.start(node.start), after),
                    _ => self.splices.remove(node.start, end),
                }
                self.splices.insert_lines(after, lines);
            }
        }
    }

    /// The header and the lines of a block scalar that takes the place of another, with its content at the same column.
    fn block_scalar_again(
        &self,
        node: &Node<'_>,
        slot: &Slot,
        header_end: usize,
        value: &Value,
    ) -> Option<(&'static str, String)> {
        let (Content::Scalar(scalar), Value::String(text)) = (&node.content, value) else { return None };
        let column = scalar.indent.unwrap_or_else(|| self.layout.literal_column(slot.under));
        let keep = self.text[node.start..header_end].contains('+');
        // Where nothing is indented, these end the document.
        let ends = column == 0 && text.lines().any(|line| line.starts_with("---") || line.starts_with("..."));
        let fits = node.is_block_scalar() && !ends && !self.lines.would_swallow(node.end, column);
        let (header, body) = literal(text, keep).filter(|_| fits)?;
        Some((header, self.layout.literal_lines(body, column)))
    }

    /// Puts a value in the place of a whole block collection. Comments that belong to none of its entries stay.
    fn set_block(&mut self, block: &Block<'_, '_>, value: &Value) {
        let slot = block.slot;
        let newline = self.layout.newline;
        // Comments that stay could become part of a block scalar.
        let (is_lines, text) = match (Layout { blocks: false, ..self.layout }).written(value, slot.under) {
            Written::Lines(lines) => (true, lines),
            Written::Inline(text) | Written::Literal(_, text) => (false, text),
        };
        let first = match slot.indicator {
            Some(indicator) if self.is_compact(block.node, slot) => {
                let text = match slot.under {
                    Under::Dash(_) if is_lines => format!(" {}", text.trim_start_matches(' ')),
                    _ if is_lines => format!("{newline}{text}"),
                    _ => format!(" {text}{newline}"),
                };
                self.splices.replace(indicator, block.tail(self.lines, 0), text);
                1
            }
            Some(indicator) if !is_lines => {
                self.splices.insert(indicator, format!(" {text}"));
                0
            }
            _ => {
                let end = if is_lines { "" } else { newline };
                self.splices.insert_lines(block.lead(self.lines, 0), text + end);
                0
            }
        };
        for index in first..block.nodes.len() {
            self.splices.remove(block.lead(self.lines, index), block.tail(self.lines, index));
        }
    }
}

/// The lines of a block collection's entries.
struct Block<'b, 't> {
    node: &'b Node<'t>,
    slot: &'b Slot,
    column: usize,
    /// What stands last in each entry.
    nodes: Vec<&'b Node<'t>>,
}

impl Block<'_, '_> {
    /// Where an entry starts: at its key, its `?` or its dash.
    fn mark(&self, lines: Lines<'_>, index: usize) -> usize {
        if index == 0 { self.node.start } else { lines.skip(self.nodes[index - 1].end) }
    }

    /// The start of the lines of an entry.
    fn lead(&self, lines: Lines<'_>, index: usize) -> usize {
        let bound = if index == 0 { self.slot.first_line } else { self.tail(lines, index - 1) };
        lines.comments_above(lines.start(self.mark(lines, index)), bound, self.column)
    }

    /// The end of the lines of an entry.
    fn tail(&self, lines: Lines<'_>, index: usize) -> usize {
        lines.deeper_comments(lines.next(self.nodes[index].end), self.column)
    }
}
