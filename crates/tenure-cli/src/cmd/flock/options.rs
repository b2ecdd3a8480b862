//! The command line of flock(1), understood as `getopt_long(3)` does (pure).
//!
//! Long names may be shortened while it is clear which is meant, short options may stand together, and the first operand ends
//! the options, so that those of the command are left alone. clap can be told most of this, but neither the order in which
//! mistakes are found nor what is said of them; two tables can.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use tenure::host::Request;

use super::number::{self, Bad};

/// `EX_USAGE` of `sysexits.h`.
const USAGE: u8 = 64;

/// What one option asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Shared,
    Exclusive,
    Unlock,
    Nonblock,
    Wait,
    ConflictCode,
    Close,
    NoFork,
    Verbose,
    Help,
    Version,
    /// `-?`, which is a mistake that nothing is said about.
    Wrong,
}

impl Key {
    fn takes_value(self) -> bool {
        matches!(self, Key::Wait | Key::ConflictCode)
    }
}

const SHORT: [(u8, Key); 12] = [
    (b's', Key::Shared),
    (b'x', Key::Exclusive),
    (b'e', Key::Exclusive),
    (b'u', Key::Unlock),
    (b'n', Key::Nonblock),
    (b'w', Key::Wait),
    (b'E', Key::ConflictCode),
    (b'o', Key::Close),
    (b'F', Key::NoFork),
    (b'h', Key::Help),
    (b'V', Key::Version),
    (b'?', Key::Wrong),
];

/// The long names, in the order in which an ambiguous one lists them.
const LONG: [(&str, Key); 13] = [
    ("shared", Key::Shared),
    ("exclusive", Key::Exclusive),
    ("unlock", Key::Unlock),
    ("nonblocking", Key::Nonblock),
    ("nb", Key::Nonblock),
    ("timeout", Key::Wait),
    ("wait", Key::Wait),
    ("conflict-exit-code", Key::ConflictCode),
    ("close", Key::Close),
    ("no-fork", Key::NoFork),
    ("verbose", Key::Verbose),
    ("help", Key::Help),
    ("version", Key::Version),
];

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Forever,
    /// Not at all, if this is 0.
    Within(Duration),
    /// A time that no timer can be set to, which is said only when it would be.
    Impossible,
}

/// What the options and operands ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) request: Request,
    pub(super) patience: Patience,
    pub(super) conflict_code: u8,
    pub(super) close: bool,
    pub(super) no_fork: bool,
    pub(super) verbose: bool,
    pub(super) what: What,
}

/// What to lock, and what for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A descriptor that our caller has opened.
    Number(i32),
    /// A file or directory, while a program with these arguments runs.
    Command { file: OsString, command: Vec<OsString> },
    /// The same, for a line that the shell runs.
    Line { file: OsString, line: OsString },
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Task(Task),
    Help,
    Version,
}

/// Why a command line can't be followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    /// What to say, if anything.
    pub(super) message: Option<OsString>,
    /// Whether it is said under the name with its path, as `getopt_long` does.
    pub(super) by_full_name: bool,
    /// Whether to say where help is to be had.
    pub(super) try_help: bool,
}

impl Complaint {
    pub(super) const EXIT: u8 = USAGE;

    /// What `getopt_long` complains about.
    fn option(parts: &[&[u8]]) -> Complaint {
        Complaint { message: Some(joined(parts)), by_full_name: true, try_help: true }
    }

    fn value(parts: &[&[u8]]) -> Complaint {
        Complaint { message: Some(joined(parts)), ..Complaint::default() }
    }

    fn number(what: &str, given: &OsStr, bad: Bad) -> Complaint {
        let range: &[u8] = match bad {
            Bad::Format => b"",
            Bad::Range => b": Numerical result out of range",
        };
        Complaint::value(&[what.as_bytes(), b": '", given.as_bytes(), b"'", range])
    }
}

fn joined(parts: &[&[u8]]) -> OsString {
    OsStr::from_bytes(&parts.concat()).to_owned()
}

/// Understands what follows the program's name.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Asked, Complaint> {
    if arguments.is_empty() {
        let message = Some("not enough arguments".into());
        return Err(Complaint { message, try_help: true, ..Complaint::default() });
    }
    let mut task = Task {
        request: Request::Exclusive,
        patience: Patience::Forever,
        conflict_code: 1,
        close: false,
        no_fork: false,
        verbose: false,
        what: What::Number(-1),
    };
    let (mut nonblock, mut wait) = (false, None);
    let mut scan = Scan { rest: arguments.into_iter(), cluster: Vec::new(), operands: Vec::new() };
    while let Some((key, value)) = scan.next()? {
        match key {
            Key::Shared => task.request = Request::Shared,
            Key::Exclusive => task.request = Request::Exclusive,
            Key::Unlock => task.request = Request::Unlock,
            Key::Nonblock => nonblock = true,
            Key::Wait => {
                let seconds = number::seconds(&value);
                let bad = || Complaint::number("invalid timeout value", &value, Bad::Format);
                wait = Some(seconds.ok_or_else(bad)?);
            }
            Key::ConflictCode => task.conflict_code = exit_code(&value)?,
            Key::Close => task.close = true,
            Key::NoFork => task.no_fork = true,
            Key::Verbose => task.verbose = true,
            Key::Help => return Ok(Asked::Help),
            Key::Version => return Ok(Asked::Version),
            Key::Wrong => return Err(Complaint { try_help: true, ..Complaint::default() }),
        }
    }
    if task.no_fork && task.close {
        return Err(Complaint::value(&[b"the --no-fork and --close options are incompatible"]));
    }
    task.patience = match wait.map_or(Patience::Forever, patience) {
        Patience::Impossible => Patience::Impossible,
        _ if nonblock => Patience::Within(Duration::ZERO),
        patience => patience,
    };
    task.what = what(scan.operands)?;
    Ok(Asked::Task(task))
}

