//! Two changes of one document made into one, where they do not meet.
//!
//! Fields that only one side changed are taken from that side. An array, a string or a number that both sides changed, each
//! to something else, is a conflict: nobody but a person can tell what is meant.

use super::value::{Fields, Value, step};

/// A field both sides changed, each in its own way. `None` is a field that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clash {
    /// Where: `.servers[0].port`; `.` for the whole document.
    pub place: String,
    /// What stood there at first.
    pub base: Option<Value>,
    /// What the others made of it.
    pub theirs: Option<Value>,
    /// What this side made of it.
    pub mine: Option<Value>,
}

/// What `base` becomes when both sides' changes are made.
///
/// # Errors
///
/// Every field where they can't both be.
pub(super) fn merge(base: &Value, theirs: &Value, mine: &Value) -> Result<Value, Vec<Clash>> {
    let mut clashes = Vec::new();
    let merged = place(Some(base), Some(theirs), Some(mine), &mut String::new(), &mut clashes);
    match merged {
        Some(merged) if clashes.is_empty() => Ok(merged),
        _ => Err(clashes),
    }
}

fn place(
    base: Option<&Value>,
    theirs: Option<&Value>,
    mine: Option<&Value>,
    path: &mut String,
    clashes: &mut Vec<Clash>,
) -> Option<Value> {
    if mine == base || mine == theirs {
        return theirs.cloned();
    }
    if theirs == base {
        return mine.cloned();
    }
    if let (Some(Value::Object(theirs)), Some(Value::Object(mine))) = (theirs, mine) {
        let none = Fields::new();
        // Two sides may both have made the same new object, each with fields of its own.
        let base = match base {
            Some(Value::Object(base)) => Some(base),
            None | Some(Value::Null) => Some(&none),
            Some(_) => None,
        };
        if let Some(base) = base {
            return Some(Value::Object(fields(base, theirs, mine, path, clashes)));
        }
    }
    let place = if path.is_empty() { ".".to_owned() } else { path.clone() };
    clashes.push(Clash { place, base: base.cloned(), theirs: theirs.cloned(), mine: mine.cloned() });
    theirs.cloned()
}

fn fields(
    base: &Fields,
    theirs: &Fields,
    mine: &Fields,
    path: &mut String,
    clashes: &mut Vec<Clash>,
) -> Fields {
    let new = mine.keys().filter(|key| !theirs.contains_key(*key));
    let mut merged = Fields::new();
    for key in theirs.keys().chain(new) {
        let length = path.len();
        path.push_str(&step(key));
        if let Some(value) = place(base.get(key), theirs.get(key), mine.get(key), path, clashes) {
            merged.insert(key.clone(), value);
        }
        path.truncate(length);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::parse_json(text).unwrap()
    }

    #[test]
    fn what_does_not_meet_is_merged() {
        let table = [
            // base, theirs, mine, merged or the places of the clashes
            (r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"a":1,"b":2}"#, Ok(r#"{"a":2,"b":2}"#)),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#, Err(vec![".a"])),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#, Ok(r#"{"a":2}"#)),
            (r#"{"a":1}"#, "{}", r#"{"a":2}"#, Err(vec![".a"])),
            (r#"{"a":1,"b":1}"#, r#"{"b":1}"#, r#"{"a":1,"c":2,"b":1}"#, Ok(r#"{"b":1,"c":2}"#)),
            ("{}", r#"{"n":{"x":1}}"#, r#"{"n":{"y":2}}"#, Ok(r#"{"n":{"x":1,"y":2}}"#)),
            ("null", r#"{"x":1}"#, r#"{"y":2}"#, Ok(r#"{"x":1,"y":2}"#)),
            (r#"{"l":[1]}"#, r#"{"l":[1,2]}"#, r#"{"l":[1,3]}"#, Err(vec![".l"])),
            (
                r#"{"a b":{"c":1},"d":1}"#,
                r#"{"a b":{"c":2},"d":2}"#,
                r#"{"a b":{"c":3},"d":3}"#,
                Err(vec![r#"["a b"].c"#, ".d"]),
            ),
            ("1", "2", "3", Err(vec!["."])),
        ];
        for (base, theirs, mine, expected) in table {
            let merged = merge(&value(base), &value(theirs), &value(mine));
            let merged = merged.map(|value| value.to_string());
            let places =
                merged.map_err(|clashes| clashes.into_iter().map(|clash| clash.place).collect::<Vec<_>>());
            let expected = expected
                .map(str::to_owned)
                .map_err(|places| places.iter().map(|p| (*p).to_owned()).collect());
            assert_eq!(places, expected, "{base} {theirs} {mine}");
        }
    }

    proptest::proptest! {
        /// Nothing that one side alone changed is lost, and who merges first makes no difference.
        #[test]
        fn both_sides_are_kept(
            base in crate::document::formats::json::tests::any_value(),
            theirs in crate::document::formats::json::tests::any_value(),
            mine in crate::document::formats::json::tests::any_value(),
        ) {
            proptest::prop_assert_eq!(merge(&base, &theirs, &base), Ok(theirs.clone()));
            proptest::prop_assert_eq!(merge(&base, &base, &mine), Ok(mine.clone()));
            let (one, other) = (merge(&base, &theirs, &mine), merge(&base, &mine, &theirs));
            proptest::prop_assert_eq!(one.as_ref().ok(), other.as_ref().ok());
        }
    }
}
