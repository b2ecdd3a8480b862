//! Judges a history of clients that leased, read, wrote and released. Pure, and one pass over the records.
//!
//! What counts as wrong is wrong for certain: a client notes the time before it does something and after it has come back, on the
//! machine's boot clock, which all of them share. Whatever lies between is given the benefit of the doubt.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

/// What a client noted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// It is about to ask for the lease.
    Asking,
    /// It was told that it has the lease.
    Granted { token: i64 },
    /// It is told that it holds the lease; the time is that from just before the question.
    Believes { token: i64 },
    /// It is about to write this element.
    Writing { token: i64, element: u64 },
    /// The write was acknowledged.
    Written { element: u64 },
    /// The write was refused because of its token.
    Refused { element: u64 },
    /// It is done with the lease.
    Done,
}

/// A line of a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record {
    /// Nanoseconds of the boot clock.
    pub(super) at: u64,
    pub(super) client: u32,
    pub(super) event: Event,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { at, client, event } = self;
        write!(f, "{at} {client} ")?;
        match event {
            Event::Asking => f.write_str("asking"),
            Event::Granted { token } => write!(f, "granted {token}"),
            Event::Believes { token } => write!(f, "believes {token}"),
            Event::Writing { token, element } => write!(f, "writing {token} {element}"),
            Event::Written { element } => write!(f, "written {element}"),
            Event::Refused { element } => write!(f, "refused {element}"),
            Event::Done => f.write_str("done"),
        }
    }
}

impl Record {
    /// Reads what `to_string` wrote.
    pub(super) fn parse(line: &str) -> Option<Record> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        let token = |at| i64::try_from(number(at)?).ok();
        let event = match *words.get(2)? {
            "asking" => Event::Asking,
            "granted" => Event::Granted { token: token(3)? },
            "believes" => Event::Believes { token: token(3)? },
            "writing" => Event::Writing { token: token(3)?, element: number(4)? },
            "written" => Event::Written { element: number(3)? },
            "refused" => Event::Refused { element: number(3)? },
            "done" => Event::Done,
            _ => return None,
        };
        Some(Record { at: number(0)?, client: number(1)?.try_into().ok()?, event })
    }
}

/// Everything that is known of a run.
pub(super) struct History {
    /// In the order of their times.
    pub(super) records: Vec<Record>,
    /// What is in the end in the set that was protected, in its order: elements and the tokens they were written with.
    pub(super) left: Vec<(u64, i64)>,
}

/// What is asked of a run.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Whether nobody may believe in a lease once another has it: not, if the store's clock jumps further than its bound.
    pub(super) beliefs: bool,
    /// No time as long as this passes without a grant.
    pub(super) takeover: Duration,
}

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wrong {
    /// A grant whose token is not larger than that of one which had been told before it was asked for.
    TokenDidNotGrow { client: u32, token: i64, before: i64 },
    /// Two grants of one token.
    TokenTwice { clients: [u32; 2], token: i64 },
    /// A client believed in its lease when another had been told that it has the next.
    BelievedTooLong { client: u32, token: i64, newer: i64, nanoseconds: u64 },
    /// A write that stands behind one with a larger token.
    OldTokenWrote { element: u64, token: i64, before: i64 },
    /// An acknowledged write that is gone.
    Lost { element: u64, token: i64 },
    /// An element that is there twice, was refused, was never written, or was written with another token.
    Strange { element: u64 },
    /// Nobody got the lease for so long.
    NobodyGotIt { nanoseconds: u64 },
}

/// Everything that is wrong; nothing, if the run kept its promises.
pub(super) fn check(history: &History, bounds: Bounds) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    check_grants(&history.records, bounds, &mut wrong);
    check_writes(history, &mut wrong);
    wrong
}

fn check_grants(records: &[Record], bounds: Bounds, wrong: &mut Vec<Wrong>) {
    // The largest token that anybody has been told so far, and since when.
    let (mut newest, mut since) = (0, 0);
    let mut when_asked: HashMap<u32, i64> = HashMap::new();
    let mut holders: HashMap<i64, u32> = HashMap::new();
    let mut last_grant = records.first().map_or(0, |record| record.at);
    let patience = u64::try_from(bounds.takeover.as_nanos()).unwrap();
    let mut gap = |last: u64, at: u64| {
        if at - last > patience {
            wrong.push(Wrong::NobodyGotIt { nanoseconds: at - last });
        }
    };
    let mut found = Vec::new();
    for &Record { at, client, event } in records {
        match event {
            Event::Asking => drop(when_asked.insert(client, newest)),
            Event::Granted { token } => {
                let before = when_asked.get(&client).copied().unwrap_or(newest);
                if token <= before {
                    found.push(Wrong::TokenDidNotGrow { client, token, before });
                }
                if let Some(other) = holders.insert(token, client) {
                    found.push(Wrong::TokenTwice { clients: [other, client], token });
                }
                if token > newest {
                    (newest, since) = (token, at);
                }
                gap(last_grant, at);
                last_grant = at;
            }
            Event::Believes { token } if bounds.beliefs && token < newest => {
                found.push(Wrong::BelievedTooLong { client, token, newer: newest, nanoseconds: at - since });
            }
            _ => {}
        }
    }
    gap(last_grant, records.last().map_or(0, |record| record.at));
    wrong.extend(found);
}

