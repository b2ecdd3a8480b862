//! Nobody removes what the dead left.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-unswept",
        about: "nobody removes what the dead left",
        hazards: "U12",
        setup: counter,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: tidy,
        settings: vec![Setting::of(1, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("litter"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(_held) = Lock::flock_on(ctx.host, SIDECAR).acquire(Wait::Forever) else { return };
    let Ok(number) = read_number(ctx) else { return };
    ctx.host.note(Note::Begin);
    let saved = save(ctx, number + 1, Save::WHOLE);
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}

/// One more change, and nothing may be left.
fn tidy(ctx: &Ctx) -> Result<(), String> {
    body(ctx);
    ctx.expect_names(&["n.json", "n.json.lock"])
}
