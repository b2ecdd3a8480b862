//! Appends to one journal that wait in one process, and who writes them.
//!
//! Each thread brings what it wants written. The first leads: it takes the journal's lock for all, draws whoever waits by
//! then, writes everything at once, lets the lock go, syncs, tells those whom it drew, and leaves; then the next in the queue
//! leads. One thread at a time syncs, since the kernel tells of a failed sync once for each descriptor: of two who ask
//! at the same time, one would be told that all is well.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::task::Waker;

use super::{Occupied, Outcome, Site};

/// What a thread wants written; carried here, not looked into.
pub type Parcel = Arc<dyn Outcome>;

/// Where a thread stands.
#[derive(Clone, Debug)]
pub enum Place {
    /// It waits until it is drawn, or leads.
    Waits,
    /// It is to take the lock and to write.
    Leads,
    /// Its leader writes.
    Drawn,
    /// It has heard, and is not in the queue any more.
    Told(Arc<dyn Outcome>),
}

/// The queues of one process, one for each journal that is being appended to.
#[derive(Debug, Default, Hash)]
pub struct Journals(BTreeMap<Site, Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they came.
    members: Vec<Member>,
    /// How many parcels the last leader wrote.
    together: usize,
    /// The leader, who waits for as many to come again.
    gathers: Option<Waker>,
}

#[derive(Debug)]
struct Member {
    thread: u64,
    parcel: Parcel,
    stage: Stage,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Stage {
    Waits,
    Leads,
    /// Its parcel is with this leader.
    Drawn(u64),
    Told(Arc<dyn Outcome>),
}

impl Queue {
    /// Makes the first in the queue lead, unless somebody does.
    fn promote(&mut self) -> Option<Waker> {
        if self.members.iter().any(|member| matches!(member.stage, Stage::Leads)) {
            return None;
        }
        let next = self.members.iter_mut().find(|member| matches!(member.stage, Stage::Waits))?;
        next.stage = Stage::Leads;
        next.waker.take()
    }

    /// Whether the leader has as many behind it as were written together last time.
    fn is_gathered(&self) -> bool {
        self.members.len() >= self.together
    }

    fn place(&self, thread: u64) -> Option<usize> {
        self.members.iter().position(|member| member.thread == thread)
    }
}

impl Journals {
    /// Joins the queue for a journal, and says whether this thread leads, and whom to wake.
    ///
    /// # Errors
    ///
    /// [`Occupied`] if `thread` stands in that queue already: it would wait for itself.
    pub fn join(
        &mut self,
        site: &Site,
        thread: u64,
        parcel: Parcel,
    ) -> Result<(bool, Option<Waker>), Occupied> {
        let queue = self.0.entry(site.clone()).or_default();
        if queue.place(thread).is_some() {
            return Err(Occupied);
        }
        queue.members.push(Member { thread, parcel, stage: Stage::Waits, waker: None });
        let _first_has_no_waker_yet = queue.promote();
        let leads = matches!(queue.members.last().expect("just pushed").stage, Stage::Leads);
        Ok((leads, if queue.is_gathered() { queue.gathers.take() } else { None }))
    }

    /// How many stand in a journal's queue.
    pub fn standing(&self, site: &Site) -> usize {
        self.0.get(site).map_or(0, |queue| queue.members.len())
    }

    /// Where a thread stands; `waker` is called when that changes.
    ///
    /// # Panics
    ///
    /// If the thread is not in the queue.
    pub fn place(&mut self, site: &Site, thread: u64, waker: &Waker) -> Place {
        let queue = self.0.get_mut(site).expect("a queue lasts as long as anyone stands in it");
        let at = queue.place(thread).expect("a thread stays in its queue until it leaves");
        let member = &mut queue.members[at];
        match &member.stage {
            Stage::Leads => Place::Leads,
            Stage::Waits => {
                member.waker = Some(waker.clone());
                Place::Waits
            }
            Stage::Drawn(_) => {
                member.waker = Some(waker.clone());
                Place::Drawn
            }
            Stage::Told(outcome) => {
                let told = Place::Told(outcome.clone());
                queue.members.remove(at);
                self.forget_empty(site);
                told
            }
        }
    }

    /// Whether as many wait by now as were written together last time; if not, `waker` is called when they do. Those who were
    /// told a moment ago often come again at once, and each that comes in time saves a sync.
    pub fn gather(&mut self, site: &Site, waker: &Waker) -> bool {
        let Some(queue) = self.0.get_mut(site) else { return true };
        let is_gathered = queue.is_gathered();
        queue.gathers = (!is_gathered).then(|| waker.clone());
        is_gathered
    }

    /// The leader draws everybody who waits, in the order of their coming, for as long as `wants` says so of their parcels.
    pub fn draw(
        &mut self,
        site: &Site,
        leader: u64,
        mut wants: impl FnMut(&Parcel) -> bool,
    ) -> Vec<(u64, Parcel)> {
        let Some(queue) = self.0.get_mut(site) else { return Vec::new() };
        let waiting = queue.members.iter_mut().filter(|member| matches!(member.stage, Stage::Waits));
        let drawn: Vec<_> = waiting
            .take_while(|member| wants(&member.parcel))
            .map(|member| {
                member.stage = Stage::Drawn(leader);
                (member.thread, member.parcel.clone())
            })
            .collect();
        (queue.together, queue.gathers) = (drawn.len() + 1, None);
        drawn
    }

