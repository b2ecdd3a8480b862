//! A client of a lease store, right but for one mistake; and stores that decide with one.

use std::time::Duration;

use tenure::Moment;
use tenure::host::Host;
use tenure::lease::Tenant;
use tenure::lease::row::Row;
use tenure::lease::store::{Answer, Ask, Attempt, Claim, Owner};
use tenure::lease::timing::margin;

use super::tools::*;
use crate::host::{SimStore, with_world};
pub(super) use crate::scenarios::LEASE;
use crate::scenarios::lease::hold;
pub(super) use crate::scenarios::lease::{BOUND, HALF, TTL, broken, judge, one_machine, own_clocks};
pub(super) use crate::scenarios::lease::{come, jump};
pub(super) use crate::world::leases::{Fenced, Question, Step, Told, decide};

/// What the client does wrong.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mistake {
    /// Nothing.
    None,
    /// It counts its time from the answer.
    FromTheAnswer,
    /// It trusts its clock to run as fast as the store's.
    NoMargin,
    /// It believes until the store says otherwise.
    NoDeadline,
    /// It takes any confirmation for one.
    Revives,
    /// It asks again as somebody else.
    NewOwner,
}

/// A lease as that client holds it.
pub(super) struct Toy {
    ctx: Ctx,
    mistake: Mistake,
    claim: Claim,
    deadline: Option<Moment>,
    lost: bool,
}

/// A question of somebody whose death nobody sees.
pub(super) fn ask(ctx: &Ctx) -> Ask {
    Ask {
        name: LEASE.into(),
        owner: Owner::new(ctx.host.random(), ctx.host.random()),
        tenant: Tenant::from_json(r#"{"host":"one"}"#),
        ttl: TTL,
        at_least: Duration::ZERO,
        at_most: None,
        again: false,
    }
}

pub(super) fn store(ctx: &Ctx) -> SimStore {
    SimStore { host: ctx.host }
}

impl Toy {
    /// Acquires; asks a second time if there was no answer.
    pub(super) fn acquire(ctx: &Ctx, mistake: Mistake) -> Option<Toy> {
        let mut ask = ask(ctx);
        let mut began = ctx.host.now();
        let mut told = store(ctx).ask(Question::Acquire(ask.clone()));
        let again = told.is_err();
        if again {
            if mistake == Mistake::NewOwner {
                ask = self::ask(ctx);
            }
            began = ctx.host.now();
            told = store(ctx).ask(Question::Acquire(ask.clone()));
        }
        let Told::Attempt(Attempt::Granted { token, lasts }) = told.ok()? else {
            if again && with_world(|world| world.leases.holder() == Some(ctx.host.process)) {
                broken(format!("P{} locked itself out", ctx.host.process));
            }
            return None;
        };
        let claim = Claim { name: ask.name, owner: ask.owner, token };
        let mut toy = Toy { ctx: *ctx, mistake, claim, deadline: None, lost: false };
        toy.confirmed(began, lasts);
        ctx.enter(toy.deadline);
        Some(toy)
    }

    fn confirmed(&mut self, began: Moment, lasts: Duration) {
        self.deadline = match self.mistake {
            Mistake::FromTheAnswer => Some(self.ctx.host.now() + lasts.saturating_sub(margin(lasts))),
            Mistake::NoMargin => Some(began + lasts),
            Mistake::NoDeadline => None,
            Mistake::None | Mistake::Revives | Mistake::NewOwner => {
                Some(began + lasts.saturating_sub(margin(lasts)))
            }
        };
        if self.mistake == Mistake::Revives {
            self.lost = false;
        }
    }

    /// Whether it holds the lease, as it thinks.
    pub(super) fn look(&mut self) -> bool {
        let (ctx, deadline, lost) = (self.ctx, self.deadline, self.lost);
        let held = ctx.asks(|| !lost && deadline.is_none_or(|deadline| ctx.host.now() < deadline));
        if !held {
            self.lost = true;
            ctx.leave();
        }
        held
    }

    pub(super) fn renew(&mut self) {
        let began = self.ctx.host.now();
        if let Ok(Told::Answer(Answer::Done { lasts })) =
            store(&self.ctx).ask(Question::Renew(self.claim.clone(), TTL, None))
        {
            self.confirmed(began, lasts);
            self.ctx.host.note(Note::Extend(self.deadline));
        }
    }

    pub(super) fn release(self) {
        self.ctx.leave();
        let _ends_with_its_time = store(&self.ctx).ask(Question::Release(self.claim));
    }
}

/// Acquires, renews, releases.
pub(super) fn all_of_it(ctx: &Ctx, mistake: Mistake) {
    let Some(mut toy) = Toy::acquire(ctx, mistake) else { return };
    toy.look();
    if ctx.host.process == 0 {
        toy.renew();
        toy.look();
    }
    toy.release();
}

/// The client without a mistake, which must pass where the others are caught.
pub(crate) fn sound() -> Scenario {
    Scenario {
        name: "lease-toy",
        about: "the client of the twins, without a mistake",
        hazards: "",
        setup: own_clocks,
        body: |ctx| match ctx.host.process {
            2 => jump(ctx, BOUND.as_micros().cast_signed()),
            _ => all_of_it(ctx, Mistake::None),
        },
        judge,
        settings: vec![Setting::of(3, 1).ticks(2, HALF), Setting::of(2, 1).fault(&[Fault::LostReply])],
        sometimes: &[],
        caught_as: None,
    }
}

/// What the shipped client does: the first process renews.
pub(super) fn hold_or_come(ctx: &Ctx) {
    match ctx.host.process {
        0 => hold(ctx),
        _ => come(ctx),
    }
}

/// The claim of whoever has the row.
pub(super) fn claim_of(row: &Option<Row>) -> Option<Claim> {
    let row = row.as_ref()?;
    let owner = Owner::parse(row.owner.as_deref()?)?;
    Some(Claim { name: LEASE.into(), owner, token: tenure::Token::new(row.fence)? })
}
