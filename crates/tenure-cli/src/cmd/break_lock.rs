//! `tenure break`: take a lock of the lockfile kind away from its owner, whom it names first.

use std::path::Path;
use std::process::ExitCode;

use tenure::lock::State;
use tenure::{Holders, Lock};

use super::kind::{Found, find};
use crate::args::Break;
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn break_lock(args: &Break) -> Result<ExitCode, Failure> {
    let path = args.path.display();
    match find(&args.path)? {
        Found::Missing => Err(Failure::new(Exit::NoInput, format!("{path}: no such lock"))),
        Found::Flock(holders) => Err(refusal(&args.path, &holders)),
        Found::Lockfile(owner) if owner.list.is_empty() => Ok(nothing(&args.path)),
        Found::Lockfile(owner) if !args.yes => {
            let risk = risk(&owner);
            let message =
                format!("{path} is held by {owner}. {risk}\nNothing was done; --yes breaks the lock");
            Err(Failure::new(Exit::Usage, message))
        }
        Found::Lockfile(_) => Ok(match Lock::lockfile(&args.path).force_break()? {
            Some(owner) => {
                output::tell(format_args!("{path} was broken; it was held by {owner}"));
                ExitCode::SUCCESS
            }
            None => nothing(&args.path),
        }),
    }
}

fn nothing(path: &Path) -> ExitCode {
    output::tell(format_args!("{}: nobody holds this lock; there is nothing to break", path.display()));
    ExitCode::SUCCESS
}

fn refusal(path: &Path, holders: &Holders) -> Failure {
    let way_out = match holders.list.as_slice() {
        [] if holders.partial => "Who holds it can't be seen from here".to_owned(),
        [] => "Nobody on this machine holds it now".to_owned(),
        _ => format!("End its holder: {holders}"),
    };
    let problem = "is no lock of the lockfile kind, and one of the flock kind can't be broken: the kernel keeps it until \
                   its holder ends";
    Failure::new(Exit::Data, format!("{}: {problem}. {way_out}", path.display()))
}

/// What breaking the lock would do to its owner, as far as that is known.
fn risk(owner: &Holders) -> &'static str {
    match owner.list.first().and_then(|owner| owner.verdict.as_ref()).map(|verdict| verdict.state) {
        Some(State::Alive) => {
            "To break it is not safe: its owner is alive, and another would be let in beside it. End the owner instead"
        }
        Some(State::Dead | State::Expired) => {
            "To break it is safe, but there is no need to: the next comer takes it from this owner anyway"
        }
        _ => {
            "Whether it is safe to break it can't be seen from here: it is, if you know that this owner is gone or has stopped \
             its work"
        }
    }
}
