//! Who holds a file's `flock`, read from /proc.
//!
//! `/proc/PID/fdinfo/FD` shows the locks of each open description, so every process that keeps the description
//! open is found, children that inherited it included. `/proc/locks` names only the process that opened it,
//! which may be gone; it is the answer for processes that this user may not inspect.

use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD};
use rustix::time::ClockId;

use super::{Errno, FileId, Mode, Process, Result};
use crate::owner::{Holder, Holders, Identity};

/// Whether this process leads its session, and so is the one whom a terminal that goes away tells.
pub fn leads_session() -> bool {
    // SAFETY: neither call takes a pointer. rustix's getsid panics at the 0 that stands for a leader outside this
    // pid namespace, which is what a container without a terminal of its own has.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// This process, as a record of it must name it to be recognised later and from elsewhere.
pub(super) fn identity() -> Identity {
    // machine-id(5): a line of 32 hex digits, or "uninitialized" in an image that was not booted yet.
    let is_id = |text: &String| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = |path: &str| text(path).ok().map(|text| text.trim().to_owned());
    let machine =
        ["/etc/machine-id", "/var/lib/dbus/machine-id"].into_iter().find_map(|path| line(path).filter(is_id));
    let pid = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    let namespace = rustix::fs::stat("/proc/self/ns/pid").ok().map(|stat| stat.st_ino);
    Identity {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        machine,
        boot: line("/proc/sys/kernel/random/boot_id").filter(|id| !id.is_empty()),
        pid_namespace: namespace,
        pid,
        started: comparable(pid).and_then(|numbers| numbers.started),
    }
}

/// What becomes of a process. `kill` has the first word: with the mount option `hidepid`, /proc has no entry for other
/// users' processes, however alive.
pub(super) fn look(pid: u32) -> Result<Process> {
    let Some(number) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return Ok(Process::Gone);
    };
    match rustix::process::test_kill_process(number) {
        Err(Errno::SRCH) => return Ok(Process::Gone),
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    Ok(match comparable(pid) {
        Some(numbers) if numbers.is_zombie => Process::Gone,
        numbers => Process::Running { started: numbers.and_then(|numbers| numbers.started) },
    })
}

/// What /proc says of this pid namespace's process `pid`, if it speaks of that one: a process that was put into a new
/// namespace and kept the old one's /proc (`unshare --pid --fork`, `nsenter --pid`) would see a stranger.
fn comparable(pid: u32) -> Option<Comparable> {
    if !is_numbered_as_we_are().ok()? {
        return None;
    }
    let numbers = numbers(pid)?;
    let started = Some(numbers.started).filter(|_| counts_from_boot());
    Some(Comparable { is_zombie: numbers.is_zombie, started })
}

/// Whether start times count from the machine's boot: a time namespace shifts those that its members read
/// (time_namespaces(7)), so that the same process seems to be another.
fn counts_from_boot() -> bool {
    // The inode number of the first time namespace (linux/nsfs.h: TIME_NS_INIT_INO). Before Linux 5.6 there is no other.
    const FIRST: u64 = 0xEFFF_FFFA;
    match rustix::fs::stat("/proc/self/ns/time") {
        Ok(stat) => stat.st_ino == FIRST,
        Err(errno) => errno == Errno::NOENT,
    }
}

/// How many nanoseconds the boot clock of this process is ahead of the machine's (time_namespaces(7)).
pub(super) fn clock_offset() -> Result<i128> {
    if counts_from_boot() {
        return Ok(0);
    }
    // The file tells of the namespace that children will be in, which is this process's own only from an exec on.
    let (own, children) =
        (rustix::fs::stat("/proc/self/ns/time")?, rustix::fs::stat("/proc/self/ns/time_for_children")?);
    if own.st_ino != children.st_ino {
        return Err(Errno::NOTSUP);
    }
    let offsets = text("/proc/self/timens_offsets")?;
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime")).ok_or(Errno::NOTSUP)?;
    let numbers: Vec<i128> = line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [seconds, nanoseconds] => Ok(seconds * 1_000_000_000 + nanoseconds),
        _ => Err(Errno::NOTSUP),
    }
}

