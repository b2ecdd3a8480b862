//! `tenure flock`, and this program under the name `flock`: what flock(1) of util-linux does, for machines that have none.
//!
//! 1. Open the file, following links, for reading: it is created if it is not there. A number is a descriptor that our
//!    caller has opened. 2. `flock(2)`, which sleeps in the kernel; if a server wants a writable descriptor for an exclusive
//!    lock, open the file again for writing. 3. Start the command, which inherits the descriptor unless `--close`: the lock
//!    lasts until the last process that has it is gone, and nobody unlocks it. 4. End as the command ended.
//!
//! It starts before Rust's runtime does: that ignores SIGPIPE, and opens standard descriptors that are closed, so that the
//! command would get other ones than it was given, and `flock 0` lock another file.
//!
//! Unlike `tenure run` it does not look whether the path still names the locked file, says nothing of a wait, and passes no
//! signal on: whoever kills it leaves the command with the lock.

mod number;
mod options;

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Access, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::process::{WaitOptions, waitpid};
use rustix::time::{ClockId, Timespec, clock_gettime};
use tenure::host::{Request, Settled, become_command, flock_numbered, spawn};

use options::{Asked, Complaint, Patience, Task, What};

/// The name under which this program is flock(1), and that of its command.
const NAME: &str = "flock";

/// The shell of those who have none in `$SHELL`, and of scripts that do not name theirs.
const SHELL: &str = "/bin/sh";

const EX_DATAERR: u8 = 65;
const EX_NOINPUT: u8 = 66;
const EX_UNAVAILABLE: u8 = 69;
const EX_OSERR: u8 = 71;
const EX_CANTCREAT: u8 = 73;

/// The options, for `--help` and the manual.
pub(crate) const OPTIONS: &str = "\
Options:
 -s, --shared               hold the lock together with other shared holders
 -x, -e, --exclusive        hold the lock alone (default)
 -u, --unlock               give the lock up
 -n, --nb, --nonblock       do not wait
 -w, --wait, --timeout <seconds>
                            wait at most this long, e.g. 5 or 0.25; 0 is --nonblock
 -E, --conflict-exit-code <number>
                            the exit code if the lock can't be had in time (default 1)
 -o, --close                the command does not inherit the lock
 -c, --command <line>       run one line by $SHELL, or /bin/sh
 -F, --no-fork              become the command, which keeps the lock
     --verbose              say how long the lock took, or why it could not be had
 -h, --help                 show this help
 -V, --version              show the version";

/// Runs as flock(1) if that is what this process was called as, or to do.
pub(crate) fn called() -> Option<u8> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    let short = Path::new(&program).file_name().unwrap_or_default().to_owned();
    if short == NAME {
        return Some(Flock { full: program, short }.run(arguments.collect()));
    }
    (arguments.next()? == NAME).then(|| command(arguments.collect()))
}

/// `tenure flock`.
pub(crate) fn command(arguments: Vec<OsString>) -> u8 {
    let name = OsString::from("tenure flock");
    Flock { full: name.clone(), short: name }.run(arguments)
}

/// Why there is nothing more to do: the exit code, and what is said before it.
struct End(u8, Option<OsString>);

impl End {
    /// `parts: what the error number means`, as perror(3) says it.
    fn because(code: u8, parts: &[&[u8]], errno: Errno) -> End {
        let error = std::io::Error::from(errno).to_string();
        let meaning = error.rsplit_once(" (os error").map_or(error.as_str(), |(meaning, _)| meaning);
        let message = [&parts.concat(), &b": "[..], meaning.as_bytes()].concat();
        End(code, Some(OsStr::from_bytes(&message).to_owned()))
    }
}

/// The program under its name.
struct Flock {
    /// As it was called.
    full: OsString,
    /// Without the path.
    short: OsString,
}

