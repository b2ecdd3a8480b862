//! What an updater changed, so that nothing else in the file is touched.
//!
//! An updater works on a *model* of the document: a Rust type, or the values of an expression language. The
//! model may know less than the file: fields that the type doesn't have, digits that an `f64` can't hold. So
//! the file is never written from the model. The model as it was before is compared with the model after,
//! and the differences alone are carried over to the file. What the updater did not touch keeps its text.

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
    /// Remove the field or element, if it is there.
    Remove,
}

/// One difference. A list of changes is meant to be carried out in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: Vec<Step>,
    pub(crate) action: Action,
}

/// The changes that lead from `before` to `after`, phrased so that each of them fits `file`.
///
/// Where the file's shape differs from the model's, the whole place is set.
pub(crate) fn changes(file: &Value, before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(file, before, after, &mut Vec::new(), &mut found);
    found
}

fn compare(file: &Value, before: &Value, after: &Value, path: &mut Vec<Step>, found: &mut Vec<Change>) {
    match (file, before, after) {
        _ if before == after => {}
        (Value::Object(file), Value::Object(before), Value::Object(after)) => {
            compare_fields(file, before, after, path, found);
        }
        (Value::Array(file), Value::Array(before), Value::Array(after)) if file.len() == before.len() => {
            compare_items(file, before, after, path, found);
        }
        _ => found.push(Change { path: path.clone(), action: Action::Set(after.clone()) }),
    }
}

fn compare_fields(
    file: &Fields,
    before: &Fields,
    after: &Fields,
    path: &mut Vec<Step>,
    found: &mut Vec<Change>,
) {
    for key in before.keys().filter(|key| !after.contains_key(*key) && file.contains_key(*key)) {
        path.push(Step::Key(key.clone()));
        found.push(Change { path: path.clone(), action: Action::Remove });
        path.pop();
    }
    for (key, new) in after {
        path.push(Step::Key(key.clone()));
        match (file.get(key), before.get(key)) {
            (Some(file), Some(old)) => compare(file, old, new, path, found),
            (None, Some(old)) if old == new => {}
            (_, _) => found.push(Change { path: path.clone(), action: Action::Set(new.clone()) }),
        }
        path.pop();
    }
}

/// Elements at both ends that did not change keep their place; between them elements are compared in pairs,
/// and the rest is inserted or removed.
fn compare_items(
    file: &[Value],
    before: &[Value],
    after: &[Value],
    path: &mut Vec<Step>,
    found: &mut Vec<Change>,
) {
    let head = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let rest = before.len().min(after.len()) - head;
    let ends = before.iter().rev().zip(after.iter().rev());
    let tail = ends.take(rest).take_while(|(old, new)| old == new).count();
    let (old_end, new_end) = (before.len() - tail, after.len() - tail);
    let paired = old_end.min(new_end);
    for index in head..paired {
        path.push(Step::Index(index));
        compare(&file[index], &before[index], &after[index], path, found);
        path.pop();
    }
    let mut push = |index: usize, action: Action| {
        let mut path = path.clone();
        path.push(Step::Index(index));
        found.push(Change { path, action });
    };
    (paired..old_end).rev().for_each(|index| push(index, Action::Remove));
    (paired..new_end).for_each(|index| push(index, Action::Insert(after[index].clone())));
}

/// Carries the changes out on a value; the text that a format edits must read as this result.
pub(crate) fn apply(value: &mut Value, changes: &[Change]) {
    for change in changes {
        let Some((last, parents)) = change.path.split_last() else {
            if let Action::Set(new) = &change.action {
                *value = new.clone();
            }
            continue;
        };
        let parent = parents.iter().fold(&mut *value, descend);
        match (parent, last, &change.action) {
            (Value::Object(fields), Step::Key(key), Action::Set(new)) => {
                fields.insert(key.clone(), new.clone());
            }
            (Value::Object(fields), Step::Key(key), Action::Remove) => {
                fields.shift_remove(key);
            }
            (Value::Array(items), Step::Index(index), Action::Set(new)) => items[*index] = new.clone(),
            (Value::Array(items), Step::Index(index), Action::Insert(new)) => {
                items.insert(*index, new.clone())
            }
            (Value::Array(items), Step::Index(index), Action::Remove) => {
                items.remove(*index);
            }
            _ => unreachable!("changes() phrases each change for the file's own shape"),
        }
    }
}

fn descend<'a>(value: &'a mut Value, step: &Step) -> &'a mut Value {
    match (value, step) {
        (Value::Object(fields), Step::Key(key)) => &mut fields[key.as_str()],
        (Value::Array(items), Step::Index(index)) => &mut items[*index],
        _ => unreachable!("changes() phrases each change for the file's own shape"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::formats::json;

    fn value(text: &str) -> Value {
        json::parse(text).unwrap()
    }

    fn merged(file: &str, before: &str, after: &str) -> String {
        let mut result = value(file);
        let found = changes(&result, &value(before), &value(after));
        apply(&mut result, &found);
        result.to_string()
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
            (r#"{}"#, r#"{"deep":{"x":0}}"#, r#"{"deep":{"x":1}}"#, r#"{"deep":{"x":1}}"#),
            (
                r#"[{"i":1,"k":9},{"i":2}]"#,
                r#"[{"i":1},{"i":2}]"#,
                r#"[{"i":3},{"i":2}]"#,
                r#"[{"i":3,"k":9},{"i":2}]"#,
            ),
            ("[1,2,3,4]", "[1,2,3,4]", "[1,3,4]", "[1,3,4]"),
            ("[1,4]", "[1,4]", "[1,2,3,4]", "[1,2,3,4]"),
            ("[1.0]", "[1.0,2]", "[1,2,3]", "[1,2,3]"),
            ("null", "null", r#"{"a":[]}"#, r#"{"a":[]}"#),
        ];
        for (file, before, after, expected) in table {
            assert_eq!(merged(file, before, after), expected, "{file}: {before} -> {after}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_exact_model_is_reached_exactly(
            before in crate::document::formats::json::tests::any_value(),
            after in crate::document::formats::json::tests::any_value(),
        ) {
            let mut result = before.clone();
            let found = changes(&before, &before, &after);
            apply(&mut result, &found);
            proptest::prop_assert_eq!(result, after);
        }
    }
}
