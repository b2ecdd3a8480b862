//! Flock on the very file that the rename replaces.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-flock-on-replaced",
        about: "flock on the very file that the rename replaces",
        hazards: "U3",
        setup: counter,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: judge_count,
        settings: vec![Setting::of(2, 1), Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("lost or invented"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(file) = ctx.host.open(Path::new(FILE), Open::Read) else { return };
    if ctx.host.try_flock(&file, Mode::Exclusive) != Ok(true) {
        return;
    }
    // The next comer opens the new file, which nobody has locked.
    let Ok(number) = read_number(ctx) else { return };
    ctx.host.note(Note::Begin);
    let saved = save(ctx, number + 1, Save::WHOLE);
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}
