//! The store of leases as a simulated process reaches it.

use std::path::Path;
use std::task::Waker;
use std::time::Duration;

use tenure::host::{Host, Open};
use tenure::lease::store::{Answer, Ask, Attempt, Claim, Notice, Owner, Store};
use tenure::lease::{Entry, Name, Tenant};
use tenure::{Error, Moment, Result};

use super::{Sim, with_world};
use crate::op::{Op, Value};
use crate::world::leases::{Fenced, Nature, Question, Told};

/// How errors name it.
const ADDRESS: &str = "sim:store";

/// The connection of a process.
#[derive(Clone, Copy, Debug)]
pub struct SimStore {
    /// Whose.
    pub host: Sim,
}

impl Sim {
    /// Lets something happen to the store; `false` if nothing is left that could.
    pub fn befall(self, nature: Nature) -> bool {
        matches!(self.call(Op::Nature(nature)), Ok(Value::Yes(true)))
    }

    /// A step at what is fenced by the tokens of leases: whether the token is not too small.
    pub fn fenced(self, step: Fenced) -> bool {
        matches!(self.call(Op::Fenced(step)), Ok(Value::Yes(true)))
    }
}

impl SimStore {
    /// Asks, and hears the answer a while later.
    ///
    /// # Errors
    ///
    /// [`Error::is_unreachable`] if the question, the answer or the store is lost.
    pub fn ask(&self, question: Question) -> Result<Told> {
        match self.host.call(Op::Ask(Box::new(question))) {
            Ok(Value::Told(told)) => {
                let _took_its_time = self.host.call(Op::Answer);
                Ok(told)
            }
            _ => Err(Error::unreachable(ADDRESS, "it did not answer")),
        }
    }

    fn answer(&self, question: Question) -> Result<Answer> {
        self.ask(question).map(|told| match told {
            Told::Answer(answer) => answer,
            other => unreachable!("a holder was told {other:?}"),
        })
    }

    fn entry(&self, question: Question) -> Result<Option<Entry>> {
        self.ask(question).map(|told| match told {
            Told::Entry(entry) => entry,
            other => unreachable!("a look was told {other:?}"),
        })
    }

    /// Tells those who wait, as the SQLite store does.
    fn announce(&self) {
        if let Some(path) = with_world(|world| world.leases.notice) {
            drop(self.host.open(Path::new(path), Open::Read));
        }
    }
}

impl Store for SimStore {
    fn address(&self) -> &str {
        ADDRESS
    }

    fn acquire(&self, ask: &Ask, _until: Moment) -> Result<Attempt> {
        self.ask(Question::Acquire(ask.clone())).map(|told| match told {
            Told::Attempt(attempt) => attempt,
            other => unreachable!("an acquisition was told {other:?}"),
        })
    }

    fn renew(&self, claim: &Claim, ttl: Duration, tenant: Option<&Tenant>, _until: Moment) -> Result<Answer> {
        let answer = self.answer(Question::Renew(claim.clone(), ttl, tenant.cloned()))?;
        if matches!(answer, Answer::Lost(_)) {
            with_world(|world| world.leases.refused.push(self.host.process));
        }
        Ok(answer)
    }

    fn release(&self, claim: &Claim, _until: Moment) -> Result<Answer> {
        let answer = self.answer(Question::Release(claim.clone()))?;
        if matches!(answer, Answer::Done { .. }) {
            self.announce();
        }
        Ok(answer)
    }

    fn break_lease(&self, name: &Name, reason: &str, _until: Moment) -> Result<Option<Entry>> {
        let broken = self.entry(Question::Break(name.clone(), reason.to_owned()))?;
        self.announce();
        Ok(broken)
    }

    fn look(&self, name: &Name, _until: Moment) -> Result<Option<Entry>> {
        self.entry(Question::Look(name.clone()))
    }

    fn list(&self, until: Moment) -> Result<Vec<Entry>> {
        // The scenarios' leases have one name.
        self.look(&Name::from(crate::scenarios::LEASE), until).map(|entry| entry.into_iter().collect())
    }

    fn abandon(&self, name: &Name, owner: &Owner) {
        if self.ask(Question::Abandon(name.clone(), owner.clone())).is_ok() {
            self.announce();
        }
    }

    fn notice(&self, _name: &Name, _waker: &Waker) -> Notice {
        match with_world(|world| world.leases.notice) {
            Some(path) => Notice::File(path.into()),
            None => Notice::Nothing,
        }
    }
}
