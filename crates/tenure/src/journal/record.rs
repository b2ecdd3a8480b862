//! The checked format's lines (pure).
//!
//! ```text
//! # tenure-journal 1 4f1c9a2be07d5533 1 17 b7dc518b       magic and version, journal, first, base, sum
//! e68be2de 17 1/1 16 deploy started                       sum, sequence, place/of, synced through, payload
//! 22682768 18 1/2 17 two lines\nin one record
//! 3f91353c 19 2/2= 17 a stamp                             `=`: the record is a stamp
//! ```
//!
//! A sum is the CRC-32C (iSCSI, Castagnoli) of the journal's number, eight bytes with the highest first, and of the line
//! behind the sum and its blank; the header's, of the line up to the blank before the sum. Numbers are decimal without
//! leading zeros, sums and the journal's number are lower-case hexadecimal of full width: one meaning, one text.
//!
//! A payload is escaped so that a record is one line of UTF-8 text: `\n`, `\r`, `\t`, `\\`, and `\xHH` for other control
//! characters and for bytes that are not UTF-8.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

/// How every header begins.
pub(super) const MAGIC: &str = "# tenure-journal ";

/// The version of the format that is read and written here.
const VERSION: &str = "1";

/// The longest line of an empty payload: the sum, the sequence, place and number of two to the 32 records at most, the mark
/// of a stamp, the sequence that was synced, and the blanks between.
pub(super) const FRAME_MAX: usize = 8 + 1 + 20 + 1 + 22 + 1 + 20 + 1;

/// Text of one byte of payload at most: `\xHH`.
pub(super) const ESCAPE_MAX: usize = 4;

/// The first line of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Header {
    /// Which journal this is a part of.
    pub(super) journal: u64,
    /// The first sequence of the journal that still counts; what stands before it, in other segments, was reset.
    pub(super) first: u64,
    /// The sequence of this segment's first record.
    pub(super) base: u64,
}

impl Header {
    pub(super) fn line(&self) -> Vec<u8> {
        let Header { journal, first, base } = self;
        let text = format!("{MAGIC}{VERSION} {journal:016x} {first} {base}");
        let sum = crc32c::crc32c(text.as_bytes());
        format!("{text} {sum:08x}\n").into_bytes()
    }

    /// Reads a line without its end.
    ///
    /// # Errors
    ///
    /// A sentence on what the line is instead.
    pub(super) fn parse(line: &[u8]) -> Result<Header, String> {
        let text = std::str::from_utf8(line).ok().filter(|text| text.starts_with(MAGIC));
        let text = text.ok_or("the file does not begin with the header of a journal")?;
        let (rest, sum) = text.rsplit_once(' ').unwrap_or((text, ""));
        let mut fields = rest[MAGIC.len().min(rest.len())..].split(' ');
        let version = fields.next().unwrap_or_default();
        if version != VERSION && number(version.as_bytes()).is_some() {
            return Err(format!("the journal is of version {version}, which this program does not know"));
        }
        let journal = fields.next().and_then(|text| hexadecimal(text.as_bytes(), 16));
        let mut next = || fields.next().and_then(|text| number(text.as_bytes()));
        let (first, base) = (next(), next());
        let right = hexadecimal(sum.as_bytes(), 8) == Some(crc32c::crc32c(rest.as_bytes()).into());
        match (journal, first, base, fields.next()) {
            (Some(journal), Some(first), Some(base), None) if right && first >= 1 && base >= first => {
                Ok(Header { journal, first, base })
            }
            _ => Err("the journal's header is damaged".to_owned()),
        }
    }
}

/// Where a record stands in its batch, `place` of `of`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) place: u32,
    pub(super) of: u32,
}

impl Part {
    pub(super) const WHOLE: Part = Part { place: 1, of: 1 };

    pub(super) fn begins(self) -> bool {
        self.place == 1
    }

    pub(super) fn ends(self) -> bool {
        self.place == self.of
    }
}

