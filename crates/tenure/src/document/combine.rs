//! Updates of one document that wait in one process are done together: one lock, one read, one write, one sync.
//!
//! 1. Join the process's queue for the document, which is known by its directory and its name there. The first leads.
//! 2. The leader takes the lock as if it were alone, and if it gives up, the next in the queue leads. Under the lock it
//!    sweeps, reads, and makes its own change.
//! 3. It draws whoever waits by then, **once**: the lock is held for no more than each thread's one change, so that other
//!    processes get their turn. Each member makes its change in the order of their coming, on its own thread, on the content
//!    that the one before it left. Until then it may give up; from then on it hears what became of the batch.
//! 4. The leader writes what the last one left, as durably as the strictest asked for, lets the lock go and the next in the
//!    queue lead, syncs the directory, and tells the members. If the write failed, all of them hear so.
//!
//! A member whose fencing token is smaller than the fence, or than that of one before it in the batch, is refused before its
//! change is made. The fence is raised to the largest token, once, before the one write ([`super::fence`]).
//!
//! A change that fails or panics leaves the content as it was before it; the others are not concerned. But who failed, or
//! found nothing to change, on what others had not written yet, is not told so before that stands: if it is not written, he
//! has seen what never was, and hears of the failed write instead.
//!
//! Needed for correctness: a member must not be acknowledged before the shared write; a member must hear of a write that
//! failed; and whoever leaves must pass on what others wait for, also by a panic ([`Seat`]).

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use super::replace::{Found, Place};
use super::update::{self, Change, ROUNDS_MAX};
use super::{Document, Durability, Reached, Receipt, Version, fence, versions};
use crate::error::{Error, Result};
use crate::host::{Answer, Content, Draft, Host, Outcome, Site, Standing, Wishes};
use crate::lock::{Held, Lock, Waiting};
use crate::target::{self, site};
use crate::wait::Patience;

/// What a batch left: the document's version, and what that survives; or why it was not written.
#[derive(Debug)]
struct Told(Result<(Version, Reached)>);

/// How a member's part ended.
enum Part {
    /// With the batch.
    Done(Receipt),
    /// Nobody leads any more, so it does.
    Leads,
    /// Its path means another file by now.
    Anew,
}

/// Steps 2 to 7 of an update; `None` if the path means another file by now.
pub(super) fn take_part<H: Host>(
    document: &Document<H>,
    target: &Path,
    patience: &Patience,
    change: Change<'_>,
) -> Result<Option<Receipt>> {
    let lock = sidecar(document, target);
    let mut waiting = lock.waiting(patience.clone());
    let (mut seat, leads) = Seat::join(document, target, &lock)?;
    if !leads {
        match follow(document, &lock, &mut seat, &mut waiting, change)? {
            Part::Done(receipt) => return Ok(Some(receipt)),
            Part::Leads => {}
            Part::Anew => return Ok(None),
        }
    }
    lead(document, target, &mut seat, waiting, patience, change)
}

/// A thread's place in the queue for a document; dropping it passes on what others wait for.
struct Seat<'a, H: Host> {
    host: &'a H,
    site: Site,
    thread: u64,
    process: u64,
    left: bool,
}

