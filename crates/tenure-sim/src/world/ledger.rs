//! What was appended to a journal and what was read of it: the rules of one log, judged as its processes tell.
//!
//! 1. Who reads is given what somebody appended, whole, once, and nothing whose append was refused.
//! 2. There is one order: a sequence number means one payload to all readers, and between two that somebody read one after
//!    the other there is none. What was acknowledged before another append began stands before that one.
//! 3. Who reads to the end is given all that was acknowledged before he began.
//! 4. What was taken away on purpose is given to nobody who begins to read afterwards.
//! 5. A death takes nothing away. A power loss takes nothing that was acknowledged as kept; the numbers of all else are free.
//!
//! An append begins, and so does a reading, with the call that comes next, as late as possible; it is over at once. So the
//! rules ask for as much as they may. The explorer relies on that: it tells what is over at once, and may leave out an order in
//! which a rule asks for less. Sequence numbers grow, and need not be dense.

use std::collections::{BTreeMap, BTreeSet};

/// What a scenario tells of its journal. A payload is a number that is appended once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// An append begins.
    Begins(u32),
    /// It is acknowledged, under this sequence number if the journal tells it, and survives a power loss.
    Kept(u32, Option<u64>),
    /// It is acknowledged, and survives the death of every process; a later `Kept` may say more.
    Visible(u32, Option<u64>),
    /// It failed, and will never be read.
    Refused(u32),
    /// It failed, without a word on whether it will be read.
    Doubtful(u32),
    /// A reader is about to read what stands behind this sequence number, or everything.
    Reads(Option<u64>),
    /// It was given this payload under this number, next.
    Delivered(u64, u32),
    /// It was told that there is no more.
    End,
    /// Everything up to this number is about to be given up on purpose: whoever reads from now on need not be given it.
    Dropped(u64),
    /// It is gone, for good: whoever reads from now on is not given it.
    Gone(u64),
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Begun,
    Visible,
    Kept,
    Refused,
    Doubtful,
}

impl Fate {
    fn is_acknowledged(self) -> bool {
        matches!(self, Fate::Visible | Fate::Kept)
    }
}

#[derive(Clone, Debug, Hash)]
struct Append {
    process: usize,
    fate: Fate,
    sequence: Option<u64>,
    /// What was acknowledged before it began.
    after: BTreeSet<u32>,
}

#[derive(Clone, Debug, Hash)]
struct Reading {
    /// What it must be given, unless that stands before its start.
    owed: BTreeSet<u32>,
    start: Option<u64>,
    last: Option<u64>,
    /// What it must not be given.
    gone: Option<u64>,
}

/// All that is known of a journal.
#[derive(Clone, Debug, Default, Hash)]
pub struct Ledger {
    appends: BTreeMap<u32, Append>,
    order: BTreeMap<u64, u32>,
    /// Numbers between which there is none: before the first there is nothing.
    gaps: BTreeSet<(Option<u64>, u64)>,
    readings: BTreeMap<usize, Reading>,
    dropped: Option<u64>,
    gone: Option<u64>,
    /// What begins with the next call of a process.
    beginning: BTreeMap<usize, Entry>,
}

impl Ledger {
    /// Whether the process's next call begins what it told of.
    pub fn is_beginning(&self, process: usize) -> bool {
        self.beginning.contains_key(&process)
    }

