//! A host call as a value, and what it returned: one place for traces, faults and the calls that commute.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use tenure::Moment;
use tenure::host::{Errno, FileId, Mode, Open, Process, Stat, Woken};

use crate::world::leases::{Fenced, Nature, Question, Told};
use crate::world::ledger::Entry;

/// A descriptor's number in its process.
pub type Fd = usize;

/// A waiter's number in its process.
pub type WaiterId = usize;

/// A call of a simulated process, not yet executed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of `Host` with its name")]
pub enum Op {
    Open(PathBuf, Open),
    Read(Fd, usize),
    Write(Fd, Vec<u8>),
    ReadAt(Fd, u64, usize),
    /// The first half of the bytes: a reader may come, and the writer may die, before the rest.
    WriteAt(Fd, u64, Vec<u8>),
    /// The second half of what a [`Op::WriteAt`] with the same bytes began.
    WriteRest(Fd, u64, Vec<u8>),
    Truncate(Fd, u64),
    Fsync(Fd),
    SyncData(Fd),
    /// The first half of a close: the change event, which precedes the release of the lock by a hair.
    CloseEvent(Fd),
    Close(Fd),
    StatFile(Fd),
    Id(Fd),
    Stat(PathBuf),
    ReadLink(PathBuf),
    SetMode(Fd, u32),
    SetOwner(Fd, u32, u32),
    Attributes(Fd),
    SetAttribute(Fd, OsString, Vec<u8>),
    RemoveAttribute(Fd, OsString),
    Rename(PathBuf, PathBuf),
    Publish(Fd, PathBuf),
    Link(PathBuf, PathBuf),
    Touch(Fd),
    Unlink(PathBuf),
    List(PathBuf, OsString),
    TryFlock(Fd, Mode),
    Unlock(Fd),
    Holders(PathBuf),
    IsLocal(Fd),
    Process(u32),
    Now,
    /// Whether writes are watched, too.
    Watch(WaiterId, Fd, bool),
    WatchEnd(WaiterId, u32),
    Wait(WaiterId, Option<Moment>),
    /// A question to the store of leases, and its decision.
    Ask(Box<Question>),
    /// The way back of the answer.
    Answer,
    /// No call: something happens to the store.
    Nature(Nature),
    /// A step at what is fenced by the tokens of leases.
    Fenced(Fenced),
    /// No call of the system: a thread looks at, or changes, what the threads of its process share, and wakes others.
    Local,
    /// No call of the system: the scenario tells the checker where it is.
    Note(Note),
    /// The process has come to its end; the kernel closes what it left open.
    Exit,
}

/// What a scenario tells the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The process believes that it holds the lock alone, until that moment at the latest.
    Enter(Option<Moment>),
    /// It renewed its lock: now until that moment.
    Extend(Option<Moment>),
    /// It is about to ask its guard whether the lock is still held, however long after its last call.
    Asks,
    /// It was told that the lock is still held.
    StillHeld,
    /// It goes on in the belief that it holds the lock, however long it was away since it last asked.
    Believes,
    /// It does not hold the lock any more, or is about to give it up.
    Leave,
    /// It begins a change that counts one.
    Begin,
    /// The change was acknowledged.
    Acked,
    /// The change was reported as not made.
    Refused,
    /// The change was reported as failed without a word on whether it was made.
    Doubtful,
    /// It is about to give up what it was acknowledged.
    Released,
    /// A round is over and nothing is left of it but its number: how it went decides nothing any more.
    Round(usize),
    /// Something of a journal.
    Journal(Entry),
    /// Something that must happen in some run, or the scenario proves nothing.
    Sometimes(&'static str),
}

/// What a call returned.
pub type Reply = Result<Value, Errno>;

/// The values that calls return.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is what it says")]
pub enum Value {
    Nothing,
    File(Fd),
    Count(usize),
    /// The first half is done, and the call goes on.
    Begun,
    Bytes(Vec<u8>),
    Stat(Stat),
    Id(FileId),
    Path(PathBuf),
    Names(Vec<OsString>),
    Attributes(Vec<(OsString, Vec<u8>)>),
    Yes(bool),
    /// Pids and modes.
    Holders(Vec<(u32, bool)>),
    Process(Process),
    Moment(Moment),
    Woken(Woken),
    /// A number for what the threads of a process share.
    Shared(u64),
    Told(Told),
}

/// Something that goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The disk is full.
    NoSpace,
    /// The device fails.
    Io,
    /// The process has too many open files.
    TooManyFiles,
    /// Half of what was given is written.
    Short,
    /// The server does it, and the reply is lost: the client's repetition reports an error.
    LostReply,
    /// A change event does not arrive.
    LostEvent,
    /// The device fails in a sync; [`Fault::Io`] is that, too, and at every other call.
    Sync,
    /// A question to the store of leases comes so late that its caller has given up.
    Late,
}

impl Fault {
    /// Every fault, in the order of their letters.
    pub const ALL: [Fault; 8] = [
        Fault::NoSpace,
        Fault::Io,
        Fault::TooManyFiles,
        Fault::Short,
        Fault::LostReply,
        Fault::LostEvent,
        Fault::Sync,
        Fault::Late,
    ];

