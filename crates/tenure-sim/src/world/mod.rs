//! Everything that simulated processes share, and what of each process the checker must know.

pub mod check;
pub mod execute;
pub mod foot;
pub mod fs;
pub mod leases;
pub mod ledger;
pub mod power;

use std::hash::{BuildHasher, Hash, Hasher};
use std::time::Duration;

use foldhash::quality::FixedState;
use tenure::Moment;
use tenure::host::{Local, Mode};
use tenure::owner::Identity;

use crate::op::{Fd, Reply, WaiterId};
use check::Check;
use fs::{Fs, ROOT, Slot};
use leases::Leases;

/// A computer: processes with one process table and one clock.
#[derive(Clone, Debug, Hash)]
pub struct Machine {
    /// Its name, which another may have too.
    pub host: String,
    /// machine-id(5).
    pub id: String,
    /// Which boot it is in.
    pub boot: u32,
    /// How far its monotonic clock is ahead of the first machine's.
    pub ahead: Duration,
    /// By how many millionths it runs slower than true time.
    pub slow_ppm: u32,
}

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// It starts when another has ended.
    NotYet,
    /// It runs, or could.
    Alive,
    /// It ended by itself.
    Ended,
    /// It was killed.
    Killed,
}

/// An open description.
#[derive(Clone, Debug, Hash)]
pub struct Description {
    /// The inode.
    pub slot: Slot,
    /// Where the next read or write is.
    pub position: usize,
    /// Whether it was opened for writing.
    pub writable: bool,
    /// Its flock.
    pub lock: Option<Mode>,
    /// Whether its next sync fails, since another description's did.
    pub owed: bool,
}

/// Where a thread waits.
#[derive(Clone, Debug, Default, Hash)]
pub struct Waiter {
    /// The inode watched, and its serial number: the watch ends with the inode.
    pub watched: Option<(Slot, u64)>,
    /// The process whose end is waited for.
    pub process: Option<usize>,
    /// Whether that is a change which wakes, too: that it is written.
    pub writes: bool,
    /// A change of it has happened.
    pub changed: bool,
    /// Its waker was called.
    pub called: bool,
}

/// A simulated process.
#[derive(Debug)]
pub struct Process {
    /// Which machine it runs on.
    pub machine: usize,
    /// Its number there.
    pub pid: u32,
    /// When it started.
    pub started: u64,
    /// Its pid namespace.
    pub namespace: u64,
    /// How far it has come.
    pub life: Life,
    /// The process that this is a thread of, rather than a process of its own: it has that one's number, shares what its
    /// threads share, and dies with it. Its descriptors are its own, since no thread uses another's.
    pub thread_of: Option<usize>,
    /// Whether it has threads, or is one.
    pub threaded: bool,
    /// The process whose end it waits for before it starts.
    pub after: Option<usize>,
    /// Its open files.
    pub files: Vec<Option<Description>>,
    /// Its parking places.
    pub waiters: Vec<Option<Waiter>>,
    /// What its calls have returned so far: the same code with the same answers is in the same state.
    pub history: u64,
    /// How many random numbers it has drawn.
    pub drawn: u64,
    /// Its threads' queues.
    pub local: Local,
}

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Processes that may be killed.
    pub crashes: u8,
    /// Calls that may fail.
    pub faults: u8,
    /// Times that the clock may run on early.
    pub ticks: u8,
}

/// The whole of a simulated moment.
#[derive(Debug)]
pub struct World {
    /// The file system, shared by all machines.
    pub fs: Fs,
    /// Whether the file system is one that only one machine writes.
    pub local_fs: bool,
    /// Whether files without a name can be made.
    pub unnamed: bool,
    /// Names that always mean the same file, so that whoever looks for them need not wait for the others.
    pub stable: Vec<std::path::PathBuf>,
    /// Whether nobody watches anything but these, and files that are written in place.
    pub watches_stable_only: bool,
    /// The computers.
    pub machines: Vec<Machine>,
    /// The processes.
    pub processes: Vec<Process>,
    /// Time since the start, the same everywhere.
    pub time: Duration,
    /// How much of it was an early run of the clock.
    pub ticked: Duration,
    /// What may still go wrong.
    pub budget: Budget,
    /// The store of leases.
    pub leases: Leases,
    /// What the rules are judged by.
    pub check: Check,
}

