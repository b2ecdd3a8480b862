use super::*;

/// `INPUT | EXPRESSION → RESULTS`, as jq 1.6 printed them.
const AS_JQ: &str = r#"
null | .a.b = 1 → {"a":{"b":1}}
{} | .a.b = 1 → {"a":{"b":1}}
{"a":null} | .a.b = 1 → {"a":{"b":1}}
{"z":1} | .a.b.c = 1 → {"z":1,"a":{"b":{"c":1}}}
null | .list[0] = 1 → {"list":[1]}
{} | .list += ["x"] → {"list":["x"]}
{"list":["w"]} | .list += ["x"] → {"list":["w","x"]}
{} | .a[2] = 1 → {"a":[null,null,1]}
[1] | .[3] = 4 → [1,null,null,4]
{} | .a[0][1].c = 2 → {"a":[[null,{"c":2}]]}
{} | .a |= . → {"a":null}
{} | .a |= (if . then . + 1 else . end) → {"a":null}
{} | .a |= 3 → {"a":3}
{} | .a.b |= 3 → {"a":{"b":3}}
{} | .a.b += 1 → {"a":{"b":1}}
{"a":{"b":1.5}} | .a.b += 1 → {"a":{"b":2.5}}
{} | .a["x y"].b //= 3 → {"a":{"x y":{"b":3}}}
{"a":{"b":null}} | .a.b //= 3 → {"a":{"b":3}}
{} | .a.b //= null → {"a":{"b":null}}
{} | .a = null → {"a":null}
{} | .a[1:2] = ["x"] → {"a":["x"]}
null | .[1:2] = ["x"] → ["x"]
[1,2,3,4] | .[1:3] = ["x"] → [1,"x",4]
[1,2,3] | .[1:] |= map(. + 1) → [1,3,4]
[1,2,3] | .[5:] = ["x"] → [1,2,3,"x"]
[1,2,3] | .[2:1] = ["x"] → [1,2,"x",3]
[1,2,3] | .[-1:] += ["x"] → [1,2,3,"x"]
[1,2,3] | .[{"start":1,"end":2}] = [9] → [1,9,3]
[1,2,3] | .[-1] = 9 → [1,2,9]
[1,2,3] | .[1.7] = 9 → [1,9,3]
null | setpath(["a",0,"b"]; 1) → {"a":[{"b":1}]}
null | setpath([]; 1) → 1
{} | getpath(["a","b"]) → null
{} | getpath(["a","b"]) = 1 → {"a":{"b":1}}
{} | getpath(["a","b"]) |= 1 → {"a":{"b":1}}
null | reduce range(3) as $i (.; .[$i] = $i) → [0,1,2]
{} | reduce ("a","b","a") as $k (.; .n[$k] += 1) → {"n":{"a":2,"b":1}}
null | reduce (["a",1],["b",0]) as $p (.; setpath($p; $p[1])) → {"a":[null,1],"b":[0]}
{} | .a["b","c"] = 1 → {"a":{"b":1,"c":1}}
{} | (.a.b, .a.c) = 1 → {"a":{"b":1,"c":1}}
{} | .a = (1, 2) → {"a":1} {"a":2}
{"a":1} | .a |= (2, 3) → {"a":2}
[1,2] | map_values(., .) → [1,2]
[1,2] | [walk(., .)] → [[1,1,2,2],[1,1,2,2]]
{} | (.a // .b) = 1 → {"b":1}
{"b":2} | (.a // .b) = 1 → {"b":1}
{"a":1} | (if .a then .x.y else .z end) = 2 → {"a":1,"x":{"y":2}}
{} | .a[]? = 1 → {}
{} | .a.b[]?.c |= 1 → {}
{"a":1} | .a.b? = 1 → {"a":1}
null | .[]? += 1 → null
{} | .a[]? |= . → {}
{} | (.a.b | select(.)) |= . → {}
{} | (.a | if . then .b else empty end) |= 1 → {}
{} | (.a | first(.[]?)) |= 1 → {}
{} | (.a.b | select(. == 1)) = 5 → {}
{} | (.a.b | select(. == null)) = 5 → {"a":{"b":5}}
{"u":[{"n":"x"},{"n":"y"}]} | (.u[] | select(.n == "y") | .tags.new) = true → {"u":[{"n":"x"},{"n":"y","tags":{"new":true}}]}
{"u":[{"n":"x"},{"n":"y"}]} | first(.u[] | select(.n == "y")).n = "z" → {"u":[{"n":"x"},{"n":"z"}]}
[1,2,3] | limit(2; .[]) |= . * 10 → [10,20,3]
{"a":{"b":1,"c":2}} | .a.b |= empty → {"a":{"c":2}}
{} | .a.b |= empty → {}
{"d":1,"a":2,"c":3,"b":4} | del(.d) → {"a":2,"c":3,"b":4}
{"d":1,"a":2,"c":3,"b":4} | del(.d, .c) → {"a":2,"b":4}
{"d":1,"a":2,"c":3,"b":4} | .d |= empty → {"a":2,"c":3,"b":4}
null | del(.a.b) → null
{} | del(.a.b) → {}
{"a":null} | del(.a.b) → {"a":null}
[1,2,3] | del(.[0, 1]) → [3]
[1,2,3] | del(.[-1, 0]) → [2]
[1,2,3] | del(.[7]) → [1,2,3]
[1,2,3,4] | del(.[1:3]) → [1,4]
[1,2,3,4] | del(.[1:][0], .[0]) → [3,4]
[1,2,3,4] | del(.[] | select(. > 2)) → [1,2]
{"a":[{"x":1,"y":2},{"y":3}]} | del(.a[].x) → {"a":[{"y":2},{"y":3}]}
{"a":1} | del(.) → null
{"a":1} | del(..) → null
{"a":{"b":1,"c":2}} | delpaths([["a","b"],["a"],["z","y"]]) → {}
{"a":{"b":1,"c":2}} | delpaths([["a","b"],["z","y"]]) → {"a":{"c":2}}
{} | [path(.a.b, .a[1:].c)] → [["a","b"],["a",{"start":1,"end":null},"c"]]
{"a":[1,{"b":2}]} | [paths] → [["a"],["a",0],["a",1],["a",1,"b"]]
{"a":[1,{"b":2}]} | [leaf_paths] → [["a",0],["a",1,"b"]]
{} | .a |= (.b.c = 1) → {"a":{"b":{"c":1}}}
{} | .a as $old | .b.c = $old → {"b":{"c":null}}
{"a":1} | (.b.c | select(.)) |= 2 → {"a":1}
{} | .a |= (. as $old | {} | .b = $old) → {"a":{"b":null}}
null | .[1:2] → null
null | indices(1) → null
[1,2] | to_entries → [{"key":0,"value":1},{"key":1,"value":2}]
null | length → 0
[1,null,"a",true] | join(",") → "1,,a,true"
[null,null] | join("-") → "-"
[] | join(",") → ""
1700000000 | todate → "2023-11-14T22:13:20Z"
"abc" | [ltrimstr("a", "x", 1)] → ["bc","abc","abc"]
"äbc" | [rtrimstr("c", "x", "", 1)] → ["äb","äbc","äbc","äbc"]
1 | [ltrimstr("a"), rtrimstr("a")] → [1,1]
null | .a |= rtrimstr("a") → {"a":null}
2 | [IN(1, 2), IN(1, 3)] → [true,false]
[1,2] | [IN(.[]; 2, 3), IN(.[]; 3, 4)] → [true,false]
[{"id":1,"v":2},{"id":2}] | INDEX(.id) → {"1":{"id":1,"v":2},"2":{"id":2}}
[{"id":1},{"id":2}] | INDEX(.[:1][]; .id) → {"1":{"id":1}}
{} | .list |= reverse → {"list":[]}
[1,2,3] | [reverse, (.[:1] | reverse)] → [[3,2,1],[1]]
"#;

/// Where jq 1.7 differs from 1.6: by the manual of 1.7.
const AS_JQ_1_7: &str = r#"
[1,5,3,0,7] | (.[] | select(. >= 2)) |= empty → [1,0]
[1,5,3] | map_values(empty) → []
{"a":1,"b":{"c":2,"d":3},"e":4} | pick(.a, .b.c, .x) → {"a":1,"b":{"c":2},"x":null}
[1,2,3,4] | pick(.[2], .[0], .[0]) → [1,null,3]
"aé" | reverse → "éa"
1700000000.7 | todate → "2023-11-14T22:13:20Z"
"#;

fn run_within(time_limit: Duration, code: &str, input: &str) -> Result<String, String> {
    let expression = Expression::compile(code.to_owned(), Vec::new(), time_limit);
    let expression = expression.map_err(|failure| failure.message)?;
    let (_, results) = expression.run(&parse_json(input).unwrap())?;
    Ok(results.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// With time enough for a busy machine.
fn run(code: &str, input: &str) -> Result<String, String> {
    run_within(Duration::from_secs(20), code, input)
}

#[test]
fn changes_are_those_of_jq() {
    let lines = AS_JQ.lines().chain(AS_JQ_1_7.lines()).filter(|line| !line.is_empty());
    let mut wrong = Vec::new();
    for line in lines {
        let (input, rest) = line.split_once(" | ").unwrap();
        let (code, expected) = rest.rsplit_once(" → ").unwrap();
        let found = run(code, input);
        if found.as_deref() != Ok(expected) {
            wrong.push(format!("{line}\n  but here: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_jq_refuses_to_change_is_refused() {
    let table = [
        ("null", ".[] = 1", "cannot use null as iterable"),
        ("{}", "del(.a[])", "cannot use null as iterable"),
        ("1", ".a = 1", "cannot index 1 with \"a\""),
        ("[1]", ".a = 1", "cannot index [1] with \"a\""),
        ("{\"a\":1}", "getpath([\"a\",\"b\"])", "cannot index 1 with \"b\""),
        ("{\"a\":1}", "del(.a.b)", "cannot index 1 with \"b\""),
        ("[1]", "delpaths([[\"a\"]])", "cannot index [1] with \"a\""),
        ("[1]", ".[-2] = 1", "before the start"),
        ("null", ".[-1] = 1", "before the start"),
        ("null", ".[600000000] = 1", "too large"),
        ("null", ".[true] = 1", "cannot index null with true"),
        ("null", ".[1:2] = 1", "cannot use 1 as array"),
        ("[1]", ".[\"a\":] = []", "cannot use \"a\" as integer"),
        ("[1]", "delpaths([1])", "as path"),
    ];
    for (input, code, expected) in table {
        let problem = run(code, input).unwrap_err();
        assert!(problem.contains(expected), "{input} | {code}: {problem}");
    }
}

/// What the documentation names as left: whoever makes these as in jq can take them from there.
#[test]
fn what_differs_from_jq_is_as_documented() {
    let table = [
        ("{}", "(.a | .[]? as $x | .b[$x]) = 1", r#"{"a":null}"#),
        ("[[1]]", ".. |= (if type == \"array\" then length else . + 1 end)", "1"),
        ("[1,2,3]", "(.[0], .[1]) |= empty", "[2]"),
        ("{\"a\":1}", ".[0]", "null"),
        ("\"abc\"", ".[1:2] = \"x\"", "\"axc\""),
    ];
    for (input, code, expected) in table {
        assert_eq!(run(code, input).as_deref(), Ok(expected), "{input} | {code}");
    }
    assert!(run("(.a.b)? = 1", "{}").unwrap_err().contains("invalid path expression"));
}

/// jaq's functions for its own values, which are made anew here.
#[test]
fn functions_of_values_do_as_in_jaq() {
    let table = [
        ("[\"äb\",-3,[1,2],{\"a\":1},null]", "[.[] | length]", "[2,3,2,1,0]"),
        ("\"xäbxäb\"", "[indices(\"äb\"), index(\"b\"), rindex(\"x\")]", "[[1,4],2,3]"),
        ("[1,2,1,2]", "[indices(1), indices([1,2]), indices([])]", "[[0,2],[0,2],[]]"),
        ("[1,3]", "[bsearch(1, 3, 2, 0, 9)]", "[0,1,-2,-1,-3]"),
        ("{\"a\":[\"xyz\",1]}", "[contains({a:[\"y\"]}, {a:[\"q\"]}, {b:1}, {})]", "[true,false,false,true]"),
        ("[null]", "[has(0, 1)]", "[true,false]"),
        ("{\"a\":null}", "[has(\"a\", \"b\")]", "[true,false]"),
        (
            "{\"a\":1.10}",
            "tojson, (tojson | fromjson), ([1,[65,\"B\"]] | tobytes | length)",
            "\"{\\\"a\\\":1.10}\" {\"a\":1.10} 3",
        ),
    ];
    for (input, code, expected) in table {
        assert_eq!(run(code, input).as_deref(), Ok(expected), "{input} | {code}");
    }
}

/// Each of these takes seconds where it should take milliseconds, if it copies or moves the whole for every element.
#[test]
fn big_values_are_changed_in_place() {
    let table = [
        ("reduce range(100000) as $i (null; .a[$i] = $i) | .a | length", "100000"),
        ("reduce range(100000) as $i (null; .[\"k\\($i)\"] += 1) | length", "100000"),
        ("reduce range(100000) as $i ([]; . + [$i]) | length", "100000"),
        ("[range(100000)] | del(.[] | select(. % 2 == 0)) | length", "50000"),
        ("[range(100000)] | (.[] | select(. % 2 == 0)) |= empty | length", "50000"),
        (
            "[range(100000) | {key: \"k\\(.)\", value: .}] | from_entries | del(.[] | select(. % 2 == 0)) | length",
            "50000",
        ),
    ];
    for (code, expected) in table {
        assert_eq!(run(code, "null").as_deref(), Ok(expected), "{code}");
    }
}

#[test]
fn numbers_and_order_are_kept() {
    let input = r#"{"d":1.10,"b":1e3,"c":123456789012345678901234567890,"n":1}"#;
    let table = [
        (".n += 1", r#"{"d":1.10,"b":1e3,"c":123456789012345678901234567890,"n":2}"#),
        ("del(.d)", r#"{"b":1e3,"c":123456789012345678901234567890,"n":1}"#),
        (".d |= empty", r#"{"b":1e3,"c":123456789012345678901234567890,"n":1}"#),
        ("{x: .} | .x.y.z[1] = .x.d | .x.y", r#"{"z":[null,1.10]}"#),
    ];
    for (code, expected) in table {
        assert_eq!(run(code, input).as_deref(), Ok(expected), "{code}");
    }
}

#[test]
fn what_goes_wrong_is_said() {
    let table = [
        (".a +", "line 1, column 5: expected"),
        (".a | nosuch", "column 6: undefined filter `nosuch`"),
        ("$x", "undefined variable"),
        ("error(\"no\")", "fails: \"no\""),
        ("nan", "NaN"),
        ("{(1): 2}", "not a string"),
        ("halt", "halt"),
        ("def f: f; f", "longer than"),
        ("[range(1; infinite)] | length", "longer than"),
        ("reduce range(1000) as $i (0; [.])", "nested"),
    ];
    for (code, expected) in table {
        let problem = run_within(Duration::from_millis(500), code, "{}").unwrap_err();
        assert!(problem.contains(expected), "{code}: {problem}");
    }
}
