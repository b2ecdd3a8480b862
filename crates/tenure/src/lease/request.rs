//! An acquisition: what is asked for, and how its caller waits.
//!
//! 1. Make a fresh owner. 2. Ask for a notice of releases. 3. Note the time, ask the store, once. 4. If another has the lease, sleep
//!    until it is released, its owner ends (where that can be seen), its time is over, the caller's deadline has come, or the
//!    backstop; then go on with 3. 5. The holder's deadline counts from the time that was noted before the question.

use std::sync::Arc;
use std::time::Duration;

use super::hold::Hold;
use super::store::{Ask, Attempt, Claim, Notice, Owner, Store};
use super::timing::{self, TTL_MAX, TTL_MIN, Tenancy};
use super::{Awaited, Entry, Handle, Lease, LeaseStore, LossFn, Lost, Name, Tenant, Token, target};
use crate::error::{Error, Result};
use crate::host::{Host, Native, Open};
use crate::lock::{jittered, pauses};
use crate::wait::{Moment, Patience, Wait};

/// How long one question to the store may take, for a caller who would wait for ever.
const QUESTION_MAX: Duration = Duration::from_secs(10);

/// How long it may take for a caller with less time than this: what is asked in no time is never answered.
const QUESTION_MIN: Duration = Duration::from_secs(1);

/// Between two attempts of a caller that nothing has called.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

type AwaitedFn = dyn Fn(&Awaited) + Send + Sync;

/// A lease to acquire, and how: made by [`LeaseStore::lease`].
#[derive(Clone)]
#[must_use = "nothing is asked of the store before `acquire`"]
pub struct Request<H: Host = Native> {
    store: LeaseStore<H>,
    name: Name,
    ttl: Duration,
    at_least: Duration,
    at_most: Option<Duration>,
    note: Option<String>,
    process: bool,
    on_loss: Option<Arc<LossFn>>,
    on_wait: Option<(Duration, Arc<AwaitedFn>)>,
}

impl<H: Host> Request<H> {
    pub(super) fn new(store: &LeaseStore<H>, name: Name, ttl: Duration) -> Request<H> {
        Request {
            store: store.clone(),
            name,
            ttl,
            at_least: Duration::ZERO,
            at_most: None,
            note: None,
            process: true,
            on_loss: None,
            on_wait: None,
        }
    }

    /// Nobody gets the lease earlier than this after it was granted, though it is released before (default: no such time).
    ///
    /// For short jobs that several machines start at about the same time, and that are to run once.
    pub fn at_least(mut self, time: Duration) -> Request<H> {
        self.at_least = time;
        self
    }

    /// The lease is never renewed beyond this time after it was granted (default: no limit).
    pub fn at_most(mut self, time: Duration) -> Request<H> {
        self.at_most = Some(time);
        self
    }

    /// A text that the store tells others with the holder's host, process and command.
    pub fn note(mut self, text: impl Into<String>) -> Request<H> {
        self.note = Some(text.into());
        self
    }

    /// The store is told this process's number for people alone, and nothing that proves its death. Then nobody takes the
    /// lease over before its time because this process has ended: for work that goes on elsewhere, in a child for instance.
    pub fn without_process(mut self) -> Request<H> {
        self.process = false;
        self
    }

    /// As [`Lease::on_loss`], from the beginning on.
    pub fn on_loss(mut self, tell: impl Fn(&Lost) + Send + Sync + 'static) -> Request<H> {
        self.on_loss = Some(Arc::new(tell));
        self
    }

    /// Calls `tell` once if the acquisition has waited for `after`, so that nobody waits in silence.
    pub fn on_wait(mut self, after: Duration, tell: impl Fn(&Awaited) + Send + Sync + 'static) -> Request<H> {
        self.on_wait = Some((after, Arc::new(tell)));
        self
    }

    /// Acquires the lease, waiting as long as `wait` allows, and has a thread renew it until it is released.
    ///
    /// A question to the store takes ten seconds at most, also for [`Wait::Never`], and may take one second even if `wait`
    /// allows less. A store that can't be reached fails the first attempt; while a caller waits, it may be away.
    ///
    /// No order among those who wait is promised.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`] with [`Error::lease`] when the time is over; [`Error::is_cancelled`];
    /// [`Error::is_unreachable`]; [`Error::is_rejected`] for a name or time that no store takes; and what the store may say:
    /// [`Error::is_permission`], [`Error::is_corrupt`], [`Error::is_unsupported`], [`Error::is_io`].
    pub fn acquire(&self, wait: impl Into<Patience>) -> Result<Lease<H>> {
        let tenant: fn(&Tenant) -> Tenant = match self.process {
            true => Tenant::clone,
            false => |here| here.clone().unproven(),
        };
        let (claim, tenant, tenancy) = self.take(wait.into(), tenant)?;
        let LeaseStore { host, store, .. } = self.store.clone();
        let hold = Hold::new(host, store, claim, tenant, self.ttl, tenancy, self.on_loss.clone());
        Lease::begin(&self.store.keepers, hold)
    }

