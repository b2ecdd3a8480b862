//! `tenure get`: read without a lock, once or for as long as somebody looks.

use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use tenure::document::Value;
use tenure::{Cancel, Document, Version, Wait};

use crate::args::Get;
use crate::exit::{Exit, Failure};
use crate::expression::Expression;
use crate::output;

pub(crate) fn get(args: &Get) -> Result<ExitCode, Failure> {
    let expression = Expression::from_args(&args.expression)?;
    let document = args.format.open(&args.file);
    if args.follow {
        return follow(args, &document, &expression);
    }
    let (value, version) = document.read_versioned()?;
    if version == Version::of(None) {
        return Err(Failure::new(Exit::NoInput, format!("{}: no such file", args.file.display())));
    }
    output::print(&text(args, version, results(args, &expression, &value)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the results of each state that has others than the one before. What can't be read is said, and the next state
/// awaited; only the end of the reader ends this.
fn follow(args: &Get, document: &Document, expression: &Expression) -> Result<ExitCode, Failure> {
    let mut watch = document.watch();
    let gone = reader_gone();
    let mut printed = None;
    loop {
        let version = match watch.next(Wait::Forever.or(&gone)) {
            Err(error) if error.is_cancelled() => return Ok(ExitCode::SUCCESS),
            next => next?,
        };
        if version == Version::of(None) {
            output::tell(format_args!("{}: no such file; waiting for it", args.file.display()));
            continue;
        }
        let found = watch.value().map_err(Failure::from).and_then(|value| results(args, expression, &value));
        match found {
            Ok(results) if printed.as_ref() == Some(&results) => {}
            Ok(results) => {
                if !output::print_on(&text(args, version, results.clone()))? {
                    return Ok(ExitCode::SUCCESS);
                }
                printed = Some(results);
            }
            Err(failure) => output::tell(&failure.message),
        }
    }
}

/// Cancelled when nobody reads standard output any more, which a write would learn at the next change only.
pub(super) fn reader_gone() -> Cancel {
    let gone = Cancel::new();
    let cancelled = gone.clone();
    std::thread::spawn(move || {
        let stdout = std::io::stdout();
        // No events are asked for: only an error or a hang-up ends this.
        let mut reader = [PollFd::new(&stdout, PollFlags::empty())];
        if rustix::io::retry_on_intr(|| poll(&mut reader, None)).is_ok() {
            cancelled.cancel();
        }
    });
    gone
}

fn results(args: &Get, expression: &Expression, value: &Value) -> Result<Vec<Value>, Failure> {
    let found = expression.run(value);
    let (_, results) =
        found.map_err(|problem| Failure::new(Exit::Data, format!("{}: {problem}", args.file.display())))?;
    Ok(results)
}

fn text(args: &Get, version: Version, results: Vec<Value>) -> String {
    if args.json {
        let fields = [("version", output::string(version)), ("results", Value::Array(results))];
        return output::value_text(&output::object(fields), false);
    }
    results.iter().map(|result| output::value_text(result, args.expression.raw)).collect()
}
