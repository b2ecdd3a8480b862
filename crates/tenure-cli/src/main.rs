//! `tenure`: locks and shared documents at the shell.
//!
//! Each command is one file in `cmd/`; [`args`] says what the commands take, [`exit`] what they answer.

mod args;
mod cmd;
mod exit;
mod expression;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    // flock(1) has its own way with arguments, and is run too often to wait for clap to set up.
    if let Some(code) = cmd::flock::called() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to report to if stderr itself is closed.
            let _unreportable = error.print();
            return if error.use_stderr() { exit::Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    // A panic is a bug of ours, and has told its place on stderr by now.
    std::panic::catch_unwind(|| run(&cli.command)).unwrap_or_else(|_| exit::Exit::Internal.into())
}

fn run(command: &Command) -> ExitCode {
    let outcome = match command {
        Command::Run(args) => cmd::run::run(args),
        Command::Update(args) => cmd::update::update(args),
        Command::Get(args) => cmd::get::get(args),
        Command::Flock { arguments } => return cmd::flock::command(arguments.clone()),
        Command::Status(args) => cmd::status::status(args),
        Command::Lock(args) => cmd::lock::lock(&args.command),
        Command::Break(args) => cmd::break_lock::break_lock(args),
        Command::Completions { shell } => cmd::manual::completions(*shell),
        Command::Man { directory } => cmd::manual::man(directory.as_deref()),
    };
    outcome.unwrap_or_else(|Failure { exit, message }| {
        output::tell(&message);
        exit.into()
    })
}
