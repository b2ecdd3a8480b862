//! Updates of one document that wait in one process, and the batches that they are done in.
//!
//! Threads join a queue for each document. The first leads: it takes the document's lock for all. Under it, it draws
//! whoever waits by then, once, and hands on the content; each member in turn gets it, runs its change on its own thread
//! and hands it to the next; the last hands it back to the leader, who writes it and tells all what became of it. As soon
//! as the leader has let the lock go, the next in the queue leads, while the first still waits for the disk.
//!
//! A thread stands in a queue at most once, so it is named there by its number. Whoever leaves, for whatever reason,
//! passes on what others wait for: the turn, the lead, or, if it led and nothing was written, their places in the queue.

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::task::Waker;

use super::{Local, Occupied};
use crate::host::FileId;
use crate::lease::Token;

/// A document, whatever path leads to it: its directory, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// The directory.
    pub directory: FileId,
    /// The name.
    pub name: OsString,
}

/// A document's bytes, `None` if there is no file.
pub type Content = Option<Arc<Vec<u8>>>;

/// What became of a batch, as its leader tells the members. It is carried here, not looked into.
pub trait Outcome: Any + fmt::Debug + Send + Sync {}

impl<T: Any + fmt::Debug + Send + Sync> Outcome for T {}

/// What a batch has made of a document so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Draft {
    /// The content.
    pub content: Content,
    /// Whether anybody has changed it, or raised its fence, so that what is seen may never come to be.
    pub unwritten: bool,
    /// Whether anybody who relies on it wants it to survive a power loss.
    pub sync: bool,
    /// How those who changed it want it to be written.
    pub wishes: Wishes,
}

impl Draft {
    /// Makes a member's answer a part of it.
    fn take(&mut self, answer: Answer) {
        let (content, wishes) = match answer {
            Answer::Changed(content, wishes) => (Some(content), wishes),
            Answer::Unchanged(wishes) => (None, Wishes { versions: None, ..wishes }),
            Answer::Failed => return,
        };
        let raises = wishes.fence > self.wishes.fence;
        if self.content.is_none() && (content.is_some() || raises) {
            self.wishes.mode = wishes.mode;
        }
        self.wishes.versions = self.wishes.versions.max(wishes.versions);
        self.wishes.fence = self.wishes.fence.max(wishes.fence);
        self.unwritten |= content.is_some() || raises;
        self.content = content.or_else(|| self.content.take());
    }
}

/// How a changed document is to be written, beyond its durability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wishes {
    /// The permission bits of a document that has to be created; who creates it decides.
    pub mode: Option<u32>,
    /// How many earlier versions are to be kept: the most that anybody wants.
    pub versions: Option<usize>,
    /// The fencing token that the change carries: the largest that anybody has been admitted with.
    pub fence: Option<Token>,
}

/// What a member's change came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The content is this from here on, and is to be written so.
    Changed(Arc<Vec<u8>>, Wishes),
    /// The content can stay as it is. Of the wishes the fence counts, and the mode that it is to be created with.
    Unchanged(Wishes),
    /// The change failed, and is not to be made.
    Failed,
}

/// Where a thread stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It waits until it is drawn, or leads.
    Waits,
    /// It is to take the lock and to do the batch.
    Leads,
    /// It is to make its change now.
    Turn(Draft),
    /// It has made its change, and waits to hear what became of it.
    Answered,
    /// It has heard, and is not in the queue any more.
    Told(Arc<dyn Outcome>),
    /// It leads, every member has made its change, and this is to be written.
    Collected(Draft),
}

/// The queue for one document.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// In the order in which they came.
    members: Vec<Member>,
    /// Those whose leader has drawn: one at most is being made, others are being synced.
    batches: Vec<Batch>,
}

