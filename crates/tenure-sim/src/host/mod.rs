//! The simulated host: every call of a protocol becomes an [`Op`] that the scheduler executes when it likes.
//!
//! Outside a coroutine a call is executed at once, which is how the conformance suite and the checks at the end of a
//! run use it. The world is one a thread, so that a host is no more than its process's number.

mod coroutine;
mod store;

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Wake, Waker};

use tenure::Moment;
use tenure::host::{Errno, FileId, Host, Local, Mode, Open, Process, Result, Stat, Woken};
use tenure::owner::{Holder, Holders, Identity};

pub use coroutine::Code;
pub use store::SimStore;

use crate::op::{Fd, Note, Op, Reply, Value, WaiterId};
use crate::world::fs::Fs;
use crate::world::{Life, Waiter, World};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new(Fs::new(true, false)));
}

/// Looks at or changes this thread's world.
pub fn with_world<R>(step: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(step)
}

/// Puts another world in place of this thread's, and returns that.
pub fn replace_world(world: World) -> World {
    WORLD.replace(world)
}

/// A process of this thread's world.
#[derive(Clone, Copy, Debug)]
pub struct Sim {
    /// Which.
    pub process: usize,
}

/// An open file of a simulated process.
#[derive(Debug)]
pub struct SimFile {
    host: Sim,
    fd: Fd,
}

/// A parking place of a simulated process.
#[derive(Debug)]
pub struct SimWaiter {
    host: Sim,
    number: WaiterId,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.host.lives() {
            // The kernel tells the watchers first and releases the lock a moment later.
            let _no_errors = self.host.call(Op::CloseEvent(self.fd));
            let _no_errors = self.host.call(Op::Close(self.fd));
        }
    }
}

impl Drop for SimWaiter {
    fn drop(&mut self) {
        let (process, number) = (self.host.process, self.number);
        with_world(|world| {
            if let Some(waiter) = world.processes[process].waiters.get_mut(number) {
                *waiter = None;
            }
        });
    }
}

struct Call {
    host: Sim,
    number: WaiterId,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        with_world(|world| {
            let waiters = &mut world.processes[self.host.process].waiters;
            if let Some(Some(waiter)) = waiters.get_mut(self.number) {
                waiter.called = true;
            }
        });
    }
}

impl Sim {
    fn lives(self) -> bool {
        // A process that does not run yet is stopped before its first call like any other.
        with_world(|world| matches!(world.processes[self.process].life, Life::Alive | Life::NotYet))
    }

    fn call(self, op: Op) -> Reply {
        if !self.lives() {
            return Err(Errno::IO);
        }
        coroutine::suspend(op).unwrap_or_else(|op| self.at_once(&op))
    }

    /// A call of the test itself: a wait for what does not come lets the time pass.
    fn at_once(self, op: &Op) -> Reply {
        with_world(|world| {
            if let Op::Wait(_, until) = op
                && !world.is_enabled(self.process, op)
            {
                let until = until.expect("a wait that nothing can end");
                world.advance(until.since(world.now(self.process)));
            }
            world.execute(self.process, op)
        })
    }

    /// Tells the checker where the scenario is.
    pub fn note(self, note: Note) {
        let _nothing = self.call(Op::Note(note));
    }
}

/// Takes the one kind of value that a call returns out of its reply.
macro_rules! expect {
    ($reply:expr, $kind:ident($value:ident) => $result:expr) => {
        match $reply? {
            Value::$kind($value) => Ok($result),
            other => unreachable!("a call returned {other:?}"),
        }
    };
}

fn nothing(reply: Reply) -> Result<()> {
    reply.map(drop)
}

impl Host for Sim {
    type File = SimFile;
    type Waiter = SimWaiter;

    fn open(&self, path: &Path, how: Open) -> Result<SimFile> {
        expect!(self.call(Op::Open(path.to_owned(), how)), File(fd) => SimFile { host: *self, fd })
    }

