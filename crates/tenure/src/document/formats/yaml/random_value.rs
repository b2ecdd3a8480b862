//! Random values, of all that is hard to write as YAML.

use proptest::prelude::*;

use crate::document::value::Value;

/// Numbers as YAML writes them and as JSON does.
pub(super) const NUMBERS: [(&str, &str); 10] = [
    ("0", "0"),
    ("1.10", "1.10"),
    ("+7", "7"),
    ("0x1F", "31"),
    ("0o17", "15"),
    (".5", "0.5"),
    ("-1.", "-1.0"),
    ("1e3", "1e3"),
    ("007", "7"),
    ("123456789012345678901234567890", "123456789012345678901234567890"),
];

fn any_string() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "",
        " ",
        "yes",
        "on",
        "null",
        "~",
        "1",
        "1:30",
        "0o17",
        "a: b",
        "a #b",
        "#a",
        "- a",
        "-",
        "a:",
        "'",
        "\"",
        "\\",
        "<<",
        "---",
        "...",
        "{a}",
        "[",
        "a,b",
        "&a",
        "*a",
        "!a",
        "%a",
        "@",
        "`",
        "\t",
        "a\tb",
        "x\ny\n",
        "x\ny",
        "x\n\ny\n\n",
        "\n",
        " x\ny",
        "x\n y\n",
        "\r\n",
        "\u{85}",
        "\u{feff}",
        "\u{2028}",
        "é ö",
        "😀",
        "a b c",
        "?",
        "? a",
        "a?",
        "=",
        "2001-01-01",
        "--- a",
        "- - b",
        "x\n# y\n",
        "x \ny\n",
        "\u{0}",
        "\u{7f}",
        "12e03",
        "1_000",
    ]);
    prop_oneof![
        2 => special.prop_map(str::to_owned),
        2 => "[a-c]{1,3}( [a-c]{1,2}){0,2}",
        1 => "[ a-b:#\\-?,'\"\\[\\]{}\n\t.0-1e&*!|>%@~éö]{0,8}",
    ]
}

pub(super) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => prop::sample::select(NUMBERS.to_vec()).prop_map(|(_, number)| Value::Number(number.to_owned())),
        4 => any_string().prop_map(Value::String),
        1 => prop::sample::select(vec![".inf", "-.INF", ".nan"]).prop_map(|text| Value::Foreign(text.to_owned())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![4 => "[a-d]{1}", 1 => any_string(), 1 => "k{1001}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
