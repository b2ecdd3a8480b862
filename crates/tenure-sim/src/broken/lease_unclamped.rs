//! The store's clock jumps back by an hour, and the row is kept for as long.

use super::lease::*;
use super::tools::*;
use tenure::lease::row::Row;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-unclamped",
        about: "a row is kept for as long as the store's clock jumped back",
        hazards: "D6",
        setup: |world| {
            own_clocks(world);
            world.leases.decide = trust_the_row;
        },
        body,
        judge,
        settings: vec![Setting::of(3, 1).crashes(1)],
        sometimes: &[],
        caught_as: Some("stuck"),
    }
}

fn body(ctx: &Ctx) {
    match ctx.host.process {
        2 => jump(ctx, -3_600_000_000),
        _ => hold_or_come(ctx),
    }
}

fn trust_the_row(row: &mut Option<Row>, question: &Question, step: &Step<'_>) -> Told {
    if let Some(row) = row {
        row.granted_us = row.granted_us.min(step.now.us);
        row.ttl_us = row.ttl_us.max(row.expires_us - step.now.us);
    }
    decide(row, question, step)
}
