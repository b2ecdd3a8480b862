//! `tenure log`: the records of a journal, once or for as long as somebody reads.

use std::collections::VecDeque;
use std::process::ExitCode;

use tenure::journal::{Entry, Missed};
use tenure::{Journal, Wait};

use super::get::reader_gone;
use super::kind::exists;
use super::rotate::require;
use super::show::{Style, json, missed_json};
use crate::args::Log;
use crate::exit::Failure;
use crate::output;

/// How much is printed at a time.
const FULL: usize = 64 * 1024;

pub(crate) fn log(args: &Log) -> Result<ExitCode, Failure> {
    if !args.follow {
        require(&args.journal)?;
    } else if !exists(&args.journal) {
        output::tell(format_args!("{}: no such file; waiting for it", args.journal.display()));
    }
    let journal = args.format.open(&args.journal);
    let mut reader = match (&args.since, args.last) {
        (None, Some(count)) if has_last(&journal, count)? => journal.read_last(count as u64)?,
        (since, _) => journal.read_from(since.as_ref())?,
    };
    let mut printer = Printer { args, style: Style::of_stdout(), text: Vec::new(), is_read: true };
    let mut last = args.last.map(Last::new);
    // Damage ends this, when everything before it is printed.
    let end = loop {
        match reader.next() {
            Ok(Some(entry)) => match &mut last {
                Some(last) => last.take(entry),
                None => printer.print(&entry)?,
            },
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
        if !printer.is_read {
            return Ok(ExitCode::SUCCESS);
        }
    };
    for entry in last.into_iter().flat_map(|last| last.entries) {
        printer.print(&entry)?;
    }
    printer.flush()?;
    if let Some(error) = end {
        return Err(error.into());
    }
    let gone = reader_gone();
    while args.follow && printer.is_read {
        match reader.next_wait(Wait::Forever.or(&gone)) {
            Err(error) if error.is_cancelled() => break,
            entry => printer.print(&entry?)?,
        }
        let end = loop {
            match reader.next() {
                _ if !printer.is_read => break None,
                Ok(Some(entry)) => printer.print(&entry)?,
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        printer.flush()?;
        if let Some(error) = end {
            return Err(error.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether that many records stand at the end with no number missing among them, so that what stands before need not be read.
fn has_last(journal: &Journal, count: usize) -> Result<bool, Failure> {
    let mut reader = journal.read_last(count as u64)?;
    let mut found = 0;
    while found < count {
        match reader.next() {
            Ok(Some(Entry::Record(_))) => found += 1,
            Ok(Some(Entry::Missed(_))) => {}
            // Who reads everything comes to the error, too.
            Ok(None) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// The last records, and what is missing among them.
struct Last {
    count: usize,
    records: usize,
    entries: VecDeque<Entry>,
}

impl Last {
    fn new(count: usize) -> Last {
        Last { count, records: 0, entries: VecDeque::new() }
    }

    fn take(&mut self, entry: Entry) {
        self.records += usize::from(matches!(entry, Entry::Record(_)));
        self.entries.push_back(entry);
        while self.records > self.count {
            let gone = self.entries.pop_front();
            self.records -= usize::from(matches!(gone, Some(Entry::Record(_))));
        }
    }
}

/// Prints entries, many at a time.
struct Printer<'a> {
    args: &'a Log,
    style: Style,
    text: Vec<u8>,
    /// Somebody reads.
    is_read: bool,
}

impl Printer<'_> {
    fn print(&mut self, entry: &Entry) -> Result<(), Failure> {
        match entry {
            Entry::Record(record) if self.args.json => json(record, &mut self.text),
            Entry::Missed(missed) if self.args.json => missed_json(missed, &mut self.text),
            Entry::Record(record) => self.style.show(record, &mut self.text),
            Entry::Missed(missed) => {
                // In its place among the records, where both go to a terminal.
                self.flush()?;
                self.tell(missed);
            }
        }
        if self.text.len() >= FULL { self.flush() } else { Ok(()) }
    }

    fn tell(&self, missed: &Missed) {
        let path = self.args.journal.display();
        match missed.sequences {
            Some((first, last)) => {
                let which = match last - first {
                    0 => format!("record {first} is"),
                    _ => format!("records {first} to {last} are"),
                };
                let how = "reset, removed with an old file, or taken out by a repair";
                output::tell(format_args!("{path}: {which} gone: {how}"));
            }
            None => {
                let what = "the place to go on from is gone: the file was reset or rewritten, or removed with older ones";
                output::tell(format_args!("{path}: {what}; printing from where it begins now"));
            }
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.is_read && !self.text.is_empty() {
            self.is_read = output::print_bytes_on(&self.text)?;
        }
        self.text.clear();
        Ok(())
    }
}
