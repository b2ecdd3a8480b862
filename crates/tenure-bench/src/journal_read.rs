//! How fast a journal of 256 MB is read and verified; the base reads the file's bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tenure::{Durability, Journal, Wait};

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};

const PLAN: Plan = Plan { rounds: 5, samples: 1, batch: 1 };

const BATCHES: usize = 2_000;
const BATCH: usize = 1_000;

pub(crate) fn run(setting: &Setting) -> Result<Finding> {
    let path = setting.directory.join("large.journal");
    let journal = Journal::open(&path).durability(Durability::Process);
    for _ in 0..BATCHES {
        journal.append(Wait::Forever, std::iter::repeat_n([b'r'; 100], BATCH))?;
    }
    let plan = setting.plan(PLAN);
    let contenders = vec![
        timed("read(2) of all bytes", None, plan, || bytes(&path)),
        timed("tenure verify", None, plan, || {
            let report = journal.verify(|_, _| {})?;
            expect(usize::try_from(report.records)?)
        }),
        timed("tenure read, record by record", None, plan, || {
            let mut reader = journal.read_from(None)?;
            let mut count = 0;
            while reader.next()?.is_some() {
                count += 1;
            }
            expect(count)
        }),
    ];
    let size = std::fs::metadata(&path)?.len();
    eprintln!("  the file has {:.1} MB", size as f64 / 1e6);
    side_by_side(contenders, plan)
}

fn expect(count: usize) -> Result<()> {
    match count == BATCHES * BATCH {
        true => Ok(()),
        false => Err(format!("{count} records were found").into()),
    }
}

fn bytes(path: &Path) -> Result<()> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 256 * 1024]);
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}
