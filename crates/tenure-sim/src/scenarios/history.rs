//! Kept versions, undo, and several documents together.

use std::path::Path;

use tenure::document::{Value, update_all};
use tenure::host::{Host, Open};
use tenure::{Document, Reached, Receipt, Result, Wait};

use super::document::{FAULTS, FILE, document, judge_count, read, zero};
use crate::host::Sim;
use crate::op::{Fault, Note};
use crate::scenario::{Ctx, DIRECTORY, Scenario, Setting, counted, put_file, put_stable};
use crate::world::World;
use crate::world::power::Durability;

/// More than any run makes.
const VERSIONS: usize = 9;

/// The scenarios of what stands beside a document.
pub(super) fn all() -> Vec<Scenario> {
    let base = Scenario {
        name: "",
        about: "",
        hazards: "U8 U11 U12",
        setup: |world| {
            zero(world);
            put_stable(world, "n.json.lock");
        },
        body: keep_and_add,
        judge: judge_versions,
        settings: Vec::new(),
        sometimes: &[],
        caught_as: None,
    };
    vec![
        Scenario {
            name: "keep-versions",
            about: "each process adds one, and keeps what was there",
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
                Setting::of(2, 2),
                Setting::of(3, 1).long(),
            ],
            ..base
        },
        Scenario {
            name: "keep-versions-power",
            about: "what was there before an acknowledged change is kept through a power loss",
            judge: judge_acknowledged_versions,
            settings: vec![
                Setting::of(1, 2).power(Durability::Minimal),
                Setting::of(2, 1).power(Durability::Minimal),
            ],
            ..base
        },
        Scenario {
            name: "undo",
            about: "one process goes back while another adds one: nothing is lost",
            setup: |world| {
                put_file(world, "n.json", b"1");
                put_file(world, "n.json.~1~", b"0");
                put_stable(world, "n.json.lock");
            },
            body: |ctx| match ctx.host.process {
                0 => drop(document(ctx).undo(Wait::Forever)),
                _ => drop(document(ctx).update_bytes(Wait::Forever, add)),
            },
            judge: judge_undo,
            settings: vec![
                Setting::of(2, 1).crashes(1),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(1, 1).power(Durability::Minimal),
                Setting::of(2, 1).power(Durability::Minimal),
            ],
            ..base
        },
        Scenario {
            name: "update-all",
            about: "each process adds one to two documents, named in opposite orders",
            hazards: "U1 U11 U12",
            setup: two_documents,
            body: add_to_both,
            judge: judge_both,
            settings: vec![
                Setting::of(2, 1),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).crashes(1),
                Setting::of(1, 1).power(Durability::Minimal),
            ],
            ..base
        },
    ]
}

fn add(bytes: &mut Vec<u8>) {
    let number: u64 =
        std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1_000_000);
    *bytes = (number + 1).to_string().into_bytes();
}

fn keep_and_add(ctx: &Ctx) {
    ctx.each_round(|| {
        ctx.host.note(Note::Begin);
        let updated = document(ctx).keep_versions(VERSIONS).update_bytes(Wait::Forever, add);
        acknowledge(ctx, updated.map(|receipt| vec![receipt]));
    });
}

fn acknowledge(ctx: &Ctx, updated: Result<Vec<Receipt>>) {
    ctx.host.note(match updated {
        Ok(receipts) if receipts.iter().all(|receipt| receipt.durability == Reached::Power) => Note::Acked,
        // Visible, and perhaps not durable, or not everywhere: the receipt or the error says so.
        Ok(_) => Note::Doubtful,
        Err(error) if error.to_string().contains("Changed before this one") => Note::Doubtful,
        Err(_) => Note::Refused,
    });
}

/// The number that a file beside the document holds.
fn number_in(ctx: &Ctx, name: &str) -> std::result::Result<Option<u32>, String> {
    let path = Path::new(DIRECTORY).join(name);
    let Ok(file) = ctx.host.open(&path, Open::Read) else { return Ok(None) };
    let mut bytes = [0; 20];
    let length = ctx.host.read(&file, &mut bytes).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    text.trim().parse().map(Some).map_err(|_| format!("torn or foreign content in {name}: {text:?}"))
}

