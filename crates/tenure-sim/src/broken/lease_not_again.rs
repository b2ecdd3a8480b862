//! A store that gives its owner what it has only once.

use super::lease::*;
use super::tools::*;
use tenure::lease::row::Row;
use tenure::lease::store::{Ask, Owner};

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-not-again",
        about: "a store refuses an owner who did not hear that it has the lease",
        hazards: "D7",
        setup: |world| world.leases.decide = refuse_again,
        body: |ctx| all_of_it(ctx, Mistake::None),
        judge,
        settings: vec![Setting::of(2, 1).fault(&[Fault::LostReply])],
        sometimes: &[],
        caught_as: Some("locked itself out"),
    }
}

fn refuse_again(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    match question {
        Question::Acquire(ask) if claim_of(row).is_some_and(|claim| claim.owner == ask.owner) => {
            let stranger = Ask { owner: Owner::new(0, 0), ..ask.clone() };
            decide(row, &Question::Acquire(stranger), step)
        }
        _ => decide(row, question, step),
    }
}
