//! A store that answers, fails or keeps silent as a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use tenure::error::Result;
use tenure::host::{Host, Native};
use tenure::lease::store::{Answer, Ask, Attempt, Claim, Notice, Owner, Store};
use tenure::lease::{Entry, Name, Tenant};
use tenure::{Error, LeaseStore, Moment};

use crate::place::PATIENCE;

/// What the store does with a call.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Answers,
    /// Says at once that it can't be reached.
    Fails,
    /// Says so when the caller's time is over.
    Silent,
    /// Does what it is asked for, and says that it could not be reached.
    Forgets,
    /// A renewal comes back only when the mood has changed, however long that takes; all else is answered.
    Hangs,
}

/// A store in front of a real one.
pub(crate) struct Stalled {
    real: Arc<dyn Store>,
    mood: AtomicU8,
    /// Whether waiters are told of releases.
    pub(crate) tells: bool,
    pub(crate) calls: AtomicUsize,
}

const MOODS: [Mood; 5] = [Mood::Answers, Mood::Fails, Mood::Silent, Mood::Forgets, Mood::Hangs];

impl Stalled {
    /// The store, and how to change its mood.
    pub(crate) fn over(store: &LeaseStore) -> (LeaseStore, Arc<Stalled>) {
        Stalled::telling(store, true)
    }

    pub(crate) fn telling(store: &LeaseStore, tells: bool) -> (LeaseStore, Arc<Stalled>) {
        let (real, mood) = (store.store().clone(), AtomicU8::new(0));
        let stalled = Arc::new(Stalled { real, mood, tells, calls: AtomicUsize::new(0) });
        (LeaseStore::on(Native, stalled.clone()), stalled)
    }

    pub(crate) fn be(&self, mood: Mood) {
        let number = MOODS.iter().position(|known| *known == mood).unwrap();
        self.mood.store(u8::try_from(number).unwrap(), Ordering::SeqCst);
    }

    fn mood(&self) -> Mood {
        MOODS[usize::from(self.mood.load(Ordering::SeqCst))]
    }

    fn asked<R>(&self, until: Moment, real: impl FnOnce() -> Result<R>) -> Result<R> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let nap = || std::thread::sleep(Duration::from_millis(1));
        match self.mood() {
            // Renewals have waited by now.
            Mood::Answers | Mood::Hangs => return real(),
            Mood::Fails => {}
            Mood::Silent => {
                while Native.now() < until && self.mood() == Mood::Silent {
                    nap();
                }
            }
            Mood::Forgets => drop(real()?),
        }
        Err(Error::unreachable(self.address(), "the test says so"))
    }
}

impl Store for Stalled {
    fn address(&self) -> &str {
        self.real.address()
    }

    fn acquire(&self, ask: &Ask, until: Moment) -> Result<Attempt> {
        self.asked(until, || self.real.acquire(ask, until))
    }

    fn renew(&self, claim: &Claim, ttl: Duration, tenant: Option<&Tenant>, until: Moment) -> Result<Answer> {
        // A test that fails meanwhile must end.
        let longest = Native.now() + PATIENCE * 2;
        self.asked(until, || {
            while self.mood() == Mood::Hangs && Native.now() < longest {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.real.renew(claim, ttl, tenant, until)
        })
    }

    fn release(&self, claim: &Claim, until: Moment) -> Result<Answer> {
        self.asked(until, || self.real.release(claim, until))
    }

    fn break_lease(&self, name: &Name, reason: &str, until: Moment) -> Result<Option<Entry>> {
        self.asked(until, || self.real.break_lease(name, reason, until))
    }

    fn look(&self, name: &Name, until: Moment) -> Result<Option<Entry>> {
        self.asked(until, || self.real.look(name, until))
    }

    fn list(&self, until: Moment) -> Result<Vec<Entry>> {
        self.asked(until, || self.real.list(until))
    }

    fn abandon(&self, name: &Name, owner: &Owner) {
        self.real.abandon(name, owner);
    }

    fn notice(&self, name: &Name, waker: &Waker) -> Notice {
        if self.tells { self.real.notice(name, waker) } else { Notice::Nothing }
    }
}
