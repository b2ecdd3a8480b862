//! The only room that touches the operating system.
//!
//! Every protocol of Tenure is ordinary synchronous code, generic over [`Host`]. [`Native`] is the machine
//! this program runs on. A test wraps a host to make the n-th call fail (`Faulty`, feature `testing`); a
//! model checker can put a simulated file system behind the same calls and run the shipped protocols on it.
//!
//! A method is one system call or what the kernel does as one step. Its contract names what is atomic, what
//! is durable afterwards, and which errors a caller has to expect. Errors are plain `errno` values
//! ([`Errno`]); the nouns give them a path and a sense.
//!
//! All state that outlives a call belongs to a host instance ([`Local`]), so that two simulated processes
//! in one test do not share any. No `static` and no `Condvar` may stand outside this room.

mod alarm;
#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod faulty;
mod local;
mod native;
mod notice;
mod numbered;
mod process;
mod spawn;
mod terminal;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::task::Waker;

pub use alarm::Alarm;
pub use local::{
    Answer, Content, Draft, Journals, Local, Occupied, Outcome, Parcel, Place, Site, Standing, Ticket, Wishes,
};
#[cfg(feature = "sqlite")]
pub(crate) use native::is_mount_point;
pub use native::{Native, NativeWaiter, wall_clock};
pub(crate) use notice::{bell, ring};
pub use numbered::{Request, Settled, flock_numbered};
pub use process::{Member, group_members, leads_session};
pub use rustix::io::Errno;
pub use spawn::{become_command, end_with_this_thread, inherit_nothing, spawn};
pub use terminal::{foreground, set_foreground, signal_rest_of_group, stop};

use crate::owner::{Holders, Identity};
use crate::wait::Moment;

/// What a host call returns: a value, or the error number of the system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Names a file whatever paths lead to it: device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number (`st_dev`).
    pub device: u64,
    /// Inode number (`st_ino`); reused by the file system once the file is gone and closed.
    pub inode: u64,
}

/// What kind of thing a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link (only [`Host::stat`] sees one).
    Symlink,
    /// A device, pipe or socket.
    Other,
}

/// The part of `stat(2)` that the protocols decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Which file this is.
    pub id: FileId,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names (hard links).
    pub links: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since the epoch by the file system's clock.
    pub modified_ns: i128,
    /// Last change of content, mode, owner or links, by the file system's clock; nobody can set it.
    pub changed_ns: i128,
}

/// How [`Host::open`] opens a path. Every open is close-on-exec, follows no symlink in the last component,
/// and never blocks or acquires a controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Open {
    /// An existing file or directory, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new file for reading and writing; [`Errno::EXIST`] if the name is taken, also by a dangling symlink. The mode
    /// is filtered by the umask.
    New {
        /// Permission bits of the new file.
        mode: u32,
    },
    /// A new file for reading and writing, mode 0600, that has no name yet; `path` is the directory. [`Host::publish`] gives
    /// it one. Whoever dies before that leaves nothing. [`Errno::NOTSUP`] or [`Errno::ISDIR`] where the file
    /// system can't.
    Unnamed,
}

/// The directory that `path` lies in, as a path that opens it even if it was reached through a symbolic link.
pub fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.join("."),
        _ => PathBuf::from("."),
    }
}

/// Whether a lock admits others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Any number of holders, none of them exclusive.
    Shared,
    /// One holder and nobody else.
    Exclusive,
}

/// Why [`Host::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Woken {
    /// The watched file changed: some descriptor of it was closed, it was replaced, renamed or deleted, or, if that was
    /// asked for, written. Or the watched process ended.
    Changed,
    /// The waiter's [`Waker`] was called.
    Called,
    /// The moment asked for has come.
    TimedOut,
}

/// What can be said of a process by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// No process has this number, or only a zombie that waits to be reaped.
    Gone,
    /// A process has it.
    Running {
        /// When it started, in the kernel's ticks since boot; `None` if that can't be seen.
        started: Option<u64>,
    },
}

