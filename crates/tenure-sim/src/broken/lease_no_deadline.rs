//! The holder believes until the store tells it otherwise.

use super::lease::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-no-deadline",
        about: "a holder believes until its store tells it otherwise",
        hazards: "L14",
        setup: one_machine,
        body: |ctx| all_of_it(ctx, Mistake::NoDeadline),
        judge,
        settings: vec![Setting::of(2, 1).ticks(2, HALF)],
        sometimes: &[],
        caught_as: Some("believes it holds"),
    }
}
