//! One run: the processes, stopped each before its next call, and what may be done next.

use std::fmt::Write;
use std::time::Duration;

use super::Action;
use crate::host::{Code, replace_world, with_world};
use crate::op::{Fault, Note, Op, Reply};
use crate::scenario::{Scenario, Setting};
use crate::world::foot::Foot;
use crate::world::{Life, World};

/// A run that goes on for longer does not end.
const STEPS_MAX: usize = 3_000;

/// A wait that needs the clock to run on more often, with nobody else able to do a thing, will not end.
const IDLE_MAX: u32 = 60;

/// A run under way in this thread's world.
pub struct Run<'a> {
    scenario: &'a Scenario,
    setting: &'a Setting,
    codes: Vec<Option<Code>>,
    pending: Vec<Option<Op>>,
    steps: usize,
    idle: u32,
    trace: Option<String>,
    /// What happened that must happen in some run.
    pub sometimes: Vec<&'static str>,
}

/// What may be done next.
pub enum Options {
    /// One of these; `fork` says whether the state is one to remember.
    Some {
        /// The choices with what they touch.
        actions: Vec<(Action, Foot)>,
        /// Whether others could go first.
        fork: bool,
    },
    /// Nothing: every process has ended.
    End,
    /// A rule is broken.
    Broken(String),
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // The calls of what the processes own must do nothing.
        with_world(|world| world.processes.iter_mut().for_each(|process| process.life = Life::Killed));
        self.codes.clear();
    }
}

