//! What an updater changed, so that nothing else in the file is touched.
//!
//! An updater works on a *model* of the document: a Rust type, or the values of an expression language. The model
//! may know less than the file: fields that the type doesn't have, digits that an `f64` can't hold. So the file is
//! never written from the model. [`merge`] takes the file, the model before and the model after, and makes the
//! value that the file should have: the differences between the two models, carried over. [`changes`] then says
//! which places of the file differ from that value, for a format to edit.

use super::value::{Fields, Value};

/// One step of a path into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// What is done at the end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Give the place this value; a field that is missing is added behind the others.
    Set(Value),
    /// Insert this element before the index at the end of the path.
    Insert(Value),
    /// Remove the field or element.
    Remove,
}

/// One difference. A list of changes is meant to be carried out in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: Vec<Step>,
    pub(crate) action: Action,
}

/// A container with more changes than this is written anew: its layout is lost, but the time to edit stays linear.
const CHANGES_MAX: usize = 64;

/// Why the differences can't be carried over.
const AMBIGUOUS: &str = "elements of an array have fields that the updater's type does not know, and the change \
    moves or replaces elements so that it is not clear which of them those fields belong to; use a type that has \
    all fields, such as serde_json::Value";

/// The value that the file should have, given what the updater made of its model.
///
/// # Errors
///
/// A sentence, if what the model does not know would be lost or end up in the wrong place.
pub(crate) fn merge(file: &Value, before: &Value, after: &Value) -> Result<Value, &'static str> {
    match (file, before, after) {
        _ if before == after => Ok(file.clone()),
        _ if file == before => Ok(after.clone()),
        (Value::Object(file), Value::Object(before), Value::Object(after)) => {
            merge_fields(file, before, after).map(Value::Object)
        }
        (Value::Array(file), Value::Array(before), Value::Array(after)) => {
            merge_items(file, before, after).map(Value::Array)
        }
        _ => Ok(after.clone()),
    }
}

fn merge_fields(file: &Fields, before: &Fields, after: &Fields) -> Result<Fields, &'static str> {
    let removed = |key: &String| before.contains_key(key) && !after.contains_key(key);
    let mut merged: Fields = file
        .iter()
        .filter(|(key, _)| !removed(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, new) in after {
        match (file.get(key), before.get(key)) {
            (Some(file), Some(old)) => {
                merged.insert(key.clone(), merge(file, old, new)?);
            }
            // The type has a default for a field that the file does without.
            (None, Some(old)) if old == new => {}
            _ => {
                merged.insert(key.clone(), new.clone());
            }
        }
    }
    Ok(merged)
}

/// Elements have no names. Where file and model agree element by element, an element that the updater left
/// alone is recognised by its model, wherever it went; one that changed is recognised by its place, if nothing
/// else could be meant.
fn merge_items(file: &[Value], before: &[Value], after: &[Value]) -> Result<Vec<Value>, &'static str> {
    let agreeing =
        file.len() == before.len() && file.iter().zip(before).all(|(file, model)| agree(file, model));
    if !agreeing {
        // A set, or values that the type writes otherwise: the model's own array, if it knows everything.
        return match file.iter().all(|item| before.iter().any(|model| knows(model, item))) {
            true => Ok(after.to_vec()),
            false => Err(AMBIGUOUS),
        };
    }
    let mut unused: Vec<bool> = vec![true; before.len()];
    let mut sources: Vec<Option<usize>> = vec![None; after.len()];
    let stayed = before.iter().zip(after).enumerate().filter(|(_, (old, new))| old == new).map(|(n, _)| n);
    for index in stayed.collect::<Vec<_>>() {
        (unused[index], sources[index]) = (false, Some(index));
    }
    let mut positions: std::collections::HashMap<String, Vec<usize>> = std::collections::HashMap::new();
    for index in (0..before.len()).rev().filter(|index| unused[*index]) {
        positions.entry(before[index].to_string()).or_default().push(index);
    }
    for (index, source) in sources.iter_mut().enumerate().filter(|(_, source)| source.is_none()) {
        if let Some(found) = positions.get_mut(&after[index].to_string()).and_then(Vec::pop) {
            (unused[found], *source) = (false, Some(found));
        }
    }
    let left_over: Vec<usize> = (0..before.len()).filter(|index| unused[*index]).collect();
    let new: Vec<usize> = (0..after.len()).filter(|index| sources[*index].is_none()).collect();
    // Changed in place: the same places on both sides, and nothing was moved.
    let in_place = left_over == new && before.len() == after.len();
    let nothing_unknown = || left_over.iter().all(|index| knows(&before[*index], &file[*index]));
    if !in_place && !new.is_empty() && !nothing_unknown() {
        return Err(AMBIGUOUS);
    }
    (0..after.len())
        .map(|index| match sources[index] {
            Some(source) => Ok(file[source].clone()),
            None if in_place => merge(&file[index], &before[index], &after[index]),
            None => Ok(after[index].clone()),
        })
        .collect()
}