/// A record as it stands in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) sequence: u64,
    pub(super) part: Part,
    pub(super) is_stamp: bool,
    /// The last sequence that was known to be synced when this was written.
    pub(super) synced: u64,
    pub(super) sum: u32,
    /// The payload, escaped.
    pub(super) text: &'a [u8],
}

/// Why a line is not the record that belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It has not the form of a record.
    Form,
    /// Its sum is another's.
    Sum,
    /// It is longer than any record.
    Long,
    /// It is a record, but not of this place.
    Order(u64),
    /// It is a record in the middle of a batch whose beginning is not there, or of a batch without an end.
    Batch,
    /// The file ends in it.
    Torn,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Form => f.write_str("a line that is no record"),
            Flaw::Sum => f.write_str("a record whose checksum is wrong"),
            Flaw::Long => f.write_str("a line longer than any record"),
            Flaw::Order(found) => write!(f, "record {found}, which does not belong here"),
            Flaw::Batch => f.write_str("a batch that is not whole"),
            Flaw::Torn => f.write_str("a record that was not written to its end"),
        }
    }
}

/// Writes a record's line behind `out` and returns its sum.
pub(super) fn encode(
    out: &mut Vec<u8>,
    seed: u32,
    sequence: u64,
    part: Part,
    is_stamp: bool,
    synced: u64,
    payload: &[u8],
) -> u32 {
    let start = out.len();
    let Part { place, of } = part;
    let mark = if is_stamp { "=" } else { "" };
    write!(out, "00000000 {sequence} {place}/{of}{mark} {synced} ").expect("a vector takes what it is given");
    escape(payload, out);
    let sum = crc32c::crc32c_append(seed, &out[start + 9..]);
    let digits = format!("{sum:08x}");
    out[start..start + 8].copy_from_slice(digits.as_bytes());
    out.push(b'\n');
    sum
}

/// Reads a line without its end.
pub(super) fn parse(line: &[u8], seed: u32) -> Result<Entry<'_>, Flaw> {
    let (found, rest) = line.split_at_checked(9).ok_or(Flaw::Form)?;
    let found = found.strip_suffix(b" ").and_then(|digits| hexadecimal(digits, 8)).ok_or(Flaw::Form)?;
    let sum = crc32c::crc32c_append(seed, rest);
    if found != u64::from(sum) {
        return Err(Flaw::Sum);
    }
    let entry = || {
        let (sequence, rest) = number_before(rest, b' ')?;
        let (place, rest) = number_before(rest, b'/')?;
        let (of, rest) = number_at(rest)?;
        let (is_stamp, rest) = match rest.strip_prefix(b"=") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (synced, text) = number_before(rest.strip_prefix(b" ")?, b' ')?;
        let part = Part { place: u32::try_from(place).ok()?, of: u32::try_from(of).ok()? };
        // What was synced stands before the whole batch, which stands in one write.
        let before_batch = sequence.checked_sub(place)?;
        let is_record = (1..=of).contains(&place) && synced <= before_batch && unescape(text).is_some();
        is_record.then_some(Entry { sequence, part, is_stamp, synced, sum, text })
    };
    // The last number of all has none behind it.
    entry().filter(|entry| entry.sequence < u64::MAX).ok_or(Flaw::Form)
}

/// What the sums of a journal's records begin with.
pub(super) fn seed(journal: u64) -> u32 {
    crc32c::crc32c(&journal.to_be_bytes())
}

/// The number that `text` begins with, and what stands behind it.
fn number_at(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(length);
    Some((number(digits)?, rest))
}

/// The number that `text` begins with, and what stands behind it and the byte after it, which must be this.
fn number_before(text: &[u8], end: u8) -> Option<(u64, &[u8])> {
    let (number, rest) = number_at(text)?;
    rest.split_first().filter(|(byte, _)| **byte == end).map(|(_, rest)| (number, rest))
}

