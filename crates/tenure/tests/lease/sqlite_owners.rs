//! On one machine, an owner's death is seen: leases of the dead are had at once, those of the living never. And SQLite's
//! own way of waiting, which starves, is nobody's way here.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tenure::lease::Occupancy;
use tenure::{LeaseStore, Wait};

use crate::holding::in_child;
use crate::place::{LONG, Place, eventually, soon};
use crate::stalled::Stalled;
use crate::worker::{Worker, tell, told};

/// A worker that acquires a lease as it is told, and keeps it until it is killed.
pub(crate) fn hold(task: &Value) {
    let store = LeaseStore::connect(task["address"].as_str().unwrap()).unwrap();
    let mut request = store.lease("a", LONG);
    match task["how"].as_str().unwrap() {
        "plain" => {}
        "without process" => request = request.without_process(),
        "at least" => request = request.at_least(Duration::from_secs(2)),
        "detached" => {
            tell(&request.acquire_detached(Wait::Never).unwrap().to_string());
            return told().for_each(drop);
        }
        how => panic!("{how}"),
    }
    let lease = request.acquire(Wait::Never).unwrap();
    tell(&lease.handle().to_string());
    told().for_each(drop);
}

/// A process that holds the lease `a`.
fn holder(place: &Place, how: &str) -> Worker {
    let mut worker = Worker::start("hold", &json!({ "address": place.address, "how": how }));
    worker.hear();
    worker
}

#[test]
fn the_lease_of_a_killed_process_is_had_at_once() {
    let place = Place::sqlite();
    let store = place.connect();
    let mut worker = holder(&place, "plain");
    let pid = worker.pid();
    assert_eq!(store.holder("a").unwrap().unwrap().tenant().unwrap().pid, Some(pid));
    assert!(store.try_acquire("a", LONG).unwrap().is_none());
    worker.kill();
    let entry = store.holder("a").unwrap().unwrap();
    assert!(entry.occupancy == Occupancy::Free && entry.remaining.is_zero(), "{entry:?}");
    let lease = store.try_acquire("a", LONG).unwrap().unwrap();
    assert_eq!(lease.token().number(), 2);
}

#[test]
fn a_zombie_holds_nothing_and_a_waiter_hears_of_the_death() {
    let place = Place::sqlite();
    let worker = holder(&place, "plain");
    let (store, stalled) = Stalled::over(&place.connect());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.acquire("a", LONG, soon()).unwrap().token());
        eventually("a second attempt", || stalled.calls.load(Ordering::SeqCst) > 1);
        // Nobody reaps it before the lease is had.
        worker.signal(rustix::process::Signal::KILL);
        assert_eq!(waiter.join().unwrap().number(), 2);
    });
}

#[test]
fn what_belongs_to_no_process_outlives_its_maker() {
    for how in ["without process", "detached"] {
        let place = Place::sqlite();
        let store = place.connect();
        holder(&place, how).kill();
        let entry = store.holder("a").unwrap().unwrap();
        assert!(matches!(entry.occupancy, Occupancy::Held(_)), "{how}: {entry:?}");
        assert!(store.try_acquire("a", LONG).unwrap().is_none(), "{how}");
        assert!(store.force_release("a", "so").unwrap().is_some(), "{how}");
    }
}

#[test]
fn what_is_kept_is_not_freed_by_a_death() {
    let place = Place::sqlite();
    let store = place.connect();
    let before = Instant::now();
    holder(&place, "at least").kill();
    let entry = store.holder("a").unwrap().unwrap();
    if before.elapsed() < Duration::from_secs(2) {
        assert!(matches!(entry.occupancy, Occupancy::Kept(_)), "{entry:?}");
    }
    assert!(entry.remaining <= Duration::from_secs(2), "it is not kept for longer either: {entry:?}");
    let lease = store.acquire("a", LONG, soon()).unwrap();
    assert!(before.elapsed() >= Duration::from_secs(2), "given away after {:?}", before.elapsed());
    assert_eq!(lease.token().number(), 2);
}

/// Changes what is recorded of the holder.
fn forge(place: &Place, change: impl FnOnce(&mut Value)) {
    let connection = Connection::open(place.file()).unwrap();
    let tenant: String =
        connection.query_row("SELECT tenant FROM tenure_lease", [], |row| row.get(0)).unwrap();
    let mut tenant: Value = serde_json::from_str(&tenant).unwrap();
    change(&mut tenant);
    let changed = connection.execute("UPDATE tenure_lease SET tenant = ?1", [tenant.to_string()]).unwrap();
    assert_eq!(changed, 1);
}

