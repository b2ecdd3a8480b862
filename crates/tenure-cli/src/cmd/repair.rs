//! `tenure repair`: damage is taken out of a journal, and kept.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tenure::Journal;
use tenure::document::Value;
use tenure::journal::Damage;

use super::rotate::require;
use super::update::catch_file_size_signal;
use super::verify::{describe, object};
use crate::args::{Repair, wait};
use crate::exit::Failure;
use crate::output;

pub(crate) fn repair(args: &Repair) -> Result<ExitCode, Failure> {
    let wait = wait(args.writing.wait);
    require(&args.journal)?;
    catch_file_size_signal()?;
    let journal = Journal::open(&args.journal).on_wait(output::SILENCE, output::tell_waiting);
    let journal = args.writing.apply(journal);
    let (damage, copies) = if args.dry_run {
        (journal.verify(|_, _| {})?.damage, Vec::new())
    } else {
        let repaired = journal.repair(wait)?;
        (repaired.damage, repaired.copies)
    };
    let text = text(&args.journal, &damage, &copies, args.dry_run);
    if args.json {
        let copies = copies.iter().map(|copy| output::string(copy.display())).collect();
        let damage = damage.iter().map(object).collect();
        let fields = [("damage", Value::Array(damage)), ("copies", Value::Array(copies))];
        output::print(&format!("{}\n", output::object(fields)))?;
    } else if args.dry_run {
        output::print(&text)?;
    }
    if !args.dry_run {
        text.lines().for_each(output::tell);
    }
    Ok(ExitCode::SUCCESS)
}

fn text(journal: &Path, damage: &[Damage], copies: &[PathBuf], dry_run: bool) -> String {
    if damage.is_empty() {
        return format!("{}: no damage; nothing is to be done\n", journal.display());
    }
    let verb = if dry_run { "would be taken out" } else { "was taken out" };
    let damage = damage.iter().map(|damage| format!("{} {verb}\n", describe(damage)));
    let kept = |copy: &PathBuf| format!("{}: the damaged file as it was\n", copy.display());
    damage.chain(copies.iter().map(kept)).collect()
}
