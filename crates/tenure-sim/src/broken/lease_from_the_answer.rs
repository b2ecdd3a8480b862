//! The holder counts its time from the answer, the store from before it.

use super::lease::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-from-the-answer",
        about: "a holder counts its time from the answer",
        hazards: "D4",
        setup: one_machine,
        body: |ctx| all_of_it(ctx, Mistake::FromTheAnswer),
        judge,
        settings: vec![Setting::of(2, 1).ticks(2, HALF)],
        sometimes: &[],
        caught_as: Some("believes it holds"),
    }
}
