//! A client: leases, reads, lets some time pass, writes, releases, and notes what it does in a file of its own.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tenure::host::{Host, Native};
use tenure::{Lease, LeaseStore, Moment, Token, Wait};

use super::checker::{Event, Record};
use super::protected::{Fenced, Protected};
use crate::place::PATIENCE;
use crate::stalled::{Mood, Stalled};
use crate::worker::{tell, told};

/// What a client is to do; made from JSON, since it is another process.
struct Client {
    id: u32,
    ttl: Duration,
    notes: File,
    leases: Leases,
    protected: Protected,
    elements: u64,
}

/// Whom it asks for the lease.
enum Leases {
    Real(LeaseStore),
    /// The twin: looks whether the row is expired, and then takes it.
    Naive(Connection),
}

enum Holding {
    Real(Lease),
    Naive { token: Token, until: Moment },
}

impl Holding {
    fn token(&self) -> Token {
        match self {
            Holding::Real(lease) => lease.token(),
            Holding::Naive { token, .. } => *token,
        }
    }

    fn is_held(&self) -> bool {
        match self {
            Holding::Real(lease) => lease.is_held(),
            Holding::Naive { until, .. } => Native.now() < *until,
        }
    }
}

/// The table of the twin's leases.
pub(super) const NAIVE: &str = "PRAGMA journal_mode = wal;
    CREATE TABLE naive (expires INTEGER NOT NULL, fence INTEGER NOT NULL);
    INSERT INTO naive VALUES (0, 0)";

fn nanoseconds() -> u64 {
    u64::try_from(Native.now().since_zero().as_nanos()).unwrap()
}

fn below(bound: u64) -> u64 {
    Native.random() % bound.max(1)
}

fn part_of(time: Duration) -> Duration {
    Duration::from_nanos(below(u64::try_from(time.as_nanos()).unwrap()))
}

impl Leases {
    fn open(address: &str, stalls: bool, ttl: Duration, over: &AtomicBool) -> Option<Leases> {
        if let Some(path) = address.strip_prefix("naive:") {
            let connection = Connection::open(path).unwrap();
            connection.busy_timeout(PATIENCE).unwrap();
            return Some(Leases::Naive(connection));
        }
        while !over.load(Ordering::SeqCst) {
            match LeaseStore::connect(address) {
                Ok(store) if stalls => {
                    let (store, stalled) = Stalled::over(&store);
                    std::thread::spawn(move || sulk(&stalled, ttl));
                    return Some(Leases::Real(store));
                }
                Ok(store) => return Some(Leases::Real(store)),
                // The server is down at the moment, or the connection was cut.
                Err(error) => assert!(error.is_unreachable(), "{error}"),
            }
            std::thread::sleep(ttl / 4);
        }
        None
    }

    fn acquire(&self, ttl: Duration, wait: Duration) -> Option<Holding> {
        match self {
            Leases::Real(store) => match store.acquire("set", ttl, Wait::within(wait)) {
                Ok(lease) => Some(Holding::Real(lease)),
                Err(error) => {
                    // One that was granted so late that it is over already is lost.
                    let expected = error.is_busy() || error.is_unreachable() || error.is_lost();
                    assert!(expected, "{error}");
                    None
                }
            },
            Leases::Naive(connection) => {
                let now = Native.now();
                let us = |moment: Moment| i64::try_from(moment.since_zero().as_micros()).unwrap();
                let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
                let (expires, fence) =
                    connection.query_row("SELECT expires, fence FROM naive", [], row).unwrap();
                let until = now + ttl;
                (expires <= us(now)).then(|| {
                    let taken = "UPDATE naive SET expires = ?1, fence = fence + 1";
                    connection.execute(taken, [us(until)]).unwrap();
                    Holding::Naive { token: Token::new(fence + 1).unwrap(), until }
                })
            }
        }
    }