struct Comparable {
    is_zombie: bool,
    /// Ticks since boot, if any other process would see the same.
    started: Option<u64>,
}

/// A process of a process group, as [`group_members`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The process id.
    pub pid: u32,
    /// It has ended, and does nothing more; its parent has not asked for its status yet.
    pub ended: bool,
}

/// The processes of a process group. One that is made, or ends, meanwhile may or may not be among them.
///
/// Errors: `NOTSUP` if /proc belongs to another pid namespace; whatever reading it says.
pub fn group_members(group: rustix::process::Pid) -> Result<Vec<Member>> {
    if !is_numbered_as_we_are()? {
        return Err(Errno::NOTSUP);
    }
    let names = listed(Path::new("/proc"))?;
    let processes = names.iter().filter_map(|name| name.to_str()?.parse::<u32>().ok());
    // One that can't be read has ended meanwhile.
    let found = processes.filter_map(|pid| Some((pid, numbers(pid)?)));
    let members = found.filter(|(_, numbers)| numbers.group == group.as_raw_nonzero().get());
    Ok(members.map(|(pid, numbers)| Member { pid, ended: numbers.is_zombie }).collect())
}

/// Whether the numbers in /proc are those of this process's pid namespace.
fn is_numbered_as_we_are() -> Result<bool> {
    // proc(5): the process's number in the namespace that /proc was mounted for, then in each one below that.
    let status = text("/proc/self/status")?;
    let in_namespaces = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    Ok(in_namespaces.is_some_and(|numbers| numbers.split_ascii_whitespace().count() == 1))
}

/// The part of /proc/PID/stat that tells processes apart.
struct Numbers {
    is_zombie: bool,
    group: i32,
    /// Ticks since boot.
    started: u64,
}

fn numbers(pid: u32) -> Option<Numbers> {
    let stat = text(&format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold blanks and parentheses of its own.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let (state, group, threads, started) =
        (fields.first()?, fields.get(2)?, fields.get(17)?, fields.get(19)?);
    // A process whose first thread has ended lives on, shown as a zombie, while it has others.
    let is_zombie = matches!(*state, "Z" | "X") && threads.parse::<u32>().ok()? <= 1;
    Some(Numbers { is_zombie, group: group.parse().ok()?, started: started.parse().ok()? })
}

/// The processes that hold an flock on `file`.
pub(super) fn flock_holders(file: FileId) -> Result<Holders> {
    let mut holders = Holders::default();
    for entry in listed(Path::new("/proc"))? {
        let Some(pid) = entry.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        match locked_by(pid, file) {
            Ok(Some(mode)) => holders.list.push(describe(pid, mode, true)),
            Err(Errno::ACCESS | Errno::PERM) => holders.partial = true,
            // Any other error: the process ended while we looked.
            Ok(None) | Err(_) => {}
        }
    }
    if holders.list.is_empty()
        && let Ok(table) = text("/proc/locks")
    {
        // The table shows every lock of this pid namespace, whoever holds it, unless its opener is dead; so where
        // it has none, those whom we may not inspect have none either.
        holders.partial &= table.lines().any(|line| line.contains(&format!(":{} ", file.inode)));
        holders.list =
            openers(&table, file).into_iter().map(|(pid, mode)| describe(pid, mode, false)).collect();
    }
    Ok(holders)
}

/// Whether one of the process's descriptors is `file` and carries an flock.
///
/// The lock is looked for first, in /proc alone: a `stat` of a stranger's descriptor can hang on a dead network
/// file system, and is made only for one that carries a lock on a file of this inode number.
fn locked_by(pid: u32, file: FileId) -> Result<Option<Mode>> {
    let inode = format!(":{}", file.inode);
    for name in listed(Path::new(&format!("/proc/{pid}/fdinfo")))? {
        let Some(fd) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A descriptor that was closed meanwhile is no reason to miss the others.
        let Ok(info) = text(&format!("/proc/{pid}/fdinfo/{fd}")) else { continue };
        let locks = info.lines().filter_map(|line| line.strip_prefix("lock:"));
        let of_inode = |line: &&str| line.split_ascii_whitespace().any(|word| word.ends_with(&inode));
        let Some(mode) = locks.filter(of_inode).find_map(flock_mode) else { continue };
        // Device numbers in /proc are not those of stat(2) on every file system, so the file is asked.
        let Ok(stat) = rustix::fs::statat(CWD, format!("/proc/{pid}/fd/{fd}"), AtFlags::empty()) else {
            continue;
        };
        if (FileId { device: stat.st_dev, inode: stat.st_ino }) == file {
            return Ok(Some(mode));
        }
    }
    Ok(None)
}

/// The processes that the kernel's lock table names as openers of `file`.
fn openers(table: &str, file: FileId) -> Vec<(u32, Mode)> {
    let (major, minor) = (rustix::fs::major(file.device), rustix::fs::minor(file.device));
    let wanted = format!("{major:02x}:{minor:02x}:{}", file.inode);
    table.lines().filter_map(|line| Some((lock_fields(line, &wanted)?, flock_mode(line)?))).collect()
}

/// The pid of a lock table line about the file `wanted` (`1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`).
fn lock_fields(line: &str, wanted: &str) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace().skip(4);
    let (pid, file) = (fields.next()?, fields.next()?);
    // A waiter's line has `->` after its number, which shifts the fields and makes them not match.
    (file == wanted).then(|| pid.parse().ok())?
}