    /// The process makes its next call.
    pub fn before_call(&mut self, process: usize) -> Result<(), String> {
        let acknowledged = self
            .appends
            .iter()
            .filter(|(_, append)| append.fate.is_acknowledged())
            .map(|(payload, _)| *payload);
        let acknowledged: BTreeSet<u32> = acknowledged.collect();
        match self.beginning.remove(&process) {
            Some(Entry::Begins(payload)) => {
                let append = Append { process, fate: Fate::Begun, sequence: None, after: acknowledged };
                match self.appends.insert(payload, append) {
                    Some(_) => Err(format!("the scenario appends payload {payload} twice")),
                    None => Ok(()),
                }
            }
            Some(Entry::Reads(start)) => {
                let reading = Reading { owed: acknowledged, start, last: start, gone: self.gone };
                self.readings.insert(process, reading);
                Ok(())
            }
            Some(Entry::Dropped(sequence)) => {
                self.dropped = self.dropped.max(Some(sequence));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes what a process tells.
    pub fn note(&mut self, process: usize, entry: Entry) -> Result<(), String> {
        self.before_call(process)?;
        match entry {
            Entry::Begins(_) | Entry::Reads(_) | Entry::Dropped(_) => {
                self.beginning.insert(process, entry);
                Ok(())
            }
            Entry::Kept(payload, sequence) => self.acknowledge(payload, sequence, Fate::Kept),
            Entry::Visible(payload, sequence) => self.acknowledge(payload, sequence, Fate::Visible),
            Entry::Refused(payload) => match self.end(payload, Fate::Refused)?.sequence {
                Some(_) => Err(format!("the append of payload {payload} was refused, and it was read")),
                None => Ok(()),
            },
            Entry::Doubtful(payload) => self.end(payload, Fate::Doubtful).map(drop),
            Entry::Gone(sequence) => {
                self.gone = self.gone.max(Some(sequence));
                Ok(())
            }
            Entry::Delivered(sequence, payload) => self.deliver(process, sequence, payload),
            Entry::End => self.finish(process),
        }
    }

    /// The process is gone: what it was appending may or may not have been.
    pub fn left(&mut self, process: usize) {
        // Twice the same payload was found when it was told.
        let _found_before = self.before_call(process);
        self.readings.remove(&process);
        for append in self.appends.values_mut() {
            if append.process == process && append.fate == Fate::Begun {
                append.fate = Fate::Doubtful;
            }
        }
    }

    /// The power is gone: what was not acknowledged as kept may be there or not, and anywhere.
    pub fn power_lost(&mut self) {
        for append in self.appends.values_mut().filter(|append| append.fate != Fate::Kept) {
            append.sequence = None;
            if append.fate != Fate::Refused {
                append.fate = Fate::Doubtful;
            }
        }
        let kept = |payload: &u32| self.appends[payload].fate == Fate::Kept;
        self.order.retain(|_, payload| kept(payload));
        self.gaps.clear();
        self.readings.clear();
    }

    fn end(&mut self, payload: u32, fate: Fate) -> Result<&Append, String> {
        let append = self.appends.get_mut(&payload);
        let append = append.ok_or_else(|| format!("the scenario did not tell that it appends {payload}"))?;
        append.fate = fate;
        Ok(append)
    }

    fn acknowledge(&mut self, payload: u32, sequence: Option<u64>, fate: Fate) -> Result<(), String> {
        self.end(payload, fate)?;
        sequence.map_or(Ok(()), |sequence| self.place(sequence, payload))
    }

    fn deliver(&mut self, process: usize, sequence: u64, payload: u32) -> Result<(), String> {
        match self.appends.get(&payload).map(|append| append.fate) {
            None => return Err(format!("P{process} reads payload {payload}, which nobody appended")),
            Some(Fate::Refused) => {
                return Err(format!("P{process} reads payload {payload}, whose append was refused"));
            }
            Some(_) => {}
        }
        self.place(sequence, payload)?;
        let Some(reading) = self.readings.get_mut(&process) else {
            return Err("the scenario did not tell that it reads".to_owned());
        };
        if reading.gone >= Some(sequence) {
            return Err(format!("P{process} reads number {sequence}, which was taken away before"));
        }
        let before = reading.last.replace(sequence);
        if before.is_some_and(|before| before >= sequence) {
            return Err(format!("P{process} reads number {sequence} after number {}", before.unwrap_or(0)));
        }
        // What was dropped leaves a gap that is none; behind it there is none.
        let from = before.max(self.dropped);
        if from < Some(sequence) {
            self.gaps.insert((from, sequence));
        }
        self.skipped()
    }

    /// Takes note of where a payload stands.
    fn place(&mut self, sequence: u64, payload: u32) -> Result<(), String> {
        if let Some(other) = self.order.insert(sequence, payload).filter(|other| *other != payload) {
            return Err(format!("number {sequence} is payload {other} to one, and {payload} to another"));
        }
        let append = self.appends.get_mut(&payload).expect("looked up by the caller");
        if let Some(other) = append.sequence.replace(sequence).filter(|other| *other != sequence) {
            return Err(format!("payload {payload} stands twice: as number {other} and as {sequence}"));
        }
        self.keeps_order(sequence, payload)?;
        self.skipped()
    }

    /// What was acknowledged before an append began stands before it.
    fn keeps_order(&self, sequence: u64, payload: u32) -> Result<(), String> {
        let this = &self.appends[&payload];
        let wrong = self.order.iter().find(|(other, earlier_or_later)| {
            let that = &self.appends[*earlier_or_later];
            (this.after.contains(earlier_or_later) && **other > sequence)
                || (that.after.contains(&payload) && **other < sequence)
        });
        wrong.map_or(Ok(()), |(other, that)| {
            Err(format!("payloads {payload} and {that} stand as {sequence} and {other}, not in the order of their appends"))
        })
    }

    /// No number stands between two that somebody read one after the other.
    fn skipped(&self) -> Result<(), String> {
        let between = |(before, after): &&(Option<u64>, u64)| {
            self.order.range(before.map_or(0, |before| before + 1)..*after).next().is_some()
        };
        match self.gaps.iter().find(between) {
            Some((before, after)) => {
                let before = before.map_or("the beginning".to_owned(), |before| format!("number {before}"));
                Err(format!(
                    "a reader was given number {after} next after {before}, and there is one between"
                ))
            }
            None => Ok(()),
        }
    }

    fn finish(&mut self, process: usize) -> Result<(), String> {
        let Some(reading) = self.readings.get(&process) else { return Ok(()) };
        let is_missing = |payload: &&u32| match self.appends[*payload].sequence {
            Some(sequence) => Some(sequence) > reading.last && Some(sequence) > self.dropped,
            None => self.dropped.is_none() && reading.start.is_none(),
        };
        match reading.owed.iter().find(is_missing) {
            Some(payload) => {
                Err(format!("P{process} reads to the end, and misses the acknowledged payload {payload}"))
            }
            None => Ok(()),
        }
    }
}