/// Whether `model` can be a reading of `file`: what both have is equal; either may have fields of its own.
fn agree(file: &Value, model: &Value) -> bool {
    match (file, model) {
        (Value::Number(file), Value::Number(model)) => {
            file == model || file.parse::<f64>() == model.parse::<f64>()
        }
        (Value::Object(file), Value::Object(model)) => {
            model.iter().all(|(key, model)| file.get(key).is_none_or(|file| agree(file, model)))
        }
        (Value::Array(file), Value::Array(model)) => {
            file.len() == model.len() && file.iter().zip(model).all(|(file, model)| agree(file, model))
        }
        _ => file == model,
    }
}

/// Whether `model` has every field that `file` has.
fn knows(model: &Value, file: &Value) -> bool {
    match (model, file) {
        (Value::Object(model), Value::Object(file)) => {
            file.iter().all(|(key, file)| model.get(key).is_some_and(|model| knows(model, file)))
        }
        (Value::Array(model), Value::Array(file)) => {
            file.iter().all(|file| model.iter().any(|model| knows(model, file)))
        }
        (_, Value::Object(file)) => file.is_empty(),
        (_, Value::Array(file)) => file.iter().all(|file| knows(&Value::Null, file)),
        _ => true,
    }
}

/// Whether two values are equal but for the order of array elements, which a type like `HashSet` does not keep.
pub(crate) fn same_but_for_order(a: &Value, b: &Value) -> bool {
    a == b || sorted(a).to_string() == sorted(b).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_cached_key(ToString::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => {
            let mut fields: Fields = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_keys();
            Value::Object(fields)
        }
        scalar => scalar.clone(),
    }
}

/// The changes that lead from `file` to `target`.
pub(crate) fn changes(file: &Value, target: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(file, target, &mut Vec::new(), &mut found);
    found
}

fn compare(file: &Value, target: &Value, path: &mut Vec<Step>, found: &mut Vec<Change>) {
    let start = found.len();
    match (file, target) {
        _ if file == target => return,
        (Value::Object(file), Value::Object(target)) => compare_fields(file, target, path, found),
        (Value::Array(file), Value::Array(target)) => compare_items(file, target, path, found),
        _ => found.push(Change { path: path.clone(), action: Action::Set(target.clone()) }),
    }
    if found.len() - start > CHANGES_MAX {
        found.truncate(start);
        found.push(Change { path: path.clone(), action: Action::Set(target.clone()) });
    }
}

fn compare_fields(file: &Fields, target: &Fields, path: &mut Vec<Step>, found: &mut Vec<Change>) {
    for key in file.keys().filter(|key| !target.contains_key(*key)) {
        path.push(Step::Key(key.clone()));
        found.push(Change { path: path.clone(), action: Action::Remove });
        path.pop();
    }
    for (key, new) in target {
        path.push(Step::Key(key.clone()));
        match file.get(key) {
            Some(old) => compare(old, new, path, found),
            None => found.push(Change { path: path.clone(), action: Action::Set(new.clone()) }),
        }
        path.pop();
    }
}