    fn read(&self, file: &SimFile, into: &mut [u8]) -> Result<usize> {
        expect!(self.call(Op::Read(file.fd, into.len())), Bytes(bytes) => {
            into[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        })
    }

    fn write(&self, file: &SimFile, bytes: &[u8]) -> Result<usize> {
        expect!(self.call(Op::Write(file.fd, bytes.to_vec())), Count(count) => count)
    }

    fn read_at(&self, file: &SimFile, offset: u64, into: &mut [u8]) -> Result<usize> {
        expect!(self.call(Op::ReadAt(file.fd, offset, into.len())), Bytes(bytes) => {
            into[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        })
    }

    fn write_at(&self, file: &SimFile, offset: u64, bytes: &[u8]) -> Result<usize> {
        match self.call(Op::WriteAt(file.fd, offset, bytes.to_vec()))? {
            Value::Begun => {
                expect!(self.call(Op::WriteRest(file.fd, offset, bytes.to_vec())), Count(count) => count)
            }
            Value::Count(count) => Ok(count),
            other => unreachable!("a call returned {other:?}"),
        }
    }

    fn truncate(&self, file: &SimFile, size: u64) -> Result<()> {
        nothing(self.call(Op::Truncate(file.fd, size)))
    }

    fn sync_data(&self, file: &SimFile) -> Result<()> {
        nothing(self.call(Op::SyncData(file.fd)))
    }

    fn fsync(&self, file: &SimFile) -> Result<()> {
        nothing(self.call(Op::Fsync(file.fd)))
    }

    fn close(&self, file: SimFile) -> Result<()> {
        drop(file);
        Ok(())
    }

    fn stat_file(&self, file: &SimFile) -> Result<Stat> {
        expect!(self.call(Op::StatFile(file.fd)), Stat(stat) => stat)
    }

    fn id(&self, file: &SimFile) -> Result<FileId> {
        expect!(self.call(Op::Id(file.fd)), Id(id) => id)
    }

    fn stat(&self, path: &Path) -> Result<Stat> {
        expect!(self.call(Op::Stat(path.to_owned())), Stat(stat) => stat)
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        expect!(self.call(Op::ReadLink(path.to_owned())), Path(path) => path)
    }

    fn set_mode(&self, file: &SimFile, mode: u32) -> Result<()> {
        nothing(self.call(Op::SetMode(file.fd, mode)))
    }

    fn set_owner(&self, file: &SimFile, uid: u32, gid: u32) -> Result<()> {
        nothing(self.call(Op::SetOwner(file.fd, uid, gid)))
    }

    fn attributes(&self, file: &SimFile) -> Result<Vec<(OsString, Vec<u8>)>> {
        expect!(self.call(Op::Attributes(file.fd)), Attributes(found) => found)
    }

    fn set_attribute(&self, file: &SimFile, name: &OsStr, value: &[u8]) -> Result<()> {
        nothing(self.call(Op::SetAttribute(file.fd, name.to_owned(), value.to_vec())))
    }

    fn remove_attribute(&self, file: &SimFile, name: &OsStr) -> Result<()> {
        nothing(self.call(Op::RemoveAttribute(file.fd, name.to_owned())))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        nothing(self.call(Op::Rename(from.to_owned(), to.to_owned())))
    }

    fn publish(&self, file: &SimFile, path: &Path) -> Result<()> {
        nothing(self.call(Op::Publish(file.fd, path.to_owned())))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        nothing(self.call(Op::Link(from.to_owned(), to.to_owned())))
    }

    fn touch(&self, file: &SimFile) -> Result<()> {
        nothing(self.call(Op::Touch(file.fd)))
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        nothing(self.call(Op::Unlink(path.to_owned())))
    }

    fn list(&self, directory: &Path, prefix: &OsStr) -> Result<Vec<OsString>> {
        expect!(self.call(Op::List(directory.to_owned(), prefix.to_owned())), Names(names) => names)
    }

    fn try_flock(&self, file: &SimFile, mode: Mode) -> Result<bool> {
        expect!(self.call(Op::TryFlock(file.fd, mode)), Yes(yes) => yes)
    }

    fn unlock(&self, file: &SimFile) -> Result<()> {
        nothing(self.call(Op::Unlock(file.fd)))
    }

    fn flock_holders(&self, path: &Path) -> Result<Holders> {
        let mode = |exclusive| if exclusive { Mode::Exclusive } else { Mode::Shared };
        expect!(self.call(Op::Holders(path.to_owned())), Holders(found) => {
            let list = found.into_iter().map(|(pid, exclusive)| Holder::new(pid, None, None, mode(exclusive), true));
            Holders::new(list.collect(), false)
        })
    }

    fn is_local(&self, file: &SimFile) -> Result<bool> {
        expect!(self.call(Op::IsLocal(file.fd)), Yes(yes) => yes)
    }

    fn identity(&self) -> Identity {
        with_world(|world| world.identity(self.process))
    }

    fn command(&self) -> Option<String> {
        None
    }

    fn process(&self, pid: u32) -> Result<Process> {
        expect!(self.call(Op::Process(pid)), Process(process) => process)
    }

    fn now(&self) -> Moment {
        match self.call(Op::Now) {
            Ok(Value::Moment(moment)) => moment,
            // A dead process's last words: the time does not matter any more.
            _ => Moment::from_clock(std::time::Duration::ZERO),
        }
    }

    fn random(&self) -> u64 {
        with_world(|world| {
            let process = &mut world.processes[self.process];
            process.drawn += 1;
            (self.process as u64 + 1) << 32 | process.drawn
        })
    }

    fn process_mark(&self) -> u64 {
        0
    }

    fn forks(&self) -> u64 {
        0
    }

    fn thread(&self) -> u64 {
        self.process as u64
    }

    /// Does nothing: what a process does in the background, a scenario does in plain sight.
    fn spawn(&self, _task: Box<dyn FnOnce() + Send>) -> Result<()> {
        Ok(())
    }

    fn waiter(&self) -> SimWaiter {
        with_world(|world| {
            let waiters = &mut world.processes[self.process].waiters;
            let number = waiters.iter().position(Option::is_none).unwrap_or(waiters.len());
            if number == waiters.len() {
                waiters.push(None);
            }
            waiters[number] = Some(Waiter::default());
            SimWaiter { host: *self, number }
        })
    }

    fn waker(&self, waiter: &SimWaiter) -> Waker {
        Waker::from(Arc::new(Call { host: *self, number: waiter.number }))
    }

    fn watch(&self, waiter: &mut SimWaiter, file: &SimFile) -> bool {
        matches!(self.call(Op::Watch(waiter.number, file.fd, false)), Ok(Value::Yes(true)))
    }

    fn watch_writes(&self, waiter: &mut SimWaiter, file: &SimFile) -> bool {
        matches!(self.call(Op::Watch(waiter.number, file.fd, true)), Ok(Value::Yes(true)))
    }

    fn watch_end(&self, waiter: &mut SimWaiter, pid: u32) -> bool {
        matches!(self.call(Op::WatchEnd(waiter.number, pid)), Ok(Value::Yes(true)))
    }

    fn wait(&self, waiter: &mut SimWaiter, until: Option<Moment>) -> Woken {
        match self.call(Op::Wait(waiter.number, until)) {
            Ok(Value::Woken(woken)) => woken,
            _ => Woken::Changed,
        }
    }

    fn local<R>(&self, step: impl FnOnce(&mut Local) -> R) -> R {
        let (main, threaded) =
            with_world(|world| (world.main_thread(self.process), world.processes[self.process].threaded));
        if threaded {
            let _shared_by_all = self.call(Op::Local);
        }
        // Taken out while the step runs, since it may drop a waker, which looks at the world.
        let mut local = with_world(|world| std::mem::take(&mut world.processes[main].local));
        let done = step(&mut local);
        with_world(|world| world.processes[main].local = local);
        done
    }
}
