//! A YAML text as a tree of nodes that know where in the text they stand.
//!
//! granit-parser does the parsing; this collects its events, and refuses what an update could not keep.

use std::borrow::Cow;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span, StrInput, StructureStyle, Tag};

use super::super::Problem;
use super::lines::{BYTE_ORDER_MARK, Lines};
use crate::document::value::DEPTH_MAX;

/// A document: its root, if it has one, and the room that a root may be written in.
pub(super) struct Tree<'t> {
    pub(super) root: Option<Node<'t>>,
    /// The end of the marker `---`.
    pub(super) marker: Option<usize>,
    /// Where the document ends: at the marker `...`, or with the text.
    pub(super) body_end: usize,
}

/// A value and the bytes that it is written in, without the indicators before it.
pub(super) struct Node<'t> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) content: Content<'t>,
    /// The number of its anchor, or 0.
    pub(super) anchor: usize,
    pub(super) tag: Option<Box<Tag>>,
}

pub(super) enum Content<'t> {
    Scalar(Scalar<'t>),
    Sequence { flow: bool, items: Vec<Node<'t>> },
    Mapping { flow: bool, entries: Vec<Entry<'t>> },
    Alias(usize),
}

pub(super) struct Scalar<'t> {
    pub(super) text: Cow<'t, str>,
    pub(super) style: ScalarStyle,
    /// The column of a block scalar's content.
    pub(super) indent: Option<usize>,
}

pub(super) struct Entry<'t> {
    pub(super) key: Node<'t>,
    /// The end of the `:`, which an entry without a value may lack.
    pub(super) colon: Option<usize>,
    pub(super) value: Node<'t>,
}

impl Node<'_> {
    /// Whether nothing is written where the value should be, which means null.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end && matches!(self.content, Content::Scalar(_))
    }

    pub(super) fn is_block_scalar(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if is_block(scalar.style))
    }

    pub(super) fn is_block_collection(&self) -> bool {
        matches!(self.content, Content::Sequence { flow: false, .. } | Content::Mapping { flow: false, .. })
    }

    /// What is written last in it.
    pub(super) fn last_leaf(&self) -> &Self {
        let last = match &self.content {
            Content::Sequence { flow: false, items } => items.last(),
            Content::Mapping { flow: false, entries } => entries.last().map(Entry::last),
            _ => None,
        };
        last.map_or(self, Node::last_leaf)
    }
}

impl<'t> Entry<'t> {
    /// The value, or the key if it stands alone.
    pub(super) fn last(&self) -> &Node<'t> {
        if self.colon.is_some() { &self.value } else { &self.key }
    }
}

fn is_block(style: ScalarStyle) -> bool {
    matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
}

/// The tree of a text that is to be updated (`strict`), or only read.
pub(super) fn tree(text: &str, strict: bool) -> Result<Tree<'_>, Problem> {
    let lines = Lines::new(text);
    // Other blanks of Unicode are text.
    if text[lines.body_start()..].trim_matches([' ', '\t', '\n', '\r']).is_empty() {
        return Err(Problem::at(text.as_bytes(), 0, "the file is empty"));
    }
    let options = granit_parser::options! {
        disallow_directives: strict,
        emit_anchor_events: strict,
        emit_comments: false,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    Builder { text, lines, parser, strict, last: lines.body_start() }.document()
}

struct Builder<'t> {
    text: &'t str,
    lines: Lines<'t>,
    parser: Parser<'t, StrInput<'t>>,
    strict: bool,
    /// The end of what was read last, behind which the next node's indicators are to be found.
    last: usize,
}