/// The first machine's clock at the start.
const EPOCH: Duration = Duration::from_secs(1000);

impl World {
    /// One machine, no process.
    pub fn new(fs: Fs) -> World {
        let machine =
            Machine { host: "one".into(), id: "1".repeat(32), boot: 1, ahead: Duration::ZERO, slow_ppm: 0 };
        World {
            fs,
            local_fs: true,
            unnamed: true,
            stable: Vec::new(),
            watches_stable_only: false,
            machines: vec![machine],
            processes: Vec::new(),
            time: Duration::ZERO,
            ticked: Duration::ZERO,
            budget: Budget::default(),
            leases: Leases::default(),
            check: Check::default(),
        }
    }

    /// Lets a process start only when another has ended.
    pub fn start_after(&mut self, process: usize, predecessor: usize) {
        self.processes[process].life = Life::NotYet;
        self.processes[process].after = Some(predecessor);
    }

    /// Makes one process a thread of another, which is not itself one.
    pub fn make_thread(&mut self, thread: usize, of: usize) {
        let Process { machine, pid, started, namespace, .. } = self.processes[of];
        let process = &mut self.processes[thread];
        (process.machine, process.pid, process.started, process.namespace) =
            (machine, pid, started, namespace);
        process.thread_of = Some(of);
        (self.processes[thread].threaded, self.processes[of].threaded) = (true, true);
    }

    /// The first thread of a process, which stands for it.
    pub fn main_thread(&self, thread: usize) -> usize {
        self.processes[thread].thread_of.unwrap_or(thread)
    }

    /// All threads of the process that `thread` is one of.
    pub fn threads(&self, thread: usize) -> impl Iterator<Item = usize> {
        let main = self.main_thread(thread);
        (0..self.processes.len()).filter(move |other| self.main_thread(*other) == main)
    }

    /// Kills a process with all its threads.
    pub fn kill(&mut self, process: usize) {
        let threads: Vec<usize> = self.threads(process).collect();
        for thread in threads {
            if self.processes[thread].life == Life::Alive {
                self.end(thread, Life::Killed);
            }
        }
    }

    /// A number for what the threads of a process share.
    pub fn shared(&self, process: usize) -> u64 {
        let mut hasher = hasher();
        self.processes[self.main_thread(process)].local.hash(&mut hasher);
        hasher.finish()
    }

    /// A number for what a thread can learn of it.
    pub fn view(&self, thread: usize) -> u64 {
        let mut hasher = hasher();
        self.processes[self.main_thread(thread)].local.hash_view(thread as u64, &mut hasher);
        hasher.finish()
    }

    /// The earliest moment, from now, at which some wait ends by itself.
    pub fn next_deadline(&self, waits: impl Iterator<Item = (usize, Moment)>) -> Option<Duration> {
        let left = |(process, until): (usize, Moment)| {
            let slow = u128::from(self.machines[self.processes[process].machine].slow_ppm);
            let left = until.since(self.now(process)).as_nanos();
            let left = (left * 1_000_000).div_ceil(1_000_000 - slow);
            Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
        };
        waits.map(left).min()
    }

    /// Adds a process with a pid of its own and returns its number here.
    pub fn spawn(&mut self, machine: usize) -> usize {
        let number = self.processes.len();
        self.processes.push(Process {
            machine,
            pid: 100 + u32::try_from(number).expect("few processes"),
            started: 1000 + number as u64,
            namespace: 1,
            life: Life::Alive,
            thread_of: None,
            threaded: false,
            after: None,
            files: Vec::new(),
            waiters: Vec::new(),
            history: 1,
            drawn: 0,
            local: Local::default(),
        });
        number
    }

