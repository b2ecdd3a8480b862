//! A lease that is held: how it is renewed and given up, and how its loss is noticed and told.
//!
//! The deadline alone decides ([`super::timing`]): it counts from before each question to the store, on a clock that runs on
//! while the machine sleeps, and needs no answer. So whoever asks is told the truth even if the keeper is stuck, and the
//! descriptor is a timer that the kernel fires at that moment even if this process gets no processor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::loss::Lost;
use super::store::{Answer, Claim, Store};
use super::timing::Tenancy;
use super::{LossFn, Tenant, handle::Handle, target};
use crate::error::{Error, Result};
use crate::host::{Alarm, Host};
use crate::wait::Moment;

/// How long a release may take.
const RELEASE_MAX: Duration = Duration::from_secs(10);

/// How long a guard that is dropped tries to release: nobody expects a drop to wait.
const DROP_MAX: Duration = Duration::from_secs(1);

/// How many renewals that are never answered fit into a time to live, at least.
const ATTEMPTS: u32 = 4;

/// No renewal is waited for any longer, however long the time to live: a connection may be dead without telling.
const RENEWAL_MAX: Duration = Duration::from_secs(10);

/// What the guard and the keeper share.
pub(super) struct Hold<H: Host> {
    pub(super) host: H,
    pub(super) store: Arc<dyn Store>,
    pub(super) claim: Claim,
    pub(super) tenant: Tenant,
    pub(super) ttl: Duration,
    /// Locked while the store is asked, so that its answers are noted in the order in which it gave them.
    turn: Mutex<()>,
    /// Locked for a moment only.
    view: Mutex<View>,
    /// The process that has the lease; a forked child has not.
    process: u64,
}

struct View {
    tenancy: Tenancy,
    /// Given up: nothing more is to be done or told.
    over: bool,
    told: bool,
    keeper: Option<Waker>,
    on_loss: Vec<Arc<LossFn>>,
    /// Of the futures that wait, each with its number.
    wakers: Vec<(u64, Waker)>,
    /// The number of the next future.
    next: u64,
    alarm: Option<Arc<Alarm>>,
}

