//! What every format must keep, as properties: random documents with comments, random edits.

use proptest::prelude::*;

use super::*;
use crate::document::value::Fields;

/// A random document of a format, as text, with a numbered comment behind each field of the root.
#[derive(Clone, Debug)]
struct Sample {
    format: Format,
    text: String,
    value: Value,
}

/// The number that stands in the sample once.
const MARK: &str = "777000777";
const OTHER_MARK: &str = "-888111.5";

fn scalar(format: Format) -> BoxedStrategy<Value> {
    let number = prop_oneof![
        "(0|-?[1-9][0-9]{0,15})".prop_map(Value::Number),
        "(0|[1-9][0-9]{0,3})\\.[0-9]{1,3}(e[0-9])?".prop_map(Value::Number),
    ];
    let text = "[a-z#/*:, '\"\\[\\]{}\\\\\u{e9}-]{0,8}".prop_map(Value::String);
    let common = prop_oneof![any::<bool>().prop_map(Value::Bool), number, text];
    match format {
        Format::Toml => prop_oneof![9 => common, 1 => Just(Value::Foreign("1979-05-27".to_owned()))].boxed(),
        _ => prop_oneof![9 => common, 1 => Just(Value::Null)].boxed(),
    }
}

fn any_value(format: Format) -> BoxedStrategy<Value> {
    let inner = move |inner: BoxedStrategy<Value>| {
        let items = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array);
        let fields = prop::collection::vec(("[a-e]", inner), 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()));
        prop_oneof![items, fields]
    };
    scalar(format).prop_recursive(3, 16, 4, inner).boxed()
}

fn any_fields(format: Format) -> BoxedStrategy<Fields> {
    let field = ("[f-m]", any_value(format));
    prop::collection::vec(field, 1..6).prop_map(|fields| fields.into_iter().collect()).boxed()
}

fn json_field(key: &str, value: &Value, on_lines: bool) -> String {
    let value =
        if on_lines { value.to_text(Some("    ")).replace('\n', "\n    ") } else { value.to_line(true) };
    format!("    \"{key}\": {value}")
}

fn toml_field(key: &str, value: &Value) -> String {
    let mut table = Fields::new();
    // Within an array, so that the value stands on one line.
    table.insert("v".to_owned(), Value::Array(vec![Value::Bool(true), value.clone()]));
    let text = toml::fresh(&Value::Object(table)).unwrap();
    let value = text.strip_prefix("v = [true, ").and_then(|text| text.strip_suffix("]\n")).unwrap();
    format!("{key} = {value}")
}

fn sample(format: Format) -> impl Strategy<Value = Sample> {
    let parts = (any_fields(format), prop::collection::vec(any::<[bool; 4]>(), 6), any::<[bool; 3]>());
    parts.prop_map(move |(mut fields, layout, [crlf, mark, bare])| {
        fields.insert("mark".to_owned(), Value::Number(MARK.to_owned()));
        let sign = if format == Format::Toml { "#" } else { "//" };
        let count = fields.len();
        let mut text = String::new();
        if format == Format::Jsonc {
            text.push_str("{ // open\n");
        }
        for (index, (key, value)) in fields.iter().enumerate() {
            let [above, blank, on_lines, comma] = layout[index % layout.len()];
            if blank {
                text.push('\n');
            }
            if above {
                text.push_str(&format!("    {sign} above {key}\n"));
            }
            match format {
                Format::Toml => text.push_str(&toml_field(key, value)),
                _ => text.push_str(&json_field(key, value, on_lines)),
            }
            if format == Format::Jsonc && (comma || index + 1 < count) {
                text.push(',');
            }
            text.push_str(&format!(" {sign} behind {key}\n"));
        }
        if format == Format::Jsonc {
            text.push_str("  // last\n}\n");
        }
        if bare {
            text.truncate(text.len() - 1);
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        if mark {
            text.insert_str(0, BYTE_ORDER_MARK);
        }
        Sample { format, text, value: Value::Object(fields) }
    })
}

fn samples() -> impl Strategy<Value = (Sample, Fields)> {
    prop_oneof![
        (sample(Format::Jsonc), any_fields(Format::Jsonc)),
        (sample(Format::Toml), any_fields(Format::Toml)),
    ]
}

impl Sample {
    fn edited(&self, target: &Value) -> Result<String, TestCaseError> {
        let value = self.format.parse(self.text.as_bytes());
        let value = value.map_err(|problem| TestCaseError::fail(problem.to_string()))?;
        prop_assert_eq!(&value, &self.value);
        let edited = self.format.edited(self.text.as_bytes(), &value, target);
        let edited = edited.map_err(|problem| TestCaseError::fail(format!("refused: {problem}")))?;
        Ok(String::from_utf8(edited).unwrap())
    }

    fn fields(&self) -> Fields {
        let Value::Object(fields) = &self.value else { unreachable!("a sample is an object") };
        fields.clone()
    }
}

proptest! {
    /// One changed number changes the text there, and nowhere else.
    #[test]
    fn a_change_touches_its_place_alone((sample, _) in samples()) {
        let mut fields = sample.fields();
        fields.insert("mark".to_owned(), Value::Number(OTHER_MARK.to_owned()));
        let edited = sample.edited(&Value::Object(fields))?;
        prop_assert_eq!(edited, sample.text.replace(MARK, OTHER_MARK));
    }

    /// Whatever becomes of the other fields, what stays keeps its line and its comments; no line end changes.
    #[test]
    fn what_stays_keeps_its_comments((sample, other) in samples(), keep in any::<[bool; 8]>()) {
        let mut target: Fields =
            sample.fields().into_iter().zip(keep.iter().cycle()).filter(|(_, keep)| **keep).map(|(f, _)| f).collect();
        let kept: Vec<String> = target.keys().cloned().collect();
        target.extend(other.clone());
        let edited = sample.edited(&Value::Object(target))?;
        for key in kept {
            let comment = format!("behind {key}");
            prop_assert!(edited.contains(&comment), "{} is gone from\n{}\nof\n{}", comment, edited, sample.text);
            if !other.contains_key(&key) {
                let line = sample.text.lines().find(|line| line.contains(&comment)).unwrap();
                let line = line.replace(", //", " //").replace(", #", " #");
                let has = edited.lines().any(|new| new.replace(", //", " //").replace(", #", " #").contains(&line));
                prop_assert!(has, "{:?} is gone from\n{}\nof\n{}", line, edited, sample.text);
            }
        }
        let bare = edited.replace("\r\n", "");
        prop_assert!(!bare.contains(if sample.text.contains('\r') { '\n' } else { '\r' }), "{:?}", edited);
        prop_assert_eq!(edited.ends_with('\n'), sample.text.ends_with('\n'));
        prop_assert_eq!(edited.starts_with(BYTE_ORDER_MARK), sample.text.starts_with(BYTE_ORDER_MARK));
    }

    /// A field that is added and removed again leaves the text as it was.
    #[test]
    fn an_addition_can_be_taken_back((sample, _) in samples(), key in "[x-z]") {
        let mut fields = sample.fields();
        fields.insert(key, Value::Array(vec![Value::Bool(true)]));
        let value = Value::Object(fields);
        let longer = sample.edited(&value)?;
        let longer = Sample { text: longer, value, ..sample.clone() };
        prop_assert_eq!(longer.edited(&sample.value)?, sample.text);
    }
}
