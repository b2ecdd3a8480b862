//! `tenure rotate`: a new file of a journal.

use std::path::Path;
use std::process::ExitCode;

use super::kind::exists;
use super::receipt::answer;
use super::update::catch_file_size_signal;
use crate::args::{Rotate, wait};
use crate::exit::{Exit, Failure};

pub(crate) fn rotate(args: &Rotate) -> Result<ExitCode, Failure> {
    let wait = wait(args.writing.wait);
    require(&args.journal)?;
    catch_file_size_signal()?;
    let mut journal = args.writing.apply(args.format.open(&args.journal));
    if let Some(count) = args.keep {
        journal = journal.keep_segments(count);
    }
    answer(&args.journal, &journal.rotate(wait)?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Looked for before the lock is taken, which would make a lock file beside a name that was mistyped.
pub(super) fn require(journal: &Path) -> Result<(), Failure> {
    if exists(journal) {
        return Ok(());
    }
    let problem = "no such file; nothing creates it but an append";
    Err(Failure::new(Exit::NoInput, format!("{}: {problem}", journal.display())))
}
