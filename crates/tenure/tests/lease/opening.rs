//! A store that many open at once, and that is not there yet.

use serde_json::{Value, json};
use tenure::{LeaseStore, Wait};

use crate::place::{LONG, Place};
use crate::worker::{Worker, tell, told};

const PROCESSES: u64 = 6;
const THREADS: u64 = 4;

/// Opens the store when told to, from several threads, and holds a lease there for a moment.
pub(crate) fn open(task: &Value) {
    let (address, n) = (task["address"].as_str().unwrap(), task["n"].as_u64().unwrap());
    tell("ready");
    for _ in told() {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let store = LeaseStore::connect(address).unwrap();
                    let lease = store.acquire(format!("{n}-{thread}"), LONG, Wait::Never).unwrap();
                    assert_eq!(lease.token().number(), 1, "the tables were made twice");
                    lease.release().unwrap();
                });
            }
        });
        tell("done");
    }
}

pub(crate) fn many_open_a_store_that_is_not_there_yet(place: &Place) {
    let task = |n| json!({ "address": place.address, "n": n });
    let mut workers: Vec<Worker> = (0..PROCESSES).map(|n| Worker::start("open", &task(n))).collect();
    for worker in &mut workers {
        assert_eq!(worker.hear(), "ready");
    }
    for worker in &mut workers {
        worker.say("go");
    }
    for worker in &mut workers {
        assert_eq!(worker.hear(), "done");
    }
    workers.into_iter().for_each(Worker::finish);
    let rows = place.connect().list().unwrap();
    assert_eq!(rows.len() as u64, PROCESSES * THREADS, "a row was lost");
}
