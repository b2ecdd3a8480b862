//! Every run of a scenario within its bounds, each replayed from the list of its choices.

pub mod random;
pub mod replay;
pub mod run;
pub mod search;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::op::Fault;

/// One choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// A process's call is executed.
    Step(usize),
    /// A process is killed.
    Crash(usize),
    /// A process's call meets a fault.
    Fail(usize, Fault),
    /// The clock runs on.
    Tick,
    /// The power goes, and the disk is left in this state.
    Power(usize),
}

impl Action {
    /// The process concerned.
    pub fn process(self) -> Option<usize> {
        match self {
            Action::Step(process) | Action::Crash(process) | Action::Fail(process, _) => Some(process),
            Action::Tick | Action::Power(_) => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Step(process) => write!(f, "{process}"),
            Action::Crash(process) => write!(f, "c{process}"),
            Action::Fail(process, fault) => write!(f, "{}{process}", fault.letter()),
            Action::Tick => write!(f, "t"),
            Action::Power(which) => write!(f, "p{which}"),
        }
    }
}

/// The choices of a run as one word: each as it prints, repeated ones counted, with dots between.
pub fn to_word(actions: &[Action]) -> String {
    let runs = actions.chunk_by(PartialEq::eq);
    let words = runs.map(|run| match run.len() {
        1 => run[0].to_string(),
        count => format!("{}*{count}", run[0]),
    });
    words.collect::<Vec<_>>().join(".")
}

/// Reads what [`to_word`] wrote.
pub fn from_word(word: &str) -> Result<Vec<Action>, String> {
    let mut actions = Vec::new();
    for part in word.split('.').filter(|part| !part.is_empty()) {
        let wrong = || {
            format!(
                "{part:?} is no choice: a process, c or a fault's letter and a process, t, or p and a number"
            )
        };
        let (action, count) = part.split_once('*').unwrap_or((part, "1"));
        let count: usize = count.parse().map_err(|_| wrong())?;
        let digits = action.find(|c: char| c.is_ascii_digit()).unwrap_or(action.len());
        let (kind, number) = action.split_at(digits);
        let number = number.parse::<usize>();
        let action = match (kind, number) {
            ("t", Err(_)) => Action::Tick,
            ("", Ok(process)) => Action::Step(process),
            ("c", Ok(process)) => Action::Crash(process),
            ("p", Ok(which)) => Action::Power(which),
            (kind, Ok(process)) => {
                let fault = Fault::ALL.into_iter().find(|fault| kind == fault.letter().to_string());
                Action::Fail(process, fault.ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        };
        actions.extend(std::iter::repeat_n(action, count));
    }
    Ok(actions)
}

/// A broken rule and the way there.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: String,
    /// The choices that lead there.
    pub actions: Vec<Action>,
}

/// What an exploration found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Runs begun.
    pub executions: u64,
    /// Calls executed for the first time in their state.
    pub steps: u64,
    /// Different states seen.
    pub states: usize,
    /// Different ends, power losses included.
    pub ends: usize,
    /// The longest run, in choices.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Whether everything within the bounds was tried.
    pub complete: bool,
    /// The shortest violation found, if any.
    pub violation: Option<Violation>,
    /// What happened in some run.
    pub sometimes: BTreeSet<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back() {
        let actions = [
            Action::Step(0),
            Action::Step(0),
            Action::Crash(1),
            Action::Fail(2, Fault::LostReply),
            Action::Tick,
            Action::Tick,
            Action::Power(17),
        ];
        let word = to_word(&actions);
        assert_eq!(word, "0*2.c1.r2.t*2.p17");
        assert_eq!(from_word(&word).unwrap(), actions);
        assert_eq!(from_word("").unwrap(), []);
        assert!(from_word("x1").is_err() && from_word("0*x").is_err());
    }
}
