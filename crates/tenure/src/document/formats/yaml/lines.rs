//! The lines of a YAML text, and what stands between its values.
//!
//! Between values are only blanks, comments and indicators, so that a `#` there always starts a comment.

pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";

#[derive(Clone, Copy)]
pub(super) struct Lines<'t> {
    text: &'t str,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Lines<'t> {
        Lines { text }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The end of the byte order mark.
    pub(super) fn body_start(&self) -> usize {
        if self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
    }

    /// Where a marker `...` ends a document that has no value, or the end of the text.
    pub(super) fn first_document_end(&self) -> usize {
        let mut at = self.body_start();
        while at < self.text.len() && !self.text[at..].starts_with("...") {
            at = self.next(at + 1).max(at + 1);
        }
        at.min(self.text.len())
    }

    /// Behind the markers `...` that may stand above a document, from `at` on.
    pub(super) fn behind_ends(&self, mut at: usize) -> usize {
        loop {
            let next = self.skip(at);
            if self.word(next) != "..." || self.column(next) > 0 {
                return at;
            }
            at = next + "...".len();
        }
    }

    /// How the text ends its lines.
    pub(super) fn newline(&self) -> &'static str {
        match self.text.find(['\n', '\r']) {
            Some(at) if self.text[at..].starts_with("\r\n") => "\r\n",
            Some(at) if self.byte(at) == Some(b'\r') => "\r",
            _ => "\n",
        }
    }

    pub(super) fn start(&self, at: usize) -> usize {
        let found = self.text.as_bytes()[..at].iter().rposition(|byte| is_break(*byte));
        found.map_or_else(|| self.body_start().min(at), |at| at + 1)
    }

    /// The start of the line before the one that starts at `at`.
    pub(super) fn previous(&self, at: usize) -> usize {
        let at = at.saturating_sub(1);
        let within_pair = self.byte(at) == Some(b'\n') && at > 0 && self.byte(at - 1) == Some(b'\r');
        self.start(if within_pair { at - 1 } else { at })
    }

    /// The end of the line, without its break.
    pub(super) fn end(&self, at: usize) -> usize {
        let found = self.text.as_bytes()[at..].iter().position(|byte| is_break(*byte));
        found.map_or(self.text.len(), |found| at + found)
    }

    /// The start of the first line that starts at `at` or behind it.
    pub(super) fn next(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        if at > 0 && is_break(self.text.as_bytes()[at - 1]) && !self.text[at - 1..].starts_with("\r\n") {
            return at;
        }
        let end = self.end(at);
        end + if self.text[end..].starts_with("\r\n") { 2 } else { usize::from(end < self.text.len()) }
    }

    /// What stands on the line before `at`.
    pub(super) fn before(&self, at: usize) -> &'t str {
        &self.text[self.start(at)..at]
    }

    pub(super) fn column(&self, at: usize) -> usize {
        self.before(at).trim_start_matches(BYTE_ORDER_MARK).len()
    }

    /// The start of blanks that end at `at`.
    pub(super) fn trim(&self, at: usize) -> usize {
        self.text[..at].trim_end_matches([' ', '\t']).len()
    }

    pub(super) fn is_blank_before(&self, at: usize) -> bool {
        let trimmed = self.trim(at);
        trimmed <= self.body_start() || is_break(self.text.as_bytes()[trimmed - 1])
    }

    /// The first byte at `at` or behind it that is no blank.
    pub(super) fn skip_blanks(&self, at: usize) -> usize {
        self.text.len() - self.text[at..].trim_start_matches([' ', '\t']).len()
    }

    fn is_over(&self, at: usize) -> bool {
        self.byte(at).is_none_or(is_break)
    }

    /// Whether the rest of the line is blank.
    pub(super) fn is_blank(&self, at: usize) -> bool {
        self.is_over(self.skip_blanks(at))
    }

    /// How far the line that starts at `at` is indented, and what it is.
    fn line(&self, at: usize) -> (usize, Line) {
        let text = self.skip_blanks(at);
        let kind = match self.byte(text) {
            Some(b'#') => Line::Comment,
            _ if self.is_over(text) => Line::Blank,
            _ => Line::Other,
        };
        (text - at, kind)
    }

    pub(super) fn is_blank_up_to(&self, at: usize, column: usize) -> bool {
        matches!(self.line(at), (indent, Line::Blank) if indent <= column)
    }

    /// The end of comment lines from `at` on that are indented by more than `column`, with the blank lines between. A
    /// blank line of so many blanks counts as a comment: it could become part of a block scalar too.
    pub(super) fn deeper_comments(&self, at: usize, column: usize) -> usize {
        let (mut end, mut at) = (at, at);
        while at < self.text.len() {
            let (indent, kind) = self.line(at);
            at = self.next(at + 1);
            match kind {
                Line::Blank | Line::Comment if indent > column => end = at,
                Line::Blank => {}
                _ => return end,
            }
        }
        end
    }

    /// The end of blank lines from `at` on.
    pub(super) fn blank_lines(&self, mut at: usize) -> usize {
        while at < self.text.len() && self.is_blank(at) {
            at = self.next(at + 1);
        }
        at
    }

    /// The start of the comment lines directly above the line at `line`, not above `bound` and none that is
    /// indented by more than `column`.
    pub(super) fn comments_above(&self, line: usize, bound: usize, column: usize) -> usize {
        let mut first = line;
        while first > bound {
            let above = self.previous(first);
            match self.line(above) {
                (indent, Line::Comment) if indent <= column && above >= bound => first = above,
                _ => break,
            }
        }
        first
    }

    /// Whether a block scalar with its content at `column`, written before the line at `at`, would take a comment or a
    /// blank line for its own.
    pub(super) fn would_swallow(&self, at: usize, column: usize) -> bool {
        let mut at = at;
        while at < self.text.len() {
            match self.line(at) {
                (indent, Line::Blank) if indent <= column => at = self.next(at + 1),
                (_, Line::Blank) => return true,
                (indent, Line::Comment) => return indent >= column,
                (_, Line::Other) => return false,
            }
        }
        false
    }

    /// The first byte at `at` or behind it that belongs neither to blanks, breaks nor comments.
    pub(super) fn skip(&self, mut at: usize) -> usize {
        while let Some(byte) = self.byte(at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => at += 1,
                b'#' => at = self.end(at),
                _ => break,
            }
        }
        at
    }

    /// The text from `at` to the next blank.
    pub(super) fn word(&self, at: usize) -> &'t str {
        let rest = &self.text[at..];
        &rest[..rest.find([' ', '\t', '\n', '\r']).unwrap_or(rest.len())]
    }
}

/// What a line that no value stands on can be, or that one does.
enum Line {
    Blank,
    Comment,
    Other,
}

pub(super) fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}