#[derive(Debug)]
struct Member {
    thread: u64,
    sync: bool,
    stage: Stage,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Stage {
    Waits,
    Leads,
    /// It led, and has let the lock go.
    Settles,
    /// Of the batch of this leader, and yet to make its change.
    Drawn(u64),
    Turn(u64),
    Answered(u64),
    Told(Arc<dyn Outcome>),
}

#[derive(Debug, Hash)]
struct Batch {
    leader: u64,
    draft: Draft,
    /// The lock file, whose place in the threads' queue goes with the turn.
    lock: FileId,
}

impl Queue {
    fn at(&mut self, thread: u64) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.thread == thread)
    }

    fn batch(&mut self, leader: u64) -> Option<&mut Batch> {
        self.batches.iter_mut().find(|batch| batch.leader == leader)
    }

    fn remove(&mut self, thread: u64) -> Option<Member> {
        let place = self.members.iter().position(|member| member.thread == thread)?;
        Some(self.members.remove(place))
    }

    fn leads(&self) -> bool {
        self.members.iter().any(|member| matches!(member.stage, Stage::Leads))
    }

    /// Makes the first in the queue lead, unless somebody does.
    fn promote(&mut self) -> Option<Waker> {
        if self.leads() {
            return None;
        }
        let next = self.members.iter_mut().find(|member| matches!(member.stage, Stage::Waits))?;
        next.stage = Stage::Leads;
        next.waker.take()
    }

    /// Gives the turn to the next who was drawn, or back to the leader; whose it is, and how to wake him.
    fn turn(&mut self, leader: u64) -> (u64, Option<Waker>) {
        let drawn =
            self.members.iter_mut().find(|member| matches!(member.stage, Stage::Drawn(of) if of == leader));
        match drawn {
            Some(next) => {
                next.stage = Stage::Turn(leader);
                (next.thread, next.waker.take())
            }
            None => (leader, self.at(leader).and_then(|leader| leader.waker.take())),
        }
    }

    fn is_collected(&self, leader: u64) -> bool {
        let busy = |stage: &Stage| matches!(stage, Stage::Drawn(of) | Stage::Turn(of) if *of == leader);
        !self.members.iter().any(|member| busy(&member.stage))
    }
}

impl Local {
    /// Joins the queue for a document, and says whether this thread leads; `sync` if its change is to survive a power
    /// loss.
    ///
    /// # Errors
    ///
    /// [`Occupied`] if `thread` stands in that queue already: it would wait for itself.
    pub fn join(&mut self, site: &Site, thread: u64, sync: bool) -> Result<bool, Occupied> {
        if !self.documents.contains_key(site) {
            self.documents.insert(site.clone(), Queue::default());
        }
        let queue = self.documents.get_mut(site).expect("made if it was not there");
        if queue.at(thread).is_some() {
            return Err(Occupied);
        }
        queue.members.push(Member { thread, sync, stage: Stage::Waits, waker: None });
        let _first_has_no_waker_yet = queue.promote();
        Ok(matches!(queue.members.last().expect("just pushed").stage, Stage::Leads))
    }

    /// How many threads stand in the queues of documents.
    pub fn updating(&self) -> usize {
        self.documents.values().map(|queue| queue.members.len()).sum()
    }

    /// Where a thread stands; `waker` is called when that changes.
    ///
    /// # Panics
    ///
    /// If the thread is not in the queue.
    pub fn standing(&mut self, site: &Site, thread: u64, waker: &Waker) -> Standing {
        let queue = self.documents.get_mut(site).expect("a queue lasts as long as anyone stands in it");
        let member = queue.at(thread).expect("a thread stays in its queue until it leaves");
        let batch_of = match &member.stage {
            Stage::Told(outcome) => {
                let told = Standing::Told(outcome.clone());
                self.remove(site, thread);
                return told;
            }
            Stage::Turn(leader) => *leader,
            Stage::Leads => thread,
            Stage::Waits | Stage::Drawn(_) | Stage::Answered(_) | Stage::Settles => {
                member.waker = Some(waker.clone());
                return match member.stage {
                    Stage::Answered(_) => Standing::Answered,
                    _ => Standing::Waits,
                };
            }
        };
        let draft = queue.batch(batch_of).map(|batch| batch.draft.clone());
        match draft {
            None => Standing::Leads,
            Some(draft) if batch_of != thread => Standing::Turn(draft),
            Some(draft) if queue.is_collected(thread) => Standing::Collected(draft),
            Some(_) => {
                queue.at(thread).expect("found above").waker = Some(waker.clone());
                Standing::Answered
            }
        }
    }

