//! Where a document differs from the value that it should have, as edits for a format to carry out.
//!
//! What the edits do not name stays as it stands in the text, byte for byte. So they should be few: elements of an array
//! that only moved along are recognised, and the rest is compared in pairs.

use std::collections::HashMap;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::value::{Fields, Value};

/// What is done to one place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Edit<'a> {
    /// It gets this value.
    Set(&'a Value),
    /// It stays an object; these fields are edited.
    Fields(Vec<(&'a str, FieldEdit<'a>)>),
    /// It stays an array; these elements are edited. They are listed from the last to the first, so that an index
    /// means the same element before and after the edits that precede it.
    Items(Vec<(usize, ItemEdit<'a>)>),
}

/// What is done to one field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FieldEdit<'a> {
    Remove,
    /// The field is new, and comes behind the others.
    Add(&'a Value),
    Change(Edit<'a>),
}

/// What is done to one element.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ItemEdit<'a> {
    Remove,
    /// A new element comes before the one with this index, or behind the last.
    Insert(&'a Value),
    Change(Edit<'a>),
}

/// Between equal ends, more elements than this are compared by their places alone: finding what moved takes time that
/// grows with the square.
const MOVES_MAX: usize = 2000;

/// What leads from `file` to `target`; `None` if nothing does.
pub(crate) fn difference<'a>(file: &'a Value, target: &'a Value) -> Option<Edit<'a>> {
    match (file, target) {
        (Value::Object(file), Value::Object(target)) => {
            let edits = fields(file, target);
            (!edits.is_empty()).then_some(Edit::Fields(edits))
        }
        (Value::Array(file), Value::Array(target)) => {
            let edits = items(file, target);
            (!edits.is_empty()).then_some(Edit::Items(edits))
        }
        _ if file == target => None,
        _ => Some(Edit::Set(target)),
    }
}

fn fields<'a>(file: &'a Fields, target: &'a Fields) -> Vec<(&'a str, FieldEdit<'a>)> {
    let removed = file.keys().filter(|key| !target.contains_key(*key));
    let removed = removed.map(|key| (key.as_str(), FieldEdit::Remove));
    let set = target.iter().filter_map(|(key, new)| {
        let edit = match file.get(key) {
            Some(old) => FieldEdit::Change(difference(old, new)?),
            None => FieldEdit::Add(new),
        };
        Some((key.as_str(), edit))
    });
    removed.chain(set).collect()
}

fn items<'a>(file: &'a [Value], target: &'a [Value]) -> Vec<(usize, ItemEdit<'a>)> {
    let head = file.iter().zip(target).take_while(|(old, new)| old == new).count();
    let rest = file.len().min(target.len()) - head;
    let ends = file.iter().rev().zip(target.iter().rev());
    let tail = ends.take(rest).take_while(|(old, new)| old == new).count();
    let (old, new) = (&file[head..file.len() - tail], &target[head..target.len() - tail]);
    let mut edits = Vec::new();
    for op in moves(old, new) {
        let (old_range, new_range) = (op.old_range(), op.new_range());
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        let paired = old_range.len().min(new_range.len());
        for (index, new) in old_range.clone().zip(&new[new_range.clone()]) {
            edits.extend(difference(&old[index], new).map(|edit| (head + index, ItemEdit::Change(edit))));
        }
        edits.extend(old_range.clone().skip(paired).map(|index| (head + index, ItemEdit::Remove)));
        // What is inserted at one place comes there in its order, since the last is inserted first.
        let inserted = new[new_range].iter().skip(paired);
        edits.extend(inserted.map(|value| (head + old_range.end, ItemEdit::Insert(value))));
    }
    edits.reverse();
    edits
}

/// Which elements stayed, went and came.
fn moves(old: &[Value], new: &[Value]) -> Vec<DiffOp> {
    if old.len() > MOVES_MAX || new.len() > MOVES_MAX {
        let (old_len, new_len) = (old.len(), new.len());
        return vec![DiffOp::Replace { old_index: 0, old_len, new_index: 0, new_len }];
    }
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut number = |value: &Value| {
        let next = numbers.len();
        // As JSON, a date and a string of the same text would be one.
        *numbers.entry(format!("{value:?}")).or_insert(next)
    };
    let old: Vec<usize> = old.iter().map(&mut number).collect();
    let new: Vec<usize> = new.iter().map(&mut number).collect();
    capture_diff_slices(Algorithm::Myers, &old, &new)
}

/// The value with the edit carried out on it, for places whose text can't be kept.
pub(crate) fn applied(file: &Value, edit: &Edit<'_>) -> Value {
    let mut file = file.clone();
    match (&mut file, edit) {
        (place, Edit::Set(new)) => *place = (*new).clone(),
        (Value::Object(fields), Edit::Fields(edits)) => {
            for (key, edit) in edits {
                match edit {
                    FieldEdit::Remove => drop(fields.shift_remove(*key)),
                    FieldEdit::Add(new) => drop(fields.insert((*key).to_owned(), (*new).clone())),
                    FieldEdit::Change(edit) => fields[*key] = applied(&fields[*key], edit),
                }
            }
        }
        (Value::Array(items), Edit::Items(edits)) => {
            for (index, edit) in edits {
                match edit {
                    ItemEdit::Remove => drop(items.remove(*index)),
                    ItemEdit::Insert(new) => items.insert(*index, (*new).clone()),
                    ItemEdit::Change(edit) => items[*index] = applied(&items[*index], edit),
                }
            }
        }
        (place, edit) => unreachable!("{edit:?} was made for another value than {place}"),
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::parse_json(text).unwrap()
    }

    #[test]
    fn elements_that_moved_along_are_left_alone() {
        let table = [
            ("[1,2,3,4]", "[1,3,4]", 1),
            ("[1,2,3,4]", "[2,3,4,5]", 2),
            (r#"[{"a":1},2,3,{"b":1}]"#, r#"[2,3,{"b":2}]"#, 2),
            ("[1,2]", "[1,9,8,2]", 2),
            ("[[1,2],[3]]", "[[1],[3,4]]", 2),
            ("[1,2,3]", "[3,2,1]", 3),
        ];
        for (file, target, count) in table {
            let (file, target) = (value(file), value(target));
            let Some(Edit::Items(edits)) = difference(&file, &target) else { panic!("{file} {target}") };
            assert!(edits.len() <= count + 1, "{file} -> {target}: {edits:?}");
            assert_eq!(applied(&file, &Edit::Items(edits)), target);
        }
    }

    proptest::proptest! {
        #[test]
        fn the_edits_lead_to_the_target(
            file in crate::document::formats::json::tests::any_value(),
            target in crate::document::formats::json::tests::any_value(),
        ) {
            match difference(&file, &target) {
                None => proptest::prop_assert_eq!(file, target),
                Some(edit) => proptest::prop_assert_eq!(applied(&file, &edit), target),
            }
        }
    }
}
