//! What `tenure run` takes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::{KindArg, parse_duration, parse_lifetime};

/// Run a command while holding a lock, or a lease
///
/// The lock is released when the command ends, whatever processes it has left behind. If tenure itself is
/// killed, the command keeps the lock until it ends. Signals sent to tenure are passed on to the command.
///
/// Excludes, and is excluded by, everything that locks the same file with flock(2): flock(1), Python's filelock,
/// other tenures.
///
/// With --kind lockfile the lock is a file that exists while it is held and names tenure as its owner; LOCK.guard
/// beside it is never deleted. It works across machines that share a file system, but the command inherits nothing:
/// if tenure itself is killed by SIGKILL, the file is left naming a dead process and the next comer takes the lock,
/// while the command may go on. On one machine, take --kind flock, whose command keeps the lock. If the lock is lost
/// while the command runs (its --lifetime is over, somebody broke it), the command is sent SIGTERM once, and tenure
/// ends with exit code 79 after it. Without --lifetime such a loss is only seen when the command has ended.
///
/// With --lease it holds a lease of a database (`sqlite:PATH#NAME`, `postgres://USER@HOST/DATABASE#NAME`) instead, which
/// it renews after each third of --ttl, and ends the command before the lease could be another's. The command runs in a
/// process group of its own, in the terminal's foreground if tenure was there. When the lease is lost, or could not be
/// renewed until --grace before its end, the group is sent SIGTERM, and SIGKILL after --grace, but in time before the end;
/// tenure ends with exit code 79. That also happens if tenure itself is stopped meanwhile: a watchdog process of its own
/// sees to it. If tenure is killed, the command is killed at once, and then the lease is released. So a command that
/// stays stopped (Ctrl-Z) for longer than --ttl loses the lease, and is ended.
///
/// No timer can do more: a machine that is paused, or a process that has left the command's process group (setsid, daemons),
/// may act when the lease is another's. Write under the protection of the token: whatever is written to refuses a
/// token that is smaller than one it has seen. The command finds in its environment TENURE_TOKEN (that number),
/// TENURE_LEASE (the handle, for `tenure lease renew` and `release`: no password, but whoever has it has the lease) and
/// TENURE_EXPIRES (when the lease would have ended when the command was started, RFC 3339 in UTC; each renewal moves it).
///
/// Everyone on this machine can read a password in an address that is an argument (ps). Give it by the environment variable
/// PGPASSWORD.
#[derive(Debug, Args)]
#[command(
    after_help = RUN_EXAMPLES,
    override_usage = "tenure run [OPTIONS] <LOCK> -- <CMD>...\n       \
                      tenure run [OPTIONS] --lease <ADDRESS#NAME> --ttl <DURATION> -- <CMD>..."
)]
pub(crate) struct Run {
    /// What keeps the lock; everyone who shares a lock chooses the same
    #[arg(long, value_enum, default_value_t = KindArg::Flock)]
    pub(crate) kind: KindArg,
    /// How long the lock lasts without being renewed, which tenure does after each third of it; at least 100ms.
    /// When it is over, the next comer takes the lock even if its holder lives (only with --kind lockfile)
    #[arg(long, value_name = "DURATION", value_parser = parse_lifetime)]
    pub(crate) lifetime: Option<Duration>,
    /// Hold the lock together with other --shared holders
    #[arg(long, short = 's')]
    pub(crate) shared: bool,
    /// Do not wait: end with exit code 75 if the lock is held
    #[arg(long = "try", short = 'n', conflicts_with = "wait")]
    pub(crate) try_once: bool,
    /// Wait at most this long, e.g. 300ms, 2s, 1m (default: for ever)
    #[arg(long, short = 'w', value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Do not let the command inherit the lock: if tenure is killed, the lock is free at once
    #[arg(long, short = 'o')]
    pub(crate) close: bool,
    /// The exit code if the lock can't be had in time
    #[arg(long, short = 'E', value_name = "N", default_value_t = 75)]
    pub(crate) busy_exit: u8,
    #[command(flatten)]
    pub(crate) lease: RunLease,
    /// The file (or directory) to lock; created if missing, never deleted. With --kind lockfile, the file that exists
    /// while the lock is held
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "place")]
    pub(crate) lock: Option<PathBuf>,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  tenure run deploy.lock -- ./deploy.sh
  tenure run --try cron.lock -- nightly-job      # exit 75 if it still runs
  tenure run --wait 30s --shared db.lock -- pg_dump app
  tenure run --kind lockfile --lifetime 1m /mnt/team/build.lock -- make
  tenure run /var/lib/app -- backup /var/lib/app  # a directory is a lock as well
  tenure run --lease sqlite:jobs.db#nightly --ttl 30s -- ./nightly.sh
  tenure run --lease postgres://app@db.example/app#plan/42 --ttl 1m --try -- ./apply.sh";

/// A lease instead of a lock.
#[derive(Debug, Args)]
pub(crate) struct RunLease {
    // Text, and read by hand: clap would show what it can't read, which may have a password in it.
    /// The lease to hold instead of a LOCK: the address of its store, `#`, and its name
    #[arg(
        long = "lease",
        value_name = "ADDRESS#NAME",
        requires = "ttl",
        conflicts_with_all = ["lock", "kind", "lifetime", "shared", "close"]
    )]
    pub(crate) place: Option<String>,
    /// With --lease: how long the lease lasts without being renewed, e.g. 30s: others wait for so long when this machine
    /// goes down
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// With --lease: how long before the lease ends the command is asked to end, by SIGTERM; at most half of --ttl
    /// (default: 5s, or a quarter of --ttl if that is less)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) wishes: Wishes,
}

impl RunLease {
    /// Whether something is asked for that a lock has not. (clap lets it pass beside a LOCK, which excludes `--lease`.)
    pub(crate) fn is_of_a_lease(&self) -> bool {
        let Wishes { note, at_least, at_most } = &self.wishes;
        note.is_some() || [&self.ttl, &self.grace, at_least, at_most].into_iter().any(Option::is_some)
    }
}

/// What an acquisition of a lease may ask for.
#[derive(Debug, Args)]
pub(crate) struct Wishes {
    /// A text that others are shown with the holder of the lease
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Nobody gets the lease earlier than this after it was granted, though it is released before
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) at_least: Option<Duration>,
    /// The lease is not renewed beyond this time after it was granted
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) at_most: Option<Duration>,
}
