//! How records get into a journal: those who wait in one process together, by one write and one sync.
//!
//! 1. Join the queue of this process for the journal. The first leads.
//! 2. The leader takes the lock, finds the end of the file ([`super::writer`]) and draws whoever waits by then.
//! 3. It writes all batches by one call behind the last whole batch. If the disk is full in the middle, the batches that are
//!    there whole stay, the rest is cut off.
//! 4. It lets the lock go, and tells those who asked for no more.
//! 5. It syncs the file, and the name if nobody has, outside the lock: the kernel joins the syncs of several processes. If
//!    that fails, all whom it concerns are told, and the file is left for a new one, since a later sync would say nothing
//!    true of it. 6. It tells the others, and the next in the queue leads.
//!
//! Needed for correctness: nobody is acknowledged before the write, or the sync, that it asked for; and whoever leaves the
//! queue passes on what others wait for ([`Seat`]).

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::recover::{Recovery, sync_directory};
use super::rewrite::{self, ROUNDS_MAX};
use super::writer::{self, Batch, Known, Writer, Written};
use super::{Format, Journal, Receipt, disturbed};
use crate::document::{Durability, Reached};
use crate::error::{Error, Result};
use crate::host::{self, FileId, Host, Outcome, Parcel, Site};
use crate::lock::{Held, Lock};
use crate::target;
use crate::wait::{Patience, Wait};

/// How many bytes of payload are written by one call at most, but for one batch that has more.
const DRAWN_MAX: usize = 8 * 1024 * 1024;

/// How long a leader waits for those who were told a moment ago: less than a sync takes, which each of them saves.
const GATHERING: Duration = Duration::from_micros(100);

/// How long the lock is waited for to leave a file of which a sync has failed: another process that syncs it meanwhile may be
/// told that all is well.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// What a thread wants written.
#[derive(Debug)]
struct Wanted {
    batch: Batch,
    durability: Durability,
}

/// What became of it.
#[derive(Debug)]
struct Told(Result<(Written, Reached)>);

pub(super) fn append<H: Host>(
    journal: &Journal<H>,
    patience: &Patience,
    records: Vec<Vec<u8>>,
    stamp: Option<Vec<u8>>,
) -> Result<Receipt> {
    if let (Format::Plain { .. }, Some(stamp)) = (&journal.format, &stamp) {
        let batch = Batch { records, is_stamped: false };
        if !batch.records.is_empty() {
            writer::check(journal, &batch)?;
        }
        return rewrite::locked(journal, patience, |writer| {
            rewrite::stamped_plain(writer, &batch.records, stamp)
        });
    }
    let is_stamped = stamp.is_some();
    let batch = Batch { records: records.into_iter().chain(stamp).collect(), is_stamped };
    writer::check(journal, &batch)?;
    let wanted = Arc::new(Wanted { batch, durability: journal.durability });
    for _ in 0..ROUNDS_MAX {
        let target = journal.target()?;
        let lock = journal.sidecar(&target);
        let (mut seat, leads) = Seat::join(journal, &target, &lock, wanted.clone())?;
        if !leads && let Some(told) = follow(&lock, &mut seat, patience)? {
            return told;
        }
        if let Some(receipt) = lead(journal, &target, &mut seat, patience, &wanted)? {
            return Ok(receipt);
        }
    }
    Err(disturbed(&journal.path))
}

/// A thread's place in the queue; dropping it passes on what others wait for.
struct Seat<'a, H: Host> {
    host: &'a H,
    site: Site,
    path: &'a Path,
    thread: u64,
    process: u64,
    left: bool,
}

