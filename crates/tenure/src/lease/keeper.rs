//! The threads that renew leases, and find out when they are lost.
//!
//! A lease has a thread of its own, so that none waits while another's store does not answer; and one of the system, so that no
//! executor that is busy with other things lets a lease expire. It renews after a third of the time to live, so that two renewals
//! may fail; one that fails is tried again soon, with growing pauses. No attempt outlasts the deadline: from then on the lease
//! is lost, whether the store has answered or not.
//!
//! That thread is started when the first renewal is due, by one that sleeps for all leases of its store until then (the
//! starter): most leases are released earlier, and cost no thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::hold::Hold;
use crate::host::{self, Host};
use crate::wait::Moment;

/// When another thread is tried for if there was none to be had: as a part of the time to live, and at the latest.
const RETRY: (u32, Duration) = (24, Duration::from_millis(100));

/// When a lease wants a thread. The number tells those apart that want it at the same moment.
type Due = (Moment, u64);

/// Those who keep the leases of one store.
pub(super) struct Keepers<H: Host> {
    host: H,
    shared: Arc<Shared<H>>,
    /// A forked child has not the threads.
    process: u64,
}

struct Shared<H: Host>(Mutex<State<H>>);

struct State<H: Host> {
    waiting: BTreeMap<Due, Arc<Hold<H>>>,
    next: u64,
    starter: Option<Starter>,
    /// The store is gone; leases may be left.
    closed: bool,
}

struct Starter {
    /// `None` until it runs.
    waker: Option<Waker>,
    /// `None`: until it is woken.
    sleeps_until: Option<Moment>,
}

impl<H: Host> Keepers<H> {
    pub(super) fn new(host: H) -> Keepers<H> {
        let process = host.process_mark();
        let state = State { waiting: BTreeMap::new(), next: 0, starter: None, closed: false };
        Keepers { host, shared: Arc::new(Shared(Mutex::new(state))), process }
    }

    /// Renews a lease from now on, until it is given up or lost.
    pub(super) fn keep(&self, hold: &Arc<Hold<H>>) -> host::Result<()> {
        let Some(first) = hold.next_step() else { return Ok(()) };
        let due = self.shared.state().due(first.at);
        hold.kept_by(Arc::new(Ticket { shared: self.shared.clone(), due }).into());
        let mut state = self.shared.state();
        state.waiting.insert(due, hold.clone());
        if state.starter.is_some() {
            state.wake_starter_by(first.at);
            return Ok(());
        }
        let (host, shared) = (self.host.clone(), self.shared.clone());
        self.host.spawn(Box::new(move || start_those_due(&host, &shared)))?;
        state.starter = Some(Starter { waker: None, sleeps_until: None });
        Ok(())
    }
}

impl<H: Host> Drop for Keepers<H> {
    fn drop(&mut self) {
        if self.host.process_mark() == self.process {
            let mut state = self.shared.state();
            state.closed = true;
            state.wake_starter();
        }
    }
}

impl<H: Host> Shared<H> {
    fn state(&self) -> MutexGuard<'_, State<H>> {
        // No code of a caller's runs while this is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Host> State<H> {
    fn due(&mut self, at: Moment) -> Due {
        self.next += 1;
        (at, self.next)
    }

    fn wake_starter(&mut self) {
        if let Some(waker) = self.starter.as_ref().and_then(|starter| starter.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    fn wake_starter_by(&mut self, at: Moment) {
        let sleeps_until = self.starter.as_ref().and_then(|starter| starter.sleeps_until);
        if sleeps_until.is_none_or(|until| at < until) {
            self.wake_starter();
        }
    }
}

/// The place of a lease that waits for its thread. Waking it gives the place up.
struct Ticket<H: Host> {
    shared: Arc<Shared<H>>,
    due: Due,
}

impl<H: Host> Wake for Ticket<H> {
    fn wake(self: Arc<Self>) {
        let mut state = self.shared.state();
        let hold = state.waiting.remove(&self.due);
        if state.closed {
            state.wake_starter();
        }
        drop(state);
        drop(hold);
    }
}

/// The starter.
fn start_those_due<H: Host>(host: &H, shared: &Shared<H>) {
    let _until_it_ends = Starting(shared);
    let mut waiter = host.waiter();
    loop {
        let now = host.now();
        let mut state = shared.state();
        let first = state.waiting.first_key_value().map(|(due, _)| *due);
        match first {
            Some(due) if due.0 <= now => {
                let hold = state.waiting.remove(&due);
                drop(state);
                hold.into_iter().for_each(|hold| start(host, shared, hold));
            }
            None if state.closed => return,
            _ => {
                let sleeps_until = first.map(|(at, _)| at);
                state.starter = Some(Starter { waker: Some(host.waker(&waiter)), sleeps_until });
                drop(state);
                host.wait(&mut waiter, sleeps_until);
            }
        }
    }
}

/// That there is a starter: what is told of a loss is a caller's function, and may panic.
struct Starting<'s, H: Host>(&'s Shared<H>);

impl<H: Host> Drop for Starting<'_, H> {
    fn drop(&mut self) {
        self.0.state().starter = None;
    }
}

fn start<H: Host>(host: &H, shared: &Shared<H>, hold: Arc<Hold<H>>) {
    let kept = hold.clone();
    // Without a thread, the loss at least is told: by `next_step`.
    if host.spawn(Box::new(move || keep(&kept))).is_err() && hold.next_step().is_some() {
        let pause = (hold.ttl / RETRY.0).min(RETRY.1);
        // Not beyond the deadline: the loss must be told before another has the lease.
        let at = (host.now() + pause).min(hold.deadline());
        let mut state = shared.state();
        let due = state.due(at);
        state.waiting.insert(due, hold);
    }
}

fn keep<H: Host>(hold: &Hold<H>) {
    let mut waiter = hold.host.waiter();
    hold.kept_by(hold.host.waker(&waiter));
    // Without a next step the lease has been given up, or its loss has been told.
    while let Some(next) = hold.next_step() {
        let now = hold.host.now();
        if now < next.at {
            hold.host.wait(&mut waiter, Some(next.at));
        } else if next.renews {
            // A failure is noted, and a loss told, by `renew` itself.
            let _noted = hold.renew();
        }
    }
}
