//! Tables for the queues of documents: who leads, whose turn it is, and what is left by those who leave.

use std::sync::Arc;
use std::task::Waker;

use super::{Answer, Content, Draft, Local, Mode, Outcome, Site, Standing, Wishes};
use crate::host::FileId;

const LOCK: FileId = FileId { device: 1, inode: 9 };

fn site() -> Site {
    Site { directory: FileId { device: 1, inode: 2 }, name: "n.json".into() }
}

fn content(text: &str) -> Content {
    Some(Arc::new(text.as_bytes().to_vec()))
}

fn draft(text: &str) -> Draft {
    Draft { content: content(text), unwritten: false, sync: false, wishes: Wishes::default() }
}

/// Where a thread stands, in a word.
fn standing(local: &mut Local, thread: u64) -> String {
    let text = |draft: &Draft| {
        String::from_utf8(draft.content.as_ref().unwrap().to_vec()).unwrap()
            + if draft.unwritten { " unwritten" } else { "" }
    };
    match local.standing(&site(), thread, Waker::noop()) {
        Standing::Waits => "waits".into(),
        Standing::Leads => "leads".into(),
        Standing::Turn(draft) => format!("turn {}", text(&draft)),
        Standing::Answered => "answered".into(),
        Standing::Told(outcome) => format!("told {outcome:?}"),
        Standing::Collected(draft) => format!("collected {} sync={}", text(&draft), draft.sync),
    }
}

fn all(local: &mut Local, threads: impl IntoIterator<Item = u64>) -> Vec<String> {
    threads.into_iter().map(|thread| standing(local, thread)).collect()
}

/// Threads 1 to `last`, of which the first leads, and every other one wants its change to be durable.
fn joined(last: u64) -> Local {
    let mut local = Local::default();
    for thread in 1..=last {
        assert_eq!(local.join(&site(), thread, thread % 2 == 0), Ok(thread == 1));
    }
    local
}

fn told(text: &'static str) -> Arc<dyn Outcome> {
    Arc::new(text)
}

fn change(local: &mut Local, thread: u64, text: &str) {
    let changed = Answer::Changed(Arc::new(text.as_bytes().to_vec()), Wishes::default());
    let _next = local.answer(&site(), thread, changed, Waker::noop());
}

/// Passes on the lead, and says whether nobody is left.
fn is_last(local: &mut Local, leader: u64) -> bool {
    let (next, left) = local.pass_on(&site(), leader);
    next.is_none() && left && local.is_idle()
}

#[test]
fn changes_are_made_in_the_order_of_coming_and_told_together() {
    let mut local = joined(3);
    assert_eq!(all(&mut local, 1..=3), ["leads", "waits", "waits"]);
    assert!(local.hand_on(&site(), 1, LOCK, draft("a"), Waker::noop()).unwrap().is_some());
    // Who comes after the drawing is not of this batch.
    assert_eq!(local.join(&site(), 4, true), Ok(false));
    assert_eq!(all(&mut local, 1..=4), ["answered", "turn a", "waits", "waits"]);
    change(&mut local, 2, "b");
    assert_eq!(all(&mut local, 1..=4), ["answered", "answered", "turn b unwritten", "waits"]);
    assert!(local.answer(&site(), 3, Answer::Failed, Waker::noop()).is_some());
    assert_eq!(all(&mut local, 1..=4), ["collected b unwritten sync=true", "answered", "answered", "waits"]);
    let (next, left) = local.pass_on(&site(), 1);
    assert!(next.is_some() && !left);
    assert_eq!(all(&mut local, 2..=4), ["answered", "answered", "leads"]);
    assert_eq!(local.tell(&site(), 1, &told("written")).len(), 2);
    assert_eq!(all(&mut local, 2..=4), ["told \"written\"", "told \"written\"", "leads"]);
    assert!(is_last(&mut local, 4));
}

#[test]
fn who_is_alone_is_handed_the_draft_back() {
    let mut local = joined(1);
    assert_eq!(local.hand_on(&site(), 1, LOCK, draft("a"), Waker::noop()).unwrap_err(), draft("a"));
    assert!(is_last(&mut local, 1));
}

