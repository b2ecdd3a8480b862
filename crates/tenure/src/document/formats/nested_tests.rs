//! What an edit deep in a document must keep: every comment and every line that is not about what was edited.

use proptest::prelude::*;

use super::random_nested::{Kind, Line, LineEnds, Nested, Step, Way, Writer, any_nested, at};
use super::*;

#[derive(Clone, Debug)]
enum Change {
    Set(Value),
    Remove,
    Add(String, Value),
    Insert(usize, Value),
}

/// Every way into the value.
fn ways(value: &Value, way: &mut Way, found: &mut Vec<Way>) {
    found.push(way.clone());
    let steps: Vec<(Step, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (Step::Key(key.clone()), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (Step::Index(i), value)).collect(),
        _ => Vec::new(),
    };
    for (step, value) in steps {
        way.push(step);
        ways(value, way, found);
        way.pop();
    }
}

/// Whether one way leads to or through the other, or both lead through elements of one array: what such changes mean
/// together depends on how the elements are paired.
fn meet(a: &Way, b: &Way) -> bool {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    !matches!((a.get(common), b.get(common)), (Some(Step::Key(_)), Some(Step::Key(_))))
}

/// Up to three changes in places that have nothing to do with each other.
fn any_changes(document: &Nested, writer: &mut Writer) -> Vec<(Way, Change)> {
    let mut all = Vec::new();
    ways(&document.value, &mut Way::new(), &mut all);
    let mut changes: Vec<(Way, Change)> = Vec::new();
    for _ in 0..=writer.pick(3) {
        let way = all[writer.pick(all.len())].clone();
        if changes.iter().any(|(other, _)| meet(&way, other)) {
            continue;
        }
        let is_root_of_toml = document.format == Format::Toml && way.is_empty();
        let change = match (at(&document.value, &way), writer.pick(3)) {
            (Value::Object(_), 0) => Change::Add(writer.key().0, new_value(writer)),
            (Value::Object(_), _) if is_root_of_toml => Change::Add(writer.key().0, new_value(writer)),
            (Value::Array(items), 0) => {
                // Among tables, only a table has a place.
                let new = new_value(writer);
                let new = if items.iter().all(is_object) { object_of(new) } else { new };
                Change::Insert(writer.pick(items.len() + 1), new)
            }
            (_, 1) if !way.is_empty() => Change::Remove,
            (_, _) => {
                let new = new_value(writer);
                let is_table =
                    matches!(way.last(), Some(Step::Index(_))) && is_object(at(&document.value, &way));
                Change::Set(if is_table { object_of(new) } else { new })
            }
        };
        changes.push((way, change));
    }
    changes
}

fn is_object(value: &Value) -> bool {
    matches!(value, Value::Object(_))
}

fn object_of(value: Value) -> Value {
    if is_object(&value) { value } else { Value::Object([("v".to_owned(), value)].into_iter().collect()) }
}

fn new_value(writer: &mut Writer) -> Value {
    match writer.pick(8) {
        7 => Value::String("one\ntwo\n".to_owned()),
        choice => writer.inline(choice % 3, false).0,
    }
}

/// The value with the changes made in it.
fn changed(value: &Value, way: &mut Way, changes: &[(Way, Change)]) -> Option<Value> {
    let here = changes.iter().find(|(place, _)| place == way).map(|(_, change)| change);
    let mut child = |step: Step, value: &Value| {
        way.push(step);
        let changed = changed(value, way, changes);
        way.pop();
        changed
    };
    let mut new = match (here, value) {
        (Some(Change::Set(new)), _) => return Some(new.clone()),
        (Some(Change::Remove), _) => return None,
        (_, Value::Object(fields)) => {
            let fields =
                fields.iter().map(|(key, value)| Some((key.clone(), child(Step::Key(key.clone()), value)?)));
            Value::Object(fields.flatten().collect())
        }
        (_, Value::Array(items)) => Value::Array(
            items.iter().enumerate().filter_map(|(index, value)| child(Step::Index(index), value)).collect(),
        ),
        (_, scalar) => scalar.clone(),
    };
    match (&mut new, here) {
        (Value::Object(fields), Some(Change::Add(key, value))) => {
            drop(fields.insert(key.clone(), value.clone()))
        }
        (Value::Array(items), Some(Change::Insert(index, value))) => items.insert(*index, value.clone()),
        _ => {}
    }
    Some(new)
}

/// What an edit may do to a line.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It stays as it is, but for commas.
    Kept,
    /// Its comment stays.
    CommentKept,
    /// Its comment goes, with what it is about.
    Removed,
    Open,
}

