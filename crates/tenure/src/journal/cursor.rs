//! Where a reader stands, as text.

use std::fmt;
use std::str::FromStr;

use super::record::{hexadecimal, number};
use crate::host::FileId;

/// A place between two records of a journal, to go on reading from: a short text without blanks ([`fmt::Display`],
/// [`FromStr`]), to be kept wherever the reader keeps what it has done.
///
/// It holds good across rotation, and in the checked format across repair, stamps and resets, too. In the plain format, whose
/// lines have no numbers, it names a file, a place behind its header, and the checksum of the header and of the line before
/// that place: behind a new stamp nobody can tell what was read before, so the whole file is read again, and the reader is
/// told so ([`Missed`](super::Missed)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub(super) Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Behind the record with this sequence, whose sum was this.
    Checked { journal: u64, sequence: u64, sum: u32 },
    /// So far behind the header of this file; the last line's sum was this.
    Plain { file: FileId, offset: u64, sum: u32 },
}

impl Cursor {
    /// The sequence of the last record before it; `None` in the plain format, whose records have none.
    pub fn sequence(&self) -> Option<u64> {
        match self.0 {
            Place::Checked { sequence, .. } => Some(sequence),
            Place::Plain { .. } => None,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Checked { journal, sequence, sum } => write!(f, "{journal:016x}.{sequence}.{sum:08x}"),
            Place::Plain { file, offset, sum } => {
                write!(f, "plain.{}.{}.{offset}.{sum:08x}", file.device, file.inode)
            }
        }
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACursor;

impl fmt::Display for NotACursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a cursor: one looks like 4f1c9a2be07d5533.17.9ae0daaf, as an append or a reader gives it",
        )
    }
}

impl std::error::Error for NotACursor {}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Cursor, NotACursor> {
        let parts: Vec<&[u8]> = text.split('.').map(str::as_bytes).collect();
        let place = match parts[..] {
            [b"plain", device, inode, offset, sum] => {
                number(device).zip(number(inode)).and_then(|(device, inode)| {
                    let (offset, sum) = (number(offset)?, u32::try_from(hexadecimal(sum, 8)?).ok()?);
                    Some(Place::Plain { file: FileId { device, inode }, offset, sum })
                })
            }
            [journal, sequence, sum] => hexadecimal(journal, 16).and_then(|journal| {
                let (sequence, sum) = (number(sequence)?, u32::try_from(hexadecimal(sum, 8)?).ok()?);
                Some(Place::Checked { journal, sequence, sum })
            }),
            _ => None,
        };
        place.map(Cursor).ok_or(NotACursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_print_and_parse() {
        let checked = Place::Checked { journal: 0x4f1c_9a2b_e07d_5533, sequence: 17, sum: 0x9ae0_daaf };
        let file = FileId { device: 65024, inode: 12 };
        for (place, text) in [
            (checked, "4f1c9a2be07d5533.17.9ae0daaf"),
            (Place::Plain { file, offset: 0, sum: 1 }, "plain.65024.12.0.00000001"),
        ] {
            assert_eq!(Cursor(place).to_string(), text);
            assert_eq!(text.parse(), Ok(Cursor(place)));
        }
        for text in
            ["", "17", "4f1c9a2be07d5533.17", "4f1c9a2be07d5533.017.9ae0daaf", "4F1C9A2BE07D5533.17.9ae0daaf"]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
    }
}
