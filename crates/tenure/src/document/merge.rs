//! What an updater changed, so that nothing else in the file is touched.
//!
//! An updater works on a *model* of the document: a Rust type, or the values of an expression language. The model
//! may know less than the file: fields that the type doesn't have, digits that an `f64` can't hold. So the file is
//! never written from the model. [`merge`] takes the file, the model before and the model after, and makes the
//! value that the file should have: the differences between the two models, carried over. What differs between the file and
//! that value is said by [`super::difference`], for a format to edit.

use super::value::{Fields, Value};

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
        (Value::Foreign(file), Value::String(model)) => file == model,
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
    a == b || settled(a).to_string() == settled(b).to_string()
}

/// The value with the elements of its arrays and the fields of its objects in a settled order.
fn settled(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(settled).collect();
            items.sort_by_cached_key(ToString::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => {
            let mut fields: Fields =
                fields.iter().map(|(key, value)| (key.clone(), settled(value))).collect();
            fields.sort_keys();
            Value::Object(fields)
        }
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::parse_json(text).unwrap()
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
}
