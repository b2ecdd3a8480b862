//! A journal's files: the one that is written, and those before it, numbered in the order of their rotation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Format;
use super::lines::{Line, Lines};
use super::record::{self, ESCAPE_MAX, Entry, FRAME_MAX, Flaw, Header, Part};
use crate::error::{Error, Result};
use crate::host::{Errno, FileId, FileKind, Host, Open, directory_of};

/// The longest payload that the format has room for, in bytes; the limit for a journal is an option.
pub(super) const PAYLOAD_MAX: usize = 16 * 1024 * 1024;

/// The longest line of that.
pub(super) const LINE_MAX: usize = FRAME_MAX + PAYLOAD_MAX * ESCAPE_MAX;

/// How many digits the number of a segment has at least, so that names sort for a while.
const DIGITS: usize = 6;

/// What the first line of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Checked(Header),
    /// What stands behind the header's fixed part, if there is a header.
    Plain(Option<Vec<u8>>),
}

/// An open file of a journal.
pub(super) struct Segment<H: Host> {
    pub(super) path: PathBuf,
    /// Shared with the threads that sync it.
    pub(super) file: Arc<H::File>,
    pub(super) id: FileId,
    pub(super) head: Head,
    /// Where the records begin.
    pub(super) body: u64,
    /// What the sums of its records begin with.
    pub(super) seed: u32,
}

impl<H: Host> Segment<H> {
    pub(super) fn of(path: PathBuf, file: Arc<H::File>, id: FileId, head: Head, body: u64) -> Segment<H> {
        let seed = match &head {
            Head::Checked(header) => record::seed(header.journal),
            Head::Plain(stamp) => crc32c::crc32c(stamp.as_deref().unwrap_or_default()),
        };
        Segment { path, file, id, head, body, seed }
    }

    /// Opens a file of a journal; `None` if there is none, or an empty one that is yet to become one.
    ///
    /// # Errors
    ///
    /// [`Error::is_corrupt`] if it does not begin as a journal does.
    pub(super) fn open(host: &H, path: &Path, format: &Format, how: Open) -> Result<Option<Segment<H>>> {
        let fail = |errno| Error::host("read the journal", path, errno);
        let file = match host.open(path, how) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(fail)?,
        };
        let stat = host.stat_file(&file).map_err(fail)?;
        if stat.kind != FileKind::Regular {
            return Err(Error::unsupported(path, "is not a regular file, so it can't be a journal"));
        }
        let file = Arc::new(file);
        let mut lines = Lines::from(host, &file, 0, LINE_MAX);
        let first = match lines.next().map_err(fail)? {
            Some(Line::Whole { text, .. }) => Some(text.to_owned()),
            None if matches!(format, Format::Checked) => return Ok(None),
            None | Some(Line::Open { .. } | Line::Long { .. }) => None,
        };
        let behind = lines.at();
        let (head, body) = match format {
            Format::Checked => {
                let header = Header::parse(first.as_deref().unwrap_or_default());
                let problem = "For a file that other programs write, use the plain format";
                let header =
                    header.map_err(|what| Error::corrupt(path, format!("{what} (line 1). {problem}")))?;
                (Head::Checked(header), behind)
            }
            Format::Plain { header } => {
                let prefix = header.as_deref();
                match prefix.and_then(|prefix| first.as_deref()?.strip_prefix(prefix.as_bytes())) {
                    Some(stamp) => (Head::Plain(Some(stamp.to_owned())), behind),
                    None => (Head::Plain(None), 0),
                }
            }
        };
        Ok(Some(Segment::of(path.to_owned(), file, stat.id, head, body)))
    }

    /// The sequence of its first record; lines of the plain format are counted from 1.
    pub(super) fn base(&self) -> u64 {
        match &self.head {
            Head::Checked(header) => header.base,
            Head::Plain(_) => 1,
        }
    }

    /// Reads a line where the record with the sequence `next` is expected.
    pub(super) fn parse<'a>(
        &self,
        line: &'a [u8],
        next: Option<u64>,
    ) -> std::result::Result<Entry<'a>, Flaw> {
        match &self.head {
            Head::Checked(_) => record::parse(line, self.seed),
            Head::Plain(_) => Ok(Entry {
                sequence: next.unwrap_or(1),
                part: Part::WHOLE,
                is_stamp: false,
                synced: 0,
                sum: crc32c::crc32c_append(self.seed, line),
                text: line,
            }),
        }
    }

    pub(super) fn is_checked(&self) -> bool {
        matches!(self.head, Head::Checked(_))
    }
}

/// The segments that were rotated away, oldest first, but for `active`, which stands there under a second name in the middle
/// of a rotation.
pub(super) fn rotated<H: Host>(host: &H, path: &Path, active: Option<FileId>) -> Result<Vec<(u64, PathBuf)>> {
    let directory = directory_of(path);
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    let names = host.list(&directory, &prefix);
    let names = names.map_err(|errno| Error::host("list the directory of the journal", path, errno))?;
    let mut found = Vec::new();
    for name in names {
        let digits = &name.as_encoded_bytes()[prefix.len()..];
        if digits.len() < DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let path = path.with_file_name(&name);
        let is_active = || active.is_some() && host.stat(&path).is_ok_and(|stat| Some(stat.id) == active);
        if let Some(number) = number
            && !is_active()
        {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The name of a segment that is rotated away.
pub(super) fn numbered(path: &Path, number: u64) -> PathBuf {
    crate::target::beside(path, &format!(".{number:0DIGITS$}"))
}
