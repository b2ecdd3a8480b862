//! A file is rotated by copying and truncating it.

use super::journal::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-truncated",
        about: "a file is rotated by copying and truncating it",
        hazards: "J6",
        setup: one_record,
        body,
        judge,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("misses the acknowledged"),
    }
}

fn body(ctx: &Ctx) {
    if ctx.host.process > 0 {
        return append(ctx);
    }
    let Some(file) = open(ctx, JOURNAL) else { return };
    let lines: Vec<u8> = (0..records(ctx, &file).len()).flat_map(|number| line(ctx, &file, number)).collect();
    let Ok(copy) = ctx.host.open(Path::new(OLD), NEW) else { return };
    if ctx.host.write(&copy, &lines).is_ok() && ctx.host.fsync(&copy).is_ok() {
        let _shown_later = ctx.host.truncate(&file, 0);
    }
}
