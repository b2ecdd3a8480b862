//! Several documents are locked in the order in which the caller names them.

use super::tools::*;
use crate::scenarios::history::two_documents;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-locks-as-given",
        about: "several documents are locked in the order in which the caller names them",
        hazards: "W7",
        setup: two_documents,
        body,
        judge: anything,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("stuck"),
    }
}

fn body(ctx: &Ctx) {
    let mut locks = [SIDECAR, "/d/m.json.lock"].map(|path| Lock::flock_on(ctx.host, path));
    if ctx.host.process == 1 {
        locks.reverse();
    }
    let Ok(first) = locks[0].acquire(Wait::Forever) else { return };
    let Ok(second) = locks[1].acquire(Wait::Forever) else { return };
    drop((first, second));
}