fn check_writes(history: &History, wrong: &mut Vec<Wrong>) {
    #[derive(Default)]
    struct Write {
        token: i64,
        acknowledged: bool,
        refused: bool,
        times_left: usize,
    }
    let mut writes: BTreeMap<u64, Write> = BTreeMap::new();
    for record in &history.records {
        match record.event {
            Event::Writing { token, element } => writes.entry(element).or_default().token = token,
            Event::Written { element } => writes.entry(element).or_default().acknowledged = true,
            Event::Refused { element } => writes.entry(element).or_default().refused = true,
            _ => {}
        }
    }
    let mut before = 0;
    for &(element, token) in &history.left {
        if token < before {
            wrong.push(Wrong::OldTokenWrote { element, token, before });
        }
        before = before.max(token);
        match writes.get_mut(&element) {
            Some(write) if write.token == token && !write.refused && write.times_left == 0 => {
                write.times_left = 1;
            }
            _ => wrong.push(Wrong::Strange { element }),
        }
    }
    let lost = writes.iter().filter(|(_, write)| write.acknowledged && write.times_left == 0);
    wrong.extend(lost.map(|(&element, write)| Wrong::Lost { element, token: write.token }));
}

mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { beliefs: true, takeover: Duration::from_nanos(50) };

    /// A history from lines, and what is left; the clients' letters are numbers.
    fn judged(lines: &[&str], left: &[(u64, i64)], bounds: Bounds) -> Vec<Wrong> {
        let records = lines.iter().map(|line| {
            let record = Record::parse(line).unwrap();
            assert_eq!(record.to_string(), *line);
            record
        });
        check(&History { records: records.collect(), left: left.to_vec() }, bounds)
    }

    const GOOD: [&str; 14] = [
        "1 1 asking",
        "2 2 asking",
        "3 1 granted 1",
        "4 1 believes 1",
        "5 1 writing 1 101",
        "6 1 written 101",
        "7 1 done",
        "8 2 granted 2",
        "9 2 writing 2 201",
        "10 3 asking",
        "20 3 granted 3",
        "21 2 refused 201",
        "22 3 writing 3 301",
        "23 3 believes 3",
    ];

    #[test]
    fn a_good_history_is_accepted() {
        assert_eq!(judged(&GOOD, &[(101, 1)], BOUNDS), []);
        // Nobody knows of a write without an answer.
        assert_eq!(judged(&GOOD, &[(101, 1), (301, 3)], BOUNDS), []);
    }

    #[test]
    fn tokens_that_do_not_grow_are_found() {
        let again = ["1 1 asking", "2 1 granted 7", "3 2 asking", "4 2 granted 7"];
        let expected = [
            Wrong::TokenDidNotGrow { client: 2, token: 7, before: 7 },
            Wrong::TokenTwice { clients: [1, 2], token: 7 },
        ];
        assert_eq!(judged(&again, &[], BOUNDS), expected);
        // The one who asked earlier may be told later.
        let crossed = ["1 1 asking", "2 2 asking", "3 2 granted 8", "4 1 granted 7", "5 1 done"];
        assert_eq!(judged(&crossed, &[], BOUNDS), []);
        let backward = ["1 2 asking", "3 2 granted 8", "3 1 asking", "4 1 granted 7"];
        assert_eq!(
            judged(&backward, &[], BOUNDS),
            [Wrong::TokenDidNotGrow { client: 1, token: 7, before: 8 }]
        );
    }

    #[test]
    fn who_believes_too_long_is_found() {
        let lines = ["1 1 asking", "2 1 granted 1", "3 2 asking", "4 2 granted 2", "9 1 believes 1"];
        let expected = Wrong::BelievedTooLong { client: 1, token: 1, newer: 2, nanoseconds: 5 };
        assert_eq!(judged(&lines, &[], BOUNDS), [expected]);
        assert_eq!(judged(&lines, &[], Bounds { beliefs: false, ..BOUNDS }), []);
    }

    #[test]
    fn writes_that_are_lost_late_or_strange_are_found() {
        assert_eq!(judged(&GOOD, &[], BOUNDS), [Wrong::Lost { element: 101, token: 1 }]);
        let late = Wrong::OldTokenWrote { element: 101, token: 1, before: 3 };
        assert_eq!(judged(&GOOD, &[(301, 3), (101, 1)], BOUNDS), [late]);
        for (left, element) in [
            (&[(101, 1), (101, 1)][..], 101),
            (&[(101, 1), (201, 2)], 201),
            (&[(101, 1), (999, 3)], 999),
            (&[(101, 1), (301, 4)], 301),
        ] {
            assert_eq!(judged(&GOOD, left, BOUNDS), [Wrong::Strange { element }], "{left:?}");
        }
    }

    #[test]
    fn a_lease_that_nobody_gets_is_found() {
        let lines = ["1 1 asking", "2 1 granted 1", "60 2 asking"];
        assert_eq!(judged(&lines, &[], BOUNDS), [Wrong::NobodyGotIt { nanoseconds: 58 }]);
        let lines = ["1 1 asking", "60 1 granted 1"];
        assert_eq!(judged(&lines, &[], BOUNDS), [Wrong::NobodyGotIt { nanoseconds: 59 }]);
    }
}