fn exit_code(value: &OsStr) -> Result<u8, Complaint> {
    let code = number::integer(value).map_err(|bad| Complaint::number("invalid exit code", value, bad))?;
    u8::try_from(code).map_err(|_| Complaint::value(&[b"exit code out of range (expected 0 to 255)"]))
}

/// A number of seconds as a timer takes it: whole microseconds, of which there are not less than none.
fn patience(seconds: f64) -> Patience {
    const SECONDS_END: f64 = (1_u64 << 63) as f64;
    let microseconds = (seconds.fract() * 1e6).trunc();
    if !(0.0..SECONDS_END).contains(&seconds.trunc()) || microseconds < 0.0 {
        return Patience::Impossible;
    }
    let whole = Duration::try_from_secs_f64(seconds.trunc()).unwrap_or(Duration::MAX);
    let part = Duration::try_from_secs_f64(microseconds / 1e6).unwrap_or_default();
    Patience::Within(whole.saturating_add(part))
}

fn what(operands: Vec<OsString>) -> Result<What, Complaint> {
    let mut operands = operands.into_iter();
    let Some(first) = operands.next() else {
        return Err(Complaint::value(&[b"requires file descriptor, file or directory"]));
    };
    let mut command: Vec<OsString> = operands.collect();
    let by_shell = command.first().is_some_and(|word| word == "-c" || word == "--command");
    match command.len() {
        0 => {
            let bad = |bad| Complaint::number("bad file descriptor", &first, bad);
            number::integer(&first).map(What::Number).map_err(bad)
        }
        2 if by_shell => Ok(What::Line { file: first, line: command.remove(1) }),
        _ if by_shell => {
            Err(Complaint::value(&[command[0].as_bytes(), b" requires exactly one command argument"]))
        }
        _ => Ok(What::Command { file: first, command }),
    }
}

/// Walks over the options.
struct Scan {
    rest: std::vec::IntoIter<OsString>,
    /// What is left of short options that stand together.
    cluster: Vec<u8>,
    /// What follows the options, once they have ended.
    operands: Vec<OsString>,
}

impl Scan {
    /// The next option with its value, which is empty where it takes none.
    fn next(&mut self) -> Result<Option<(Key, OsString)>, Complaint> {
        if self.cluster.is_empty() {
            let Some(word) = self.rest.next() else { return Ok(None) };
            match word.as_bytes() {
                b"--" => self.operands = self.rest.by_ref().collect(),
                [b'-', b'-', name @ ..] => return self.long(name).map(Some),
                [b'-', cluster @ ..] if !cluster.is_empty() => self.cluster = cluster.to_vec(),
                _ => self.operands = std::iter::once(word).chain(self.rest.by_ref()).collect(),
            }
        }
        if self.cluster.is_empty() {
            return Ok(None);
        }
        self.short().map(Some)
    }

    fn short(&mut self) -> Result<(Key, OsString), Complaint> {
        let letter = self.cluster.remove(0);
        let Some((_, key)) = SHORT.into_iter().find(|(known, _)| *known == letter) else {
            return Err(Complaint::option(&[b"invalid option -- '", &[letter], b"'"]));
        };
        if !key.takes_value() {
            return Ok((key, OsString::new()));
        }
        let attached = std::mem::take(&mut self.cluster);
        let value = match attached.is_empty() {
            true => self.rest.next(),
            false => Some(joined(&[&attached])),
        };
        let missing = || Complaint::option(&[b"option requires an argument -- '", &[letter], b"'"]);
        value.map(|value| (key, value)).ok_or_else(missing)
    }

    fn long(&mut self, word: &[u8]) -> Result<(Key, OsString), Complaint> {
        let equals = word.iter().position(|&byte| byte == b'=');
        let (given, attached) = match equals {
            Some(at) => (&word[..at], Some(joined(&[&word[at + 1..]]))),
            None => (word, None),
        };
        let (name, key) = long_name(given, word)?;
        let about = |end: &[u8]| Complaint::option(&[b"option '--", name.as_bytes(), b"'", end]);
        match (key.takes_value(), attached) {
            (false, Some(_)) => Err(about(b" doesn't allow an argument")),
            (false, None) => Ok((key, OsString::new())),
            (true, Some(value)) => Ok((key, value)),
            (true, None) => {
                self.rest.next().map(|value| (key, value)).ok_or_else(|| about(b" requires an argument"))
            }
        }
    }
}

/// The option that `given` names, or begins the name of; `word` is what a complaint quotes.
fn long_name(given: &[u8], word: &[u8]) -> Result<(&'static str, Key), Complaint> {
    if let Some(exact) = LONG.into_iter().find(|(name, _)| name.as_bytes() == given) {
        return Ok(exact);
    }
    let mut fitting = LONG.into_iter().filter(|(name, _)| name.as_bytes().starts_with(given));
    let Some(first) = fitting.next() else {
        return Err(Complaint::option(&[b"unrecognized option '--", word, b"'"]));
    };
    let others: Vec<&str> = fitting.filter(|(_, key)| *key != first.1).map(|(name, _)| name).collect();
    if others.is_empty() {
        return Ok(first);
    }
    let names = std::iter::once(first.0).chain(others);
    let possible: String = names.map(|name| format!(" '--{name}'")).collect();
    Err(Complaint::option(&[b"option '--", word, b"' is ambiguous; possibilities:", possible.as_bytes()]))
}
