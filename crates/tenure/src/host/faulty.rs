//! A host whose n-th call fails, or after which the process is dead.
//!
//! A test runs a protocol with n = 0, 1, 2, ... until it ends without meeting the fault, and looks each time at
//! what is left. An instance is a process of its own: it shares the wrapped host's files, not its threads'
//! queues.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use super::{Errno, Host, Local, Mode, Open, Process, Result, Stat, Woken};
use crate::owner::{Holders, Identity};
use crate::wait::Moment;

/// What happens at the n-th call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and reports this error; later calls work.
    Fail(Errno),
    /// The process dies just before it: it and every later call do nothing, those of guards being dropped
    /// included, and report an I/O error to the code that is still being unwound. Descriptors are closed as
    /// the files are dropped, which is what the kernel does for the dead.
    Crash,
    /// A write takes half of what it was given; other calls work.
    ShortWrite,
}

/// The wrapper; see the module.
#[derive(Clone, Debug)]
pub struct Faulty<H> {
    host: H,
    fault: Fault,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls_left: usize,
    calls: Vec<&'static str>,
    met: bool,
    dead: bool,
    local: Local,
}

impl<H: Host> Faulty<H> {
    /// Wraps `host` so that call number `calls_before` (counted from 0) meets the fault.
    pub fn new(host: H, calls_before: usize, fault: Fault) -> Faulty<H> {
        let state = State { calls_left: calls_before, ..State::default() };
        Faulty { host, fault, state: Arc::new(Mutex::new(state)) }
    }

    /// Whether the protocol got as far as the fault.
    pub fn met(&self) -> bool {
        self.state().met
    }

    /// The names of the calls made so far, the one that met the fault last or among them.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one call; `Ok(true)` asks a write to be short.
    fn count(&self, name: &'static str) -> Result<bool> {
        let mut state = self.state();
        if state.dead {
            return Err(Errno::IO);
        }
        state.calls.push(name);
        if state.met {
            return Ok(false);
        }
        if state.calls_left > 0 {
            state.calls_left -= 1;
            return Ok(false);
        }
        state.met = true;
        match self.fault {
            Fault::Fail(errno) => Err(errno),
            Fault::Crash => {
                state.dead = true;
                Err(Errno::IO)
            }
            Fault::ShortWrite => Ok(true),
        }
    }
}

impl<H: Host> Host for Faulty<H> {
    type File = H::File;
    type Waiter = H::Waiter;

    fn open(&self, path: &Path, how: Open) -> Result<H::File> {
        self.count("open")?;
        self.host.open(path, how)
    }

    fn read(&self, file: &H::File, into: &mut [u8]) -> Result<usize> {
        self.count("read")?;
        self.host.read(file, into)
    }

    fn write(&self, file: &H::File, bytes: &[u8]) -> Result<usize> {
        let short = self.count("write")?;
        self.host.write(file, if short { &bytes[..bytes.len().div_ceil(2)] } else { bytes })
    }

    fn read_at(&self, file: &H::File, offset: u64, into: &mut [u8]) -> Result<usize> {
        self.count("pread")?;
        self.host.read_at(file, offset, into)
    }

    fn write_at(&self, file: &H::File, offset: u64, bytes: &[u8]) -> Result<usize> {
        let short = self.count("pwrite")?;
        self.host.write_at(file, offset, if short { &bytes[..bytes.len().div_ceil(2)] } else { bytes })
    }

    fn truncate(&self, file: &H::File, size: u64) -> Result<()> {
        self.count("ftruncate")?;
        self.host.truncate(file, size)
    }

    fn sync_data(&self, file: &H::File) -> Result<()> {
        self.count("fdatasync")?;
        self.host.sync_data(file)
    }

    fn fsync(&self, file: &H::File) -> Result<()> {
        self.count("fsync")?;
        self.host.fsync(file)
    }

    fn close(&self, file: H::File) -> Result<()> {
        self.count("close")?;
        self.host.close(file)
    }

    fn stat_file(&self, file: &H::File) -> Result<Stat> {
        self.count("fstat")?;
        self.host.stat_file(file)
    }

