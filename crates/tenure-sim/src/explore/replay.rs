//! A run again, with every step written down.

use super::run::{Options, Run};
use super::{Action, Violation};
use crate::scenario::{Scenario, Setting};

/// What a replayed run was: the rule that it breaks, if any, and its steps, a line each.
pub struct Replayed {
    /// The broken rule.
    pub rule: Option<String>,
    /// The steps.
    pub trace: String,
}

/// Runs the choices again; when they are used up, everyone goes on in turn to the end.
pub fn replay(scenario: &Scenario, setting: &Setting, actions: &[Action]) -> Replayed {
    let mut run = Run::start(scenario, setting, true);
    let rule = again(&mut run, actions).err();
    Replayed { rule, trace: run.trace().to_owned() }
}

fn again(run: &mut Run<'_>, actions: &[Action]) -> Result<(), String> {
    let mut actions = actions.iter();
    loop {
        run.settle()?;
        let options = match run.options(None, true) {
            Options::Some { actions, .. } => actions,
            Options::End => return run.judge(),
            Options::Broken(rule) => return Err(rule),
        };
        let chosen = actions.next().copied();
        match chosen {
            Some(Action::Power(which)) => {
                run.apply(Action::Power(which));
                return run.judge();
            }
            Some(action) if options.iter().all(|(option, _)| *option != action) => {
                return Err(format!("this is no run of the scenario: {action} is not possible here"));
            }
            chosen => run.apply(chosen.unwrap_or(options[0].0)),
        }
    }
}

/// A violation's steps.
pub fn trace(scenario: &Scenario, setting: &Setting, violation: &Violation) -> String {
    replay(scenario, setting, &violation.actions).trace
}
