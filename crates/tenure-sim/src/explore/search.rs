//! Depth first, by running again from the start, with two reductions: *sleep sets* (two calls that commute need one
//! order) and a *state cache* (what was seen need not be gone on from), and calls that nobody can see run at once.
//!
//! A state may be left unexplored only if it was explored before with a sleep set that is a part of the present one:
//! otherwise something that slept then is awake now (Godefroid 1996, section 5.2). The explorer is tested against itself:
//! with and without each reduction it must see the same (`tests/explorer.rs`, `tests/reductions.rs`, and random programs in
//! `tests/differential`).
//!
//! A call runs at once if nobody can see it. Notes do so for another reason: who comes in as early as possible and leaves as
//! late as possible meets everyone that he could meet at all. A process is not killed before a call that changes nothing,
//! which is as good as after it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use super::run::{Options, Run};
use super::{Action, Outcome, Violation};
use crate::host::{replace_world, with_world};
use crate::scenario::{Scenario, Setting};
use crate::world::foot::Foot;

/// Which reductions are in force.
#[derive(Clone, Copy, Debug)]
pub struct Reductions {
    /// Sleep sets.
    pub sleep: bool,
    /// The state cache.
    pub cache: bool,
    /// Calls that nobody can see run at once.
    pub at_once: bool,
}

impl Reductions {
    /// All of them.
    pub const ALL: Reductions = Reductions { sleep: true, cache: true, at_once: true };
}

/// When to stop early.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// As many runs.
    pub executions: u64,
    /// As long.
    pub time: Duration,
    /// As many runs more to find a shorter violation than the first.
    pub polish: u64,
}

/// A place in the tree of choices on the way that is being tried.
struct Node {
    actions: Vec<(Action, Foot)>,
    next: usize,
    /// Choices that lead only to what was tried before.
    sleep: Vec<(Action, Foot)>,
}

/// An exploration under way.
pub struct Search<'a> {
    scenario: &'a Scenario,
    setting: &'a Setting,
    reductions: Reductions,
    path: Vec<Node>,
    seen: HashMap<u64, Vec<Action>, FixedState>,
    ends: HashSet<u64, FixedState>,
    disks: HashSet<u64, FixedState>,
    shortest: usize,
    outcome: Outcome,
}

impl Search<'_> {
    /// What was found so far.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The numbers of all states seen, and of all ends.
    pub fn fingerprints(&self) -> (Vec<u64>, Vec<u64>) {
        let sorted = |mut numbers: Vec<u64>| {
            numbers.sort_unstable();
            numbers
        };
        (sorted(self.seen.keys().copied().collect()), sorted(self.ends.iter().copied().collect()))
    }
}

/// How one run ended.
enum Ended {
    Whole,
    Cut,
    Broken(String, Option<Action>),
}

/// Explores a scenario within a setting. `beat` is called now and then.
pub fn search(
    scenario: &Scenario,
    setting: &Setting,
    reductions: Reductions,
    limits: Limits,
    beat: &mut dyn FnMut(&Outcome),
) -> Outcome {
    let mut search = Search::new(scenario, setting, reductions);
    search.explore(limits, beat);
    search.outcome.states = search.seen.len();
    search.outcome.ends = search.ends.len();
    search.outcome
}

