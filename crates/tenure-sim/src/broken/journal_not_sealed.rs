//! Records are appended behind what a crash left.

use super::journal::*;
use super::tools::*;
use crate::world::ledger::Entry;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-journal-not-sealed",
        about: "records are appended behind what a crash left",
        hazards: "J2",
        setup: empty,
        body,
        judge,
        settings: vec![Setting::of(2, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("misses the acknowledged"),
    }
}

fn body(ctx: &Ctx) {
    let payload = ctx.appends(own(ctx));
    let Some(_held) = lock(ctx) else { return };
    let Some(file) = open(ctx, JOURNAL) else { return };
    let sequence = records(ctx, &file).last().map_or(1, |(last, _)| last + 1);
    let end = ctx.host.stat_file(&file).map_or(0, |stat| stat.size);
    let text = [format!("{sequence:02}").as_bytes(), &payload, b"\n"].concat();
    if ctx.host.write_at(&file, end, &text).is_ok() {
        ctx.journal(Entry::Visible(own(ctx), Some(sequence)));
    }
}
