//! Records as text: for a person, for a pipe, as JSON (pure, but for the question who reads).

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use tenure::document::Value;
use tenure::journal::{Missed, Record};

use super::receipt::range;
use crate::output;

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// The very bytes and a line end.
    Raw,
    /// A line for a person, from which nothing but text reaches the terminal; numbers and times are dimmed if it has colours.
    Pretty { dims: bool },
}

/// Fields of a record that may hold its time.
const TIMES: [&str; 3] = ["time", "ts", "timestamp"];

impl Style {
    pub(super) fn of_stdout() -> Style {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dims = set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb");
        if std::io::stdout().is_terminal() { Style::Pretty { dims } } else { Style::Raw }
    }

    /// Writes a record's line behind `out`.
    pub(super) fn show(self, record: &Record, out: &mut Vec<u8>) {
        let Style::Pretty { dims } = self else {
            out.extend_from_slice(&record.payload);
            out.push(b'\n');
            return;
        };
        let mut place = String::new();
        if let Some(sequence) = record.sequence {
            let mark = if record.is_stamp { '=' } else { ' ' };
            write!(place, "{sequence:>6}{mark} ").expect("a string takes what it is given");
        }
        if let Some(time) = time(&record.payload) {
            write!(place, "{time} ").expect("a string takes what it is given");
        }
        let text = harmless(&record.payload);
        let line = match dims && !place.is_empty() {
            true => format!("\x1b[2m{place}\x1b[0m{text}\n"),
            false => format!("{place}{text}\n"),
        };
        out.extend_from_slice(line.as_bytes());
    }
}

/// Writes a record as an object on a line of its own.
pub(super) fn json(record: &Record, out: &mut Vec<u8>) {
    let payload = match std::str::from_utf8(&record.payload) {
        Ok(text) => ("payload", output::string(text)),
        Err(_) => ("payload_base64", Value::String(base64(&record.payload))),
    };
    let fields = [
        ("sequence", record.sequence.map_or(Value::Null, output::number)),
        ("cursor", output::string(record.cursor)),
        ("stamp", Value::Bool(record.is_stamp)),
        payload,
    ];
    writeln!(out, "{}", output::object(fields)).expect("a vector takes what it is given");
}

/// Writes what is missing as an object on a line of its own.
pub(super) fn missed_json(missed: &Missed, out: &mut Vec<u8>) {
    let object = output::object([("missed", range(missed.sequences))]);
    writeln!(out, "{object}").expect("a vector takes what it is given");
}

/// A text that says the same and moves nothing: control characters, bytes that are no text, and what reverses the order of
/// characters are written as escapes.
fn harmless(payload: &[u8]) -> String {
    let mut text = String::with_capacity(payload.len());
    for chunk in payload.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    text.extend(character.escape_unicode());
                }
                _ if character.is_control() => {
                    write!(text, "\\x{:02x}", u32::from(character)).expect("a string takes what it is given");
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string takes what it is given");
        }
    }
    text
}

/// The time that a record says it is of, if it is a JSON object that says so.
fn time(payload: &[u8]) -> Option<String> {
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(payload).ok()?;
    match TIMES.iter().find_map(|name| object.get(*name))? {
        serde_json::Value::String(text) if is_rfc_3339(text) => Some(text.clone()),
        serde_json::Value::Number(number) => epoch(number.as_f64()?),
        _ => None,
    }
}

/// Looks like `2026-11-21T15:37:03Z`, whatever stands behind the seconds; nothing in it is a control character.
fn is_rfc_3339(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let fits = |(form, byte): (&u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        form => *form == byte,
    };
    let is_rest = |byte: &u8| byte.is_ascii_digit() || b"+-.:Zz".contains(byte);
    let bytes = text.as_bytes();
    (FORM.len()..=40).contains(&bytes.len())
        && FORM.iter().zip(bytes.iter().copied()).all(fits)
        && bytes[FORM.len()..].iter().all(is_rest)
}

/// Seconds since 1970 as a time; also milliseconds, microseconds and nanoseconds, told by their size.
fn epoch(number: f64) -> Option<String> {
    let seconds = match number {
        _ if !(0.0..1e20).contains(&number) => return None,
        _ if number >= 1e17 => number / 1e9,
        _ if number >= 1e14 => number / 1e6,
        _ if number >= 1e11 => number / 1e3,
        _ => number,
    };
    Some(utc(Duration::try_from_secs_f64(seconds).ok()?))
}

/// The time so long after 1970 in UTC, by RFC 3339, to the second.
pub(super) fn utc(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The Gregorian date so many days after 1970-01-01 (Hinnant's `civil_from_days`, for days that are not negative).
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        bits <<= 8 * (3 - group.len());
        for place in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let table = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in table {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }

    #[test]
    fn times_are_shown_where_there_are_some() {
        let table = [
            (r#"{"time":"2026-11-21T15:37:03Z"}"#, Some("2026-11-21T15:37:03Z")),
            (r#"{"a":1,"ts":0}"#, Some("1970-01-01T00:00:00Z")),
            (r#"{"timestamp":951782400}"#, Some("2000-02-29T00:00:00Z")),
            (r#"{"ts":1700000000123}"#, Some("2023-11-14T22:13:20Z")),
            (r#"{"ts":1700000000123456789}"#, Some("2023-11-14T22:13:20Z")),
            (r#"{"ts":4102444799.9}"#, Some("2099-12-31T23:59:59Z")),
            (r#"{"ts":-1}"#, None),
            (r#"{"time":"2026-11-21T15:37:03\u001b[2J"}"#, None),
            (r#"{"time":"soon"}"#, None),
            (r#"{"time":"2026-11-21T15:37:03Z""#, None),
            ("plain text", None),
        ];
        for (payload, expected) in table {
            assert_eq!(time(payload.as_bytes()).as_deref(), expected, "{payload}");
        }
    }

    #[test]
    fn nothing_but_text_reaches_a_terminal() {
        let every: Vec<u8> = (0..=255).chain("é\u{9b}2J\u{202e}abc".bytes()).collect();
        let shown = harmless(&every);
        assert!(!shown.contains(char::is_control) && !shown.contains('\u{202e}'), "{shown}");
        assert!(shown.contains("\\x1b") && shown.contains("é\\x9b2J\\u{202e}abc"), "{shown}");
    }
}
