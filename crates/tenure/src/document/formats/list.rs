//! The text of a list in brackets, taken apart and put together again.
//!
//! Of a list that is edited, the text is cut into what stands before each element (its *lead*: blanks, line ends,
//! comments), the element, and what follows on its line. Elements are dropped, added or replaced, and the pieces are put
//! together, with commas where they belong. All other text is copied, so the time is linear, however many edits there
//! are.
//!
//! A removed element takes the comment on its line with it, and those on the lines directly above it. Comments that a
//! blank line separates from it stay.

use std::borrow::Cow;

/// How comments look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comments {
    /// `// ...` and `/* ... */`.
    Slashes,
    /// `# ...`.
    Hash,
}

/// The manner of the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'t> {
    pub(super) comments: Comments,
    /// Whether what comes into an empty list gets lines of its own.
    pub(super) on_lines: bool,
    /// Whether a blank follows a comma on one line.
    pub(super) spaced: bool,
    /// What each level is indented by.
    pub(super) unit: &'t str,
    pub(super) line_end: &'t str,
}

/// What is done to one element.
pub(super) enum Step {
    Remove,
    /// This text comes before the element, or behind the last.
    Insert(String),
    /// The element gets this text.
    Change(String),
}

/// A list, taken apart.
pub(super) struct Pieces<'t> {
    manner: Manner<'t>,
    brackets: [&'t str; 2],
    /// What follows the opening bracket on its line.
    head: &'t str,
    entries: Vec<Entry<'t>>,
    /// Whether a comma follows the last element.
    last_comma: bool,
    /// What stands before the closing bracket.
    end: Cow<'t, str>,
    /// The indentation of the line in which the list begins.
    outer: String,
    /// The indentation of the elements, `None` if they stand on one line.
    inner: Option<String>,
}

/// An element with what belongs to it.
struct Entry<'t> {
    lead: Cow<'t, str>,
    body: Cow<'t, str>,
    /// Comments between the element and its comma.
    after: &'t str,
    /// The rest of the line.
    tail: &'t str,
}

impl<'t> Pieces<'t> {
    /// Takes `text[start..end]` apart, in which the elements stand at `places`.
    pub(super) fn take_apart(
        manner: Manner<'t>,
        text: &'t str,
        [start, end]: [usize; 2],
        places: &[(usize, usize)],
    ) -> Pieces<'t> {
        let (mut entries, mut from): (Vec<Entry<'t>>, usize) = (Vec::with_capacity(places.len()), start + 1);
        let mut head = "";
        for (first, last) in places {
            let gap = Gap::of(&text[from..*first], manner.comments);
            let (line, lead) = gap.at_line_end();
            match entries.last_mut() {
                Some(entry) => (entry.after, entry.tail) = (gap.before_comma(), line),
                None => head = line,
            }
            let (lead, body) = (Cow::Borrowed(lead), Cow::Borrowed(&text[*first..*last]));
            entries.push(Entry { lead, body, after: "", tail: "" });
            from = *last;
        }
        let gap = Gap::of(&text[from..end - 1], manner.comments);
        let last_comma = gap.comma.is_some();
        let (line, rest) = gap.at_line_end();
        let ends_line = last_comma || gap.line_end.is_some();
        // On one line, a comment behind the last element belongs to it, and the blank to the bracket.
        let (line, rest) = if ends_line { (line, rest) } else { rest.split_at(rest.trim_end().len()) };
        match entries.last_mut() {
            Some(entry) if ends_line => (entry.after, entry.tail) = (gap.before_comma(), line),
            Some(entry) => entry.after = line,
            None => head = line,
        }
        let is_broken = |text: &str| text.contains('\n');
        let on_lines =
            is_broken(head) || is_broken(rest) || entries.iter().any(|entry| is_broken(&entry.lead));
        let was_blank = entries.is_empty() && head.trim().is_empty() && rest.trim().is_empty();
        let on_lines = on_lines || (was_blank && manner.on_lines);
        let outer = if on_lines { line_indentation(&text[..start]) } else { "" }.to_owned();
        let inner = on_lines.then(|| {
            let known = entries.iter().find_map(|entry| Some(entry.lead.rsplit_once('\n')?.1));
            let known = known.filter(|indent| indent.trim().is_empty());
            known.map_or_else(|| format!("{outer}{}", manner.unit), str::to_owned)
        });
        let brackets = [&text[start..=start], &text[end - 1..end]];
        let mut pieces =
            Pieces { manner, brackets, head, entries, last_comma, end: Cow::Borrowed(rest), outer, inner };
        if pieces.entries.is_empty() && on_lines && was_blank {
            (pieces.head, pieces.end) = ("", Cow::Owned(pieces.line_end()));
        }
        pieces
    }