    /// The leader, who holds `lock`, hands on what it has made of the content. The first time it draws everybody who waits;
    /// when it begins again, everybody whom it drew makes his change again. `waker` is called when all have made theirs.
    ///
    /// # Errors
    ///
    /// The draft itself if nobody is there to get it.
    pub fn hand_on(
        &mut self,
        site: &Site,
        leader: u64,
        lock: FileId,
        draft: Draft,
        waker: &Waker,
    ) -> Result<Option<Waker>, Draft> {
        let Some(queue) = self.documents.get_mut(site) else { return Err(draft) };
        let again = queue.batch(leader).is_some();
        queue.batches.retain(|batch| batch.leader != leader);
        let mut drawn = false;
        for member in &mut queue.members {
            match member.stage {
                Stage::Waits if !again => member.stage = Stage::Drawn(leader),
                Stage::Answered(of) if of == leader => member.stage = Stage::Drawn(leader),
                _ => continue,
            }
            drawn = true;
        }
        if !drawn {
            return Err(draft);
        }
        queue.batches.push(Batch { leader, draft, lock });
        if let Some(member) = queue.at(leader) {
            member.waker = Some(waker.clone());
        }
        Ok(self.pass_turn(site, leader))
    }

    /// A member has made its change, and passes the turn on; `waker` is called when there is more for it.
    ///
    /// It may find that its leader has left meanwhile, and that it stands where [`Local::standing`] says.
    #[must_use]
    pub fn answer(&mut self, site: &Site, thread: u64, answer: Answer, waker: &Waker) -> Option<Waker> {
        let queue = self.documents.get_mut(site)?;
        let member = queue.at(thread)?;
        let Stage::Turn(leader) = member.stage else { return Some(waker.clone()) };
        member.stage = Stage::Answered(leader);
        member.waker = Some(waker.clone());
        let sync = member.sync && answer != Answer::Failed;
        if let Some(Batch { draft, .. }) = queue.batch(leader) {
            draft.sync |= sync;
            draft.take(answer);
        }
        self.pass_turn(site, leader)
    }

    /// Leaves the queue unless its turn has come, or it leads; whether it did.
    pub fn give_up(&mut self, site: &Site, thread: u64) -> bool {
        let Some(queue) = self.documents.get_mut(site) else { return true };
        match queue.at(thread).map(|member| &member.stage) {
            Some(Stage::Waits | Stage::Drawn(_)) => {
                self.remove(site, thread);
                true
            }
            other => other.is_none(),
        }
    }

    /// The leader has let the lock go: the next in the queue leads. `true` if nobody waits to hear of the batch, so that its
    /// leader is not in the queue any more.
    #[must_use]
    pub fn pass_on(&mut self, site: &Site, leader: u64) -> (Option<Waker>, bool) {
        let Some(queue) = self.documents.get_mut(site) else { return (None, true) };
        let followed = |stage: &Stage| matches!(stage, Stage::Answered(of) if *of == leader);
        if queue.members.iter().any(|member| followed(&member.stage)) {
            if let Some(member) = queue.at(leader) {
                member.stage = Stage::Settles;
            }
            return (queue.promote(), false);
        }
        queue.batches.retain(|batch| batch.leader != leader);
        queue.remove(leader);
        let next = queue.promote();
        self.forget_empty(site);
        (next, true)
    }

    /// The leader tells its members what became of the batch, and leaves.
    #[must_use]
    pub fn tell(&mut self, site: &Site, leader: u64, outcome: &Arc<dyn Outcome>) -> Vec<Waker> {
        let Some(queue) = self.documents.get_mut(site) else { return Vec::new() };
        let mut wakers = Vec::new();
        for member in &mut queue.members {
            if matches!(member.stage, Stage::Answered(of) | Stage::Drawn(of) if of == leader) {
                member.stage = Stage::Told(outcome.clone());
                wakers.extend(member.waker.take());
            }
        }
        wakers.extend(self.quit(site, leader));
        wakers
    }