    /// The letter that stands for it in a replay string.
    pub fn letter(self) -> char {
        match self {
            Fault::NoSpace => 's',
            Fault::Io => 'i',
            Fault::TooManyFiles => 'm',
            Fault::Short => 'h',
            Fault::LostReply => 'r',
            Fault::LostEvent => 'e',
            Fault::Sync => 'y',
            Fault::Late => 'l',
        }
    }

    /// The error that the call reports; `None` where it reports something else.
    pub fn errno(self, op: &Op) -> Option<Errno> {
        match self {
            Fault::NoSpace => Some(Errno::NOSPC),
            Fault::Io | Fault::Sync | Fault::Late => Some(Errno::IO),
            Fault::TooManyFiles => Some(Errno::MFILE),
            Fault::LostReply if matches!(op, Op::Link(..)) => Some(Errno::EXIST),
            Fault::LostReply => Some(Errno::NOENT),
            Fault::Short | Fault::LostEvent => None,
        }
    }
}

impl Op {
    /// The faults that this call can meet.
    pub fn faults(&self) -> &'static [Fault] {
        use Fault::{Io, Late, LostEvent, LostReply, NoSpace, Short, Sync, TooManyFiles};
        match self {
            Op::Open(_, Open::New { .. } | Open::Unnamed) => &[NoSpace, Io, TooManyFiles],
            Op::Open(..) | Op::List(..) => &[Io, TooManyFiles],
            Op::Write(..) | Op::WriteAt(..) => &[NoSpace, Io, Short],
            Op::Link(..) => &[NoSpace, Io, LostReply],
            Op::Rename(..) | Op::Unlink(_) => &[Io, LostReply],
            Op::Wait(..) => &[LostEvent],
            Op::Watch(..) | Op::WatchEnd(..) => &[TooManyFiles],
            Op::Fsync(_) | Op::SyncData(_) => &[Io, Sync],
            Op::Ask(_) => &[Io, LostReply, Late],
            Op::Read(..)
            | Op::ReadAt(..)
            | Op::Truncate(..)
            | Op::StatFile(_)
            | Op::Id(_)
            | Op::Stat(_)
            | Op::ReadLink(_)
            | Op::SetMode(..)
            | Op::SetOwner(..)
            | Op::Attributes(_)
            | Op::SetAttribute(..)
            | Op::RemoveAttribute(..)
            | Op::Publish(..)
            | Op::Touch(_)
            | Op::TryFlock(..)
            | Op::Unlock(_)
            | Op::IsLocal(_)
            | Op::Process(_) => &[Io],
            // Who has written something hears how much, and of the error with the next call.
            Op::WriteRest(..)
            | Op::CloseEvent(_)
            | Op::Close(_)
            | Op::Holders(_)
            | Op::Now
            | Op::Answer
            | Op::Nature(_)
            | Op::Fenced(_)
            | Op::Local
            | Op::Note(_)
            | Op::Exit => &[],
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Open(path, how) => write!(f, "open({}, {how:?})", path.display()),
            Op::Read(fd, _) => write!(f, "read({fd})"),
            Op::Write(fd, bytes) => write!(f, "write({fd}, {:?})", Text(bytes)),
            Op::ReadAt(fd, offset, _) => write!(f, "pread({fd}, at {offset})"),
            Op::WriteAt(fd, offset, bytes) => write!(f, "pwrite({fd}, at {offset}, {:?})", Text(bytes)),
            Op::WriteRest(fd, offset, bytes) => {
                write!(f, "  the rest of pwrite({fd}, at {offset}, {:?})", Text(bytes))
            }
            Op::Rename(from, to) => write!(f, "rename({}, {})", from.display(), to.display()),
            Op::Link(from, to) => write!(f, "link({}, {})", from.display(), to.display()),
            Op::Publish(fd, to) => write!(f, "publish({fd}, {})", to.display()),
            Op::Unlink(path) => write!(f, "unlink({})", path.display()),
            Op::Stat(path) => write!(f, "stat({})", path.display()),
            Op::List(path, prefix) => write!(f, "list({}, {})", path.display(), prefix.display()),
            Op::Note(note) => write!(f, "-- {note:?}"),
            Op::Ask(question) => write!(f, "asks {question:?}"),
            Op::Answer => write!(f, "  hears the answer"),
            Op::Nature(nature) => write!(f, "-- the store: {nature:?}"),
            other => write!(f, "{}", format!("{other:?}").to_lowercase()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nothing => write!(f, "ok"),
            Value::File(fd) => write!(f, "fd {fd}"),
            Value::Bytes(bytes) => write!(f, "{:?}", Text(bytes)),
            Value::Stat(stat) => {
                write!(f, "inode {}, {} links, {} bytes", stat.id.inode, stat.links, stat.size)
            }
            Value::Id(id) => write!(f, "inode {}", id.inode),
            Value::Yes(yes) => write!(f, "{yes}"),
            Value::Woken(woken) => write!(f, "{woken:?}"),
            Value::Process(process) => write!(f, "{process:?}"),
            Value::Moment(moment) => write!(f, "{:?}", moment.since_zero()),
            Value::Shared(number) => write!(f, "{number:08x}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The start of some bytes as text.
struct Text<'a>(&'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        let short: String = text.chars().take(60).collect();
        write!(f, "{short:?}{}", if short.len() < text.len() { "..." } else { "" })
    }
}
