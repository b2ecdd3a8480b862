//! What the commands on journals take.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use tenure::journal::{Cursor, Format};
use tenure::{Durability, Journal};

use super::document::DurabilityArg;
use super::{KindArg, parse_duration};
use crate::output;

/// The longest payload that the library has room for.
const RECORD_MAX: u64 = 16 * 1024 * 1024;

/// Append records to a journal
///
/// Each RECORD becomes one record, and all of them one batch: they are there all or none, whatever dies. Without RECORD,
/// each line of standard input is a record; what has come by the time the last append is done is appended as the next
/// batch, up to 1024 lines, so that each line is on the disk as soon as the disk allows, and fast writers do not pay one
/// sync per line.
///
/// Any number of processes may append to one journal. JOURNAL.lock beside JOURNAL is the lock, and is never deleted. What a
/// crash left behind the last whole record is moved to a file of its own, and told of.
#[derive(Debug, Args)]
#[command(after_help = APPEND_EXAMPLES)]
pub(crate) struct Append {
    /// The journal; created if missing
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) journal: PathBuf,
    /// The records (default: the lines of standard input)
    #[arg(value_name = "RECORD")]
    pub(crate) records: Vec<OsString>,
    /// Append all of standard input as one batch, when it has ended: all of its records or none
    #[arg(long, conflicts_with = "records")]
    pub(crate) batch: bool,
    /// Records on standard input end with a NUL byte instead of a line end, and may have line ends in them
    #[arg(long, short = '0', conflicts_with = "records")]
    pub(crate) null: bool,
    /// Leave a stamp behind the last record, in one step with its batch: a record that says something of all before it. In
    /// the plain format it stands in the header. Standard input without a record leaves the stamp alone
    #[arg(long, value_name = "TEXT")]
    pub(crate) stamp: Option<OsString>,
    #[command(flatten)]
    pub(crate) format: JournalFormat,
    #[command(flatten)]
    pub(crate) writing: JournalWriting,
    /// What the records must survive once they are acknowledged
    #[arg(long, value_enum, default_value_t = DurabilityArg::Power)]
    pub(crate) durability: DurabilityArg,
    /// Begin a new file first when the present one has this many bytes or more: 4096, 64K, 10M, 1G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) rotate_at: Option<u64>,
    /// Keep this many files that were rotated away, and remove older ones at a rotation (default: all)
    #[arg(long, value_name = "N", requires = "rotate_at")]
    pub(crate) keep: Option<usize>,
    /// The longest record, in bytes; at most 16M
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_record_max)]
    pub(crate) record_max: u64,
    /// Print an object with sequences, cursor, durability and recovery for each batch, a line each
    #[arg(long)]
    pub(crate) json: bool,
}

const APPEND_EXAMPLES: &str = "\
Examples:
  tenure append deploy.log 'deploy started'
  make 2>&1 | tenure append build.log           # line by line, durable
  find . -name '*.orig' -print0 | tenure append --null --batch found.log
  tenure append --rotate-at 10M --keep 5 deploy.log 'deploy done'
  tenure append --header '# changes v1 ' changes.txt src/main.c     # the plain format";

/// Print the records of a journal
///
/// Prints whole records in their order, oldest first, through all files of the journal. Takes no lock and disturbs no
/// writer. On a terminal, a record is one line with its number (`=` marks a stamp) and, if it is a JSON object with a field
/// `time`, `ts` or `timestamp`, the time; control characters are shown, not sent. Into a pipe or a file go the bytes of each
/// record and a line end.
///
/// At damage it prints what stands before it, says where the damage is, and ends with exit code 65.
#[derive(Debug, Args)]
#[command(after_help = LOG_EXAMPLES)]
pub(crate) struct Log {
    /// The journal
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) journal: PathBuf,
    /// Begin behind this cursor, as `tenure log --json` or `tenure append --json` printed it (default: at the oldest
    /// record). What has been removed since is told of
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<Cursor>,
    /// The last N of these records only
    #[arg(short = 'n', long = "last", value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Go on to print records as they are appended, across rotation, for as long as somebody reads
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) format: JournalFormat,
    /// Print one object a line, with sequence, cursor, stamp, and payload (or payload_base64, if it is not UTF-8); and
    /// {"missed": [FIRST, LAST]} for records that are gone
    #[arg(long)]
    pub(crate) json: bool,
}

const LOG_EXAMPLES: &str = "\
Examples:
  tenure log deploy.log
  tenure log -n 20 --follow deploy.log
  tenure log --json deploy.log | jq -r .payload
  tenure log --since \"$cursor\" deploy.log";

/// Check every record of a journal
///
/// Reads all files of the journal and says what is there. Ends with exit code 65 if something is damaged. A tail, which a
/// crash or a writer at work leaves behind the last whole record, is no damage: the next append moves it away.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tenure verify deploy.log")]
pub(crate) struct Verify {
    /// The journal
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) journal: PathBuf,
    #[command(flatten)]
    pub(crate) format: JournalFormat,
    /// Print an object with files, bytes, records, sequences, missing, damage and tail
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take the damage out of a journal
///
/// Each damaged file is kept as FILE.damaged-HHHHHHHHHHHHHHHH and replaced by one with every whole batch that is left, byte
/// for byte. Numbers of records that are gone are not given again, and readers are told of them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tenure repair --dry-run deploy.log   # what would go")]
pub(crate) struct Repair {
    /// The journal
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) journal: PathBuf,
    /// Write nothing; print what would be taken out
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) writing: JournalWriting,
    /// Print an object with damage and copies
    #[arg(long)]
    pub(crate) json: bool,
}

