//! The house rules that no lint can say, checked over the sources of the whole workspace.

#![expect(clippy::disallowed_methods, reason = "this test reads the real sources")]

use std::fs;
use std::path::{Path, PathBuf};

/// A source file grows hard to read past this many lines.
const LONGEST_FILE: usize = 500;

/// The one room that may hold state of the process and talk to the operating system unsafely.
const HOST: &str = "tenure/src/host/";

/// The rooms where unsafe code may stand: the operating system, and the simulated one with its coroutines.
const UNSAFE: [&str; 2] = [HOST, "tenure-sim/src/host/"];

/// One source file, with its path below crates/.
struct Source {
    path: String,
    text: String,
    /// The text's lines with comments and the contents of literals taken out.
    code: Vec<String>,
}

impl Source {
    /// Every line of code that `breaks` a rule, as `path:line: text`.
    fn broken(&self, breaks: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.code.iter().zip(self.text.lines()).enumerate();
        lines
            .filter(|(_, (code, _))| breaks(code.trim()))
            .map(|(index, (_, text))| format!("{}:{}: {}", self.path, index + 1, text.trim()))
            .collect()
    }
}

/// Every .rs file below crates/.
fn sources() -> Vec<Source> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in crates/");
    let mut files = Vec::new();
    find_rust_files(crates, &mut files);
    files.sort();
    let found: Vec<Source> = files.iter().map(|file| read(file, crates)).collect();
    // A scan that looks in the wrong place would find every rule kept.
    assert!(found.iter().any(|source| source.path == "tenure/src/lib.rs"), "no sources in {crates:?}");
    assert!(found.iter().any(|source| source.path.starts_with(HOST)), "no {HOST} in {crates:?}");
    found
}

fn find_rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a source folder can be listed").path();
        if path.is_dir() {
            // A build started inside a crate may have put its target folder there.
            if !path.ends_with("target") {
                find_rust_files(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(file: &Path, crates: &Path) -> Source {
    let text = fs::read_to_string(file).expect("a source file can be read");
    let path = file.strip_prefix(crates).expect("the file was found there").display().to_string();
    let code = code_of(&text).lines().map(str::to_owned).collect();
    Source { path, text, code }
}

/// The text without its comments and without the contents of its literals, its line ends kept.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let after_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let (skipped, stands_for) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), "")
        } else if rest.starts_with("/*") {
            (block_comment(rest), " ")
        } else if let Some(length) = raw_string(rest).filter(|_| !after_word || code.ends_with(['b', 'c'])) {
            (length, "\"\"")
        } else if next == '"' {
            (quoted(rest, '"'), "\"\"")
        } else if next == '\'' && is_char_literal(rest) {
            (quoted(rest, '\''), "''")
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        code.push_str(stands_for);
        code.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
        rest = &rest[skipped..];
    }
    code
}

/// The length of the block comment at the start of `rest`, with the comments nested in it.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let (step, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the raw string at the start of `rest`, if there is one.
fn raw_string(rest: &str) -> Option<usize> {
    let after_r = rest.strip_prefix('r')?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let body = after_r[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| opening + at + end.len()))
}

/// The length of the literal at the start of `rest`, up to the next `quote` that no backslash escapes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// Whether the quote at the start of `rest` opens a character and not a lifetime.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// Whether `word` stands in `code`, not as a part of a longer word.
fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

/// Whether a line starts a `static` item, of whatever visibility.
fn is_static(code: &str) -> bool {
    let item = match code.strip_prefix("pub") {
        Some(public) if public.starts_with('(') => public.split_once(") ").map_or("", |(_, item)| item),
        Some(public) => public.trim_start(),
        None => code,
    };
    item.starts_with("static ")
}

fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn the_library_keeps_no_state_outside_the_host() {
    let library = sources().into_iter().filter(|source| source.path.starts_with("tenure/src/"));
    let rooms = library.filter(|source| !source.path.starts_with(HOST));
    let broken: Vec<String> =
        rooms.flat_map(|source| source.broken(|code| is_static(code) || has_word(code, "Condvar"))).collect();
    assert_none("a static or a Condvar outside the host, where a simulated host cannot see it", &broken);
}

#[test]
fn unsafe_code_stands_in_the_host_only() {
    // A test may be unsafe: it can fork a process in no other way.
    let shipped = sources().into_iter().filter(|source| source.path.contains("/src/"));
    let rooms = shipped.filter(|source| UNSAFE.iter().all(|room| !source.path.starts_with(room)));
    let is_unsafe = |code: &str| !code.starts_with('#') && has_word(code, "unsafe");
    let broken: Vec<String> = rooms.flat_map(|source| source.broken(is_unsafe)).collect();
    assert_none("unsafe code outside the host", &broken);
}

#[test]
fn no_source_file_is_too_long() {
    let lengths = sources().into_iter().map(|source| (source.text.lines().count(), source.path));
    let broken: Vec<String> = lengths
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .map(|(lines, path)| format!("{path}:{lines}: this is the last of too many lines"))
        .collect();
    assert_none(&format!("a file of more than {LONGEST_FILE} lines"), &broken);
}

#[test]
fn nothing_is_left_undone_or_ignored() {
    let unfinished = ["todo!(", "unimplemented!(", "#[ignore"];
    let is_unfinished = |code: &str| unfinished.iter().any(|needle| code.contains(needle));
    let broken: Vec<String> = sources().iter().flat_map(|source| source.broken(is_unfinished)).collect();
    assert_none("unfinished code or an ignored test", &broken);
}

#[test]
fn the_scan_sees_code_and_nothing_else() {
    let text = "a /* b /* c\n */ d */ e // f\n\"g \\\" h\" 'i' '\\'' &'j k r#\"l \" m\"# br\"n\\\" bar \"o\"";
    assert_eq!(code_of(text), "a  \n e \n\"\" '' '' &'j k \"\" b\"\" bar \"\"");
    assert!(is_static("static A: u8 = 0;") && is_static("pub static mut A: u8 = 0;"));
    assert!(is_static("pub(in crate::host) static A: u8 = 0;") && !is_static("name: &'static str,"));
    assert!(has_word("unsafe{ f() }", "unsafe") && !has_word("deny(unsafe_code)", "unsafe"));
}
