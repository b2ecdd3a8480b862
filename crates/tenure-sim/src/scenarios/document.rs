//! `Document`: update and replace.

use std::path::Path;

use tenure::host::Host;
use tenure::{Document, Wait};

use crate::host::Sim;
use crate::op::{Fault, Note};
use crate::scenario::{Ctx, Scenario, Setting, counted, nothing, put_file, put_stable};
use crate::world::World;
use crate::world::power::Durability;

/// The document.
pub(crate) const FILE: &str = "/d/n.json";

pub(super) const FAULTS: &[Fault] = &[Fault::Io, Fault::NoSpace, Fault::TooManyFiles, Fault::Short];

/// The scenarios of documents.
pub(super) fn all() -> Vec<Scenario> {
    let base = Scenario {
        name: "",
        about: "",
        hazards: "",
        setup: |world| {
            zero(world);
            put_stable(world, "n.json.lock");
        },
        body: |_| {},
        judge,
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    };
    vec![
        Scenario {
            name: "update",
            about: "each process adds one, several times",
            hazards: "U1 U2 U3 U6 U7 U8 U12",
            body: |ctx| ctx.each_round(|| add_one(ctx)),
            settings: vec![
                Setting::of(2, 1).crashes(2),
                Setting::of(2, 2),
                Setting::of(3, 1),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 1).power(Durability::Minimal),
                Setting::of(2, 1).crashes(1).power(Durability::Ordered),
                Setting::of(2, 1).crashes(1).reuse(),
                Setting::of(2, 2).crashes(1).long(),
                Setting::of(3, 1).crashes(1).long(),
                Setting::of(2, 1).crashes(1).power(Durability::Minimal).long(),
            ],
            ..base
        },
        Scenario {
            name: "update-missing",
            about: "the first updates of a document that does not exist yet",
            hazards: "U1 U12",
            setup: nothing,
            body: add_one,
            settings: vec![Setting::of(2, 1).crashes(1), Setting::of(2, 1).power(Durability::Minimal)],
            ..base
        },
        Scenario {
            name: "update-lock-deleted",
            about: "somebody deletes the document's lock file at any moment",
            hazards: "U13",
            setup: |world| {
                zero(world);
                put_file(world, "n.json.lock", b"");
            },
            body: |ctx| match ctx.host.process {
                0 => {
                    let _not_there = ctx.host.unlink(Path::new("/d/n.json.lock"));
                }
                _ => add_one(ctx),
            },
            // What nobody can promise: the lock file is deleted between the last look at it and the rename.
            judge: |ctx| read(ctx).map(drop),
            settings: vec![Setting::of(3, 1)],
            ..base
        },
        Scenario {
            name: "replace",
            about: "whole documents are put in place; a reader without a lock sees whole ones only",
            hazards: "U4 U6",
            body: |ctx| match ctx.host.process {
                0 => {
                    let _shown_later = document(ctx).replace_bytes(Wait::Forever, b"1");
                }
                1 => {
                    if let Err(problem) = read(ctx) {
                        crate::host::with_world(|world| world.check.break_rule(problem));
                    }
                }
                _ => add_one(ctx),
            },
            judge: |ctx| read(ctx).map(drop),
            settings: vec![Setting::of(2, 1).crashes(1), Setting::of(3, 1)],
            ..base
        },
    ]
}

/// A document that holds 0.
pub(crate) fn zero(world: &mut World) {
    put_file(world, "n.json", b"0");
}

pub(super) fn document(ctx: &Ctx) -> Document<Sim> {
    Document::open_on(ctx.host, FILE)
}

fn add_one(ctx: &Ctx) {
    ctx.host.note(Note::Begin);
    let updated = document(ctx).update_bytes(Wait::Forever, |bytes| {
        let text = if bytes.is_empty() { "0" } else { std::str::from_utf8(bytes).unwrap_or("?") };
        let number: u64 = text.parse().unwrap_or(1_000_000);
        *bytes = (number + 1).to_string().into_bytes();
    });
    ctx.host.note(match updated {
        Ok(receipt) if receipt.durability == tenure::Reached::Power => Note::Acked,
        // Visible, and perhaps not durable: the receipt says so.
        Ok(_) => Note::Doubtful,
        Err(_) => Note::Refused,
    });
}

/// The number that the document holds, which is whole.
pub(crate) fn read(ctx: &Ctx) -> Result<u32, String> {
    let bytes = document(ctx).read_bytes().map_err(|error| error.to_string())?;
    let bytes = bytes.unwrap_or_else(|| b"0".to_vec());
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.parse().map_err(|_| format!("torn or foreign content: {text:?}"))
}

/// acked <= counted <= acked + in doubt; and after one more update nothing lies about.
pub(crate) fn judge(ctx: &Ctx) -> Result<(), String> {
    judge_count(ctx)?;
    document(ctx).update_bytes(Wait::Forever, Vec::clear).map_err(|error| error.to_string())?;
    ctx.expect_names(&["n.json", "n.json.lock"])
}

/// acked <= counted <= acked + in doubt.
pub(crate) fn judge_count(ctx: &Ctx) -> Result<(), String> {
    let (counted, (acked, doubtful)) = (read(ctx)?, counted());
    match counted < acked || counted > acked + doubtful {
        true => Err(format!(
            "lost or invented update: {counted} counted, {acked} acknowledged, {doubtful} in doubt"
        )),
        false => Ok(()),
    }
}
