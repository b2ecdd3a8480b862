//! What is run, within which bounds, and what must hold at its end.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tenure::host::{FileKind, Host};
use tenure::{Held, Moment};

use crate::host::{Sim, with_world};
use crate::op::{Fault, Note};
use crate::world::World;
use crate::world::fs::Fs;
use crate::world::ledger::Entry;
use crate::world::power::Durability;

/// One protocol under one load.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line on what it is.
    pub about: &'static str,
    /// The hazards that it closes, or that it is a twin of.
    pub hazards: &'static str,
    /// Changes the world before anything runs.
    pub setup: fn(&mut World),
    /// What each process does.
    pub body: fn(&Ctx),
    /// What a fresh process finds when all others have ended.
    pub judge: fn(&Ctx) -> Result<(), String>,
    /// The bounds within which it is explored.
    pub settings: Vec<Setting>,
    /// What must have happened in some run.
    pub sometimes: &'static [&'static str],
    /// For a broken protocol: a part of the rule that the checker must find broken.
    pub caught_as: Option<&'static str>,
}

/// Bounds of an exploration.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How many processes run at once.
    pub processes: usize,
    /// How often each does what it does.
    pub rounds: usize,
    /// How many may be killed.
    pub crashes: u8,
    /// How many calls may fail, and how.
    pub faults: u8,
    /// The kinds of failures.
    pub kinds: &'static [Fault],
    /// How often the clock may run on early.
    pub ticks: u8,
    /// How far it then runs.
    pub jump: Duration,
    /// Whether the power may go at any moment.
    pub power: Option<Durability>,
    /// Whether inode numbers are used again.
    pub reuse: bool,
    /// Whether it is too large for every run of the tests.
    pub long: bool,
}

impl Setting {
    /// So many processes, and nothing goes wrong.
    pub const fn of(processes: usize, rounds: usize) -> Setting {
        Setting {
            processes,
            rounds,
            crashes: 0,
            faults: 0,
            kinds: &[],
            ticks: 0,
            jump: Duration::ZERO,
            power: None,
            reuse: false,
            long: false,
        }
    }

    /// With so many killed.
    pub const fn crashes(self, crashes: u8) -> Setting {
        Setting { crashes, ..self }
    }

    /// With one failure at any call.
    pub const fn fault(self, kinds: &'static [Fault]) -> Setting {
        Setting { faults: 1, kinds, ..self }
    }

    /// With a clock that may run on early.
    pub const fn ticks(self, ticks: u8, jump: Duration) -> Setting {
        Setting { ticks, jump, ..self }
    }

    /// With a power loss at any moment.
    pub const fn power(self, durability: Durability) -> Setting {
        Setting { power: Some(durability), ..self }
    }

    /// With inode numbers that are used again.
    pub const fn reuse(self) -> Setting {
        Setting { reuse: true, ..self }
    }

    /// For the long run alone.
    pub const fn long(self) -> Setting {
        Setting { long: true, ..self }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.processes, self.rounds)?;
        if self.crashes > 0 {
            write!(f, " crash<={}", self.crashes)?;
        }
        if self.faults > 0 {
            let kinds: String = self.kinds.iter().map(|kind| kind.letter()).collect();
            write!(f, " fault<={}:{kinds}", self.faults)?;
        }
        if self.ticks > 0 {
            write!(f, " tick<={}", self.ticks)?;
        }
        match self.power {
            Some(Durability::Minimal) => write!(f, " power")?,
            Some(Durability::Ordered) => write!(f, " power:ordered")?,
            None => {}
        }
        if self.reuse {
            write!(f, " reuse")?;
        }
        Ok(())
    }
}

/// What a scenario's process knows: itself, and how to speak to the checker.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// The host to run protocols on.
    pub host: Sim,
    /// How often to do it.
    pub rounds: usize,
}

/// Where the scenarios' files are.
pub const DIRECTORY: &str = "/d";

impl Ctx {
    /// Begins to hold the lock alone, until that moment at the latest.
    pub fn enter(&self, until: Option<Moment>) {
        self.host.note(Note::Enter(until));
    }

    /// Is about to give the lock up, or has lost it.
    pub fn leave(&self) {
        self.host.note(Note::Leave);
    }

    /// Does it as often as the setting says, each time from scratch.
    pub fn each_round(&self, step: impl Fn()) {
        for round in 0..self.rounds {
            step();
            self.host.note(Note::Round(round));
        }
    }

