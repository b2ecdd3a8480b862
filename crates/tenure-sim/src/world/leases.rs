//! The simulated store of leases: its rows, its clock, the questions on their way to it; and what its decisions are held against.
//!
//! A question is one atomic step, and its answer another, before which time may pass and others may ask. The decisions are those of
//! [`tenure::lease::row`], which the SQLite store ships. A store whose clock may jump (PostgreSQL) keeps each row for longer
//! than it tells the holder, by [`Leases::bound`]; its statements decide by the same rules, but are not run here.
//!
//! The rules:
//!
//! - A token that is given is larger than all that were given before; who has the lease already keeps the one that it has.
//! - Nobody is given what another still believes it holds, with right by its own clock; unless that was ended by force.
//! - Nobody is told that it renewed what is not its own.
//! - Who has heard from the store that its lease is lost holds it no more.
//! - What is fenced accepts no token after a larger one.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use tenure::lease::row::{self, Now, Row};
use tenure::lease::store::{Answer, Ask, Attempt, Claim, Owner};
use tenure::lease::{Entry, Name, Tenant, Token};

use super::{Life, World};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of `Store` with its name")]
pub enum Question {
    Acquire(Ask),
    Renew(Claim, Duration, Option<Tenant>),
    Release(Claim),
    Break(Name, String),
    Look(Name),
    Abandon(Name, Owner),
    /// The row as it is, and the clock: for twins that decide for themselves.
    Row,
    /// Overwrites the row: for them, too.
    Put(Row),
}

/// What the store says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the answer to the question that returns it")]
pub enum Told {
    Attempt(Attempt),
    Answer(Answer),
    Entry(Option<Entry>),
    Row(Option<Row>, Now),
    Nothing,
}

/// What happens to the store by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature {
    /// Its clock jumps, by so many microseconds.
    Jump(i64),
    /// It can't be reached.
    Down,
    /// It was started anew, with the rows that it had.
    Up,
    /// A question arrives whose caller has given up; or none will any more, since nobody is left who could ask.
    Deliver,
}

/// A step at what is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fenced {
    /// Writes unless a larger token has written.
    Write(Token),
    /// Whether a larger token has written: for a twin.
    Look(Token),
    /// Writes: for that twin.
    Put(Token),
}

/// The moment of a decision.
pub struct Step<'a> {
    /// The store's clock.
    pub now: Now,
    /// The asker's clock, in microseconds.
    pub asker_us: i64,
    /// By how much longer a row is kept than its holder is told.
    pub bound: Duration,
    /// Whether a tenant's process has ended, as far as the store can know.
    pub is_dead: &'a dyn Fn(&Tenant) -> bool,
}

/// Decides a question: changes the row, and says what is answered.
pub type Decide = fn(&mut Option<Row>, &Question, &Step<'_>) -> Told;

/// The store.
#[derive(Clone, Debug)]
pub struct Leases {
    /// How questions are decided: as shipped, or as a twin does.
    pub decide: Decide,
    /// By how much its clock may jump without harm.
    pub bound: Duration,
    /// Whether it knows which processes have ended.
    pub sees_deaths: bool,
    /// The file that is touched when a lease becomes free.
    pub notice: Option<&'static str>,
    /// Whether questions can't reach it.
    pub down: bool,
    row: Option<Row>,
    /// How far its clock was set ahead, in microseconds.
    ahead_us: i64,
    /// Questions whose callers have given up, and who they are.
    in_flight: Vec<(usize, Question)>,
    /// Every token that was given, with its owner and the process that asked.
    given: Vec<(i64, String, usize)>,
    /// Processes whose lease was ended by force, until they are given it again.
    forced: Vec<usize>,
    /// Processes that have heard that their lease is lost, until they are given it again.
    pub refused: Vec<usize>,
    /// When a lease was given or renewed last, in true time.
    last_kept: Duration,
    /// How long after that the lease was given to another.
    pub idle_for: Duration,
    /// The largest token that wrote to what is fenced.
    fence: i64,
}

impl Hash for Leases {
    /// Leaves out what never changes, and what follows from the processes' histories.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.down, &self.row, self.ahead_us, &self.in_flight).hash(hasher);
        (&self.given, &self.forced, self.last_kept, self.idle_for, self.fence).hash(hasher);
    }
}