fn fate(document: &Nested, index: usize, changes: &[(Way, Change)]) -> Fate {
    let line = &document.lines[index];
    let replaces = |change: &Change| matches!(change, Change::Set(_) | Change::Remove);
    let goes =
        |line: &Line| changes.iter().any(|(way, change)| replaces(change) && line.owner.starts_with(way));
    let is_at = |way: &Way| *way == line.owner;
    if line.kind == Kind::Blank {
        return Fate::Open;
    }
    if line.kind == Kind::Detached && document.format == Format::Toml {
        // Between two headers, it goes with what both are part of.
        let is_solid = |line: &&Line| !matches!(line.kind, Kind::Detached | Kind::Blank);
        let before = document.lines[..index].iter().rev().find(is_solid);
        let behind = document.lines[index..].iter().find(is_solid);
        if before.is_some_and(goes) && behind.is_some_and(goes) {
            return Fate::Open;
        }
    }
    if goes(line) {
        let is_scalar = |way: &Way| !matches!(at(&document.value, way), Value::Object(_) | Value::Array(_));
        return match changes.iter().find(|(way, _)| is_at(way)) {
            Some((_, Change::Remove)) if line.kind != Kind::Detached => Fate::Removed,
            Some((way, Change::Set(_))) if is_scalar(way) => Fate::CommentKept,
            _ => Fate::Open,
        };
    }
    let is_edited = line.kind == Kind::Inline && changes.iter().any(|(way, _)| way.starts_with(&line.owner));
    if is_edited || line.kind == Kind::Bracket { Fate::CommentKept } else { Fate::Kept }
}

/// Whether two lines are the same but for commas.
fn is_same(old: &str, new: &str) -> bool {
    let bare = |line: &str| line.replace(',', "").trim_end().to_owned();
    bare(old) == bare(new)
}

/// Whether two lines end alike. Where the file ends, a line may have lost or got its end.
fn ends_alike(old: &str, new: &str) -> bool {
    !old.ends_with('\n') || !new.ends_with('\n') || old.ends_with("\r\n") == new.ends_with("\r\n")
}

fn check(document: &Nested, changes: &[(Way, Change)]) -> Result<(), TestCaseError> {
    let (format, text) = (document.format, document.text.as_str());
    let target = changed(&document.value, &mut Way::new(), changes).unwrap();
    let edited = format.edited(text.as_bytes(), &document.value, &target);
    let edited =
        edited.map_err(|error| TestCaseError::fail(format!("refused: {error}\n{changes:?}\n{text}")))?;
    let edited = String::from_utf8(edited).unwrap();
    let shown = format!("{changes:?}\n{text}\n=>\n{edited}").replace('\r', "\u{240d}");
    // A block scalar of YAML needs its line end.
    let is_free = text.is_empty() || edited.is_empty() || (format == Format::Yaml && edited.contains('|'));
    prop_assert!(is_free || edited.ends_with('\n') == text.ends_with('\n'), "the last line end: {}", shown);
    match document.line_ends {
        LineEnds::Unix => prop_assert!(!edited.contains('\r'), "line ends: {}", shown),
        LineEnds::Windows if text.contains('\r') => {
            prop_assert!(!edited.replace("\r\n", "").contains(['\r', '\n']), "line ends: {}", shown);
        }
        _ => {}
    }
    let mut new_lines = edited.split_inclusive('\n');
    let old_lines = text.split_inclusive('\n').chain(std::iter::repeat(""));
    for (index, (line, old)) in document.lines.iter().zip(old_lines).enumerate() {
        let fate = fate(document, index, changes);
        let has_comment = line.comment.as_ref().is_some_and(|comment| edited.contains(comment));
        match fate {
            Fate::Kept => {
                // In brackets, it is with the element behind it that a line end goes.
                let is_list =
                    |other: &Line| other.kind == Kind::Bracket && line.owner.starts_with(&other.owner);
                let in_list = document.lines.iter().any(is_list);
                let stays = new_lines.any(|new| is_same(old, new) && (in_list || ends_alike(old, new)));
                prop_assert!(stays, "{:?} is gone, changed or elsewhere: {}", line, shown);
            }
            Fate::CommentKept => prop_assert!(has_comment || line.comment.is_none(), "{:?}: {}", line, shown),
            Fate::Removed => prop_assert!(!has_comment, "{:?} stays: {}", line, shown),
            Fate::Open => {}
        }
    }
    Ok(())
}

fn check_any((document, mut writer): (Nested, Writer)) -> Result<(), TestCaseError> {
    let changes = any_changes(&document, &mut writer);
    check(&document, &changes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn json_keeps_what_is_not_edited(sample in any_nested(Format::Json)) {
        check_any(sample)?;
    }

    #[test]
    fn jsonc_keeps_what_is_not_edited(sample in any_nested(Format::Jsonc)) {
        check_any(sample)?;
    }

    #[test]
    fn yaml_keeps_what_is_not_edited(sample in any_nested(Format::Yaml)) {
        check_any(sample)?;
    }

    #[test]
    fn toml_keeps_what_is_not_edited(sample in any_nested(Format::Toml)) {
        check_any(sample)?;
    }
}
