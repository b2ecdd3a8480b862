//! How a holder finds out that it holds no more.

use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Host, Native};
use tenure::lease::{Loss, LossDescriptor, LossReason, Lost, Occupancy};
use tenure::{Lease, LeaseStore, Wait};

use crate::place::{LONG, PATIENCE, Place, eventually, soon};
use crate::stalled::{Mood, Stalled};
use crate::worker::{Worker, tell, told};

/// What a lease says of its loss, by each way that it has.
struct Watch {
    calls: Arc<Mutex<Vec<Lost>>>,
    wakes: Arc<Wakes>,
    /// Wakes nobody once it is dropped.
    _future: Pin<Box<Loss>>,
    descriptor: LossDescriptor,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether the descriptor is readable.
pub(crate) fn rings(descriptor: &LossDescriptor) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&descriptor.as_fd(), PollFlags::IN)], Some(&at_once)).unwrap() == 1
}

impl Watch {
    fn over(lease: &Lease) -> Watch {
        let (calls, wakes) = (Arc::<Mutex<Vec<Lost>>>::default(), Arc::<Wakes>::default());
        lease.on_loss({
            let calls = calls.clone();
            move |lost| calls.lock().unwrap().push(lost.clone())
        });
        let waker = Waker::from(wakes.clone());
        let mut future = Box::pin(lease.loss());
        for _ in 0..2 {
            assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        let watch = Watch { calls, wakes, _future: future, descriptor: lease.descriptor().unwrap() };
        assert!(!watch.rings());
        watch
    }

    fn rings(&self) -> bool {
        rings(&self.descriptor)
    }

    /// Waits until every way has told, and checks that each told the same, once.
    fn expect(&self, lease: &Lease, reason: &LossReason) {
        eventually("the descriptor rings", || self.rings());
        eventually("the callback is called", || !self.calls.lock().unwrap().is_empty());
        eventually("the future is woken", || self.wakes.0.load(Ordering::SeqCst) > 0);
        let lost = lease.lost().unwrap();
        assert_eq!(
            (&lost.name, lost.token, &lost.reason),
            (lease.name(), lease.token(), reason),
            "the reason of the loss"
        );
        let polled = pin!(lease.loss()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(lost.clone()));
        let late = Arc::<Mutex<Vec<Lost>>>::default();
        lease.on_loss({
            let late = late.clone();
            move |lost| late.lock().unwrap().push(lost.clone())
        });
        let error = lease.ensure_held().unwrap_err();
        assert!(error.is_lost() && error.to_string().contains(&reason.to_string()), "{error}");
        assert!(!lease.is_held() && lease.remaining().is_zero() && lease.renew().unwrap_err().is_lost());
        assert_eq!(*self.calls.lock().unwrap(), std::slice::from_ref(&lost), "once");
        assert_eq!(*late.lock().unwrap(), [lost], "at once, since it is lost already");
        assert_eq!(self.wakes.0.load(Ordering::SeqCst), 1, "one waker is woken once");
    }
}

pub(crate) fn who_is_robbed_is_told_by_every_way_once(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let lease = store.acquire("a", LONG, Wait::Never).unwrap();
    let watch = Watch::over(&lease);
    let robbed = other.force_release("a", "the disk is replaced").unwrap().unwrap();
    assert_eq!(robbed.token, lease.token());
    assert_eq!(robbed.tenant().unwrap().pid, Some(std::process::id()));
    let next = other.try_acquire("a", LONG).unwrap().unwrap();
    assert!(next.token() > lease.token());
    let error = lease.renew().unwrap_err();
    assert!(error.is_lost() && error.to_string().contains("the disk is replaced"), "{error}");
    watch.expect(&lease, &LossReason::Forced("the disk is replaced".to_owned()));
    let error = lease.release().unwrap_err();
    assert!(error.is_lost() && error.to_string().contains("the disk is replaced"), "{error}");
    assert!(next.is_held() && store.try_acquire("a", LONG).unwrap().is_none(), "the robbed one released it");
}

pub(crate) fn who_is_told_may_ask_the_lease(place: &Place) {
    let store = place.connect();
    let lease = Arc::new(store.acquire("a", LONG, Wait::Never).unwrap());
    let (told, heard) = std::sync::mpsc::channel();
    let asked = Arc::downgrade(&lease);
    lease.on_loss(move |_| {
        told.send(asked.upgrade().is_some_and(|lease| lease.renew().is_err_and(|e| e.is_lost()))).unwrap();
    });
    store.force_release("a", "so").unwrap();
    let renewed = lease.clone();
    // Not joined: it would hang, if the call below did.
    let renewal = std::thread::spawn(move || renewed.renew());
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(true));
    assert!(renewal.join().unwrap().unwrap_err().is_lost());
}