/// Elements at both ends that did not change keep their place; between them elements are compared in pairs,
/// and the rest is inserted or removed.
fn compare_items(file: &[Value], target: &[Value], path: &mut Vec<Step>, found: &mut Vec<Change>) {
    let head = file.iter().zip(target).take_while(|(old, new)| old == new).count();
    let rest = file.len().min(target.len()) - head;
    let ends = file.iter().rev().zip(target.iter().rev());
    let tail = ends.take(rest).take_while(|(old, new)| old == new).count();
    let (old_end, new_end) = (file.len() - tail, target.len() - tail);
    let paired = old_end.min(new_end);
    for index in head..paired {
        path.push(Step::Index(index));
        compare(&file[index], &target[index], path, found);
        path.pop();
    }
    let mut push = |index: usize, action: Action| {
        let mut path = path.clone();
        path.push(Step::Index(index));
        found.push(Change { path, action });
    };
    (paired..old_end).rev().for_each(|index| push(index, Action::Remove));
    (paired..new_end).for_each(|index| push(index, Action::Insert(target[index].clone())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::formats::json;

    fn value(text: &str) -> Value {
        json::parse(text).unwrap()
    }

    fn merged(file: &str, before: &str, after: &str) -> Result<String, &'static str> {
        merge(&value(file), &value(before), &value(after)).map(|merged| merged.to_string())
    }

    #[test]
    fn what_the_model_does_not_know_stays() {
        let table = [
            // file, model before, model after, file after
            (r#"{"a":1,"unknown":2}"#, r#"{"a":1}"#, r#"{"a":5}"#, r#"{"a":5,"unknown":2}"#),
            (r#"{"f":1.10,"n":1}"#, r#"{"f":1.1,"n":1}"#, r#"{"f":1.1,"n":2}"#, r#"{"f":1.10,"n":2}"#),
            (r#"{"a":1}"#, r#"{"a":1,"default":0}"#, r#"{"a":1,"default":0}"#, r#"{"a":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"default":0}"#, r#"{"a":1,"default":3}"#, r#"{"a":1,"default":3}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#, r#"{"b":2}"#, r#"{"b":2}"#),
            ("{}", r#"{"deep":{"x":0}}"#, r#"{"deep":{"x":1}}"#, r#"{"deep":{"x":1}}"#),
            ("[1,2,3,4]", "[1,2,3,4]", "[1,3,4]", "[1,3,4]"),
            ("[1,4]", "[1,4]", "[1,2,3,4]", "[1,2,3,4]"),
            ("[1.0]", "[1.0,2]", "[1,2,3]", "[1,2,3]"),
            ("null", "null", r#"{"a":[]}"#, r#"{"a":[]}"#),
        ];
        for (file, before, after, expected) in table {
            assert_eq!(merged(file, before, after).unwrap(), expected, "{file}: {before} -> {after}");
        }
    }

    #[test]
    fn elements_keep_what_the_model_does_not_know_or_nothing_is_done() {
        let file = r#"[{"n":"a","t":1},{"n":"b","t":2},{"n":"c","t":3}]"#;
        let before = r#"[{"n":"a"},{"n":"b"},{"n":"c"}]"#;
        let table = [
            // changed in place, removed, moved, added behind
            (
                r#"[{"n":"a"},{"n":"B"},{"n":"c"}]"#,
                Ok(r#"[{"n":"a","t":1},{"n":"B","t":2},{"n":"c","t":3}]"#),
            ),
            (r#"[{"n":"b"},{"n":"c"}]"#, Ok(r#"[{"n":"b","t":2},{"n":"c","t":3}]"#)),
            (
                r#"[{"n":"c"},{"n":"a"},{"n":"b"}]"#,
                Ok(r#"[{"n":"c","t":3},{"n":"a","t":1},{"n":"b","t":2}]"#),
            ),
            (
                r#"[{"n":"z"},{"n":"a"},{"n":"b"},{"n":"c"}]"#,
                Ok(r#"[{"n":"z"},{"n":"a","t":1},{"n":"b","t":2},{"n":"c","t":3}]"#),
            ),
            // Is B the old b or a new one in a's place?
            (r#"[{"n":"B"},{"n":"c"}]"#, Err(AMBIGUOUS)),
        ];
        for (after, expected) in table {
            assert_eq!(merged(file, before, after), expected.map(str::to_owned), "{after}");
        }
        // A type that sorts: the model's order is not the file's.
        let sorted = merged(r#"["c","a","b"]"#, r#"["a","b","c"]"#, r#"["b","c"]"#);
        assert_eq!(sorted.unwrap(), r#"["b","c"]"#, "c stays, a goes");
        let sorted = merged(r#"[{"n":"b","t":1},{"n":"a"}]"#, r#"[{"n":"a"},{"n":"b"}]"#, r#"[{"n":"b"}]"#);
        assert_eq!(sorted, Err(AMBIGUOUS));
    }

    #[test]
    fn many_changes_are_one() {
        let array = |n: u64| Value::Array((0..200).map(|i| Value::Number((i * n).to_string())).collect());
        assert_eq!(changes(&array(1), &array(2)), [Change { path: vec![], action: Action::Set(array(2)) }]);
    }
}
