//! Data goes to stdout, talk to stderr.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use tenure::document::Value;
use tenure::{Contention, Holders};

use crate::exit::{Exit, Failure};

/// How long a command waits before it says for whom.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// Prints data. A reader that has gone away (`| head`) is not an error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_on(text).map(drop)
}

/// Prints data; `false` if its reader has gone away, so that there is no more to do.
pub(crate) fn print_on(text: &str) -> Result<bool, Failure> {
    print_bytes_on(text.as_bytes())
}

/// [`print_on`] of data that need not be text.
pub(crate) fn print_bytes_on(bytes: &[u8]) -> Result<bool, Failure> {
    match write(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(unwritten(&error)),
    }
}

/// Prints what somebody must get.
pub(crate) fn deliver(text: &str) -> Result<(), Failure> {
    write(text.as_bytes()).map_err(|error| unwritten(&error))
}

fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush())
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("cannot write to standard output: {error}"))
}

/// Says something to the person.
pub(crate) fn tell(message: impl fmt::Display) {
    // In one piece, which others who tell something at the same time can't come into.
    let line = format!("tenure: {message}\n");
    // If stderr is gone, there is nobody to tell.
    let _nobody_listens = std::io::stderr().write_all(line.as_bytes());
}

/// Says for whom this process waits.
pub(crate) fn tell_waiting(contention: &Contention) {
    tell(format_args!("waiting for {}, held by {}", contention.path.display(), contention.holders));
}

/// One result, indented; with `raw`, a string is printed as its text.
pub(crate) fn print_value(value: &Value, raw: bool) -> Result<(), Failure> {
    print(&value_text(value, raw))
}

/// The text that [`print_value`] prints.
pub(crate) fn value_text(value: &Value, raw: bool) -> String {
    match value {
        Value::String(text) | Value::Foreign(text) if raw => format!("{text}\n"),
        value => format!("{value:#}\n"),
    }
}

/// An object of fields, for `--json`.
pub(crate) fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

pub(crate) fn string(text: impl fmt::Display) -> Value {
    Value::String(text.to_string())
}

pub(crate) fn number(number: impl fmt::Display) -> Value {
    Value::Number(number.to_string())
}

/// Holders for `--json`: pid, command, running_for_seconds, mode, certain.
pub(crate) fn holders(holders: &Holders) -> Value {
    let describe = |holder: &tenure::Holder| {
        object([
            ("pid", number(holder.pid)),
            ("command", holder.command.as_ref().map_or(Value::Null, string)),
            ("running_for_seconds", holder.running_for.map_or(Value::Null, |age| number(age.as_secs()))),
            ("mode", string(format!("{:?}", holder.mode).to_lowercase())),
            ("certain", Value::Bool(holder.certain)),
        ])
    };
    Value::Array(holders.list.iter().map(describe).collect())
}
