//! What a call looks at and what it changes: two calls that touch nothing in common need one order only.
//!
//! A resource is a bit of a small set, found by hashing. Two resources that share a bit cost orders that need not
//! have been tried, and never hide one.

use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::Path;

use tenure::host::Open;

use super::fs::{ROOT, Slot, is_scratch};
use super::leases::{Fenced, Nature, Question};
use super::{Life, World, hasher};
use crate::op::{Fd, Note, Op};

/// What a call reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foot {
    reads: u128,
    writes: u128,
}

impl Foot {
    /// Depends on everything.
    pub const ALL: Foot = Foot { reads: u128::MAX, writes: u128::MAX };

    /// Whether the order of the two calls can't matter.
    pub fn commutes(self, other: Foot) -> bool {
        self.writes & (other.reads | other.writes) == 0 && other.writes & self.reads == 0
    }

    /// Whether the call changes nothing that others can see.
    pub fn is_silent(self) -> bool {
        self.writes == 0
    }

    /// Whether the call neither sees nor changes anything of others.
    pub fn is_empty(self) -> bool {
        self == Foot::default()
    }

    fn read(mut self, bit: u128) -> Foot {
        self.reads |= bit;
        self
    }

    fn write(mut self, bit: u128) -> Foot {
        self.writes |= bit;
        self
    }

    fn and(self, other: Foot) -> Foot {
        Foot { reads: self.reads | other.reads, writes: self.writes | other.writes }
    }

    fn access(self, bit: u128, writes: bool) -> Foot {
        if writes { self.write(bit) } else { self.read(bit) }
    }
}

#[derive(Hash)]
enum Resource<'a> {
    Name(Slot, &'a OsStr),
    Listing(Slot),
    Data(u64),
    Meta(u64),
    Flock(u64),
    Events(u64),
    Opens(u64),
    Disk,
    Numbers,
    Life(usize),
    Check,
    Crashes,
    Faults,
    Time,
    Threads(usize),
    Shared(usize),
    Failures(u64),
    Leases,
    Fence,
}

fn bit(resource: &Resource<'_>) -> u128 {
    let mut hasher = hasher();
    resource.hash(&mut hasher);
    1 << (hasher.finish() % 128)
}

impl World {
    /// What a call of `process` looks at and changes now; the first call after a note that takes effect late acts on that, too.
    pub fn foot(&self, process: usize, op: &Op) -> Foot {
        let foot = self.foot_of_call(process, op);
        let foot = match self.processes[process].threaded {
            // Which it can't make any more once another thread's process was killed.
            true => foot.read(bit(&Resource::Threads(self.main_thread(process)))),
            false => foot,
        };
        let foot = match self.check.is_asking(process) {
            // The answer is judged at once, so nobody may come in unseen between the question's calls and that.
            true => foot.read(bit(&Resource::Check)).read(self.time()),
            false => foot,
        };
        if self.acts_late_with(process, op) { foot.write(bit(&Resource::Check)) } else { foot }
    }

