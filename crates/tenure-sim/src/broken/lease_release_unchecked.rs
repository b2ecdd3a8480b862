//! A release frees the row, whoever has it by now.

use super::lease::*;
use super::tools::*;
use tenure::lease::row::Row;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-release-unchecked",
        about: "a former owner releases what its successor has",
        hazards: "D7",
        setup: |world| world.leases.decide = release_any,
        body: |ctx| ctx.each_round(|| come(ctx)),
        judge,
        settings: vec![Setting::of(2, 2).ticks(2, HALF)],
        sometimes: &[],
        caught_as: Some("believes it holds"),
    }
}

fn release_any(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    match (question, claim_of(row)) {
        (Question::Release(_), Some(claim)) => decide(row, &Question::Release(claim), step),
        _ => decide(row, question, step),
    }
}
