//! The lock covers the save, not load, change and save.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-save-only-lock",
        about: "the lock covers the save, not load, change and save",
        hazards: "U1",
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
    let Ok(held) = Lock::flock_on(ctx.host, SIDECAR).acquire(Wait::Forever) else { return };
    ctx.host.note(Note::Begin);
    let saved = save(ctx, number + 1, Save::WHOLE);
    drop(held);
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}