/// A decimal number as this format writes it.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 1 && text[0] == b'0' {
        return None;
    }
    text.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A number of so many lower-case hexadecimal digits.
pub(super) fn hexadecimal(text: &[u8], width: usize) -> Option<u64> {
    if text.len() != width {
        return None;
    }
    text.iter().try_fold(0_u64, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

/// Writes a payload as text of one line.
pub(super) fn escape(payload: &[u8], out: &mut Vec<u8>) {
    for chunk in payload.utf8_chunks() {
        let text = chunk.valid().as_bytes();
        let mut plain = 0;
        for (at, byte) in text.iter().enumerate() {
            // The second half of a control character U+0080 to U+009F; its first is no character by itself.
            let is_c1 = matches!(byte, 0x80..=0x9f) && at > 0 && text[at - 1] == 0xc2;
            if !(byte.is_ascii_control() || *byte == b'\\' || is_c1) {
                continue;
            }
            out.extend_from_slice(&text[plain..at - usize::from(is_c1)]);
            plain = at + 1;
            match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                _ if is_c1 => numeric(&text[at - 1..=at], out),
                _ => numeric(&text[at..=at], out),
            }
        }
        out.extend_from_slice(&text[plain..]);
        numeric(chunk.invalid(), out);
    }
}

fn numeric(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        write!(out, "\\x{byte:02x}").expect("a vector takes what it is given");
    }
}

