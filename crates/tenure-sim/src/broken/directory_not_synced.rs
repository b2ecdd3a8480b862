//! The directory is not synced after the rename.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-directory-not-synced",
        about: "the directory is not synced after the rename",
        hazards: "U8",
        setup: counter,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: judge_count,
        settings: vec![Setting::of(1, 1).power(Durability::Minimal)],
        sometimes: &[],
        caught_as: Some("lost or invented"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(_held) = Lock::flock_on(ctx.host, SIDECAR).acquire(Wait::Forever) else { return };
    let Ok(number) = read_number(ctx) else { return };
    ctx.host.note(Note::Begin);
    let saved = save(ctx, number + 1, Save { syncs_directory: false, ..Save::WHOLE });
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}
