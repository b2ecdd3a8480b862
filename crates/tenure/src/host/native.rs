//! The machine this program runs on: system calls through rustix, and the state its threads share.
//!
//! The state hangs from one pointer that a forked child finds empty: the child must not wait for a mutex that
//! a thread it doesn't have was holding, nor read its parent's change notices.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::fs::inotify::WatchFlags;
use rustix::fs::{self, AtFlags, CWD, FlockOperation, OFlags, XattrFlags};
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;

use super::local::Local;
use super::notice::{Notice, Parker};
use super::{Errno, FileId, FileKind, Host, Mode, Open, Process, Result, Stat, Woken, process};
use crate::owner::{Holders, Identity};
use crate::wait::{Moment, Wait};

/// The host that Tenure uses unless told otherwise: Linux, as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

/// A thread's parking place on the native host.
#[derive(Debug)]
pub struct NativeWaiter(Parker);

/// What the threads of one process share.
pub(super) struct Shared {
    local: Mutex<Local>,
    pub(super) notice: Mutex<Notice>,
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());
static PROCESS_MARK: AtomicU64 = AtomicU64::new(0);
static FORKS: AtomicU64 = AtomicU64::new(0);
static THREADS: AtomicU64 = AtomicU64::new(0);
static AT_FORK: Once = Once::new();

/// The state of this process, made at first use and never freed (a forked child leaves its parent's behind).
pub(super) fn shared() -> &'static Shared {
    AT_FORK.call_once(watch_forks);
    let seen = SHARED.load(Ordering::Acquire);
    let shared = if seen.is_null() { publish() } else { seen };
    // SAFETY: a published pointer came from Box::into_raw and is never freed.
    unsafe { &*shared }
}

fn publish() -> *mut Shared {
    let state = Shared { local: Mutex::default(), notice: Mutex::default() };
    let new = Box::into_raw(Box::new(state));
    match SHARED.compare_exchange(std::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(winner) => {
            // SAFETY: `new` was not published, so this is its only owner.
            drop(unsafe { Box::from_raw(new) });
            winner
        }
    }
}

#[expect(unsafe_code, reason = "pthread_atfork is how a library learns of a fork")]
fn watch_forks() {
    extern "C" fn in_child() {
        SHARED.store(std::ptr::null_mut(), Ordering::Release);
        PROCESS_MARK.fetch_add(1, Ordering::AcqRel);
        super::notice::forget_in_child();
    }
    extern "C" fn in_parent() {
        FORKS.fetch_add(1, Ordering::AcqRel);
    }
    // SAFETY: both handlers touch atomics and close(2) alone, which are async-signal-safe.
    let failed = unsafe { libc::pthread_atfork(None, Some(in_parent), Some(in_child)) };
    assert_eq!(failed, 0, "pthread_atfork fails for want of memory only");
}

/// A panic inside a guarded step leaves nothing half done: each step is one call of a pure structure.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wait {
    /// Waits at most this long from now.
    pub fn within(time: Duration) -> Wait {
        Wait::Until(Native.now() + time)
    }
}

impl From<Instant> for Moment {
    #[expect(clippy::disallowed_methods, reason = "relates the caller's clock to the host's own")]
    fn from(instant: Instant) -> Moment {
        let (reference, now) = (Instant::now(), Native.now());
        match instant.checked_duration_since(reference) {
            Some(ahead) => now + ahead,
            None => Moment::from_clock(now.since_zero().saturating_sub(reference - instant)),
        }
    }
}