impl Flock {
    fn run(&self, arguments: Vec<OsString>) -> u8 {
        let done = match options::parse(arguments) {
            Ok(Asked::Help) => print(&self.help()).map(|()| 0),
            Ok(Asked::Version) => {
                let version = concat!(" from tenure ", env!("CARGO_PKG_VERSION"), "\n");
                print(&[self.short.as_bytes(), version.as_bytes()].concat()).map(|()| 0)
            }
            Ok(Asked::Task(task)) => self.perform(&task),
            Err(complaint) => {
                self.complain(&complaint);
                Ok(Complaint::EXIT)
            }
        };
        match done {
            Ok(code) => code,
            Err(End(code, message)) => {
                if let Some(message) = message {
                    say(&[self.short.as_bytes(), b": ", message.as_bytes()]);
                }
                code
            }
        }
    }

    fn perform(&self, task: &Task) -> Result<u8, End> {
        let start = clock_gettime(ClockId::Monotonic);
        let (file, command) = match &task.what {
            What::Number(number) => {
                let answer = attempt(number, task)?;
                return self.judge(answer, number.to_string().as_ref(), start, task).map(|()| 0);
            }
            What::Command { file, command } => (file, command.clone()),
            What::Line { file, line } => (file, vec![shell(), "-c".into(), line.clone()]),
        };
        let mut opened = open(file, OFlags::RDONLY)?;
        let mut answer = attempt(&opened, task)?;
        let refused = matches!(answer, Err(Errno::IO | Errno::BADF)) && task.request != Request::Shared;
        if refused && rustix::fs::access(file, Access::READ_OK | Access::WRITE_OK).is_ok() {
            opened = open(file, OFlags::RDWR)?;
            answer = attempt(&opened, task)?;
        }
        self.judge(answer, file, start, task)?;
        self.execute(task, &opened, &command)
    }

    /// Ends this process unless the lock was had.
    fn judge(
        &self,
        answer: Result<Settled, Errno>,
        name: &OsStr,
        start: Timespec,
        task: &Task,
    ) -> Result<(), End> {
        let conflict = |message: &str| End(task.conflict_code, task.verbose.then(|| message.into()));
        match answer {
            Ok(Settled::Done) => {}
            Ok(Settled::Busy) => return Err(conflict("failed to get lock")),
            Ok(Settled::TimedOut) => return Err(conflict("timeout while waiting to get lock")),
            Err(errno) => {
                let code = if matches!(errno, Errno::NOLCK | Errno::NOMEM) { EX_OSERR } else { EX_DATAERR };
                return Err(End::because(code, &[name.as_bytes()], errno));
            }
        }
        let taken = clock_gettime(ClockId::Monotonic).checked_sub(start).unwrap_or_default();
        let line = format!(": getting lock took {}.{:06} seconds\n", taken.tv_sec, taken.tv_nsec / 1000);
        self.explain(task, line.as_bytes())
    }