    /// Asks whether the lock is still held, however late, and holds the answer against what others believe.
    pub fn asks(&self, is_held: impl FnOnce() -> bool) -> bool {
        self.host.note(Note::Asks);
        let held = is_held();
        if held {
            self.host.note(Note::StillHeld);
        }
        held
    }

    /// Begins and ends to hold the lock.
    pub fn critical(&self) {
        self.enter(None);
        self.leave();
    }

    /// Begins to append a payload to the journal, and returns it. Each number is appended once.
    pub fn appends(&self, payload: u32) -> Vec<u8> {
        self.journal(Entry::Begins(payload));
        format!("<{payload}>").into_bytes()
    }

    /// Was given this by the journal, next, under this number.
    pub fn delivered(&self, sequence: u64, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).ok();
        let number = text.and_then(|text| text.strip_prefix('<')?.strip_suffix('>')?.parse().ok());
        match number {
            Some(payload) => self.journal(Entry::Delivered(sequence, payload)),
            None => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                with_world(|world| world.check.break_rule(format!("torn or foreign payload: {text:?}")));
            }
        }
    }

    /// Tells what becomes of appends and readings.
    pub fn journal(&self, entry: Entry) {
        self.host.note(Note::Journal(entry));
    }

    /// Something happened that must happen in some run.
    pub fn sometimes(&self, what: &'static str) {
        self.host.note(Note::Sometimes(what));
    }

    /// Holds `held` for a moment and releases it.
    pub fn hold(&self, held: Held<Sim>) {
        self.critical();
        // What fails here shows in what the next comer finds.
        let _shown_later = held.release();
    }

    /// The names in the scenarios' directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let names = self.host.list(Path::new(DIRECTORY), "".as_ref()).unwrap_or_default();
        names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// Fails if the directory holds anything but these names.
    pub fn expect_names(&self, allowed: &[&str]) -> Result<(), String> {
        let names = self.names();
        match names.iter().find(|name| !allowed.contains(&name.as_str())) {
            Some(_) => Err(format!("litter: {names:?}, of which only {allowed:?} should be there")),
            None => Ok(()),
        }
    }
}

impl Scenario {
    /// The world before anything runs.
    pub fn world(&self, setting: &Setting) -> World {
        let mut world = World::new(Fs::new(setting.reuse, setting.power.is_some()));
        let directory = world.fs.make(0, FileKind::Directory, 0o755);
        let place = world.fs.place(Path::new(DIRECTORY)).expect("a path from the root");
        world.fs.enter(&place, directory).expect("an empty root");
        for _ in 0..setting.processes {
            world.spawn(0);
        }
        world.stable.push(DIRECTORY.into());
        (self.setup)(&mut world);
        let slots: Vec<_> = world.fs.slots().collect();
        slots.into_iter().for_each(|slot| world.fs.sync(slot));
        world.budget =
            crate::world::Budget { crashes: setting.crashes, faults: setting.faults, ticks: setting.ticks };
        world
    }

    /// A process's view.
    pub fn ctx(setting: &Setting, process: usize) -> Ctx {
        Ctx { host: Sim { process }, rounds: setting.rounds }
    }
}

/// Puts a file with this content into the scenarios' directory.
pub fn put_file(world: &mut World, name: &str, content: &[u8]) {
    let slot = world.fs.make(15, FileKind::Regular, 0o644);
    let place = world.fs.place(&Path::new(DIRECTORY).join(name)).expect("a path below the directory");
    world.fs.enter(&place, slot).expect("a free name");
    world.fs.write(slot, 0, content);
    world.fs.seal(slot, &place.name);
}

/// Puts an empty file there that stays whatever happens, as a lock file of the flock kind does; nobody waits for others
/// than such.
pub fn put_stable(world: &mut World, name: &str) {
    put_file(world, name, b"");
    world.stable.push(Path::new(DIRECTORY).join(name));
    world.watches_stable_only = true;
}

/// Says that the files whose names begin so are written after they were put in place, as a journal is: what is read of them
/// is read in every order with what is written, and their writes may be watched.
///
/// Every file under such a name was made under it, or under the name of a temporary file.
pub fn written_in_place(world: &mut World, prefix: &str) {
    world.fs.in_place.push(prefix.to_owned());
}

/// Setup for scenarios that need none.
pub fn nothing(_world: &mut World) {}

/// The counts of the changes: acknowledged, and in doubt.
pub fn counted() -> (u32, u32) {
    with_world(|world| (world.check.acked, world.check.doubtful))
}
