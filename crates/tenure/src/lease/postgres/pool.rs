//! The connections of one store, and how a question is asked until its time is over.
//!
//! A question has a connection of its own while it runs: one that waits for a row that somebody has locked must not keep
//! another lease from being renewed. Every statement may be repeated, so one whose connection broke is asked again by a
//! new one, with growing pauses.
//!
//! A question whose time is over is cancelled on the server. What it has done nevertheless is the asker's to take back, for
//! which it has to know when the question has come to its end ([`Late`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::Row;

use super::failure::{Failure, What};
use super::runtime::Runtime;
use super::schema;
use super::session::{Params, Session, cancel};
use super::target::Target;
use crate::lease::store::Owner;

/// How many questions of each kind run at a time: a server has about a hundred connections for all.
const AT_ONCE: usize = 8;

/// How many connections are kept for the next questions; as many as there are questions that wait for their turn, if that is more.
const IDLE_MAX: usize = 4;

/// The pauses between attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// The longest that anything is waited for in the background.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who asks. Holders do not queue behind those who would be.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    Holder,
    Others,
}

/// A question. It lives for as long as it may still have an effect.
pub(super) struct Question {
    sql: &'static str,
    params: Params,
}

impl Question {
    pub(super) fn new(sql: &'static str, params: Params) -> Arc<Question> {
        Arc::new(Question { sql, params })
    }
}

pub(super) struct Pool {
    target: Target,
    runtime: Arc<Runtime>,
    idle: Mutex<Vec<Session>>,
    /// How many questions wait for their turn.
    queued: AtomicUsize,
    holders: Semaphore,
    others: Semaphore,
    late: Mutex<HashMap<Owner, Late>>,
}

/// Questions of one owner that were not answered in time.
type Late = Vec<Weak<Question>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change below is one call of the collection's, which no panic leaves half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(super) fn new(target: Target, runtime: Arc<Runtime>) -> Arc<Pool> {
        let (holders, others) = (Semaphore::new(AT_ONCE), Semaphore::new(AT_ONCE));
        let (idle, queued, late) = (Mutex::default(), AtomicUsize::new(0), Mutex::default());
        Arc::new(Pool { target, runtime, idle, queued, holders, others, late })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The first connection of a store: also makes its tables, or looks at them. A server that is not there is not waited for.
    pub(super) async fn begin(&self, limit: Instant) -> Result<(), Failure> {
        let mut pauses = Pauses::new(limit);
        loop {
            let opened = timeout_at(limit, async {
                let mut session = Session::open(&self.target, drop).await?;
                schema::ensure(&mut session).await?;
                Ok::<Session, Failure>(session)
            });
            match opened.await {
                Ok(Ok(session)) => {
                    self.keep(session).await;
                    return Ok(());
                }
                Ok(Err(failure)) if failure.what == What::NotNow => pauses.pause(failure).await?,
                Ok(Err(failure)) => return Err(failure),
                Err(_over) => return Err(silent("it did not answer in time")),
            }
        }
    }

    /// Asks until there is an answer, or the time is over.
    pub(super) async fn ask(
        &self,
        whose: For,
        question: Arc<Question>,
        limit: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let turns = match whose {
            For::Holder => &self.holders,
            For::Others => &self.others,
        };
        self.queued.fetch_add(1, Ordering::Relaxed);
        let turn = timeout_at(limit, turns.acquire()).await;
        self.queued.fetch_sub(1, Ordering::Relaxed);
        // It is never closed; the permit is given back when this ends.
        let _turn = turn.map_err(|_over| silent("other questions of this process are not answered"))?;
        let mut pauses = Pauses::new(limit);
        loop {
            match self.ask_once(&question, limit).await {
                Err(failure) if failure.passes() => pauses.pause(failure).await?,
                answer => return answer,
            }
        }
    }

    async fn ask_once(&self, question: &Arc<Question>, limit: Instant) -> Result<Vec<Row>, Failure> {
        let over = |_| silent("it did not answer in time");
        let mut session = match self.idle() {
            Some(session) => session,
            None => timeout_at(limit, Session::open(&self.target, drop)).await.map_err(over)??,
        };
        let token = session.cancel_token();
        let asked = question.clone();
        let mut query = Box::pin(async move {
            let answer = session.query(asked.sql, &asked.params).await;
            (answer, session)
        });
        match timeout_at(limit, &mut query).await {
            Ok((Ok(rows), session)) => {
                self.keep(session).await;
                Ok(rows)
            }
            Ok((Err(failure), session)) => {
                let _closed_later = timeout_at(limit, session.close()).await;
                if failure.what == What::Broken {
                    // What broke this connection has broken the others: nobody listens to them while nobody asks.
                    locked(&self.idle).clear();
                }
                Err(failure)
            }
            Err(elapsed) => {
                let target = self.target.clone();
                self.runtime.begin(async move {
                    let _not_any_more = timeout(PATIENCE, cancel(&target, &token)).await;
                });
                // To its end, so that this is known; then the connection, which may be stuck, goes too.
                self.runtime.begin(async move {
                    let _never = timeout(PATIENCE, query).await;
                });
                Err(over(elapsed))
            }
        }
    }

    fn idle(&self) -> Option<Session> {
        let mut idle = locked(&self.idle);
        std::iter::from_fn(|| idle.pop()).find(|session| !session.is_closed())
    }

    async fn keep(&self, session: Session) {
        let too_many = {
            let mut idle = locked(&self.idle);
            idle.push(session);
            // Whose turn it is may not have woken yet: it must not find this one gone, and have to make another.
            let kept = IDLE_MAX.max(self.queued.load(Ordering::Relaxed)).min(idle.len());
            idle.split_off(kept)
        };
        if !too_many.is_empty() {
            drop(too_many);
            // Their connections take leave of the server.
            yield_now().await;
        }
    }

    /// Notes that a question of this owner has no answer; with none, that everything is known.
    pub(super) fn note(&self, owner: &Owner, unanswered: Option<&Arc<Question>>) {
        let mut late = locked(&self.late);
        match unanswered {
            Some(question) => late.entry(owner.clone()).or_default().push(Arc::downgrade(question)),
            None => drop(late.remove(owner)),
        }
    }

    /// Takes back what this owner may have been granted: at once, and again when its last question has come to its end.
    pub(super) async fn abandon(&self, owner: &Owner, question: Arc<Question>) {
        let late = locked(&self.late).remove(owner).unwrap_or_default();
        let settled = || late.iter().all(|question| question.strong_count() == 0);
        let limit = Instant::now() + 2 * PATIENCE;
        while Instant::now() < limit {
            let was_settled = settled();
            let answer = self.ask(For::Holder, question.clone(), Instant::now() + PATIENCE / 3).await;
            if answer.is_ok() && was_settled {
                return;
            }
            sleep(PAUSE.1).await;
        }
    }
}

fn silent(text: &str) -> Failure {
    Failure::new(What::Unreachable, text)
}

/// Pauses that grow, until the time is over.
pub(super) struct Pauses {
    next: Duration,
    limit: Instant,
}

impl Pauses {
    pub(super) fn new(limit: Instant) -> Pauses {
        Pauses { next: PAUSE.0, limit }
    }

    /// Waits for another attempt; the failure, if there is no time for one.
    pub(super) async fn pause(&mut self, failure: Failure) -> Result<(), Failure> {
        if Instant::now() + self.next >= self.limit {
            return Err(failure);
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSE.1);
        Ok(())
    }
}
