//! `tenure verify`: what a journal holds, sound or not.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tenure::document::Value;
use tenure::journal::{Damage, Report};

use super::receipt::range;
use crate::args::Verify;
use crate::exit::{Exit, Failure};
use crate::output;

/// A look that takes longer shows how far it is.
const PROMPT: Duration = Duration::from_secs(1);

pub(crate) fn verify(args: &Verify) -> Result<ExitCode, Failure> {
    let journal = args.format.open(&args.journal);
    let bar = progress();
    let report = journal.verify(|done, total| {
        if let Some(bar) = &bar
            && bar.elapsed() > PROMPT
        {
            bar.set_length(total);
            bar.set_position(done);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let report = report?;
    if args.json {
        output::print(&format!("{}\n", report_object(&report)))?;
    } else {
        output::print(&text(&args.journal, &report))?;
    }
    let Some(first) = report.damage.first() else { return Ok(ExitCode::SUCCESS) };
    let advice = "`tenure repair` takes the damage out and keeps a copy";
    Err(Failure::new(Exit::Data, format!("{}. {advice}", describe(first))))
}

/// A bar that draws nothing before it is told something, for a person who looks.
fn progress() -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
    Some(ProgressBar::no_length().with_style(style.ok()?))
}

fn text(journal: &Path, report: &Report) -> String {
    let verdict = if report.damage.is_empty() { "sound" } else { "DAMAGED" };
    let mut text = format!("{}: {verdict}\n", journal.display());
    let mut row = |name: &str, what: String| {
        writeln!(text, "  {name:8} {what}").expect("a string takes what it is given");
    };
    row("files", report.files.to_string());
    row("bytes", report.bytes.to_string());
    row("records", report.records.to_string());
    if let Some((first, last)) = report.sequences {
        let missing = match report.missing {
            0 => "none missing".to_owned(),
            missing => format!("{missing} missing: removed by a repair, or damaged"),
        };
        row("numbers", format!("{first} to {last}, {missing}"));
    }
    for damage in &report.damage {
        row("damage", describe(damage));
    }
    if let Some(tail) = &report.tail {
        let (offset, bytes, cause) = (tail.offset, tail.bytes, &tail.cause);
        let what = "from a crash, or of a writer at work; the next append moves it away";
        row("tail", format!("{bytes} bytes at byte {offset}: {cause} ({what})"));
    }
    text
}

/// Where damage is, and what.
pub(super) fn describe(damage: &Damage) -> String {
    let Damage { path, offset, bytes, sequence, cause, .. } = damage;
    let path = path.display();
    format!("{path}: damaged at byte {offset} ({bytes} bytes): {cause}, where record {sequence} should stand")
}

fn report_object(report: &Report) -> Value {
    let tail = report.tail.as_ref().map_or(Value::Null, |tail| {
        output::object([
            ("offset", output::number(tail.offset)),
            ("bytes", output::number(tail.bytes)),
            ("cause", output::string(&tail.cause)),
        ])
    });
    output::object([
        ("files", output::number(report.files)),
        ("bytes", output::number(report.bytes)),
        ("records", output::number(report.records)),
        ("sequences", range(report.sequences)),
        ("missing", output::number(report.missing)),
        ("damage", Value::Array(report.damage.iter().map(object).collect())),
        ("tail", tail),
    ])
}

pub(super) fn object(damage: &Damage) -> Value {
    output::object([
        ("path", output::string(damage.path.display())),
        ("offset", output::number(damage.offset)),
        ("bytes", output::number(damage.bytes)),
        ("sequence", output::number(damage.sequence)),
        ("cause", output::string(&damage.cause)),
    ])
}
