//! Leases in a PostgreSQL database, for programs on many machines (feature `postgres`).
//!
//! # The address
//!
//! `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE&...`, percent-encoded. Without a password in it, `PGPASSWORD` from
//! the environment is used; neither is ever shown. Besides the options of [`tokio_postgres`] there are these:
//!
//! - `sslmode`: `disable`; `prefer` (default: encrypted if the server can); `require`; `verify-ca`; `verify-full`. **Only the last
//!   two check whom we talk to**, by the authorities in the file `sslrootcert` or else those of the system: without
//!   that, whoever sits in between can ask for the password in clear. `require` with `sslrootcert` is `verify-ca`, as with libpq.
//! - `notify=on`: releases are told by `NOTIFY`, and waiters listen: the next holder has the lease a round trip later, not at its
//!   next poll. Releaser and waiter need it. The price: one more connection for a store that waits, and commits that notify
//!   queue up on the server, one behind the other.
//! - `clock_bound_ms=1000`: how far the server's clock may jump forward without harm. It is added to the time after which
//!   a lease whose holder is silent is given to another.
//!
//! # What it promises, and what it rests on
//!
//! One row a name, in the table `tenure_lease`, decides; one statement, one round trip and one sync of the server grant a lease,
//! and a refusal writes nothing. The clock is the server's, within the statement, after the row is locked.
//!
//! - *Durability*: an acknowledged grant or release survives a crash of the server: `synchronous_commit` is set to `on` where
//!   it is lower. With `fsync=off`, or after a failover to a standby that lacks the last commits, tokens that were given out can
//!   be forgotten and given again.
//! - *Clock*: a jump forward by more than the bound gives a lease to another before its holder knows; then the token is what
//!   protects. After a jump backward, a silent holder's lease lasts for its time to live once more.
//! - *Connections*: up to eight questions of would-be holders at once, and as many of holders; four are kept open. A question has a
//!   bound, whatever the server does; one that was too late is cancelled, and what it got is given back.
//!
//! PgBouncer must pool by session: what is set on a connection, and prepared on it, has to stay.

mod failure;
mod listen;
mod pool;
mod rows;
mod runtime;
mod schema;
mod session;
// The lines are those of SQL.
#[rustfmt::skip]
mod statements;
mod target;
mod tls;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use self::failure::{Failure, What};
use self::listen::Board;
use self::pool::{For, Pool, Question};
use self::rows::{Lease, as_micros};
use self::runtime::{Runtime, Unasked};
use self::session::Params;
use self::target::Target;
use super::store::{Answer, Ask, Attempt, Claim, Notice, Owner, Store};
use super::{Entry, LossReason, Name, Occupancy, Tenant};
use crate::error::{Error, Result};
use crate::host::{Host, Native};
use crate::wait::Moment;

/// How long a store may take to come up.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long an abandoned lease is waited for before the caller goes on, and it is taken back in the background.
const ABANDON_MAX: Duration = Duration::from_millis(500);

/// How often a question is asked anew whose answer contradicts itself, since others changed the row meanwhile.
const LOOKS: usize = 16;

/// A database that keeps leases; see the [module](self).
pub struct Postgres {
    pool: Arc<Pool>,
    board: Arc<Board>,
    notify: bool,
    runtime: Arc<Runtime>,
}

impl Postgres {
    /// Connects, and makes the tables if they are missing.
    ///
    /// # Errors
    ///
    /// [`Error::is_rejected`] for what is no address; [`Error::is_unreachable`]; [`Error::is_permission`] for a wrong
    /// password, a missing right, or a server or role that only reads; [`Error::is_cannot_create`] if there is no such database;
    /// [`Error::is_corrupt`] if tables of our names are not ours; [`Error::is_unsupported`] if they are of a later version.
    pub fn connect(url: &str) -> Result<Postgres> {
        let password = std::env::var("PGPASSWORD").ok();
        let target = Target::parse(url, password)?;
        let path = Path::new(&target.shown).to_owned();
        let fail = |error| Error::failed(&path, format!("what talks to it can't be started: {error}"));
        let runtime = Runtime::new().map_err(fail)?;
        let notify = target.notify;
        let pool = Pool::new(target, runtime.clone());
        let store = Postgres { pool, board: Arc::default(), notify, runtime };
        let pool = store.pool.clone();
        store.call(Native.now() + CONNECT_MAX, |limit| async move { pool.begin(limit).await })?;
        Ok(store)
    }