    /// Tells a thread, whom this leader drew, what became of its parcel.
    #[must_use]
    pub fn tell(
        &mut self,
        site: &Site,
        leader: u64,
        thread: u64,
        outcome: Arc<dyn Outcome>,
    ) -> Option<Waker> {
        let queue = self.0.get_mut(site)?;
        let at = queue.place(thread)?;
        let member = &mut queue.members[at];
        if !matches!(member.stage, Stage::Drawn(of) if of == leader) {
            return None;
        }
        member.stage = Stage::Told(outcome);
        member.waker.take()
    }

    /// Leaves the queue unless its parcel is being written, or it leads; whether it did.
    pub fn give_up(&mut self, site: &Site, thread: u64) -> bool {
        let Some(queue) = self.0.get_mut(site) else { return true };
        let Some(at) = queue.place(thread) else { return true };
        if !matches!(queue.members[at].stage, Stage::Waits) {
            return false;
        }
        queue.members.remove(at);
        self.forget_empty(site);
        true
    }

    /// Leaves the queue, whatever the thread did there. Those whom it drew and did not tell hear `unknown`.
    #[must_use]
    pub fn quit(&mut self, site: &Site, thread: u64, unknown: &Arc<dyn Outcome>) -> Vec<Waker> {
        let Some(queue) = self.0.get_mut(site) else { return Vec::new() };
        let Some(at) = queue.place(thread) else { return Vec::new() };
        queue.members.remove(at);
        let mut wakers = Vec::new();
        for member in &mut queue.members {
            if matches!(member.stage, Stage::Drawn(of) if of == thread) {
                member.stage = Stage::Told(unknown.clone());
                wakers.extend(member.waker.take());
            }
        }
        wakers.extend(queue.promote());
        self.forget_empty(site);
        wakers
    }

    /// The part of [`super::Local::hash_view`] that is about journals.
    pub(super) fn hash_view<S: Hasher>(&self, thread: u64, state: &mut S) {
        for (site, queue) in &self.0 {
            site.hash(state);
            let leads = queue.members.iter().any(|member| matches!(member.stage, Stage::Leads));
            (leads, queue.is_gathered()).hash(state);
            let Some(at) = queue.place(thread) else { continue };
            std::mem::discriminant(&queue.members[at].stage).hash(state);
            match &queue.members[at].stage {
                Stage::Told(outcome) => format!("{outcome:?}").hash(state),
                // What it draws, and whom it tells.
                Stage::Leads => queue.hash(state),
                Stage::Waits | Stage::Drawn(_) => {}
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    fn forget_empty(&mut self, site: &Site) {
        if self.0.get(site).is_some_and(|queue| queue.members.is_empty()) {
            self.0.remove(site);
        }
    }
}

impl Hash for Queue {
    fn hash<S: Hasher>(&self, state: &mut S) {
        (self.members.len(), self.together, self.gathers.is_some()).hash(state);
        for member in &self.members {
            (member.thread, member.waker.is_some(), format!("{:?}", member.parcel)).hash(state);
            std::mem::discriminant(&member.stage).hash(state);
            match &member.stage {
                Stage::Drawn(leader) => leader.hash(state),
                Stage::Told(outcome) => format!("{outcome:?}").hash(state),
                Stage::Waits | Stage::Leads => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FileId;

    fn site() -> Site {
        Site { directory: FileId { device: 1, inode: 2 }, name: "a".into() }
    }

    fn parcel(number: u32) -> Parcel {
        Arc::new(number)
    }

    fn place(journals: &mut Journals, thread: u64) -> String {
        format!("{:?}", journals.place(&site(), thread, Waker::noop()))
    }

    #[test]
    fn the_first_leads_and_then_who_came_behind_those_it_drew() {
        let (mut journals, site) = (Journals::default(), site());
        assert!(journals.join(&site, 1, parcel(1)).unwrap().0);
        assert!(!journals.join(&site, 2, parcel(2)).unwrap().0);
        assert!(journals.join(&site, 2, parcel(2)).is_err());
        assert_eq!(journals.draw(&site, 1, |_| true).len(), 1);
        assert!(!journals.join(&site, 3, parcel(3)).unwrap().0);
        assert_eq!((place(&mut journals, 2), place(&mut journals, 3)), ("Drawn".into(), "Waits".into()));
        assert!(!journals.give_up(&site, 2));
        assert!(journals.tell(&site, 1, 2, parcel(20)).is_some());
        assert_eq!(place(&mut journals, 2), "Told(20)");
        assert_eq!(journals.quit(&site, 1, &parcel(0)).len(), 1, "the third is woken");
        assert_eq!(place(&mut journals, 3), "Leads");
        assert!(!journals.gather(&site, Waker::noop()), "two were written together");
        assert!(journals.join(&site, 2, parcel(2)).unwrap().1.is_some(), "and the second has come again");
        assert!(journals.gather(&site, Waker::noop()) && journals.give_up(&site, 2));
        assert!(!journals.give_up(&site, 3));
        assert!(journals.quit(&site, 3, &parcel(0)).is_empty() && journals.is_idle());
    }

    #[test]
    fn whoever_leaves_passes_on_the_lead_and_tells_whom_it_drew() {
        let (mut journals, site) = (Journals::default(), site());
        for thread in 1..=3 {
            journals.join(&site, thread, parcel(0)).unwrap();
            let _here = journals.place(&site, thread, Waker::noop());
        }
        let mut room = 1..2;
        assert_eq!(journals.draw(&site, 1, |_| room.next().is_some()).len(), 1);
        assert_eq!(journals.quit(&site, 1, &parcel(9)).len(), 2);
        assert_eq!((place(&mut journals, 2), place(&mut journals, 3)), ("Told(9)".into(), "Leads".into()));
        assert_eq!(journals.standing(&site), 1);
        assert!(journals.quit(&site, 3, &parcel(9)).is_empty() && journals.is_idle());
    }
}