impl<'a> Search<'a> {
    /// An exploration that has not begun.
    pub fn new(scenario: &'a Scenario, setting: &'a Setting, reductions: Reductions) -> Search<'a> {
        Search {
            scenario,
            setting,
            reductions,
            path: Vec::new(),
            seen: HashMap::default(),
            ends: HashSet::default(),
            disks: HashSet::default(),
            shortest: usize::MAX,
            outcome: Outcome::default(),
        }
    }

    /// Tries everything within the limits.
    #[expect(clippy::disallowed_methods, reason = "how long the search took, not a clock of the simulation")]
    pub fn explore(&mut self, limits: Limits, beat: &mut dyn FnMut(&Outcome)) {
        let start = Instant::now();
        let mut executions_max = limits.executions;
        loop {
            let ended = self.execute();
            self.outcome.executions += 1;
            self.outcome.time = start.elapsed();
            if let Ended::Broken(rule, last) = ended {
                let chosen = self.path.iter().map(|node| node.actions[node.next].0);
                let actions: Vec<Action> = chosen.chain(last).collect();
                if actions.len() < self.shortest {
                    self.shortest = actions.len();
                    self.outcome.violation = Some(Violation { rule, actions });
                    executions_max = executions_max.min(self.outcome.executions + limits.polish);
                }
            }
            if self.outcome.executions.is_multiple_of(1024) {
                self.outcome.states = self.seen.len();
                beat(&self.outcome);
            }
            if !self.backtrack() {
                self.outcome.complete = true;
                return;
            }
            if self.outcome.executions >= executions_max || self.outcome.time >= limits.time {
                return;
            }
        }
    }

    /// Goes on to the next choice that was not tried; `false` if there is none.
    fn backtrack(&mut self) -> bool {
        while let Some(node) = self.path.last_mut() {
            let tried = node.actions[node.next];
            node.sleep.push(tried);
            node.next += 1;
            if node.next < node.actions.len() {
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// One run: the choices made so far again, then new ones to its end.
    fn execute(&mut self) -> Ended {
        let mut run = Run::start(self.scenario, self.setting, false);
        let ended = self.go_through(&mut run);
        self.outcome.sometimes.extend(run.sometimes.iter().copied());
        ended
    }

    fn go_through(&mut self, run: &mut Run<'_>) -> Ended {
        let (mut depth, mut last) = (0, None);
        loop {
            if let Err(rule) = run.settle() {
                return Ended::Broken(rule, None);
            }
            if depth == self.path.len() {
                match self.extend(run, last) {
                    Ok(()) => {}
                    Err(ended) => return ended,
                }
            }
            let node = &self.path[depth];
            let action = node.actions[node.next].0;
            run.apply(action);
            depth += 1;
            last = action.process().or(last);
            self.outcome.depth = self.outcome.depth.max(depth);
            if depth >= self.shortest {
                return Ended::Cut;
            }
        }
    }

    /// Adds the choices of a moment that is new on this way, or says why the run ends here.
    fn extend(&mut self, run: &mut Run<'_>, last: Option<usize>) -> Result<(), Ended> {
        self.outcome.steps += 1;
        let (mut actions, fork) = match run.options(last, self.reductions.at_once) {
            Options::Some { actions, fork } => (actions, fork),
            Options::Broken(rule) => return Err(Ended::Broken(rule, None)),
            Options::End => {
                let fresh = self.ends.insert(with_world(|world| world.fingerprint()));
                return Err(match fresh.then(|| run.judge()) {
                    Some(Err(rule)) => Ended::Broken(rule, None),
                    Some(Ok(())) | None => Ended::Whole,
                });
            }
        };
        let sleep = self.sleeping(&actions);
        if fork {
            self.cut_power()?;
            let key = self.reductions.cache.then(|| with_world(|world| world.fingerprint()));
            if let Some(key) = key
                && !remember(&mut self.seen, key, &sleep)
            {
                return Err(Ended::Cut);
            }
        }
        actions.retain(|(action, _)| !sleep.iter().any(|(asleep, _)| asleep == action));
        if actions.is_empty() {
            return Err(Ended::Cut);
        }
        self.path.push(Node { actions, next: 0, sleep });
        Ok(())
    }

    /// What need not be tried now, because it was tried before what was done last, and commutes with it.
    fn sleeping(&self, actions: &[(Action, Foot)]) -> Vec<(Action, Foot)> {
        let Some(parent) = self.path.last().filter(|_| self.reductions.sleep) else { return Vec::new() };
        let (done, foot) = parent.actions[parent.next];
        let independent = |(action, other): &&(Action, Foot)| {
            action.process() != done.process() && action.process().is_some() && other.commutes(foot)
        };
        // What a call touches may have changed with the moment.
        let now = |(action, foot): &(Action, Foot)| {
            *actions.iter().find(|(other, _)| other == action).unwrap_or(&(*action, *foot))
        };
        parent.sleep.iter().filter(independent).map(now).collect()
    }

    /// Tries every state that a power loss can leave at this moment.
    fn cut_power(&mut self) -> Result<(), Ended> {
        let Some(durability) = self.setting.power else { return Ok(()) };
        if !self.disks.insert(with_world(|world| world.disk_fingerprint())) {
            return Ok(());
        }
        for which in 0..with_world(|world| world.power_states(durability)) {
            let after = with_world(|world| world.after_power_loss(durability, which));
            if !self.ends.insert(after.fingerprint()) {
                continue;
            }
            let before = replace_world(after);
            let judged = Run::resume(self.scenario, self.setting).judge();
            replace_world(before);
            if let Err(rule) = judged {
                return Err(Ended::Broken(rule, Some(Action::Power(which))));
            }
        }
        Ok(())
    }
}

/// Whether a state must be gone on from; if so, notes with what asleep.
fn remember(seen: &mut HashMap<u64, Vec<Action>, FixedState>, key: u64, sleep: &[(Action, Foot)]) -> bool {
    let asleep = |action: &Action| sleep.iter().any(|(other, _)| other == action);
    match seen.get_mut(&key) {
        Some(before) if before.iter().all(asleep) => false,
        Some(before) => {
            before.retain(asleep);
            true
        }
        None => {
            seen.insert(key, sleep.iter().map(|(action, _)| *action).collect());
            true
        }
    }
}