impl<'t> Builder<'t> {
    fn document(mut self) -> Result<Tree<'t>, Problem> {
        let mut tree = Tree { root: None, marker: None, body_end: self.lines.first_document_end() };
        let begin = self.lines.skip(self.lines.behind_ends(self.last));
        if self.strict && self.text[begin..].starts_with(BYTE_ORDER_MARK) {
            let what = "a byte order mark behind the beginning can be read but not updated: remove it";
            return Err(self.problem(begin, what));
        }
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            let (start, end) = place(&span);
            match event {
                Event::StreamStart => {}
                Event::StreamEnd => return Ok(tree),
                Event::DocumentStart(explicit, _) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(self.problem(
                            start,
                            "a second document starts here, but a file can only be handled as one: \
                             split it into a file for each",
                        ));
                    }
                    if explicit {
                        tree.marker = Some(end);
                        self.last = end;
                    } else {
                        self.last = self.lines.behind_ends(self.last);
                    }
                }
                Event::DocumentEnd => {
                    let explicit = self.text[start..end].starts_with("...");
                    tree.body_end = if explicit { start } else { self.text.len() };
                }
                event => tree.root = Some(self.node(event, &span, 0)?),
            }
        }
    }

    /// The next event; an anchor that is to be refused is refused here.
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok((Event::Anchor(..), span))) => Err(self.problem(
                place(&span).0,
                "an anchor can be read but not updated: write the value out where it is used",
            )),
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(self.text.len());
                let what = match error.kind() {
                    ErrorKind::DirectiveDisallowed => {
                        "a directive can be read but not updated: remove the line".to_owned()
                    }
                    _ => error.info(),
                };
                Err(self.problem(at, what))
            }
            None => Err(self.problem(self.text.len(), "the text ends too early")),
        }
    }

    fn problem(&self, at: usize, what: impl Into<String>) -> Problem {
        Problem::at(self.text.as_bytes(), at, what)
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node<'t>, Problem> {
        let (start, end) = place(span);
        if depth > DEPTH_MAX {
            return Err(self.problem(start, format!("nested more than {DEPTH_MAX} deep")));
        }
        if self.strict && event.tag().is_some() {
            let at = span.tag_start.and_then(|marker| marker.byte_offset()).unwrap_or(start);
            return Err(self.problem(at, "a tag can be read but not updated: remove it"));
        }
        let anchor = event.anchor_id().unwrap_or(0);
        match event {
            Event::Scalar(text, style, _, tag) => {
                let scalar = Scalar { text, style, indent: span.indent };
                let (start, end) =
                    if is_block(style) { self.block_scalar(start, end, span.indent) } else { (start, end) };
                self.last = end;
                let tag = tag.map(|tag| Box::new(tag.into_owned()));
                Ok(Node { start, end, content: Content::Scalar(scalar), anchor, tag })
            }
            Event::SequenceStart(style, _, tag) => {
                let flow = self.begin(style, start, end)?;
                let (items, end) = self.items(end, depth)?;
                let tag = tag.map(|tag| Box::new(tag.into_owned()));
                Ok(Node { start, end, content: Content::Sequence { flow, items }, anchor, tag })
            }
            Event::MappingStart(style, _, tag) => {
                let flow = self.begin(style, start, end)?;
                let (entries, end) = self.entries(end, depth)?;
                let tag = tag.map(|tag| Box::new(tag.into_owned()));
                Ok(Node { start, end, content: Content::Mapping { flow, entries }, anchor, tag })
            }
            Event::Alias(_) if self.strict => Err(self.problem(
                start,
                "an alias can be read but not updated: write the value out that it stands for",
            )),
            Event::Alias(anchor) => {
                Ok(Node { start, end, content: Content::Alias(anchor), anchor: 0, tag: None })
            }
            _ => Err(self.problem(start, "this is not a value")),
        }
    }

    /// Steps into a collection; whether it is written in brackets.
    fn begin(&mut self, style: StructureStyle, start: usize, end: usize) -> Result<bool, Problem> {
        self.last = end;
        let flow = matches!(style, StructureStyle::Flow);
        if !flow && let Some(tab) = self.lines.before(start).find('\t') {
            let at = self.lines.start(start) + tab;
            return Err(self.problem(at, "a tab can't indent in YAML: use blanks"));
        }
        Ok(flow)
    }

    fn items(&mut self, mut end: usize, depth: usize) -> Result<(Vec<Node<'t>>, usize), Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((items, self.close(end, &span)));
            }
            items.push(self.node(event, &span, depth + 1)?);
            end = self.last;
        }
    }

    fn entries(&mut self, mut end: usize, depth: usize) -> Result<(Vec<Entry<'t>>, usize), Problem> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok((entries, self.close(end, &span)));
            }
            let key = self.node(event, &span, depth + 1)?;
            let colon = self.lines.skip(key.end);
            let colon = self.text[colon..].starts_with(':').then_some(colon + 1);
            // The parser lets it pass here, and not behind a value.
            if let Some(at) = colon.filter(|at| self.strict && self.text[*at..].starts_with('#')) {
                return Err(self.problem(at, "a comment needs a blank before it"));
            }
            let (event, span) = self.next()?;
            let mut value = self.node(event, &span, depth + 1)?;
            if value.is_empty() {
                // The parser puts an empty value anywhere before the next token.
                value.start = colon.unwrap_or(key.end);
                value.end = value.start;
                self.last = value.end;
            }
            if let (Content::Sequence { flow: false, .. }, Some(colon)) = (&value.content, colon) {
                // The parser takes a sequence that is not indented to start behind its first dash.
                let dash = self.lines.skip(colon);
                value.start = if self.text[dash..].starts_with('-') { dash } else { value.start };
            }
            end = self.last;
            entries.push(Entry { key, colon, value });
        }
    }

    /// The end of a collection: its bracket, or the end of what is in it.
    fn close(&mut self, end: usize, span: &Span) -> usize {
        let (start, close) = place(span);
        let bracket = matches!(self.text.get(start..close), Some("]" | "}"));
        self.last = if bracket { close } else { end };
        self.last
    }

    /// From the header of a block scalar to the end of its lines, given the place of its content. Blank lines at
    /// its end belong to it only if it keeps them.
    fn block_scalar(&self, start: usize, end: usize, indent: Option<usize>) -> (usize, usize) {
        let mut header = self.last;
        loop {
            header = self.lines.skip(header);
            match self.text.as_bytes().get(header) {
                Some(b'-' | b'?' | b':' | b',') => header += 1,
                Some(b'|' | b'>') => break,
                // Behind a tag or an anchor, where nothing is edited.
                _ => return (start, end),
            }
        }
        let content = self.lines.next(header);
        let keeps = self.lines.word(header).contains('+');
        let mut end = match self.lines.is_blank_before(end) {
            true if end < self.text.len() => self.lines.start(end),
            _ => self.lines.next(end),
        };
        if keeps {
            end = self.lines.blank_lines(end);
        } else {
            let indent = indent.unwrap_or(usize::MAX);
            while end > content && self.lines.is_blank_up_to(self.lines.previous(end), indent) {
                end = self.lines.previous(end);
            }
        }
        (header, end.max(content))
    }
}

/// The bytes that an event covers. Events of a text given as a `str` all know theirs.
fn place(span: &Span) -> (usize, usize) {
    span.byte_range().map_or((0, 0), |range| (range.start, range.end))
}
