//! A lock with an owner, a lifetime and a fencing token, kept by a database.
//!
//! | | one machine | many machines |
//! |---|---|---|
//! | address | `sqlite:PATH` | `postgres://USER@HOST/DATABASE` |
//! | runs | in this process (feature `sqlite`) | a PostgreSQL server (feature `postgres`) |
//! | clock | the machine's boot clock | the server's |
//! | a holder that died | is seen at once | is waited for until its time is over |
//!
#![cfg_attr(
    feature = "sqlite",
    doc = r##"
```
use std::time::Duration;
use tenure::{LeaseStore, Wait};
# let directory = tempfile::tempdir()?;
# let address = format!("sqlite:{}", directory.path().join("leases.db").display());
let store = LeaseStore::connect(&address)?;
let lease = store.acquire(("plan", "42"), Duration::from_secs(30), Wait::within(Duration::from_secs(5)))?;
// ... work, and give `lease.token()` to whatever is written to ...
assert!(lease.is_held());
lease.release()?;
# Ok::<(), Box<dyn std::error::Error>>(())
```
"##
)]
//!
//! # What a lease promises, and what it can't
//!
//! One holder a name at a time, by the store's clock. A thread renews the lease after each third of its time to live. If that
//! fails for too long, the lease is lost: [`Lease::is_held`] turns false, and everyone who asked to be told is told, before the
//! store gives the lease to another.
//!
//! No lock that ends by itself can do more: a holder whose machine is paused just after it looked writes after its time. **The
//! guarantee comes from the token** ([`Token`]): what is written to compares it, in the same step as the write, with the largest
//! that it has seen, and refuses a smaller one. Documents do so
//! ([`Document::fence`](crate::Document::fence)); for SQL see [`fence`].
//!
//! # Waiting
//!
//! A waiter is told of a release; no order among waiters is promised.

mod address;
mod entry;
pub mod fence;
mod handle;
mod hold;
mod keeper;
mod loss;
mod name;
#[cfg(feature = "postgres")]
pub mod postgres;
mod request;
#[cfg(any(feature = "sqlite", feature = "testing"))]
pub mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod store;
pub mod timing;
mod token;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use address::{Address, NotAnAddress, split, without_passwords};
pub use entry::{Entry, Occupancy, Tenant};
pub use handle::{Handle, NotAHandle};
pub use loss::{LossReason, Lost};
pub use name::Name;
pub use request::Request;
pub use token::{NotAToken, Token};

use self::hold::Hold;
use self::keeper::Keepers;
use self::store::{Answer, Store};
use self::timing::Tenancy;
use crate::error::{Error, Result};
use crate::host::{Alarm, Host, Native};
use crate::wait::{Moment, Patience};

/// How long a question to the store may take that nobody has given a time.
const QUESTION_MAX: Duration = Duration::from_secs(10);

type LossFn = dyn Fn(&Lost) + Send + Sync;

/// A database that keeps leases, and how to reach it. Clones share one connection.
#[derive(Clone)]
pub struct LeaseStore<H: Host = Native> {
    host: H,
    store: Arc<dyn Store>,
    /// This process. A forked child opens a store of its own.
    here: Arc<Tenant>,
    keepers: Arc<Keepers<H>>,
}

impl LeaseStore {
    /// Connects to the store at this address: `sqlite:PATH` or `postgres://...`; creates its tables if they are missing.
    ///
    /// # Errors
    ///
    /// [`Error::is_rejected`] for text that is no address; [`Error::is_unreachable`];
    /// [`Error::is_unsupported`] for a store that this build has not, a database on a network file system, or one of a later
    /// version; [`Error::is_corrupt`] for one that is not ours; [`Error::is_permission`]; [`Error::is_cannot_create`];
    /// [`Error::is_io`].
    pub fn connect(address: &str) -> Result<LeaseStore> {
        let address = Address::parse(address)
            .map_err(|problem| Error::refused_lease(std::path::Path::new("lease store"), problem))?;
        LeaseStore::open(&address)
    }

