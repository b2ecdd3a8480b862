//! What the twins have in common: the calls, without the care.

pub(super) use std::path::Path;

pub(super) use tenure::host::{Host, Mode, Open};
pub(super) use tenure::{Lock, Wait};

pub(super) use crate::op::{Fault, Note};
pub(super) use crate::scenario::{Ctx, Scenario, Setting, nothing};
pub(super) use crate::scenarios::document::{FILE, judge_count};
pub(super) use crate::scenarios::lockfile::{EXPIRY, LIFETIME, LOCK, expect_broken};
pub(super) use crate::world::power::Durability;

use tenure::Moment;
use tenure::host::{Errno, Process};

use crate::host::{SimFile, with_world};
use crate::scenario::put_file;
use crate::scenarios::document::{read as read_document, zero};
use crate::scenarios::lockfile::{another_machine, mark_lock};
use crate::world::World;

/// The guard of the twins that have one.
pub(super) const GUARD: &str = "/d/a.lock.guard";

/// The lock file of the document.
pub(super) const SIDECAR: &str = "/d/n.json.lock";

/// How a new file is opened.
pub(super) const NEW: Open = Open::New { mode: 0o644 };

/// A dead process's lock file lies there.
pub(super) fn stale(world: &mut World) {
    put_file(world, "a.lock", b"77");
}

/// Whoever takes the lock file from a process that holds the lock breaks a rule.
pub(super) fn marked(world: &mut World) {
    mark_lock(world);
}

/// Every other process runs on another machine of the same name.
pub(super) fn two_machines(world: &mut World) {
    another_machine(world);
}

/// The second process starts when the first has ended, and has its pid.
pub(super) fn reused_pid(world: &mut World) {
    world.start_after(1, 0);
    world.processes[1].pid = world.processes[0].pid;
}

/// A document that holds 0.
pub(super) fn counter(world: &mut World) {
    zero(world);
}

/// For twins that are caught before the end.
pub(super) fn anything(_ctx: &Ctx) -> Result<(), String> {
    Ok(())
}

pub(super) fn break_rule(rule: &str) {
    with_world(|world| world.check.break_rule(rule.to_owned()));
}

/// The process's own pid, as text.
pub(super) fn pid(ctx: &Ctx) -> String {
    ctx.host.identity().pid.to_string()
}

/// Whether some process has this pid, however young.
pub(super) fn is_alive(ctx: &Ctx, pid: &str) -> bool {
    pid.parse().is_ok_and(|pid| matches!(ctx.host.process(pid), Ok(Process::Running { .. })))
}

pub(super) fn read(ctx: &Ctx, path: &str) -> Option<String> {
    let file = ctx.host.open(Path::new(path), Open::Read).ok()?;
    let mut bytes = [0; 200];
    let length = ctx.host.read(&file, &mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// Creates a file, then writes into it.
pub(super) fn create(ctx: &Ctx, path: &str, text: &str) -> Result<(), Errno> {
    let file = ctx.host.open(Path::new(path), NEW)?;
    ctx.host.write(&file, text.as_bytes()).map(drop)
}

pub(super) fn open_or_create(ctx: &Ctx, path: &str) -> Result<SimFile, Errno> {
    match ctx.host.open(Path::new(path), Open::Read) {
        Err(Errno::NOENT) => match ctx.host.open(Path::new(path), NEW) {
            Err(Errno::EXIST) => ctx.host.open(Path::new(path), Open::Read),
            created => created,
        },
        opened => opened,
    }
}

/// A finished file under a name of its own.
pub(super) fn temporary(ctx: &Ctx, text: &str) -> String {
    let path = format!("/d/.a.lock.{:016x}.tenure-tmp", ctx.host.random());
    // What fails here shows at the link.
    let _shown_later = create(ctx, &path, text);
    path
}

/// Whether the finished file became the lock file.
pub(super) fn link(ctx: &Ctx, temporary: &str) -> bool {
    ctx.host.link(Path::new(temporary), Path::new(LOCK)).is_ok()
}

pub(super) fn rename(ctx: &Ctx, from: &str, to: &str) {
    let _shown_later = ctx.host.rename(Path::new(from), Path::new(to));
}

pub(super) fn unlink(ctx: &Ctx, path: &str) {
    let _gone_already = ctx.host.unlink(Path::new(path));
}

/// The guard, if it can be had at once: held while the file is open.
pub(super) fn guard(ctx: &Ctx) -> Option<SimFile> {
    let file = open_or_create(ctx, GUARD).ok()?;
    (ctx.host.try_flock(&file, Mode::Exclusive) == Ok(true)).then_some(file)
}

/// The server's clock.
pub(super) fn server_time(ctx: &Ctx) -> i128 {
    let path = temporary(ctx, "");
    let time = ctx.host.stat(Path::new(&path)).map_or(0, |stat| stat.modified_ns);
    unlink(ctx, &path);
    time
}

/// A lock with a lifetime, taken as it should be: the temporary name to remove, and when the lifetime ends.
pub(super) fn acquire_limited(ctx: &Ctx) -> Option<(String, Moment)> {
    let began = ctx.host.now();
    let temporary = temporary(ctx, &pid(ctx));
    if link(ctx, &temporary) {
        return Some((temporary, began + LIFETIME));
    }
    let old = || {
        let stat = ctx.host.stat(Path::new(LOCK)).ok()?;
        Some(server_time(ctx) - stat.modified_ns > EXPIRY.as_nanos().cast_signed() - 500_000_000)
    };
    if old() == Some(true)
        && let Some(_guard) = guard(ctx)
        && old() == Some(true)
    {
        let began = ctx.host.now();
        let fresh = self::temporary(ctx, &pid(ctx));
        rename(ctx, &fresh, LOCK);
        return Some((temporary, began + LIFETIME));
    }
    unlink(ctx, &temporary);
    None
}

/// The number in the document.
pub(super) fn read_number(ctx: &Ctx) -> Result<u32, String> {
    read_document(ctx)
}

/// How a twin saves a document, right but for one thing.
#[derive(Clone, Copy)]
pub(super) struct Save {
    /// Writes until all is written.
    pub(super) loops: bool,
    /// Syncs the file before the rename, and not after it.
    pub(super) syncs_first: bool,
    /// Syncs the directory.
    pub(super) syncs_directory: bool,
}

impl Save {
    /// As it should be.
    pub(super) const WHOLE: Save = Save { loops: true, syncs_first: true, syncs_directory: true };
}

/// Puts a number in place of the document; `true` acknowledges it.
pub(super) fn save(ctx: &Ctx, number: u32, how: Save) -> bool {
    let name = format!("/d/.n.json.{:016x}.tenure-tmp", ctx.host.random());
    let path = Path::new(&name);
    let text = number.to_string().into_bytes();
    let steps = || {
        let file = ctx.host.open(path, NEW)?;
        let mut left = &text[..];
        while !left.is_empty() {
            let written = ctx.host.write(&file, left)?;
            left = if how.loops { &left[written..] } else { &[] };
        }
        if how.syncs_first {
            ctx.host.fsync(&file)?;
        }
        ctx.host.rename(path, Path::new(FILE))?;
        if !how.syncs_first {
            ctx.host.fsync(&file)?;
        }
        if how.syncs_directory {
            let directory = ctx.host.open(Path::new("/d"), Open::Read)?;
            ctx.host.fsync(&directory)?;
        }
        Ok::<(), Errno>(())
    };
    steps().is_ok()
}
