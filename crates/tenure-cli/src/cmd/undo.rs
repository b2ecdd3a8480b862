//! `tenure undo`: back to the last version that was kept.

use std::process::ExitCode;

use tenure::Document;

use super::update::{catch_file_size_signal, check_durable, diff};
use crate::args::{Undo, wait};
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn undo(args: &Undo) -> Result<ExitCode, Failure> {
    let wait = wait(args.writing.wait);
    catch_file_size_signal()?;
    let document = Document::open(&args.file).on_wait(output::SILENCE, output::tell_waiting);
    let document = args.writing.apply(document, None);
    let problem = "no earlier version was kept beside it; `tenure update --backup` keeps one";
    let none = || Failure::new(Exit::NoInput, format!("{}: {problem}", args.file.display()));
    // Looked for before the lock is taken, which would make a lock file beside a name that was mistyped.
    let newest = document.versions()?.pop().ok_or_else(none)?;
    if args.dry_run {
        let then = Document::open(newest).read_bytes()?.ok_or_else(none)?;
        output::print(&diff(document.path(), document.read_bytes()?.as_deref(), &then))?;
        return Ok(ExitCode::SUCCESS);
    }
    let receipt = document.undo(wait)?;
    output::tell(format_args!("{}: is version {} again", args.file.display(), receipt.version));
    check_durable(&args.file, &receipt)?;
    Ok(ExitCode::SUCCESS)
}