    fn foot_of_call(&self, process: usize, op: &Op) -> Foot {
        let none = Foot::default();
        match op {
            Op::Open(path, Open::Read) | Op::Stat(path) if self.is_stable(path) => none,
            Op::Open(path, how) => match how {
                Open::Read | Open::ReadWrite => {
                    let foot = none.read(self.name(path));
                    self.existing(path)
                        .map_or(foot, |slot| foot.write(self.opens(slot)).read(self.failures(slot)))
                }
                Open::New { .. } => self.entering(path, None),
                Open::Unnamed => self.numbering(none).read(self.time()),
            },
            Op::Read(fd, _) | Op::ReadAt(fd, ..) => none.read(self.data(process, *fd)),
            Op::Write(fd, _) | Op::WriteAt(fd, ..) | Op::WriteRest(fd, ..) | Op::Truncate(fd, _) => {
                let slot = self.slot(process, *fd);
                let foot = none.write(self.data(process, *fd)).write(self.meta(slot)).read(self.time());
                // Who watches the writes of others breaks a rule.
                let foot = if self.fs.at(slot).in_place { foot.read(self.events(slot)) } else { foot };
                self.dirtying(foot)
            }
            Op::Fsync(_) | Op::SyncData(_) => self.dirtying(none),
            Op::CloseEvent(fd) => none.read(self.events(self.slot(process, *fd))),
            Op::Close(fd) => self.closing(none, process, *fd),
            Op::StatFile(fd) | Op::Attributes(fd) => none.read(self.meta(self.slot(process, *fd))),
            Op::Stat(path) => {
                let foot = none.read(self.name(path));
                self.existing(path).map_or(foot, |slot| foot.read(self.meta(slot)))
            }
            Op::ReadLink(path) => none.read(self.name(path)),
            Op::SetMode(fd, _)
            | Op::SetOwner(fd, ..)
            | Op::SetAttribute(fd, ..)
            | Op::RemoveAttribute(fd, _)
            | Op::Touch(fd) => {
                let slot = self.slot(process, *fd);
                none.write(self.meta(slot)).read(self.events(slot)).read(self.time())
            }
            Op::Rename(from, to) => {
                let Some(slot) = self.existing(from) else { return none.read(self.name(from)) };
                let foot = none.write(self.name(from)).write(self.name(to)).write(self.listing(to));
                let foot = foot.write(self.meta(slot)).read(self.events(slot)).read(bit(&Resource::Check));
                let foot = self.existing(to).map_or(foot, |replaced| self.unlinking(foot, replaced));
                self.dirtying(foot)
            }
            Op::Publish(fd, path) => self.entering(path, Some(self.slot(process, *fd))),
            Op::Link(from, to) => {
                let foot = none.read(self.name(from));
                match self.existing(from) {
                    Some(slot) => foot.and(self.entering(to, Some(slot))),
                    None => foot,
                }
            }
            Op::Unlink(path) => match self.existing(path) {
                Some(slot) => {
                    let foot =
                        none.write(self.name(path)).write(self.listing(path)).read(bit(&Resource::Check));
                    self.dirtying(self.unlinking(foot, slot))
                }
                None => none.read(self.name(path)),
            },
            Op::List(path, _) => {
                self.existing(path).map_or(none, |slot| none.read(bit(&Resource::Listing(slot))))
            }
            Op::TryFlock(fd, mode) => {
                none.access(self.flock(self.slot(process, *fd)), !self.conflicts(process, *fd, *mode))
            }
            Op::Unlock(fd) => match self.file(process, *fd).lock {
                Some(_) => none.write(self.flock(self.slot(process, *fd))),
                None => none,
            },
            Op::Holders(path) => {
                let foot = none.read(self.name(path));
                self.existing(path).map_or(foot, |slot| foot.read(self.flock(slot)))
            }
            Op::IsLocal(_)
            | Op::Id(_)
            | Op::Answer
            | Op::Note(Note::Sometimes(_) | Note::Round(_) | Note::Leave) => none,
            Op::Process(pid) | Op::WatchEnd(_, pid) => {
                let named = (0..self.processes.len()).filter(|other| self.processes[*other].pid == *pid);
                named.fold(none, |foot, other| foot.read(bit(&Resource::Life(other))))
            }
            Op::Now => none.read(self.time()),
            Op::Local => none.write(self.shared_by(process)),
            Op::Watch(_, fd, _) => none.write(self.events(self.slot(process, *fd))),
            Op::Wait(waiter, until) => {
                let watched =
                    self.processes[process].waiters[*waiter].as_ref().and_then(|waiter| waiter.watched);
                let foot = if until.is_some() { none.read(self.time()) } else { none };
                let foot =
                    if self.processes[process].threaded { foot.read(self.shared_by(process)) } else { foot };
                let ending =
                    self.processes[process].waiters[*waiter].as_ref().and_then(|waiter| waiter.process);
                let foot = ending.map_or(foot, |ending| foot.read(bit(&Resource::Life(ending))));
                let watched = watched.filter(|(slot, serial)| self.fs.is_still(*slot, *serial));
                watched.map_or(foot, |(slot, _)| foot.write(self.events(slot)))
            }
            Op::Ask(question) => {
                let foot = self.deciding(none);
                // Whoever is robbed by force is not asked what it believes.
                if matches!(**question, Question::Break(..)) {
                    foot.write(bit(&Resource::Check))
                } else {
                    foot
                }
            }
            Op::Nature(Nature::Deliver) => self.deciding(none).write(bit(&Resource::Check)),
            Op::Nature(_) => none.write(bit(&Resource::Leases)),
            Op::Fenced(step) => none.access(bit(&Resource::Fence), !matches!(step, Fenced::Look(_))),
            Op::Note(Note::Asks) => none.read(bit(&Resource::Check)).read(self.time()),
            Op::Note(_) => none.write(bit(&Resource::Check)).read(self.time()),
            Op::Exit => self.ending(process),
        }
    }

    /// What a decision of the store looks at and changes.
    fn deciding(&self, foot: Foot) -> Foot {
        let foot = foot.write(bit(&Resource::Leases)).read(self.time()).read(bit(&Resource::Check));
        (0..self.processes.len()).fold(foot, |foot, other| foot.read(bit(&Resource::Life(other))))
    }

