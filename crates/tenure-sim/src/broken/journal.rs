//! What the twins of journals have in common: a journal of lines of one length, done right.

use tenure::host::Errno;

use super::tools::*;
use crate::host::SimFile;
use crate::scenario::{put_stable, written_in_place};
use crate::world::World;
use crate::world::ledger::Entry;

pub(super) use crate::scenario::put_file;
pub(super) use crate::scenarios::journal::{in_doubt, kept};

/// The journal, and what was rotated away of it.
pub(super) const JOURNAL: &str = "/d/j";
pub(super) const OLD: &str = "/d/j.1";

/// The length of `01<11>` and a line's end.
pub(super) const RECORD: usize = 7;

/// No journal yet.
pub(super) fn bare(world: &mut World) {
    written_in_place(world, "j");
    put_stable(world, "j.lock");
}

/// An empty journal.
pub(super) fn empty(world: &mut World) {
    bare(world);
    put_file(world, "j", b"");
}

/// A journal with one record.
pub(super) fn one_record(world: &mut World) {
    bare(world);
    put_file(world, "j", b"01<90>\n");
    kept(world, 1, 90);
}

pub(super) fn lock(ctx: &Ctx) -> Option<tenure::Held<crate::host::Sim>> {
    Lock::flock_on(ctx.host, "/d/j.lock").acquire(Wait::Forever).ok()
}

pub(super) fn open(ctx: &Ctx, path: &str) -> Option<SimFile> {
    ctx.host.open(Path::new(path), Open::ReadWrite).ok()
}

/// The payload of this process.
pub(super) fn own(ctx: &Ctx) -> u32 {
    10 * (u32::try_from(ctx.host.process).expect("few processes") + 1) + 1
}

/// A record, if these bytes are one.
pub(super) fn record(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix(">\n")?;
    let (sequence, payload) = text.split_once('<')?;
    let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(sequence) && is_number(payload)).then_some(())?;
    Some((sequence.parse().ok()?, format!("<{payload}>").into_bytes()))
}

/// The line at this place; shorter at the end of the file.
pub(super) fn line(ctx: &Ctx, file: &SimFile, number: usize) -> Vec<u8> {
    let mut line = vec![0; RECORD];
    let length = ctx.host.read_at(file, (number * RECORD) as u64, &mut line).unwrap_or(0);
    line.truncate(length);
    line
}

/// The records of a file up to the first that is not whole.
pub(super) fn records(ctx: &Ctx, file: &SimFile) -> Vec<(u64, Vec<u8>)> {
    (0..).map_while(|number| record(&line(ctx, file, number))).collect()
}

/// The sequence behind these records, or behind what was rotated away.
pub(super) fn next(ctx: &Ctx, before: &[(u64, Vec<u8>)]) -> u64 {
    let old = || records(ctx, &open(ctx, OLD)?).last().map(|(last, _)| *last);
    before.last().map(|(last, _)| *last).or_else(old).map_or(1, |last| last + 1)
}

/// Writes a record behind these, as their next; its sequence.
pub(super) fn write(
    ctx: &Ctx,
    file: &SimFile,
    before: &[(u64, Vec<u8>)],
    payload: &[u8],
) -> Result<u64, Errno> {
    let sequence = next(ctx, before);
    let text = [format!("{sequence:02}").as_bytes(), payload, b"\n"].concat();
    ctx.host.write_at(file, (before.len() * RECORD) as u64, &text)?;
    Ok(sequence)
}

/// Appends as it should be done: under the lock, behind the last whole record, of which nothing is left behind, with a sync.
pub(super) fn append(ctx: &Ctx) {
    let payload = ctx.appends(own(ctx));
    let Some(_held) = lock(ctx) else { return };
    let Some(file) = open(ctx, JOURNAL) else { return };
    let before = records(ctx, &file);
    let steps = || {
        ctx.host.truncate(&file, (before.len() * RECORD) as u64)?;
        ctx.host.sync_data(&file)?;
        let sequence = write(ctx, &file, &before, &payload)?;
        ctx.host.sync_data(&file)?;
        Ok::<u64, Errno>(sequence)
    };
    ctx.journal(match steps() {
        Ok(sequence) => Entry::Kept(own(ctx), Some(sequence)),
        Err(_) => Entry::Doubtful(own(ctx)),
    });
}

/// Writes a new file with these lines in place of the journal.
pub(super) fn replace(ctx: &Ctx, lines: &[u8]) -> Result<(), Errno> {
    let name = format!("/d/.j.{:016x}.tenure-tmp", ctx.host.random());
    let file = ctx.host.open(Path::new(&name), NEW)?;
    ctx.host.write(&file, lines)?;
    ctx.host.fsync(&file)?;
    ctx.host.rename(Path::new(&name), Path::new(JOURNAL))?;
    sync_directory(ctx)
}

pub(super) fn sync_directory(ctx: &Ctx) -> Result<(), Errno> {
    let directory = ctx.host.open(Path::new("/d"), Open::Read)?;
    ctx.host.fsync(&directory)
}

/// Reads all that is there, what was rotated away first.
pub(super) fn judge(ctx: &Ctx) -> Result<(), String> {
    ctx.journal(Entry::Reads(None));
    let id = |path| ctx.host.stat(Path::new(path)).map(|stat| stat.id);
    // A crash in the middle of a rotation leaves one file with both names.
    let paths = if id(OLD) == id(JOURNAL) { &[JOURNAL][..] } else { &[OLD, JOURNAL] };
    for path in paths {
        let file = ctx.host.open(Path::new(path), Open::Read);
        for (sequence, payload) in file.map(|file| records(ctx, &file)).unwrap_or_default() {
            ctx.delivered(sequence, &payload);
        }
    }
    ctx.journal(Entry::End);
    Ok(())
}
