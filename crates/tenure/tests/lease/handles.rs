//! Leases that belong to whoever has their handle.

use std::time::{Duration, Instant};

use tenure::Wait;
use tenure::lease::{Handle, Occupancy};

use crate::place::{LONG, Place, SHORT, eventually, soon};

/// As it goes from process to process.
fn passed_on(handle: &Handle) -> Handle {
    let word = handle.to_string();
    assert!(!word.contains(char::is_whitespace), "{word}");
    let read: Handle = word.parse().unwrap();
    assert_eq!(read, *handle);
    read
}

pub(crate) fn a_handle_outlives_its_lease(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let lease = store.lease(("a b", "é/1"), LONG).note("by hand").acquire(Wait::Never).unwrap();
    let token = lease.token();
    let handle = passed_on(&lease.detach().unwrap());
    drop(store);
    let entry = other.holder(("a b", "é/1")).unwrap().unwrap();
    let Occupancy::Held(tenant) = &entry.occupancy else { panic!("{entry:?}") };
    assert_eq!((tenant.pid, tenant.note.as_deref(), entry.token), (None, Some("by hand"), token));
    assert!(entry.to_string().contains("a handle from host"), "{entry}");
    assert!(other.try_acquire(("a b", "é/1"), LONG).unwrap().is_none());
    // Picked up, it is that process's; left again, it is nobody's.
    let resumed = other.resume(&handle).unwrap();
    assert_eq!((resumed.token(), resumed.handle()), (token, handle.clone()));
    assert_eq!(
        other.holder(("a b", "é/1")).unwrap().unwrap().tenant().unwrap().pid,
        Some(std::process::id())
    );
    let again = resumed.detach().unwrap();
    assert_eq!(again, handle);
    let lasts = other.renew(&handle, None).unwrap();
    assert!(lasts <= LONG && lasts > LONG - Duration::from_secs(60), "{lasts:?}");
    for ttl in [Duration::ZERO, Duration::MAX] {
        assert!(other.renew(&handle, Some(ttl)).unwrap_err().is_rejected());
    }
    let lasts = other.renew(&handle, Some(SHORT)).unwrap();
    assert!(lasts <= SHORT, "{lasts:?}");
    eventually("its end", || other.holder(("a b", "é/1")).unwrap().unwrap().occupancy == Occupancy::Free);
}

pub(crate) fn a_handle_of_a_lost_lease_says_so(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let handle = store.lease("a", SHORT).acquire_detached(Wait::Never).unwrap();
    let next = other.acquire("a", LONG, soon()).unwrap();
    let lost = |handle: &Handle, word: &str| {
        let errors = [
            store.resume(handle).map(drop).unwrap_err(),
            store.renew(handle, None).map(drop).unwrap_err(),
            store.renew(handle, Some(LONG)).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_lost() && error.to_string().contains(word), "{error}");
        }
    };
    lost(&handle, "another has it");
    assert!(store.release(&handle).unwrap_err().is_lost());
    assert!(next.is_held() && next.renew().is_ok(), "an old handle did harm");
    next.release().unwrap();

    let handle = store.lease("a", LONG).acquire_detached(Wait::Never).unwrap();
    other.force_release("a", "a mistake").unwrap().unwrap();
    lost(&handle, "released by force: a mistake");
    let handle = store.lease("a", LONG).acquire_detached(Wait::Never).unwrap();
    for _ in 0..2 {
        other.release(&handle).unwrap();
    }
    lost(&handle, "it was released");
    let strange: Handle = "lease1:7:00000000-0000-4001-8000-000000000002:30000:never".parse().unwrap();
    lost(&strange, "its store knows it no longer");
}

pub(crate) fn a_handle_is_released_and_resumed_by_anyone(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let handle = passed_on(&store.lease("a", LONG).acquire_detached(Wait::Never).unwrap());
    other.release(&handle).unwrap();
    let next = store.lease("a", LONG).acquire_detached(Wait::Never).unwrap();
    assert!(next.token() > handle.token());
    let resumed = other.resume(&passed_on(&next)).unwrap();
    // The time of a lease that is dropped ends as that of any other.
    drop(resumed);
    assert_eq!(store.holder("a").unwrap().unwrap().occupancy, Occupancy::Free);
    // Also after its time, as long as nobody else has got it.
    let late = store.lease("a", SHORT).acquire_detached(Wait::Never).unwrap();
    eventually("its end", || store.holder("a").unwrap().unwrap().occupancy == Occupancy::Free);
    other.renew(&late, Some(LONG)).unwrap();
    let resumed = other.resume(&late).unwrap();
    assert_eq!((resumed.token(), resumed.is_held()), (late.token(), true));
    drop(resumed);
    // Unless somebody made sure that it is over.
    let late = store.lease("a", SHORT).acquire_detached(Wait::Never).unwrap();
    eventually("its end", || store.holder("a").unwrap().unwrap().occupancy == Occupancy::Free);
    assert_eq!(other.force_release("a", "made sure").unwrap(), None, "nobody held it");
    for error in [store.renew(&late, None).map(drop).unwrap_err(), store.resume(&late).map(drop).unwrap_err()]
    {
        assert!(error.is_lost() && error.to_string().contains("made sure"), "{error}");
    }
}

pub(crate) fn a_detached_lease_ends_with_its_time(place: &Place) {
    let (store, other) = (place.connect(), place.connect());
    let ttl = Duration::from_secs(1);
    let lease = store.acquire("a", ttl, Wait::Never).unwrap();
    let before = Instant::now();
    let _handle = lease.detach().unwrap();
    let next = other.acquire("a", LONG, soon()).unwrap();
    assert!(before.elapsed() >= ttl, "given away after {:?}", before.elapsed());
    assert!(next.is_held());
}
