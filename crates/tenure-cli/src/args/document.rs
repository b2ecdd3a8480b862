//! What the commands on documents take.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use tenure::document::Format;
use tenure::{Document, Durability, Token, Version};

use super::parse_duration;
use crate::output;

/// Change a YAML, TOML or JSON file with a jq expression, as one step that nothing comes between
///
/// Reads FILE (a missing one is null), runs EXPR on it, and puts the one result in its place, so that a crash
/// at any moment leaves the old content or the new one. Prints the new document, as JSON. Comments, layout, and
/// whatever else the expression did not change, stay as they are. Concurrent updates wait for each other: FILE.lock beside FILE
/// is the lock, and is never deleted.
#[derive(Debug, Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub(crate) struct Update {
    /// The file to change
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) expression: Expression,
    #[command(flatten)]
    pub(crate) format: FormatOption,
    /// What a missing or blank file holds before EXPR runs: an expression on null
    #[arg(long, value_name = "EXPR")]
    pub(crate) init: Option<String>,
    /// Write nothing; print the change as a unified diff
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
    /// Keep the last N versions beside FILE (1 if N is left out), as FILE.~1~, FILE.~2~, ..., for `tenure undo`
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) backup: Option<u32>,
    /// Change nothing (exit 76) unless the file is this version, as `tenure get --json` or an earlier
    /// `update --json` printed it; `absent` for a file that must not exist
    #[arg(long, value_name = "V")]
    pub(crate) if_version: Option<Version>,
    /// Print an object with changed, version, durability and document
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) json: bool,
}

const UPDATE_EXAMPLES: &str = "\
Examples:
  tenure update state.json '.visits += 1'
  tenure update --backup=3 config.yaml '.server.port = 8080'
  tenure update Cargo.toml '.package.version = \"1.2.0\"'
  tenure update config.json --arg host \"$HOST\" '.hosts += [$host]'
  tenure update queue.json --init '[]' '. + [\"job\"]'
  tenure update --fence \"$TENURE_TOKEN\" state.json '.step = 4'
  tenure update --dry-run config.json 'del(.obsolete)'";

/// Read a YAML, TOML or JSON file, or what a jq expression makes of it
///
/// Takes no lock and waits for nobody: an update puts the new file in place in one step. Prints every result, as JSON.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure get state.json .visits\n  tenure get -r config.yaml '.servers | keys[]'\n  tenure get --follow state.json .progress"
)]
pub(crate) struct Get {
    /// The file to read
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) expression: Expression,
    #[command(flatten)]
    pub(crate) format: FormatOption,
    /// Print the results, and go on to print them whenever they have changed
    #[arg(long)]
    pub(crate) follow: bool,
    /// Print an object with version and results
    #[arg(long)]
    pub(crate) json: bool,
}

/// Change a file in an editor, without keeping anybody waiting
///
/// The editor works on a copy, and nothing is locked meanwhile. When it ends, the text is checked, and put in place as
/// one step. If others changed the file in the meantime, both changes are made where they do not meet; where they do,
/// nothing is written (exit 76), and the text is kept in a file that is named.
///
/// A text that is not of its format goes back to the editor, or, where there is nobody to ask, is kept in a file that is
/// named (exit 65).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tenure edit config.yaml\n  tenure edit config.toml -- code --wait")]
pub(crate) struct Edit {
    /// The file to change
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) format: FormatOption,
    #[command(flatten)]
    pub(crate) writing: Writing,
    /// Keep the last N versions beside FILE (1 if N is left out), for `tenure undo`
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) backup: Option<u32>,
    /// The editor and its arguments, after `--` (default: $VISUAL, $EDITOR, vi)
    #[arg(last = true, value_name = "EDITOR", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) editor: Vec<OsString>,
}

/// Go back to the last version that `--backup` kept
///
/// Puts FILE.~N~ with the largest N in place of FILE, as one step. What it replaces is left in FILE.~undone~. Each further
/// undo goes one kept version further back.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tenure undo --dry-run config.yaml   # what would change")]
pub(crate) struct Undo {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Write nothing; print the change as a unified diff
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// How a change is written.
#[derive(Debug, Args)]
pub(crate) struct Writing {
    /// Wait at most this long for other updates (default: for ever)
    #[arg(long, short = 'w', value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// What the change must survive once tenure has ended
    #[arg(long, value_enum, default_value_t = DurabilityArg::Power)]
    pub(crate) durability: DurabilityArg,
    /// Carry the fencing token of a lease: change nothing (exit 79) if FILE has accepted a larger one, which a later
    /// holder brought; else remember this one in FILE.fence
    #[arg(long, value_name = "TOKEN")]
    pub(crate) fence: Option<Token>,
}

/// Which format a file has.
#[derive(Debug, Args)]
pub(crate) struct FormatOption {
    /// The format of FILE (default: as its extension says, JSON if that says nothing)
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
}

/// A jq expression and its variables.
#[derive(Debug, Args)]
pub(crate) struct Expression {
    /// The jq expression (as jaq understands it: <https://gedenkt.at/jaq/manual/>)
    #[arg(value_name = "EXPR")]
    pub(crate) code: Option<String>,
    /// Read the expression from a file
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "code", value_hint = ValueHint::FilePath)]
    pub(crate) from_file: Option<PathBuf>,
    /// Set $NAME to the string VALUE
    #[arg(long, num_args = 2, value_names = ["NAME", "VALUE"])]
    pub(crate) arg: Vec<String>,
    /// Set $NAME to a JSON value
    #[arg(long, num_args = 2, value_names = ["NAME", "JSON"])]
    pub(crate) argjson: Vec<String>,
    /// Print strings as they are, without quotes
    #[arg(long, short = 'r')]
    pub(crate) raw: bool,
    /// Stop an expression that runs longer than this
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(crate) time_limit: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// A power loss: file and directory are synced to disk
    Power,
    /// The death of any process; not synced
    Process,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatArg {
    Json,
    /// JSON with comments and trailing commas
    Jsonc,
    Toml,
    Yaml,
}

impl FormatOption {
    /// The document of this file, in this format.
    pub(crate) fn open(&self, file: &std::path::Path) -> Document {
        let document = Document::open(file).on_wait(output::SILENCE, output::tell_waiting);
        match self.format {
            None => document,
            Some(FormatArg::Json) => document.format(Format::Json),
            Some(FormatArg::Jsonc) => document.format(Format::Jsonc),
            Some(FormatArg::Toml) => document.format(Format::Toml),
            Some(FormatArg::Yaml) => document.format(Format::Yaml),
        }
    }
}

impl Writing {
    /// The document, written so, with this many versions kept.
    pub(crate) fn apply(&self, document: Document, backup: Option<u32>) -> Document {
        let document = document.durability(match self.durability {
            DurabilityArg::Power => Durability::Power,
            DurabilityArg::Process => Durability::Process,
        });
        let document = match self.fence {
            Some(token) => document.fence(token),
            None => document,
        };
        match backup {
            Some(count) => document.keep_versions(usize::try_from(count).unwrap_or(usize::MAX)),
            None => document,
        }
    }
}