/// The file systems that no other machine's kernel writes, by the magic numbers of statfs(2).
const LOCAL_FILE_SYSTEMS: [(u32, &str); 10] = [
    (0xef53, "ext2, ext3, ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
    (0xca45_1a4e, "bcachefs"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    // What is written lies in its upper directory, which can't be on NFS (Documentation/filesystems/overlayfs.rst).
    (0x794c_7630, "overlay"),
];

/// Whether something is mounted at this very path; `false` where the kernel does not tell (before Linux 5.8).
#[cfg(feature = "sqlite")]
pub(crate) fn is_mount_point(path: &Path) -> Result<bool> {
    match fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, fs::StatxFlags::empty()) {
        Ok(statx) => Ok(statx.stx_attributes.contains(fs::StatxAttributes::MOUNT_ROOT)),
        // EPERM: a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn mode_bits(mode: u32) -> fs::Mode {
    fs::Mode::from_raw_mode(mode & 0o7777)
}

fn convert(stat: &fs::Stat) -> Stat {
    let kind = match fs::FileType::from_raw_mode(stat.st_mode) {
        fs::FileType::RegularFile => FileKind::Regular,
        fs::FileType::Directory => FileKind::Directory,
        fs::FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Stat {
        id: FileId { device: stat.st_dev, inode: stat.st_ino },
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        #[allow(clippy::useless_conversion, clippy::allow_attributes, reason = "narrower on some targets")]
        links: u64::from(stat.st_nlink),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: nanoseconds(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
        changed_ns: nanoseconds(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
    }
}

fn nanoseconds(seconds: i128, nanos: i128) -> i128 {
    seconds * 1_000_000_000 + nanos
}

/// Repeats a call that a signal handler interrupted before it did anything.
fn uninterrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

impl Host for Native {
    type File = OwnedFd;
    type Waiter = NativeWaiter;

    fn open(&self, path: &Path, how: Open) -> Result<OwnedFd> {
        let common = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let (flags, mode) = match how {
            Open::Read => (OFlags::RDONLY, 0),
            Open::ReadWrite => (OFlags::RDWR, 0),
            Open::New { mode } => (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode),
            Open::Unnamed => (OFlags::RDWR | OFlags::TMPFILE, 0o600),
        };
        uninterrupted(|| fs::open(path, common | flags, mode_bits(mode)))
    }

    fn read(&self, file: &OwnedFd, into: &mut [u8]) -> Result<usize> {
        uninterrupted(|| rustix::io::read(file, &mut *into))
    }

    fn write(&self, file: &OwnedFd, bytes: &[u8]) -> Result<usize> {
        uninterrupted(|| rustix::io::write(file, bytes))
    }

    fn read_at(&self, file: &OwnedFd, offset: u64, into: &mut [u8]) -> Result<usize> {
        uninterrupted(|| rustix::io::pread(file, &mut *into, offset))
    }

    fn write_at(&self, file: &OwnedFd, offset: u64, bytes: &[u8]) -> Result<usize> {
        uninterrupted(|| rustix::io::pwrite(file, bytes, offset))
    }

    fn truncate(&self, file: &OwnedFd, size: u64) -> Result<()> {
        uninterrupted(|| fs::ftruncate(file, size))
    }

    fn sync_data(&self, file: &OwnedFd) -> Result<()> {
        // Not repeated on EINTR either.
        fs::fdatasync(file)
    }

    fn fsync(&self, file: &OwnedFd) -> Result<()> {
        // Not repeated on EINTR: an error may already have been reported and cleared.
        fs::fsync(file)
    }

    fn close(&self, file: OwnedFd) -> Result<()> {
        // SAFETY: the descriptor is owned here and not used again; Linux frees it whatever close returns.
        if unsafe { libc::close(file.into_raw_fd()) } == 0 {
            return Ok(());
        }
        match Errno::from_io_error(&std::io::Error::last_os_error()) {
            None | Some(Errno::INTR) => Ok(()),
            Some(errno) => Err(errno),
        }
    }

    fn stat_file(&self, file: &OwnedFd) -> Result<Stat> {
        fs::fstat(file).map(|stat| convert(&stat))
    }

    fn stat(&self, path: &Path) -> Result<Stat> {
        fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| convert(&stat))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let target = fs::readlinkat(CWD, path, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    fn set_mode(&self, file: &OwnedFd, mode: u32) -> Result<()> {
        fs::fchmod(file, mode_bits(mode))
    }

    fn set_owner(&self, file: &OwnedFd, uid: u32, gid: u32) -> Result<()> {
        fs::fchown(file, Some(fs::Uid::from_raw(uid)), Some(fs::Gid::from_raw(gid)))
    }

    fn attributes(&self, file: &OwnedFd) -> Result<Vec<(OsString, Vec<u8>)>> {
        let names = match sized(|buffer| fs::flistxattr(file, buffer)) {
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            names => names?,
        };
        let mut found = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = OsStr::from_bytes(name);
            match sized(|buffer| fs::fgetxattr(file, name, buffer)) {
                Ok(value) => found.push((name.to_owned(), value)),
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn set_attribute(&self, file: &OwnedFd, name: &OsStr, value: &[u8]) -> Result<()> {
        fs::fsetxattr(file, name, value, XattrFlags::empty())
    }

    fn remove_attribute(&self, file: &OwnedFd, name: &OsStr) -> Result<()> {
        fs::fremovexattr(file, name)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
    }

    fn publish(&self, file: &OwnedFd, path: &Path) -> Result<()> {
        fs::linkat(CWD, descriptor_path(file.as_fd()), CWD, path, AtFlags::SYMLINK_FOLLOW)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        fs::linkat(CWD, from, CWD, to, AtFlags::empty())
    }

    fn touch(&self, file: &OwnedFd) -> Result<()> {
        let now = fs::Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW };
        fs::futimens(file, &fs::Timestamps { last_access: now, last_modification: now })
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        fs::unlink(path)
    }

    fn list(&self, directory: &Path, prefix: &OsStr) -> Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut found = Vec::new();
        for entry in fs::Dir::new(fs::open(directory, flags, fs::Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(prefix.as_bytes()) {
                found.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(found)
    }

    fn try_flock(&self, file: &OwnedFd, mode: Mode) -> Result<bool> {
        let operation = match mode {
            Mode::Shared => FlockOperation::NonBlockingLockShared,
            Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        match uninterrupted(|| fs::flock(file, operation)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unlock(&self, file: &OwnedFd) -> Result<()> {
        fs::flock(file, FlockOperation::Unlock)
    }

    fn flock_holders(&self, path: &Path) -> Result<Holders> {
        process::flock_holders(self.stat(path)?.id)
    }

    fn is_local(&self, file: &OwnedFd) -> Result<bool> {
        let kind = fs::fstatfs(file)?.f_type;
        Ok(LOCAL_FILE_SYSTEMS.iter().any(|(magic, _)| i128::from(*magic) == i128::from(kind)))
    }

    fn identity(&self) -> Identity {
        process::identity()
    }

    fn command(&self) -> Option<String> {
        process::command("self")
    }

    fn process(&self, pid: u32) -> Result<Process> {
        process::look(pid)
    }

    fn now(&self) -> Moment {
        let now = rustix::time::clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
        Moment::from_clock(Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0)))
    }

    fn machine_clock(&self) -> Result<Moment> {
        Ok(self.now().shifted(-process::clock_offset()?))
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        let filled = uninterrupted(|| rustix::rand::getrandom(&mut bytes[..], GetRandomFlags::empty()));
        // getrandom(2): up to 256 bytes are never short, and there is no error once the pool is ready.
        assert_eq!(filled, Ok(bytes.len()), "the kernel's random source must answer");
        u64::from_ne_bytes(bytes)
    }

    fn process_mark(&self) -> u64 {
        AT_FORK.call_once(watch_forks);
        PROCESS_MARK.load(Ordering::Acquire)
    }

    fn forks(&self) -> u64 {
        FORKS.load(Ordering::Acquire)
    }

    fn thread(&self) -> u64 {
        // Not the kernel's number, which a later thread may get while a guard of this one still exists.
        thread_local!(static NUMBER: u64 = THREADS.fetch_add(1, Ordering::Relaxed));
        NUMBER.with(|number| *number)
    }

    fn spawn(&self, task: Box<dyn FnOnce() + Send>) -> Result<()> {
        let spawned = std::thread::Builder::new().name("tenure".into()).spawn(task);
        spawned.map(drop).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
    }

    fn waiter(&self) -> NativeWaiter {
        NativeWaiter(Parker::default())
    }

    fn waker(&self, waiter: &NativeWaiter) -> Waker {
        waiter.0.waker()
    }

    fn watch(&self, waiter: &mut NativeWaiter, file: &OwnedFd) -> bool {
        waiter.0.watch(file.as_fd(), WatchFlags::empty()).is_ok()
    }

    fn watch_writes(&self, waiter: &mut NativeWaiter, file: &OwnedFd) -> bool {
        waiter.0.watch(file.as_fd(), WatchFlags::MODIFY).is_ok()
    }

    fn watch_end(&self, waiter: &mut NativeWaiter, pid: u32) -> bool {
        waiter.0.watch_end(pid).is_ok()
    }

    fn wait(&self, waiter: &mut NativeWaiter, until: Option<Moment>) -> Woken {
        waiter.0.wait(until)
    }

    fn wait_flock(
        &self,
        waiter: &mut NativeWaiter,
        until: Option<Moment>,
        file: &OwnedFd,
        mode: Mode,
    ) -> Result<Option<Woken>> {
        // Reading the notice can wait, the lock can't: the read would be a quarter of the way from the wake-up to the lock.
        let mut tried = Ok(false);
        let woken = waiter.0.wait_unless(until, || {
            tried = self.try_flock(file, mode);
            tried != Ok(false)
        });
        let taken = match woken {
            None => tried?,
            // The change may be one that another thread has read.
            Some(Woken::Changed) => self.try_flock(file, mode)?,
            Some(_) => false,
        };
        Ok(woken.filter(|_| !taken))
    }

    fn local<R>(&self, step: impl FnOnce(&mut Local) -> R) -> R {
        step(&mut locked(&shared().local))
    }
}

/// The time since 1970 by the clock on the wall, for people: it may jump, and nothing is decided by it.
pub fn wall_clock() -> std::time::Duration {
    let now = rustix::time::clock_gettime(ClockId::Realtime);
    // A clock before 1970 shows 1970.
    now.try_into().unwrap_or_default()
}

/// Calls a system call that reports the size it needs by `ERANGE`, until the buffer is large enough.
fn sized(mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // XATTR_SIZE_MAX and XATTR_LIST_MAX are 65536 (xattr(7)).
            Err(Errno::RANGE) if buffer.len() < 65_536 => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

/// The path under which the kernel shows one of this process's descriptors; it leads to the very file, also
/// after the file was renamed or deleted.
pub(super) fn descriptor_path(file: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
