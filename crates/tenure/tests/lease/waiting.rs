//! How a lease is waited for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tenure::lease::Awaited;
use tenure::{Cancel, LeaseStore, Wait};

use crate::place::{LONG, PATIENCE, Place, eventually, soon};
use crate::stalled::{Mood, Stalled};

/// The median time from a release to the waiter's grant.
fn handover(store: &LeaseStore, waiters: &LeaseStore) -> Duration {
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let held = store.acquire("a", LONG, soon()).unwrap();
            let (send, receive) = mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let asking = send.clone();
                    let tell = move |_: &Awaited| asking.send(Instant::now()).unwrap();
                    // By then, a waiter that nobody tells anything has come to its longest pauses.
                    let request = waiters.lease("a", LONG).on_wait(Duration::from_millis(600), tell);
                    let lease = request.acquire(soon()).unwrap();
                    send.send(Instant::now()).unwrap();
                    lease.release().unwrap();
                });
                receive.recv_timeout(PATIENCE).unwrap();
                let released = Instant::now();
                held.release().unwrap();
                receive.recv_timeout(PATIENCE).unwrap().saturating_duration_since(released)
            })
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

pub(crate) fn a_release_wakes_who_waits(place: &Place) {
    let (store, other) = (place.listen(), place.listen());
    let told = handover(&store, &other);
    let (deaf, _) = Stalled::telling(&other, false);
    let untold = handover(&store, &deaf);
    // The twin finds out by looking.
    assert!(told < untold, "{told:?} for who is told, {untold:?} for who is not");
}

pub(crate) fn a_wait_ends_when_its_caller_says(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let _held = store.acquire("a", LONG, Wait::Never).unwrap();
    for time in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(400)] {
        let before = Instant::now();
        let error = other.acquire("a", LONG, Wait::within(time)).unwrap_err();
        let elapsed = before.elapsed();
        assert!(error.is_busy() && error.waited() <= elapsed, "{error}");
        assert!((time..time + PATIENCE).contains(&elapsed), "{elapsed:?}");
    }
    assert!(other.acquire("a", LONG, Wait::Never).unwrap_err().waited().is_zero());
}

pub(crate) fn a_wait_can_be_cancelled(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let held = store.acquire("a", LONG, Wait::Never).unwrap();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let (asking, asked) = mpsc::channel();
        let (cancel, other) = (&cancel, &other);
        let waiter = scope.spawn(move || {
            let request = other.lease("a", LONG).on_wait(Duration::ZERO, move |_| asking.send(()).unwrap());
            request.acquire(Wait::Forever.or(cancel)).map(drop).unwrap_err()
        });
        asked.recv_timeout(PATIENCE).unwrap();
        cancel.cancel();
        let error = waiter.join().unwrap();
        assert!(error.is_cancelled(), "{error}");
    });
    assert!(held.is_held());
    held.release().unwrap();
    // What is free is had all the same.
    assert!(other.acquire("a", LONG, Wait::Forever.or(&cancel)).is_ok());
}

pub(crate) fn who_waits_is_told_for_whom(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let held = store.lease("a", LONG).note("the nightly run").acquire(Wait::Never).unwrap();
    let told = Arc::<Mutex<Vec<Awaited>>>::default();
    let after = Duration::from_millis(100);
    let request = other.lease("a", LONG).on_wait(after, {
        let told = told.clone();
        move |awaited| told.lock().unwrap().push(awaited.clone())
    });
    assert!(request.acquire(Wait::within(Duration::from_millis(600))).unwrap_err().is_busy());
    let told = told.lock().unwrap();
    let [awaited] = &told[..] else { panic!("told {} times", told.len()) };
    assert_eq!((awaited.address.as_str(), awaited.entry.token), (store.address(), held.token()));
    assert_eq!(awaited.entry.tenant().unwrap().note.as_deref(), Some("the nightly run"));
    assert!(awaited.waited >= after, "{awaited:?}");
}

pub(crate) fn a_store_that_is_away_does_not_end_a_wait(place: &Place) {
    let (store, stalled) = Stalled::over(&place.connect());
    stalled.be(Mood::Fails);
    let error = store.acquire("a", LONG, soon()).unwrap_err();
    assert!(error.is_unreachable(), "the first question is answered or fails: {error}");
    stalled.be(Mood::Answers);
    let held = place.connect().acquire("a", LONG, soon()).unwrap();
    std::thread::scope(|scope| {
        let (asking, asked) = mpsc::channel();
        let waiter = scope.spawn(|| {
            let request = store.lease("a", LONG).on_wait(Duration::ZERO, move |_| asking.send(()).unwrap());
            request.acquire(soon()).unwrap().release().unwrap();
        });
        asked.recv_timeout(PATIENCE).unwrap();
        stalled.be(Mood::Fails);
        let calls = stalled.calls.load(Ordering::SeqCst);
        eventually("more attempts", || stalled.calls.load(Ordering::SeqCst) > calls + 2);
        assert!(!waiter.is_finished());
        stalled.be(Mood::Answers);
        held.release().unwrap();
        waiter.join().unwrap();
    });
    // One whose time is over meanwhile is told of that trouble.
    let _held = place.connect().acquire("a", LONG, soon()).unwrap();
    let request = store.lease("a", LONG).on_wait(Duration::ZERO, move |_| stalled.be(Mood::Fails));
    let error = request.acquire(Wait::within(Duration::from_millis(700))).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

pub(crate) fn many_waiters_all_get_their_turn(place: &Place) {
    let store = place.connect();
    let held = store.acquire("a", LONG, Wait::Never).unwrap();
    let turns = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            let other = place.connect();
            let turns = &turns;
            scope.spawn(move || {
                other.acquire("a", LONG, soon()).unwrap().release().unwrap();
                turns.fetch_add(1, Ordering::SeqCst);
            });
        }
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(turns.load(Ordering::SeqCst), 0);
        held.release().unwrap();
    });
    assert_eq!(store.holder("a").unwrap().unwrap().token.number(), 13);
}