impl<H: Host> Drop for Seat<'_, H> {
    fn drop(&mut self) {
        // A forked child has an empty queue of its own.
        if !self.left && self.host.process_mark() == self.process {
            let problem =
                "the thread that appended for this one stopped in the middle, so nobody knows whether it did";
            let unknown: Arc<dyn Outcome> = Arc::new(Told(Err(Error::conflict(self.path, problem))));
            let woken = self.host.local(|local| local.journals.quit(&self.site, self.thread, &unknown));
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

impl<'a, H: Host> Seat<'a, H> {
    fn join(
        journal: &'a Journal<H>,
        target: &Path,
        lock: &Lock<H>,
        wanted: Arc<Wanted>,
    ) -> Result<(Seat<'a, H>, bool)> {
        let (host, path) = (&journal.host, journal.path.as_path());
        let site = target::site(host, target)?;
        let (thread, process) = (host.thread(), host.process_mark());
        let joined = host.local(|local| local.journals.join(&site, thread, wanted));
        let (leads, gathered) = joined.map_err(|_| Error::already_held(lock.path()))?;
        gathered.into_iter().for_each(Waker::wake);
        Ok((Seat { host, site, path, thread, process, left: false }, leads))
    }

    /// Gives those who were told a moment ago the time to come again.
    fn gather(&self) {
        let mut waiter = self.host.waiter();
        let waker = self.host.waker(&waiter);
        if !self.host.local(|local| local.journals.gather(&self.site, &waker)) {
            self.host.wait(&mut waiter, Some(self.host.now() + GATHERING));
        }
    }

    /// Those who wait by now, with what they want.
    fn draw(&self, own: &Wanted) -> Vec<(u64, Parcel)> {
        let size =
            |wanted: &Wanted| wanted.batch.records.iter().map(|record| record.len() + 64).sum::<usize>();
        let mut drawn = size(own);
        self.host.local(|local| {
            local.journals.draw(&self.site, self.thread, |parcel| {
                drawn += size(wanted(parcel));
                drawn <= DRAWN_MAX
            })
        })
    }

    fn tell(&self, thread: u64, told: Result<(Written, Reached)>) {
        let outcome: Arc<dyn Outcome> = Arc::new(Told(told));
        let woken = self.host.local(|local| local.journals.tell(&self.site, self.thread, thread, outcome));
        woken.into_iter().for_each(Waker::wake);
    }
}

fn wanted(parcel: &Parcel) -> &Wanted {
    let parcel: &dyn Outcome = &**parcel;
    (parcel as &dyn Any).downcast_ref().expect("nothing else is queued")
}

/// Waits to be told, or to lead (`None`).
fn follow<H: Host>(
    lock: &Lock<H>,
    seat: &mut Seat<'_, H>,
    patience: &Patience,
) -> Result<Option<Result<Receipt>>> {
    let mut waiting = lock.waiting(patience.clone());
    let waker = seat.host.waker(waiting.waiter());
    loop {
        match seat.host.local(|local| local.journals.place(&seat.site, seat.thread, &waker)) {
            host::Place::Leads => return Ok(None),
            host::Place::Told(outcome) => {
                seat.left = true;
                let Told(told) = (&*outcome as &dyn Any).downcast_ref().expect("nothing else is told");
                let receipt = |(written, durability)| receipt(written, durability, None);
                return Ok(Some(told.as_ref().map(|told| receipt(*told)).map_err(Error::again)));
            }
            host::Place::Waits => {
                if let Err(error) = waiting.sleep(None) {
                    seat.left = seat.host.local(|local| local.journals.give_up(&seat.site, seat.thread));
                    if seat.left {
                        return Err(lock.refused(error));
                    }
                }
            }
            host::Place::Drawn => {
                seat.host.wait(waiting.waiter(), None);
            }
        }
    }
}

fn receipt(
    Written { sequences, cursor }: Written,
    durability: Reached,
    recovery: Option<Recovery>,
) -> Receipt {
    Receipt { sequences, cursor, durability, recovery }
}

/// The leader's part; `None` if the path means another file by now.
fn lead<H: Host>(
    journal: &Journal<H>,
    target: &Path,
    seat: &mut Seat<'_, H>,
    patience: &Patience,
    own: &Wanted,
) -> Result<Option<Receipt>> {
    if own.durability == Durability::Power {
        seat.gather();
    }
    for _ in 0..ROUNDS_MAX {
        let held = journal.lock(target)?.acquire(patience.clone())?;
        if journal.target()? != target {
            return Ok(None);
        }
        if let Some(writer) = Writer::open(journal, target, &held)? {
            return write(writer, held, seat, own).map(Some);
        }
    }
    Err(disturbed(&journal.path))
}

/// A file that is to be synced, and what that is to make durable.
struct Unsynced<H: Host> {
    file: Arc<H::File>,
    id: FileId,
    /// The last sequence that was written; 0 in the plain format.
    through: u64,
}

/// Steps 3 to 5.
fn write<H: Host>(
    mut writer: Writer<'_, H>,
    held: Held<H>,
    seat: &mut Seat<'_, H>,
    own: &Wanted,
) -> Result<Receipt> {
    let (journal, target) = (writer.journal, writer.target);
    let drawn = seat.draw(own);
    let all = || std::iter::once(own).chain(drawn.iter().map(|(_, parcel)| wanted(parcel)));
    let (written, failed) = writer.write(all().map(|wanted| &wanted.batch));
    let recovery = written.first().and_then(|_| journal.shared().recovered.take());
    let Known { segment, next, .. } = &writer.known;
    let through = if segment.is_checked() { next - 1 } else { 0 };
    let unsynced = Unsynced { file: segment.file.clone(), id: segment.id, through };
    writer.keep();
    drop(held);
    let failure = || {
        let missing = || Error::conflict(target, "the append was not written");
        failed.as_ref().map_or_else(missing, Error::again)
    };
    let wants_sync = |wanted: &Wanted| wanted.durability == Durability::Power;
    for ((thread, parcel), at) in drawn.iter().zip(1..) {
        match written.get(at) {
            None => seat.tell(*thread, Err(failure())),
            Some(done) if !wants_sync(wanted(parcel)) => seat.tell(*thread, Ok((*done, Reached::Process))),
            Some(_) => {}
        }
    }
    let is_synced = all().zip(&written).any(|(wanted, _)| wants_sync(wanted));
    let reached = if is_synced { sync(journal, target, &unsynced) } else { Reached::Process };
    for ((thread, parcel), at) in drawn.iter().zip(1..) {
        if let Some(done) = written.get(at).filter(|_| wants_sync(wanted(parcel))) {
            seat.tell(*thread, Ok((*done, reached)));
        }
    }
    if is_synced && reached == Reached::Unknown {
        // If this fails, too, the next append tries again, and fails if it can't.
        let wait = Wait::Until(journal.host.now() + LEAVE_WAIT);
        let _left_later = rewrite::locked(journal, &wait.into(), |_| Ok(()));
    }
    let reached = if wants_sync(own) { reached } else { Reached::Process };
    written.first().map(|done| receipt(*done, reached, recovery)).ok_or_else(failure)
}

/// Makes what was written survive a power loss: the file, and its name unless that is known to.
fn sync<H: Host>(journal: &Journal<H>, target: &Path, unsynced: &Unsynced<H>) -> Reached {
    let settled = journal.shared().settled == Some(unsynced.id);
    if !settled && sync_directory(&journal.host, target).is_err() {
        return Reached::Unknown;
    }
    let synced = journal.host.sync_data(&unsynced.file);
    let mut shared = journal.shared();
    match synced {
        Ok(()) => {
            shared.settled = Some(unsynced.id);
            shared.note_synced(unsynced.id, unsynced.through);
            Reached::Power
        }
        Err(_) => {
            shared.suspects.push(unsynced.id);
            Reached::Unknown
        }
    }
}
