//! Documents with fencing tokens: what was accepted never has a larger token before a smaller one.
//!
//! Each process has its own token, and appends it to the number in the document as a digit: so the document tells which
//! tokens were accepted in which order.

use std::path::Path;

use tenure::host::{Host, Open};
use tenure::{Reached, Token, Wait};

use super::combining::one_process;
use super::document::{FAULTS, FILE, document, zero};
use crate::host::with_world;
use crate::op::{Fault, Note};
use crate::scenario::{Ctx, DIRECTORY, Scenario, Setting, counted, put_file, put_stable};
use crate::world::World;
use crate::world::power::Durability;

/// Where the largest token is kept.
pub(crate) const FENCE: &str = "/d/n.json.fence";

/// The scenarios of fenced documents.
pub(super) fn all() -> Vec<Scenario> {
    let base = Scenario {
        name: "",
        about: "",
        hazards: "D9",
        setup: fenced,
        body: |ctx| ctx.each_round(|| write(ctx)),
        judge,
        settings: Vec::new(),
        sometimes: &["a refusal"],
        caught_as: None,
    };
    vec![
        Scenario {
            name: "fence",
            about: "each process writes with its own token; the smallest was there before",
            settings: vec![
                Setting::of(2, 1).crashes(2),
                Setting::of(2, 2),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).power(Durability::Minimal),
                Setting::of(2, 1).crashes(1).power(Durability::Ordered),
                Setting::of(3, 1).long(),
                Setting::of(3, 1).crashes(1).long(),
                Setting::of(2, 1).crashes(1).power(Durability::Minimal).long(),
            ],
            ..base
        },
        Scenario {
            name: "fence-first",
            about: "each process writes with its own token, and there was none before",
            setup: unfenced,
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).power(Durability::Minimal),
            ],
            ..base
        },
        Scenario {
            name: "fence-raised",
            about: "a new holder raises the fence, then reads: nothing older comes after what it has read",
            body: |ctx| match ctx.host.process {
                0 => write(ctx),
                _ => raise_and_read(ctx),
            },
            judge: judge_raised,
            settings: vec![Setting::of(2, 1).crashes(1), Setting::of(2, 1).fault(FAULTS)],
            ..base
        },
        Scenario {
            name: "fence-threads",
            about: "threads of one process write with tokens of their own, together",
            setup: |world| {
                fenced(world);
                one_process(world);
            },
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).power(Durability::Minimal),
                Setting::of(3, 1).long(),
            ],
            sometimes: &["a refusal", "a batch of two"],
            ..base
        },
        Scenario {
            name: "fence-lock-deleted",
            about: "who raises the fence deletes the document's lock file first: it is not lowered",
            setup: |world| {
                zero(world);
                put_file(world, "n.json.lock", b"");
                put_file(world, "n.json.fence", FIRST);
            },
            body: delete_and_raise,
            judge: judge_fence,
            settings: vec![Setting::of(2, 1), Setting::of(2, 1).crashes(1).long(), Setting::of(3, 1).long()],
            ..base
        },
        Scenario {
            name: "fence-first-lock-deleted",
            about: "the same, and there was no fence before",
            setup: |world| {
                zero(world);
                put_file(world, "n.json.lock", b"");
            },
            body: delete_and_raise,
            judge: judge_fence,
            settings: vec![Setting::of(2, 1), Setting::of(2, 1).crashes(1).long(), Setting::of(3, 1).long()],
            ..base
        },
    ]
}

/// The fence of the first process's token.
const FIRST: &[u8] = b"{\"tenure\":1,\"token\":1}\n";

/// A document that holds 0, and a stable lock file.
fn unfenced(world: &mut World) {
    zero(world);
    put_stable(world, "n.json.lock");
}

/// And the fence of the first process's token.
pub(crate) fn fenced(world: &mut World) {
    unfenced(world);
    put_file(world, "n.json.fence", FIRST);
}

/// The token of this process.
pub(crate) fn own(ctx: &Ctx) -> u32 {
    u32::try_from(ctx.host.process).expect("few processes") + 1
}

fn token(number: u32) -> Token {
    Token::new(number.into()).expect("tokens begin with 1")
}

fn break_rule(rule: String) {
    with_world(|world| world.check.break_rule(rule));
}

/// What the document's file holds, as nobody can see it without a call.
fn there() -> Vec<u8> {
    with_world(|world| world.fs.existing(Path::new(FILE)).map(|slot| world.fs.at(slot).data.to_vec()))
        .unwrap_or_default()
}

/// Writes with the own token.
fn write(ctx: &Ctx) {
    let own = own(ctx);
    ctx.host.note(Note::Begin);
    let written = document(ctx).fence(token(own)).update_bytes(Wait::Forever, |bytes| {
        if there() != *bytes {
            ctx.sometimes("a batch of two");
        }
        bytes.extend(own.to_string().bytes());
    });
    let fenced = written.as_ref().is_err_and(tenure::Error::is_fenced);
    if fenced {
        ctx.sometimes("a refusal");
    }
    let largest = with_world(|world| world.processes.len());
    if fenced && ctx.host.process + 1 == largest {
        break_rule("the largest token was refused as a smaller one".into());
    }
    let faulty = |error: &tenure::Error| error.is_io() || error.is_fenced() || error.is_permission();
    if let Some(error) = written.as_ref().err().filter(|error| !faulty(error)) {
        break_rule(format!("P{} was refused for no reason: {error}", ctx.host.process));
    }
    ctx.host.note(match written {
        Ok(receipt) if receipt.durability == Reached::Power => Note::Acked,
        Ok(_) => Note::Doubtful,
        Err(_) => Note::Refused,
    });
}

