//! `tenure status`: who holds what, without disturbing anyone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tenure::Holders;
use tenure::document::Value;
use tenure::lock::Verdict;

use super::kind::{Found, exists, find};
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
            rows.push((path.to_owned(), Row::new(find(path)?)));
        }
    }
    if args.json {
        let rows = rows.iter().map(|(path, row)| row.object(path)).collect();
        output::print_value(&Value::Array(rows), false)?;
    } else {
        output::print(&rows.iter().map(|(path, row)| row.line(path)).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One PATH, as a line or as an object.
struct Row {
    state: &'static str,
    kind: Option<&'static str>,
    holders: Holders,
}

impl Row {
    fn new(found: Found) -> Row {
        match found {
            Found::Missing => Row { state: "missing", kind: None, holders: Holders::default() },
            Found::Flock(holders) => Row { state: state(&holders), kind: Some("flock"), holders },
            Found::Lockfile(holders) => Row { state: state(&holders), kind: Some("lockfile"), holders },
        }
    }

    fn line(&self, path: &Path) -> String {
        let verdict = self.verdict();
        let note = match (self.state, self.kind) {
            ("unknown", _) => " (processes of other users can't be inspected)",
            ("free", Some("lockfile")) => " (lockfile kind)",
            _ if verdict.is_some_and(Verdict::is_stale) => "; the next comer takes it",
            _ => "",
        };
        let whom = if self.holders.list.is_empty() { String::new() } else { format!(" by {}", self.holders) };
        format!("{}: {}{whom}{note}\n", path.display(), self.state)
    }

    fn object(&self, path: &Path) -> Value {
        let text = |text: Option<String>| text.map_or(Value::Null, output::string);
        let owner = self.holders.list.first();
        output::object([
            ("path", output::string(path.display())),
            ("state", output::string(self.state)),
            ("holders", output::holders(&self.holders)),
            ("partial", Value::Bool(self.holders.partial)),
            ("kind", text(self.kind.map(str::to_owned))),
            ("host", text(owner.and_then(|owner| owner.host.clone()))),
            ("verdict", text(self.verdict().map(|verdict| format!("{:?}", verdict.state).to_lowercase()))),
            ("reason", text(self.verdict().map(|verdict| verdict.reason.clone()))),
        ])
    }

    /// Of a lock file's owner.
    fn verdict(&self) -> Option<&Verdict> {
        self.holders.list.first()?.verdict.as_ref()
    }
}

/// `held`, `free`, or `unknown` where not everyone could be looked at.
fn state(holders: &Holders) -> &'static str {
    match (holders.list.is_empty(), holders.partial) {
        (false, _) => "held",
        (true, true) => "unknown",
        (true, false) => "free",
    }
}