    /// Tells, and listens for, releases, as `notify=on` in the address does.
    #[must_use]
    pub fn with_notices(mut self) -> Postgres {
        self.notify = true;
        self
    }

    /// Runs a question, which ends at the limit that it is given.
    fn call<T, F>(&self, until: Moment, question: impl FnOnce(Instant) -> F) -> Result<T>
    where
        T: Send,
        F: Future<Output = std::result::Result<T, Failure>> + Send,
    {
        let time = until.since(Native.now()).min(Duration::from_secs(86_400));
        let question = question(Instant::now() + time);
        let asked = self.runtime.run(async move {
            let answer = question.await;
            if answer.is_err() {
                // A connection that was given up for it takes leave of the server.
                yield_now().await;
            }
            answer
        });
        let problem = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(Unasked::NoThread(error)) => {
                let advice =
                    "Ask from a thread that runs no event loop, or raise the limit of processes (ulimit -u)";
                let problem = format!("there was no thread to be had to ask it: {error}. {advice}");
                Failure::new(What::Failed, problem)
            }
            Err(Unasked::Forked) => Failure::new(
                What::Unsupported,
                "this process was forked from the one that opened the store; open it again here",
            ),
        };
        Err(problem.into_error(self.address()))
    }

    /// What is answered by one row, or none.
    fn ask(&self, sql: &'static str, params: Params, until: Moment) -> Result<Vec<Lease>> {
        let pool = self.pool.clone();
        self.call(until, |limit| async move {
            let rows = pool.ask(For::Others, Question::new(sql, params), limit).await?;
            rows.iter().map(read).collect()
        })
    }

    /// Asks for a holder, and again for as long as a refusal shows a row that is the holder's.
    fn ask_for(&self, claim: &Claim, sql: &'static str, params: Params, until: Moment) -> Result<Answer> {
        let (pool, claim) = (self.pool.clone(), claim.clone());
        let bound = pool.target().clock_bound;
        let releases = sql == statements::RELEASE;
        self.call(until, move |limit| async move {
            let question = Question::new(sql, params);
            for _ in 0..LOOKS {
                let rows = pool.ask(For::Holder, question.clone(), limit).await?;
                let Some(lease) = rows.first().map(read).transpose()? else {
                    // The store knows nothing of it any more.
                    return Ok(Answer::Lost(LossReason::Stolen));
                };
                if lease.done {
                    return Ok(Answer::Done { lasts: lease.lasts(bound) });
                }
                if let Some(refusal) = lease.refusal(&claim, releases) {
                    return Ok(refusal);
                }
            }
            Err(restless())
        })
    }
}

fn read(row: &tokio_postgres::Row) -> std::result::Result<Lease, Failure> {
    Lease::read(row).map_err(|problem| {
        Failure::new(What::Foreign, format!("a row of tenure_lease is not ours: {problem}"))
    })
}

fn restless() -> Failure {
    Failure::new(What::Failed, "its row changes faster than it can be read")
}

/// Asks until the lease is granted, or somebody is seen to have it.
async fn attempt(
    pool: &Pool,
    question: Arc<Question>,
    name: Name,
    limit: Instant,
) -> std::result::Result<Attempt, Failure> {
    let bound = pool.target().clock_bound;
    for _ in 0..LOOKS {
        let rows = pool.ask(For::Others, question.clone(), limit).await?;
        // No row at all: it was inserted by another after this question began.
        let Some(lease) = rows.first().map(read).transpose()? else { continue };
        if let Some(token) = lease.token().filter(|_| lease.done) {
            return Ok(Attempt::Granted { token, lasts: lease.lasts(bound) });
        }
        if lease.runs_ahead() {
            let set_back = Question::new(statements::SET_BACK, vec![Box::new(name.as_str().to_owned())]);
            pool.ask(For::Others, set_back, limit).await?;
        }
        let entry = lease.entry();
        // A row that could be had: as it was before the one came who has it.
        if entry.occupancy != Occupancy::Free {
            return Ok(Attempt::Held(Box::new(entry)));
        }
    }
    Err(restless())
}

impl Store for Postgres {
    fn address(&self) -> &str {
        &self.pool.target().shown
    }

