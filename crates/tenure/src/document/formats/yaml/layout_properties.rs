//! What one change leaves as it is, byte for byte, whatever the layout.

use proptest::prelude::*;

use super::lines::Lines;
use super::meaning::key;
use super::properties::{comments, edited, is_subsequence};
use super::random_text::any_document;
use super::tree::{Content, Node, tree};
use super::*;

/// The way to a value: the index of an entry or an item at each level.
type Way = Vec<usize>;

fn children<'n, 't>(node: &'n Node<'t>) -> Vec<&'n Node<'t>> {
    match &node.content {
        Content::Sequence { items, .. } => items.iter().collect(),
        Content::Mapping { entries, .. } => entries.iter().map(|entry| &entry.value).collect(),
        _ => Vec::new(),
    }
}

/// Every way that leads to a node that `is` so.
fn ways(node: &Node<'_>, is: &dyn Fn(&Node<'_>) -> bool, way: &mut Way, found: &mut Vec<Way>) {
    if is(node) {
        found.push(way.clone());
    }
    for (index, child) in children(node).into_iter().enumerate() {
        way.push(index);
        ways(child, is, way, found);
        way.pop();
    }
}

fn at<'n, 't>(node: &'n Node<'t>, way: &[usize]) -> &'n Node<'t> {
    way.iter().fold(node, |node, index| children(node)[*index])
}

fn at_mut<'v>(value: &'v mut Value, way: &[usize]) -> &'v mut Value {
    way.iter().fold(value, |value, index| match value {
        Value::Array(items) => &mut items[*index],
        Value::Object(fields) => fields.get_index_mut(*index).unwrap().1,
        _ => unreachable!("no way leads through a scalar"),
    })
}

fn choose(node: &Node<'_>, choice: usize, is: &dyn Fn(&Node<'_>) -> bool) -> Option<Way> {
    let mut found = Vec::new();
    ways(node, is, &mut Vec::new(), &mut found);
    (!found.is_empty()).then(|| found.swap_remove(choice % found.len()))
}

/// The numbers of the first and the last line of the entry: with the comments directly above it that are not deeper, and
/// with the deeper comments and blank lines below.
fn entry_lines(text: &str, start: usize, end: usize, column: usize) -> (usize, usize) {
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_start_matches('\u{feff}')).collect();
    let depth = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let is_comment = |line: &str| line.trim_start_matches(' ').starts_with('#');
    let mut first = text[..start].matches('\n').count();
    while first > 0 && is_comment(lines[first - 1]) && depth(lines[first - 1]) <= column {
        first -= 1;
    }
    let ends_line = text[..end].ends_with('\n');
    let mut last = text[..end].matches('\n').count() - usize::from(ends_line);
    let below = lines[last + 1..]
        .iter()
        .take_while(|line| line.trim().is_empty() || (is_comment(line) && depth(line) > column));
    let below: Vec<&&str> = below.collect();
    last +=
        below.iter().rposition(|line| depth(line.trim_end_matches('\r')) > column).map_or(0, |deep| deep + 1);
    (first, last)
}

