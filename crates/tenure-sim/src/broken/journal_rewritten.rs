//! A header is rewritten without the lock: all is read and put into a new file.

use super::journal::*;
use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-rewritten",
        about: "a header is rewritten without the lock: all is read and put into a new file",
        hazards: "J3",
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
    let _shown_later = replace(ctx, &lines);
}