    /// What the end of a process changes.
    pub fn ending(&self, process: usize) -> Foot {
        let (mut foot, main) = (Foot::default().write(bit(&Resource::Check)), self.main_thread(process));
        let heirs = (0..self.processes.len()).filter(|heir| self.processes[*heir].after == Some(main));
        for changed in heirs.chain([main]) {
            foot = foot.write(bit(&Resource::Life(changed)));
        }
        for (fd, file) in self.processes[process].files.iter().enumerate() {
            if let Some(file) = file {
                foot = self.closing(foot, process, fd).read(self.events(file.slot));
            }
        }
        foot
    }

    /// What the killing of a process, with all its threads, changes.
    pub fn killing(&self, process: usize) -> Foot {
        let threads = self.threads(process).filter(|thread| self.processes[*thread].life == Life::Alive);
        let ends = threads.map(|thread| self.ending(thread)).fold(Foot::default(), Foot::and);
        let ends = match self.processes[process].threaded {
            true => ends.write(bit(&Resource::Threads(self.main_thread(process)))),
            false => ends,
        };
        ends.write(bit(&Resource::Crashes))
    }

    /// What a call that meets a fault changes.
    pub fn failing(&self, process: usize, op: &Op) -> Foot {
        let foot = self.foot(process, op).write(bit(&Resource::Faults));
        match op {
            Op::Fsync(fd) | Op::SyncData(fd) => foot.write(self.failures(self.slot(process, *fd))),
            _ => foot,
        }
    }

    /// Whether the process leaves, or begins what it told of, with this call, if it is about to: it does so with the first that
    /// others could see.
    pub fn acts_late_with(&self, process: usize, op: &Op) -> bool {
        let unseen = matches!(op, Op::Now | Op::Answer | Op::Id(_) | Op::IsLocal(_) | Op::Note(_));
        self.check.acts_late(process) && !unseen
    }

    /// Whether no other process can see this call or be seen by it, whatever happens before it: it may run at once.
    ///
    /// "Whatever happens before it" counts: others may open a file that has a name, watch it and unlink it while the call
    /// is yet to come.
    pub fn is_private(&self, process: usize, op: &Op) -> bool {
        let clock_stands = self.budget.ticks == 0;
        match op {
            _ if self.acts_late_with(process, op) => false,
            Op::Open(path, Open::Read) | Op::Stat(path) => self.is_stable(path),
            Op::IsLocal(_) | Op::Id(_) => true,
            // Entered as early as possible, and left with the call that comes next: so two holders meet for longest.
            Op::Note(note) => !matches!(note, Note::Extend(_) | Note::Believes | Note::Asks),
            Op::Now | Op::Answer => clock_stands,
            Op::Read(fd, _) | Op::ReadAt(fd, ..) => {
                self.is_own(process, *fd) || self.fs.at(self.slot(process, *fd)).sealed
            }
            // Somebody may sweep it away, which the number of its names shows.
            Op::StatFile(fd) => self.is_own(process, *fd) && self.fs.at(self.slot(process, *fd)).links == 0,
            Op::Attributes(fd) => self.is_own(process, *fd),
            Op::CloseEvent(fd) => {
                self.is_own(process, *fd)
                    || (self.watches_stable_only && !self.may_be_watched(self.slot(process, *fd)))
            }
            Op::SetMode(fd, _) | Op::SetOwner(fd, ..) => clock_stands && self.is_own(process, *fd),
            Op::Write(fd, _)
            | Op::WriteAt(fd, ..)
            | Op::WriteRest(fd, ..)
            | Op::Truncate(fd, _)
            | Op::Touch(fd) => clock_stands && !self.fs.durable && self.is_own(process, *fd),
            Op::Fsync(_) | Op::SyncData(_) => !self.fs.durable,
            // The number of a file that is unlinked before this is free with this, and not before.
            Op::Close(fd) => self.file(process, *fd).lock.is_none() && !self.fs.reuse,
            Op::Wait(waiter, _) => {
                let waiter = self.processes[process].waiters[*waiter].as_ref();
                // A thread that another wakes a second time before its wait is over is woken once.
                waiter.is_some_and(|waiter| waiter.watched.is_none())
                    && self.is_enabled(process, op)
                    && !self.processes[process].threaded
            }
            _ => false,
        }
    }

    /// Whether nobody else has the file open, nor a name to open it by.
    fn is_own(&self, process: usize, fd: Fd) -> bool {
        let slot = self.slot(process, fd);
        let inode = self.fs.at(slot);
        let opened_here =
            self.processes[process].files.iter().flatten().filter(|file| file.slot == slot).count();
        inode.opens == opened_here
            && !self.is_watched_elsewhere(process, slot)
            && (inode.links == 0
                || (inode.links == 1 && inode.maker == process && self.is_named_scratch(slot)))
    }

