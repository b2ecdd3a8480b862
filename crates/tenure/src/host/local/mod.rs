//! What the threads of one process share: who holds or awaits which lock, in order of arrival.
//!
//! `flock` excludes open descriptions, so two threads would exclude each other without this. The queue adds
//! what the kernel does not give: first come, first served among the threads of a process; one thread at a
//! time at the kernel's door, so that a release does not wake a herd; and an error, not a silent deadlock,
//! for a thread that asks for what it already holds. Beside it stand the queues of those who wait to update a
//! document (`batch`). All is pure: the host guards it and does the waking.

mod batch;
#[cfg(test)]
mod batch_tests;
mod commit;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::task::Waker;

pub use batch::{Answer, Content, Draft, Outcome, Site, Standing, Wishes};
pub use commit::{Journals, Parcel, Place};

use super::{FileId, Mode};

/// A place in the queue of one lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// The calling thread already holds, or awaits, the lock it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied;

/// The queues of one process, one for each lock file that is held or awaited, for each document and each journal.
#[derive(Debug, Default)]
pub struct Local {
    /// All queues in one list, which keeps its memory: a lock that is taken and released costs no allocation. The
    /// entries of one file stand in the order of their arrival.
    entries: Vec<Entry>,
    documents: BTreeMap<Site, batch::Queue>,
    /// Those who append to journals.
    pub journals: Journals,
    tickets: u64,
}

#[derive(Debug)]
struct Entry {
    file: FileId,
    ticket: Ticket,
    thread: u64,
    mode: Mode,
    waker: Option<Waker>,
}

impl Local {
    /// Joins the end of the queue for `file`, and says whether it is this ticket's turn already.
    ///
    /// # Errors
    ///
    /// [`Occupied`] if `thread` stands in that queue already.
    pub fn enter(&mut self, file: FileId, thread: u64, mode: Mode) -> Result<(Ticket, bool), Occupied> {
        if self.occupies(file, thread) {
            return Err(Occupied);
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.entries.push(Entry { file, ticket, thread, mode, waker: None });
        Ok((ticket, self.is_admitted(file, ticket)))
    }

    /// Whether it is this ticket's turn: nobody stands before it, or only readers before a reader. If not,
    /// `waker` is called when the turn comes.
    pub fn poll_turn(&mut self, file: FileId, ticket: Ticket, waker: &Waker) -> bool {
        let admitted = self.is_admitted(file, ticket);
        if !admitted {
            let own = self.entries.iter_mut().find(|entry| entry.ticket == ticket);
            own.expect("a ticket stays in its queue until it leaves").waker = Some(waker.clone());
        }
        admitted
    }

    /// Leaves the queue and returns the wakers of those whose turn has come.
    #[must_use]
    pub fn leave(&mut self, file: FileId, ticket: Ticket) -> Vec<Waker> {
        self.entries.retain(|entry| entry.ticket != ticket);
        let admitted = admitted(self.queue(file));
        let queue = self.entries.iter_mut().filter(|entry| entry.file == file);
        queue.take(admitted).filter_map(|entry| entry.waker.take()).collect()
    }

    /// Whether `thread` holds or awaits the lock of this file.
    pub fn occupies(&self, file: FileId, thread: u64) -> bool {
        self.queue(file).any(|entry| entry.thread == thread)
    }

    /// The queue of one lock file, from its head.
    fn queue(&self, file: FileId) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.file == file)
    }

    fn is_admitted(&self, file: FileId, ticket: Ticket) -> bool {
        self.queue(file).take(admitted(self.queue(file))).any(|entry| entry.ticket == ticket)
    }

    /// The queues one after the other, in an order that does not tell which file was asked for first.
    fn queues(&self) -> impl Iterator<Item = (FileId, impl Iterator<Item = &Entry>)> {
        let files: BTreeSet<FileId> = self.entries.iter().map(|entry| entry.file).collect();
        files.into_iter().map(|file| (file, self.queue(file)))
    }

    /// Hashes all that a step of `thread` can be told by these queues, for the checker: two moments that give the same
    /// number are the same to it, whatever they are to others. Whom it wakes is no matter to it.
    pub fn hash_view<S: Hasher>(&self, thread: u64, state: &mut S) {
        for (file, mut queue) in self.queues() {
            let readers = self.queue(file).all(|entry| entry.mode == Mode::Shared);
            let own = queue.position(|entry| entry.thread == thread);
            (file, own, admitted(self.queue(file)), readers).hash(state);
        }
        for (site, queue) in &self.documents {
            site.hash(state);
            queue.hash_view(thread, state);
        }
        self.journals.hash_view(thread, state);
    }

    /// Whether no lock, document or journal is held or awaited.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.documents.is_empty() && self.journals.is_idle()
    }
}

