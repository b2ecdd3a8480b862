//! The row is read, judged, and written: two steps of the store.

use super::lease::*;
use super::tools::*;
use tenure::lease::store::Attempt;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-two-steps",
        about: "a row is read, judged by its reader, and written in a second step",
        hazards: "D1",
        setup: nothing,
        body,
        judge,
        settings: vec![Setting::of(2, 1)],
        sometimes: &[],
        caught_as: Some("was given the token"),
    }
}

fn body(ctx: &Ctx) {
    let ask = ask(ctx);
    let Ok(Told::Row(row, now)) = store(ctx).ask(Question::Row) else { return };
    let (row, attempt) = tenure::lease::row::acquire(row, &ask, &now, |_| false);
    if matches!(attempt, Some(Attempt::Granted { .. })) && store(ctx).ask(Question::Put(row)).is_ok() {
        ctx.critical();
    }
}