    /// Whether another watches the file, which it need not have open any more.
    fn is_watched_elsewhere(&self, process: usize, slot: Slot) -> bool {
        let watched = Some((slot, self.fs.at(slot).serial));
        let mut others =
            self.processes.iter().enumerate().filter(|(other, _)| *other != process).map(|(_, other)| other);
        others.any(|other| other.waiters.iter().flatten().any(|waiter| waiter.watched == watched))
    }

    /// Where the scenario says that nobody watches others.
    fn may_be_watched(&self, slot: Slot) -> bool {
        self.fs.at(slot).in_place || self.is_stable_file(slot)
    }

    fn is_named_scratch(&self, slot: Slot) -> bool {
        self.fs.slots().any(|directory| {
            self.fs.at(directory).entries.iter().any(|(name, entry)| *entry == slot && is_scratch(name))
        })
    }

    fn existing(&self, path: &Path) -> Option<Slot> {
        self.fs.existing(path).ok()
    }

    fn slot(&self, process: usize, fd: Fd) -> Slot {
        self.file(process, fd).slot
    }

    fn name(&self, path: &Path) -> u128 {
        match self.fs.place(path) {
            Ok(place) => bit(&Resource::Name(place.directory, &place.name)),
            Err(_) => bit(&Resource::Listing(ROOT)),
        }
    }

    fn listing(&self, path: &Path) -> u128 {
        bit(&Resource::Listing(self.fs.place(path).map_or(ROOT, |place| place.directory)))
    }

    fn data(&self, process: usize, fd: Fd) -> u128 {
        bit(&Resource::Data(self.fs.at(self.slot(process, fd)).number))
    }

    fn meta(&self, slot: Slot) -> u128 {
        bit(&Resource::Meta(self.fs.at(slot).number))
    }

    fn flock(&self, slot: Slot) -> u128 {
        bit(&Resource::Flock(self.fs.at(slot).number))
    }

    fn events(&self, slot: Slot) -> u128 {
        bit(&Resource::Events(self.fs.at(slot).number))
    }

    fn opens(&self, slot: Slot) -> u128 {
        // How many have a file open matters only for when its number is free again.
        if self.fs.reuse && self.fs.at(slot).links == 0 {
            bit(&Resource::Opens(self.fs.at(slot).number))
        } else {
            0
        }
    }

    /// Who opens a file after a sync failed does not hear of that.
    fn failures(&self, slot: Slot) -> u128 {
        let matters = self.fs.durable && self.budget.faults > 0;
        if matters { bit(&Resource::Failures(self.fs.at(slot).number)) } else { 0 }
    }

    fn shared_by(&self, process: usize) -> u128 {
        bit(&Resource::Shared(self.main_thread(process)))
    }

    fn time(&self) -> u128 {
        bit(&Resource::Time)
    }

    fn dirtying(&self, foot: Foot) -> Foot {
        if self.fs.durable { foot.write(bit(&Resource::Disk)) } else { foot }
    }

    /// A new inode's number.
    fn numbering(&self, foot: Foot) -> Foot {
        if self.fs.reuse { foot.access(bit(&Resource::Numbers), !self.fs.freed().is_empty()) } else { foot }
    }

    fn entering(&self, path: &Path, slot: Option<Slot>) -> Foot {
        let foot = Foot::default();
        if self.existing(path).is_some() {
            return foot.read(self.name(path));
        }
        let foot = foot.write(self.name(path)).write(self.listing(path));
        self.dirtying(match slot {
            Some(slot) => foot.write(self.meta(slot)).read(self.events(slot)),
            None => self.numbering(foot).read(self.time()),
        })
    }

    fn unlinking(&self, foot: Foot, slot: Slot) -> Foot {
        let inode = self.fs.at(slot);
        let foot = foot.write(self.meta(slot)).read(self.events(slot)).read(self.time());
        match self.fs.reuse && inode.links == 1 {
            true => foot.write(bit(&Resource::Opens(inode.number))).write(bit(&Resource::Numbers)),
            false => foot,
        }
    }

    fn closing(&self, foot: Foot, process: usize, fd: Fd) -> Foot {
        let file = self.file(process, fd);
        let inode = self.fs.at(file.slot);
        let foot = if file.lock.is_some() { foot.write(self.flock(file.slot)) } else { foot };
        match (self.fs.reuse, inode.links) {
            (false, _) => foot,
            (true, 0) => foot.write(bit(&Resource::Opens(inode.number))).write(bit(&Resource::Numbers)),
            (true, _) => foot.read(bit(&Resource::Opens(inode.number))),
        }
    }
}