impl Default for Leases {
    fn default() -> Leases {
        Leases {
            decide,
            bound: Duration::ZERO,
            sees_deaths: false,
            notice: None,
            down: false,
            row: None,
            ahead_us: 0,
            in_flight: Vec::new(),
            given: Vec::new(),
            forced: Vec::new(),
            refused: Vec::new(),
            last_kept: Duration::ZERO,
            idle_for: Duration::ZERO,
            fence: 0,
        }
    }
}

/// The decisions that are shipped.
///
/// # Panics
///
/// If a row has a token that none can have.
pub fn decide(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    let Step { now, bound, is_dead, .. } = step;
    let less = |lasts: Duration| lasts.saturating_sub(*bound);
    match question {
        Question::Acquire(ask) => {
            let at_most = ask.at_most.map(|time| time + *bound);
            let ask = Ask { ttl: ask.ttl + *bound, at_most, ..ask.clone() };
            let (after, attempt) = row::acquire(row.take(), &ask, now, is_dead);
            *row = Some(after);
            Told::Attempt(match attempt.expect("tokens from 1 on") {
                Attempt::Granted { token, lasts } => Attempt::Granted { token, lasts: less(lasts) },
                held @ Attempt::Held(_) => held,
            })
        }
        Question::Renew(claim, ttl, tenant) => {
            let (after, answer) = row::renew(row.clone(), claim, *ttl + *bound, tenant.as_ref(), now);
            change(row, after);
            Told::Answer(match answer {
                Answer::Done { lasts } => Answer::Done { lasts: less(lasts) },
                lost @ Answer::Lost(_) => lost,
            })
        }
        Question::Release(claim) => {
            let (after, answer) = row::release(row.clone(), claim, now);
            change(row, after);
            Told::Answer(answer)
        }
        Question::Break(_, reason) => {
            let ended = row::end_by_force(row.clone(), reason, now, is_dead);
            let entry = ended.as_ref().and_then(|(_, before)| before.entry(now, is_dead));
            change(row, ended.map(|(after, _)| after));
            Told::Entry(entry)
        }
        Question::Look(_) => {
            let seen = row.clone().map(|row| row.carried_over(now));
            Told::Entry(seen.and_then(|row| row.entry(now, is_dead)))
        }
        Question::Abandon(_, owner) => {
            let after = row::abandon(row.clone(), owner, now);
            change(row, after);
            Told::Nothing
        }
        Question::Row => Told::Row(row.clone(), now.clone()),
        Question::Put(after) => {
            change(row, Some(after.clone()));
            Told::Nothing
        }
    }
}

fn change(row: &mut Option<Row>, changed: Option<Row>) {
    if changed.is_some() {
        *row = changed;
    }
}

impl Leases {
    /// The process whose acquisition the lease's present owner is.
    pub fn holder(&self) -> Option<usize> {
        let owner = self.row.as_ref()?.owner.as_deref()?;
        self.given.iter().rev().find(|(_, given, _)| given == owner).map(|(.., process)| *process)
    }

    /// Whether the process's lease was ended by force.
    pub fn is_forced(&self, process: usize) -> bool {
        self.forced.contains(&process)
    }

    /// The largest token that was given.
    pub fn last_token(&self) -> i64 {
        self.given.last().map_or(0, |given| given.0)
    }

    /// A question goes on its way, and its caller gives up.
    pub fn send(&mut self, process: usize, question: &Question) {
        self.in_flight.push((process, question.clone()));
    }

    /// Whether a question is on its way whose caller has given up.
    pub fn is_awaited(&self) -> bool {
        !self.in_flight.is_empty()
    }
}

/// A time in microseconds.
fn micros(time: Duration) -> i64 {
    row::micros(time)
}

/// The store's clock at the start.
const EPOCH_US: i64 = 1_700_000_000_000_000;

impl World {
    /// The store decides; `None` if it can't be reached.
    pub fn ask(&mut self, process: usize, question: &Question) -> Option<Told> {
        if self.leases.down {
            return None;
        }
        let now = Now { us: EPOCH_US + self.leases.ahead_us + micros(self.time), boot: "1".to_owned() };
        let mut row = self.leases.row.clone();
        let is_dead = |tenant: &Tenant| self.leases.sees_deaths && self.is_gone(tenant);
        let asker_us = micros(self.now(process).since_zero());
        let step = Step { now, asker_us, bound: self.leases.bound, is_dead: &is_dead };
        let told = (self.leases.decide)(&mut row, question, &step);
        let before = std::mem::replace(&mut self.leases.row, row);
        self.judge(process, question, &told, before.as_ref());
        Some(told)
    }

