//! The thread that renews a lease, and finds out when it is lost.
//!
//! It is a thread of the system, so that no executor that is busy with other things lets a lease expire. It renews after a third
//! of the time to live, so that two renewals may fail; one that fails is tried again soon, with growing pauses. No attempt outlasts
//! the deadline: from then on the lease is lost, whether the store has answered or not.

use std::sync::Arc;

use super::hold::Hold;
use crate::host::{self, Host};

pub(super) fn start<H: Host>(hold: &Arc<Hold<H>>) -> host::Result<()> {
    let kept = hold.clone();
    hold.host.spawn(Box::new(move || keep(&kept)))
}

fn keep<H: Host>(hold: &Hold<H>) {
    let mut waiter = hold.host.waiter();
    hold.kept_by(hold.host.waker(&waiter));
    // Without a next step the lease has been given up, or its loss has been told.
    while let Some(next) = hold.next_step() {
        let now = hold.host.now();
        if now < next.at {
            hold.host.wait(&mut waiter, Some(next.at));
        } else if next.renews {
            // A failure is noted, and a loss told, by `renew` itself.
            let _noted = hold.renew();
        }
    }
}
