use proptest::prelude::*;

use super::*;
use crate::document::formats::Format;

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?".prop_map(Value::Number),
        "[a-z\"\\\\\u{1}\u{e9}\u{1f600} /]{0,6}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec(("[a-d]{1,2}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn edited(text: &str, to: &str) -> String {
    let (from, to) =
        (Value::parse_json(text.trim_start_matches('\u{feff}')).unwrap(), Value::parse_json(to).unwrap());
    String::from_utf8(Format::Json.edited(text.as_bytes(), &from, &to).unwrap()).unwrap()
}

#[test]
fn an_edit_keeps_the_layout_of_the_rest() {
    let table = [
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#),
        (
            "{\n\t\"a\": 1.10,\n\t\"b\": [1, 2]\n}\n",
            r#"{"a":1.10,"b":[1,3]}"#,
            "{\n\t\"a\": 1.10,\n\t\"b\": [1, 3]\n}\n",
        ),
        (
            "{\n    \"a\": 1\n}\n",
            r#"{"a":1,"b":{"c":[]}}"#,
            "{\n    \"a\": 1,\n    \"b\": {\n        \"c\": []\n    }\n}\n",
        ),
        ("{\n  \"a\": 1,\n  \"b\": 2\n}", r#"{"a":1}"#, "{\n  \"a\": 1\n}"),
        ("{\r\n  \"a\": 1\r\n}\r\n", r#"{"a":2}"#, "{\r\n  \"a\": 2\r\n}\r\n"),
        ("\u{feff}{\"a\":1}", r#"{"a":3}"#, "\u{feff}{\"a\":3}"),
        (
            r#"{"big":123456789012345678901234567890,"n":1}"#,
            r#"{"big":123456789012345678901234567890,"n":2}"#,
            r#"{"big":123456789012345678901234567890,"n":2}"#,
        ),
        ("null\n", r#"{"a":1}"#, "{\n  \"a\": 1\n}\n"),
        ("{}\n", r#"{"a":1}"#, "{\n  \"a\": 1\n}\n"),
        (r#"{"a":{"b":"x"}}"#, r#"{"a":{"b":"y\"\n"}}"#, r#"{"a":{"b":"y\"\n"}}"#),
        ("[1,2]", "{}", "{}"),
        (r#"{"a":1}"#, r#"{"a":1,"b":{"c":2}}"#, r#"{"a":1,"b":{"c":2}}"#),
        ("\u{feff}[\r\n1\r\n]\r\n", r#"{"a":1}"#, "\u{feff}{\r\n  \"a\": 1\r\n}\r\n"),
    ];
    for (text, to, expected) in table {
        assert_eq!(edited(text, to), expected, "{text} -> {to}");
    }
}

#[test]
fn what_is_not_json_is_named_with_its_place() {
    let table = [
        ("", 1, 1, "empty"),
        (" \n", 1, 2, "empty"),
        ("{\n  \"b\": tru\n}", 2, 11, "expected"),
        ("{\"a\":1,\n", 1, 8, "EOF"),
        ("{\"a\":1,}", 1, 8, "key must be a string"),
        ("{\n \"a\": 1 // no\n}", 2, 9, "expected"),
        ("[01]", 1, 3, "number"),
        ("{\"a\":1} x", 1, 9, "trailing characters"),
        ("{\"a\":1,\n \"a\":2}", 2, 2, "twice"),
        ("[NaN]", 1, 2, "expected"),
        ("\"\\ud800\"", 1, 2, "surrogate"),
    ];
    for (text, line, column, what) in table {
        let problem = parse(text, Dialect::Json).unwrap_err().to_string();
        assert!(problem.starts_with(&format!("line {line}, column {column}: ")), "{text:?}: {problem}");
        assert!(problem.contains(what), "{text:?}: {problem}");
    }
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(parse(&deep, Dialect::Json).unwrap_err().to_string().contains("depth"));
}

fn edited_jsonc(text: &str, to: &str) -> String {
    let from = parse(text, Dialect::Jsonc).unwrap();
    let to = Value::parse_json(to).unwrap();
    String::from_utf8(Format::Jsonc.edited(text.as_bytes(), &from, &to).unwrap()).unwrap()
}

#[test]
fn comments_stay_where_they_belong() {
    let table = [
        // changed, added behind a comment, removed with its comments
        (
            "{\n  // one\n  \"a\": 1, // first\n  \"b\": 2 // last\n}\n",
            r#"{"a":5,"b":2,"c":3}"#,
            "{\n  // one\n  \"a\": 5, // first\n  \"b\": 2, // last\n  \"c\": 3\n}\n",
        ),
        (
            "{\n  // head\n\n  // one\n  \"a\": 1, // first\n  // two\n  \"b\": 2\n}\n",
            r#"{"b":2}"#,
            "{\n  // head\n  // two\n  \"b\": 2\n}\n",
        ),
        (
            "{\n  \"a\": 1, // first\n  /* two */\n  \"b\": 2, // x\n}\n",
            r#"{"a":1}"#,
            "{\n  \"a\": 1, // first\n}\n",
        ),
        ("[\n  1, // one\n  2, // two\n  3 // three\n]", "[1,3]", "[\n  1, // one\n  3 // three\n]"),
        ("[\n  1, // one\n  2, // two\n  3 // three\n]", "[1,2]", "[\n  1, // one\n  2 // two\n]"),
        ("[\n  1, // one\n  2 // two\n]", "[0,1,1.5,2]", "[\n  0,\n  1, // one\n  1.5,\n  2 // two\n]"),
        ("[1 /* x */, 2]", "[1,2,3]", "[1 /* x */, 2, 3]"),
        ("[1 /*/// x */, 2]", "[2]", "[2]"),
        ("[1, 2 /* y */ ]", "[1,2,3]", "[1, 2 /* y */, 3 ]"),
        ("[ // none\n  // at all\n]\n", "[1]", "[ // none\n  // at all\n  1\n]\n"),
        ("{ /* none */ }", r#"{"a":1}"#, "{ /* none */ \"a\": 1 }"),
        ("[1, // one\n 2]", "[1]", "[1 // one\n]"),
        (
            "// top\n{\n\t\"a\": [],\n}\n// end\n",
            r#"{"a":["x"]}"#,
            "// top\n{\n\t\"a\": [\n\t\t\"x\"\n\t],\n}\n// end\n",
        ),
        (
            "{\r\n  \"a\": 1, // x\r\n  \"b\": 2\r\n}\r\n",
            r#"{"a":1,"b":2,"c":[1]}"#,
            "{\r\n  \"a\": 1, // x\r\n  \"b\": 2,\r\n  \"c\": [\r\n    1\r\n  ]\r\n}\r\n",
        ),
        (
            "{ \"a\": 1, \"b\": { \"c\": 1 } }",
            r#"{"a":1,"b":{"c":1,"d":[1,2]}}"#,
            "{ \"a\": 1, \"b\": { \"c\": 1, \"d\": [1, 2] } }",
        ),
        ("{\n  \"a\": 1, // x\n}", "{}", "{}"),
        ("{\n  // keep\n\n  \"a\": 1\n}", "{}", "{\n  // keep\n}"),
    ];
    for (text, to, expected) in table {
        assert_eq!(edited_jsonc(text, to), expected, "{text} -> {to}");
    }
}

#[test]
fn jsonc_is_no_looser_than_it_must_be() {
    for text in [
        "[,]",
        "[1,,]",
        "{,}",
        "{\"a\":,}",
        "{a:1}",
        "['a']",
        "[01]",
        "[1 2]",
        "[/* 1 ]",
        "[1,,2]",
        "[+1]",
        "[.5]",
    ] {
        assert!(parse(text, Dialect::Jsonc).is_err(), "{text}");
    }
    assert_eq!(parse("[1,/* */]// x", Dialect::Jsonc).unwrap().to_string(), "[1]");
    assert_eq!(parse("{\"a//\":\"/*,]\",}", Dialect::Jsonc).unwrap().to_string(), "{\"a//\":\"/*,]\"}");
    let problem = parse("{\n \"a\": 1, // no\n}", Dialect::Json).unwrap_err().to_string();
    assert!(problem.contains("JSONC"), "{problem}");
}

proptest! {
    /// Any change of any document reads back as exactly what was meant, in every layout.
    #[test]
    fn every_edit_means_what_was_asked(from in any_value(), to in any_value(), layout in 0..3) {
        let indent = [None, Some("  "), Some("\t")][layout as usize];
        let text = from.to_text(indent);
        let result = Format::Json.edited(text.as_bytes(), &from, &to);
        prop_assert!(result.is_ok(), "{:?}", result);
    }

    #[test]
    fn parsing_never_panics(text in "[\\[\\]{}:,\"\\\\0-9a-z.eE+\\- \n\u{feff}]{0,40}") {
        let _read_or_refused = parse(&text, Dialect::Jsonc);
    }
}