    /// Something happens to the store; `false` if nothing was left to happen.
    pub fn befall(&mut self, nature: Nature) -> bool {
        match nature {
            Nature::Jump(us) => self.leases.ahead_us += us,
            Nature::Down => self.leases.down = true,
            Nature::Up => self.leases.down = false,
            Nature::Deliver => {
                if !self.leases.is_awaited() {
                    return false;
                }
                let (process, question) = self.leases.in_flight.remove(0);
                // Nobody waits for the answer.
                let _told_nobody = self.ask(process, &question);
            }
        }
        true
    }

    /// A step at what is fenced: whether the token is not too small.
    pub fn fenced(&mut self, process: usize, step: Fenced) -> bool {
        let (Fenced::Write(token) | Fenced::Look(token) | Fenced::Put(token)) = step;
        let (token, largest) = (token.number(), self.leases.fence);
        match step {
            Fenced::Look(_) => {}
            Fenced::Write(_) if token < largest => {}
            Fenced::Write(_) | Fenced::Put(_) => {
                if token < largest {
                    let rule = format!("P{process} wrote with the token {token} after {largest} had written");
                    self.check.break_rule(rule);
                }
                self.leases.fence = token;
            }
        }
        token >= largest
    }

    fn is_gone(&self, tenant: &Tenant) -> bool {
        tenant.process().is_some_and(|owner| {
            !self.processes.iter().any(|process| {
                (process.pid, Some(process.started)) == (owner.pid, owner.started)
                    && process.life == Life::Alive
            })
        })
    }

    fn judge(&mut self, process: usize, question: &Question, told: &Told, before: Option<&Row>) {
        let owner = |row: Option<&Row>| row.and_then(|row| Some((row.fence, row.owner.clone()?)));
        let (had, has) = (owner(before), owner(self.leases.row.as_ref()));
        if had != has {
            if matches!(question, Question::Break(..)) {
                let robbed = self.holder_of(had.as_ref());
                robbed.iter().for_each(|robbed| self.check.robbed(*robbed));
                self.leases.forced.extend(robbed);
            }
            if let Some((token, owner)) = &has {
                if had.as_ref().is_some_and(|(_, before)| before == owner) {
                    self.check
                        .break_rule(format!("P{process} has another token for what it had already: {token}"));
                }
                self.given(process, *token, owner);
            }
        }
        let done = matches!(told, Told::Answer(Answer::Done { .. }));
        if let Question::Renew(claim, ..) = question
            && done
        {
            let own = (claim.token.number(), claim.owner.as_str().to_owned());
            if has.as_ref() != Some(&own) {
                let rule =
                    format!("P{process} was told that it renewed token {}, which is not the lease's", own.0);
                self.check.break_rule(rule);
            }
        }
        if done
            || matches!(told, Told::Attempt(Attempt::Granted { .. }))
            || matches!(question, Question::Put(_))
        {
            self.leases.last_kept = self.time;
        }
    }

    fn holder_of(&self, owner: Option<&(i64, String)>) -> Option<usize> {
        let (token, owner) = owner?;
        let mut given = self.leases.given.iter();
        given.find(|given| (given.0, &given.1) == (*token, owner)).map(|given| given.2)
    }

    fn given(&mut self, process: usize, token: i64, owner: &str) {
        let largest = self.leases.given.iter().map(|given| given.0).max().unwrap_or(0);
        if token <= largest {
            let rule = format!("P{process} was given the token {token} after {largest}");
            self.check.break_rule(rule);
        }
        let clocks: Vec<_> = (0..self.processes.len()).map(|process| self.now(process)).collect();
        let believers = self.check.believers(process, &|process| clocks[process]);
        if let Some(other) = believers.into_iter().find(|other| !self.leases.is_forced(*other)) {
            let rule = format!("P{process} was given the lease that P{other} believes it holds");
            self.check.break_rule(rule);
        }
        self.leases.idle_for = self.time - self.leases.last_kept;
        self.leases.forced.retain(|forced| *forced != process);
        self.leases.refused.retain(|refused| *refused != process);
        self.leases.given.push((token, owner.to_owned(), process));
    }
}
