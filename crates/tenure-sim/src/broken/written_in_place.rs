//! The document is written where it lies.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-written-in-place",
        about: "the document is written where it lies",
        hazards: "U4",
        setup: counter,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: judge_count,
        settings: vec![Setting::of(1, 1)],
        sometimes: &[],
        caught_as: Some("writes into a file that others read"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(_held) = Lock::flock_on(ctx.host, SIDECAR).acquire(Wait::Forever) else { return };
    let Ok(number) = read_number(ctx) else { return };
    ctx.host.note(Note::Begin);
    let file = ctx.host.open(Path::new(FILE), Open::ReadWrite);
    let saved = file.is_ok_and(|file| ctx.host.write(&file, (number + 1).to_string().as_bytes()).is_ok());
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}