    fn acquire(&self, ask: &Ask, until: Moment) -> Result<Attempt> {
        let params: Params = vec![
            Box::new(ask.name.as_str().to_owned()),
            Box::new(ask.owner.as_str().to_owned()),
            Box::new(ask.tenant.to_json()),
            Box::new(as_micros(ask.ttl)),
            Box::new(as_micros(ask.at_least)),
            Box::new(ask.at_most.map(as_micros)),
            Box::new(as_micros(self.pool.target().clock_bound)),
        ];
        let question = Question::new(statements::ACQUIRE, params);
        let (pool, asked, name) = (self.pool.clone(), question.clone(), ask.name.clone());
        let answer = self.call(until, |limit| async move { attempt(&pool, asked, name, limit).await });
        self.pool.note(&ask.owner, Some(&question).filter(|_| answer.is_err()));
        answer
    }

    fn renew(&self, claim: &Claim, ttl: Duration, tenant: Option<&Tenant>, until: Moment) -> Result<Answer> {
        let params: Params = vec![
            Box::new(claim.name.as_str().to_owned()),
            Box::new(claim.owner.as_str().to_owned()),
            Box::new(claim.token.number()),
            Box::new(as_micros(ttl)),
            Box::new(tenant.map(Tenant::to_json)),
            Box::new(as_micros(self.pool.target().clock_bound)),
        ];
        self.ask_for(claim, statements::RENEW, params, until)
    }

    fn release(&self, claim: &Claim, until: Moment) -> Result<Answer> {
        let params: Params = vec![
            Box::new(claim.name.as_str().to_owned()),
            Box::new(claim.owner.as_str().to_owned()),
            Box::new(claim.token.number()),
            Box::new(self.notify),
        ];
        self.ask_for(claim, statements::RELEASE, params, until)
    }

    fn break_lease(&self, name: &Name, reason: &str, until: Moment) -> Result<Option<Entry>> {
        // PostgreSQL's texts have no zero bytes.
        let (name, reason) = (name.as_str().to_owned(), reason.replace('\0', "\u{fffd}"));
        let params: Params = vec![Box::new(name), Box::new(reason), Box::new(self.notify)];
        let rows = self.ask(statements::BREAK, params, until)?;
        let entry = rows.first().map(Lease::before_its_end);
        Ok(entry.filter(|entry| entry.occupancy != Occupancy::Free))
    }

    fn look(&self, name: &Name, until: Moment) -> Result<Option<Entry>> {
        let rows = self.ask(statements::LOOK, vec![Box::new(name.as_str().to_owned())], until)?;
        Ok(rows.first().map(Lease::entry))
    }

    fn list(&self, until: Moment) -> Result<Vec<Entry>> {
        let rows = self.ask(statements::LIST, Vec::new(), until)?;
        Ok(rows.iter().map(Lease::entry).collect())
    }

    fn abandon(&self, name: &Name, owner: &Owner) {
        let params: Params = vec![
            Box::new(name.as_str().to_owned()),
            Box::new(owner.as_str().to_owned()),
            Box::new(self.notify),
        ];
        let (pool, owner) = (self.pool.clone(), owner.clone());
        let (tell, told) = oneshot::channel::<()>();
        self.runtime.begin(async move {
            pool.abandon(&owner, Question::new(statements::ABANDON, params)).await;
            drop(tell);
        });
        // It goes on in the background, and at the worst the lease ends with its time.
        let _goes_on = self.runtime.run(async { timeout(ABANDON_MAX, told).await });
    }

    fn notice(&self, name: &Name, waker: &Waker) -> Notice {
        if !self.notify {
            return Notice::Nothing;
        }
        let (registration, begin) = self.board.register(name.as_str(), waker);
        if begin {
            self.runtime.begin(listen::listen(Arc::downgrade(&self.board), self.pool.target().clone()));
        }
        Notice::Called(Box::new(registration))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A forked child has the memory of the threads of its parent, and the mutexes as they were, but not the threads: nothing in
        // there may be touched, and the connections are the parent's.
        if self.runtime.is_forked() {
            let _never_dropped = std::mem::ManuallyDrop::new((self.pool.clone(), self.board.clone()));
        }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("address", &self.address()).finish_non_exhaustive()
    }
}