    /// The indentation of the elements, `None` if they stand on one line.
    pub(super) fn indent(&self) -> Option<&str> {
        self.inner.as_deref()
    }

    /// A line end and the indentation of the closing bracket.
    fn line_end(&self) -> String {
        format!("{}{}", self.manner.line_end, self.outer)
    }

    /// The list's text with the steps, which are in the order of the elements, carried out.
    pub(super) fn edited(mut self, steps: impl IntoIterator<Item = (usize, Step)>) -> String {
        let mut list = List::of(&self);
        if self.entries.is_empty() && self.inner.is_some() {
            // Comments in an empty list stand before what comes into it.
            let end = std::mem::take(&mut self.end);
            let (comments, last) = end.rsplit_once('\n').unwrap_or(("", &end));
            list.carried = comments.trim_end_matches('\r').to_owned();
            self.end = Cow::Owned(format!("{}{last}", self.manner.line_end));
        }
        let mut steps = steps.into_iter().peekable();
        for (index, entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            let mut entry = Some(entry);
            while let Some((_, step)) = steps.next_if(|(place, _)| *place == index) {
                match step {
                    Step::Insert(body) => list.insert(body),
                    Step::Remove => entry.take().iter().for_each(|entry| list.remove(entry)),
                    Step::Change(body) => {
                        entry.iter_mut().for_each(|entry| entry.body = Cow::Owned(body.clone()))
                    }
                }
            }
            entry.into_iter().for_each(|entry| list.keep(entry, index == 0));
        }
        for (_, step) in steps {
            if let Step::Insert(body) = step {
                list.insert(body);
            }
        }
        self.put_together(&list)
    }

    fn put_together(&self, list: &List<'_>) -> String {
        let mut out = String::from(self.brackets[0]);
        let left = [self.head, &list.carried, &self.end];
        if list.entries.is_empty() && left.iter().all(|text| text.trim().is_empty()) {
            return out + self.brackets[1];
        }
        out.push_str(self.head);
        for (index, entry) in list.entries.iter().enumerate() {
            out.push_str(&entry.lead);
            out.push_str(&entry.body);
            out.push_str(entry.after);
            if index + 1 < list.entries.len() || self.last_comma {
                out.push(',');
            }
            out.push_str(entry.tail);
        }
        out.push_str(&list.carried);
        // A comment must not swallow the bracket.
        let last_line = list.entries.last().map_or(self.head, |entry| entry.tail);
        let ends_in_comment = !(last_line.trim().is_empty() && list.carried.is_empty());
        let mut end: &str = &self.end;
        if !end.contains('\n') && ends_in_comment && self.inner.is_some() {
            out.push_str(&self.line_end());
            // Blanks that stood behind an element are no indentation.
            end = end.trim_start_matches([' ', '\t']);
        }
        out + end + self.brackets[1]
    }
}

/// The indentation of the last line of `text`.
fn line_indentation(text: &str) -> &str {
    let line = text.rsplit('\n').next().unwrap_or_default();
    &line[..line.len() - line.trim_start().len()]
}

impl Comments {
    /// What a comment begins with that ends with its line.
    fn to_line_end(self) -> &'static str {
        match self {
            Comments::Slashes => "//",
            Comments::Hash => "#",
        }
    }
}

/// What stands between two elements: blanks, comments and at most one comma.
struct Gap<'t> {
    text: &'t str,
    comma: Option<usize>,
    /// Where the first line end behind the comma is that ends no comment's inside.
    line_end: Option<usize>,
}

impl<'t> Gap<'t> {
    fn of(text: &'t str, comments: Comments) -> Gap<'t> {
        let mut gap = Gap { text, comma: None, line_end: None };
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            at += if rest.starts_with(comments.to_line_end()) {
                rest.find('\n').unwrap_or(rest.len())
            } else if comments == Comments::Slashes && rest.starts_with("/*") {
                // Not the star that begins it: `/*/` is not over.
                rest[2..].find("*/").map_or(rest.len(), |end| end + 4)
            } else {
                match rest.as_bytes()[0] {
                    b',' => (gap.comma, gap.line_end) = (Some(at), None),
                    b'\n' if gap.line_end.is_none() => {
                        // The carriage return belongs to the line end.
                        gap.line_end = Some(at - usize::from(text[..at].ends_with('\r')));
                    }
                    _ => {}
                }
                1
            };
        }
        gap
    }

