//! A batch whose write fails, of which its leader alone hears.

use super::batch::{Mistake, body, threads};
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-batch-leader-alone-hears",
        about: "a batch whose write fails, of which its leader alone hears",
        hazards: "G2",
        setup: threads,
        body: |ctx| body(ctx, Mistake::LeaderAloneHears),
        judge: judge_count,
        settings: vec![Setting::of(2, 1).fault(&[Fault::NoSpace])],
        sometimes: &[],
        caught_as: Some("lost or invented"),
    }
}
