//! All writers share one temporary name.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-fixed-temporary",
        about: "all writers share one temporary name",
        hazards: "U7",
        setup: counter,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: whole,
        settings: vec![Setting::of(2, 1), Setting::of(2, 2)],
        sometimes: &[],
        caught_as: Some("writes into a file that others read"),
    }
}

fn body(ctx: &Ctx) {
    ctx.host.note(Note::Begin);
    let name = Path::new("/d/n.json.tmp");
    unlink(ctx, "/d/n.json.tmp");
    // Another writer may have removed it, or put his own there, by the time it is renamed.
    let made = ctx.host.open(name, NEW);
    let written = made.is_ok_and(|file| {
        let text = if ctx.host.process == 0 { "1111" } else { "2222" };
        ctx.host.write(&file, &text.as_bytes()[..2]).is_ok()
            && ctx.host.write(&file, &text.as_bytes()[2..]).is_ok()
    });
    let saved = written && ctx.host.rename(name, Path::new(FILE)).is_ok();
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}

/// Whole documents only.
fn whole(ctx: &Ctx) -> Result<(), String> {
    match read(ctx, FILE).as_deref() {
        Some("0" | "1111" | "2222") => Ok(()),
        other => Err(format!("torn content: {other:?}")),
    }
}
