//! Atomic rename taken for a lock.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-rename-without-lock",
        about: "atomic rename taken for a lock",
        hazards: "U2",
        setup: counter,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: judge_count,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("lost or invented"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(number) = read_number(ctx) else { return };
    ctx.host.note(Note::Begin);
    let saved = save(ctx, number + 1, Save::WHOLE);
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}
