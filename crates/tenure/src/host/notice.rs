//! How the threads of a process sleep, and how the kernel and other threads wake them.
//!
//! One inotify instance serves the whole process (a user may have 128 of them). A thread that waits for a
//! file polls that instance together with a bell of its own (an eventfd): whoever finds the instance readable
//! drains it for everyone, marks the waiters concerned and rings their bells, because a poller whose event
//! another thread has drained would sleep on. Who waits for a lock tries to take it before, and leaves what it need
//! not read to the next. A thread that waits only for its turn needs no descriptor.

use std::collections::HashMap;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::native::{descriptor_path, locked, shared};
use super::{Errno, Host, Native, Result, Woken};
use crate::wait::Moment;

/// Closing any descriptor of the file; and what happens to a file that is replaced, renamed or deleted.
/// Opening and reading emit nothing that is listened to.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CLOSE_NOWRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// The inotify descriptor of this process, for the fork handler; -1 while there is none.
static INSTANCE: AtomicI32 = AtomicI32::new(-1);

/// The process's inotify instance and who listens to which watch.
#[derive(Default)]
pub(super) struct Notice {
    /// Set once and never closed, so that a thread may poll it without holding the mutex.
    instance: Option<&'static OwnedFd>,
    listeners: HashMap<i32, Vec<Arc<Signal>>>,
}

/// Closes the child's copy of its parent's instance, whose events belong to the parent.
#[expect(
    unsafe_code,
    reason = "the owner of the descriptor is the parent's state, which the child left behind"
)]
pub(super) fn forget_in_child() {
    let raw: RawFd = INSTANCE.swap(-1, Ordering::AcqRel);
    if raw >= 0 {
        // SAFETY: the child's state pointer is null by now, so nothing in the child uses this descriptor.
        unsafe { libc::close(raw) };
    }
}

impl Notice {
    fn instance(&mut self) -> Result<&'static OwnedFd> {
        if let Some(instance) = self.instance {
            return Ok(instance);
        }
        let made = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        INSTANCE.store(made.as_raw_fd(), Ordering::Release);
        let kept: &'static OwnedFd = Box::leak(Box::new(made));
        self.instance = Some(kept);
        Ok(kept)
    }

    /// A file has one watch for all who listen; so who wants fewer events may hear of more.
    fn listen(
        &mut self,
        file: BorrowedFd<'_>,
        more: WatchFlags,
        signal: &Arc<Signal>,
    ) -> Result<(i32, &'static OwnedFd)> {
        let instance = self.instance()?;
        let events = EVENTS | more | WatchFlags::MASK_ADD;
        let watch = inotify::add_watch(instance, descriptor_path(file), events)?;
        self.listeners.entry(watch).or_default().push(signal.clone());
        Ok((watch, instance))
    }

    fn unlisten(&mut self, watch: i32, signal: &Arc<Signal>) {
        let Some(listeners) = self.listeners.get_mut(&watch) else { return };
        listeners.retain(|listener| !Arc::ptr_eq(listener, signal));
        if listeners.is_empty() {
            self.listeners.remove(&watch);
            if let Some(instance) = self.instance {
                // Fails if the kernel dropped the watch already, because the file is gone: then it is done.
                let _gone_already = inotify::remove_watch(instance, watch);
            }
        }
    }

    /// Reads what has happened, one bufferful, and tells those concerned; `reader` knows of itself.
    fn drain(&mut self, reader: &Arc<Signal>) {
        let Some(instance) = self.instance else { return };
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut events = inotify::Reader::new(instance, &mut buffer);
        let tell = |signal: &Arc<Signal>| {
            signal.changed.store(true, Ordering::Release);
            if !Arc::ptr_eq(signal, reader) {
                signal.ring();
            }
        };
        // EAGAIN: another thread was faster. Any other error leaves the waiters to their backstop.
        while let Ok(event) = events.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                self.listeners.values().flatten().for_each(tell);
            } else if event.file_name().is_none() {
                // A named event is about an entry of a locked directory, not about the directory.
                self.listeners.get(&event.wd()).into_iter().flatten().for_each(tell);
            }
            // What is left makes the next poll return at once.
            if events.is_buffer_empty() {
                return;
            }
        }
    }
}

/// A bell that stays audible once rung: the end that rings, and the one to poll.
pub(crate) fn bell() -> Result<(OwnedFd, OwnedFd)> {
    let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok((rustix::io::fcntl_dupfd_cloexec(&bell, 0)?, bell))
}

