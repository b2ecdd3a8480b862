//! The numbers of flock(1)'s command line, as the C library reads them (pure).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What is wrong with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is none.
    Format,
    /// It is one, but too large or too small.
    Range,
}

/// A decimal number of 32 bits, after white space if there is any, as strtol(3) reads it.
pub(super) fn integer(text: &OsStr) -> Result<i32, Bad> {
    let text = unspaced(text).ok_or(Bad::Format)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Bad::Format);
    }
    // What has the form of a number and is not read is out of range.
    text.parse().map_err(|_| Bad::Range)
}

/// A number of seconds, after white space if there is any, as strtod(3) reads decimal ones in the C locale: also with an
/// exponent, and also `inf` and `nan`.
pub(super) fn seconds(text: &OsStr) -> Option<f64> {
    unspaced(text)?.parse().ok()
}

/// The text after the white space that C knows.
fn unspaced(text: &OsStr) -> Option<&str> {
    let text = std::str::from_utf8(text.as_bytes()).ok()?;
    Some(text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_c_reads_them() {
        let good = [("0", 0), ("007", 7), (" \t5", 5), ("+5", 5), ("-1", -1), ("2147483647", i32::MAX)];
        for (text, number) in good {
            assert_eq!(integer(text.as_ref()), Ok(number), "{text}");
        }
        for text in ["", " ", "+", "--5", "5 ", "5x", "0x10", "x", "1.0", "+-1"] {
            assert_eq!(integer(text.as_ref()), Err(Bad::Format), "{text}");
        }
        for text in ["2147483648", "-2147483649", "99999999999999999999999"] {
            assert_eq!(integer(text.as_ref()), Err(Bad::Range), "{text}");
        }
    }

    #[test]
    fn seconds_are_read_as_c_reads_them() {
        let good =
            [("0", 0.0), ("5", 5.0), (".5", 0.5), ("1.", 1.0), (" 1e3", 1000.0), ("+.5", 0.5), ("-1", -1.0)];
        for (text, number) in good {
            assert_eq!(seconds(text.as_ref()), Some(number), "{text}");
        }
        for text in ["", " ", ".", "1e", "0,5", "1s", "1 ", "x"] {
            assert_eq!(seconds(text.as_ref()), None, "{text}");
        }
    }
}
