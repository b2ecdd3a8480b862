//! What `tenure run --lease` tells its watchdog: lines on a pipe, which is at its end when `tenure` is gone.
//!
//! The first line is an object that says what to watch. It goes this way, since others can read arguments and environments, and
//! an address may have a password in it. Each line that follows is an order.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::{read, retry_on_intr};
use serde_json::{Value, json};
use tenure::Moment;

/// More than the first line ever has: a path, a name of a lease, and some numbers.
const LINE_MAX: usize = 1 << 20;

/// What to watch.
// No Debug: the address may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) address: String,
    pub(super) handle: String,
    pub(super) grace: Duration,
    pub(super) deadline: Moment,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The lease was renewed, until this moment.
    Renewed(Moment),
    /// The lease is another's: the command is to end now.
    Lost,
    /// The command has ended.
    Ended,
}

impl Setup {
    pub(super) fn line(&self) -> String {
        let (address, handle) = (&self.address, &self.handle);
        let (grace, deadline) = (nanoseconds(self.grace), nanoseconds(self.deadline.since_zero()));
        format!("{}\n", json!({"address": address, "handle": handle, "grace": grace, "deadline": deadline}))
    }

    pub(super) fn parse(line: &str) -> Option<Setup> {
        let setup: Value = serde_json::from_str(line).ok()?;
        let time = |key| Some(Duration::from_nanos(setup[key].as_u64()?));
        Some(Setup {
            address: setup["address"].as_str()?.to_owned(),
            handle: setup["handle"].as_str()?.to_owned(),
            grace: time("grace")?,
            deadline: Moment::from_clock(time("deadline")?),
        })
    }
}

impl Order {
    pub(super) fn line(self) -> String {
        match self {
            Order::Renewed(deadline) => format!("{}\n", nanoseconds(deadline.since_zero())),
            Order::Lost => "lost\n".to_owned(),
            Order::Ended => "ended\n".to_owned(),
        }
    }

    pub(super) fn parse(line: &str) -> Option<Order> {
        match line {
            "lost" => Some(Order::Lost),
            "ended" => Some(Order::Ended),
            number => Some(Order::Renewed(Moment::from_clock(Duration::from_nanos(number.parse().ok()?)))),
        }
    }
}

/// Of a time that is less than 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The lines of a descriptor, taken from it no faster than it has them.
pub(super) struct Lines<Fd> {
    from: Fd,
    bytes: Vec<u8>,
    lines: VecDeque<String>,
    pub(super) at_end: bool,
}

impl<Fd: AsFd> Lines<Fd> {
    pub(super) fn new(from: Fd) -> Lines<Fd> {
        Lines { from, bytes: Vec::new(), lines: VecDeque::new(), at_end: false }
    }

    /// The next line of those that were read.
    pub(super) fn next(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    /// Waits for what there is to be read, and reads that.
    pub(super) fn read(&mut self) {
        let mut buffer = [0; 4096];
        // What can't be read is at its end: then the command is ended, which is the safe side.
        let length = retry_on_intr(|| read(&self.from, &mut buffer)).unwrap_or(0);
        self.at_end = length == 0 || self.bytes.len() > LINE_MAX;
        self.bytes.extend_from_slice(&buffer[..length]);
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            self.lines.push_back(String::from_utf8_lossy(&line[..end]).into_owned());
        }
    }

    /// Waits for the next line; `None` at the end.
    pub(super) fn wait(&mut self) -> Option<String> {
        while self.lines.is_empty() && !self.at_end {
            self.read();
        }
        self.next()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let setup = Setup {
            address: "sqlite:/a \"b\"\n\u{e9}".to_owned(),
            handle: "lease1:1".to_owned(),
            grace: Duration::from_millis(5),
            deadline: Moment::from_clock(Duration::from_nanos(u64::MAX)),
        };
        let line = setup.line();
        assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
        assert!(Setup::parse(line.trim_end()) == Some(setup));
        assert!(Setup::parse("{\"address\": \"sqlite:a\"}").is_none());
        for order in [Order::Renewed(Moment::from_clock(Duration::from_secs(7))), Order::Lost, Order::Ended] {
            assert_eq!(Order::parse(order.line().trim_end()), Some(order));
        }
        assert_eq!(Order::parse("nonsense"), None);
    }

    #[test]
    fn lines_come_in_pieces() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut lines = Lines::new(reader);
        rustix::io::write(&writer, b"lost\nen").unwrap();
        assert_eq!(lines.wait().as_deref(), Some("lost"));
        rustix::io::write(&writer, b"ded\n").unwrap();
        assert_eq!(lines.wait().as_deref(), Some("ended"));
        drop(writer);
        assert_eq!((lines.wait(), lines.at_end), (None, true));
    }
}
