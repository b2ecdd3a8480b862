//! A release deletes the row, and the count of tokens starts over.

use super::lease::*;
use super::tools::*;
use tenure::lease::row::Row;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-row-deleted",
        about: "a release deletes the row, and tokens start over",
        hazards: "D8",
        setup: |world| world.leases.decide = forget,
        body: hold_or_come,
        judge,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("was given the token"),
    }
}

fn forget(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    let told = decide(row, question, step);
    if matches!(question, Question::Release(_)) {
        *row = None;
    }
    told
}