impl<'a> Run<'a> {
    /// Sets the scenario up; with `traced`, each step is written down.
    pub fn start(scenario: &'a Scenario, setting: &'a Setting, traced: bool) -> Run<'a> {
        replace_world(scenario.world(setting));
        let mut run = Run::resume(scenario, setting);
        run.trace = traced.then(String::new);
        for process in 0..with_world(|world| world.processes.len()) {
            let (body, ctx) = (scenario.body, Scenario::ctx(setting, process));
            run.start_process(process, move || body(&ctx));
        }
        run
    }

    /// A run whose world is there already, and in which nobody lives.
    pub fn resume(scenario: &'a Scenario, setting: &'a Setting) -> Run<'a> {
        Run {
            scenario,
            setting,
            codes: Vec::new(),
            pending: Vec::new(),
            steps: 0,
            idle: 0,
            trace: None,
            sometimes: Vec::new(),
        }
    }

    fn start_process(&mut self, process: usize, body: impl FnOnce() + 'static) {
        let (code, first) = Code::start(body);
        self.codes.resize_with(process + 1, || None);
        self.pending.resize(process + 1, None);
        self.codes[process] = Some(code);
        self.pending[process] = Some(first.unwrap_or(Op::Exit));
    }

    /// The trace so far.
    pub fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }

    /// What may be done next. `last` goes first, so that runs with few changes of process come early.
    pub fn options(&mut self, last: Option<usize>, at_once: bool) -> Options {
        if let Some(rule) = with_world(|world| world.check.broken.clone()) {
            return Options::Broken(rule);
        }
        if self.steps > STEPS_MAX {
            return Options::Broken(format!("does not end: more than {STEPS_MAX} calls"));
        }
        with_world(|world| self.options_in(world, last, at_once))
    }

    /// Lets the clock run on while every process waits.
    pub fn settle(&mut self) -> Result<(), String> {
        while with_world(|world| !world.is_over() && self.ready(world).next().is_none()) {
            self.idle()?;
        }
        Ok(())
    }

    fn ready<'s>(&'s self, world: &'s World) -> impl Iterator<Item = (usize, &'s Op)> {
        let pending =
            self.pending.iter().enumerate().filter_map(|(process, op)| Some((process, op.as_ref()?)));
        pending.filter(|(process, op)| world.is_enabled(*process, op))
    }

    fn options_in(&self, world: &World, last: Option<usize>, at_once: bool) -> Options {
        if world.is_over() {
            return Options::End;
        }
        if at_once
            && let Some((process, op)) =
                self.ready(world).find(|(process, op)| world.is_private(*process, op))
        {
            // It needs no other order than this; but what sleeps and depends on it must wake.
            let mut actions = vec![(Action::Step(process), world.foot(process, op))];
            self.add_faults(world, process, op, &mut actions);
            return Options::Some { actions, fork: false };
        }
        let mut actions: Vec<(Action, Foot)> =
            self.ready(world).map(|(process, op)| (Action::Step(process), world.foot(process, op))).collect();
        let count = self.codes.len();
        let turn =
            |action: &Action| action.process().map(|p| (p + count - last.unwrap_or(0) % count) % count);
        actions.sort_by_key(|(action, _)| turn(action));
        for (process, op) in self.ready(world) {
            self.add_faults(world, process, op, &mut actions);
        }
        if world.budget.crashes > 0 {
            let mut dying: Vec<usize> = Vec::new();
            for (process, op) in self.pending.iter().enumerate() {
                let Some(op) = op.as_ref().filter(|op| **op != Op::Exit) else { continue };
                // A death before a call that changes nothing is the same to everyone as one after it.
                let matters = !world.is_enabled(process, op) || !world.foot(process, op).is_silent();
                let main = world.main_thread(process);
                if world.processes[process].life == Life::Alive && matters && !dying.contains(&main) {
                    dying.push(main);
                    actions.push((Action::Crash(main), world.killing(main)));
                }
            }
        }
        if world.budget.ticks > 0 {
            actions.push((Action::Tick, Foot::ALL));
        }
        Options::Some { actions, fork: true }
    }

    fn add_faults(&self, world: &World, process: usize, op: &Op, actions: &mut Vec<(Action, Foot)>) {
        // An event can only be lost where one has come.
        let meets = |fault: &&Fault| self.setting.kinds.contains(fault);
        if world.budget.faults > 0 {
            let foot = world.failing(process, op);
            actions
                .extend(op.faults().iter().filter(meets).map(|fault| (Action::Fail(process, *fault), foot)));
        }
    }

    /// Every process waits: the clock runs on to the first moment at which one of them stops waiting.
    fn idle(&mut self) -> Result<(), String> {
        self.idle += 1;
        let waits = self.pending.iter().enumerate().filter_map(|(process, op)| match op {
            Some(Op::Wait(_, Some(until))) => Some((process, *until)),
            _ => None,
        });
        let next = with_world(|world| world.next_deadline(waits));
        let stuck = || "stuck: every process waits, and nothing will end that".to_owned();
        let next = next.filter(|_| self.idle <= IDLE_MAX).ok_or_else(stuck)?;
        with_world(|world| world.advance(next));
        self.write(format_args!("-- {next:?} pass"));
        Ok(())
    }

    /// Does what was chosen.
    pub fn apply(&mut self, action: Action) {
        self.steps += 1;
        match action {
            Action::Step(process) => self.step(process, None),
            Action::Fail(process, Fault::LostEvent) => {
                let Some(Op::Wait(waiter, _)) = self.pending[process] else { return };
                with_world(|world| {
                    world.budget.faults -= 1;
                    world.waiter(process, waiter).changed = false;
                });
                self.write(format_args!("P{process}: ** an event is lost **"));
            }
            Action::Fail(process, fault) => {
                with_world(|world| world.budget.faults -= 1);
                self.step(process, Some(fault));
            }
            Action::Crash(process) => {
                with_world(|world| {
                    world.budget.crashes -= 1;
                    world.kill(process);
                });
                let threads: Vec<usize> = with_world(|world| world.threads(process).collect());
                threads.into_iter().for_each(|thread| self.forget(thread));
                self.write(format_args!("P{process}: ** KILLED **"));
            }
            Action::Tick => {
                let jump = self.setting.jump;
                with_world(|world| {
                    world.budget.ticks -= 1;
                    world.ticked += jump;
                    world.advance(jump);
                });
                self.write(format_args!("-- {jump:?} pass"));
            }
            Action::Power(which) => {
                let durability = self.setting.power.expect("the power goes only where it may");
                with_world(|world| world.lose_power(durability, which));
                for process in 0..self.codes.len() {
                    self.forget(process);
                }
                let left = with_world(|world| disk(world));
                self.write(format_args!("** THE POWER GOES **, and leaves {left}"));
            }
        }
    }

    fn step(&mut self, process: usize, fault: Option<Fault>) {
        let op = self.pending[process].take().expect("only a process that makes a call goes on");
        let reply = with_world(|world| {
            if world.acts_late_with(process, &op) {
                world.check.before_call(process);
            }
            let reply = match fault {
                Some(fault) => world.execute_faulty(process, &op, fault),
                None => world.execute(process, &op),
            };
            world.remember(process, &reply);
            reply
        });
        match op {
            Op::Note(Note::Sometimes(what)) => self.sometimes.push(what),
            Op::Note(Note::Round(round)) => with_world(|world| world.forget_round(process, round)),
            _ => {}
        }
        self.write_step(process, &op, &reply, fault);
        if op == Op::Exit {
            return self.forget(process);
        }
        let next = self.codes[process].as_mut().expect("the process lives").go_on(reply);
        self.pending[process] = Some(next.unwrap_or(Op::Exit));
    }

    fn forget(&mut self, process: usize) {
        self.pending[process] = None;
        self.codes[process] = None;
    }

    /// When all is over: a fresh process looks at what is left, alone.
    pub fn judge(&mut self) -> Result<(), String> {
        let process = with_world(|world| {
            world.budget = Default::default();
            world.spawn(0)
        });
        self.write(format_args!("-- all have ended; P{process} is a fresh process"));
        let (judge, ctx) = (self.scenario.judge, Scenario::ctx(self.setting, process));
        self.start_process(process, move || {
            if let Err(problem) = judge(&ctx) {
                with_world(|world| world.check.break_rule(problem));
            }
        });
        (self.idle, self.steps) = (0, 0);
        loop {
            let settled = self.settle();
            match settled.map_or_else(Options::Broken, |()| self.options(None, true)) {
                Options::Some { actions, .. } => self.apply(actions[0].0),
                Options::End => return Ok(()),
                Options::Broken(rule) if rule.starts_with("stuck") || rule.starts_with("does not end") => {
                    return Err("stuck: a fresh process cannot get in after all others have ended".to_owned());
                }
                Options::Broken(rule) => return Err(rule),
            }
        }
    }

    fn write_step(&mut self, process: usize, op: &Op, reply: &Reply, fault: Option<Fault>) {
        if self.trace.is_none() {
            return;
        }
        let fault = fault.map_or(String::new(), |fault| format!("  ** {fault:?} **"));
        match (op, reply) {
            (Op::Note(_) | Op::Exit, _) => self.write(format_args!("P{process}: {op}")),
            (_, Ok(value)) => self.write(format_args!("P{process}: {op} -> {value}{fault}")),
            (_, Err(errno)) => self.write(format_args!("P{process}: {op} -> {errno:?}{fault}")),
        }
    }

    fn write(&mut self, line: std::fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{line}").expect("a string takes everything");
        }
    }
}

/// The files of the scenarios' directory, in a line.
fn disk(world: &World) -> String {
    let Ok(directory) = world.fs.existing(crate::scenario::DIRECTORY.as_ref()) else {
        return "nothing".to_owned();
    };
    let entries = world.fs.at(directory).entries.iter();
    let shown = entries.map(|(name, slot)| {
        let data = String::from_utf8_lossy(&world.fs.at(*slot).data).chars().take(40).collect::<String>();
        format!("{} = {data:?}", name.display())
    });
    format!("[{}]", shown.collect::<Vec<_>>().join(", "))
}

/// How long something took, for people.
pub fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}
