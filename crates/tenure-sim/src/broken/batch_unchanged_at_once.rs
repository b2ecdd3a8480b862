//! Nothing to change, said of what another member has not written yet.

use super::batch::{Mistake, body, threads};
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-batch-unchanged-at-once",
        about: "nothing to change, said of what another member has not written yet",
        hazards: "G2",
        setup: threads,
        body: |ctx| body(ctx, Mistake::UnchangedAtOnce),
        judge: judge_count,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("told of what is not there"),
    }
}
