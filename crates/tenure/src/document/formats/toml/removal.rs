//! Takes fields and tables out of a document's text, line by line: all other text is copied.
//!
//! A *statement* is a header or a field with its value; it has lines of its own. With a statement go the comments on its
//! lines and those directly above it; with a table go all statements in it, and what stands between two that follow each
//! other. What a blank line separates from what goes stays where it is.

use std::collections::HashMap;
use std::ops::Range;

use toml_edit::{Document, Item, Key, Table};

use super::places::{NO_PLACE, is_table};
use crate::document::difference::{Edit, FieldEdit, ItemEdit};

/// `text` without what `edit` removes, or replaces by something that is written in another place; `None` if that is
/// nothing.
pub(super) fn removed(text: &str, edit: &Edit<'_>) -> Result<Option<String>, String> {
    let Edit::Fields(edits) = edit else { return Ok(None) };
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    let mut walk = Walk { text, statements: Vec::new(), entries: 0 };
    walk.fields(document.as_table(), edits)?;
    if walk.entries == 0 {
        return Ok(None);
    }
    walk.statements.sort_by_key(|statement| statement.lines.start);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for cut in cuts(text, &walk.statements) {
        out.push_str(&text[from..cut.start]);
        from = cut.end;
    }
    out.push_str(&text[from..]);
    Ok(Some(out))
}

/// The lines of one, and the number of the removed entry that they are part of.
struct Statement {
    lines: Range<usize>,
    removed: Option<usize>,
}

struct Walk<'t> {
    text: &'t str,
    statements: Vec<Statement>,
    /// How many entries were found that go.
    entries: usize,
}

impl Walk<'_> {
    fn fields(&mut self, table: &Table, edits: &[(&str, FieldEdit<'_>)]) -> Result<(), String> {
        let edits: HashMap<&str, &FieldEdit<'_>> = edits.iter().map(|(key, edit)| (*key, edit)).collect();
        for (name, item) in table {
            let key = table.key(name);
            match (item, edits.get(name)) {
                (_, None) | (Item::Value(_), Some(FieldEdit::Change(_))) => self.item(key, item, None)?,
                (Item::Table(table), Some(FieldEdit::Change(Edit::Fields(edits)))) => {
                    self.header(table, None)?;
                    self.fields(table, edits)?;
                }
                (Item::ArrayOfTables(tables), Some(FieldEdit::Change(Edit::Items(edits))))
                    if edits.iter().all(|(_, edit)| is_table(edit)) =>
                {
                    // An insertion is about no table that is there.
                    let edits = edits.iter().filter(|(_, edit)| !matches!(edit, ItemEdit::Insert(_)));
                    let edits: HashMap<usize, &ItemEdit<'_>> =
                        edits.map(|(index, edit)| (*index, edit)).collect();
                    for (index, table) in tables.iter().enumerate() {
                        match edits.get(&index) {
                            Some(ItemEdit::Remove) => self.table_goes(table)?,
                            Some(ItemEdit::Change(Edit::Fields(edits))) => {
                                self.header(table, None)?;
                                self.fields(table, edits)?;
                            }
                            _ => self.table(table, None)?,
                        }
                    }
                }
                _ => self.goes(key, item)?,
            }
        }
        Ok(())
    }

    /// Collects what goes with an entry. Tables that have no header of their own are as many entries as there are in them.
    fn goes(&mut self, key: Option<&Key>, item: &Item) -> Result<(), String> {
        match item {
            Item::Table(table) if has_header(table) => self.table_goes(table),
            Item::Table(table) => table.iter().try_for_each(|(name, item)| self.goes(table.key(name), item)),
            Item::ArrayOfTables(tables) => tables.iter().try_for_each(|table| self.table_goes(table)),
            Item::Value(_) | Item::None => {
                self.entries += 1;
                self.item(key, item, Some(self.entries))
            }
        }
    }

    fn table_goes(&mut self, table: &Table) -> Result<(), String> {
        self.entries += 1;
        self.table(table, Some(self.entries))
    }

    fn item(&mut self, key: Option<&Key>, item: &Item, removed: Option<usize>) -> Result<(), String> {
        match item {
            Item::None => {}
            Item::Value(value) => {
                let (start, end) = (key.and_then(Key::span), value.span());
                self.push(start.ok_or(NO_PLACE)?.start..end.ok_or(NO_PLACE)?.end, removed);
            }
            Item::Table(table) => self.table(table, removed)?,
            Item::ArrayOfTables(tables) => {
                tables.iter().try_for_each(|table| self.table(table, removed))?;
            }
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, removed: Option<usize>) -> Result<(), String> {
        self.header(table, removed)?;
        table.iter().try_for_each(|(name, item)| self.item(table.key(name), item, removed))
    }

    fn header(&mut self, table: &Table, removed: Option<usize>) -> Result<(), String> {
        if has_header(table) {
            let start = table.span().ok_or(NO_PLACE)?.start;
            self.push(start..start, removed);
        }
        Ok(())
    }

    /// A statement from its first line to its last.
    fn push(&mut self, place: Range<usize>, removed: Option<usize>) {
        let start = self.text[..place.start].rfind('\n').map_or(0, |line_end| line_end + 1);
        let end = self.text[place.end..].find('\n').map_or(self.text.len(), |length| place.end + length + 1);
        self.statements.push(Statement { lines: start..end, removed });
    }
}

fn has_header(table: &Table) -> bool {
    !table.is_implicit() && !table.is_dotted()
}

/// The lines that go.
fn cuts(text: &str, statements: &[Statement]) -> Vec<Range<usize>> {
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let mut before: Option<&Statement> = None;
    for statement in statements {
        let previous = before.replace(statement);
        if statement.removed.is_none() {
            continue;
        }
        let floor = previous.map_or(0, |previous| previous.lines.end);
        let together = previous.is_some_and(|previous| previous.removed == statement.removed);
        let start = if together { floor } else { above(text, floor..statement.lines.start, is_comment) };
        match cuts.last_mut().filter(|cut| cut.end == start) {
            Some(cut) => cut.end = statement.lines.end,
            None => cuts.push(start..statement.lines.end),
        }
    }
    // Of the blank lines around what went, those before it stay.
    for cut in &mut cuts {
        if cut.start == 0 || above(text, 0..cut.start, is_blank) < cut.start {
            let rest = text[cut.end..].split_inclusive('\n').take_while(|line| is_blank(line));
            cut.end += rest.map(str::len).sum::<usize>();
        }
    }
    cuts.dedup_by(|next, cut| {
        let touches = next.start <= cut.end;
        if touches {
            cut.end = cut.end.max(next.end);
        }
        touches
    });
    if let Some(last) = cuts.last_mut().filter(|cut| cut.end == text.len()) {
        last.start = above(text, 0..last.start, is_blank);
    }
    cuts
}

/// Where the lines begin that end `text[place]` and are all like this.
fn above(text: &str, place: Range<usize>, like: impl Fn(&str) -> bool) -> usize {
    let lines = text[place.clone()].split_inclusive('\n').rev().take_while(|line| like(line));
    place.end - lines.map(str::len).sum::<usize>()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}
