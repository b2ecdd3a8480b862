//! `tenure status`: who holds what, without disturbing anyone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tenure::document::Value;
use tenure::{Holders, Lock};

use crate::args::Status;
use crate::exit::Failure;
use crate::output;

pub(crate) fn status(args: &Status) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    for path in &args.paths {
        let mut sidecar = path.clone().into_os_string();
        sidecar.push(".lock");
        let sidecar = PathBuf::from(sidecar);
        let exists = exists(&sidecar);
        for path in [Some(path.as_path()), exists.then_some(sidecar.as_path())].into_iter().flatten() {
            rows.push(row(path, args.json)?);
        }
    }
    if args.json {
        let rows = rows.into_iter().map(|(_, value)| value).collect();
        output::print_value(&Value::Array(rows), false)?;
    } else {
        output::print(&rows.into_iter().map(|(line, _)| line).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(path: &Path, json: bool) -> Result<(String, Value), Failure> {
    let exists = exists(path);
    let holders = Lock::flock(path).holder()?;
    let state = state(&holders, exists);
    if !json {
        let whom = if holders.list.is_empty() { String::new() } else { format!(" by {holders}") };
        let note = match (holders.list.is_empty(), holders.partial) {
            (true, true) => " (processes of other users can't be inspected)",
            _ => "",
        };
        return Ok((format!("{}: {state}{whom}{note}\n", path.display()), Value::Null));
    }
    let fields = [
        ("path", output::string(path.display())),
        ("state", output::string(state)),
        ("holders", output::holders(&holders)),
        ("partial", Value::Bool(holders.partial)),
    ];
    Ok((String::new(), output::object(fields)))
}

/// `held`, `free`, `missing` (and so held by nobody), or `unknown` where not everyone could be looked at.
fn state(holders: &Holders, exists: bool) -> &'static str {
    match (holders.list.is_empty(), exists, holders.partial) {
        (false, _, _) => "held",
        (true, false, _) => "missing",
        (true, true, true) => "unknown",
        (true, true, false) => "free",
    }
}

#[expect(clippy::disallowed_methods, reason = "a look for the reader's benefit; no decision rests on it")]
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