fn flock_mode(line: &str) -> Option<Mode> {
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "FLOCK").skip(2);
    match words.next()? {
        "READ" => Some(Mode::Shared),
        "WRITE" => Some(Mode::Exclusive),
        _ => None,
    }
}

fn describe(pid: u32, mode: Mode, certain: bool) -> Holder {
    Holder::new(pid, command(pid), running_for(pid), mode, certain)
}

/// The command line, or the name in brackets for a process that has none (a kernel thread, a zombie).
pub(super) fn command(pid: impl std::fmt::Display) -> Option<String> {
    let line = bytes(&format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let joined = words.join(" ").trim_end().to_owned();
    if !joined.is_empty() {
        return Some(joined);
    }
    let name = text(&format!("/proc/{pid}/comm")).ok()?;
    Some(format!("[{}]", name.trim_end()))
}

/// How long a process has been running.
fn running_for(pid: u32) -> Option<Duration> {
    let ticks = numbers(pid)?.started;
    let per_second = rustix::param::clock_ticks_per_second();
    let started = Duration::from_secs(ticks / per_second)
        + Duration::from_millis(ticks % per_second * 1000 / per_second);
    let boot = rustix::time::clock_gettime(ClockId::Boottime);
    let up = Duration::new(u64::try_from(boot.tv_sec).ok()?, u32::try_from(boot.tv_nsec).ok()?);
    Some(up.saturating_sub(started))
}

fn listed(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    super::Host::list(&super::Native, directory, "".as_ref())
}

fn text(path: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(path)?).into_owned())
}

#[expect(clippy::disallowed_methods, reason = "/proc is the host's own source, not a file of the protocols")]
fn bytes(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_table_lines_are_read() {
        let line = "12: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF";
        assert_eq!(lock_fields(line, "fe:00:1234"), Some(4711));
        assert_eq!(lock_fields(line, "fe:00:12345"), None);
        assert_eq!(flock_mode(line), Some(Mode::Exclusive));
        assert_eq!(flock_mode("\t1: FLOCK  ADVISORY  READ 9 fe:00:1 0 EOF"), Some(Mode::Shared));
        assert_eq!(flock_mode("\t1: POSIX  ADVISORY  WRITE 9 fe:00:1 0 EOF"), None);
        assert_eq!(lock_fields("12: -> FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF", "fe:00:1234"), None);
    }

    #[test]
    fn this_process_is_described() {
        let me =
            describe(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs(), Mode::Shared, true);
        assert!(me.command.is_some_and(|command| command.contains("tenure")));
        assert!(me.running_for.is_some_and(|age| age < Duration::from_secs(3600)));
    }
}
