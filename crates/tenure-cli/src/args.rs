//! What the commands take.

mod document;
mod journal;
mod lease;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use tenure::{Handle, Wait};

pub(crate) use self::document::{Edit, Expression, Get, Undo, Update};
pub(crate) use self::journal::{Append, Log, Repair, Reset, Rotate, Verify};
pub(crate) use self::lease::{Acquire as AcquireLease, Break as BreakLease, Lease, LeaseCommand};
pub(crate) use self::run::{Run, Wishes};
use crate::{cmd, exit};

/// The shortest lifetime that the library accepts.
const LIFETIME_MIN: Duration = Duration::from_millis(100);

/// Locks, shared documents, journals and leases for programs that run more than once at a time.
///
/// A lock file is held by one process at a time (or by many readers) and is free again as soon as its holder is
/// gone, however it ended. With `--kind lockfile`, and with `tenure lock`, it is held by being there, for file
/// systems that several machines share. A document is a file that is read, changed and written as one step: no
/// change is lost, no half-written file is ever seen. A journal is a file of lines that many append to: each record
/// is there whole or not at all, and what was acknowledged stays. A lease is a lock with an owner, a lifetime and a
/// fencing token, kept by a database.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Update(Update),
    Get(Get),
    Edit(Edit),
    Undo(Undo),
    Append(Append),
    Log(Log),
    Verify(Verify),
    Repair(Repair),
    Rotate(Rotate),
    Reset(Reset),
    Status(Status),
    Lock(Lock),
    Break(Break),
    Lease(Lease),
    /// Do what flock(1) of util-linux does, for machines that have none
    ///
    /// Also what this program does when it is called by the name `flock`, for instance through a symbolic link. Options end
    /// at the first operand; the lock of a FILE lasts until the command, and whatever inherited the lock from it, has ended.
    /// With a descriptor number, the lock stays with the open file when this ends.
    #[command(
        override_usage = "tenure flock [OPTIONS] FILE|DIRECTORY COMMAND [ARGUMENT]...\n       \
                          tenure flock [OPTIONS] FILE|DIRECTORY -c LINE\n       \
                          tenure flock [OPTIONS] NUMBER",
        after_help = cmd::flock::OPTIONS,
        disable_help_flag = true
    )]
    Flock {
        /// Options, then what to lock, then the command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<OsString>,
    },
    /// What `tenure run --lease` starts beside its command; of no use otherwise
    #[command(hide = true)]
    Watchdog {
        /// Only keep the number of the command's process group taken
        #[arg(long)]
        anchor: bool,
    },
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page for each command into DIRECTORY
    Man {
        /// Where to write tenure.1, tenure-run.1, ...
        #[arg(value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
}

/// Say who holds a lock
///
/// Looks only: nobody is disturbed. Beside each PATH, PATH.lock is looked at if it exists, which is the lock of
/// a document. Holders of an flock on other machines, or outside this pid namespace, can't be seen.
///
/// A file with PATH.guard beside it, or that is the record of an owner, is a lock of the lockfile kind, unless
/// somebody holds it by flock(2). Its owner is shown as the file names it, with a verdict: alive, dead, expired (the
/// next comer takes the lock from these two) or unknown, and the reason for it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tenure status deploy.lock state.json")]
pub(crate) struct Status {
    /// Lock files, or documents
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Print an array of objects with path, state, holders, partial, kind, host, verdict and reason
    #[arg(long)]
    pub(crate) json: bool,
}

/// Hold a lock of the lockfile kind across processes, by a handle
///
/// The lock belongs to whoever has the handle: it outlives the process that acquired it, and a reboot. The handle is one
/// word, `tenure1:NONCE:PATH`.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = LOCK_EXAMPLES)]
pub(crate) struct Lock {
    #[command(subcommand)]
    pub(crate) command: LockCommand,
}

const LOCK_EXAMPLES: &str = "\
Examples:
  handle=$(tenure lock acquire --lifetime 1h /mnt/team/deploy.lock)
  tenure lock renew \"$handle\"
  tenure lock release \"$handle\"";

#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    Acquire(Acquire),
    /// Begin the lifetime of a lock anew (exit 79 if the lock was lost)
    Renew {
        /// What `tenure lock acquire` printed
        handle: Handle,
    },
    /// Give a lock up (exit 79 if the lock was lost)
    Release {
        /// What `tenure lock acquire` printed
        handle: Handle,
    },
}

/// Acquire a lock and print its handle
///
/// Give it a --lifetime unless somebody can break it by hand: a handle that is lost, with the process that was to keep
/// it, can't release its lock.
#[derive(Debug, Args)]
pub(crate) struct Acquire {
    /// Do not wait: end with exit code 75 if the lock is held
    #[arg(long = "try", short = 'n', conflicts_with = "wait")]
    pub(crate) try_once: bool,
    /// Wait at most this long, e.g. 300ms, 2s, 1m (default: for ever)
    #[arg(long, short = 'w', value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// How long the lock lasts without `tenure lock renew`; at least 100ms (default: until it is released)
    #[arg(long, value_name = "DURATION", value_parser = parse_lifetime)]
    pub(crate) lifetime: Option<Duration>,
    /// The lock file, which exists while the lock is held
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) path: PathBuf,
}

/// Take a lock of the lockfile kind away from its owner
///
/// Says who that is and whether it is safe, and does it only with --yes: if the owner is at work, another will be let in
/// beside it. A lock whose owner is dead, or whose lifetime is over, need not be broken: the next comer takes it.
///
/// A lock of the flock kind can't be broken: end its holder.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tenure break /mnt/team/build.lock          # says whose it is")]
pub(crate) struct Break {
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// The lock file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// The kernel, by flock(2): gone with its last holder
    Flock,
    /// The file itself, by being there
    Lockfile,
}

/// The `Wait` that `--wait` asks for.
pub(crate) fn wait(limit: Option<Duration>) -> Wait {
    limit.map_or(Wait::Forever, Wait::within)
}

/// A duration that a lock can be renewed in.
fn parse_lifetime(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        lifetime if lifetime < LIFETIME_MIN => {
            Err("a lifetime of less than 100ms can't be kept up".to_owned())
        }
        lifetime => Ok(lifetime),
    }
}

/// `300ms`, `2s`, `1.5m`, `1h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        _ => {
            return Err(
                "a duration is a number with one of the units ms, s, m, h, e.g. 300ms or 2s".to_owned()
            );
        }
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    Duration::try_from_secs_f64(number * milliseconds / 1e3).map_err(|_| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        let table =
            [("300ms", 300), ("2s", 2000), ("1m", 60_000), ("1.5s", 1500), ("0s", 0), ("1h", 3_600_000)];
        for (text, milliseconds) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "2", "s", "-1s", "1..2s", "2 s", "1d", "999999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_lifetime("99ms").is_err() && parse_lifetime("0s").is_err());
        assert_eq!(parse_lifetime("100ms"), Ok(Duration::from_millis(100)));
    }
}
