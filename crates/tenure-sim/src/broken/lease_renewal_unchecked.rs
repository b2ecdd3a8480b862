//! A renewal extends whatever is there, whoever has it.

use super::lease::*;
use super::tools::*;
use tenure::lease::row::Row;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-renewal-unchecked",
        about: "a renewal extends the row whoever has it",
        hazards: "D7",
        setup: |world| world.leases.decide = renew_any,
        body,
        judge,
        settings: vec![Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("told that it renewed"),
    }
}

fn body(ctx: &Ctx) {
    if ctx.host.process == 2 {
        let _told = store(ctx).ask(Question::Break(LEASE.into(), "maintenance".to_owned()));
    } else {
        hold_or_come(ctx);
    }
}

fn renew_any(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    match (question, claim_of(row)) {
        (Question::Renew(_, ttl, tenant), Some(claim)) => {
            decide(row, &Question::Renew(claim, *ttl, tenant.clone()), step)
        }
        _ => decide(row, question, step),
    }
}