/// Begin a new file of a journal
///
/// The present one becomes JOURNAL.000001, with a number one higher than any before it. Readers go on across it, and
/// writers need not be told. An empty journal is left as it is.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tenure rotate --keep 5 deploy.log")]
pub(crate) struct Rotate {
    /// The journal
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) journal: PathBuf,
    /// Keep this many files that were rotated away, and remove older ones (default: all)
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<usize>,
    #[command(flatten)]
    pub(crate) format: JournalFormat,
    #[command(flatten)]
    pub(crate) writing: JournalWriting,
    /// Print an object with sequences, cursor, durability and recovery
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take away the records of a journal that were worked off, and leave a stamp
///
/// One step: what was appended behind CURSOR stays, before the stamp, so nothing is lost that came meanwhile. Numbers go on.
#[derive(Debug, Args)]
#[command(after_help = RESET_EXAMPLES)]
pub(crate) struct Reset {
    /// The journal; created if missing
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) journal: PathBuf,
    /// What the stamp says
    pub(crate) stamp: OsString,
    /// Take away the records up to this cursor only (default: all)
    #[arg(long, value_name = "CURSOR")]
    pub(crate) through: Option<Cursor>,
    #[command(flatten)]
    pub(crate) format: JournalFormat,
    #[command(flatten)]
    pub(crate) writing: JournalWriting,
    /// Print an object with sequences, cursor, durability and recovery
    #[arg(long)]
    pub(crate) json: bool,
}

const RESET_EXAMPLES: &str = "\
Examples:
  tenure reset deploy.log 'counted until May'
  cursor=$(tenure log --json deploy.log | tee work.json | tail -n 1 | jq -r .cursor)
  tenure reset deploy.log 'revision 8' --through \"$cursor\"   # when work.json is worked off";

/// How the records stand in the file.
#[derive(Debug, Args)]
pub(crate) struct JournalFormat {
    /// Plain lines instead of numbered records with checksums, for a file that other programs read and write. Damage can't
    /// be told then, and a record has no line end in it
    #[arg(long)]
    pub(crate) plain: bool,
    /// How the first line of the plain format begins if it is a header; the stamp stands behind it (implies --plain)
    #[arg(long, value_name = "TEXT")]
    pub(crate) header: Option<String>,
}

/// How a journal is locked for a change.
#[derive(Debug, Args)]
pub(crate) struct JournalWriting {
    /// Wait at most this long for others who write (default: for ever)
    #[arg(long, short = 'w', value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// What keeps the lock beside the journal; everyone who writes the journal chooses the same
    #[arg(long, value_enum, default_value_t = KindArg::Flock)]
    pub(crate) kind: KindArg,
}

impl JournalFormat {
    /// The journal at this path, in this format.
    pub(crate) fn open(&self, path: &Path) -> Journal {
        let journal = Journal::open(path).on_wait(output::SILENCE, output::tell_waiting);
        match (&self.header, self.plain) {
            (None, false) => journal,
            (header, _) => journal.format(Format::Plain { header: header.clone() }),
        }
    }
}

impl JournalWriting {
    /// The journal, locked so.
    pub(crate) fn apply(&self, journal: Journal) -> Journal {
        match self.kind {
            KindArg::Flock => journal,
            KindArg::Lockfile => journal.lockfile(),
        }
    }
}

impl Append {
    /// The journal, written so.
    pub(crate) fn open(&self) -> Journal {
        let mut journal = self.writing.apply(self.format.open(&self.journal));
        journal = journal.durability(match self.durability {
            DurabilityArg::Power => Durability::Power,
            DurabilityArg::Process => Durability::Process,
        });
        journal = journal.record_max(self.longest());
        if let Some(bytes) = self.rotate_at {
            journal = journal.rotate_at(bytes);
        }
        match self.keep {
            Some(count) => journal.keep_segments(count),
            None => journal,
        }
    }

    /// The longest record.
    pub(crate) fn longest(&self) -> usize {
        usize::try_from(self.record_max).unwrap_or(usize::MAX)
    }
}

/// `4096`, `64K`, `10M`, `1G`.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err("a size is a number of bytes, or one with K, M or G (times 1024 each)".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is too large".to_owned())
}

fn parse_record_max(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        size if size > RECORD_MAX => Err("a record has at most 16M".to_owned()),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_bytes_or_powers_of_1024() {
        let table = [("0", 0), ("4096", 4096), ("64K", 65536), ("10M", 10 << 20), ("1GiB", 1 << 30)];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "1.5M", "-1", "10MB", "1 K", "99999999999999999999", "99999999999G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_record_max("17M").is_err() && parse_record_max("16M").is_ok());
    }
}
