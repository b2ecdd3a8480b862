//! Leases in PostgreSQL while the server is killed, stopped, a standby, or has a clock that jumps.
#![cfg(feature = "postgres")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

mod postgres_server;

use std::time::{Duration, Instant};

use postgres_server::{Open, PATIENCE, Server, eventually, sql};
use rustix::process::Signal;
use tenure::host::{Host, Native};
use tenure::lease::postgres::Postgres;
use tenure::lease::store::{Answer, Ask, Attempt, Claim, Store};
use tenure::lease::{LossReason, Occupancy};
use tenure::{LeaseStore, Moment, Wait};

/// So long that nothing here passes because a lease's time was over.
const LONG: Duration = Duration::from_secs(3600);

fn soon() -> Moment {
    Native.now() + PATIENCE
}

fn ask(ttl: Duration) -> Ask {
    postgres_server::ask("a", ttl)
}

fn granted(store: &Postgres, ask: &Ask) -> Claim {
    match store.acquire(ask, soon()).unwrap() {
        Attempt::Granted { token, .. } => Claim { name: ask.name.clone(), owner: ask.owner.clone(), token },
        Attempt::Held(entry) => panic!("held: {entry}"),
    }
}

fn refused(store: &Postgres, ask: &Ask) -> tenure::lease::Entry {
    match store.acquire(ask, soon()).unwrap() {
        Attempt::Granted { token, .. } => panic!("granted: {token}"),
        Attempt::Held(entry) => *entry,
    }
}

#[test]
fn a_server_that_is_killed_forgets_nothing_it_has_told() {
    let server = Server::start(&[]);
    // What would forget the last commits, if the sessions of the store did not say otherwise.
    sql(&server.url, "ALTER SYSTEM SET synchronous_commit = off");
    sql(&server.url, "ALTER SYSTEM SET wal_writer_delay = '10s'");
    sql(&server.url, "SELECT pg_reload_conf()");
    let store = LeaseStore::connect(&server.url).unwrap();
    for round in 1..=4 {
        let lease = store.acquire("a", LONG, Wait::within(PATIENCE)).unwrap();
        assert_eq!(lease.token().number(), round, "a token was forgotten");
        server.control("kill", &[]);
        assert!(lease.is_held(), "the holder's time is not over");
        std::thread::scope(|scope| {
            // Asked while the server is away, and answered when it is back.
            let renewal = scope.spawn(|| lease.renew());
            std::thread::sleep(Duration::from_millis(50));
            server.control("restart", &[]);
            renewal.join().unwrap().unwrap();
        });
        lease.release().unwrap();
    }
}

#[test]
fn a_server_that_is_gone_is_told_of_and_bounds_every_call() {
    let server = Server::start(&[]);
    let store = LeaseStore::connect(&server.url).unwrap();
    let lease = store.acquire("a", LONG, Wait::Never).unwrap();
    server.control("kill", &[]);
    let start = Instant::now();
    let error = store.acquire("b", LONG, Wait::within(Duration::from_millis(200))).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("Check that the server runs"), "{error}");
    let error = LeaseStore::connect(&server.url).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert!(lease.is_held());
    // Its release would take its whole time to fail.
    server.control("restart", &[]);
    lease.release().unwrap();
}

#[test]
fn a_server_that_is_stopped_bounds_every_call_and_what_it_grants_later_is_given_back() {
    let server = Server::start(&[]);
    let store = LeaseStore::connect(&server.url).unwrap();
    store.acquire("a", LONG, Wait::Never).unwrap().release().unwrap();
    server.signal(Signal::STOP);
    let start = Instant::now();
    let late = store.acquire("a", LONG, Wait::within(Duration::from_millis(200))).unwrap_err();
    let look = store.list().unwrap_err();
    let took = start.elapsed();
    server.signal(Signal::CONT);
    assert!(late.is_unreachable() && look.is_unreachable(), "{late}, {look}");
    assert!(took < PATIENCE / 2, "{took:?}");
    // Its question was in the socket, and is answered now.
    let other = Postgres::connect(&server.url).unwrap();
    eventually("the lease has been granted", || {
        other.look(&"a".into(), soon()).unwrap().unwrap().token.number() == 2
    });
    eventually("the lease has been given back", || {
        other.look(&"a".into(), soon()).unwrap().unwrap().occupancy == Occupancy::Free
    });
}

#[test]
fn a_question_whose_time_is_over_is_cancelled() {
    let server = Server::start(&[]);
    let store = Postgres::connect(&server.url).unwrap();
    let held = granted(&store, &ask(LONG));
    let busy = Open::transaction(&server.url, "SELECT FROM tenure_lease FOR UPDATE");
    let error = store.renew(&held, LONG, None, Native.now() + Duration::from_millis(200)).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    // By us, that is; the session's own limit would say "statement timeout", and later.
    let log = || std::fs::read_to_string(server.file("log")).unwrap();
    eventually("it is cancelled", || log().contains("canceling statement due to user request"));
    drop(busy);
    assert_eq!(store.renew(&held, LONG, None, soon()).unwrap(), Answer::Done { lasts: LONG });
}

#[test]
fn a_standby_is_refused() {
    let server = Server::start(&[]);
    Postgres::connect(&server.url).unwrap();
    server.control("stop", &[]);
    std::fs::write(server.file("data/standby.signal"), "").unwrap();
    server.control("restart", &[]);
    let error = Postgres::connect(&server.url).unwrap_err();
    assert!(error.is_permission() && error.to_string().contains("standby"), "{error}");
}

#[test]
fn a_clock_that_jumps_forward_within_the_bound_robs_nobody() {
    let server = Server::start(&["--faketime"]);
    let store = Postgres::connect(&format!("{}?clock_bound_ms=600000", server.url)).unwrap();
    let first = ask(LONG);
    let claim = granted(&store, &first);
    server.control("clock", &["+600"]);
    let entry = refused(&store, &ask(LONG));
    assert!(entry.remaining <= LONG, "the jump was seen: {entry}");
    assert_eq!(store.renew(&claim, LONG, None, soon()).unwrap(), Answer::Done { lasts: LONG });
    // Further than that it is another's, with a larger token, and the first one hears so.
    server.control("clock", &["+7200"]);
    assert_eq!(granted(&store, &ask(LONG)).token.number(), 2);
    assert_eq!(store.renew(&claim, LONG, None, soon()).unwrap(), Answer::Lost(LossReason::Stolen));
}

#[test]
fn a_clock_that_jumps_backward_keeps_a_silent_holders_lease_for_its_time_only() {
    let server = Server::start(&["--faketime"]);
    let store = Postgres::connect(&server.url).unwrap();
    let silent = ask(Duration::from_secs(1));
    let claim = granted(&store, &silent);
    server.control("clock", &["-36000"]);
    let second = ask(LONG);
    let entry = refused(&store, &second);
    assert!(entry.remaining <= Duration::from_secs(2), "time to live and bound: {entry}");
    eventually("its time is over", || matches!(store.acquire(&second, soon()), Ok(Attempt::Granted { .. })));
    assert_eq!(store.renew(&claim, LONG, None, soon()).unwrap(), Answer::Lost(LossReason::Stolen));
    // A released lease is free, whatever the clock says of when it was granted.
    store.break_lease(&second.name, "test", soon()).unwrap().unwrap();
    let third = granted(&store, &ask(LONG));
    store.release(&third, soon()).unwrap();
    server.control("clock", &["-72000"]);
    granted(&store, &ask(LONG));
}