    fn stat(&self, path: &Path) -> Result<Stat> {
        self.count("lstat")?;
        self.host.stat(path)
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        self.count("readlink")?;
        self.host.read_link(path)
    }

    fn set_mode(&self, file: &H::File, mode: u32) -> Result<()> {
        self.count("fchmod")?;
        self.host.set_mode(file, mode)
    }

    fn set_owner(&self, file: &H::File, uid: u32, gid: u32) -> Result<()> {
        self.count("fchown")?;
        self.host.set_owner(file, uid, gid)
    }

    fn attributes(&self, file: &H::File) -> Result<Vec<(OsString, Vec<u8>)>> {
        self.count("fgetxattr")?;
        self.host.attributes(file)
    }

    fn set_attribute(&self, file: &H::File, name: &OsStr, value: &[u8]) -> Result<()> {
        self.count("fsetxattr")?;
        self.host.set_attribute(file, name, value)
    }

    fn remove_attribute(&self, file: &H::File, name: &OsStr) -> Result<()> {
        self.count("fremovexattr")?;
        self.host.remove_attribute(file, name)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.count("rename")?;
        self.host.rename(from, to)
    }

    fn publish(&self, file: &H::File, path: &Path) -> Result<()> {
        self.count("linkat")?;
        self.host.publish(file, path)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.count("link")?;
        self.host.link(from, to)
    }

    fn touch(&self, file: &H::File) -> Result<()> {
        self.count("utimens")?;
        self.host.touch(file)
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.count("unlink")?;
        self.host.unlink(path)
    }

    fn list(&self, directory: &Path, prefix: &OsStr) -> Result<Vec<OsString>> {
        self.count("readdir")?;
        self.host.list(directory, prefix)
    }

    fn try_flock(&self, file: &H::File, mode: Mode) -> Result<bool> {
        self.count("flock")?;
        self.host.try_flock(file, mode)
    }

    fn unlock(&self, file: &H::File) -> Result<()> {
        self.count("unlock")?;
        self.host.unlock(file)
    }

    fn flock_holders(&self, path: &Path) -> Result<Holders> {
        self.count("holders")?;
        self.host.flock_holders(path)
    }

    fn is_local(&self, file: &H::File) -> Result<bool> {
        self.count("fstatfs")?;
        self.host.is_local(file)
    }

    fn identity(&self) -> Identity {
        self.host.identity()
    }

    fn command(&self) -> Option<String> {
        self.host.command()
    }

    fn process(&self, pid: u32) -> Result<Process> {
        self.count("process")?;
        self.host.process(pid)
    }

    fn now(&self) -> Moment {
        self.host.now()
    }

    fn random(&self) -> u64 {
        self.host.random()
    }

    fn process_mark(&self) -> u64 {
        self.host.process_mark()
    }

    fn forks(&self) -> u64 {
        self.host.forks()
    }

    fn thread(&self) -> u64 {
        self.host.thread()
    }

    fn spawn(&self, task: Box<dyn FnOnce() + Send>) -> Result<()> {
        self.count("thread")?;
        self.host.spawn(task)
    }

    fn waiter(&self) -> H::Waiter {
        self.host.waiter()
    }

    fn waker(&self, waiter: &H::Waiter) -> Waker {
        self.host.waker(waiter)
    }

    fn watch(&self, waiter: &mut H::Waiter, file: &H::File) -> bool {
        self.count("watch").is_ok() && self.host.watch(waiter, file)
    }

    fn watch_writes(&self, waiter: &mut H::Waiter, file: &H::File) -> bool {
        self.count("watch").is_ok() && self.host.watch_writes(waiter, file)
    }

    fn watch_end(&self, waiter: &mut H::Waiter, pid: u32) -> bool {
        self.count("pidfd_open").is_ok() && self.host.watch_end(waiter, pid)
    }

    fn wait(&self, waiter: &mut H::Waiter, until: Option<Moment>) -> Woken {
        self.host.wait(waiter, until)
    }

    fn local<R>(&self, step: impl FnOnce(&mut Local) -> R) -> R {
        step(&mut self.state().local)
    }
}