    fn before_comma(&self) -> &'t str {
        self.comma.map_or("", |comma| &self.text[..comma])
    }

    /// What is left of the line behind the comma, and what follows it; all is lead if the line does not end.
    fn at_line_end(&self) -> (&'t str, &'t str) {
        let start = self.comma.map_or(0, |comma| comma + 1);
        let end = self.line_end.unwrap_or(start);
        (&self.text[start..end], &self.text[end..])
    }
}

/// The entries that a list will have.
struct List<'t> {
    /// What stands before an entry that is not the first.
    separator: String,
    /// What stands before the first, where all are on one line.
    first: Option<String>,
    entries: Vec<Entry<'t>>,
    /// Comments of removed entries that stay, for the next one.
    carried: String,
    /// A removed entry began a line.
    broken: bool,
}

impl<'t> List<'t> {
    fn of(pieces: &Pieces<'t>) -> List<'t> {
        let blank = |entry: &Entry<'_>| entry.lead.trim().is_empty().then(|| entry.lead.to_string());
        let (separator, first) = match &pieces.inner {
            Some(inner) => (Some(format!("{}{inner}", pieces.manner.line_end)), None),
            None if pieces.entries.is_empty() => {
                (None, Some(if pieces.head.is_empty() { "" } else { " " }.to_owned()))
            }
            None => {
                (pieces.entries.get(1).and_then(blank), blank(&pieces.entries[0]).or(Some(String::new())))
            }
        };
        let separator = separator.unwrap_or(if pieces.manner.spaced { " " } else { "" }.to_owned());
        List { separator, first, entries: Vec::new(), carried: String::new(), broken: false }
    }

    fn insert(&mut self, body: String) {
        let lead = match (&self.first, self.entries.is_empty()) {
            (Some(first), true) => first.clone(),
            _ => self.separator.clone(),
        };
        let lead = Cow::Owned(std::mem::take(&mut self.carried) + &lead);
        self.entries.push(Entry { lead, body: Cow::Owned(body), after: "", tail: "" });
    }

    fn remove(&mut self, entry: &Entry<'_>) {
        self.broken |= entry.lead.contains('\n');
        self.carried.push_str(detached(&entry.lead));
    }

    fn keep(&mut self, mut entry: Entry<'t>, was_first: bool) {
        let broken = std::mem::take(&mut self.broken);
        let is_first = self.entries.is_empty();
        if let Some(first) = &self.first {
            if is_first && !was_first && entry.lead.trim().is_empty() {
                entry.lead = Cow::Owned(first.clone());
            } else if was_first && !is_first {
                entry.lead = Cow::Owned(format!("{}{}", self.separator, entry.lead.trim_start()));
            }
        } else if !entry.lead.contains('\n') && (broken || (was_first && !is_first)) {
            entry.lead = Cow::Owned(format!("{}{}", self.separator, entry.lead.trim_start()));
        } else if is_first && !was_first && self.carried.is_empty() {
            entry.lead = Cow::Owned(without_blank_lines(&entry.lead).to_owned());
        }
        if !self.carried.is_empty() {
            entry.lead = Cow::Owned(std::mem::take(&mut self.carried) + &entry.lead);
        }
        self.entries.push(entry);
    }
}

/// The part of a lead that a blank line separates from the element, if there are comments in it.
pub(super) fn detached(lead: &str) -> &str {
    let mut blank_line_at = None;
    let mut start = 0;
    for line in lead.split_inclusive('\n') {
        // The first piece is the end of the line before; the last one, without a line end, is the element's own.
        if start > 0 && line.trim().is_empty() && line.ends_with('\n') {
            blank_line_at = Some(start);
        }
        start += line.len();
    }
    let part = &lead[..blank_line_at.unwrap_or(0)];
    part[..part.trim_end().len()].trim_end_matches('\r')
}

/// A lead without the blank lines that it begins with.
fn without_blank_lines(lead: &str) -> &str {
    let content = lead.len() - lead.trim_start().len();
    let start = lead[..content].rfind('\n').unwrap_or(0);
    &lead[start - usize::from(lead[..start].ends_with('\r'))..]
}
