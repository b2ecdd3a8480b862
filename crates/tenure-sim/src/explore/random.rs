//! Random walks, for more processes than every interleaving of can be tried.
//!
//! The seed is printed with what is found, but not needed for it: a violation is replayed from its choices. Walks that
//! change the process with even odds at each call found the twins sooner than PCT's few change points did.

use std::time::Instant;

use super::run::{Options, Run};
use super::search::Limits;
use super::{Action, Outcome, Violation};
use crate::scenario::{Scenario, Setting};

/// SplitMix64 (Steele, Lea and Flood 2014): a number is all its state, so a seed is all one needs.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("less than the limit")
    }
}

/// One choice in so many is something that goes wrong, as long as something may.
const MISHAP_ODDS: usize = 24;

/// Walks at random until the limits are reached or a rule is broken.
#[expect(clippy::disallowed_methods, reason = "how long the search took, not a clock of the simulation")]
pub fn walk(
    scenario: &Scenario,
    setting: &Setting,
    seed: u64,
    limits: Limits,
    beat: &mut dyn FnMut(&Outcome),
) -> Outcome {
    let (start, mut outcome, mut numbers) = (Instant::now(), Outcome::default(), Numbers(seed));
    while outcome.executions < limits.executions && outcome.time < limits.time {
        let mut run = Run::start(scenario, setting, false);
        let mut actions = Vec::new();
        let rule = one(&mut run, &mut numbers, &mut actions);
        outcome.executions += 1;
        outcome.steps += actions.len() as u64;
        outcome.depth = outcome.depth.max(actions.len());
        outcome.sometimes.extend(run.sometimes.iter().copied());
        outcome.time = start.elapsed();
        if let Err(rule) = rule {
            outcome.violation = Some(Violation { rule, actions });
            return outcome;
        }
        if outcome.executions.is_multiple_of(256) {
            beat(&outcome);
        }
    }
    outcome
}

fn one(run: &mut Run<'_>, numbers: &mut Numbers, actions: &mut Vec<Action>) -> Result<(), String> {
    loop {
        run.settle()?;
        let options = match run.options(None, true) {
            Options::Some { actions, .. } => actions,
            Options::End => return run.judge(),
            Options::Broken(rule) => return Err(rule),
        };
        let is_step = |action: &Action| matches!(action, Action::Step(_));
        let (steps, mishaps): (Vec<Action>, Vec<Action>) =
            options.into_iter().map(|(action, _)| action).partition(is_step);
        let mishap = steps.is_empty() || (!mishaps.is_empty() && numbers.below(MISHAP_ODDS) == 0);
        let from = if mishap { &mishaps } else { &steps };
        let action = from[numbers.below(from.len())];
        actions.push(action);
        run.apply(action);
    }
}