#[test]
fn a_thread_that_asks_twice_is_told_so_at_every_stage() {
    let mut local = joined(2);
    let again = |local: &mut Local| [1, 2].map(|thread| local.join(&site(), thread, true).is_err());
    assert_eq!(again(&mut local), [true, true]);
    let _turn = local.hand_on(&site(), 1, LOCK, draft("a"), Waker::noop());
    assert_eq!(again(&mut local), [true, true]);
    change(&mut local, 2, "b");
    let _next = local.pass_on(&site(), 1);
    assert_eq!(again(&mut local), [true, true]);
    let other = Site { name: "m.json".into(), ..site() };
    assert_eq!(local.join(&other, 1, true), Ok(true));
}

#[test]
fn whoever_leaves_passes_on_what_others_wait_for() {
    // Who leaves, and where that leaves the others; thread 2 has the turn.
    for (who, left) in [
        (1, ["", "leads", "waits", "waits"]),
        (2, ["answered", "", "turn a", "waits"]),
        (3, ["answered", "turn a", "", "waits"]),
        (4, ["answered", "turn a", "waits", ""]),
    ] {
        let mut local = joined(4);
        let _turn = local.hand_on(&site(), 1, LOCK, draft("a"), Waker::noop());
        let _wakers = local.quit(&site(), who);
        for thread in (1..=4).filter(|thread| *thread != who) {
            assert_eq!(standing(&mut local, thread), left[thread as usize - 1], "{thread} without {who}");
        }
        // Whose turn it was goes on as if nothing had happened, and is heard if the batch is still there.
        if who == 1 {
            change(&mut local, 2, "b");
            assert_eq!(standing(&mut local, 2), "leads");
        }
    }
}

#[test]
fn only_who_has_not_begun_may_give_up() {
    let mut local = joined(3);
    let _turn = local.hand_on(&site(), 1, LOCK, draft("a"), Waker::noop());
    assert!(!local.give_up(&site(), 1) && !local.give_up(&site(), 2) && local.give_up(&site(), 3));
    change(&mut local, 2, "b");
    assert!(!local.give_up(&site(), 2));
    assert_eq!(standing(&mut local, 1), "collected b unwritten sync=true");
    let mut local = joined(2);
    let _promoted = local.quit(&site(), 1);
    assert!(!local.give_up(&site(), 2), "it leads");
}

#[test]
fn a_batch_that_begins_again_is_the_same_threads() {
    let mut local = joined(3);
    let _turn = local.hand_on(&site(), 1, LOCK, draft("a"), Waker::noop());
    change(&mut local, 2, "b");
    change(&mut local, 3, "c");
    assert_eq!(local.join(&site(), 4, true), Ok(false));
    let _turn = local.hand_on(&site(), 1, LOCK, draft("x"), Waker::noop());
    assert_eq!(all(&mut local, 1..=4), ["answered", "turn x", "waits", "waits"]);
    change(&mut local, 2, "y");
    assert_eq!(standing(&mut local, 3), "turn y unwritten");
    let _leads = local.quit(&site(), 1);
    assert_eq!(all(&mut local, 2..=4), ["leads", "waits", "waits"]);
}

#[test]
fn the_place_in_the_queue_for_the_lock_goes_with_the_turn() {
    let mut local = joined(2);
    let (ticket, _) = local.enter(LOCK, 1, Mode::Exclusive).unwrap();
    let _turn = local.hand_on(&site(), 1, LOCK, draft("a"), Waker::noop());
    assert!(local.occupies(LOCK, 2) && !local.occupies(LOCK, 1));
    assert!(local.enter(LOCK, 2, Mode::Exclusive).is_err(), "it would wait for itself");
    change(&mut local, 2, "b");
    assert!(local.occupies(LOCK, 1) && !local.occupies(LOCK, 2));
    assert!(local.leave(LOCK, ticket).is_empty());
}

#[test]
fn the_first_who_creates_a_document_decides_on_its_mode() {
    let mut local = joined(3);
    let _turn = local.hand_on(&site(), 1, LOCK, Draft { content: None, ..draft("") }, Waker::noop());
    for (thread, mode) in [(2, 0o600), (3, 0o640)] {
        let changed = Answer::Changed(Arc::new(vec![]), Wishes { mode: Some(mode), ..Wishes::default() });
        let _next = local.answer(&site(), thread, changed, Waker::noop());
    }
    let Standing::Collected(draft) = local.standing(&site(), 1, Waker::noop()) else { panic!() };
    assert_eq!(draft.wishes.mode, Some(0o600));
}