    fn release(&self, holding: Holding) {
        match (self, holding) {
            (_, Holding::Real(lease)) if below(3) == 0 => drop(lease),
            (_, Holding::Real(lease)) => {
                if let Err(error) = lease.release() {
                    assert!(error.is_lost() || error.is_unreachable(), "{error}");
                }
            }
            (Leases::Naive(connection), Holding::Naive { token, .. }) => {
                let released = "UPDATE naive SET expires = 0 WHERE fence = ?1";
                connection.execute(released, [token.number()]).unwrap();
            }
            (Leases::Real(_), Holding::Naive { .. }) => unreachable!("a store gives leases of its kind"),
        }
    }
}

/// Lets a store keep silent, fail, forget and hang, each for up to twice the time to live: a keeper that is blocked, above all.
fn sulk(stalled: &Arc<Stalled>, ttl: Duration) {
    loop {
        std::thread::sleep(part_of(ttl * 6));
        let moods = [Mood::Silent, Mood::Fails, Mood::Forgets, Mood::Hangs];
        stalled.be(moods[usize::try_from(below(4)).unwrap()]);
        std::thread::sleep(part_of(ttl * 2));
        stalled.be(Mood::Answers);
    }
}

impl Client {
    fn note(&mut self, event: Event) {
        self.note_at(nanoseconds(), event);
    }

    fn note_at(&mut self, at: u64, event: Event) {
        let line = format!("{}\n", Record { at, client: self.id, event });
        self.notes.write_all(line.as_bytes()).unwrap();
    }

    /// Notes whether it holds the lease, as of before the question.
    fn observe(&mut self, holding: &Holding) {
        let before = nanoseconds();
        if holding.is_held() {
            self.note_at(before, Event::Believes { token: holding.token().number() });
        }
    }

    fn round(&mut self) {
        self.note(Event::Asking);
        let Some(holding) = self.leases.acquire(self.ttl, part_of(self.ttl * 4)) else { return };
        self.note(Event::Granted { token: holding.token().number() });
        self.observe(&holding);
        self.write(&holding);
        self.observe(&holding);
        self.leases.release(holding);
        self.note(Event::Done);
    }

    /// Reads, lets time pass, and writes, whether the lease is held by then or not.
    fn write(&mut self, holding: &Holding) {
        let token = holding.token();
        let Ok(mut list) = self.protected.read(token) else { return };
        self.observe(holding);
        // Most take little time, so that there are many rounds; some take up to two times to live.
        std::thread::sleep(part_of(if below(4) == 0 { self.ttl * 2 } else { self.ttl / 4 }));
        self.observe(holding);
        self.elements += 1;
        let element = u64::from(self.id) << 32 | self.elements;
        list.push((element, token.number()));
        self.note(Event::Writing { token: token.number(), element });
        match self.protected.write(&list, token) {
            Ok(()) => self.note(Event::Written { element }),
            Err(Fenced) => self.note(Event::Refused { element }),
        }
    }
}

/// The role of the process.
pub(crate) fn run(task: &Value) {
    let text = |key: &str| task[key].as_str().unwrap().to_owned();
    let flag = |key: &str| task[key].as_bool().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let over = over.clone();
        move || {
            told().for_each(drop);
            over.store(true, Ordering::SeqCst);
        }
    });
    let ttl = Duration::from_millis(task["ttl_ms"].as_u64().unwrap());
    let id = u32::try_from(task["id"].as_u64().unwrap()).unwrap();
    let Some(leases) = Leases::open(&text("store"), flag("stalls"), ttl, &over) else { return };
    let notes = OpenOptions::new().create_new(true).append(true).open(text("notes")).unwrap();
    let protected = Protected::open(Path::new(&text("protected")), flag("fenced"));
    let mut client = Client { id, ttl, notes, leases, protected, elements: 0 };
    tell("ready");
    while !over.load(Ordering::SeqCst) {
        client.round();
    }
}
