//! What the twins of fenced documents have in common: a fence as the library keeps it, but for one mistake.

use tenure::host::Errno;

use super::tools::*;

pub(super) use crate::scenarios::fence::{
    FENCE, fenced, judge_both, judge_fence, judge_order, left_word, own,
};

/// Whether the fence lets this process's token pass.
pub(super) fn admits(ctx: &Ctx) -> bool {
    let text = read(ctx, FENCE).unwrap_or_default();
    let number =
        text.trim_end().strip_prefix("{\"tenure\":1,\"token\":").and_then(|text| text.strip_suffix('}'));
    number.and_then(|number| number.parse().ok()).is_none_or(|fence: u32| own(ctx) >= fence)
}

/// A finished fence under a name of its own, synced if it is to be.
pub(super) fn prepared(ctx: &Ctx, sync: bool) -> Result<String, Errno> {
    let path = format!("/d/.n.json.{:016x}.tenure-tmp", ctx.host.random());
    let file = ctx.host.open(Path::new(&path), NEW)?;
    ctx.host.write(&file, format!("{{\"tenure\":1,\"token\":{}}}\n", own(ctx)).as_bytes())?;
    if sync {
        ctx.host.fsync(&file)?;
    }
    Ok(path)
}

/// Raises the fence to this process's token; whether that went well.
pub(super) fn raise(ctx: &Ctx, sync: bool) -> bool {
    let steps = || {
        let path = prepared(ctx, sync)?;
        ctx.host.rename(Path::new(&path), Path::new(FENCE))?;
        if sync {
            let directory = ctx.host.open(Path::new("/d"), Open::Read)?;
            ctx.host.fsync(&directory)?;
        }
        Ok::<(), Errno>(())
    };
    steps().is_ok()
}

/// Writes the own token behind those that are there.
pub(super) fn append(ctx: &Ctx) -> bool {
    read_number(ctx).is_ok_and(|number| save(ctx, number * 10 + own(ctx), Save::WHOLE))
}

pub(super) fn lock(ctx: &Ctx) -> Option<tenure::Held<crate::host::Sim>> {
    Lock::flock_on(ctx.host, SIDECAR).acquire(Wait::Forever).ok()
}
