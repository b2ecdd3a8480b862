//! A batch whose members are acknowledged before the shared write.

use super::batch::{Mistake, body, threads};
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-batch-told-early",
        about: "a batch whose members are acknowledged before the shared write",
        hazards: "G1",
        setup: threads,
        body: |ctx| body(ctx, Mistake::ToldBeforeTheWrite),
        judge: judge_count,
        settings: vec![Setting::of(2, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("lost or invented"),
    }
}
