//! What a power loss may leave: every state that the durability model allows, not a sample of them.
//!
//! *Minimal*, what POSIX gives and must hold: what was synced is there. Of each un-synced write, the bytes are kept, or
//! lost, or torn in the middle, or the size is there, with zeros where no bytes were before; of a write at an offset also its
//! second half without the first; an un-synced truncation is kept or lost. What a sync failed on stays so: the kernel takes it for
//! written, and a later sync saves only what is written again. Of the un-synced changes of a directory, any
//! subset has happened; a rename is one change. What is no content (times, mode, owner) is on the disk at once.
//! *Ordered*, what ext4 does by default (`data=ordered`), for
//! diagnosis: the changes of all directories reach the disk in their order, and a file's content before them, in place or
//! not (which ext4 promises for new files only).

use super::fs::{Edit, Entries, Inode, Slot, Synced};
use super::{Life, World};

/// Which model holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// POSIX-minimal.
    Minimal,
    /// ext4, data=ordered.
    Ordered,
}

/// More states than this at one moment are a mistake of the scenario, which writes too much without a sync.
const STATES_MAX: usize = 20_000;

/// What is left of one file or directory.
enum Left {
    Data(Slot, Vec<u8>),
    Entries(Slot, Entries),
}

impl World {
    /// How many states a power loss could leave now.
    ///
    /// # Panics
    ///
    /// If there are more than 20,000, since then they could not all be tried.
    pub fn power_states(&self, durability: Durability) -> usize {
        let states = match durability {
            Durability::Minimal => self
                .choices()
                .iter()
                .map(Vec::len)
                .try_fold(1_usize, usize::checked_mul)
                .unwrap_or(usize::MAX),
            Durability::Ordered => self.moments().len() + 1,
        };
        assert!(states <= STATES_MAX, "{states} states after a power loss");
        states
    }

    /// The world after a power loss that leaves state number `which`.
    pub fn after_power_loss(&self, durability: Durability, which: usize) -> World {
        let mut after = World::new(self.fs.clone());
        (after.local_fs, after.unnamed, after.stable) = (self.local_fs, self.unnamed, self.stable.clone());
        after.watches_stable_only = self.watches_stable_only;
        (after.machines, after.time, after.check) = (self.machines.clone(), self.time, self.check.clone());
        after.leases = self.leases.clone();
        for process in &self.processes {
            let copy = after.spawn(process.machine);
            let dead = &mut after.processes[copy];
            (dead.pid, dead.started, dead.namespace) = (process.pid, process.started, process.namespace);
            (dead.thread_of, dead.threaded) = (process.thread_of, process.threaded);
            dead.life = process.life;
        }
        after.lose_power(durability, which);
        after
    }

    /// Cuts the power: what is left is state number `which`, every process is dead, and every machine boots again.
    pub fn lose_power(&mut self, durability: Durability, which: usize) {
        let left = match durability {
            Durability::Minimal => self.minimal(which),
            Durability::Ordered => self.ordered(which),
        };
        for process in 0..self.processes.len() {
            if matches!(self.processes[process].life, Life::Alive | Life::NotYet) {
                self.end(process, Life::Killed);
            }
        }
        for left in left {
            match left {
                Left::Data(slot, data) => self.fs.at_mut(slot).data = data,
                Left::Entries(slot, entries) => self.fs.at_mut(slot).entries = entries,
            }
        }
        self.check.power_lost();
        self.recount();
        for machine in &mut self.machines {
            machine.boot += 1;
        }
    }

    /// For each file and directory with something un-synced: all that may be left of it.
    fn choices(&self) -> Vec<Vec<Left>> {
        let mut choices = Vec::new();
        for slot in self.fs.slots() {
            let inode = self.fs.at(slot);
            if !inode.disk.writes.is_empty() {
                choices.push(contents(inode).into_iter().map(|data| Left::Data(slot, data)).collect());
            }
            if !inode.disk.changes.is_empty() {
                choices.push(listings(inode).into_iter().map(|names| Left::Entries(slot, names)).collect());
            }
        }
        choices
    }

    fn minimal(&self, mut which: usize) -> Vec<Left> {
        let mut left = Vec::new();
        for mut choice in self.choices() {
            let count = choice.len();
            left.push(choice.swap_remove(which % count));
            which /= count;
        }
        left
    }

    /// The moments of all un-synced changes of directories, in order.
    fn moments(&self) -> Vec<u64> {
        let changes = self.fs.slots().flat_map(|slot| &self.fs.at(slot).disk.changes);
        let mut moments: Vec<u64> = changes.map(|(moment, _)| *moment).collect();
        moments.sort_unstable();
        moments
    }

    fn ordered(&self, which: usize) -> Vec<Left> {
        let last = which.checked_sub(1).map(|which| self.moments()[which]);
        let mut left = Vec::new();
        for slot in self.fs.slots() {
            let disk = &self.fs.at(slot).disk;
            let kept = disk.changes.iter().filter(|(moment, _)| last.is_some_and(|last| *moment <= last));
            let names = kept.fold(disk.entries.clone(), |names, (_, change)| changed(names, change));
            left.push(Left::Entries(slot, names));
        }
        left
    }

    /// Names are counted anew: the disk's directories may name files otherwise than memory did.
    fn recount(&mut self) {
        let slots: Vec<Slot> = self.fs.slots().collect();
        let named: Vec<Slot> =
            slots.iter().flat_map(|slot| self.fs.at(*slot).entries.iter().map(|(_, entry)| *entry)).collect();
        for slot in slots {
            let names = named.iter().filter(|entry| **entry == slot).count() as u64;
            let inode = self.fs.at_mut(slot);
            inode.links = if slot == super::fs::ROOT { 1 } else { names };
            inode.disk.data = inode.data.clone();
            inode.disk.entries = inode.entries.clone();
            inode.disk.writes.clear();
            inode.disk.changes.clear();
        }
    }
}

/// Every content that a file may have: each un-synced write kept, lost, torn, or size alone.
fn contents(inode: &Inode) -> Vec<Vec<u8>> {
    let mut found = vec![inode.disk.data.clone()];
    for write in &inode.disk.writes {
        let with = |part: &Edit| {
            let part = part.clone();
            found.iter().map(move |data| {
                let mut data = data.clone();
                part.apply(&mut data);
                data
            })
        };
        found = match write.state {
            Synced::Yes => with(&write.edit).collect(),
            Synced::NotYet | Synced::Failed => {
                let kept = write.edit.parts();
                kept.iter().flat_map(with).chain(found.iter().cloned()).collect()
            }
        };
        found.sort();
        found.dedup();
    }
    found
}

/// Every set of names that a directory may have: each un-synced change happened or not.
fn listings(inode: &Inode) -> Vec<Entries> {
    let mut found = vec![inode.disk.entries.clone()];
    for (_, change) in &inode.disk.changes {
        let with: Vec<Entries> = found.iter().map(|names| changed(names.clone(), change)).collect();
        found.extend(with);
        found.sort();
        found.dedup();
    }
    found
}

fn changed(mut names: Entries, change: &super::fs::DirectoryChange) -> Entries {
    for (name, slot) in change {
        names.retain(|(other, _)| other != name);
        names.extend(slot.map(|slot| (name.clone(), slot)));
    }
    names.sort();
    names
}