    /// How others recognise a process.
    pub fn identity(&self, process: usize) -> Identity {
        let process = &self.processes[process];
        let machine = &self.machines[process.machine];
        Identity {
            host: machine.host.clone(),
            machine: Some(machine.id.clone()),
            boot: Some(format!("{}-{}", machine.id, machine.boot)),
            pid_namespace: Some(process.namespace),
            pid: process.pid,
            started: Some(process.started),
        }
    }

    /// The clock of a process's machine.
    pub fn now(&self, process: usize) -> Moment {
        let Machine { ahead, slow_ppm, .. } = &self.machines[self.processes[process].machine];
        Moment::from_clock(EPOCH + *ahead + self.time - self.time * *slow_ppm / 1_000_000)
    }

    /// Lets time pass, everywhere.
    pub fn advance(&mut self, time: Duration) {
        self.time += time;
        self.fs.now_ns += i128::try_from(time.as_nanos()).expect("a short time");
    }

    /// An open file of a process.
    pub fn file(&self, process: usize, fd: Fd) -> &Description {
        self.processes[process].files[fd].as_ref().expect("a descriptor that is open")
    }

    /// A parking place of a process.
    pub fn waiter(&mut self, process: usize, waiter: WaiterId) -> &mut Waiter {
        self.processes[process].waiters[waiter].as_mut().expect("a waiter that exists")
    }

    /// Who else holds, or stands in the way of, a lock on an inode.
    pub fn conflicts(&self, process: usize, fd: Fd, mode: Mode) -> bool {
        let slot = self.file(process, fd).slot;
        self.processes.iter().enumerate().any(|(other, owner)| {
            owner.files.iter().enumerate().any(|(number, file)| {
                file.as_ref().is_some_and(|file| {
                    file.slot == slot
                        && (other, number) != (process, fd)
                        && match file.lock {
                            Some(Mode::Exclusive) => true,
                            Some(Mode::Shared) => mode == Mode::Exclusive,
                            None => false,
                        }
                })
            })
        })
    }

    /// Tells the watchers of an inode that a process changed it: those on its machine, since no notice crosses the net.
    pub fn emit(&mut self, process: usize, slot: Slot) {
        self.wake(process, slot, false);
    }

    /// Tells those who watch an inode's writes that a process wrote into it.
    pub fn emit_write(&mut self, process: usize, slot: Slot) {
        self.wake(process, slot, true);
    }

    fn wake(&mut self, process: usize, slot: Slot, is_write: bool) {
        let (watched, machine) = (Some((slot, self.fs.at(slot).serial)), self.processes[process].machine);
        let here = self.processes.iter_mut().filter(|other| other.machine == machine);
        for waiter in here.flat_map(|other| &mut other.waiters).flatten() {
            if waiter.watched == watched && (waiter.writes || !is_write) {
                waiter.changed = true;
            }
        }
    }

    /// Ends a process, or one thread of it: what it left open is closed.
    pub fn end(&mut self, process: usize, life: Life) {
        self.processes[process].life = life;
        let files = std::mem::take(&mut self.processes[process].files);
        self.processes[process].waiters.clear();
        for file in files.into_iter().flatten() {
            self.emit(process, file.slot);
            self.fs.at_mut(file.slot).opens -= 1;
            self.fs.forget_unused(file.slot);
        }
        self.check.left(process);
        if self.threads(process).any(|thread| self.processes[thread].life == Life::Alive) {
            return;
        }
        let main = self.main_thread(process);
        for waiter in self.processes.iter_mut().flat_map(|other| &mut other.waiters).flatten() {
            // Told of once.
            waiter.changed |= waiter.process.take_if(|watched| *watched == main).is_some();
        }
        for heir in
            self.processes.iter_mut().filter(|heir| heir.life == Life::NotYet && heir.after == Some(main))
        {
            heir.life = Life::Alive;
        }
    }

    /// Whether any process lives or will.
    pub fn is_over(&self) -> bool {
        self.processes.iter().all(|process| matches!(process.life, Life::Ended | Life::Killed))
    }

    /// Notes what a call returned.
    pub fn remember(&mut self, process: usize, reply: &Reply) {
        let mut hasher = hasher();
        self.processes[process].history.hash(&mut hasher);
        reply.hash(&mut hasher);
        self.processes[process].history = hasher.finish();
    }