pub(crate) fn a_future_that_is_dropped_leaves_nothing_behind(place: &Place) {
    let store = place.connect();
    let lease = store.acquire("a", LONG, Wait::Never).unwrap();
    let [wakes, gone] = [(); 2].map(|()| Arc::new(Wakes::default()));
    let [waker, gone_waker] = [wakes.clone(), gone.clone()].map(Waker::from);
    let mut kept = pin!(lease.loss());
    // The waker of the last poll counts, whoever polled before.
    for waker in [&gone_waker, &waker] {
        assert!(kept.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    drop(gone_waker);
    for _ in 0..100 {
        let of_a_task = Waker::from(gone.clone());
        assert!(pin!(lease.loss()).poll(&mut Context::from_waker(&of_a_task)).is_pending());
    }
    assert_eq!(Arc::strong_count(&gone), 1, "wakers are kept of futures that are gone");
    store.force_release("a", "so").unwrap();
    assert!(lease.renew().unwrap_err().is_lost());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(kept.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

pub(crate) fn the_keeper_hears_of_it_by_itself(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let told = Arc::<Mutex<Vec<Lost>>>::default();
    let ttl = Duration::from_secs(3);
    let request = store.lease("a", ttl).on_loss({
        let told = told.clone();
        move |lost| told.lock().unwrap().push(lost.clone())
    });
    let lease = request.acquire(Wait::Never).unwrap();
    let watch = Watch::over(&lease);
    other.force_release("a", "so").unwrap().unwrap();
    watch.expect(&lease, &LossReason::Forced("so".to_owned()));
    assert_eq!(told.lock().unwrap().len(), 1, "who was given with the request is told, too");
    // One who releases by the handle says so, too.
    let lease = request.acquire(Wait::Never).unwrap();
    let watch = Watch::over(&lease);
    other.release(&lease.handle()).unwrap();
    watch.expect(&lease, &LossReason::Released);
}

/// The store gives the lease to another only when `is_held` says no.
fn is_lost_before_another_gets_it(place: &Place, mood: Mood, reason: &LossReason) {
    let (store, stalled) = Stalled::over(&place.connect());
    let other = place.connect();
    let lease = store.acquire("a", Duration::from_secs(2), soon()).unwrap();
    let watch = Watch::over(&lease);
    stalled.be(mood);
    let start = Instant::now();
    let next = loop {
        assert!(start.elapsed() < PATIENCE, "its time is never over");
        if let Some(next) = other.try_acquire("a", LONG).unwrap() {
            assert!(!lease.is_held(), "two holders");
            assert!(watch.rings(), "the kernel's timer needs no thread of ours");
            break next;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    if mood == Mood::Hangs {
        // The keeper is at the store until now.
        stalled.be(Mood::Answers);
    }
    watch.expect(&lease, reason);
    stalled.be(Mood::Answers);
    assert!(lease.release().unwrap_err().is_lost());
    assert!(next.is_held() && other.holder("a").unwrap().unwrap().token == next.token());
}

pub(crate) fn a_store_that_does_not_answer_costs_the_lease(place: &Place) {
    is_lost_before_another_gets_it(place, Mood::Silent, &LossReason::Unreachable);
    is_lost_before_another_gets_it(place, Mood::Fails, &LossReason::Unreachable);
}

pub(crate) fn a_store_that_hangs_costs_it_too(place: &Place) {
    // No renewal has failed: none has come back.
    is_lost_before_another_gets_it(place, Mood::Hangs, &LossReason::Expired);
}

pub(crate) fn nobody_waits_for_a_renewal_that_hangs(place: &Place) {
    let (store, stalled) = Stalled::over(&place.connect());
    for dropped in [false, true] {
        let lease = store.acquire("a", Duration::from_secs(5), soon()).unwrap();
        let calls = stalled.calls.load(Ordering::SeqCst);
        stalled.be(Mood::Hangs);
        eventually("the keeper is at it", || stalled.calls.load(Ordering::SeqCst) > calls);
        let start = Instant::now();
        if dropped {
            drop(lease);
        } else {
            lease.release().unwrap();
        }
        assert!(start.elapsed() < PATIENCE / 2, "it waited for {:?}", start.elapsed());
        let next = place.connect().try_acquire("a", LONG).unwrap().unwrap();
        // The renewal comes after all, and does no harm.
        stalled.be(Mood::Answers);
        std::thread::sleep(Duration::from_millis(50));
        next.renew().unwrap();
        next.release().unwrap();
    }
}

pub(crate) fn who_is_told_may_use_and_drop_the_lease(place: &Place) {
    let store = place.connect();
    let slot = Arc::<Mutex<Option<Lease>>>::default();
    let (tell, told) = mpsc::channel();
    let kept = slot.clone();
    let request = store.lease("a", Duration::from_secs(3)).on_loss(move |_| {
        let lease = kept.lock().unwrap().take().unwrap();
        let lost = !lease.is_held() && lease.renew().unwrap_err().is_lost() && lease.lost().is_some();
        drop(lease);
        tell.send(lost).unwrap();
    });
    *slot.lock().unwrap() = Some(request.acquire(Wait::Never).unwrap());
    // The keeper hears of it, and tells.
    place.connect().force_release("a", "so").unwrap().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "who was told waits for the one who tells");
    assert!(place.connect().try_acquire("a", LONG).unwrap().is_some());
}

pub(crate) fn a_reason_is_shown_without_what_moves_a_terminal(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let lease = store.acquire("a", LONG, Wait::Never).unwrap();
    let reason = "\u{1b}[2Jgone\n\u{1f980}\u{7}";
    other.force_release("a", reason).unwrap().unwrap();
    let error = lease.renew().unwrap_err();
    assert!(error.is_lost() && error.to_string().contains("gone"), "{error}");
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
    assert_eq!(lease.lost().unwrap().reason, LossReason::Forced(reason.to_owned()));
}

pub(crate) fn a_store_that_is_away_for_a_moment_costs_nothing(place: &Place) {
    let (store, stalled) = Stalled::over(&place.connect());
    let lease = store.acquire("a", Duration::from_secs(3), Wait::Never).unwrap();
    let first = lease.deadline();
    for mood in [Mood::Fails, Mood::Forgets] {
        let calls = stalled.calls.load(Ordering::SeqCst);
        stalled.be(mood);
        let error = lease.renew().unwrap_err();
        assert!(error.is_unreachable() && lease.is_held(), "{error}");
        assert!(stalled.calls.load(Ordering::SeqCst) > calls);
    }
    stalled.be(Mood::Answers);
    eventually("renewals go on", || {
        assert!(lease.is_held(), "{:?}", lease.lost());
        std::thread::sleep(Duration::from_millis(20));
        lease.deadline() > first + Duration::from_secs(3)
    });
    lease.release().unwrap();
}

pub(crate) fn a_grant_whose_answer_was_lost_is_given_back(place: &Place) {
    let (store, stalled) = Stalled::over(&place.connect());
    stalled.be(Mood::Forgets);
    let error = store.acquire("a", LONG, Wait::Never).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    stalled.be(Mood::Answers);
    let entry = store.holder("a").unwrap().unwrap();
    assert_eq!(entry.token.number(), 1, "the store had given it away");
    eventually("it is given back", || store.holder("a").unwrap().unwrap().occupancy == Occupancy::Free);
}

pub(crate) fn a_release_that_fails_leaves_the_rest_to_time(place: &Place) {
    let (store, stalled) = Stalled::over(&place.connect());
    for dropped in [false, true] {
        let lease = store.acquire("a", Duration::from_secs(1), soon()).unwrap();
        stalled.be(Mood::Fails);
        if dropped {
            drop(lease);
        } else {
            let error = lease.release().unwrap_err();
            assert!(error.is_unreachable(), "{error}");
        }
        stalled.be(Mood::Answers);
        // Nobody renews it any more.
        place.connect().acquire("a", LONG, soon()).unwrap().release().unwrap();
    }
}

/// A store on a host that has no second thread to give, and the host.
fn without_keeper(place: &Place) -> (LeaseStore<Faulty<Native>>, Faulty<Native>) {
    let store = place.connect().store().clone();
    let whole = Faulty::new(Native, usize::MAX, Fault::Crash);
    LeaseStore::on(whole.clone(), store.clone()).try_acquire("other", LONG).unwrap();
    let before = whole.calls().iter().position(|call| *call == "thread").unwrap() + 1;
    let host = Faulty::new(Native, before, Fault::Crash);
    (LeaseStore::on(host.clone(), store), host)
}

#[test]
fn a_loss_is_told_in_time_if_there_is_no_thread_to_be_had() {
    // The pauses between attempts to start one are 100 ms if nothing else ends them: then it would be told 50 ms late.
    const TTL: Duration = Duration::from_millis(693);
    let mut late = (0..10).map(|_| {
        let place = Place::sqlite();
        let (store, host) = without_keeper(&place);
        let lease = store.acquire("a", TTL, Wait::Never).unwrap();
        let (tell, told) = mpsc::channel();
        lease.on_loss(move |lost| tell.send((lost.reason.clone(), Native.now())).unwrap());
        let (reason, at) = told.recv_timeout(PATIENCE).unwrap();
        assert!(reason == LossReason::Expired && host.met());
        at.since(lease.deadline())
    });
    // Once is enough: this machine may be busy.
    assert!(late.any(|late| late < Duration::from_millis(20)));
}

/// The worker of the next test: holds a lease, and answers whether it does.
pub(crate) fn keep(task: &serde_json::Value) {
    let store = tenure::LeaseStore::connect(task["address"].as_str().unwrap()).unwrap();
    let ttl = Duration::from_millis(task["ttl_ms"].as_u64().unwrap());
    let lease = store.acquire("a", ttl, soon()).unwrap();
    tell("held");
    for _ in told() {
        tell(&format!("{} {:?}", lease.is_held(), lease.lost().map(|lost| lost.reason)));
    }
}

pub(crate) fn a_stop_of_the_process_is_noticed(place: &Place) {
    let mut worker = Worker::start("keep", &json!({ "address": place.address, "ttl_ms": 2000 }));
    assert_eq!(worker.hear(), "held");
    worker.signal(rustix::process::Signal::STOP);
    let next = place.connect().acquire("a", LONG, soon()).unwrap();
    worker.signal(rustix::process::Signal::CONT);
    worker.say("well?");
    let answer = worker.hear();
    // If it was stopped in the midst of a question, that one came too late, and it may know whose the lease is.
    assert!(
        ["false Some(Expired)", "false Some(Stolen)", "false Some(Unreachable)"].contains(&&*answer),
        "{answer}"
    );
    worker.finish();
    assert!(next.is_held());
}
