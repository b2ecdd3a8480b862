//! What the twins of combined updates have in common: a batch as the library does it, but for one mistake.

use std::sync::Arc;

use tenure::host::{Answer, Draft, FileId, Outcome, Site, Standing, Wishes};

use super::tools::*;
use crate::host::Sim;
use crate::scenario::put_stable;
use crate::scenarios::combining::told_of;
use crate::world::World;

/// The mistake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The members are told before the write.
    ToldBeforeTheWrite,
    /// The members are told that all is well, whatever became of the write.
    LeaderAloneHears,
    /// Who finds nothing to change is content with what he saw.
    UnchangedAtOnce,
}

/// A document that holds 0; all are threads of the first.
pub(super) fn threads(world: &mut World) {
    counter(world);
    put_stable(world, "n.json.lock");
    for thread in 1..world.processes.len() {
        world.make_thread(thread, 0);
    }
}

fn site() -> Site {
    Site { directory: FileId { device: 0, inode: 0 }, name: "n.json".into() }
}

fn content(number: u32) -> Arc<Vec<u8>> {
    Arc::new(number.to_string().into_bytes())
}

fn number(draft: &Draft) -> u32 {
    let text = draft.content.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// Adds one, in a batch with the others.
pub(super) fn body(ctx: &Ctx, mistake: Mistake) {
    ctx.host.note(Note::Begin);
    let (host, thread) = (ctx.host, ctx.host.thread());
    let leads = host.local(|local| local.join(&site(), thread, true));
    let saved = if leads == Ok(true) { lead(ctx, mistake) } else { follow(ctx, mistake) };
    ctx.host.note(match saved {
        Some(true) => Note::Acked,
        Some(false) => Note::Refused,
        None => return lead_after_all(ctx, mistake),
    });
}

/// The leader left before it had drawn anybody.
fn lead_after_all(ctx: &Ctx, mistake: Mistake) {
    let saved = lead(ctx, mistake) == Some(true);
    ctx.host.note(if saved { Note::Acked } else { Note::Doubtful });
}

fn wake(wakers: impl IntoIterator<Item = std::task::Waker>) {
    wakers.into_iter().for_each(std::task::Waker::wake);
}

fn tell(host: Sim, saved: bool) {
    let outcome: Arc<dyn Outcome> = Arc::new(saved);
    wake(host.local(|local| local.tell(&site(), host.thread(), &outcome)));
}

fn lead(ctx: &Ctx, mistake: Mistake) -> Option<bool> {
    let (host, thread) = (ctx.host, ctx.host.thread());
    let held = Lock::flock_on(host, SIDECAR).acquire(Wait::Forever).ok()?;
    let number = read_number(ctx).ok()? + 1;
    let draft =
        Draft { content: Some(content(number)), unwritten: true, sync: true, wishes: Wishes::default() };
    let mut waiter = host.waiter();
    let waker = host.waker(&waiter);
    let lock = held_file(ctx);
    let mut collected = match host.local(|local| local.hand_on(&site(), thread, lock, draft, &waker)) {
        Ok(first) => {
            wake(first);
            None
        }
        Err(draft) => Some(draft),
    };
    while collected.is_none() {
        host.wait(&mut waiter, None);
        if let Standing::Collected(draft) = host.local(|local| local.standing(&site(), thread, &waker)) {
            collected = Some(draft);
        }
    }
    if mistake == Mistake::ToldBeforeTheWrite {
        tell(host, true);
    }
    let saved = save(ctx, self::number(&collected?), Save::WHOLE);
    drop(held);
    match mistake {
        Mistake::ToldBeforeTheWrite => {}
        Mistake::LeaderAloneHears => tell(host, true),
        Mistake::UnchangedAtOnce => tell(host, saved),
    }
    Some(saved)
}

fn held_file(ctx: &Ctx) -> FileId {
    ctx.host.stat(Path::new(SIDECAR)).map_or(FileId { device: 0, inode: 0 }, |stat| stat.id)
}

fn follow(ctx: &Ctx, mistake: Mistake) -> Option<bool> {
    let (host, thread) = (ctx.host, ctx.host.thread());
    let mut waiter = host.waiter();
    let waker = host.waker(&waiter);
    loop {
        match host.local(|local| local.standing(&site(), thread, &waker)) {
            Standing::Turn(draft) if mistake == Mistake::UnchangedAtOnce => {
                wake(host.local(|local| local.quit(&site(), thread)));
                told_of(ctx, number(&draft).into());
                return Some(false);
            }
            Standing::Turn(draft) => {
                let changed = Answer::Changed(content(number(&draft) + 1), Wishes::default());
                wake(host.local(|local| local.answer(&site(), thread, changed, &waker)));
            }
            Standing::Told(outcome) => {
                let outcome = &*outcome as &dyn std::any::Any;
                return outcome.downcast_ref::<bool>().copied();
            }
            Standing::Leads | Standing::Collected(_) => return None,
            Standing::Waits | Standing::Answered => {
                host.wait(&mut waiter, None);
            }
        }
    }
}
