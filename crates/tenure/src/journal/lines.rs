//! A file's lines, one after the other, in memory that does not grow with the file.

use std::sync::Arc;

use crate::host::{Host, Result};

/// How much is read at a time: little at first, since most looks at a journal are at its last lines.
const CHUNK: std::ops::RangeInclusive<usize> = 8 * 1024..=256 * 1024;

/// What stands at one place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line, without its end.
    Whole { at: u64, text: &'a [u8] },
    /// What stands behind the last line end; not empty.
    Open { at: u64, size: u64 },
    /// A line longer than asked for, of which the beginning was read.
    Long { at: u64 },
}

/// Reads a file from some place on.
pub(super) struct Lines<H: Host> {
    host: H,
    file: Arc<H::File>,
    buffer: Vec<u8>,
    /// What of the buffer is filled and not yet given out.
    filled: std::ops::Range<usize>,
    /// Where in the file the first of it stands.
    at: u64,
    longest: usize,
}

impl<H: Host> Lines<H> {
    /// Lines longer than `longest` bytes are not given out.
    pub(super) fn from(host: &H, file: &Arc<H::File>, at: u64, longest: usize) -> Lines<H> {
        Lines { host: host.clone(), file: file.clone(), buffer: Vec::new(), filled: 0..0, at, longest }
    }

    /// Reads again from `at` on, also what was read before.
    pub(super) fn rewind(&mut self, at: u64) {
        (self.at, self.filled) = (at, 0..0);
    }

    /// Goes back to `at`, where a line begins that was given out, without reading it again if it is still at hand.
    pub(super) fn back(&mut self, at: u64) {
        let by = usize::try_from(self.at - at).unwrap_or(usize::MAX);
        if by <= self.filled.start {
            (self.at, self.filled.start) = (at, self.filled.start - by);
        } else {
            self.rewind(at);
        }
    }

    /// Where the next line begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next line; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        let mut looked = 0;
        loop {
            let unread = &self.buffer[self.filled.clone()];
            if let Some(length) = memchr::memchr(b'\n', &unread[looked..]) {
                let (start, at) = (self.filled.start, self.at);
                let end = start + looked + length;
                self.consume(end + 1 - start);
                let long = end - start > self.longest;
                let text = &self.buffer[start..end];
                return Ok(Some(if long { Line::Long { at } } else { Line::Whole { at, text } }));
            }
            looked = unread.len();
            if looked > self.longest {
                return self.skip().map(Some);
            }
            if !self.fill()? {
                let (at, size) = (self.at, looked as u64);
                self.consume(looked);
                return Ok((size > 0).then_some(Line::Open { at, size }));
            }
        }
    }

    /// Passes over the rest of a line that is too long.
    fn skip(&mut self) -> Result<Line<'_>> {
        let at = self.at;
        loop {
            let unread = &self.buffer[self.filled.clone()];
            if let Some(length) = memchr::memchr(b'\n', unread) {
                self.consume(length + 1);
                return Ok(Line::Long { at });
            }
            self.consume(self.filled.len());
            if !self.fill()? {
                return Ok(Line::Open { at, size: self.at - at });
            }
        }
    }

    fn consume(&mut self, length: usize) {
        self.filled.start += length;
        self.at += length as u64;
    }

    /// Reads more behind what is there; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        let kept = self.filled.len();
        self.buffer.copy_within(self.filled.clone(), 0);
        let room = (self.buffer.len() * 4).clamp(*CHUNK.start(), *CHUNK.end()).max(kept * 2);
        if self.buffer.is_empty() {
            // Zeroed by the kernel, and only as far as something is read.
            self.buffer = vec![0; room];
        } else if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        self.filled = 0..kept;
        let read = self.host.read_at(&self.file, self.at + kept as u64, &mut self.buffer[kept..])?;
        self.filled.end += read;
        Ok(read > 0)
    }
}