#[test]
fn a_process_that_got_the_number_of_a_dead_one_is_another() {
    let place = Place::sqlite();
    let store = place.connect();
    let _worker = holder(&place, "plain");
    assert!(store.try_acquire("a", LONG).unwrap().is_none());
    // The process with this number was started at another time than the owner: so the owner is dead.
    forge(&place, |tenant| tenant["started"] = (tenant["started"].as_u64().unwrap() - 1).into());
    assert_eq!(store.holder("a").unwrap().unwrap().occupancy, Occupancy::Free);
    assert!(store.try_acquire("a", LONG).unwrap().is_some());
}

#[test]
fn whose_process_cannot_be_judged_keeps_its_lease() {
    let other_namespace = |tenant: &mut Value| tenant["pid_namespace"] = 1.into();
    let unknown_start = |tenant: &mut Value| drop(tenant.as_object_mut().unwrap().remove("started"));
    let nothing_known = |tenant: &mut Value| *tenant = json!({ "host": "elsewhere", "pid": 1 });
    let changes: [&dyn Fn(&mut Value); 3] = [&other_namespace, &unknown_start, &nothing_known];
    for (n, change) in changes.into_iter().enumerate() {
        let place = Place::sqlite();
        let store = place.connect();
        let _worker = holder(&place, "plain");
        forge(&place, change);
        assert!(store.try_acquire("a", LONG).unwrap().is_none(), "{n}: a live process was robbed");
    }
}

/// Acquires and releases as fast as it can until its time is over, and answers with how often.
pub(crate) fn hammer(task: &Value) {
    let store = LeaseStore::connect(task["address"].as_str().unwrap()).unwrap();
    let name = task["name"].as_str().unwrap();
    tell("ready");
    for _ in told() {
        let start = Instant::now();
        let mut turns = 0;
        while start.elapsed() < Duration::from_secs(3) {
            store.acquire(name, LONG, soon()).unwrap().release().unwrap();
            turns += 1;
        }
        tell(&format!("{turns}"));
    }
}

/// How often each of eight processes got its lease, all at it at once.
fn turns(place: &Place, name: impl Fn(usize) -> String) -> Vec<i64> {
    let task = |n| json!({ "address": place.address, "name": name(n) });
    let mut workers: Vec<Worker> = (0..8).map(|n| Worker::start("hammer", &task(n))).collect();
    for worker in &mut workers {
        assert_eq!(worker.hear(), "ready");
    }
    workers.iter_mut().for_each(|worker| worker.say("go"));
    let turns = workers.iter_mut().map(|worker| worker.hear().parse().unwrap()).collect();
    workers.into_iter().for_each(Worker::finish);
    println!("{turns:?}");
    turns
}

#[test]
fn no_process_is_left_without_a_turn() {
    let place = Place::sqlite();
    // Nobody waits for a lease here, all for the database. By SQLite's own way of waiting, some have a hundredth of their share.
    let own = turns(&place, |n| format!("own {n}"));
    let share = own.iter().sum::<i64>() / 8;
    assert!(own.iter().all(|turns| turns * 10 >= share), "{own:?}");
    for (n, turns) in own.into_iter().enumerate() {
        let entry = place.connect().holder(format!("own {n}")).unwrap().unwrap();
        assert_eq!(entry.token.number(), turns, "one token for each turn");
    }
    // No order is promised to those who wait for one lease, but none waits for ever.
    let common = turns(&place, |_| "common".to_owned());
    assert!(common.iter().all(|turns| *turns > 0), "{common:?}");
    assert_eq!(place.connect().holder("common").unwrap().unwrap().token.number(), common.iter().sum::<i64>());
}

#[test]
fn a_forked_child_does_not_close_its_parents_database() {
    let place = Place::sqlite();
    let mut store = Some(place.connect());
    let opened = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let files = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        files.filter(|file| file.starts_with(place.directory()) && !file.is_dir()).count()
    };
    let before = opened();
    assert!(before > 0);
    in_child(|| {
        drop(store.take());
        assert_eq!(opened(), before, "SQLite has closed what is its parent's");
    });
    assert!(store.unwrap().try_acquire("a", LONG).unwrap().is_some());
}
