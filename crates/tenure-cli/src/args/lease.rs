//! What `tenure lease` takes.
//!
//! Addresses and handles are text here, and read by the commands: clap shows what it can't read, and it may have a password
//! in it.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::parse_duration;
use super::run::Wishes;

/// Locks with an owner, a lifetime and a fencing token, kept by a database
///
/// A store is `sqlite:PATH`, a file for the processes of one machine, or `postgres://USER@HOST/DATABASE`, for those of many. Its
/// tables are created if they are missing. A lease is its store's address, `#`, and its name: any text without control
/// characters.
///
/// Everyone on this machine can read a password in an address that is an argument (ps). Give it by the environment variable
/// PGPASSWORD.
///
/// To hold a lease while a command runs, take `tenure run --lease`. A lease that `tenure lease acquire` has got belongs to
/// whoever has its handle, and nobody renews it by itself.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Lease {
    #[command(subcommand)]
    pub(crate) command: LeaseCommand,
}

const EXAMPLES: &str = "\
Examples:
  handle=$(tenure lease acquire sqlite:jobs.db#nightly --ttl 10m)
  tenure lease renew sqlite:jobs.db \"$handle\"
  tenure lease list sqlite:jobs.db
  tenure lease release sqlite:jobs.db \"$handle\"
  tenure lease show sqlite:jobs.db#nightly";

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Print who holds which lease of a store
    List {
        /// The store
        address: String,
        /// Also those that are free
        #[arg(long)]
        all: bool,
        /// Print an array of objects with name, token, state, holder, held_for_ms, remaining_ms
        #[arg(long)]
        json: bool,
    },
    /// Print who holds a lease (exit 66 if nobody ever had it)
    Show {
        /// The lease
        #[arg(value_name = "ADDRESS#NAME")]
        place: String,
        /// Print an object with name, token, state, holder, held_for_ms, remaining_ms
        #[arg(long)]
        json: bool,
    },
    Acquire(Acquire),
    /// Begin the time to live of a lease anew (exit 79 if the lease was lost)
    Renew {
        /// The store
        address: String,
        /// What `tenure lease acquire` printed
        handle: String,
        /// Another time to live from now on, for this renewal
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// Print an object with name, token, expires
        #[arg(long)]
        json: bool,
    },
    /// Give a lease up (exit 79 if the lease was lost)
    Release {
        /// The store
        address: String,
        /// What `tenure lease acquire` printed
        handle: String,
        /// Print an object with name, token
        #[arg(long)]
        json: bool,
    },
    Break(Break),
}

/// Acquire a lease and print its handle
///
/// The handle is one word, `lease1:...`. Whoever has it has the lease, until it is released or its time is over.
#[derive(Debug, Args)]
pub(crate) struct Acquire {
    /// How long the lease lasts without `tenure lease renew`, from 100ms to 87600h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ttl: Duration,
    /// Do not wait: end with exit code 75 if another has the lease
    #[arg(long = "try", short = 'n', conflicts_with = "wait")]
    pub(crate) try_once: bool,
    /// Wait at most this long, e.g. 300ms, 2s, 1m (default: for ever)
    #[arg(long, short = 'w', value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) wishes: Wishes,
    /// Print an object with name, token, handle, expires
    #[arg(long)]
    pub(crate) json: bool,
    /// The lease
    #[arg(value_name = "ADDRESS#NAME")]
    pub(crate) place: String,
}

/// Take a lease away from its holder
///
/// Says who that is, and does it only with --yes: if the holder is at work, another will be let in beside it. `tenure run`
/// hears of it at its next renewal, and ends its command.
#[derive(Debug, Args)]
pub(crate) struct Break {
    /// Why; the holder is told
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print an object with broken, and name, token, state, holder, held_for_ms, remaining_ms of before
    #[arg(long)]
    pub(crate) json: bool,
    /// The lease
    #[arg(value_name = "ADDRESS#NAME")]
    pub(crate) place: String,
}
