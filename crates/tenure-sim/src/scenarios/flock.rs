//! `Lock::flock`.

use std::path::Path;
use std::time::Duration;

use tenure::host::Host;
use tenure::{Lock, Wait};

use crate::op::Fault;
use crate::scenario::{Ctx, Scenario, Setting, nothing};

const LOCK: &str = "/d/a.lock";

/// As long as a waiter sleeps at most without a look.
pub(super) const BACKSTOP: Duration = Duration::from_millis(250);

/// The scenarios of the flock kind.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "flock",
            about: "flock kind: acquire, waiting as long as it takes, and release",
            hazards: "U3 U13 W2 W4",
            setup: nothing,
            body: |ctx| {
                ctx.each_round(|| {
                    let lock = Lock::flock_on(ctx.host, LOCK);
                    let held = match lock.try_acquire() {
                        Ok(Some(held)) => Ok(held),
                        _ => {
                            ctx.sometimes("waits");
                            lock.acquire(Wait::Forever)
                        }
                    };
                    if let Ok(held) = held {
                        ctx.hold(held);
                    }
                });
            },
            judge,
            settings: vec![
                Setting::of(2, 2).crashes(2),
                Setting::of(3, 1).crashes(2),
                Setting::of(2, 1).fault(&[Fault::Io, Fault::TooManyFiles, Fault::NoSpace, Fault::LostEvent]),
                Setting::of(2, 1).crashes(1).reuse(),
                Setting::of(2, 1).crashes(1).ticks(2, BACKSTOP),
                Setting::of(3, 2).crashes(1).long(),
            ],
            sometimes: &["waits"],
            caught_as: None,
        },
        Scenario {
            name: "flock-deleted",
            about: "flock kind, while somebody deletes the lock file between two holders",
            hazards: "U13",
            setup: nothing,
            body: |ctx| match ctx.host.process {
                // Whoever deletes a lock file holds it, as a tidy but wrong program would.
                0 => {
                    let lock = Lock::flock_on(ctx.host, LOCK);
                    if let Ok(held) = lock.acquire(Wait::Forever) {
                        ctx.critical();
                        let _gone_already = ctx.host.unlink(Path::new(LOCK));
                        drop(held);
                    }
                }
                _ => {
                    if let Ok(held) = Lock::flock_on(ctx.host, LOCK).acquire(Wait::Forever) {
                        ctx.hold(held);
                    }
                }
            },
            judge,
            settings: vec![Setting::of(2, 1).crashes(1).reuse(), Setting::of(3, 1)],
            sometimes: &[],
            caught_as: None,
        },
    ]
}

fn judge(ctx: &Ctx) -> Result<(), String> {
    let held = Lock::flock_on(ctx.host, LOCK).acquire(Wait::Forever).map_err(|error| error.to_string())?;
    ctx.hold(held);
    ctx.expect_names(&["a.lock"])
}
