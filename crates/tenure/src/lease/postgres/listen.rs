//! Being told of releases: one listening connection a store, for as long as anybody waits.
//!
//! Whoever waits registers first and asks afterwards. What is told between the two finds its waker; what was told before the
//! connection listens, or while it was broken, is made up for by waking everyone when it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::AsyncMessage;

use super::session::Session;
use super::target::Target;

/// The pause before another attempt to listen. Waiters poll meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a connection listens on after the last waiter has left: the next may come soon.
const LINGER: Duration = Duration::from_secs(10);

/// Who is told of what.
#[derive(Default)]
pub(super) struct Board {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By the lease's name.
    wakers: HashMap<String, Vec<(u64, Waker)>>,
    listening: bool,
}

/// A waiter's place on the board, until it is dropped.
pub(super) struct Registration {
    board: Arc<Board>,
    name: String,
    id: u64,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        // No caller's code runs while this is locked, but for wakers' clones and drops.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes `waker` at each release of this lease; `true` says that nobody listens yet, and that the caller has to begin to.
    pub(super) fn register(self: &Arc<Board>, name: &str, waker: &Waker) -> (Registration, bool) {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.wakers.entry(name.to_owned()).or_default().push((id, waker.clone()));
        let begin = !std::mem::replace(&mut state.listening, true);
        (Registration { board: self.clone(), name: name.to_owned(), id }, begin)
    }

    fn wake(&self, name: Option<&str>) {
        let wakers: Vec<Waker> = {
            let state = self.state();
            let named = |key: &str| name.is_none_or(|name| name == key);
            let lists = state.wakers.iter().filter(|(key, _)| named(key)).flat_map(|(_, list)| list);
            lists.map(|(_, waker)| waker.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether nobody waits; then it is noted that nobody listens, in the same step.
    fn leave_if_empty(&self) -> bool {
        let mut state = self.state();
        if state.wakers.is_empty() {
            state.listening = false;
        }
        state.wakers.is_empty()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.board.state();
        if let Some(list) = state.wakers.get_mut(&self.name) {
            list.retain(|(id, _)| *id != self.id);
            if list.is_empty() {
                state.wakers.remove(&self.name);
            }
        }
    }
}

/// Listens until nobody waits any more, or the store is gone.
pub(super) async fn listen(board: Weak<Board>, target: Target) {
    loop {
        let broken = Arc::new(Notify::new());
        let (hear, end) = (board.clone(), Ended(broken.clone()));
        let opened = timeout(CONNECT_MAX, async {
            let mut session = Session::open(&target, move |message| {
                let _until_the_connection_ends = &end;
                if let (AsyncMessage::Notification(told), Some(board)) = (message, hear.upgrade()) {
                    board.wake(Some(told.payload()));
                }
            })
            .await?;
            session.client().batch_execute("LISTEN tenure_lease").await?;
            Ok::<Session, super::failure::Failure>(session)
        });
        if let Ok(Ok(_listening)) = opened.await {
            let Some(here) = board.upgrade() else { return };
            here.wake(None);
            drop(here);
            let mut left = Instant::now() + LINGER;
            while timeout(PAUSE, broken.notified()).await.is_err() {
                let Some(board) = board.upgrade() else { return };
                if !board.state().wakers.is_empty() {
                    left = Instant::now() + LINGER;
                } else if Instant::now() >= left && board.leave_if_empty() {
                    return;
                }
            }
        }
        let Some(here) = board.upgrade() else { return };
        if here.leave_if_empty() {
            return;
        }
        drop(here);
        sleep(PAUSE).await;
    }
}

/// Tells, when the connection's task is over, that it is.
struct Ended(Arc<Notify>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_waiter_listens_and_the_last_one_ends_it() {
        let board = Arc::new(Board::default());
        let (first, begins) = board.register("a", Waker::noop());
        let (second, begins_too) = board.register("a", Waker::noop());
        assert!(begins && !begins_too);
        assert!(!board.leave_if_empty());
        drop((first, second));
        assert!(board.leave_if_empty());
        assert!(board.register("b", Waker::noop()).1, "nobody listened any more");
    }
}
