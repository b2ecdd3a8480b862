//! What the exit codes mean. They follow `sysexits.h` where it has a code for the case.

use std::process::ExitCode;

use tenure::Error;

/// Why a command ended. `run` passes its child's code through instead, or 128+n for a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command line or the expression can't be understood.
    Usage,
    /// The input is corrupt or of a kind that is not changed; or an expression fails, yields not exactly one
    /// result, or outlasts its limit.
    Data,
    /// The input does not exist.
    NoInput,
    /// The store of a lease can't be reached.
    Unreachable,
    /// A mistake of ours.
    Internal,
    /// The file or its lock can't be created there.
    CannotCreate,
    /// The disk is full or failing, or a limit of the system is reached.
    Io,
    /// Somebody else holds the lock.
    Busy,
    /// The document is another version than the one named, or others changed it in the same places.
    Conflict,
    /// The operating system denies the access.
    Permission,
    /// The lock or lease was lost while it was held: its lifetime ended, or somebody broke it; or a later holder's fencing token
    /// was here before ours, which is to hear of the same loss late. `sysexits.h` ends before this.
    Lost,
    /// The command to run was found but can't be executed.
    NotExecutable,
    /// The command to run was not found.
    NotFound,
    /// Any other code: a child's, or one the caller chose.
    Code(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::NoInput => 66,
            Exit::Unreachable => 69,
            Exit::Internal => 70,
            Exit::CannotCreate => 73,
            Exit::Io => 74,
            Exit::Busy => 75,
            Exit::Conflict => 76,
            Exit::Permission => 77,
            Exit::Lost => 79,
            Exit::NotExecutable => 126,
            Exit::NotFound => 127,
            Exit::Code(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// A command that did not do what was asked: the code, and the line for stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let table = [
            (error.is_busy() || error.is_cancelled(), Exit::Busy),
            (error.is_corrupt() || error.is_rejected() || error.is_unsupported(), Exit::Data),
            (error.is_missing(), Exit::NoInput),
            (error.is_lost() || error.is_fenced(), Exit::Lost),
            (error.is_unreachable(), Exit::Unreachable),
            (error.is_conflict(), Exit::Conflict),
            (error.is_permission(), Exit::Permission),
            (error.is_cannot_create(), Exit::CannotCreate),
            (error.is_io(), Exit::Io),
        ];
        let exit = table.into_iter().find_map(|(is, exit)| is.then_some(exit)).unwrap_or(Exit::Internal);
        Failure::new(exit, error.to_string())
    }
}

/// The paragraph of every `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  64   usage, or an expression that can't be parsed
  65   corrupt input, a damaged journal; or an expression that fails, yields not
       exactly one result, or outlasts its time limit
  66   no such input; a lease that nobody ever had
  69   the store of a lease can't be reached
  70   a bug in tenure
  73   the file or its lock can't be created there
  74   input/output error: disk full, EIO, too many open files
  75   busy: somebody else holds the lock, or the lease
  76   conflict: not the version that --if-version names, changed by others in
       the same places, or a cursor that is no place in the journal
  77   permission denied
  79   the lock, or the lease, was lost while it was held: its lifetime ended, or
       it was broken; or the file has accepted a larger fencing token than that
       of --fence
  run  the command's own code; 126 not executable, 127 not found, 128+n killed by
       signal n
  edit 126 or 127 as well, if the editor can't be run";
