//! `tenure append`: records into a journal.
//!
//! Without records on the command line, those of standard input are appended as they come. One thread reads, so that what
//! comes during an append is there when that is done, and is the next batch: a slow writer has each line synced at once, a
//! fast one shares a sync among many lines.
//!
//! Ctrl-C on the terminal reaches whoever writes into the pipe, too: its last lines are still appended, until the input
//! ends, and then this ends by the signal. A second Ctrl-C ends it at once.

use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tenure::journal::Receipt;
use tenure::{Error, Journal, Wait};

use super::receipt::answer;
use super::update::catch_file_size_signal;
use crate::args::{Append, wait};
use crate::exit::{Exit, Failure};
use crate::output;

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// How many chunks wait while an append is under way.
const CHUNKS: usize = 16;

/// How many records of standard input become one batch at most. One sync for so many costs each next to nothing; and
/// damage to one record takes its whole batch, so that more would be too many.
const BATCH: usize = 1024;

pub(crate) fn append(args: &Append) -> Result<ExitCode, Failure> {
    // The deadline counts from here for what is on the command line; else from when there is something to append.
    let wait = wait(args.writing.wait);
    catch_file_size_signal()?;
    let journal = args.open();
    if !args.records.is_empty() {
        let records: Vec<&[u8]> = args.records.iter().map(|record| record.as_bytes()).collect();
        answer(&args.journal, &write(args, &journal, wait, &records, true)?, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupted = catch_interrupt()?;
    let mut input = Input::open(args);
    loop {
        let is_last = !input.gather(args.batch)?;
        let stamped = is_last
            && input.failure.is_none()
            && args.stamp.is_some()
            && !interrupted.load(Ordering::Relaxed);
        let records = std::mem::take(&mut input.records);
        let size = if args.batch { records.len().max(1) } else { BATCH };
        let mut batches = records.chunks(size).peekable();
        while let Some(batch) = batches.next() {
            let stamped = stamped && batches.peek().is_none();
            append_all(args, &journal, batch, stamped, input.appended)?;
            input.appended += batch.len();
        }
        if records.is_empty() && stamped {
            append_all(args, &journal, &[], true, input.appended)?;
        }
        if is_last {
            break;
        }
    }
    if let Some(failure) = input.failure {
        return Err(so_far(&failure, input.appended));
    }
    if interrupted.load(Ordering::Relaxed) {
        // What was asked for is done; whoever started this learns that a person stopped it.
        let _ended_otherwise = emulate_default_handler(SIGINT);
    }
    Ok(ExitCode::SUCCESS)
}

/// Appends what was read in one go. One that is refused keeps none back that stand before it.
fn append_all(
    args: &Append,
    journal: &Journal,
    records: &[Vec<u8>],
    stamped: bool,
    before: usize,
) -> Result<(), Failure> {
    let patience = wait(args.writing.wait);
    match write(args, journal, patience, records, stamped) {
        Ok(receipt) => answer(&args.journal, &receipt, args.json)
            .map_err(|failure| so_far(&failure, before + records.len())),
        Err(error) if error.is_rejected() && !args.batch && records.len() > 1 => {
            for (record, at) in records.iter().zip(before..) {
                append_all(args, journal, std::slice::from_ref(record), false, at)?;
            }
            Err(error.into())
        }
        Err(error) if args.batch => Err(error.into()),
        Err(error) => Err(so_far(&error.into(), before)),
    }
}

fn write<R: AsRef<[u8]>>(
    args: &Append,
    journal: &Journal,
    wait: Wait,
    records: &[R],
    stamped: bool,
) -> Result<Receipt, Error> {
    match args.stamp.as_ref().filter(|_| stamped) {
        Some(stamp) => journal.append_and_stamp(wait, records, stamp.as_bytes()),
        None => journal.append(wait, records),
    }
}

/// Says how much of the input is in the journal, for whoever goes on from there.
fn so_far(failure: &Failure, appended: usize) -> Failure {
    let done = match appended {
        0 => "Nothing of standard input was appended".to_owned(),
        1 => "The first record of standard input is appended, and no more".to_owned(),
        count => format!("The first {count} records of standard input are appended, and no more"),
    };
    Failure::new(failure.exit, format!("{}. {done}", failure.message))
}

/// Standard input, taken apart.
struct Input {
    chunks: Receiver<std::io::Result<Vec<u8>>>,
    /// What ends a record.
    end: u8,
    longest: usize,
    /// Whole records, not yet appended.
    records: Vec<Vec<u8>>,
    /// The beginning of one.
    rest: Vec<u8>,
    appended: usize,
    has_ended: bool,
    /// Why no more is read.
    failure: Option<Failure>,
}

impl Input {
    fn open(args: &Append) -> Input {
        let (sender, chunks) = sync_channel(CHUNKS);
        std::thread::spawn(move || read(&sender));
        Input {
            chunks,
            end: if args.null { 0 } else { b'\n' },
            longest: args.longest(),
            records: Vec::new(),
            rest: Vec::new(),
            appended: 0,
            has_ended: false,
            failure: None,
        }
    }

    fn is_over(&self) -> bool {
        self.has_ended || self.failure.is_some()
    }

    /// Waits for a record, and takes what else is there; `all`: to the end of the input, where a failure is told at once.
    /// `false`: there is no more.
    fn gather(&mut self, all: bool) -> Result<bool, Failure> {
        let mut gathered = 0;
        while !self.is_over() && (all || gathered < CHUNK) {
            let chunk = if all || self.records.is_empty() {
                self.chunks.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.chunks.try_recv()
            };
            match chunk {
                Ok(Ok(chunk)) => {
                    gathered += chunk.len();
                    self.split(&chunk);
                }
                Ok(Err(error)) => {
                    let problem = format!("cannot read standard input: {error}");
                    self.failure = Some(Failure::new(Exit::Io, problem));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.has_ended = true;
                    if !self.rest.is_empty() {
                        self.records.push(std::mem::take(&mut self.rest));
                    }
                }
            }
        }
        match self.failure.take_if(|_| all) {
            Some(failure) => Err(so_far(&failure, 0)),
            None => Ok(!self.is_over()),
        }
    }

    fn split(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|byte| *byte == self.end) {
            let (text, is_whole) = match piece.split_last() {
                Some((last, text)) if *last == self.end => (text, true),
                _ => (piece, false),
            };
            if self.rest.len() + text.len() > self.longest {
                let number = self.appended + self.records.len() + 1;
                let problem = format!(
                    "record {number} of standard input has more than {} bytes (see --record-max)",
                    self.longest
                );
                self.failure = Some(Failure::new(Exit::Data, problem));
                return;
            }
            self.rest.extend_from_slice(text);
            if is_whole {
                self.records.push(std::mem::take(&mut self.rest));
            }
        }
    }
}

/// Passes on what comes from standard input, to its end or until nobody wants more.
fn read(to: &SyncSender<std::io::Result<Vec<u8>>>) {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match stdin.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read,
        };
        let is_end = read.is_err();
        if to.send(read.map(|length| buffer[..length].to_vec())).is_err() || is_end {
            return;
        }
    }
}

/// Set by the first Ctrl-C where a pipe is read; the second ends this process.
fn catch_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    if std::io::stdin().is_terminal() {
        return Ok(interrupted);
    }
    let signals = Signals::new([SIGINT]);
    let mut signals =
        signals.map_err(|error| Failure::new(Exit::Io, format!("cannot catch signals: {error}")))?;
    let set = interrupted.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if set.swap(true, Ordering::Relaxed) {
                let _ended_otherwise = emulate_default_handler(signal);
            }
            output::tell("interrupted; what the input still brings is appended. Once more ends this at once");
        }
    });
    Ok(interrupted)
}