/// The payload that [`escape`] wrote; `None` if it can't have written this.
pub(super) fn unescape(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'\\', text) else { return Some(Cow::Borrowed(text)) };
    let mut payload = Vec::with_capacity(text.len());
    let (mut plain, mut escape) = (0, Some(first));
    while let Some(at) = escape {
        payload.extend_from_slice(&text[plain..at]);
        let (byte, length) = match text.get(at + 1)? {
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'\\' => (b'\\', 2),
            b'x' => (u8::try_from(hexadecimal(text.get(at + 2..at + 4)?, 2)?).ok()?, 4),
            _ => return None,
        };
        payload.push(byte);
        plain = at + length;
        escape = memchr::memchr(b'\\', &text[plain..]).map(|next| plain + next);
    }
    payload.extend_from_slice(&text[plain..]);
    Some(Cow::Owned(payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JOURNAL: u64 = 0x4f1c_9a2b_e07d_5533;

    fn line(sequence: u64, part: Part, is_stamp: bool, synced: u64, payload: &[u8]) -> String {
        let mut out = Vec::new();
        encode(&mut out, seed(JOURNAL), sequence, part, is_stamp, synced, payload);
        String::from_utf8(out).unwrap()
    }

    /// These stand in docs/formats.md, too.
    #[test]
    fn the_vectors_hold() {
        let header = Header { journal: JOURNAL, first: 1, base: 17 };
        let text = "# tenure-journal 1 4f1c9a2be07d5533 1 17 b7dc518b\n";
        assert_eq!(String::from_utf8(header.line()).unwrap(), text);
        assert_eq!(Header::parse(text.trim_end().as_bytes()), Ok(header));
        let two = |place| Part { place, of: 2 };
        let lines = [
            (line(17, Part::WHOLE, false, 16, b"deploy started"), "17 1/1 16 deploy started"),
            (line(18, two(1), false, 17, b"a\nb\\\x07\xff"), r"18 1/2 17 a\nb\\\x07\xff"),
            (line(19, two(2), true, 17, "fin\u{85}i é".as_bytes()), r"19 2/2= 17 fin\xc2\x85i é"),
            (line(20, Part::WHOLE, false, 19, b""), "20 1/1 19 "),
        ];
        let sums = ["e68be2de", "6f535835", "7f864bec", "f4325e9c"];
        for ((line, text), sum) in lines.iter().zip(sums) {
            assert_eq!(line, &format!("{sum} {text}\n"));
        }
    }

    #[test]
    fn one_meaning_has_one_text() {
        for text in ["", "x", "00000000 1 1/1 0 a", "e68be2de 17 1/1 16 deploy starteD"] {
            assert!(parse(text.as_bytes(), seed(JOURNAL)).is_err(), "{text}");
        }
        let right = line(17, Part::WHOLE, false, 16, b"deploy started");
        assert_eq!(
            parse(right.trim_end().as_bytes(), seed(JOURNAL + 1)),
            Err(Flaw::Sum),
            "of another journal"
        );
        for (wrong, number_of) in [("017", 17), ("+17", 17), ("", 0), ("18446744073709551616", 0)] {
            assert_eq!(number(wrong.as_bytes()), None, "{number_of}");
        }
        for part in ["0/1", "2/1", "1/0", "1", "1/1==", "1/01"] {
            let body = format!("1 {part} 0 x");
            let text = format!("{:08x} {body}", crc32c::crc32c_append(seed(JOURNAL), body.as_bytes()));
            assert_eq!(parse(text.as_bytes(), seed(JOURNAL)), Err(Flaw::Form), "{part}");
        }
        for (body, is_right) in [
            ("0 1/1 0 x", false),
            ("1 2/2 0 x", false),
            ("7 1/1 6 x", true),
            ("7 1/1 7 x", false),
            ("7 3/3 4 x", true),
            ("7 3/3 5 x", false),
        ] {
            let text = format!("{:08x} {body}", crc32c::crc32c_append(seed(JOURNAL), body.as_bytes()));
            assert_eq!(parse(text.as_bytes(), seed(JOURNAL)).is_ok(), is_right, "{body}");
        }
        for text in [r"\", r"\q", r"\x4", r"\xG0", r"\X41"] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_header_says_what_is_wrong() {
        let right = String::from_utf8(Header { journal: 1, first: 2, base: 3 }.line()).unwrap();
        let table = [
            ("{}", "does not begin"),
            ("", "does not begin"),
            ("# tenure-journal 2 anything", "version 2"),
            ("# tenure-journal 1", "damaged"),
            ("# tenure-journal ", "damaged"),
            (&right.trim_end().replace(" 3 ", " 4 "), "damaged"),
        ];
        for (line, problem) in table {
            let found = Header::parse(line.as_bytes()).unwrap_err();
            assert!(found.contains(problem), "{line:?}: {found}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            payload: Vec<u8>,
            before in 0..u64::MAX - u64::from(u32::MAX),
            synced: u64,
            of in 1..u32::MAX,
            is_stamp: bool,
        ) {
            let mut out = Vec::new();
            let part = Part { place: of.div_ceil(2), of };
            let (sequence, synced) = (before + u64::from(part.place), synced.min(before));
            let sum = encode(&mut out, seed(JOURNAL), sequence, part, is_stamp, synced, &payload);
            prop_assert_eq!(out.pop(), Some(b'\n'));
            prop_assert!(std::str::from_utf8(&out).is_ok_and(|text| !text.contains(char::is_control)));
            prop_assert!(out.len() <= FRAME_MAX + payload.len() * ESCAPE_MAX);
            let entry = parse(&out, seed(JOURNAL)).unwrap();
            prop_assert_eq!((entry.sequence, entry.part, entry.is_stamp), (sequence, part, is_stamp));
            prop_assert_eq!((entry.synced, entry.sum), (synced, sum));
            prop_assert_eq!(&*unescape(entry.text).unwrap(), &payload[..]);
        }

        #[test]
        fn a_changed_byte_shows(payload: Vec<u8>, at: prop::sample::Index, to: u8) {
            let mut out = Vec::new();
            encode(&mut out, seed(JOURNAL), 7, Part::WHOLE, false, 6, &payload);
            out.pop();
            let at = at.index(out.len());
            prop_assume!(out[at] != to);
            out[at] = to;
            prop_assert!(parse(&out, seed(JOURNAL)).is_err());
        }
    }
}