/// What the keeper does next.
pub(super) struct Step {
    pub(super) at: Moment,
    pub(super) renews: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of a caller's function can't happen while one of these is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<H: Host> Hold<H> {
    pub(super) fn new(
        host: H,
        store: Arc<dyn Store>,
        claim: Claim,
        tenant: Tenant,
        ttl: Duration,
        tenancy: Tenancy,
        on_loss: Option<Arc<LossFn>>,
    ) -> Hold<H> {
        let on_loss = on_loss.into_iter().collect();
        let (keeper, wakers, alarm) = (None, Vec::new(), None);
        let (over, told, next) = (false, false, 0);
        let view = Mutex::new(View { tenancy, over, told, keeper, on_loss, wakers, next, alarm });
        let process = host.process_mark();
        Hold { host, store, claim, tenant, ttl, turn: Mutex::new(()), view, process }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        locked(&self.view)
    }

    /// Why the lease is lost, if it is: a deadline that has passed counts, whether anybody noticed or not.
    ///
    /// Not in a forked child: nobody renews its copy, and the descriptor that it would ring is its parent's.
    pub(super) fn lost(&self) -> Option<Lost> {
        if !self.is_own() {
            return None;
        }
        let now = self.host.now();
        let reason = {
            let mut view = self.view();
            if view.over && !view.told {
                return None;
            }
            view.tenancy.loss(now).cloned()
        }?;
        let lost = Lost { name: self.claim.name.clone(), token: self.claim.token, reason };
        self.tell(&lost);
        Some(lost)
    }

    /// Tells everyone who asked to be told, once.
    fn tell(&self, lost: &Lost) {
        let (tell, wakers) = {
            let mut view = self.view();
            if std::mem::replace(&mut view.told, true) {
                return;
            }
            if let Some(alarm) = &view.alarm {
                // Its time is the deadline, which is not far, if this fails.
                let _rings_later = alarm.set(self.host.now());
            }
            wake(view.keeper.take());
            (std::mem::take(&mut view.on_loss), std::mem::take(&mut view.wakers))
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
        tell.iter().for_each(|tell| tell(lost));
    }

    /// Calls `tell` at the loss; at once if that has happened.
    pub(super) fn on_loss(&self, tell: Arc<LossFn>) {
        if !self.is_own() {
            return;
        }
        if let Some(lost) = self.lost() {
            return tell(&lost);
        }
        let late = {
            let mut view = self.view();
            view.on_loss.push(tell);
            view.told
        };
        if late {
            let tell = std::mem::take(&mut self.view().on_loss);
            let lost = self.lost();
            lost.iter().for_each(|lost| tell.iter().for_each(|tell| tell(lost)));
        }
    }

    /// Wakes `waker` at the loss, unless it has been told already. `number` is that of the future that asks, which gets it here.
    pub(super) fn wake_at_loss(&self, number: &mut Option<u64>, waker: &Waker) -> Option<Lost> {
        if !self.is_own() {
            return None;
        }
        {
            let mut view = self.view();
            if !view.told {
                let number = *number.get_or_insert(view.next);
                view.next = view.next.max(number + 1);
                match view.wakers.iter_mut().find(|(known, _)| *known == number) {
                    Some((_, known)) => known.clone_from(waker),
                    None => view.wakers.push((number, waker.clone())),
                }
            }
        }
        self.lost()
    }

    /// The future with this number waits no more: its task need not be kept for as long as the lease.
    pub(super) fn wake_no_more(&self, number: u64) {
        if self.is_own() {
            let mut view = self.view();
            let place = view.wakers.iter().position(|(known, _)| *known == number);
            let waker = place.map(|place| view.wakers.swap_remove(place));
            // What a waker does when it is dropped is its executor's affair.
            drop(view);
            drop(waker);
        }
    }

    /// The descriptor that becomes readable at the loss.
    pub(super) fn alarm(&self) -> Result<Arc<Alarm>> {
        self.ensure_own()?;
        let mut view = self.view();
        if let Some(alarm) = &view.alarm {
            return Ok(alarm.clone());
        }
        let at = if view.told { self.host.now() } else { view.tenancy.deadline() };
        let made = Alarm::new().and_then(|alarm| alarm.set(at).map(|()| Arc::new(alarm)));
        let alarm = made.map_err(|errno| {
            Error::host("make a descriptor that tells of the loss", &self.target(), errno)
        })?;
        view.alarm = Some(alarm.clone());
        Ok(alarm)
    }

    fn target(&self) -> std::path::PathBuf {
        target(&*self.store, &self.claim.name)
    }

    /// Whether this is the process that has the lease. To be asked before a mutex is locked, which a thread of a forked child's
    /// parent may have held at the fork.
    fn is_own(&self) -> bool {
        self.host.process_mark() == self.process
    }

    fn ensure_own(&self) -> Result<()> {
        if self.is_own() {
            return Ok(());
        }
        let problem =
            "this process was forked from the one that holds the lease, and does not hold it itself";
        Err(Error::unsupported(&self.target(), problem))
    }

    pub(super) fn ensure_held(&self) -> Result<()> {
        self.ensure_own()?;
        match self.lost() {
            Some(lost) => Err(Error::lease_lost(&self.target(), &lost)),
            None => Ok(()),
        }
    }

    /// From when on the lease is lost unless it is renewed.
    pub(super) fn deadline(&self) -> Moment {
        if !self.is_own() {
            return Moment::from_clock(Duration::ZERO);
        }
        self.view().tenancy.deadline()
    }

    /// The keeper's next step; `None` when there is nothing left to do.
    pub(super) fn next_step(&self) -> Option<Step> {
        if self.lost().is_some() {
            return None;
        }
        let view = self.view();
        if view.over {
            return None;
        }
        Some(match view.tenancy.renewal() {
            Some(at) if at < view.tenancy.deadline() => Step { at, renews: true },
            _ => Step { at: view.tenancy.deadline(), renews: false },
        })
    }

    pub(super) fn kept_by(&self, keeper: Waker) {
        self.view().keeper = Some(keeper);
    }

    /// Asks the store to begin the time to live anew, until the deadline at most.
    pub(super) fn renew(&self) -> Result<()> {
        self.ask_to_renew(None)
    }

    fn ask_to_renew(&self, tenant: Option<&Tenant>) -> Result<()> {
        self.ensure_held()?;
        let asked = self.ask_in_turn(tenant);
        // Here, not while it is this thread's turn: who is told of a loss may use the lease, or drop it.
        self.ensure_held()?;
        asked
    }

    fn ask_in_turn(&self, tenant: Option<&Tenant>) -> Result<()> {
        let _turn = locked(&self.turn);
        let began = self.host.now();
        {
            let mut view = self.view();
            if view.over || view.tenancy.loss(began).is_some() {
                return Ok(());
            }
        }
        // No longer, so that another attempt is left if this one is never answered.
        let until = self.deadline().min(began + (self.ttl / ATTEMPTS).min(RENEWAL_MAX));
        let answer = self.store.renew(&self.claim, self.ttl, tenant, until);
        let now = self.host.now();
        let mut view = self.view();
        match answer {
            // An answer that came too late revives nothing.
            Ok(Answer::Done { lasts }) if !view.over && view.tenancy.loss(now).is_none() => {
                view.tenancy.confirmed(began, lasts);
                if let Some(alarm) = &view.alarm {
                    // A descriptor that is there can be set; if not, it rings at the earlier moment, which is safe.
                    let _rings_early = alarm.set(view.tenancy.deadline());
                }
            }
            Ok(Answer::Done { .. }) => {}
            Ok(Answer::Lost(reason)) => view.tenancy.refused(reason),
            Err(error) => {
                view.tenancy.failed(now);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Gives the lease up. Whatever comes of it, this process holds it no longer.
    pub(super) fn release(&self) -> Result<()> {
        self.release_within(RELEASE_MAX)
    }

    /// It waits for no renewal that is under way, which may hang: one that the store sees later finds the lease given up.
    fn release_within(&self, longest: Duration) -> Result<()> {
        self.ensure_own()?;
        let held = self.ensure_held();
        if !self.give_up() {
            return Ok(());
        }
        // Also after a loss: perhaps nobody has got it yet, and the next comer need not wait for the store's clock.
        let longest = if held.is_ok() { longest } else { longest.min(DROP_MAX) };
        let answer = self.store.release(&self.claim, self.host.now() + longest);
        held?;
        match answer? {
            Answer::Done { .. } => Ok(()),
            Answer::Lost(reason) => {
                let lost = Lost { name: self.claim.name.clone(), token: self.claim.token, reason };
                Err(Error::lease_lost(&self.target(), &lost))
            }
        }
    }

    /// Releases a lease whose guard is dropped. Its store frees it in time if this can't.
    pub(super) fn drop_held(&self) {
        if self.is_own() {
            let _expires = self.release_within(DROP_MAX);
        }
    }

    /// Gives the lease to whoever has the handle.
    pub(super) fn detach(&self) -> Result<Handle> {
        self.ask_to_renew(Some(&self.tenant.clone().without_process()))?;
        let _turn = locked(&self.turn);
        // Nobody else can have done so: the guard is here.
        let _first = self.give_up();
        Ok(Handle { claim: self.claim.clone(), ttl: self.ttl })
    }

    /// Says whether it has not been given up before.
    fn give_up(&self) -> bool {
        let mut view = self.view();
        if std::mem::replace(&mut view.over, true) {
            return false;
        }
        if let Some(alarm) = &view.alarm {
            // Nobody should be listening any more.
            let _rings_in_vain = alarm.set(Moment::from_clock(Duration::MAX));
        }
        wake(view.keeper.take());
        true
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
