//! `tenure update`: change a document by expression.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tenure::document::Value;
use tenure::{Document, Reached, Receipt};

use crate::args::{Update, wait};
use crate::exit::{Exit, Failure};
use crate::expression::{Expression, variables};
use crate::output;

pub(crate) fn update(args: &Update) -> Result<ExitCode, Failure> {
    // The deadline counts from here, not from when the expression is compiled.
    let wait = wait(args.writing.wait);
    if args.expression.code.is_none() && args.expression.from_file.is_none() {
        let problem = "an update needs an expression: tenure update FILE EXPR, or -f FILE";
        return Err(Failure::new(Exit::Usage, problem));
    }
    let expression = Expression::from_args(&args.expression)?;
    catch_file_size_signal()?;
    let document = document(args)?;
    if args.dry_run {
        return preview(&document, &expression);
    }
    // As text, which is the smallest form of a large document.
    let mut new = String::new();
    let changed = document.transform(wait, |value| {
        let (before, after) = expression.run_single(value)?;
        new = output::value_text(&after, args.expression.raw && !args.json);
        Ok((before, after))
    });
    let receipt = changed.map_err(|error| advised(&document, error))?;
    let printed = match args.json {
        true => report(&receipt, &new).and_then(|report| output::print_value(&report, false)),
        false => output::print(&new),
    };
    // Whoever repeats a failed update must know that this one was not in vain.
    printed.map_err(|failure| {
        let done = if receipt.changed { "the change is made" } else { "the file needed no change" };
        Failure::new(failure.exit, format!("{}: {done}, but {}", args.file.display(), failure.message))
    })?;
    check_durable(&args.file, &receipt)?;
    Ok(ExitCode::SUCCESS)
}

fn document(args: &Update) -> Result<Document, Failure> {
    let mut document = args.writing.apply(args.format.open(&args.file), args.backup);
    if let Some(version) = args.if_version {
        document = document.if_version(version);
    }
    if let Some(code) = &args.init {
        let init =
            Expression::compile(code.clone(), variables(&args.expression)?, args.expression.time_limit)?;
        let (_, value) = init
            .run_single(&Value::Null)
            .map_err(|problem| Failure::new(Exit::Data, format!("--init: {problem}")))?;
        document = document.initial_value(value);
    }
    Ok(document)
}

/// An empty file is no JSON, but there is a way to change it.
fn advised(document: &Document, error: tenure::Error) -> Failure {
    let empty = error.is_corrupt()
        && document.read_bytes().is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes.trim_ascii().is_empty()));
    let mut failure = Failure::from(error);
    if empty {
        failure.message.push_str(". --init '{}' says what an empty file holds");
    }
    failure
}

fn preview(document: &Document, expression: &Expression) -> Result<ExitCode, Failure> {
    let previewed = document.preview(|value| Ok(expression.run_single(value)?));
    let (now, then) = previewed.map_err(|error| advised(document, error))?;
    output::print(&diff(document.path(), now.as_deref(), &then))?;
    Ok(ExitCode::SUCCESS)
}

/// What would change, as a unified diff.
pub(super) fn diff(path: &Path, now: Option<&[u8]>, then: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(now.unwrap_or_default()), String::from_utf8_lossy(then));
    let name = path.display().to_string();
    let old_name = if now.is_some() { name.as_str() } else { "/dev/null" };
    let diff = similar::TextDiff::from_lines(old.as_ref(), new.as_ref());
    diff.unified_diff().header(old_name, &name).to_string()
}

/// The default effect of this signal is to end the process; caught, the write fails with EFBIG instead.
pub(super) fn catch_file_size_signal() -> Result<(), Failure> {
    let caught = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, caught)
        .map_err(|error| Failure::new(Exit::Io, format!("cannot catch signals: {error}")))?;
    Ok(())
}

/// Says what the receipt of a change leaves in doubt.
pub(super) fn check_durable(path: &Path, receipt: &Receipt) -> Result<(), Failure> {
    if receipt.durability == Reached::Unknown {
        let problem = "the change is made and visible, but syncing the directory failed, so it may not survive a power loss";
        return Err(Failure::new(Exit::Io, format!("{}: {problem}", path.display())));
    }
    Ok(())
}

fn report(receipt: &Receipt, document: &str) -> Result<Value, Failure> {
    let document = Value::parse_json(document).map_err(|problem| Failure::new(Exit::Internal, problem))?;
    let durability = match receipt.durability {
        Reached::Power => "power",
        Reached::Process => "process",
        Reached::Unknown => "unknown",
    };
    Ok(output::object([
        ("changed", Value::Bool(receipt.changed)),
        ("version", output::string(receipt.version)),
        ("durability", output::string(durability)),
        ("document", document),
    ]))
}