    /// Acquires the lease if it is free now; `None` if another has it.
    ///
    /// # Errors
    ///
    /// As for [`Request::acquire`], but never busy.
    pub fn try_acquire(&self) -> Result<Option<Lease<H>>> {
        match self.acquire(Wait::Never) {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.is_busy() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires the lease for whoever has the handle, and nobody renews it by itself: see [`Lease::detach`].
    ///
    /// # Errors
    ///
    /// As for [`Request::acquire`].
    pub fn acquire_detached(&self, wait: impl Into<Patience>) -> Result<Handle> {
        let (claim, ..) = self.take(wait.into(), |here| here.clone().without_process())?;
        Ok(Handle { claim, ttl: self.ttl })
    }

    fn target(&self) -> std::path::PathBuf {
        target(&*self.store.store, &self.name)
    }

    fn check(&self) -> Result<()> {
        let reject = |problem: String| Err(Error::refused_lease(&self.target(), problem));
        if let Some(problem) = self.name.problem() {
            return Err(Error::refused_lease(std::path::Path::new(self.store.store.address()), problem));
        }
        if let Some(problem) = timing::problem(self.ttl) {
            return reject(problem);
        }
        if self.at_least > TTL_MAX {
            return reject("a lease can't be kept for more than 10 years (of 365 days)".to_owned());
        }
        match self.at_most {
            Some(time) if time < TTL_MIN || time > TTL_MAX => reject(format!(
                "a limit of {time:?} is refused: it is from {TTL_MIN:?} to 10 years (of 365 days)"
            )),
            Some(time) if time < self.at_least => reject(format!(
                "it can't be kept for at least {:?} and last for at most {time:?}",
                self.at_least
            )),
            _ => Ok(()),
        }
    }

    fn take(&self, patience: Patience, tenant: fn(&Tenant) -> Tenant) -> Result<(Claim, Tenant, Tenancy)> {
        self.check()?;
        let host = &self.store.host;
        let ask = Ask {
            name: self.name.clone(),
            owner: Owner::new(host.random(), host.random()),
            tenant: tenant(&self.store.here).noting(self.note.as_deref()),
            ttl: self.ttl,
            at_least: self.at_least,
            at_most: self.at_most,
            again: false,
        };
        let mut acquisition = Acquisition::new(self, ask, patience);
        let granted = acquisition.run();
        if granted.is_err() && acquisition.unanswered {
            self.store.store.abandon(&self.name, &acquisition.ask.owner);
        }
        let Granted { began, token, lasts } = granted?;
        let Ask { name, owner, tenant, .. } = acquisition.ask;
        let limit = self.at_most.map(|time| began + time);
        Ok((Claim { name, owner, token }, tenant, Tenancy::granted(began, self.ttl, lasts, limit)))
    }
}

struct Granted {
    began: Moment,
    token: Token,
    lasts: Duration,
}

/// One caller's way to the lease.
struct Acquisition<'a, H: Host> {
    request: &'a Request<H>,
    host: H,
    ask: Ask,
    patience: Patience,
    started: Moment,
    reported: bool,
    /// Whether an attempt may have been granted without our knowing.
    unanswered: bool,
}

impl<'a, H: Host> Acquisition<'a, H> {
    fn new(request: &'a Request<H>, ask: Ask, patience: Patience) -> Acquisition<'a, H> {
        let host = request.store.host.clone();
        let started = host.now();
        Acquisition { request, host, ask, patience, started, reported: false, unanswered: false }
    }

    fn store(&self) -> &dyn Store {
        &*self.request.store.store
    }

    fn run(&mut self) -> Result<Granted> {
        let mut last = match self.attempt()? {
            Ok(granted) => return Ok(granted),
            Err(entry) => entry,
        };
        self.check_patience(&last, None)?;
        // Refused once: from here on this caller waits.
        self.ask.again = true;
        let host = self.host.clone();
        let mut waiter = host.waiter();
        let waker = host.waker(&waiter);
        let _cancelling = self.patience.cancel.as_ref().map(|cancel| cancel.register(waker.clone()));
        let notice = self.store().notice(&self.ask.name, &waker);
        // Held open for as long as the watch on it is wanted.
        let watched = match &notice {
            Notice::File(path) => {
                host.open(path, Open::Read).ok().filter(|file| host.watch(&mut waiter, file))
            }
            Notice::Called(_) | Notice::Nothing => None,
        };
        let mut pauses = pauses(watched.is_some() || matches!(notice, Notice::Called(_)));
        let mut mourned = None;
        loop {
            let mut trouble = None;
            match self.attempt() {
                Ok(Ok(granted)) => return Ok(granted),
                Ok(Err(entry)) => last = entry,
                // It answered before, and the caller is willing to wait: a store that is started anew, perhaps.
                Err(error) if error.is_unreachable() => trouble = Some(error),
                Err(error) => return Err(error),
            }
            self.check_patience(&last, trouble)?;
            if watched.is_some() {
                self.watch_owner(&mut waiter, &last, &mut mourned);
            }
            let longest = pauses.next().expect("there is always another pause");
            let pause = jittered(longest, host.random()).min(last.remaining.max(SHORTEST_PAUSE));
            let until = [Some(host.now() + pause), self.deadline(), self.report_due()];
            host.wait(&mut waiter, until.into_iter().flatten().min());
            self.report_if_due(&last);
        }
    }

    /// Asks once: the grant, or who has it.
    fn attempt(&mut self) -> Result<std::result::Result<Granted, Entry>> {
        let began = self.host.now();
        let longest = self.deadline().map_or(QUESTION_MAX, |deadline| deadline.since(began));
        let until = began + longest.clamp(QUESTION_MIN, QUESTION_MAX);
        match self.store().acquire(&self.ask, until) {
            Ok(Attempt::Granted { token, lasts }) => Ok(Ok(Granted { began, token, lasts })),
            Ok(Attempt::Held(entry)) => Ok(Err(*entry)),
            Err(error) => {
                self.unanswered = true;
                Err(error)
            }
        }
    }

    /// The end of the owner's process ends the wait, where it is a process of this machine.
    fn watch_owner(&self, waiter: &mut H::Waiter, entry: &Entry, mourned: &mut Option<Token>) {
        let process = entry.tenant().and_then(Tenant::process).filter(|_| *mourned != Some(entry.token));
        let here = self.request.store.here.process();
        if let (Some(owner), Some(here)) = (process, here)
            && crate::lock::shares_processes(&owner, &here)
        {
            // A process whose end can't be watched, because it has ended, is found dead by the next attempt.
            let _ended = self.host.watch_end(waiter, owner.pid);
            *mourned = Some(entry.token);
        }
    }

    fn deadline(&self) -> Option<Moment> {
        match self.patience.wait {
            Wait::Until(deadline) => Some(deadline),
            // Who does not wait for the lease waits for the answer, as long as who waits for ever.
            Wait::Never | Wait::Forever => None,
        }
    }

    fn waited(&self) -> Duration {
        match self.patience.wait {
            Wait::Never => Duration::ZERO,
            Wait::Until(_) | Wait::Forever => self.host.now().since(self.started),
        }
    }

    /// Fails if the caller waits no longer, with the trouble that there was with the last attempt, if any.
    fn check_patience(&self, entry: &Entry, trouble: Option<Error>) -> Result<()> {
        let target = self.request.target();
        if self.patience.cancel.as_ref().is_some_and(crate::Cancel::is_cancelled) {
            return Err(Error::cancelled(&target, self.waited()));
        }
        let over = match self.patience.wait {
            Wait::Never => true,
            Wait::Until(deadline) => self.host.now() >= deadline,
            Wait::Forever => false,
        };
        match over {
            true => Err(trouble.unwrap_or_else(|| Error::lease_busy(&target, self.waited(), entry))),
            false => Ok(()),
        }
    }

    fn report_due(&self) -> Option<Moment> {
        let (after, _) = self.request.on_wait.as_ref().filter(|_| !self.reported)?;
        Some(self.started + *after)
    }

    fn report_if_due(&mut self, entry: &Entry) {
        if self.report_due().is_some_and(|due| self.host.now() >= due) {
            self.reported = true;
            let address = self.store().address().to_owned();
            let awaited = Awaited { address, entry: entry.clone(), waited: self.waited() };
            self.request.on_wait.iter().for_each(|(_, tell)| tell(&awaited));
        }
    }
}
