//! The bridge between callers, who block, and the driver, which is asynchronous.
//!
//! The driver runs on a thread of the store's own. So a call has a bound whatever the server does, works on a thread of
//! somebody's event loop as well, and what it began can be finished after its caller has left.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::host::{Host, Native};
use crate::wait::Moment;

pub(super) struct Runtime {
    /// `None` only while this is dropped.
    inner: Option<tokio::runtime::Runtime>,
    process: u64,
}

/// This process is a fork of the one that opened the store, and has not its thread.
pub(super) struct Forked;

impl Runtime {
    pub(super) fn new() -> std::io::Result<Runtime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let inner = builder.worker_threads(1).thread_name("tenure-postgres").enable_all().build()?;
        Ok(Runtime { inner: Some(inner), process: Native.process_mark() })
    }

    /// Runs the future to its end; whoever called this waits for it until this moment and no longer, and gets `None` then.
    pub(super) fn wait_for<T: Send + 'static>(
        &self,
        until: Moment,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<Option<T>, Forked> {
        if self.is_forked() {
            return Err(Forked);
        }
        let mut waiter = Native.waiter();
        let waker = Native.waker(&waiter);
        let slot = Arc::new(Mutex::new(None));
        let filled = slot.clone();
        self.begin(async move {
            let result = future.await;
            *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            waker.wake();
        });
        loop {
            let result = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if result.is_some() || Native.now() >= until {
                return Ok(result);
            }
            Native.wait(&mut waiter, Some(until));
        }
    }

    /// Whether this process is a fork of the one that opened the store.
    pub(super) fn is_forked(&self) -> bool {
        self.process != Native.process_mark()
    }

    /// Runs the future in the background.
    pub(super) fn begin(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(inner) = &self.inner {
            inner.spawn(future);
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A plain drop would wait for the thread, and may not happen on a thread of another event loop at all.
        match self.inner.take() {
            // Its thread is the parent's.
            Some(inner) if self.is_forked() => {
                let _never_dropped = std::mem::ManuallyDrop::new(inner);
            }
            Some(inner) => inner.shutdown_background(),
            None => {}
        }
    }
}
