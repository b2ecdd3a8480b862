//! The store judges times by the asker's clock.

use super::lease::*;
use super::tools::*;
use tenure::lease::row::{Now, Row};

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-client-clock",
        about: "times are judged by the clock of whoever asks",
        hazards: "D4",
        setup: |world| {
            own_clocks(world);
            world.leases.decide = by_the_askers_clock;
        },
        body: hold_or_come,
        judge,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("believes it holds"),
    }
}

fn by_the_askers_clock(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    let now = Now { us: step.asker_us, ..step.now.clone() };
    decide(row, question, &Step { now, ..*step })
}