impl<H: Host> Drop for Seat<'_, H> {
    fn drop(&mut self) {
        // A forked child has an empty queue of its own.
        if !self.left && self.is_mine() {
            wake(self.host.local(|local| local.quit(&self.site, self.thread)));
        }
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl<'a, H: Host> Seat<'a, H> {
    /// Step 1, and whether this thread leads.
    fn join(document: &'a Document<H>, target: &Path, lock: &Lock<H>) -> Result<(Seat<'a, H>, bool)> {
        let host = &document.host;
        let site = site(host, target)?;
        let (thread, process) = (host.thread(), host.process_mark());
        let sync = document.durability == Durability::Power;
        let joined = host.local(|local| local.join(&site, thread, sync));
        let leads = joined.map_err(|_| Error::already_held(lock.path()))?;
        Ok((Seat { host, site, thread, process, left: false }, leads))
    }

    fn is_mine(&self) -> bool {
        self.host.process_mark() == self.process
    }

    fn standing(&self, waker: &Waker) -> Standing {
        self.host.local(|local| local.standing(&self.site, self.thread, waker))
    }

    /// Where it stands right after joining; an error if it would wait for itself, since it holds the lock that the leader
    /// waits for.
    fn first_standing(&self, lock: &Lock<H>, waker: &Waker) -> Result<Standing> {
        let file = self.host.stat(lock.path()).ok().map(|stat| stat.id);
        let (standing, occupies) = self.host.local(|local| {
            let occupies = file.is_some_and(|file| local.occupies(file, self.thread));
            (local.standing(&self.site, self.thread, waker), occupies)
        });
        // Whose turn has come already holds the lock by that.
        match standing {
            Standing::Waits if occupies => Err(Error::already_held(lock.path())),
            standing => Ok(standing),
        }
    }

    /// Leaves unless its turn has come; whether it did.
    fn give_up(&mut self) -> bool {
        self.left = self.host.local(|local| local.give_up(&self.site, self.thread));
        self.left
    }

    fn answer(&self, answer: Answer, waker: &Waker) {
        wake(self.host.local(|local| local.answer(&self.site, self.thread, answer, waker)));
    }

    /// Step 3: what all members together make of the leader's draft.
    fn collect(&self, held: &Held<H>, draft: Draft) -> Draft {
        let lock = held.file().expect("a lock of the flock kind is held on a file");
        let mut waiter = self.host.waiter();
        let waker = self.host.waker(&waiter);
        let first = self.host.local(|local| local.hand_on(&self.site, self.thread, lock, draft, &waker));
        match first {
            Ok(first) => wake(first),
            Err(draft) => return draft,
        }
        loop {
            self.host.wait(&mut waiter, None);
            if let Standing::Collected(draft) = self.standing(&waker) {
                return draft;
            }
        }
    }

    /// Lets the next one lead: the lock is free.
    fn pass_on(&mut self) {
        let (next, left) = self.host.local(|local| local.pass_on(&self.site, self.thread));
        self.left = left;
        wake(next);
    }

    /// Tells the members what became of their changes, and leaves.
    fn tell(&mut self, told: Told) {
        if !self.left {
            self.left = true;
            let outcome: Arc<dyn Outcome> = Arc::new(told);
            wake(self.host.local(|local| local.tell(&self.site, self.thread, &outcome)));
        }
    }
}

/// A member's part, from the queue to the outcome.
fn follow<H: Host>(
    document: &Document<H>,
    lock: &Lock<H>,
    seat: &mut Seat<'_, H>,
    waiting: &mut Waiting<'_, H>,
    change: Change<'_>,
) -> Result<Part> {
    let host = &document.host;
    let waker = host.waker(waiting.waiter());
    let mut standing = seat.first_standing(lock, &waker)?;
    let mut decided = Ok(false);
    loop {
        match standing {
            Standing::Waits => {
                if let Err(error) = waiting.sleep(None)
                    && seat.give_up()
                {
                    return Err(lock.refused(error));
                }
            }
            Standing::Turn(draft) => {
                let Some(new) = turn(document, seat, &draft, change) else { return Ok(Part::Anew) };
                if !seat.is_mine() {
                    return Err(forked(document, new));
                }
                decided = match new {
                    // It saw nothing but what is in the file.
                    Err(error) if !draft.unwritten => return Err(error),
                    Err(error) => {
                        seat.answer(Answer::Failed, &waker);
                        Err(error)
                    }
                    Ok(None) => {
                        seat.answer(Answer::Unchanged(document.wishes()), &waker);
                        Ok(false)
                    }
                    Ok(Some(new)) => {
                        seat.answer(Answer::Changed(new, document.wishes()), &waker);
                        Ok(true)
                    }
                };
                host.wait(waiting.waiter(), None);
            }
            Standing::Answered => {
                host.wait(waiting.waiter(), None);
            }
            Standing::Told(outcome) => {
                seat.left = true;
                return heard(&*outcome, decided).map(Part::Done);
            }
            Standing::Leads | Standing::Collected(_) => return Ok(Part::Leads),
        }
        standing = seat.standing(&waker);
    }
}

impl<H: Host> Document<H> {
    /// How a change through this document is to be written.
    pub(super) fn wishes(&self) -> Wishes {
        Wishes { mode: self.mode, versions: self.versions_kept, fence: self.fence }
    }
}

/// A member's own change; `None` if its path means another file by now, so that it is not for this batch.
fn turn<H: Host>(
    document: &Document<H>,
    seat: &Seat<'_, H>,
    draft: &Draft,
    change: Change<'_>,
) -> Option<Result<Content>> {
    let now = update::resolve(&document.host, &document.path);
    match now.and_then(|target| Ok((site(&document.host, &target)?, target))) {
        Ok((now, target)) if now == seat.site => {
            let admitted = fence::admit(document, &target, draft.wishes.fence);
            Some(admitted.and_then(|()| changed(document, &draft.content, change)))
        }
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }
}

/// What a caller's change makes of the content; `None` if it stays.
fn changed<H: Host>(document: &Document<H>, content: &Content, change: Change<'_>) -> Result<Content> {
    let old = content.as_ref().map(|content| content.as_slice());
    update::expect_version(document, old)?;
    Ok(change(old)?.filter(|new| Some(new.as_slice()) != old).map(Arc::new))
}

fn forked<H: Host>(document: &Document<H>, new: Result<Content>) -> Error {
    new.err().unwrap_or_else(|| update::forked(&document.path))
}

/// What a member is told, who has decided upon content that was not written then.
fn heard(outcome: &dyn Outcome, decided: Result<bool>) -> Result<Receipt> {
    let Told(told) = (outcome as &dyn Any).downcast_ref().expect("nothing else is told");
    match told {
        Ok((version, durability)) => {
            decided.map(|changed| Receipt { changed, version: *version, durability: *durability })
        }
        Err(error) => Err(error.again()),
    }
}

/// The leader's part. It begins again where somebody broke the rules: deleted the lock file, or wrote the document without
/// it.
fn lead<H: Host>(
    document: &Document<H>,
    target: &Path,
    seat: &mut Seat<'_, H>,
    waiting: Waiting<'_, H>,
    patience: &Patience,
    change: Change<'_>,
) -> Result<Option<Receipt>> {
    let mut begun = Some(waiting);
    for _ in 0..ROUNDS_MAX {
        let lock = lock(document, target)?;
        let held = match begun.take() {
            Some(waiting) => lock.acquire_after(waiting)?,
            None => lock.acquire(patience.clone())?,
        };
        // A symbolic link may have been given another target while we waited.
        if update::resolve(&document.host, &document.path)? != target {
            return Ok(None);
        }
        if let Some(receipt) = locked(document, target, held, seat, change)? {
            return Ok(Some(receipt));
        }
    }
    let error = update::replaced_each_time(document);
    seat.tell(Told(Err(error.again())));
    Err(error)
}

/// What is done under the lock and right after it; `None` asks for another round.
fn locked<H: Host>(
    document: &Document<H>,
    target: &Path,
    held: Held<H>,
    seat: &mut Seat<'_, H>,
    change: Change<'_>,
) -> Result<Option<Receipt>> {
    let mut place = Place { host: &document.host, path: target, durability: document.durability };
    crate::scratch::sweep(&document.host, target);
    let found = place.read()?;
    update::refuse_hard_links(target, found.as_ref())?;
    let old: Content = found.as_ref().map(|found| found.bytes.clone());
    let own = fence::admit(document, target, None).and_then(|()| changed(document, &old, change));
    if !held.is_mine() {
        return Err(forked(document, own));
    }
    let new = own.as_ref().ok().cloned().flatten();
    let draft = seat.collect(
        &held,
        Draft {
            unwritten: new.is_some() || (own.is_ok() && document.fence.is_some()),
            wishes: match &own {
                Ok(Some(_)) => document.wishes(),
                Ok(None) => Wishes { versions: None, ..document.wishes() },
                Err(_) => Wishes::default(),
            },
            content: new.or_else(|| old.clone()),
            sync: own.is_ok() && document.durability == Durability::Power,
        },
    );
    place.durability = if draft.sync { Durability::Power } else { Durability::Process };
    match write(&place, &draft, found.as_ref(), held, seat) {
        Ok(None) => Ok(None),
        Ok(Some((version, durability))) => {
            seat.tell(Told(Ok((version, durability))));
            own.map(|new| Some(Receipt { changed: new.is_some(), version, durability }))
        }
        Err(error) => {
            seat.tell(Told(Err(error.again())));
            // The leader's own change was made of what is in the file.
            own.and(Err(error))
        }
    }
}

/// Steps 6 and 7 of an update, for all: what is in the file then, and what that survives.
fn write<H: Host>(
    place: &Place<'_, H>,
    draft: &Draft,
    found: Option<&Found<H::File>>,
    held: Held<H>,
    seat: &mut Seat<'_, H>,
) -> Result<Option<(Version, Reached)>> {
    let Some(new) = draft.content.as_ref().filter(|new| found.is_none_or(|found| found.bytes != **new))
    else {
        if !fence::raise(place, found, draft.wishes)? {
            return Ok(None);
        }
        drop(held);
        seat.pass_on();
        let version = Version::of(found.map(|found| found.bytes.as_slice()));
        return Ok(Some((version, place.settle_unchanged(found)?)));
    };
    let mut prepared = place.prepare(new, found, draft.wishes.mode)?;
    if let (Some(count), Some(found)) = (draft.wishes.versions, found) {
        versions::keep(place, found, count)?;
    }
    if !fence::raise(place, found, draft.wishes)? {
        return Ok(None);
    }
    if !held.is_current()? || !place.is_unchanged(found)? || !place.commit(&mut prepared)? {
        return Ok(None);
    }
    // Released before the directory is synced, so that the next one works meanwhile. The change stands
    // whatever the release says, and the kernel releases a descriptor that is closed.
    drop(held);
    seat.pass_on();
    let version = Version::of(Some(new));
    Ok(Some((version, place.settle(&prepared))))
}

/// The document's lock, to be created open to whoever may use the document.
pub(super) fn lock<H: Host>(document: &Document<H>, target: &Path) -> Result<Lock<H>> {
    target::open_to_its_users(&document.host, target, sidecar(document, target), document.mode)
}

/// The lock file beside the document.
fn sidecar<H: Host>(document: &Document<H>, target: &Path) -> Lock<H> {
    let lock = Lock::flock_on(document.host.clone(), target::lock_path(target));
    lock.reporting(document.report.clone())
}