/// Makes the other end of the bell readable.
pub(crate) fn ring(bell: &OwnedFd) {
    // The counter can only be too full to take one more if the bell has been rung already.
    let _rung_already = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// What wakes one waiting thread.
struct Signal {
    called: AtomicBool,
    changed: AtomicBool,
    thread: Thread,
    bell: OnceLock<OwnedFd>,
}

impl Signal {
    fn ring(&self) {
        // Pairs with the fence in `watch`: either the bell is seen here, or the mark is seen there.
        fence(Ordering::SeqCst);
        if let Some(bell) = self.bell.get() {
            ring(bell);
        }
        self.thread.unpark();
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.called.store(true, Ordering::Release);
        self.ring();
    }
}

/// The native waiter: sleeps for its own thread.
pub(super) struct Parker {
    signal: Arc<Signal>,
    watch: Option<(i32, &'static OwnedFd)>,
    /// Readable once the process that is watched has ended.
    process: Option<OwnedFd>,
}

impl Default for Parker {
    fn default() -> Parker {
        let signal = Signal {
            called: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            thread: std::thread::current(),
            bell: OnceLock::new(),
        };
        Parker { signal: Arc::new(signal), watch: None, process: None }
    }
}

impl fmt::Debug for Parker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parker").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl Drop for Parker {
    fn drop(&mut self) {
        self.unwatch();
    }
}

impl Parker {
    pub(super) fn waker(&self) -> Waker {
        Waker::from(self.signal.clone())
    }

    /// Listens to [`EVENTS`] and `more`.
    pub(super) fn watch(&mut self, file: BorrowedFd<'_>, more: WatchFlags) -> Result<()> {
        self.unwatch();
        self.process = None;
        if self.signal.bell.get().is_none() {
            let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            // Only this thread sets its own bell.
            let _unset_before = self.signal.bell.set(bell);
            fence(Ordering::SeqCst);
        }
        let mut notice = locked(&shared().notice);
        self.watch = Some(notice.listen(file, more, &self.signal)?);
        // What earlier waits have left unread would end the first sleep at once.
        notice.drain(&self.signal);
        Ok(())
    }

    pub(super) fn watch_end(&mut self, pid: u32) -> Result<()> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        self.process = Some(pidfd_open(pid, PidfdFlags::empty())?);
        Ok(())
    }

    fn unwatch(&mut self) {
        if let Some((watch, _)) = self.watch.take() {
            locked(&shared().notice).unlisten(watch, &self.signal);
        }
    }

    pub(super) fn wait(&mut self, until: Option<Moment>) -> Woken {
        self.wait_unless(until, || false).unwrap_or(Woken::Changed)
    }

    /// Waits, and whenever there are notices asks first whether they need to be read at all: `None` if not. Then they are
    /// left to whoever waits next.
    pub(super) fn wait_unless(
        &mut self,
        until: Option<Moment>,
        mut settled: impl FnMut() -> bool,
    ) -> Option<Woken> {
        loop {
            if self.signal.changed.swap(false, Ordering::AcqRel) {
                return Some(Woken::Changed);
            }
            if self.signal.called.swap(false, Ordering::AcqRel) {
                return Some(Woken::Called);
            }
            let left = until.map(|until| until.since(Native.now()));
            if left == Some(Duration::ZERO) {
                return Some(Woken::TimedOut);
            }
            let noticed = self.sleep(left);
            if noticed {
                if settled() {
                    return None;
                }
                locked(&shared().notice).drain(&self.signal);
            }
        }
    }

    /// Sleeps until something may have happened; the caller looks what. Says whether there are notices to be read.
    #[expect(clippy::disallowed_methods, reason = "this is the wait that the lint sends everyone to")]
    fn sleep(&mut self, left: Option<Duration>) -> bool {
        let (Some((_, instance)), Some(bell)) = (self.watch, self.signal.bell.get()) else {
            match left {
                Some(left) => std::thread::park_timeout(left),
                None => std::thread::park(),
            }
            return false;
        };
        let process = self.process.as_ref().map_or(bell.as_fd(), AsFd::as_fd);
        let mut sources = [instance.as_fd(), bell.as_fd(), process]
            .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
        let asked = if self.process.is_some() { 3 } else { 2 };
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut sources[..asked], timeout.as_ref()) {
            // A signal handler ran: the caller computes the time that is left anew (W6).
            Ok(_) | Err(Errno::INTR) => {}
            // Out of kernel memory: sleep without the watch; the caller's backstop finds the change.
            Err(_) => std::thread::park_timeout(left.unwrap_or(Duration::MAX).min(Duration::from_millis(50))),
        }
        let [changed, rung, ended] = sources.map(|source| source.revents().contains(PollFlags::IN));
        if rung {
            let mut count = [0; 8];
            // Empty if the ringing was consumed meanwhile; the flags tell what happened.
            let _consumed_already = rustix::io::read(bell, &mut count);
        }
        // It stays readable, so it is told of once.
        if ended && self.process.take().is_some() {
            self.signal.changed.store(true, Ordering::Release);
        }
        changed
    }
}
