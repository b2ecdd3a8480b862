//! A short write is renamed into place.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-short-write-renamed",
        about: "a short write is renamed into place",
        hazards: "U6",
        setup: counter,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: judge_count,
        settings: vec![Setting::of(1, 1).fault(&[Fault::Short])],
        sometimes: &[],
        caught_as: Some("torn"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(_held) = Lock::flock_on(ctx.host, SIDECAR).acquire(Wait::Forever) else { return };
    let Ok(number) = read_number(ctx) else { return };
    ctx.host.note(Note::Begin);
    let saved = save(ctx, number + 10, Save { loops: false, ..Save::WHOLE });
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}

/// Ten at a time: the first half of two digits is another number.
fn judge_count(ctx: &Ctx) -> Result<(), String> {
    match read_number(ctx) {
        Ok(number) if number.is_multiple_of(10) => Ok(()),
        other => Err(format!("torn content: {other:?}")),
    }
}