/// The operating system, as the protocols see it.
///
/// A handle is cheap to clone, and clones are the same process. Methods may be called from any thread of that
/// process.
pub trait Host: Clone + Send + Sync + 'static {
    /// An open file description. Dropping it closes this process's reference to it; the kernel releases its
    /// `flock` when the last reference, here or in a child, is closed.
    type File: Send + Sync + 'static;
    /// A parking place for one thread that waits.
    type Waiter: 'static;

    /// Opens `path` as `how` says.
    ///
    /// Atomicity: [`Open::New`] either creates the name or fails with `EXIST`. Durability: none; a created
    /// name needs [`Host::fsync`] of its directory. Errors: `LOOP` for a symlink, `NOENT`, `ACCESS`, `PERM`,
    /// `ISDIR` (writing a directory), `MFILE`, `NFILE`, `NOSPC`, `ROFS`, `NAMETOOLONG`, `NOTDIR`.
    fn open(&self, path: &Path, how: Open) -> Result<Self::File>;

    /// Reads from the description's position; 0 at the end. May return less than asked.
    fn read(&self, file: &Self::File, into: &mut [u8]) -> Result<usize>;

    /// Writes at the description's position and says how much it took, which may be less than given.
    ///
    /// Atomicity: none for regular files. Durability: none until [`Host::fsync`]. Errors: `NOSPC`, `DQUOT`,
    /// `FBIG`, `IO`.
    fn write(&self, file: &Self::File, bytes: &[u8]) -> Result<usize>;

    /// Reads at an offset, whatever the description's position (`pread(2)`); 0 at or behind the end. May return less than
    /// asked.
    fn read_at(&self, file: &Self::File, offset: u64, into: &mut [u8]) -> Result<usize>;

    /// Writes at an offset, whatever the description's position (`pwrite(2)`), and says how much it took.
    ///
    /// Atomicity: none. A reader meanwhile may see any part of it; whoever dies in it leaves its beginning. Durability: none
    /// until [`Host::sync_data`]; a power loss before that may leave any of its blocks, old or new, or zero where none was. Errors: as for
    /// [`Host::write`].
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> Result<usize>;

    /// Cuts the file off at `size` bytes (`ftruncate(2)`). Durability: none until [`Host::sync_data`].
    fn truncate(&self, file: &Self::File, size: u64) -> Result<()>;

    /// Makes a file's data, and what of the rest is needed to read it, survive a power loss (`fdatasync(2)`): the length, not
    /// the times. Errors: as for [`Host::fsync`]; each description that was open when the disk failed hears of it once.
    fn sync_data(&self, file: &Self::File) -> Result<()>;

    /// Makes a file's data and size, or a directory's names, survive a power loss.
    ///
    /// An error says nothing true about what is on the disk, and a second call on the same file may report
    /// success for data that was dropped: after an error, write a new file.
    fn fsync(&self, file: &Self::File) -> Result<()>;

    /// Closes the description and reports what only the close knows: NFS tells here that it could not keep what
    /// was written.
    fn close(&self, file: Self::File) -> Result<()>;

    /// `fstat(2)`.
    fn stat_file(&self, file: &Self::File) -> Result<Stat>;

    /// Which file this is: the part of [`Host::stat_file`] that never changes.
    fn id(&self, file: &Self::File) -> Result<FileId> {
        self.stat_file(file).map(|stat| stat.id)
    }

    /// `lstat(2)`: a symlink in the last component is reported, not followed.
    fn stat(&self, path: &Path) -> Result<Stat>;

    /// The text of a symbolic link; `INVAL` if `path` is not one.
    fn read_link(&self, path: &Path) -> Result<PathBuf>;

    /// Sets the permission bits exactly, whatever the umask.
    fn set_mode(&self, file: &Self::File, mode: u32) -> Result<()>;

    /// Sets owner and group; may clear set-user-id bits. `PERM` without the privilege.
    fn set_owner(&self, file: &Self::File, uid: u32, gid: u32) -> Result<()>;

    /// All extended attributes with their values; empty where the file system has none.
    fn attributes(&self, file: &Self::File) -> Result<Vec<(OsString, Vec<u8>)>>;

    /// Sets one extended attribute.
    fn set_attribute(&self, file: &Self::File, name: &OsStr, value: &[u8]) -> Result<()>;

    /// Removes one extended attribute; `NODATA` if it is not there.
    fn remove_attribute(&self, file: &Self::File, name: &OsStr) -> Result<()>;

    /// Gives `from` the name `to` in one step, replacing what stood there.
    ///
    /// Atomicity: everyone sees the old file or the new one, before and after a crash. Durability: none until
    /// the directory is synced. Errors: `BUSY` if `to` is a mount point, `XDEV`, `ISDIR`, `ACCESS`, `ROFS`.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Gives an unnamed file its name in one step.
    ///
    /// Atomicity: the name appears with the whole file, its owner and mode, or not. Errors: `EXIST` if the name
    /// is taken; `NOENT` if the directory is gone, or /proc is not mounted.
    fn publish(&self, file: &Self::File, path: &Path) -> Result<()>;

    /// Gives the file at `from` the further name `to` (`link(2)`), never replacing what stands there.
    ///
    /// Atomicity: the name appears with the whole file or not. On NFS a lost reply makes a link that was made report an
    /// error (link(2), BUGS): look whether it is there. Errors: `EXIST`, `NOENT` if `from` or the directory is gone, `PERM`
    /// where the file system has no links, `MLINK`, `NOSPC`.
    fn link(&self, from: &Path, to: &Path) -> Result<()>;

    /// Sets the file's times to now, by the clock of the file system's server ([`Stat::modified_ns`]). Emits a change
    /// event. Two files touched one after the other so tell how much time lies between them, whatever this machine's clock
    /// says.
    fn touch(&self, file: &Self::File) -> Result<()>;

    /// Removes one name; the file lives on while it is open or has other names.
    fn unlink(&self, path: &Path) -> Result<()>;

    /// The names in a directory that begin with `prefix`, in no order. Names created or removed meanwhile
    /// may or may not be listed; others are listed once.
    fn list(&self, directory: &Path, prefix: &OsStr) -> Result<Vec<OsString>>;

    /// Tries to take the `flock(2)` of this description, or to change its mode; `false` if others hold it.
    ///
    /// Errors: `NOLCK`; `BADF` on NFS, which wants a writable descriptor for [`Mode::Exclusive`].
    fn try_flock(&self, file: &Self::File, mode: Mode) -> Result<bool>;

    /// Gives up the `flock` of this description, also for children that share it. Emits no change event.
    fn unlock(&self, file: &Self::File) -> Result<()>;

    /// Who holds the `flock` of the file at `path`, as far as this process may see. Emits no change event,
    /// opens nothing of the file itself, and blocks nobody.
    fn flock_holders(&self, path: &Path) -> Result<Holders>;

    /// Whether the file lies on a file system that only this machine's kernel writes. `false` for network file systems
    /// and for every kind that is not known.
    fn is_local(&self, file: &Self::File) -> Result<bool>;

    /// This process, as others can recognise it.
    fn identity(&self) -> Identity;

    /// The command line of this process, for people.
    fn command(&self) -> Option<String>;

    /// What becomes of the process with this number in this pid namespace.
    ///
    /// Errors: none that means "gone". A process that may not be inspected is [`Process::Running`].
    fn process(&self, pid: u32) -> Result<Process>;

    /// The clock that waits and lifetimes are measured by: it never runs backward, and runs on while the machine is
    /// suspended.
    fn now(&self) -> Moment;

    /// The clock of [`Host::now`] as every process of this machine reads it, also one in a time namespace of its own.
    ///
    /// Errors: whatever hides how far this process's clock is shifted.
    fn machine_clock(&self) -> Result<Moment> {
        Ok(self.now())
    }

    /// Unpredictable bits, for names that two processes must not share.
    fn random(&self) -> u64;

    /// A number that differs between a process and the children it forks, and never changes otherwise.
    fn process_mark(&self) -> u64;

    /// How often this process has forked so far (a `fork` that did not go through `exec` at once).
    fn forks(&self) -> u64;

    /// A number that differs between the threads of this process.
    fn thread(&self) -> u64;

    /// Runs `task` on a thread of its own that nobody waits for.
    ///
    /// Errors: `AGAIN` if the system has no thread to give. A simulation, where nothing happens by itself, may leave the
    /// task undone.
    fn spawn(&self, task: Box<dyn FnOnce() + Send>) -> Result<()>;

    /// A parking place for the calling thread.
    fn waiter(&self) -> Self::Waiter;

    /// A handle with which other threads end the waiter's [`Host::wait`]. A call before the wait counts.
    fn waker(&self, waiter: &Self::Waiter) -> Waker;

    /// From now on, changes of this very file end the waiter's waits, those between two waits included.
    ///
    /// `false` says that no watch could be had (descriptors or watches exhausted, a file system without
    /// notice): the caller polls. Opening a file emits no change; closing it does, and the notice may come a
    /// hair before the kernel has released the closed descriptor's lock. A remote machine's changes are never
    /// reported.
    fn watch(&self, waiter: &mut Self::Waiter, file: &Self::File) -> bool;

    /// As [`Host::watch`], and from now on each write and truncation of the file ends the waiter's waits, too.
    fn watch_writes(&self, waiter: &mut Self::Waiter, file: &Self::File) -> bool;

    /// Also the end of this process, however it ends and whoever its parent is, ends the waiter's waits, once. For a waiter
    /// that watches a file.
    ///
    /// `false` says that no watch could be had: the process is gone already, or the system can't tell.
    fn watch_end(&self, waiter: &mut Self::Waiter, pid: u32) -> bool;

    /// Sleeps until the watched file changes, the waker is called, or `until` comes; `None` is for ever.
    /// Interrupted sleeps go on. Spurious returns of [`Woken::Changed`] are allowed.
    fn wait(&self, waiter: &mut Self::Waiter, until: Option<Moment>) -> Woken;

    /// As [`Host::wait`], but a change of the file is answered by [`Host::try_flock`]: `None` with the lock. A host may try
    /// before it has read what changed, if that gains time; so an attempt may be made for nothing.
    fn wait_flock(
        &self,
        waiter: &mut Self::Waiter,
        until: Option<Moment>,
        file: &Self::File,
        mode: Mode,
    ) -> Result<Option<Woken>> {
        match self.wait(waiter, until) {
            Woken::Changed if self.try_flock(file, mode)? => Ok(None),
            woken => Ok(Some(woken)),
        }
    }

    /// Runs `step` on the state that the threads of this process share, one at a time. `step` must not call
    /// the host.
    fn local<R>(&self, step: impl FnOnce(&mut Local) -> R) -> R;
}
