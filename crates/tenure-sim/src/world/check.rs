//! The rules that a moment can break, judged by what the scenario's processes tell of themselves.

use tenure::Moment;

use super::ledger::Ledger;
use crate::op::Note;

/// Who is inside, and what was counted.
#[derive(Clone, Debug, Default, Hash)]
pub struct Check {
    /// The lock file whose removal under a holder breaks a rule.
    pub lock_file: Option<std::path::PathBuf>,
    /// The process whose taking of it breaks none, since a person told it to.
    pub breaker: Option<usize>,
    /// Processes that believe that they hold the lock, and until when.
    inside: Vec<(usize, Option<Moment>)>,
    /// Changes that were acknowledged.
    pub acked: u32,
    /// Changes that may or may not have been made: their process died, or was told no more than "failed".
    pub doubtful: u32,
    /// Whether what was acknowledged is being given up.
    pub released: bool,
    /// Processes that leave at their next call.
    leaving: Vec<usize>,
    /// Processes that are asking whether they still hold the lock.
    asking: Vec<usize>,
    /// Who made the lock file that the breaker removed last.
    pub forced: Option<usize>,
    /// Processes in the middle of a change.
    changing: Vec<usize>,
    /// What is known of the journal, if there is one.
    ledger: Ledger,
    /// Processes whose calls have met a fault.
    pub failed: Vec<usize>,
    /// The first rule that was broken.
    pub broken: Option<String>,
}

impl Check {
    /// Takes a note of `process`, whose clock shows `now`; `clock` gives the time of every process.
    pub fn note(&mut self, process: usize, note: Note, clock: impl Fn(usize) -> Moment) {
        // A process that was away for longer than its lifetime finds that out by asking.
        let valid = |until: Option<Moment>| until.is_none_or(|until| clock(process) < until);
        self.asking.retain(|other| *other != process);
        match note {
            Note::Asks => {
                self.asking.push(process);
                // In which order they came to it decides nothing.
                self.asking.sort_unstable();
            }
            Note::Enter(until) => {
                let other = self.believer(process, &clock).filter(|_| valid(until));
                self.inside.push((process, until));
                if let Some(other) = other {
                    self.break_rule(format!("two holders: P{other} and P{process}"));
                }
            }
            Note::Extend(until) => {
                let other = self.believer(process, &clock).filter(|_| valid(until));
                for entry in self.inside.iter_mut().filter(|entry| entry.0 == process) {
                    entry.1 = until;
                }
                if let Some(other) = other {
                    self.break_rule(format!("P{process} renewed a lock that P{other} holds"));
                }
            }
            Note::StillHeld | Note::Believes => {
                if let Some(other) = self.believer(process, &clock) {
                    self.break_rule(format!("P{process} was told that it holds what P{other} holds"));
                }
            }
            // As late as possible: with the call that comes next.
            Note::Leave => {
                self.leaving.push(process);
                self.leaving.sort_unstable();
            }
            Note::Begin => self.changing.push(process),
            Note::Acked | Note::Refused | Note::Doubtful => {
                self.changing.retain(|other| *other != process);
                self.acked += u32::from(note == Note::Acked);
                self.doubtful += u32::from(note == Note::Doubtful);
            }
            Note::Released => self.released = true,
            Note::Journal(entry) => {
                let judged = self.ledger.note(process, entry);
                self.judged(judged);
            }
            Note::Round(_) | Note::Sometimes(_) => {}
        }
    }

    /// Another process that believes that it holds the lock, with right by its own clock.
    fn believer(&self, process: usize, clock: &impl Fn(usize) -> Moment) -> Option<usize> {
        self.believers(process, clock).first().copied()
    }

    /// All of them.
    pub fn believers(&self, process: usize, clock: &impl Fn(usize) -> Moment) -> Vec<usize> {
        let valid = |(other, until): &&(usize, Option<Moment>)| {
            *other != process && until.is_none_or(|until| clock(*other) < until)
        };
        self.inside.iter().filter(valid).map(|(other, _)| *other).collect()
    }

    /// Whether a process believes, with right by its own clock, that it holds the lock.
    pub fn holds(&self, process: usize, now: Moment) -> bool {
        self.inside.iter().any(|(other, until)| *other == process && until.is_none_or(|until| now < until))
    }

    /// Whether the process's next call is a part of its question: what others believe decides on the answer.
    pub fn is_asking(&self, process: usize) -> bool {
        self.asking.contains(&process)
    }

    /// Whether the process's next call tells of more: it leaves with it, or begins what it told of.
    pub fn acts_late(&self, process: usize) -> bool {
        self.leaving.contains(&process) || self.ledger.is_beginning(process)
    }

    /// The process makes its next call: what it was about to do, it does now.
    pub fn before_call(&mut self, process: usize) {
        let judged = self.ledger.before_call(process);
        self.judged(judged);
        if self.leaving.contains(&process) {
            self.leaving.retain(|other| *other != process);
            self.inside.retain(|entry| entry.0 != process);
        }
    }

    /// The process is gone.
    pub fn left(&mut self, process: usize) {
        self.before_call(process);
        self.ledger.left(process);
        self.asking.retain(|other| *other != process);
        self.inside.retain(|entry| entry.0 != process);
        self.doubtful += u32::from(self.changing.contains(&process));
        self.changing.retain(|other| *other != process);
    }

    /// What the process holds was taken from it by force: it may believe what it likes.
    pub fn robbed(&mut self, process: usize) {
        self.inside.retain(|entry| entry.0 != process);
    }

    /// The power is gone, and every process with it.
    pub fn power_lost(&mut self) {
        self.ledger.power_lost();
    }

    fn judged(&mut self, judged: Result<(), String>) {
        if let Err(rule) = judged {
            self.break_rule(rule);
        }
    }

    /// Records the first broken rule.
    pub fn break_rule(&mut self, rule: String) {
        self.broken.get_or_insert(rule);
    }
}