    /// Forgets how a process came to the end of a round, so that all ways to it are one.
    ///
    /// # Panics
    ///
    /// If the process still has something open: then its state is more than the round's number.
    pub fn forget_round(&mut self, process: usize, round: usize) {
        let process = &mut self.processes[process];
        let is_clean = process.files.is_empty()
            && process.waiters.iter().all(Option::is_none)
            && (process.threaded || process.local.is_idle());
        assert!(is_clean, "a round that leaves something open is not over");
        process.waiters.clear();
        process.history = round as u64 + 2;
        process.drawn = (round as u64 + 1) << 16;
    }

    /// The moment as a number: two moments with the same one go on in the same ways.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = hasher();
        let mut seen = Vec::new();
        self.hash_inode(ROOT, &mut seen, &mut hasher);
        for (number, process) in self.processes.iter().enumerate() {
            process.life.hash(&mut hasher);
            if process.life == Life::Alive {
                process.history.hash(&mut hasher);
                process.waiters.len().hash(&mut hasher);
                if process.threaded {
                    // What a thread without others shares follows from its history.
                    self.shared(number).hash(&mut hasher);
                }
                for waiter in process.waiters.iter().flatten() {
                    (waiter.changed, waiter.called, waiter.process, waiter.writes).hash(&mut hasher);
                    if let Some((slot, serial)) = waiter.watched
                        && self.fs.is_still(slot, serial)
                    {
                        self.hash_inode(slot, &mut seen, &mut hasher);
                    }
                }
                for file in &process.files {
                    file.is_some().hash(&mut hasher);
                    if let Some(file) = file {
                        (file.position, file.writable, file.lock, file.owed).hash(&mut hasher);
                        self.hash_inode(file.slot, &mut seen, &mut hasher);
                    }
                }
            }
        }
        self.machines.hash(&mut hasher);
        (self.time, self.budget, &self.check, self.fs.freed(), &self.leases).hash(&mut hasher);
        hasher.finish()
    }

    /// What decides over the states that a power loss can leave, and over what may be expected of them.
    pub fn disk_fingerprint(&self) -> u64 {
        let mut hasher = hasher();
        self.hash_inode(ROOT, &mut Vec::new(), &mut hasher);
        (self.time, &self.check).hash(&mut hasher);
        hasher.finish()
    }

    /// Hashes what is reachable from an inode; the second time only which one it is.
    fn hash_inode(&self, slot: Slot, seen: &mut Vec<Slot>, hasher: &mut impl Hasher) {
        if let Some(place) = seen.iter().position(|other| *other == slot) {
            return place.hash(hasher);
        }
        seen.push(slot);
        let inode = self.fs.at(slot);
        (inode.number, inode.kind, inode.mode, inode.owner, inode.links, &inode.data).hash(hasher);
        (&inode.attributes, inode.modified_ns, inode.changed_ns, inode.maker).hash(hasher);
        (inode.sealed, inode.in_place).hash(hasher);
        // With each list its length: the same names in another grouping are another state.
        inode.entries.len().hash(hasher);
        for (name, entry) in &inode.entries {
            name.hash(hasher);
            self.hash_inode(*entry, seen, hasher);
        }
        if self.fs.durable {
            (&inode.disk.data, &inode.disk.writes).hash(hasher);
            (inode.disk.entries.len(), inode.disk.changes.len()).hash(hasher);
            for (name, entry) in &inode.disk.entries {
                name.hash(hasher);
                self.hash_inode(*entry, seen, hasher);
            }
            for (_, change) in &inode.disk.changes {
                change.len().hash(hasher);
                for (name, entry) in change {
                    (name, entry.is_some()).hash(hasher);
                    if let Some(entry) = entry {
                        self.hash_inode(*entry, seen, hasher);
                    }
                }
            }
        }
    }
}

/// A hasher that gives the same number for the same thing in every run.
pub fn hasher() -> impl Hasher {
    FixedState::with_seed(0x7e17).build_hasher()
}
