//! What holds while somebody has a lease, and when it ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, waitpid};
use tenure::host::{Host, Native};
use tenure::lease::store::{Answer, Ask, Attempt, Claim, Owner};
use tenure::lease::timing::{TTL_MAX, TTL_MIN};
use tenure::lease::{LossReason, Name, Occupancy};
use tenure::{LeaseStore, Moment, Wait};

use crate::losing::rings;
use crate::place::{LONG, PATIENCE, Place, SHORT, eventually, soon};
use crate::stalled::{Mood, Stalled};

fn is_free(store: &LeaseStore, name: &str) -> bool {
    store.holder(name).unwrap().is_none_or(|entry| entry.occupancy == Occupancy::Free)
}

pub(crate) fn one_holder_at_a_time(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let held = store.acquire("a", LONG, Wait::Never).unwrap();
    for store in [&store, &other] {
        assert!(store.try_acquire("a", LONG).unwrap().is_none());
        assert!(store.acquire("a", LONG, Wait::Never).unwrap_err().is_busy());
    }
    let beside = other.try_acquire("b", LONG).unwrap().unwrap();
    assert!(held.is_held() && beside.is_held());
    held.release().unwrap();
    let next = other.try_acquire("a", LONG).unwrap().unwrap();
    assert!(store.try_acquire("a", LONG).unwrap().is_none() && next.is_held());
}

pub(crate) fn a_refusal_says_who_since_when_and_until_when(place: &Place) {
    let store = place.connect();
    let held = store.lease("a", LONG).note("the nightly run").acquire(Wait::Never).unwrap();
    let error = place.connect().acquire("a", LONG, Wait::within(Duration::from_millis(50))).unwrap_err();
    let text = error.to_string();
    let parts = [
        format!("{}#a", store.address()),
        format!("pid {}", std::process::id()),
        "the nightly run".to_owned(),
        "for another ".to_owned(),
        format!("token {}", held.token()),
        "gave up after waiting".to_owned(),
        "Wait longer".to_owned(),
    ];
    for part in parts {
        assert!(text.contains(&part), "{part:?} is not in {text}");
    }
    let entry = error.lease().unwrap();
    assert!(error.is_busy() && !error.waited().is_zero());
    assert_eq!((entry.name.as_str(), entry.token), ("a", held.token()));
    // A store may add what its clock may jump by.
    assert!(entry.remaining <= LONG + SHORT * 10 && entry.remaining > LONG - PATIENCE, "{entry:?}");
    assert!(entry.held_for < PATIENCE, "{entry:?}");
    let Occupancy::Held(tenant) = &entry.occupancy else { panic!("{entry:?}") };
    assert_eq!((tenant.pid, tenant.note.as_deref()), (Some(std::process::id()), Some("the nightly run")));
    assert!(tenant.command.is_some() && !tenant.host.is_empty());
}

