//! The thread that renews a lock with a lifetime, and finds out when it is lost.
//!
//! It renews after a third of the lifetime, so that two renewals may fail before the lock is lost. A renewal that fails
//! is tried again soon; the deadline is not moved by trying.

use std::sync::Arc;
use std::time::Duration;

use super::hold::Hold;
use crate::host::{self, Host};

/// How many renewals fit into a lifetime.
const BEATS: u32 = 3;

/// How long a renewal that failed is put off, as a part of the lifetime.
const RETRY: u32 = 12;

pub(super) fn start<H: Host>(hold: &Arc<Hold<H>>) -> host::Result<()> {
    let (host, hold) = (hold.lock.host.clone(), hold.clone());
    host.spawn(Box::new(move || keep(&hold)))
}

fn keep<H: Host>(hold: &Hold<H>) {
    let host = &hold.lock.host;
    let lifetime = hold.lifetime.unwrap_or(Duration::MAX);
    let mut waiter = host.waiter();
    hold.kept_by(host.waker(&waiter));
    let mut pause = lifetime / BEATS;
    // Without a deadline the lock has been given up, or its loss is known.
    while let Some(deadline) = hold.deadline() {
        let next = (host.now() + pause).min(deadline);
        while host.now() < next && hold.deadline().is_some() {
            host.wait(&mut waiter, Some(next));
        }
        // A loss is told by `renew` itself, to those who asked to be told.
        pause = lifetime / if hold.renew().is_ok() { BEATS } else { RETRY };
    }
}