    /// [`LeaseStore::connect`] with an address that was read already.
    ///
    /// # Errors
    ///
    /// As for [`LeaseStore::connect`].
    pub fn open(address: &Address) -> Result<LeaseStore> {
        match address {
            #[cfg(feature = "sqlite")]
            Address::Sqlite(path) => Ok(LeaseStore::on(Native, Arc::new(sqlite::Sqlite::open(path)?))),
            #[cfg(not(feature = "sqlite"))]
            Address::Sqlite(_) => Err(not_built("sqlite")),
            #[cfg(feature = "postgres")]
            Address::Postgres(url) => Ok(LeaseStore::on(Native, Arc::new(postgres::Postgres::connect(url)?))),
            #[cfg(not(feature = "postgres"))]
            Address::Postgres(_) => Err(not_built("postgres")),
        }
    }
}

#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
fn not_built(feature: &str) -> Error {
    let problem = format!("this program was built without the feature `{feature}` of tenure");
    Error::unsupported(std::path::Path::new("lease store"), problem)
}

impl<H: Host> LeaseStore<H> {
    /// Any store, on any host.
    pub fn on(host: H, store: Arc<dyn Store>) -> LeaseStore<H> {
        let here = Arc::new(Tenant::here(&host));
        let keepers = Arc::new(Keepers::new(host.clone()));
        LeaseStore { host, store, here, keepers }
    }

    /// What keeps the leases: for who wraps a store in another, or asks it directly.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The store's address without its password.
    pub fn address(&self) -> &str {
        self.store.address()
    }

    /// A lease of this name to acquire, which lasts for `ttl` (from 100 ms to 10 years) without being renewed.
    ///
    /// The time to live is how long others wait for a holder whose death they can't see: long enough for a network
    /// that hiccups, short enough for those who wait. Half a minute is common.
    pub fn lease(&self, name: impl Into<Name>, ttl: Duration) -> Request<H> {
        Request::new(self, name.into(), ttl)
    }

    /// Acquires a lease with nothing special about it; see [`Request::acquire`].
    ///
    /// # Errors
    ///
    /// As for [`Request::acquire`].
    pub fn acquire(
        &self,
        name: impl Into<Name>,
        ttl: Duration,
        wait: impl Into<Patience>,
    ) -> Result<Lease<H>> {
        self.lease(name, ttl).acquire(wait)
    }

    /// Acquires a lease if it is free now; see [`Request::try_acquire`].
    ///
    /// # Errors
    ///
    /// As for [`Request::try_acquire`].
    pub fn try_acquire(&self, name: impl Into<Name>, ttl: Duration) -> Result<Option<Lease<H>>> {
        self.lease(name, ttl).try_acquire()
    }

    /// Picks up a lease that was detached: it is this process's from now on, with the token that it has, and is renewed.
    ///
    /// Nothing keeps two processes from resuming one handle; they are one owner.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`] if it is another's by now, or was released; otherwise as for [`Request::acquire`].
    pub fn resume(&self, handle: &Handle) -> Result<Lease<H>> {
        let (began, lasts) = self.ask_for(handle, handle.ttl, Some(&self.here))?;
        let tenancy = Tenancy::granted(began, handle.ttl, lasts, None);
        let (host, store, claim) = (self.host.clone(), self.store.clone(), handle.claim.clone());
        let tenant = Tenant::clone(&self.here);
        Lease::begin(&self.keepers, Hold::new(host, store, claim, tenant, handle.ttl, tenancy, None))
    }

    /// Renews a detached lease, for `ttl` if that is given, and leaves it detached. Says how long it can be relied on, counted
    /// from the call's beginning.
    ///
    /// # Errors
    ///
    /// As for [`LeaseStore::resume`]; [`Error::is_rejected`] for a time to live that no lease can have.
    pub fn renew(&self, handle: &Handle, ttl: Option<Duration>) -> Result<Duration> {
        let ttl = ttl.unwrap_or(handle.ttl);
        if let Some(problem) = timing::problem(ttl) {
            return Err(Error::refused_lease(&target(&*self.store, &handle.claim.name), problem));
        }
        let (began, lasts) = self.ask_for(handle, ttl, None)?;
        Ok(Tenancy::granted(began, handle.ttl, lasts, None).deadline().since(began))
    }