proptest! {
    #[test]
    fn a_changed_scalar_changes_nothing_around_it(
        (text, value) in any_document(),
        choice in any::<usize>(),
        new in prop::sample::select(vec!["7", "true", "null", "\"word\"", "\"yes\"", "\"it's\""]),
    ) {
        let parsed = tree(&text, true);
        prop_assume!(parsed.as_ref().is_ok_and(|tree| tree.root.is_some()));
        let root = parsed.unwrap().root.unwrap();
        // An empty root and a key without a colon have no place of their own for a value.
        let is = |node: &Node<'_>| matches!(node.content, Content::Scalar(_))
            && (!node.is_empty() || (!std::ptr::eq(node, &root) && text[..node.end].ends_with([':', '-'])));
        let Some(way) = choose(&root, choice, &is) else { return Ok(()) };
        let mut target = value.clone();
        *at_mut(&mut target, &way) = Value::parse_json(new).unwrap();
        let edited = edited(&text, &target);
        prop_assert_eq!(parse(&edited), Ok(target.clone()));
        let node = at(&root, &way);
        prop_assert!(edited.starts_with(&text[..node.start]), "{}\n=>\n{}", text, edited);
        prop_assert!(edited.ends_with(&text[node.end..]), "{}\n=>\n{}", text, edited);
        prop_assert_eq!(comments(&edited), comments(&text), "{}\n=>\n{}", text, edited);
    }

    #[test]
    fn an_added_entry_changes_no_line(
        (text, value) in any_document(),
        choice in any::<usize>(),
        new in prop::sample::select(vec!["7", "{\"a\":[1]}", "\"x\\ny\\n\"", "[[2]]"]),
    ) {
        let parsed = tree(&text, true);
        prop_assume!(parsed.as_ref().is_ok_and(|tree| tree.root.is_some()));
        let root = parsed.unwrap().root.unwrap();
        let is = |node: &Node<'_>| !children(node).is_empty();
        let Some(way) = choose(&root, choice, &is) else { return Ok(()) };
        let mut target = value.clone();
        match at_mut(&mut target, &way) {
            Value::Array(items) => items.push(Value::parse_json(new).unwrap()),
            Value::Object(fields) => drop(fields.insert("new".to_owned(), Value::parse_json(new).unwrap())),
            _ => unreachable!("only collections were chosen"),
        }
        prop_assume!(target != value);
        let edited = edited(&text, &target);
        prop_assert_eq!(parse(&edited), Ok(target.clone()));
        prop_assert_eq!(comments(&edited), comments(&text), "{}\n=>\n{}", text, edited);
        if at(&root, &way).is_block_collection() {
            let lines = |text: &str| text.trim_end_matches(['\r', '\n']).split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect::<Vec<_>>();
            prop_assert!(is_subsequence(lines(&text), lines(&edited)), "{}\n=>\n{}", text, edited);
            let last = tree(&edited, true).unwrap().root.is_some_and(|root| root.last_leaf().is_block_scalar());
            prop_assert!(last || text.ends_with('\n') == edited.ends_with('\n'), "{}\n=>\n{}", text, edited);
        }
    }

    #[test]
    fn a_removed_entry_takes_its_own_lines_alone((text, value) in any_document(), choice in any::<usize>()) {
        let parsed = tree(&text, true);
        prop_assume!(parsed.as_ref().is_ok_and(|tree| tree.root.is_some()));
        let root = parsed.unwrap().root.unwrap();
        let is = |node: &Node<'_>| node.is_block_collection() && children(node).len() > 1;
        let Some(way) = choose(&root, choice, &is) else { return Ok(()) };
        let node = at(&root, &way);
        let index = choice / 7 % children(node).len();
        let lines = Lines::new(&text);
        let column = lines.column(node.start);
        let mut target = value.clone();
        let (start, end) = match (&node.content, at_mut(&mut target, &way)) {
            (Content::Mapping { entries, .. }, Value::Object(fields)) => {
                fields.shift_remove(key(&entries[index]).unwrap());
                (entries[index].key.start, entries[index].last().end)
            }
            (Content::Sequence { items, .. }, Value::Array(all)) => {
                all.remove(index);
                let before = if index == 0 { node.start } else { items[index - 1].end };
                (lines.skip(before), items[index].end)
            }
            _ => unreachable!("only collections were chosen"),
        };
        let edited = edited(&text, &target);
        prop_assert_eq!(parse(&edited), Ok(target.clone()));
        let (first, last) = entry_lines(&text, start, end, column);
        let all: Vec<&str> = text.split('\n').collect();
        let mark = if first == 0 && text.starts_with('\u{feff}') { "\u{feff}" } else { "" };
        let kept = mark.to_owned() + &[&all[..first], &all[last + 1..]].concat().join("\n");
        // Which of equal items went is not said. The first entry may share its line; and blank lines behind a block
        // scalar that keeps them would become its own.
        let items = if let Value::Array(items) = at_mut(&mut value.clone(), &way) { items.clone() } else { Vec::new() };
        let ambiguous = items.get(index).is_some_and(|item| items.iter().filter(|other| *other == item).count() > 1);
        let shares = index == 0 && !lines.is_blank_before(node.start);
        let keeps = text.contains('+');
        if ambiguous || shares || keeps {
            prop_assert!(is_subsequence(comments(&edited), comments(&text)));
        } else {
            let ends = |text: &str| text.trim_end_matches(['\r', '\n']).to_owned();
            prop_assert_eq!(ends(&edited), ends(&kept), "{}\n=>\n{}", text, edited);
        }
    }
}
