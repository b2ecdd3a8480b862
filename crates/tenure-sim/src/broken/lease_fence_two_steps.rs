//! What is fenced is asked first, and written then.

use super::lease::*;
use super::tools::*;
use tenure::Token;
use tenure::lease::store::Attempt;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "broken-lease-fence-two-steps",
        about: "the token is compared first, and the write comes then",
        hazards: "D9",
        setup: own_clocks,
        body,
        judge,
        settings: vec![Setting::of(3, 1)],
        sometimes: &[],
        caught_as: Some("wrote with the token"),
    }
}

fn body(ctx: &Ctx) {
    if ctx.host.process == 2 {
        return jump(ctx, (TTL + BOUND).as_micros().cast_signed());
    }
    let Some(token) = token(ctx) else { return };
    if ctx.host.fenced(Fenced::Look(token)) {
        ctx.host.fenced(Fenced::Put(token));
    }
}

fn token(ctx: &Ctx) -> Option<Token> {
    match store(ctx).ask(Question::Acquire(ask(ctx))) {
        Ok(Told::Attempt(Attempt::Granted { token, .. })) => Some(token),
        _ => None,
    }
}