    /// Releases a detached lease.
    ///
    /// # Errors
    ///
    /// As for [`LeaseStore::resume`].
    pub fn release(&self, handle: &Handle) -> Result<()> {
        let answer = self.store.release(&handle.claim, self.host.now() + QUESTION_MAX)?;
        self.done(handle, answer).map(drop)
    }

    fn ask_for(&self, handle: &Handle, ttl: Duration, tenant: Option<&Tenant>) -> Result<(Moment, Duration)> {
        let began = self.host.now();
        let answer = self.store.renew(&handle.claim, ttl, tenant, began + QUESTION_MAX)?;
        Ok((began, self.done(handle, answer)?))
    }

    fn done(&self, handle: &Handle, answer: Answer) -> Result<Duration> {
        match answer {
            Answer::Done { lasts } => Ok(lasts),
            Answer::Lost(reason) => {
                let lost = Lost { name: handle.claim.name.clone(), token: handle.claim.token, reason };
                Err(Error::lease_lost(&target(&*self.store, &handle.claim.name), &lost))
            }
        }
    }

    /// Every lease that the store has ever given out, by name, held or not.
    ///
    /// # Errors
    ///
    /// [`Error::is_unreachable`] and the store's own.
    pub fn list(&self) -> Result<Vec<Entry>> {
        self.store.list(self.host.now() + QUESTION_MAX)
    }

    /// One lease as the store shows it; `None` if nobody ever had it.
    ///
    /// # Errors
    ///
    /// As for [`LeaseStore::list`]; [`Error::is_rejected`] for a name that no lease can have.
    pub fn holder(&self, name: impl Into<Name>) -> Result<Option<Entry>> {
        let name = self.named(name)?;
        self.store.look(&name, self.host.now() + QUESTION_MAX)
    }

    /// Takes a lease away from whoever has it, and says from whom; `None` if nobody had it.
    ///
    /// **This lets another in while the holder may be at work.** The holder's keeper hears of it at its next renewal, with the
    /// reason unless a successor has come and gone by then; its token is refused by whatever enforces tokens as soon as the next holder has written there.
    ///
    /// # Errors
    ///
    /// As for [`LeaseStore::holder`].
    pub fn force_release(&self, name: impl Into<Name>, reason: &str) -> Result<Option<Entry>> {
        let name = self.named(name)?;
        self.store.break_lease(&name, reason, self.host.now() + QUESTION_MAX)
    }

    fn named(&self, name: impl Into<Name>) -> Result<Name> {
        let name = name.into();
        match name.problem() {
            Some(problem) => Err(Error::refused_lease(std::path::Path::new(self.address()), problem)),
            None => Ok(name),
        }
    }
}

impl<H: Host> fmt::Debug for LeaseStore<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseStore").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// How errors name a lease.
fn target(store: &dyn Store, name: &Name) -> PathBuf {
    format!("{}#{name}", store.address()).into()
}

/// A wait that goes on, as told to [`Request::on_wait`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Awaited {
    /// The store's address.
    pub address: String,
    /// The lease, and who holds it.
    pub entry: Entry,
    /// How long this caller has been waiting.
    pub waited: Duration,
}

/// A lease that is held until it is released, lost or dropped.
///
/// Dropping releases too, for which it takes up to a second, but has no way to report a failure; then the lease ends when its
/// time is over. In a forked child a copy of this holds nothing, and every call that needs the lease fails.
#[must_use = "the lease is released as soon as it is dropped"]
pub struct Lease<H: Host = Native> {
    hold: Arc<Hold<H>>,
}

impl<H: Host> Lease<H> {
    /// Has a thread renew it from now on. If there is none to be had, or it is too late, the guard releases it.
    fn begin(keepers: &Keepers<H>, hold: Hold<H>) -> Result<Lease<H>> {
        let lease = Lease { hold: Arc::new(hold) };
        let target = target(&*lease.hold.store, lease.name());
        let fail = |errno| Error::host("start the thread that renews the lease", &target, errno);
        keepers.keep(&lease.hold).map_err(fail)?;
        lease.ensure_held()?;
        Ok(lease)
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.hold.claim.name
    }

    /// What the store tells others of the holder.
    pub fn tenant(&self) -> &Tenant {
        &self.hold.tenant
    }

