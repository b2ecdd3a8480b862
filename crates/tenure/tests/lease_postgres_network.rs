//! Leases in PostgreSQL over a network that loses answers, holds questions back, or connects to nobody.
#![cfg(feature = "postgres")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

mod postgres_server;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postgres_server::{Database, PATIENCE, eventually};
use tenure::host::{Host, Native};
use tenure::lease::Occupancy;
use tenure::lease::postgres::Postgres;
use tenure::lease::store::{Answer, Ask, Attempt, Claim, Store};
use tenure::{Moment, Token};

/// So long that nothing here passes because a lease's time was over.
const LONG: Duration = Duration::from_secs(3600);

fn soon() -> Moment {
    Native.now() + PATIENCE
}

fn ask(name: &str) -> Ask {
    postgres_server::ask(name, LONG)
}

fn token(attempt: Attempt) -> Token {
    match attempt {
        Attempt::Granted { token, .. } => token,
        Attempt::Held(entry) => panic!("held: {entry}"),
    }
}

fn nap() {
    std::thread::sleep(Duration::from_millis(2));
}

/// What becomes of bytes on their way.
#[derive(Default)]
struct Wire {
    /// The next answer ends its connection instead of arriving.
    loses_an_answer: AtomicBool,
    /// How many connections, counted from the first, hold back what the client sends.
    held_back: AtomicUsize,
    connections: AtomicUsize,
}

/// A relay in front of the server, and the address that leads through it.
fn relay(url: &str) -> (Arc<Wire>, String) {
    let (front, rest) = url.split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let (wire, server) = (Arc::new(Wire::default()), server.to_owned());
    let shared = wire.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let number = shared.connections.fetch_add(1, Ordering::SeqCst);
            let server = TcpStream::connect(&server).unwrap();
            let (up, down) = (shared.clone(), shared.clone());
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                copy(from, to, || {
                    while number < up.held_back.load(Ordering::SeqCst) {
                        nap();
                    }
                    true
                });
            });
            std::thread::spawn(move || {
                copy(server, client, || !down.loses_an_answer.swap(false, Ordering::SeqCst))
            });
        }
    });
    (wire, format!("{front}@{here}/{database}?sslmode=disable"))
}

/// Copies until an end is gone, or `passes` says that the bytes do not arrive.
fn copy(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut() -> bool) {
    let mut bytes = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !passes() || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // Either may be gone already.
    let _gone = from.shutdown(Shutdown::Both);
    let _gone = to.shutdown(Shutdown::Both);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_nothing_happens_twice() {
    let database = Database::new();
    let (wire, url) = relay(&database.url());
    let store = Postgres::connect(&url).unwrap();
    let claim = |ask: &Ask, token| Claim { name: ask.name.clone(), owner: ask.owner.clone(), token };
    // The statements are prepared, so that the next answers are those of their execution.
    let warm = ask("warm");
    let warm_claim = claim(&warm, token(store.acquire(&warm, soon()).unwrap()));
    store.renew(&warm_claim, LONG, None, soon()).unwrap();
    store.release(&warm_claim, soon()).unwrap();
    let lose = || wire.loses_an_answer.store(true, Ordering::SeqCst);
    let was_lost = || assert!(!wire.loses_an_answer.load(Ordering::SeqCst), "no answer was lost");
    let first = ask("a");
    lose();
    let held = claim(&first, token(store.acquire(&first, soon()).unwrap()));
    was_lost();
    assert_eq!(held.token.number(), 1, "granted once");
    // The new connection has to prepare each statement itself.
    store.renew(&held, LONG, None, soon()).unwrap();
    lose();
    assert_eq!(store.renew(&held, LONG, None, soon()).unwrap(), Answer::Done { lasts: LONG });
    was_lost();
    let (other, last) = (ask("other"), ask("last"));
    let other = claim(&other, token(store.acquire(&other, soon()).unwrap()));
    let last = claim(&last, token(store.acquire(&last, soon()).unwrap()));
    store.release(&other, soon()).unwrap();
    lose();
    assert_eq!(store.release(&last, soon()).unwrap(), Answer::Done { lasts: Duration::ZERO });
    was_lost();
    assert_eq!(database.sql("SELECT name, fence FROM tenure_lease WHERE owner IS NOT NULL"), "a|1");
}

#[test]
fn a_question_that_arrives_when_its_asker_has_left_holds_nothing() {
    let database = Database::new();
    let (wire, url) = relay(&database.url());
    let store = Postgres::connect(&url).unwrap();
    let first = ask("a");
    let held = Claim {
        name: first.name.clone(),
        owner: first.owner.clone(),
        token: token(store.acquire(&first, soon()).unwrap()),
    };
    store.release(&held, soon()).unwrap();
    assert_eq!(wire.connections.load(Ordering::SeqCst), 1);
    // The first connection is the one that the question takes; others, by which it is cancelled and taken back, work.
    wire.held_back.store(1, Ordering::SeqCst);
    let late = ask("a");
    let error = store.acquire(&late, Native.now() + Duration::from_millis(200)).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    store.abandon(&late.name, &late.owner);
    eventually("it was cancelled, and taken back in vain", || wire.connections.load(Ordering::SeqCst) >= 3);
    let fence = || database.sql("SELECT fence FROM tenure_lease");
    assert_eq!(fence(), "1", "it has not arrived");
    wire.held_back.store(0, Ordering::SeqCst);
    eventually("it arrives, and is granted", || fence() == "2");
    eventually("it is taken back", || {
        store.look(&late.name, soon()).unwrap().unwrap().occupancy == Occupancy::Free
    });
}

#[test]
fn a_server_that_accepts_and_says_nothing_bounds_the_call() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let error = Postgres::connect(&format!("postgres://a@{}/b", silent.local_addr().unwrap())).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("did not answer"), "{error}");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
