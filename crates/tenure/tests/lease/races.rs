//! Report D: of several workers that find an expired row at once, each is told that the lock is its own. Here, eight processes
//! run for it in each of three hundred rounds, and one wins; their twin, which looks first and writes then, has several winners.
//! And eight insert the first row of a name at once.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};
use tenure::{LeaseStore, Wait};

use crate::place::{LONG, Place};
use crate::worker::{Worker, tell, told};

const RACERS: usize = 8;
const ROUNDS: usize = 300;

/// The twin's rounds: most have several winners.
const TWIN_ROUNDS: usize = 60;

/// What a lock service of the report's kind needs of its database.
trait Sql {
    fn run(&mut self, statement: &str);
    /// The first column of the first row.
    fn number(&mut self, query: &str) -> Option<i64>;
}

struct InSqlite(Connection);

impl Sql for InSqlite {
    fn run(&mut self, statement: &str) {
        self.0.execute_batch(statement).unwrap();
    }

    fn number(&mut self, query: &str) -> Option<i64> {
        self.0.query_row(query, [], |row| row.get(0)).optional().unwrap()
    }
}

#[cfg(feature = "postgres")]
struct InPostgres(crate::raw::Raw);

#[cfg(feature = "postgres")]
impl Sql for InPostgres {
    fn run(&mut self, statement: &str) {
        self.0.run(statement);
    }

    fn number(&mut self, query: &str) -> Option<i64> {
        self.0.number(query)
    }
}

fn sql(address: &str) -> Box<dyn Sql> {
    match address.strip_prefix("sqlite:") {
        Some(path) => {
            let connection = Connection::open(path).unwrap();
            connection.busy_timeout(crate::place::PATIENCE).unwrap();
            connection.pragma_update(None, "journal_mode", "wal").unwrap();
            Box::new(InSqlite(connection))
        }
        #[cfg(feature = "postgres")]
        None => Box::new(InPostgres(crate::raw::Raw::connect(address))),
        #[cfg(not(feature = "postgres"))]
        None => panic!("{address}"),
    }
}

/// Runs for the lease of the name that it is told, once a line, and answers whether it has won.
pub(crate) fn race(task: &Value) {
    let (address, n) = (task["address"].as_str().unwrap(), task["n"].as_u64().unwrap());
    let store = LeaseStore::connect(address).unwrap();
    tell("ready");
    for name in told() {
        // Nobody renews it, and it is nobody's process's: only its time may end it.
        match store.lease(name.as_str(), LONG).note(format!("racer {n}")).acquire_detached(Wait::Never) {
            Ok(handle) => tell(&format!("won {}", handle.token())),
            Err(error) => {
                assert!(error.is_busy(), "{error}");
                tell("lost");
            }
        }
    }
}

/// The same for the twin: select, decide, update, each statement for itself.
pub(crate) fn race_naively(task: &Value) {
    let mut sql = sql(task["address"].as_str().unwrap());
    tell("ready");
    for _ in told() {
        let is_expired = sql.number("SELECT expires FROM twin WHERE name = 'a'").unwrap() == 0;
        if is_expired {
            sql.run("UPDATE twin SET expires = 1, fence = fence + 1 WHERE name = 'a'");
        }
        tell(if is_expired { "won 1" } else { "lost" });
    }
}

/// Racers at the line.
struct Race(Vec<Worker>);

impl Race {
    fn prepare(place: &Place, role: &str) -> Race {
        let task = |n| json!({ "address": place.address, "n": n });
        let mut racers: Vec<Worker> = (0..RACERS).map(|n| Worker::start(role, &task(n))).collect();
        for racer in &mut racers {
            assert_eq!(racer.hear(), "ready");
        }
        Race(racers)
    }

    /// The tokens of those who won.
    fn run(&mut self, name: &str) -> Vec<i64> {
        self.0.iter_mut().for_each(|racer| racer.say(name));
        let answers: Vec<String> = self.0.iter_mut().map(Worker::hear).collect();
        answers.iter().filter_map(|answer| answer.strip_prefix("won ")?.parse().ok()).collect()
    }

    fn end(self) {
        self.0.into_iter().for_each(Worker::finish);
    }
}

/// One winner a round, and each has the next token.
fn an_expired_row(place: &Place, expire: &str) {
    let mut race = Race::prepare(place, "race");
    let mut sql = sql(&place.address);
    for round in 0..ROUNDS {
        let winners = race.run("a");
        assert_eq!(winners, [i64::try_from(round).unwrap() + 1], "round {round}");
        sql.run(expire);
    }
    race.end();
}

/// A name that has no row yet has one winner, too (report D, the second half).
fn a_first_row(place: &Place) {
    let mut race = Race::prepare(place, "race");
    for round in 0..ROUNDS / 3 {
        assert_eq!(race.run(&format!("name {round}")), [1], "round {round}");
    }
    race.end();
    assert_eq!(place.connect().list().unwrap().len(), ROUNDS / 3);
}

fn the_twin_lets_several_in(place: &Place) {
    let mut sql = sql(&place.address);
    sql.run("CREATE TABLE twin (name TEXT PRIMARY KEY, expires INTEGER NOT NULL, fence INTEGER NOT NULL)");
    sql.run("INSERT INTO twin VALUES ('a', 0, 0)");
    let mut race = Race::prepare(place, "race naively");
    let mut crowded = 0;
    for _ in 0..TWIN_ROUNDS {
        let winners = race.run("a").len();
        assert!(winners > 0);
        crowded += usize::from(winners > 1);
        sql.run("UPDATE twin SET expires = 0");
    }
    race.end();
    println!("the twin: {crowded} of {TWIN_ROUNDS} rounds with several winners");
    assert!(crowded > 0, "the twin's racers never met, so this test shows nothing");
}

/// How a lease is made to have expired just now.
const EXPIRE: &str = "UPDATE tenure_lease SET expires_us = granted_us WHERE name = 'a'";

#[test]
fn sqlite_gives_an_expired_lease_to_one() {
    an_expired_row(&Place::sqlite(), EXPIRE);
    // Its twin keeps its table elsewhere.
    the_twin_lets_several_in(&Place::sqlite());
}

#[test]
fn sqlite_gives_a_new_lease_to_one() {
    a_first_row(&Place::sqlite());
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_gives_an_expired_lease_to_one() {
    let place = Place::postgres();
    an_expired_row(&place, EXPIRE);
    the_twin_lets_several_in(&place);
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_gives_a_new_lease_to_one() {
    a_first_row(&Place::postgres());
}