/// What it read is left where the judge finds it, and so is who was accepted: in a file's name, which is there or not.
const READ: &str = "read-";
const ACCEPTED: &str = "accepted-";

fn raise_and_read(ctx: &Ctx) {
    if document(ctx).fence(token(own(ctx))).raise_fence(Wait::Forever).is_err() {
        return;
    }
    if let Ok(Some(bytes)) = document(ctx).read_bytes() {
        leave(ctx, READ, &String::from_utf8_lossy(&bytes));
    }
}

fn leave(ctx: &Ctx, what: &str, text: &str) {
    let path = Path::new(DIRECTORY).join(format!("{what}{text}"));
    // What fails here is not judged.
    let _left = ctx.host.open(&path, Open::New { mode: 0o600 });
}

/// What was left under such a name.
fn left(ctx: &Ctx, what: &str) -> Vec<String> {
    ctx.names().iter().filter_map(|name| name.strip_prefix(what).map(str::to_owned)).collect()
}

fn find(ctx: &Ctx, path: &Path) -> Option<String> {
    let file = ctx.host.open(path, Open::Read).ok()?;
    let mut bytes = [0; 300];
    let length = ctx.host.read(&file, &mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// Deletes the lock file, whoever holds it, and raises the fence beyond the one that is there; leaves word if it did.
fn delete_and_raise(ctx: &Ctx) {
    let _not_there = ctx.host.unlink(Path::new("/d/n.json.lock"));
    let document = document(ctx).durability(tenure::Durability::Process).fence(token(own(ctx) + 1));
    match document.raise_fence(Wait::Forever) {
        Ok(()) => left_word(ctx, own(ctx) + 1),
        Err(error) if error.is_fenced() => ctx.sometimes("a refusal"),
        Err(error) => break_rule(format!("P{} was refused for no reason: {error}", ctx.host.process)),
    }
}

/// Leaves word that this token was accepted.
pub(crate) fn left_word(ctx: &Ctx, token: u32) {
    leave(ctx, ACCEPTED, &token.to_string());
}

/// The tokens that were accepted, in their order.
fn accepted(ctx: &Ctx) -> Result<Vec<u32>, String> {
    let text = find(ctx, Path::new(FILE)).ok_or("the document is gone")?;
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(10)).collect();
    let digits = digits.ok_or_else(|| format!("torn or foreign content: {text:?}"))?;
    Ok(digits.into_iter().filter(|digit| *digit > 0).collect())
}

/// The token in the fence, which is whole; 0 if there is none.
fn fence(ctx: &Ctx) -> Result<u32, String> {
    let Some(text) = find(ctx, Path::new(FENCE)) else { return Ok(0) };
    let number = text.strip_suffix("}\n").and_then(|text| {
        let digits = text.strip_prefix("{\"tenure\":1,\"token\":")?;
        digits.split(',').next()?.parse().ok()
    });
    number.ok_or_else(|| format!("torn or foreign fence: {text:?}"))
}

/// No smaller token after a larger one.
pub(crate) fn judge_order(ctx: &Ctx) -> Result<(), String> {
    match accepted(ctx)? {
        accepted if accepted.is_sorted() => Ok(()),
        accepted => Err(format!("an older token was accepted after a newer one: {accepted:?}")),
    }
}

/// The same, and no token in the document that is larger than the fence.
pub(crate) fn judge_both(ctx: &Ctx) -> Result<(), String> {
    judge_order(ctx)?;
    let (accepted, fence) = (accepted(ctx)?, fence(ctx)?);
    match accepted.last() {
        Some(last) if *last > fence => Err(format!("written with {last}, but the fence is {fence}")),
        _ => Ok(()),
    }
}

fn judge(ctx: &Ctx) -> Result<(), String> {
    judge_both(ctx)?;
    let (accepted, (acked, doubtful)) = (accepted(ctx)?, counted());
    let written = u32::try_from(accepted.len()).map_err(|error| error.to_string())?;
    if written < acked || written > acked + doubtful {
        return Err(format!("lost or invented: {accepted:?}, {acked} acknowledged, {doubtful} in doubt"));
    }
    if let Some(older) = accepted.last().and_then(|last| Token::new(i64::from(*last) - 1)) {
        let late = document(ctx).fence(older).update_bytes(Wait::Forever, Vec::clear);
        if !late.is_err_and(|error| error.is_fenced()) {
            return Err(format!("an older token was accepted after a newer one: {older} after {accepted:?}"));
        }
    }
    document(ctx).update_bytes(Wait::Forever, Vec::clear).map_err(|error| error.to_string())?;
    ctx.expect_names(&["n.json", "n.json.lock", "n.json.fence"])
}

/// What was read behind the raised fence is what is there.
fn judge_raised(ctx: &Ctx) -> Result<(), String> {
    let (read, now) = (left(ctx, READ), find(ctx, Path::new(FILE)));
    match read.first() {
        Some(read) if Some(read) != now.as_ref() => {
            Err(format!("an older token was accepted behind a raised fence: {read:?}, then {now:?}"))
        }
        _ => judge_both(ctx),
    }
}

/// The fence is no smaller than any token that was accepted.
pub(crate) fn judge_fence(ctx: &Ctx) -> Result<(), String> {
    let fence = fence(ctx)?;
    let accepted = left(ctx, ACCEPTED).iter().filter_map(|token| token.parse::<u32>().ok()).max();
    match accepted {
        Some(largest) if largest > fence => {
            Err(format!("the fence was lowered: {largest} was accepted, and it is {fence}"))
        }
        _ => Ok(()),
    }
}
