//! A text with some of its pieces replaced, in one pass.

use super::lines::is_break;

/// What takes the place of the bytes from `start` to `end`.
struct Splice {
    start: usize,
    end: usize,
    text: String,
    /// Whether the new text consists of whole lines, so that it must start on a line of its own.
    lines: bool,
}

/// Pieces to be replaced. Of those that start at the same place, the one that was added first comes first.
#[derive(Default)]
pub(super) struct Splices(Vec<Splice>);

impl Splices {
    pub(super) fn replace(&mut self, start: usize, end: usize, text: impl Into<String>) {
        self.0.push(Splice { start, end: end.max(start), text: text.into(), lines: false });
    }

    pub(super) fn remove(&mut self, start: usize, end: usize) {
        self.replace(start, end, "");
    }

    pub(super) fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at, at, text);
    }

    pub(super) fn insert_lines(&mut self, at: usize, text: impl Into<String>) {
        self.0.push(Splice { start: at, end: at, text: text.into(), lines: true });
    }

    /// The text with everything replaced. Pieces may overlap if all but one are removed.
    pub(super) fn apply(mut self, text: &str, newline: &str) -> String {
        self.0.sort_by_key(|splice| splice.start);
        let mut out = String::with_capacity(text.len() + self.0.iter().map(|s| s.text.len()).sum::<usize>());
        let mut at = 0;
        for splice in self.0 {
            if splice.start > at {
                out.push_str(&text[at..splice.start]);
                at = splice.start;
            }
            let at_line =
                out.is_empty() || out == "\u{feff}" || out.as_bytes().last().is_some_and(|b| is_break(*b));
            if splice.lines && !at_line {
                out.push_str(newline);
            }
            out.push_str(&splice.text);
            at = at.max(splice.end);
        }
        out.push_str(&text[at..]);
        out
    }
}
