//! What an update costs beyond the disk's part of it.
//!
//! The base writes the same number of bytes with the least that makes them durable: a temporary file, fsync,
//! rename, fsync of the directory. It neither locks nor reads nor parses. Both work on the same disk, in
//! directories of their own.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tenure::{Document, Durability, Reached, Wait};

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};

const PLAN: Plan = Plan { rounds: 30, samples: 15, batch: 1 };
const GOAL: f64 = 1.15;

/// What a small program remembers.
#[derive(Serialize, Deserialize)]
struct State {
    visits: u64,
    last_visitor: String,
    closed: bool,
    rooms: Vec<String>,
}

pub(crate) fn run(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let (bare_directory, tenure_directory) =
        (setting.directory.join("bare"), setting.directory.join("tenure"));
    std::fs::create_dir_all(&bare_directory)?;
    std::fs::create_dir_all(&tenure_directory)?;

    // The first count is so high that no count of the run has more digits.
    let state = State {
        visits: 1_000_000,
        last_visitor: "Ada".to_owned(),
        closed: false,
        rooms: ["hall", "library", "kitchen"].map(str::to_owned).to_vec(),
    };
    let bytes = serde_json::to_vec_pretty(&state)?;
    let path = tenure_directory.join("state.json");
    std::fs::write(&path, &bytes)?;
    let document = Document::open(&path).durability(Durability::Power);

    let tenure = || {
        let receipt = document.update(Wait::Forever, |state: &mut State| state.visits += 1)?;
        match receipt.changed && receipt.durability == Reached::Power {
            true => Ok(()),
            false => Err(format!("the update did not do its work: {receipt:?}").into()),
        }
    };
    let contenders = vec![
        timed("bare write+fsync+rename+fsync", None, plan, || write_bare(&bare_directory, &bytes)),
        timed("tenure Document::update", Some(GOAL), plan, tenure),
    ];
    side_by_side(contenders, plan)
}

fn write_bare(directory: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = directory.join("state.json.tmp");
    let mut file = File::create_new(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, directory.join("state.json"))?;
    File::open(directory)?.sync_all()?;
    Ok(())
}
