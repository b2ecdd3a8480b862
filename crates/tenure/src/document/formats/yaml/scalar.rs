//! What a plain scalar means, and how a string is written so that every reader takes it for one.
//!
//! Reading follows the core schema of YAML 1.2 alone. Writing also quotes what a reader of YAML 1.1 would take for
//! something else.

use granit_parser::ScalarStyle;

use crate::document::value::Value;

/// Longer numbers of another base are not converted, which takes time that grows with the square.
const DIGITS_MAX: usize = 1000;

/// What a plain scalar means in the core schema.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Value::Foreign(text.to_owned()),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    for (prefix, base) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
            return valid.then(|| match digits.len() > DIGITS_MAX {
                true => Value::Foreign(text.to_owned()),
                false => Value::Number(decimal(digits, base)),
            });
        }
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Some(Value::Foreign(text.to_owned()));
    }
    json_number(text.starts_with('-'), unsigned).map(Value::Number)
}

/// The number as JSON writes it, of the same value and as many digits.
fn json_number(negative: bool, unsigned: &str) -> Option<String> {
    let mantissa = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(mantissa);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !(whole.is_empty() && fraction.is_none_or(str::is_empty));
    if !(has_digits && digits(whole) && fraction.is_none_or(digits)) {
        return None;
    }
    if let Some(power) = exponent.strip_prefix(['e', 'E']) {
        let power = power.strip_prefix(['+', '-']).unwrap_or(power);
        if power.is_empty() || !digits(power) {
            return None;
        }
    }
    let whole = whole.trim_start_matches('0');
    let sign = if negative { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = match fraction {
        Some("") => ".0".to_owned(),
        Some(fraction) => format!(".{fraction}"),
        None => String::new(),
    };
    Some(format!("{sign}{whole}{fraction}{exponent}"))
}

/// Digits of another base in decimal, however many.
fn decimal(digits: &str, base: u32) -> String {
    const LIMB: u64 = 1_000_000_000;
    let mut limbs: Vec<u64> = vec![0];
    for digit in digits.chars().filter_map(|digit| digit.to_digit(base)) {
        let mut carry = u64::from(digit);
        for limb in &mut limbs {
            let sum = *limb * u64::from(base) + carry;
            (*limb, carry) = (sum % LIMB, sum / LIMB);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut text = String::new();
    for limb in limbs.iter().rev() {
        let digits = if text.is_empty() { limb.to_string() } else { format!("{limb:09}") };
        text.push_str(&digits);
    }
    text
}

/// A scalar that is written as it is; a string gets quotes only through [`quoted`].
pub(super) fn plain(value: &Value) -> Option<&str> {
    match value {
        Value::Null => Some("null"),
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Number(text) | Value::Foreign(text) => Some(text),
        _ => None,
    }
}

/// A string on one line, in the style that the scalar had before, if that can hold it.
pub(super) fn quoted(text: &str, flow: bool, before: Option<ScalarStyle>) -> String {
    match before {
        Some(ScalarStyle::SingleQuoted) if fits_single(text) => single(text),
        Some(ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) => double(text),
        _ if is_plain_string(text, flow) => text.to_owned(),
        _ if text.contains(['"', '\\']) && fits_single(text) => single(text),
        _ => double(text),
    }
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn fits_single(text: &str) -> bool {
    text.chars().all(is_printable)
}

/// What needs no escape. Tabs do, which nobody sees; so do line ends of whatever kind.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn double(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c if u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether the text, written without quotes, is this string for readers of YAML 1.1 and 1.2.
fn is_plain_string(text: &str, flow: bool) -> bool {
    let mut chars = text.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else { return false };
    let indicates = match first {
        '-' => second.is_none_or(|second| second == ' ') || text.starts_with("---"),
        '.' => text.starts_with("..."),
        _ => "?:,[]{}#&*!|>'\"%@`".contains(first),
    };
    let ends = text.starts_with(' ') || text.ends_with([' ', ':']);
    let breaks = text.contains(": ") || text.contains(" #");
    let flow_breaks = flow && text.contains([',', '[', ']', '{', '}', ':', '?']);
    !(indicates || ends || breaks || flow_breaks)
        && text.chars().all(is_printable)
        && matches!(resolve(text), Value::String(_))
        && !is_special_in_1_1(text)
}

/// Whether YAML 1.1 takes the text for a boolean, a null, a number, a date, a merge key or a default value. Its `y` and
/// `n` are left out: hardly a reader takes them for booleans, and they are often keys.
fn is_special_in_1_1(text: &str) -> bool {
    const WORDS: [&str; 10] = ["yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) || is_number_in_1_1(text) || is_date(text)
}

/// Numbers with underscores, of bases 2, 8 and 16, and of base 60: a little more than YAML 1.1 has.
fn is_number_in_1_1(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    if matches!(lower.as_str(), ".inf" | ".nan") {
        return true;
    }
    if ["0x", "0o", "0b"].iter().any(|prefix| lower.starts_with(prefix)) {
        return lower[2..].chars().all(|c| c.is_ascii_hexdigit() || c == '_');
    }
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b"_:.,".contains(&byte));
    let starts = mantissa.trim_start_matches(['.', '_']).starts_with(|first: char| first.is_ascii_digit());
    let point = mantissa.bytes().filter(|byte| *byte == b'.').count() <= 1;
    starts
        && point
        && numeric(mantissa)
        && !exponent.is_empty()
        && exponent.bytes().all(|b| b.is_ascii_digit())
}

/// `2001-12-14`, alone or with a time behind it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let is_number = |part: &str, most: usize| {
        !part.is_empty() && part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let day = rest.bytes().take_while(u8::is_ascii_digit).count();
    let behind = rest[day..].chars().next();
    year.len() == 4
        && is_number(year, 4)
        && is_number(month, 2)
        && (1..=2).contains(&day)
        && behind.is_none_or(|behind| "Tt \t".contains(behind))
}

/// The lines of a literal block scalar and the chomping indicator that makes them exactly this text, if there is
/// one. Blank lines at the end are kept only where `keep` says that no others follow.
pub(super) fn literal(text: &str, keep: bool) -> Option<(&'static str, &str)> {
    let body = text.trim_end_matches('\n');
    let is_line = |line: &str| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty();
    let fits =
        body.split('\n').all(is_line) && body.chars().all(|c| is_printable(c) || c == '\n' || c == '\t');
    if body.is_empty() || body.starts_with([' ', '\t', '\n']) || !fits {
        return None;
    }
    match text.len() - body.len() {
        0 => Some(("|-", body)),
        1 => Some(("|", body)),
        _ if keep => Some(("|+", &text[..text.len() - 1])),
        _ => None,
    }
}
