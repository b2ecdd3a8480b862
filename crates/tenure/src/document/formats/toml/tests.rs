use super::*;
use crate::document::formats::Format;

fn edited(text: &str, to: &str) -> Result<String, String> {
    let from = Format::Toml.parse(text.as_bytes()).map_err(|problem| problem.to_string())?;
    let to = Value::parse_json(to).unwrap();
    Format::Toml.edited(text.as_bytes(), &from, &to).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn what_is_read() {
    let text = "a = 1_000\nb = 0xFF\nc = 1.10\nd = +1e5\ne = 1979-05-27 07:32:00Z\nf = inf\ng = -nan\nh.i = 'x'\n[[t]]\nj=07:32:00\n";
    let expected = r#"{"a":1000,"b":255,"c":1.10,"d":1e5,"e":"1979-05-27T07:32:00Z","f":"inf","g":"nan","h":{"i":"x"},"t":[{"j":"07:32:00"}]}"#;
    assert_eq!(parse(text).unwrap().to_string(), expected);
    for (text, place) in [
        ("a = 1\na = 2\n", "line 2"),
        ("a = ", "line 1"),
        ("[t]\n[t]\n", "line 2"),
        ("a = 99999999999999999999", "line 1"),
    ] {
        assert!(parse(text).unwrap_err().to_string().starts_with(place), "{text}");
    }
}

#[test]
fn comments_and_layout_stay() {
    let table = [
        ("# head\n\n# a\na = 1 # one\nb=2\n", r#"{"a":5,"b":2}"#, "# head\n\n# a\na = 5 # one\nb=2\n"),
        ("# head\n\n# a\na = 1 # one\nb=2\n", r#"{"b":2}"#, "# head\n\nb=2\n"),
        ("# head\n\n# a\na = 1 # one\n", "{}", "# head\n"),
        ("a=1 # one\n", r#"{"a":1,"b":"x"}"#, "a=1 # one\nb=\"x\"\n"),
        ("# head\n", r#"{"a":1}"#, "# head\na = 1\n"),
        ("\n# head\r\n\r\n", r#"{"t":{"a":1}}"#, "\n# head\r\n\r\n[t]\r\na = 1\r\n"),
        ("# head", r#"{"a":[{"b":1}],"c":1}"#, "# head\nc = 1\n\n[[a]]\nb = 1"),
        (
            "[t]\n  a = 1 # x\n\n# u\n[u]\n",
            r#"{"t":{"a":1,"b":[1]},"u":{}}"#,
            "[t]\n  a = 1 # x\n  b = [1]\n\n# u\n[u]\n",
        ),
        ("a = 'x' # q\nb = \"y\"\n", r#"{"a":"it","b":"z"}"#, "a = 'it' # q\nb = \"z\"\n"),
        ("a = [\n  1, # one\n  2, # two\n]\n", r#"{"a":[2]}"#, "a = [\n  2, # two\n]\n"),
        (
            "a = [\n  1, # one\n  2, # two\n]\n",
            r#"{"a":[1,2,3]}"#,
            "a = [\n  1, # one\n  2, # two\n  3,\n]\n",
        ),
        ("a = [ 1, 2 ] # x\n", r#"{"a":[1,2,3]}"#, "a = [ 1, 2, 3 ] # x\n"),
        (
            "p = { x = 1, y = 2 } # p\n",
            r#"{"p":{"x":1,"y":3,"z":"q"}}"#,
            "p = { x = 1, y = 3, z = \"q\" } # p\n",
        ),
        ("p = { x = 1, y = 2 }\n", r#"{"p":{"y":2}}"#, "p = { y = 2 }\n"),
        ("d = 1979-05-27 # born\n", r#"{"d":"1980-01-01"}"#, "d = 1980-01-01 # born\n"),
        ("d = 1979-05-27 # born\n", r#"{"d":"soon"}"#, "d = \"soon\" # born\n"),
        ("d = [1979-05-27]\n", r#"{"d":["1979-05-27","1980-01-01"]}"#, "d = [1979-05-27, 1980-01-01]\n"),
        ("a.b = 1 # x\na.c = 2\n", r#"{"a":{"b":1,"c":2,"d":3}}"#, "a.b = 1 # x\na.c = 2\na.d = 3\n"),
        (
            "[[l]]\nn = 1 # one\n\n[[l]]\nn = 2 # two\n",
            r#"{"l":[{"n":1},{"n":2},{"n":3}]}"#,
            "[[l]]\nn = 1 # one\n\n[[l]]\nn = 2 # two\n\n[[l]]\nn = 3\n",
        ),
        ("[[l]]\nn = 1 # one\n\n[[l]]\nn = 2 # two\n", r#"{"l":[{"n":2}]}"#, "[[l]]\nn = 2 # two\n"),
        ("a = 1\r\nb = 2 # x\r\n", r#"{"a":1,"b":3}"#, "a = 1\r\nb = 3 # x\r\n"),
        ("a = 1\r\nb = 2\nc = 3", r#"{"a":1,"b":3,"c":3}"#, "a = 1\r\nb = 3\nc = 3"),
        ("a = 1", r#"{"a":2}"#, "a = 2"),
        ("\u{feff}a = 1\n", r#"{"a":2}"#, "\u{feff}a = 2\n"),
        ("a = 1\n", r#"{"a":1,"t":{"x":1},"l":[{"y":1}]}"#, "a = 1\n\n[t]\nx = 1\n\n[[l]]\ny = 1\n"),
        // What has no other statement in it keeps one.
        ("[a.b]\nx = 1\n\n# c\n[c]\n", r#"{"a":{},"c":{}}"#, "# c\n[c]\n\n[a]\n"),
        ("a.b = 1 # x\n", r#"{"a":{}}"#, "[a]\n"),
        ("# k\n\na.b = 1\nc = 1\n", r#"{"c":1}"#, "# k\n\nc = 1\n"),
        (
            "[t]\nx = 1\n\n# kept\n\n# u\n[u]\n\n[v]\n",
            r#"{"t":{"x":1},"v":{}}"#,
            "[t]\nx = 1\n\n# kept\n\n[v]\n",
        ),
        (
            "[[l.m]]\nn = 1\n\n[l]\no = 1\n",
            r#"{"l":{"o":1,"m":[{"n":0},{"n":1}]}}"#,
            "[[l.m]]\nn = 0\n[[l.m]]\nn = 1\n\n[l]\no = 1\n",
        ),
        // Each line keeps its own end, and the last has none.
        ("a = 1\r\n\n[b]\nc = 1", r#"{"a":1}"#, "a = 1"),
        ("# c\nk = 1\r\na.b = 1", r#"{"k":1,"a":{}}"#, "# c\nk = 1\r\n\n[a]"),
        (
            "[a]\nx = 1\r\n[b]\r\ny = 1\n",
            r#"{"a":{"x":1,"z":2},"b":{"y":1}}"#,
            "[a]\nx = 1\r\nz = 2\n[b]\r\ny = 1\n",
        ),
        ("a = 1\r\n", r#"{"a":1,"b":"x\ny"}"#, "a = 1\r\nb = \"x\\ny\"\r\n"),
        ("a = 'x'\r\n", r#"{"a":"x\ny"}"#, "a = \"x\\ny\"\r\n"),
        ("f = 1.10\ng = 1_000\n", r#"{"f":1.10,"g":1000,"h":2}"#, "f = 1.10\ng = 1_000\nh = 2\n"),
    ];
    for (text, to, expected) in table {
        assert_eq!(edited(text, to).as_deref(), Ok(expected), "{text} -> {to}");
    }
}

#[test]
fn a_table_in_braces_on_several_lines_is_kept_or_refused() {
    let text = "p = {\n  x = 1, # x\n  y = 0x02, # y\n}\n";
    let expected = "p = {\n  x = 3, # x\n  y = 0x02, # y\n}\n";
    assert_eq!(edited(text, r#"{"p":{"x":3,"y":2}}"#).as_deref(), Ok(expected));
    let dotted = text.replace("x =", "q.x =");
    let expected = expected.replace("x =", "q.x =");
    assert_eq!(edited(&dotted, r#"{"p":{"q":{"x":3},"y":2}}"#), Ok(expected));
    assert!(edited(&dotted, r#"{"p":{"y":2}}"#).unwrap_err().contains("dotted keys"));
}

#[test]
fn what_toml_does_not_have_is_refused() {
    for (to, reason) in
        [(r#"{"a":null}"#, "no null"), ("[1]", "table"), (r#"{"a":99999999999999999999}"#, "64 bits")]
    {
        assert!(edited("a = 1\n", to).unwrap_err().contains(reason), "{to}");
    }
}
