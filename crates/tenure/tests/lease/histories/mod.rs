//! Histories in the manner of Jepsen: five processes lease, read, let time pass, write and release, while they are stopped,
//! continued and killed, their keepers are blocked, connections are cut and fall silent, the server is killed, and its clock
//! jumps. [`checker`] judges what they noted. It must reject the two twins in the same run: a lease that is taken by a look
//! and then a write, and a write that is not fenced.
//!
//! Each run takes some seconds. `TENURE_LONG=600` makes each of those that must hold take so many.

mod checker;
pub(crate) mod client;
mod protected;
#[cfg(feature = "postgres")]
mod proxy;
#[cfg(feature = "postgres")]
mod server;
mod storm;

use std::time::Duration;

use self::checker::{Bounds, Wrong, check};
use self::storm::{Ills, Plan, Storm};
use crate::place::Place;

const BOUNDS: Bounds = Bounds { beliefs: true, takeover: Duration::from_secs(30) };

/// How long a run takes that must hold.
fn long() -> Duration {
    match std::env::var("TENURE_LONG") {
        Ok(seconds) => Duration::from_secs(seconds.parse().expect("TENURE_LONG is a number of seconds")),
        Err(_) => Duration::from_secs(8),
    }
}

/// What each client may suffer, whatever keeps its lease.
const PROCESSES: Ills = Ills { stops: true, kills: true, stalls: true };

#[test]
fn sqlite_keeps_its_word_to_clients_that_are_stopped_and_killed() {
    let place = Place::sqlite();
    let plan = Plan { ills: PROCESSES, fenced: true, late: 1, lasts: long(), ..Plan::on(&place, "set.json") };
    let (history, counts) = Storm::start(plan).run(&mut []);
    println!("SQLite: {counts:?}");
    assert_eq!(check(&history, BOUNDS), []);
}

#[test]
fn a_write_without_a_fence_is_found_out() {
    let place = Place::sqlite();
    let ills = Ills { kills: false, stalls: false, ..PROCESSES };
    // One that was stopped before it read may come late and do no harm; three were not.
    let plan = Plan { ills, late: 3, lasts: Duration::from_secs(5), ..Plan::on(&place, "set.db") };
    let (history, counts) = Storm::start(plan).run(&mut []);
    let wrong = check(&history, BOUNDS);
    println!("without a fence: {counts:?} {wrong:?}");
    assert!(
        wrong.iter().any(|wrong| matches!(wrong, Wrong::Lost { .. })),
        "the twin lost nothing: {counts:?}"
    );
    // The lease itself did what it can.
    let leases = |wrong: &Wrong| !matches!(wrong, Wrong::Lost { .. } | Wrong::OldTokenWrote { .. });
    assert!(!wrong.iter().any(leases), "{wrong:?}");
}

#[test]
fn a_lease_that_looks_before_it_takes_is_found_out() {
    let place = Place::sqlite();
    let path = place.directory().join("naive.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(client::NAIVE).unwrap();
    let ills = Ills { stops: false, kills: false, stalls: false };
    let plan = Plan { ills, fenced: true, lasts: Duration::from_secs(4), ..Plan::on(&place, "set.json") };
    let plan = Plan { store: format!("naive:{}", path.display()), ..plan };
    let (history, counts) = Storm::start(plan).run(&mut []);
    let wrong = check(&history, BOUNDS);
    println!("the naive lease: {counts:?} {} {:?}", wrong.len(), wrong.first());
    assert!(
        wrong.iter().any(|wrong| matches!(wrong, Wrong::TokenTwice { .. })),
        "never two holders: {wrong:?}"
    );
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_keeps_its_word_whatever_happens_to_server_network_and_clients() {
    let mut server = server::Ailing::start(server::Jumps::WithinTheBound);
    let place = Place::sqlite();
    let plan =
        Plan { ills: PROCESSES, fenced: true, grants: 20, lasts: long(), ..Plan::on(&place, "set.db") };
    let plan = Plan { store: server.address(), ..plan };
    let (history, counts) = Storm::start(plan).run(&mut [&mut server]);
    println!("PostgreSQL: {counts:?}, {server}");
    assert_eq!(check(&history, BOUNDS), []);
}

/// Then two may believe that they have the lease, but the fence still lets one write.
#[cfg(feature = "postgres")]
#[test]
fn a_clock_that_jumps_beyond_the_bound_costs_no_write() {
    let mut server = server::Ailing::start(server::Jumps::BeyondTheBound);
    let place = Place::sqlite();
    let plan =
        Plan { ills: PROCESSES, fenced: true, grants: 20, lasts: long(), ..Plan::on(&place, "set.db") };
    let plan = Plan { store: server.address(), ..plan };
    let (history, counts) = Storm::start(plan).run(&mut [&mut server]);
    println!("PostgreSQL's clock: {counts:?}, {server}");
    assert_eq!(check(&history, Bounds { beliefs: false, ..BOUNDS }), []);
    let robbed = check(&history, BOUNDS);
    println!("{} times somebody believed too long", robbed.len());
}
