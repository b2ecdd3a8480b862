//! `tenure reset`: records that were worked off go, a stamp comes.

use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use super::receipt::answer;
use super::update::catch_file_size_signal;
use crate::args::{Reset, wait};
use crate::exit::Failure;

pub(crate) fn reset(args: &Reset) -> Result<ExitCode, Failure> {
    let wait = wait(args.writing.wait);
    catch_file_size_signal()?;
    let journal = args.writing.apply(args.format.open(&args.journal));
    let receipt = journal.reset(wait, args.stamp.as_bytes(), args.through.as_ref())?;
    answer(&args.journal, &receipt, args.json)?;
    Ok(ExitCode::SUCCESS)
}