    /// The fencing token: larger than that of every holder before.
    pub fn token(&self) -> Token {
        self.hold.claim.token
    }

    /// The lease as one word that others may renew or release it by. It stays this process's until [`Lease::detach`].
    pub fn handle(&self) -> Handle {
        Handle { claim: self.hold.claim.clone(), ttl: self.hold.ttl }
    }

    /// Whether the lease is held: it was not released, its time is not over by this process's own count, and the store has
    /// not said that it is another's. Asks nobody.
    ///
    /// The answer may be old by the time it is used: see [the module](self) on tokens.
    pub fn is_held(&self) -> bool {
        self.hold.ensure_held().is_ok()
    }

    /// Fails if the lease is not held.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`], with the reason.
    pub fn ensure_held(&self) -> Result<()> {
        self.hold.ensure_held()
    }

    /// Why the lease was lost, if it was.
    pub fn lost(&self) -> Option<Lost> {
        self.hold.lost()
    }

    /// The time for which the lease is held for certain, if no renewal succeeds from now on; zero once it is lost.
    ///
    /// By this machine's clock, which runs on while the machine sleeps, from before the store was asked, less a margin
    /// (5 ms and a hundredth of the time to live).
    pub fn remaining(&self) -> Duration {
        if self.is_held() { self.deadline().since(self.hold.host.now()) } else { Duration::ZERO }
    }

    /// The moment at which the lease is lost if no renewal succeeds from now on.
    pub fn deadline(&self) -> Moment {
        self.hold.deadline()
    }

    /// Renews the lease now. The keeper does so by itself; this is for who wants to know.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`]; [`Error::is_unreachable`] and the store's own, after which the lease is still held until its
    /// time is over.
    pub fn renew(&self) -> Result<()> {
        self.hold.renew()
    }

    /// Releases the lease: the next comer may have it at once, or when the time of [`Request::at_least`] is over.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`] if it was lost before; [`Error::is_unreachable`] and the store's own, after which this process
    /// renews it no more, and it ends when its time is over.
    pub fn release(self) -> Result<()> {
        self.hold.release()
    }

    /// Gives the lease to whoever has the handle. Nobody renews it any more by itself, and it belongs to no process: it ends
    /// with its time, by a release, or by force.
    ///
    /// # Errors
    ///
    /// As for [`Lease::renew`]; then it is released.
    pub fn detach(self) -> Result<Handle> {
        self.hold.detach()
    }

    /// Calls `tell` when the lease is lost, from whichever thread finds out, and at once if it is lost already. It must not
    /// wait.
    pub fn on_loss(&self, tell: impl Fn(&Lost) + Send + Sync + 'static) {
        self.hold.on_loss(Arc::new(tell));
    }

    /// Completes when the lease is lost. It needs no particular executor.
    pub fn loss(&self) -> Loss<H> {
        Loss { hold: self.hold.clone(), number: None }
    }
}

impl Lease {
    /// A descriptor for poll(2) and epoll(7) that is readable once the lease is lost. Nothing is to be read from it.
    ///
    /// It is a timer of the kernel, set anew with each renewal: it fires in time even if no thread of this process runs.
    ///
    /// # Errors
    ///
    /// [`Error::is_io`] if there is no descriptor to be had.
    pub fn descriptor(&self) -> Result<LossDescriptor> {
        self.hold.alarm().map(LossDescriptor)
    }
}

impl<H: Host> Drop for Lease<H> {
    fn drop(&mut self) {
        self.hold.drop_held();
    }
}

impl<H: Host> fmt::Debug for Lease<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", self.name())
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}

/// See [`Lease::descriptor`].
pub struct LossDescriptor(Arc<Alarm>);

impl AsFd for LossDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// See [`Lease::loss`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Loss<H: Host = Native> {
    hold: Arc<Hold<H>>,
    /// Once it was polled.
    number: Option<u64>,
}

impl<H: Host> Future for Loss<H> {
    type Output = Lost;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Lost> {
        let Loss { hold, number } = self.get_mut();
        hold.wake_at_loss(number, context.waker()).map_or(Poll::Pending, Poll::Ready)
    }
}

impl<H: Host> Drop for Loss<H> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.hold.wake_no_more(number);
        }
    }
}