impl Hash for Local {
    /// The same number for queues in which the same threads wait for the same things in the same order.
    fn hash<S: Hasher>(&self, state: &mut S) {
        for (file, queue) in self.queues() {
            (file, self.queue(file).count()).hash(state);
            for entry in queue {
                (entry.thread, entry.mode, entry.waker.is_some()).hash(state);
            }
        }
        self.documents.hash(state);
        self.journals.hash(state);
    }
}

/// How many entries at the head of the queue may go to the kernel now.
fn admitted<'a>(queue: impl Iterator<Item = &'a Entry>) -> usize {
    let readers = queue.take_while(|entry| entry.mode == Mode::Shared).count();
    readers.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId { device: 1, inode: 2 };

    fn turns(local: &mut Local, tickets: &[Ticket]) -> Vec<bool> {
        tickets.iter().map(|ticket| local.poll_turn(FILE, *ticket, Waker::noop())).collect()
    }

    #[test]
    fn readers_go_together_and_nobody_overtakes_a_writer() {
        let mut local = Local::default();
        let modes = [Mode::Shared, Mode::Shared, Mode::Exclusive, Mode::Shared];
        let tickets: Vec<Ticket> =
            modes.iter().zip(1..).map(|(mode, thread)| local.enter(FILE, thread, *mode).unwrap().0).collect();
        assert_eq!(turns(&mut local, &tickets), [true, true, false, false]);
        assert!(local.leave(FILE, tickets[0]).is_empty());
        assert_eq!(local.leave(FILE, tickets[1]).len(), 1, "the writer is woken");
        assert_eq!(turns(&mut local, &tickets[2..]), [true, false]);
        assert_eq!(local.leave(FILE, tickets[2]).len(), 1);
        assert_eq!(turns(&mut local, &tickets[3..]), [true]);
        assert!(local.leave(FILE, tickets[3]).is_empty());
        assert!(local.is_idle());
    }

    #[test]
    fn a_thread_that_asks_twice_is_told() {
        let mut local = Local::default();
        let (held, _) = local.enter(FILE, 7, Mode::Exclusive).unwrap();
        assert_eq!(local.enter(FILE, 7, Mode::Shared), Err(Occupied));
        let other = FileId { inode: 3, ..FILE };
        local.enter(other, 7, Mode::Exclusive).unwrap();
        let _ = local.leave(FILE, held);
        local.enter(FILE, 7, Mode::Exclusive).unwrap();
    }

    #[test]
    fn a_waiter_that_gives_up_lets_the_next_one_pass() {
        let mut local = Local::default();
        let (reader, _) = local.enter(FILE, 1, Mode::Shared).unwrap();
        let (writer, _) = local.enter(FILE, 2, Mode::Exclusive).unwrap();
        let (late, _) = local.enter(FILE, 3, Mode::Shared).unwrap();
        assert_eq!(turns(&mut local, &[reader, writer, late]), [true, false, false]);
        assert_eq!(local.leave(FILE, writer).len(), 1);
        assert_eq!(turns(&mut local, &[reader, late]), [true, true]);
    }
}