/// The numbers that are kept, in their order.
pub(crate) fn kept(ctx: &Ctx) -> std::result::Result<Vec<u32>, String> {
    let numbers = (1..=9).map(|n| number_in(ctx, &format!("n.json.~{n}~")));
    Ok(numbers.collect::<std::result::Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Every number below the present one is kept: no change was made whose predecessor is gone.
pub(crate) fn judge_versions(ctx: &Ctx) -> std::result::Result<(), String> {
    judge_count(ctx)?;
    expect_versions(ctx, read(ctx)?)?;
    no_temporaries(ctx)
}

fn judge_acknowledged_versions(ctx: &Ctx) -> std::result::Result<(), String> {
    judge_count(ctx)?;
    expect_versions(ctx, counted().0)
}

fn expect_versions(ctx: &Ctx, below: u32) -> std::result::Result<(), String> {
    let kept = kept(ctx)?;
    match (0..below).find(|number| !kept.contains(number)) {
        Some(missing) => Err(format!("version is missing: {missing} was replaced, and {kept:?} are kept")),
        None => Ok(()),
    }
}

/// One more update sweeps what lies about.
fn no_temporaries(ctx: &Ctx) -> std::result::Result<(), String> {
    for name in ctx.names().iter().filter(|name| name.ends_with(".json")) {
        let document = Document::open_on(ctx.host, Path::new(DIRECTORY).join(name));
        document.update_bytes(Wait::Forever, Vec::clear).map_err(|error| error.to_string())?;
    }
    match ctx.names().iter().find(|name| name.ends_with("tenure-tmp")) {
        Some(name) => Err(format!("litter: {name}")),
        None => Ok(()),
    }
}

/// What was there is in the document, kept, or set aside.
fn judge_undo(ctx: &Ctx) -> std::result::Result<(), String> {
    let now = read(ctx)?;
    let (kept, undone) = (number_in(ctx, "n.json.~1~")?, number_in(ctx, "n.json.~undone~")?);
    let is_right = match (kept, undone) {
        // Not undone, or not yet.
        (Some(0), None) => matches!(now, 1 | 2),
        // The power may take the other's change back, and leave what was set aside of it.
        (Some(0), Some(aside)) => matches!((now, aside), (1 | 2, 1 | 2)),
        (None, Some(aside)) => matches!((now, aside), (0, 1 | 2) | (1, 1)),
        _ => false,
    };
    match is_right {
        true => no_temporaries(ctx),
        false => Err(format!("lost by an undo: {now} is there, {kept:?} kept, {undone:?} set aside")),
    }
}

const OTHER: &str = "/d/m.json";

pub(crate) fn two_documents(world: &mut World) {
    zero(world);
    put_file(world, "m.json", b"0");
    put_stable(world, "n.json.lock");
    put_stable(world, "m.json.lock");
}

fn add_to_both(ctx: &Ctx) {
    let mut documents = [FILE, OTHER].map(|path| Document::<Sim>::open_on(ctx.host, path));
    if ctx.host.process % 2 == 1 {
        documents.reverse();
    }
    ctx.host.note(Note::Begin);
    let updated = update_all(&documents, Wait::Forever, |values| {
        for value in values {
            let number: u64 = value.to_string().parse().unwrap_or(1_000_000);
            *value = Value::Number((number + 1).to_string());
        }
    });
    acknowledge(ctx, updated);
}

fn judge_both(ctx: &Ctx) -> std::result::Result<(), String> {
    judge_count(ctx)?;
    let (acked, doubtful) = counted();
    let other = number_in(ctx, "m.json")?.ok_or("the other document is gone")?;
    match other < acked || other > acked + doubtful {
        true => Err(format!(
            "lost or invented update of the other: {other}, {acked} acknowledged, {doubtful} in doubt"
        )),
        false => no_temporaries(ctx),
    }
}
