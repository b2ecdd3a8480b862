//! The record of the owner can not be written, and the file stays.

use super::tools::*;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-stamp-failure",
        about: "the record of the owner can not be written, and the file stays",
        hazards: "L4",
        setup: nothing,
        body: |ctx| ctx.each_round(|| body(ctx)),
        judge: gets_in,
        settings: vec![Setting::of(2, 1).fault(&[Fault::NoSpace])],
        sometimes: &[],
        caught_as: Some("stuck"),
    }
}

fn body(ctx: &Ctx) {
    let made = ctx.host.open(Path::new(LOCK), NEW);
    // The disk is full: the file is there, without an owner, and nobody removes it.
    if let Ok(file) = made
        && ctx.host.write(&file, pid(ctx).as_bytes()).is_ok()
    {
        ctx.critical();
        unlink(ctx, LOCK);
    }
}

/// A file without an owner is held by nobody known, for ever.
fn gets_in(ctx: &Ctx) -> Result<(), String> {
    match read(ctx, LOCK) {
        Some(owner) if owner.is_empty() => Err("stuck: an orphan that nobody owns".into()),
        _ => Ok(()),
    }
}
