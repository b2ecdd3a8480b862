//! An attempt without an answer is repeated as somebody else, and nothing is abandoned.

use super::lease::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-new-owner",
        about: "an attempt whose answer was lost is repeated with a new owner",
        hazards: "D7",
        setup: one_machine,
        body: |ctx| all_of_it(ctx, Mistake::NewOwner),
        judge,
        settings: vec![Setting::of(2, 1).fault(&[Fault::LostReply])],
        sometimes: &[],
        caught_as: Some("locked itself out"),
    }
}
