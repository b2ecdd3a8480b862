use super::properties::edited;
use super::*;
use crate::document::difference::{FieldEdit, ItemEdit};
use crate::document::value::DEPTH_MAX;

fn json(text: &str) -> Value {
    Value::parse_json(text).unwrap()
}

/// The edited text, which must read as the target.
fn changed(text: &str, to: &str) -> String {
    let target = json(to);
    let edited = edited(text, &target);
    assert_eq!(parse(&edited), Ok(target), "{text:?} -> {to}: {edited:?}");
    edited
}

#[track_caller]
fn check(table: &[(&str, &str, &str)]) {
    for (text, to, expected) in table {
        assert_eq!(changed(text, to), *expected, "{text:?} -> {to}");
    }
}

#[test]
fn scalars_mean_what_the_core_schema_says() {
    let table = [
        ("yes", r#""yes""#),
        ("on", r#""on""#),
        ("No", r#""No""#),
        ("1:30", r#""1:30""#),
        ("1_000", r#""1_000""#),
        ("2001-12-14", r#""2001-12-14""#),
        ("0b1", r#""0b1""#),
        ("-0x1F", r#""-0x1F""#),
        ("1e", r#""1e""#),
        (".", r#"".""#),
        ("+", r#""+""#),
        ("1.2.3", r#""1.2.3""#),
        ("true", "true"),
        ("True", "true"),
        ("FALSE", "false"),
        ("tRUE", r#""tRUE""#),
        ("~", "null"),
        ("NULL", "null"),
        ("1.10", "1.10"),
        ("+1", "1"),
        ("-0", "-0"),
        ("007", "7"),
        ("0o17", "15"),
        ("0x1F", "31"),
        ("0xffffffffffffffffffffffff", "79228162514264337593543950335"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        (".5", "0.5"),
        ("1.", "1.0"),
        ("-1.e5", "-1.0e5"),
        ("1E+05", "1E+05"),
        ("'1'", r#""1""#),
        ("\"a\\tb\\x41\\u263a\\\n  c\"", r#""a\tbA☺c""#),
        ("'it''s\n\n  x'", r#""it's\nx""#),
        ("a\n  b\n\n  c", r#""a b\nc""#),
        ("|\n  a\n   b\n\n", r#""a\n b\n""#),
        ("|-\n  a\n", r#""a""#),
        ("|+\n  a\n\n", r#""a\n\n""#),
        ("|2\n   a\n", r#"" a\n""#),
        (">\n  a\n  b\n\n  c\n", r#""a b\nc\n""#),
        ("[1, [a, b], {c: , d}]", r#"[1,["a","b"],{"c":null,"d":null}]"#),
        ("[a: 1, ? b : 2]", r#"[{"a":1},{"b":2}]"#),
        ("? a\n: - b\n? c\n", r#"{"a":["b"],"c":null}"#),
        ("# nothing\n", "null"),
        ("---\n...\n", "null"),
        ("--- 1\n...\n# end\n", "1"),
        ("\u{feff}a: ö\r\n", r#"{"a":"ö"}"#),
    ];
    for (text, value) in table {
        assert_eq!(parse(text), Ok(json(value)), "{text:?}");
        assert_eq!(read(text), Ok(json(value)), "{text:?}");
    }
    for text in [".inf", "-.Inf", "+.INF", ".nan"] {
        assert_eq!(parse(text), Ok(Value::Foreign(text.to_owned())));
    }
}

#[test]
fn what_an_update_could_not_keep_is_refused_with_its_place() {
    let deep = "[".repeat(DEPTH_MAX + 2) + &"]".repeat(DEPTH_MAX + 2);
    let table = [
        ("", 1, 1, "the file is empty"),
        (" \n\n", 1, 1, "the file is empty"),
        ("a: &x 1\n", 1, 4, "an anchor"),
        ("a: 1\nb: *x\n", 2, 4, "anchor"),
        ("a: !!str 1\n", 1, 4, "a tag"),
        ("a: ! 1\n", 1, 4, "a tag"),
        ("<<: {a: 1}\n", 1, 1, "a merge key"),
        ("a: 1\n---\nb: 1\n", 2, 1, "a second document"),
        ("%YAML 1.2\n---\na: 1\n", 1, 1, "a directive"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the key \"a\" stands here twice"),
        ("a: 1\n'a': 3\n", 2, 1, "twice"),
        ("1: a\n", 1, 1, "a key that is no string"),
        ("true: a\n", 1, 1, "a key that is no string"),
        ("b: {null: a}\n", 1, 5, "a key that is no string"),
        ("? [a]\n: 1\n", 1, 3, "a key that is a list"),
        ("a:\n\tb: 1\n", 2, 2, "tab"),
        ("\ta: 1\n", 1, 1, "a tab can't indent"),
        ("# c\n\u{feff}- 1\n", 2, 1, "a byte order mark"),
        ("# c\n\u{feff}\n# d\n", 2, 1, "a byte order mark"),
        ("a: b: c\n", 1, 5, "mapping values"),
        ("a: [1\n", 1, 4, "unclosed bracket"),
        ("{\"a\":# c\n}", 1, 6, "a comment needs a blank"),
        (&deep, 1, DEPTH_MAX + 2, "nested more than 127 deep"),
    ];
    for (text, line, column, what) in table {
        let problem = parse(text).unwrap_err().to_string();
        let place = format!("line {line}, column {column}: ");
        assert!(problem.starts_with(&place) && problem.contains(what), "{text:?}: {problem}");
    }
    assert!(parse(&("[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX))).is_ok());
}

#[test]
fn a_read_resolves_what_an_update_refuses() {
    let table = [
        ("a: &x [1]\nb: *x\n", r#"{"a":[1],"b":[1]}"#),
        ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", r#"{"a":{"p":1,"q":2},"b":{"q":3,"p":1}}"#),
        ("<<: [{a: 1}, {a: 2, b: 2}]\n", r#"{"a":1,"b":2}"#),
        (
            "a: !!str 1\nb: !!int '2'\nc: !!float 3\nd: ! 4\ne: !!str\n",
            r#"{"a":"1","b":2,"c":3,"d":"4","e":""}"#,
        ),
        (
            "a: !!seq [1]\nb: !!map {}\nc: !!null ''\nd: !!bool true\n",
            r#"{"a":[1],"b":{},"c":null,"d":true}"#,
        ),
        ("1: a\ntrue: b\n~: c\n&k x: d\n", r#"{"1":"a","true":"b","~":"c","x":"d"}"#),
        ("%YAML 1.2\n---\na: 1\n", r#"{"a":1}"#),
    ];
    for (text, value) in table {
        assert_eq!(read(text), Ok(json(value)), "{text:?}");
        assert!(parse(text).is_err(), "{text:?}");
    }
    let refused = [
        ("a: !x 1\n", "does not fit"),
        ("a: !!int x\n", "does not fit"),
        ("a: &x [*x]\n", "contains it"),
        ("<<: 1\n", "a merge key takes"),
        ("a: 1\na: 2\n", "twice"),
        ("a\n---\nb\n", "a second document"),
        ("? [a]\n: 1\n", "a key that is a list"),
    ];
    for (text, what) in refused {
        let problem = read(text).unwrap_err().to_string();
        assert!(problem.contains(what), "{text:?}: {problem}");
    }
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    let problem = read(&text).unwrap_err().to_string();
    assert!(problem.contains("aliases repeat more than"), "{problem}");
}

#[test]
fn a_changed_scalar_keeps_its_style_and_its_comment() {
    check(&[
        ("a: 1 # one\nb: 2\n", r#"{"a":5,"b":2}"#, "a: 5 # one\nb: 2\n"),
        ("a:   'x'\n", r#"{"a":"it's"}"#, "a:   'it''s'\n"),
        ("a: 'x'\n", r#"{"a":"x\ty"}"#, "a: \"x\\ty\"\n"),
        ("a: \"x\"  # c\n", r#"{"a":"y"}"#, "a: \"y\"  # c\n"),
        ("a: x\n", r#"{"a":"yes"}"#, "a: \"yes\"\n"),
        ("a: 1.2.3\n", r#"{"a":"1.2.4"}"#, "a: 1.2.4\n"),
        ("a: x\n  y # c\nb: 1\n", r#"{"a":"z","b":1}"#, "a: z # c\nb: 1\n"),
        ("a: x # c\nb: 1\n", r#"{"a":"p\nq\n","b":1}"#, "a: | # c\n  p\n  q\nb: 1\n"),
        (
            "a: |-  # c\n     p\n\n# d\nb: 1\n",
            r#"{"a":"q\nr\n","b":1}"#,
            "a: |  # c\n     q\n     r\n\n# d\nb: 1\n",
        ),
        ("a: >+\n  p\n\nb: 1\n", r#"{"a":"q\n\n\n","b":1}"#, "a: |+\n  q\n\n\nb: 1\n"),
        ("a: |\n  p\nb: 1\n", r#"{"a":3,"b":1}"#, "a: 3\nb: 1\n"),
        ("a: |\n  p\nb: 1\n", r#"{"a":[3],"b":1}"#, "a:\n  - 3\nb: 1\n"),
        ("a:  # note\n", r#"{"a":5}"#, "a: 5  # note\n"),
        ("a:\n", r#"{"a":{"b":[1]}}"#, "a:\n  b:\n    - 1\n"),
        ("- \n- # c\n", r#"[1,{"a":1}]"#, "- 1 \n- # c\n  a: 1\n"),
        ("- 1\n- 2\n", r#"[1,{"a":[2],"b":3}]"#, "- 1\n- a:\n    - 2\n  b: 3\n"),
        ("a: # c\n  x # d\nb: 1\n", r#"{"a":"y","b":1}"#, "a: # c\n  y # d\nb: 1\n"),
        ("a: # c\n  x\nb: 1\n", r#"{"a":[1],"b":1}"#, "a: # c\n  - 1\nb: 1\n"),
        ("a: 5\n     # deep\n", r#"{"a":"x\ny"}"#, "a: \"x\\ny\"\n     # deep\n"),
        ("a: 5\n       \nb: 1\n", r#"{"a":"x\ny","b":1}"#, "a: \"x\\ny\"\n       \nb: 1\n"),
        ("? a\n# c\n", r#"{"a":1}"#, "? a\n: 1\n# c\n"),
        ("? a\n: 1\n", r#"{"a":2}"#, "? a\n: 2\n"),
        ("5", "6", "6"),
        ("5", "\"\u{2003}\"", "\u{2003}"),
        ("--- 5 # c\n...\n", "[1]", "--- # c\n- 1\n...\n"),
        ("|\nx\n", r#""...\ny\n""#, "\"...\\ny\\n\"\n"),
        ("--- |\n x\n", r#""y\nz""#, "--- |-\n y\n z\n"),
        ("...\n# c\n... # d\n |\n x\n", r#""y""#, "...\n# c\n... # d\n |-\n y\n"),
        ("# c\n\n# d\n", r#"{"a":1}"#, "# c\n\n# d\na: 1\n"),
        ("# c", "3", "# c\n3"),
        ("# c\n   ", r#""x\ny\n""#, "# c\n\"x\\ny\\n\"\n   "),
        ("---\n# c\n...\n", r#"["x"]"#, "---\n# c\n- x\n...\n"),
        ("a: ö # é\r\nb: 1\r\n", r#"{"a":{"c":1},"b":1}"#, "a: # é\r\n  c: 1\r\nb: 1\r\n"),
        ("\u{feff}a: 1", r#"{"a":2}"#, "\u{feff}a: 2"),
    ]);
}

#[test]
fn a_new_entry_is_laid_out_like_its_siblings() {
    check(&[
        ("a: 1\n# end\n", r#"{"a":1,"b":[1,{"c":2}]}"#, "a: 1\nb:\n  - 1\n  - c: 2\n# end\n"),
        ("a:\n- 1\n", r#"{"a":[1,2],"b":[3]}"#, "a:\n- 1\n- 2\nb:\n- 3\n"),
        (
            "a:\n    b: 1\n\nc: 2\n",
            r#"{"a":{"b":1,"d":{"e":1}},"c":2}"#,
            "a:\n    b: 1\n    d:\n        e: 1\n\nc: 2\n",
        ),
        ("- a: 1\n  b: 2\n- x\n", r#"[{"a":1,"b":2,"c":3},"x"]"#, "- a: 1\n  b: 2\n  c: 3\n- x\n"),
        ("-   a: 1\n", r#"[{"a":1,"b":2}]"#, "-   a: 1\n    b: 2\n"),
        ("- - 1\n  - 2\n", "[[1,2,3]]", "- - 1\n  - 2\n  - 3\n"),
        ("- - 1\n", "[[0,1]]", "- - 0\n  - 1\n"),
        ("# head\n- 1\n# two\n- 2\n", "[0,1,5,2]", "# head\n- 0\n- 1\n- 5\n# two\n- 2\n"),
        ("a: {b: 1, c: [1, 2]}\n", r#"{"a":{"b":1,"c":[1,2,3],"d":{}}}"#, "a: {b: 1, c: [1, 2, 3], d: {}}\n"),
        (
            "a: [\n  1, # one\n  2 # two\n]\n",
            r#"{"a":[0,1,2,3]}"#,
            "a: [\n  0,\n  1, # one\n  2, # two\n  3\n]\n",
        ),
        ("a: [\n  1,\n  2,\n]\n", r#"{"a":[1,2,3]}"#, "a: [\n  1,\n  2,\n  3,\n]\n"),
        ("[1, 2, ]", "[1,2,3]", "[1, 2, 3, ]"),
        ("[a: 1]", r#"[{"a":1,"b":2}]"#, "[{a: 1, b: 2}]"),
        ("[a: [ # c\n 1], 2]", r#"[{"a":[1],"b":3},2]"#, "[{a: [ # c\n 1], b: 3}, 2]"),
        ("a: {}\nb: []\n", r#"{"a":{"x":1},"b":[1]}"#, "a:\n  x: 1\nb:\n  - 1\n"),
        ("a: { # c\n  }\n", r#"{"a":{"x":1}}"#, "a: { # c\n  x: 1\n  }\n"),
        ("{}", r#"{"x":1}"#, "x: 1"),
        ("a: [{}]\n", r#"{"a":[{"x":"a: b"}]}"#, "a: [{x: \"a: b\"}]\n"),
        ("a: 1", r#"{"a":1,"b":2}"#, "a: 1\nb: 2"),
        ("a: 1", r#"{"a":1,"b":"x\ny\n"}"#, "a: 1\nb: |\n  x\n  y\n"),
        (
            "a: 1\r\nb:\r\n  c: 1\r\n",
            r#"{"a":1,"b":{"c":1,"d":"x\ny\n"}}"#,
            "a: 1\r\nb:\r\n  c: 1\r\n  d: |\r\n    x\r\n    y\r\n",
        ),
        ("k: |+\n  a\n\n# c\n", r#"{"k":"a\n\n","b":1}"#, "k: |+\n  a\n\nb: 1\n# c\n"),
        ("a: 1\n      # deep\n", r#"{"a":1,"b":"x\ny\n"}"#, "a: 1\n      # deep\nb: |\n  x\n  y\n"),
    ]);
}

#[test]
fn a_removed_entry_takes_its_comments_along_and_no_others() {
    check(&[
        ("h: [ # c\n 1\t]\n", r#"{"h":[]}"#, "h: [ # c\n]\n"),
        ("a: 1\n\nb: 2", "7", "7"),
        ("{\n  k: 2\n  # c\n}\n", "{}", "{\n  # c\n}\n"),
        ("a: [ # h\n  1, # one\n\n  # c\n\n  2\n  ]\n", r#"{"a":[2]}"#, "a: [ # h\n  # c\n\n  2\n  ]\n"),
        (
            "a: 1\n# free\n\n# about b\nb: 2 # b\n# about c\nc: 3\n",
            r#"{"a":1,"c":3}"#,
            "a: 1\n# free\n\n# about c\nc: 3\n",
        ),
        ("a:\n  b: 1\n  # about a's\nc: 2\n", r#"{"a":{"b":1}}"#, "a:\n  b: 1\n  # about a's\n"),
        ("- a: 1 # c\n  b: 2\n", r#"[{"b":2}]"#, "- b: 2\n"),
        ("- a: 1\n  # about b\n  b: 2\n", r#"[{"b":2}]"#, "-\n  # about b\n  b: 2\n"),
        ("- a: 1\n  b: 2\n  c: 3\n", r#"[{"c":3}]"#, "- c: 3\n"),
        ("- a: 1\n", r#"[{"b":2}]"#, "- b: 2\n"),
        ("- - 1\n  - 2\n- 3\n", "[[2],3]", "- - 2\n- 3\n"),
        ("a: # note\n  # free\n\n  b: 1\nc: 1\n", r#"{"a":{},"c":1}"#, "a: {} # note\n  # free\n\nc: 1\n"),
        ("a:\n- 1\nb: 2\n", r#"{"a":[],"b":2}"#, "a: []\nb: 2\n"),
        ("# head\n\na: 1\n# tail\n", "{}", "# head\n\n{}\n# tail\n"),
        ("- a: 1\n- 2\n", "[{},2]", "- {}\n- 2\n"),
        ("a: 1\nb: 2", r#"{"a":1}"#, "a: 1"),
        ("a: |\n  x\nb: 1\n    # deep\n      \nc: 2\n", r#"{"a":"x\n","c":2}"#, "a: |\n  x\nc: 2\n"),
        ("a: |+\n  x\nb: 1\n\nc: 2\n", r#"{"a":"x\n","c":2}"#, "a: |+\n  x\nc: 2\n"),
        ("a: [1, 2, 3]\n", r#"{"a":[1,3]}"#, "a: [1, 3]\n"),
        ("a: [1, 2, 3]\n", r#"{"a":[1]}"#, "a: [1]\n"),
        ("a: {b: 1, c: 2}\n", r#"{"a":{"c":2,"d":3}}"#, "a: {c: 2, d: 3}\n"),
        (
            "a: [\n  1, # one\n  # about two\n  2, # two\n  3 # three\n]\n",
            r#"{"a":[1,3]}"#,
            "a: [\n  1, # one\n  3 # three\n]\n",
        ),
        ("a: [\n  1, # one\n  2 # two\n]\n", r#"{"a":[1]}"#, "a: [\n  1 # one\n]\n"),
        ("a: {b: 1}\n", r#"{"a":{}}"#, "a: {}\n"),
    ]);
}

#[test]
fn a_new_document_is_in_block_style_with_the_quotes_it_needs() {
    let value = json(
        r#"{"name":"x","list":[1,"a b",{"k":"v","l":[[2],[]]},null],"text":"p\nq\n","tail":"p\nq","odd":" p\nq\n","e":{},"n":1.10}"#,
    );
    let expected = "name: x\nlist:\n  - 1\n  - a b\n  - k: v\n    l:\n      - - 2\n      - []\n  - null\n\
                    text: |\n  p\n  q\ntail: |-\n  p\n  q\nodd: \" p\\nq\\n\"\ne: {}\nn: 1.10\n";
    assert_eq!(fresh(&value).unwrap(), expected);
    let plain = [
        "a",
        "a b",
        "a:b",
        "-a",
        "--x",
        "a#b",
        "1.2.3",
        "1-2",
        "y",
        "it's",
        "a, b",
        "v1",
        "é",
        "http://x/y?z",
    ];
    for text in plain {
        assert_eq!(fresh(&Value::String(text.to_owned())).unwrap(), format!("{text}\n"));
    }
    let quoted = [
        "",
        " ",
        "a ",
        " a",
        "yes",
        "No",
        "on",
        "OFF",
        "true",
        "null",
        "~",
        "1",
        "1.5",
        "1e3",
        "0o17",
        "017",
        "0x1f",
        "0b1",
        "1_000",
        "1:30",
        "190:20:30.15",
        ".inf",
        "-.INF",
        ".NaN",
        "2001-12-14",
        "2001-12-14T21:59:43Z",
        "=",
        "<<",
        "a: b",
        "a:",
        "a #b",
        "#a",
        "- a",
        "-",
        "---",
        "...",
        "? a",
        ":a",
        "[a",
        "]",
        "{a",
        "}",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "'a",
        "\"a",
        ",a",
        "\t",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "\u{feff}",
        "\u{2028}",
        "\n",
        "\r\n",
        "+.inf",
        "+1",
        "-.5",
        "1.",
        "12e03",
    ];
    for text in quoted {
        let text = Value::String(text.to_owned());
        let written = fresh(&text).unwrap();
        assert!(written.starts_with(['"', '\'']), "{written}");
        assert_eq!(parse(&written), Ok(text));
    }
    for scalar in
        [Value::Null, Value::Bool(true), Value::Foreign(".inf".to_owned()), Value::Number("-0".to_owned())]
    {
        assert_eq!(parse(&fresh(&scalar).unwrap()), Ok(scalar));
    }
}

#[test]
fn infinities_and_strings_like_them_are_told_apart() {
    let file = parse("- .inf\n- '.inf'\n").unwrap();
    let target = Value::Array(vec![Value::String(".inf".to_owned()), Value::Foreign(".inf".to_owned())]);
    let edits = vec![(1, ItemEdit::Change(Edit::Set(&Value::Null))), (0, ItemEdit::Insert(&target))];
    assert_eq!(
        edit("- .inf\n- '.inf'\n", &Edit::Items(edits), &file).unwrap(),
        "- - \".inf\"\n  - .inf\n- .inf\n- null\n"
    );
    let removal = Edit::Fields(vec![("a", FieldEdit::Remove)]);
    assert_eq!(edit("a: .inf\n", &removal, &file).unwrap(), "{}\n");
}