    /// Leaves the queue, whatever the thread did there. If it led a batch of which nobody was told, its members are in the
    /// queue again, as if they had never been drawn.
    #[must_use]
    pub fn quit(&mut self, site: &Site, thread: u64) -> Vec<Waker> {
        let Some(queue) = self.documents.get_mut(site) else { return Vec::new() };
        let Some(left) = queue.remove(thread) else { return Vec::new() };
        let mut wakers = Vec::new();
        match left.stage {
            Stage::Turn(leader) => wakers.extend(self.pass_turn(site, leader)),
            Stage::Leads | Stage::Settles => {
                queue.batches.retain(|batch| batch.leader != thread);
                for member in &mut queue.members {
                    let of = match member.stage {
                        Stage::Drawn(of) | Stage::Turn(of) | Stage::Answered(of) => Some(of),
                        _ => None,
                    };
                    if of == Some(thread) {
                        member.stage = Stage::Waits;
                        wakers.extend(member.waker.take());
                    }
                }
                wakers.extend(queue.promote());
            }
            Stage::Waits | Stage::Drawn(_) | Stage::Answered(_) | Stage::Told(_) => {}
        }
        self.forget_empty(site);
        wakers
    }

    /// Gives the turn on, and the place in the threads' queue for the lock file with it: a member that asks for that lock in
    /// its change asks for what is held on its behalf, and would wait for itself.
    fn pass_turn(&mut self, site: &Site, leader: u64) -> Option<Waker> {
        let queue = self.documents.get_mut(site)?;
        let lock = queue.batch(leader)?.lock;
        let (whose, waker) = queue.turn(leader);
        if let Some(holder) = self.entries.iter_mut().find(|entry| entry.file == lock) {
            holder.thread = whose;
        }
        waker
    }

    fn remove(&mut self, site: &Site, thread: u64) {
        if let Some(queue) = self.documents.get_mut(site) {
            queue.remove(thread);
        }
        self.forget_empty(site);
    }

    fn forget_empty(&mut self, site: &Site) {
        if self.documents.get(site).is_some_and(|queue| queue.members.is_empty()) {
            self.documents.remove(site);
        }
    }
}

impl Queue {
    /// The part of [`Local::hash_view`] that is about one document.
    pub(super) fn hash_view<S: Hasher>(&self, thread: u64, state: &mut S) {
        // Whether it would lead if it joined, and, if it leads, whether anybody is there to be drawn or told.
        let of = |member: &Member| match member.stage {
            Stage::Drawn(of) | Stage::Turn(of) | Stage::Answered(of) => Some(of),
            _ => None,
        };
        let waits = self.members.iter().any(|member| matches!(member.stage, Stage::Waits));
        let followed = self.members.iter().any(|member| of(member) == Some(thread));
        (self.leads(), waits, followed, self.is_collected(thread)).hash(state);
        let Some(own) = self.members.iter().find(|member| member.thread == thread) else { return };
        std::mem::discriminant(&own.stage).hash(state);
        let batch_of = match &own.stage {
            Stage::Turn(leader) => *leader,
            Stage::Leads => thread,
            Stage::Told(outcome) => return format!("{outcome:?}").hash(state),
            Stage::Waits | Stage::Settles | Stage::Drawn(_) | Stage::Answered(_) => return,
        };
        if batch_of == thread && !self.is_collected(thread) {
            return;
        }
        let batch = self.batches.iter().find(|batch| batch.leader == batch_of);
        batch.map(|batch| &batch.draft).hash(state);
    }
}

impl Hash for Queue {
    fn hash<S: Hasher>(&self, state: &mut S) {
        self.members.len().hash(state);
        for member in &self.members {
            (member.thread, member.sync, member.waker.is_some()).hash(state);
            std::mem::discriminant(&member.stage).hash(state);
            match &member.stage {
                Stage::Drawn(leader) | Stage::Turn(leader) | Stage::Answered(leader) => leader.hash(state),
                Stage::Told(outcome) => format!("{outcome:?}").hash(state),
                Stage::Waits | Stage::Leads | Stage::Settles => {}
            }
        }
        self.batches.hash(state);
    }
}
