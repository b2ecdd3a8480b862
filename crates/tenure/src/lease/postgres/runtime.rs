//! The bridge between callers, who block, and the driver, which is asynchronous.
//!
//! A caller's own thread drives what it asks: an answer is a matter between it and the socket, without another thread to wake.
//! Callers at the same time take turns at that. What goes on after its caller has left, a question that was too late for
//! instance, is driven by a thread that is started for it and ends with it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::host::{Host, Native};

pub(super) struct Runtime {
    /// `None` only while this is dropped.
    inner: Option<tokio::runtime::Runtime>,
    process: u64,
    background: Mutex<Background>,
    /// A task of the background has ended.
    ended: Notify,
}

#[derive(Default)]
struct Background {
    tasks: usize,
    driven: bool,
}

/// This process is a fork of the one that opened the store: the connections are its parent's.
pub(super) struct Forked;

impl Runtime {
    pub(super) fn new() -> std::io::Result<Arc<Runtime>> {
        let inner = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Arc::new(Runtime {
            inner: Some(inner),
            process: Native.process_mark(),
            background: Mutex::default(),
            ended: Notify::new(),
        }))
    }

    fn inner(&self) -> &tokio::runtime::Runtime {
        self.inner.as_ref().expect("it is taken only when this is dropped")
    }

    /// Runs the future to its end, for which it has a limit of its own.
    pub(super) fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> Result<T, Forked> {
        if self.is_forked() {
            return Err(Forked);
        }
        if Handle::try_current().is_err() {
            return Ok(self.inner().block_on(future));
        }
        // A thread of somebody's event loop may not run another.
        let ended = std::thread::scope(|scope| scope.spawn(move || self.inner().block_on(future)).join());
        Ok(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    /// Runs the future in the background.
    pub(super) fn begin(self: &Arc<Runtime>, future: impl Future<Output = ()> + Send + 'static) {
        if self.is_forked() {
            return;
        }
        self.background().tasks += 1;
        let task = Task(self.clone());
        self.inner().spawn(async move {
            let _until_it_ends = task;
            future.await;
        });
        let mut background = self.background();
        if !background.driven {
            let driver = self.clone();
            let thread = std::thread::Builder::new().name("tenure-postgres".into());
            // Without a thread, it goes on during the calls to come.
            background.driven = thread.spawn(move || driver.inner().block_on(driver.drive())).is_ok();
        }
    }

    async fn drive(&self) {
        loop {
            let ended = self.ended.notified();
            if self.background().leave_if_empty() {
                break;
            }
            ended.await;
        }
        // A connection that the last task has dropped takes leave of the server.
        yield_now().await;
    }

    fn background(&self) -> MutexGuard<'_, Background> {
        self.background.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process is a fork of the one that opened the store.
    pub(super) fn is_forked(&self) -> bool {
        self.process != Native.process_mark()
    }
}

impl Background {
    /// Whether there is nothing to drive; then it is noted that nobody does, in the same step.
    fn leave_if_empty(&mut self) -> bool {
        self.driven = self.tasks > 0;
        !self.driven
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        match self.inner.take() {
            // Its descriptors are the parent's as well.
            Some(inner) if self.is_forked() => {
                let _never_dropped = std::mem::ManuallyDrop::new(inner);
            }
            // A plain drop may not happen on a thread of another event loop.
            Some(inner) => inner.shutdown_background(),
            None => {}
        }
    }
}

/// A task of the background, until it ends.
struct Task(Arc<Runtime>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.background().tasks -= 1;
        self.0.ended.notify_one();
    }
}