    fn execute(&self, task: &Task, opened: &OwnedFd, command: &[OsString]) -> Result<u8, End> {
        let (program, arguments) = command.split_first().expect("the parser demands a command");
        self.explain(task, &[b": executing ", program.as_bytes(), b"\n"].concat())?;
        let failed = |errno| {
            let code = if errno == Errno::NOMEM { EX_OSERR } else { EX_UNAVAILABLE };
            End::because(code, &[b"failed to execute ", program.as_bytes()], errno)
        };
        if task.no_fork {
            return Err(failed(become_command(command)));
        }
        if task.close {
            let closed = rustix::io::fcntl_setfd(opened, FdFlags::CLOEXEC);
            closed.map_err(|errno| End::because(EX_OSERR, &[b"close-on-exec"], errno))?;
        }
        let started = spawn(command).or_else(|errno| match errno {
            // A script without `#!`, which execvp(3) gives to the shell, but not posix_spawnp(3).
            Errno::NOEXEC => spawn(&[&[SHELL.into(), found(program)], arguments].concat()),
            errno => Err(errno),
        });
        let child = started.map_err(|errno| match errno {
            Errno::AGAIN => End::because(EX_OSERR, &[b"fork failed"], errno),
            errno => failed(errno),
        })?;
        let ended = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
        let ended = ended.map_err(|errno| End::because(1, &[b"waitpid failed"], errno))?;
        let code = ended.and_then(|(_, status)| {
            status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal))
        });
        Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EX_OSERR))
    }

    /// With `--verbose`, says on standard output what is done.
    fn explain(&self, task: &Task, rest: &[u8]) -> Result<(), End> {
        match task.verbose {
            true => print(&[self.short.as_bytes(), rest].concat()),
            false => Ok(()),
        }
    }

    fn complain(&self, complaint: &Complaint) {
        let name = if complaint.by_full_name { &self.full } else { &self.short };
        if let Some(message) = &complaint.message {
            say(&[name.as_bytes(), b": ", message.as_bytes()]);
        }
        if complaint.try_help {
            say(&[b"Try '", self.short.as_bytes(), b" --help' for more information."]);
        }
    }

    fn help(&self) -> Vec<u8> {
        let name = self.short.display();
        format!(
            "\nUsage:\n {name} [options] <file>|<directory> <command> [<argument>...]\n \
             {name} [options] <file>|<directory> -c <line>\n {name} [options] <descriptor number>\n\n\
             Run a command while holding a lock, or lock a descriptor that is open: flock(1).\n\n{OPTIONS}\n"
        )
        .into_bytes()
    }
}

/// `flock(2)` as the task asks for it.
fn attempt(file: &impl AsRawFd, task: &Task) -> Result<Result<Settled, Errno>, End> {
    let limit = match task.patience {
        Patience::Forever => None,
        Patience::Within(limit) => Some(limit),
        Patience::Impossible => {
            return Err(End::because(EX_OSERR, &[b"cannot set up timer"], Errno::INVAL));
        }
    };
    Ok(flock_numbered(file.as_raw_fd(), task.request, limit))
}

/// Opens what is to be locked. Without close-on-exec, since the command is to inherit it.
fn open(file: &OsStr, how: OFlags) -> Result<OwnedFd, End> {
    let opened = rustix::fs::open(file, how | OFlags::NOCTTY | OFlags::CREATE, Mode::from_raw_mode(0o666));
    let opened = match opened {
        // A directory can't be created this way, nor opened for writing.
        Err(Errno::ISDIR) => rustix::fs::open(file, OFlags::RDONLY | OFlags::NOCTTY, Mode::empty()),
        opened => opened,
    };
    opened.map_err(|errno| {
        let code = match errno {
            Errno::NOMEM | Errno::MFILE | Errno::NFILE => EX_OSERR,
            Errno::ROFS | Errno::NOSPC => EX_CANTCREAT,
            _ => EX_NOINPUT,
        };
        End::because(code, &[b"cannot open lock file ", file.as_bytes()], errno)
    })
}

fn shell() -> OsString {
    std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| SHELL.into())
}

/// The file that `program` names, which may be one of the directories in `PATH` away.
fn found(program: &OsStr) -> OsString {
    let as_it_is = || program.to_owned();
    if program.as_bytes().contains(&b'/') {
        return as_it_is();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates =
        std::env::split_paths(&path).map(|directory| directory.join(program).into_os_string());
    candidates.find(|file| rustix::fs::access(file, Access::EXEC_OK).is_ok()).unwrap_or_else(as_it_is)
}

fn print(text: &[u8]) -> Result<(), End> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(End::because(1, &[b"write error"], errno(&error)))
        }
        _ => Ok(()),
    }
}

/// Says a line to the person, in one piece.
fn say(parts: &[&[u8]]) {
    let line = [&parts.concat(), &b"\n"[..]].concat();
    // If stderr is gone, there is nobody to tell.
    let _nobody_listens = std::io::stderr().write_all(&line);
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