pub(crate) fn names_that_differ_are_different_leases(place: &Place) {
    let store = place.connect();
    let long = "x".repeat(Name::LENGTH_MAX - 1);
    let texts = [
        "a",
        "A",
        " a",
        "a ",
        "a%",
        "a_",
        "a\\",
        "a'",
        "a\"; DROP TABLE tenure_lease; --",
        "$1",
        "?1",
        ":a",
        // Composed and decomposed; an emoji beyond the basic plane; a name that is no number.
        "\u{e9}",
        "e\u{301}",
        "\u{1f980}",
        "1",
        "01",
        "1.0",
        "NULL",
        "null",
        ".",
        "..",
        "a#b",
    ];
    let mut names: Vec<Name> = texts.into_iter().map(Name::from).collect();
    names.extend([("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("", ""), ("a\0", "b")].map(Name::from));
    names.extend([format!("{long}y"), format!("{long}z")].map(Name::from));
    let held: Vec<_> =
        names.iter().map(|name| store.acquire(name.clone(), LONG, Wait::Never).unwrap()).collect();
    for (name, lease) in names.iter().zip(&held) {
        assert!(lease.is_held() && lease.name() == name && lease.token().number() == 1, "{name}");
        assert!(store.try_acquire(name.clone(), LONG).unwrap().is_none(), "{name}");
    }
    // The same text is the same lease, however it came to be.
    assert!(store.try_acquire("a/b%2Fc", LONG).unwrap().is_none());
    let mut listed: Vec<Name> = store.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    listed.sort();
    assert_eq!(listed, names);
}

pub(crate) fn what_no_store_could_keep_is_refused(place: &Place) {
    let store = place.connect();
    for name in ["", "a\0", "a\nb", "\u{7f}", &"x".repeat(Name::LENGTH_MAX + 1)] {
        let errors = [
            store.acquire(name, LONG, Wait::Never).map(drop).unwrap_err(),
            store.lease(name, LONG).acquire_detached(Wait::Never).map(drop).unwrap_err(),
            store.holder(name).map(drop).unwrap_err(),
            store.force_release(name, "so").map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_rejected() && error.to_string().contains("the name of a lease"), "{error}");
        }
    }
    for ttl in
        [Duration::ZERO, TTL_MIN - Duration::from_nanos(1), TTL_MAX + Duration::from_nanos(1), Duration::MAX]
    {
        let error = store.acquire("a", ttl, Wait::Never).map(drop).unwrap_err();
        assert!(error.is_rejected() && error.to_string().contains("100ms to 10 years"), "{error}");
    }
    let request = store.lease("a", LONG);
    for request in [
        request.clone().at_least(Duration::MAX),
        request.clone().at_most(Duration::ZERO),
        request.clone().at_most(Duration::MAX),
        request.clone().at_least(LONG).at_most(SHORT),
    ] {
        assert!(request.acquire(Wait::Never).unwrap_err().is_rejected());
    }
    assert_eq!(store.list().unwrap(), [], "what was refused has left something");
    let shortest = store.lease("a", TTL_MIN).acquire_detached(Wait::Never).unwrap();
    assert_eq!(shortest.ttl(), TTL_MIN);
    let longest = store.acquire("a", TTL_MAX, soon()).unwrap();
    assert!(longest.deadline() <= Native.now() + TTL_MAX && longest.remaining() > TTL_MAX / 2);
}

pub(crate) fn tokens_grow_whatever_ends_a_lease(place: &Place) {
    let stores = [place.connect(), place.connect()];
    let mut last = BTreeMap::new();
    for round in 0..12 {
        for name in ["a", "b", "c"] {
            let store = &stores[round % 2];
            let lease = store.lease(name, TTL_MIN);
            let token = match round % 4 {
                0 => {
                    let lease = store.acquire(name, LONG, soon()).unwrap();
                    let token = lease.token();
                    lease.release().unwrap();
                    token
                }
                1 => lease.acquire_detached(soon()).unwrap().token(),
                2 => {
                    let token = store.lease(name, LONG).acquire_detached(soon()).unwrap().token();
                    assert_eq!(store.force_release(name, "so").unwrap().unwrap().token, token);
                    token
                }
                _ => store.acquire(name, LONG, soon()).unwrap().token(),
            };
            let before = last.insert(name, token);
            assert!(before.is_none_or(|before| before < token), "{before:?} {token}");
            assert_eq!(store.holder(name).unwrap().unwrap().token, token);
        }
    }
    assert!(last.values().all(|token| token.number() == 12), "{last:?}: one step for each holder");
}

fn ask(name: &str, ttl: Duration) -> Ask {
    let owner = Owner::new(Native.random(), Native.random());
    let tenant = tenure::lease::Tenant::from_json("{\"host\":\"test\"}");
    Ask { name: name.into(), owner, tenant, ttl, at_least: Duration::ZERO, at_most: None, again: false }
}

fn until() -> Moment {
    Native.now() + PATIENCE
}

fn granted(attempt: Attempt) -> tenure::Token {
    match attempt {
        Attempt::Granted { token, .. } => token,
        Attempt::Held(entry) => panic!("{entry}"),
    }
}

pub(crate) fn an_owner_that_asks_again_has_it_already(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let (first, second) = (ask("a", LONG), ask("a", LONG));
    let token = granted(store.store().acquire(&first, until()).unwrap());
    for again in [false, true] {
        let first = Ask { again, ..first.clone() };
        assert_eq!(granted(other.store().acquire(&first, until()).unwrap()), token);
        let second = Ask { again, ..second.clone() };
        let Attempt::Held(entry) = store.store().acquire(&second, until()).unwrap() else { panic!("two") };
        assert_eq!(entry.token, token);
    }
}

pub(crate) fn only_the_owner_with_its_token_renews_and_releases(place: &Place) {
    let store = place.connect();
    let store = store.store();
    let first = ask("a", SHORT);
    let claim = |ask: &Ask, token| Claim { name: ask.name.clone(), owner: ask.owner.clone(), token };
    let token = granted(store.acquire(&first, until()).unwrap());
    let own = claim(&first, token);
    let next = tenure::Token::new(token.number() + 1).unwrap();
    let stolen = Answer::Lost(LossReason::Stolen);
    let unknown = Claim { name: "never".into(), ..own.clone() };
    for wrong in [claim(&ask("a", LONG), token), claim(&first, next), unknown] {
        assert!(matches!(store.renew(&wrong, LONG, None, until()).unwrap(), Answer::Lost(_)), "{wrong:?}");
        assert!(matches!(store.release(&wrong, until()).unwrap(), Answer::Lost(_)), "{wrong:?}");
    }
    assert!(matches!(store.look(&own.name, until()).unwrap().unwrap().occupancy, Occupancy::Held(_)));
    // Nobody else wanted it when its time was over, so it is still its owner's.
    eventually("expiry", || store.look(&own.name, until()).unwrap().unwrap().occupancy == Occupancy::Free);
    let Answer::Done { lasts } = store.renew(&own, LONG, None, until()).unwrap() else { panic!("lost") };
    assert_eq!(lasts, LONG);
    for _ in 0..2 {
        let done = Answer::Done { lasts: Duration::ZERO };
        assert_eq!(store.release(&own, until()).unwrap(), done, "also when the first answer was lost");
    }
    assert_eq!(store.renew(&own, LONG, None, until()).unwrap(), Answer::Lost(LossReason::Released));
    // From the next holder on, the old claim means nothing.
    let second = ask("a", LONG);
    assert_eq!(granted(store.acquire(&second, until()).unwrap()), next);
    for _ in 0..2 {
        // A store that still knows that this owner released it may say that it is done.
        store.release(&own, until()).unwrap();
    }
    let third = ask("a", LONG);
    assert!(matches!(store.acquire(&third, until()).unwrap(), Attempt::Held(_)), "released by a stranger");
    let name = own.name.clone();
    assert_eq!(store.break_lease(&name, "so", until()).unwrap().unwrap().token, next);
    assert_eq!(store.break_lease(&name, "so", until()).unwrap(), None);
    let granted = granted(store.acquire(&third, until()).unwrap());
    assert!(granted > next);
    assert_eq!(store.renew(&own, LONG, None, until()).unwrap(), stolen);
    // What an attempt left behind goes with its owner, and with no other.
    store.abandon(&name, &second.owner);
    assert!(matches!(store.look(&name, until()).unwrap().unwrap().occupancy, Occupancy::Held(_)));
    store.abandon(&name, &third.owner);
    eventually("freed", || store.look(&name, until()).unwrap().unwrap().occupancy == Occupancy::Free);
}

pub(crate) fn a_lease_ends_with_its_time_and_not_before(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let ttl = Duration::from_secs(1);
    let before = Instant::now();
    let first = store.lease("a", ttl).acquire_detached(Wait::Never).unwrap();
    let second = other.acquire("a", LONG, soon()).unwrap();
    assert!(before.elapsed() >= ttl, "given away after {:?}", before.elapsed());
    assert!(second.token() > first.token());
}

pub(crate) fn the_keeper_renews_beyond_the_time_to_live(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let ttl = Duration::from_secs(3);
    let lease = store.acquire("a", ttl, Wait::Never).unwrap();
    let (first, descriptor) = (lease.deadline(), lease.descriptor().unwrap());
    eventually("two times to live", || {
        assert!(lease.is_held(), "{:?}", lease.lost());
        assert!(!rings(&descriptor), "the descriptor tells of a loss that is none");
        assert!(other.try_acquire("a", ttl).unwrap().is_none());
        std::thread::sleep(Duration::from_millis(50));
        Native.now() > first + ttl
    });
    assert!(lease.remaining() > Duration::ZERO && lease.remaining() <= ttl);
    lease.renew().unwrap();
    lease.release().unwrap();
    assert!(is_free(&other, "a"));
}

pub(crate) fn what_is_dropped_is_released(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    drop(store.acquire("a", LONG, Wait::Never).unwrap());
    assert!(other.try_acquire("a", LONG).unwrap().is_some());
    let panicked = std::thread::scope(|scope| {
        let work = || {
            let _lease = store.acquire("a", LONG, Wait::Never).unwrap();
            std::panic::resume_unwind(Box::new("the work fails"));
        };
        scope.spawn(work).join().is_err()
    });
    assert!(panicked && is_free(&other, "a"));
}

pub(crate) fn at_least_keeps_it_from_others(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let least = Duration::from_secs(1);
    for dropped in [false, true] {
        let before = Instant::now();
        let lease = store.lease("a", LONG).at_least(least).acquire(soon()).unwrap();
        if dropped {
            drop(lease)
        } else {
            lease.release().unwrap()
        }
        let entry = other.holder("a").unwrap().unwrap();
        if before.elapsed() < least {
            assert!(matches!(entry.occupancy, Occupancy::Kept(_)), "{entry:?}");
        }
        let next = other.acquire("a", LONG, soon()).unwrap();
        assert!(before.elapsed() >= least, "given away after {:?}", before.elapsed());
        next.release().unwrap();
    }
    let lease = store.lease("a", LONG).at_least(LONG).acquire(soon()).unwrap();
    let token = lease.token();
    lease.release().unwrap();
    let error = other.acquire("a", LONG, Wait::Never).unwrap_err();
    assert!(error.is_busy() && error.to_string().contains("kept for another"), "{error}");
    assert_eq!(other.force_release("a", "it failed").unwrap().unwrap().token, token);
    assert!(other.try_acquire("a", LONG).unwrap().is_some(), "kept although it was released by force");
}

pub(crate) fn at_most_ends_it(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let (ttl, most) = (Duration::from_secs(1), Duration::from_millis(2500));
    let lease = store.lease("a", ttl).at_most(most).acquire(Wait::Never).unwrap();
    let granted = Instant::now();
    let mut last_seen = granted;
    eventually("its end", || {
        let before = Instant::now();
        let held = lease.is_held();
        if held {
            last_seen = before;
        }
        !held
    });
    assert!(last_seen - granted < most, "held for {:?}", last_seen - granted);
    assert_eq!(lease.lost().unwrap().reason, LossReason::Expired);
    other.acquire("a", LONG, soon()).unwrap().release().unwrap();
    assert!(lease.release().unwrap_err().is_lost());
}

pub(crate) fn at_most_ends_it_whoever_renews(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let most = Duration::from_millis(1500);
    let handle = store.lease("a", SHORT * 2).at_most(most).acquire_detached(Wait::Never).unwrap();
    let granted = Instant::now();
    eventually("another gets it", || {
        let asked = Instant::now();
        match store.renew(&handle, None) {
            Ok(Duration::ZERO) => {}
            Ok(lasts) => assert!(asked + lasts <= granted + most, "{lasts:?} from {:?} on", asked - granted),
            Err(error) => assert!(error.is_lost(), "{error}"),
        }
        other.try_acquire("a", LONG).unwrap().is_some()
    });
    assert!(store.renew(&handle, None).unwrap_err().is_lost());
}

pub(crate) fn the_list_shows_every_name(place: &Place) {
    let store = place.connect();
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(store.holder("b").unwrap(), None);
    store.acquire("c", LONG, Wait::Never).unwrap().release().unwrap();
    let held = store.acquire("b", LONG, Wait::Never).unwrap();
    let kept = store.lease("a", LONG).at_least(LONG).acquire(Wait::Never).unwrap();
    kept.release().unwrap();
    let list = place.connect().list().unwrap();
    assert_eq!(list.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(matches!(list[0].occupancy, Occupancy::Kept(_)), "{list:?}");
    assert!(matches!(list[1].occupancy, Occupancy::Held(_)) && list[1].token == held.token(), "{list:?}");
    assert!(list[2].occupancy == Occupancy::Free && list[2].remaining.is_zero(), "{list:?}");
    assert_eq!(store.force_release("c", "so").unwrap(), None, "nobody had it");
    assert_eq!(store.force_release("never", "so").unwrap(), None);
    assert_eq!(store.list().unwrap().len(), 3, "asking makes no row");
}

pub(crate) fn threads_get_in_one_by_one(place: &Place) {
    let store = place.connect();
    let (inside, entered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for n in 0..8 {
            let store = if n % 2 == 0 { store.clone() } else { place.connect() };
            let (inside, entered) = (&inside, &entered);
            scope.spawn(move || {
                for _ in 0..10 {
                    let lease = store.acquire("a", LONG, soon()).unwrap();
                    assert!(!inside.swap(true, Ordering::SeqCst), "two holders");
                    entered.fetch_add(1, Ordering::SeqCst);
                    inside.store(false, Ordering::SeqCst);
                    lease.release().unwrap();
                }
            });
        }
    });
    assert_eq!(entered.into_inner(), 80);
    assert_eq!(store.holder("a").unwrap().unwrap().token.number(), 80);
}

/// Runs `work` in a real forked child, with the state that a fork leaves.
#[expect(unsafe_code, reason = "fork is what this test is about")]
pub(crate) fn in_child(work: impl FnOnce()) {
    // SAFETY: glibc keeps its allocator usable in the child, and the child leaves by _exit.
    let child = match unsafe { libc::fork() } {
        0 => {
            let code = i32::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
        pid => Pid::from_raw(pid).unwrap(),
    };
    let start = Instant::now();
    let status = loop {
        match waitpid(Some(child), WaitOptions::NOHANG).unwrap() {
            Some((_, status)) => break status,
            None if start.elapsed() > PATIENCE => {
                rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
                panic!("the child hangs");
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    assert_eq!(status.exit_status(), Some(0), "the child failed");
}

pub(crate) fn a_forked_child_neither_holds_nor_releases(place: &Place) {
    let (store, stalled) = Stalled::over(&place.connect());
    let mut lease = Some(store.acquire("a", LONG, Wait::Never).unwrap());
    let check = |lease: &tenure::Lease| {
        assert!(!lease.is_held());
        for error in [lease.ensure_held().unwrap_err(), lease.renew().unwrap_err()] {
            assert!(error.to_string().contains("forked"), "{error}");
        }
    };
    in_child(|| {
        check(lease.as_ref().unwrap());
        assert!(lease.take().unwrap().release().is_err());
    });
    in_child(|| drop(lease.take()));
    let detached = |lease: tenure::Lease| lease.detach().map(drop).unwrap_err();
    in_child(|| assert!(detached(lease.take().unwrap()).to_string().contains("forked")));
    in_child(|| {
        assert!(store.acquire("b", LONG, Wait::Never).is_err(), "the child used its parent's connection")
    });
    let held = lease.as_ref().unwrap();
    assert!(held.is_held() && place.connect().try_acquire("a", LONG).unwrap().is_none());

    // A fork in the midst of a renewal leaves its mutex locked for ever in the child.
    stalled.be(Mood::Hangs);
    let calls = stalled.calls.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        let (done, renewed) = mpsc::channel();
        scope.spawn(move || done.send(held.renew()).unwrap());
        eventually("a renewal", || stalled.calls.load(Ordering::SeqCst) > calls);
        in_child(|| check(held));
        // Its parent's lease is behind a reference here; a guard of its own is released as any other.
        stalled.be(Mood::Answers);
        renewed.recv_timeout(PATIENCE).unwrap().unwrap();
    });
    lease.take().unwrap().release().unwrap();
    assert!(is_free(&place.connect(), "a"));
}

pub(crate) fn a_forked_child_tells_of_no_loss(place: &Place) {
    let lease = place.connect().acquire("a", SHORT, Wait::Never).unwrap();
    let told = std::sync::Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    lease.on_loss(move |_| tell.store(true, Ordering::SeqCst));
    // It is the parent's, too: what the child sets it to, the parent hears.
    let descriptor = lease.descriptor().unwrap();
    in_child(|| {
        // Nobody renews the child's copy.
        std::thread::sleep(2 * SHORT);
        assert!(lease.lost().is_none() && !lease.is_held());
        lease.on_loss(|lost| panic!("{lost}"));
        assert!(lease.descriptor().is_err() && lease.remaining().is_zero());
        assert!(!told.load(Ordering::SeqCst), "the parent's function was called in the child");
    });
    drop(descriptor);
}
