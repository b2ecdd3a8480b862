//! The earlier version is kept after it was replaced.

use super::tools::*;
use crate::scenarios::history::judge_versions;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-kept-after",
        about: "the earlier version is kept after it was replaced",
        hazards: "U8",
        setup: counter,
        body,
        judge: judge_versions,
        settings: vec![Setting::of(2, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("version is missing"),
    }
}

fn body(ctx: &Ctx) {
    let Ok(held) = Lock::flock_on(ctx.host, SIDECAR).acquire(Wait::Forever) else { return };
    let Ok(number) = read_number(ctx) else { return };
    ctx.host.note(Note::Begin);
    let saved = save(ctx, number + 1, Save::WHOLE);
    let kept = create(ctx, &format!("{FILE}.~{}~", number + 1), &number.to_string());
    drop(held);
    ctx.host.note(if saved && kept.is_ok() { Note::Acked } else { Note::Doubtful });
}
