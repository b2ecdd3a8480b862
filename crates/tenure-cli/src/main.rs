//! `tenure`: locks, shared documents, journals and leases at the shell.
//!
//! Each command is one file in `cmd/`; [`args`] says what the commands take, [`exit`] what they answer.

mod args;
mod cmd;
mod exit;
mod expression;
mod output;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit::Failure;

/// Runs before `main`, and before Rust's runtime has changed signals and descriptors that flock(1) hands on as they are.
/// Not in the unit tests, whose first argument may be the `flock` of `cargo test flock`.
#[cfg(not(test))]
#[used]
#[expect(
    unsafe_code,
    reason = "the one way to be early; what is called is safe, and needs nothing of the runtime"
)]
#[unsafe(link_section = ".init_array")]
static EARLY: extern "C" fn() = early;

#[cfg(not(test))]
#[expect(clippy::exit, reason = "there is no main yet that could return the code")]
extern "C" fn early() {
    let called = std::panic::catch_unwind(cmd::flock::called);
    if let Some(code) = called.unwrap_or(Some(exit::Exit::Internal.code())) {
        std::process::exit(code.into());
    }
}

fn main() -> ExitCode {
    // Where the C library gives no arguments to what runs before this.
    if let Some(code) = cmd::flock::called() {
        return code.into();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            report(&error);
            return if error.use_stderr() { exit::Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    // A panic is a bug of ours, and has told its place on stderr by now.
    std::panic::catch_unwind(|| run(&cli.command)).unwrap_or_else(|_| exit::Exit::Internal.into())
}

/// Says what is wrong with the arguments, which it shows; but no password.
fn report(error: &clap::Error) {
    let text = error.to_string();
    let shown = tenure::lease::without_passwords(&text);
    // Nothing is left to report to if stderr itself is closed.
    let _unreportable = match shown == text {
        true => error.print(),
        false => std::io::stderr().write_all(shown.as_bytes()),
    };
}

fn run(command: &Command) -> ExitCode {
    let outcome = match command {
        Command::Run(args) => cmd::run::run(args),
        Command::Update(args) => cmd::update::update(args),
        Command::Get(args) => cmd::get::get(args),
        Command::Edit(args) => cmd::edit::edit(args),
        Command::Undo(args) => cmd::undo::undo(args),
        Command::Append(args) => cmd::append::append(args),
        Command::Log(args) => cmd::log::log(args),
        Command::Verify(args) => cmd::verify::verify(args),
        Command::Repair(args) => cmd::repair::repair(args),
        Command::Rotate(args) => cmd::rotate::rotate(args),
        Command::Reset(args) => cmd::reset::reset(args),
        Command::Flock { arguments } => return cmd::flock::command(arguments.clone()).into(),
        Command::Status(args) => cmd::status::status(args),
        Command::Lock(args) => cmd::lock::lock(&args.command),
        Command::Break(args) => cmd::break_lock::break_lock(args),
        Command::Lease(args) => cmd::lease::lease(&args.command),
        Command::Watchdog { anchor: true } => cmd::run_lease::anchor(),
        Command::Watchdog { anchor: false } => cmd::run_lease::watchdog(),
        Command::Completions { shell } => cmd::manual::completions(*shell),
        Command::Man { directory } => cmd::manual::man(directory.as_deref()),
    };
    outcome.unwrap_or_else(|Failure { exit, message }| {
        output::tell(&message);
        exit.into()
    })
}
