//! `tenure lock`: a lock that belongs to whoever has its handle.

use std::process::ExitCode;

use tenure::{Handle, Lock, Wait};

use crate::args::{Acquire, LockCommand, wait};
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn lock(command: &LockCommand) -> Result<ExitCode, Failure> {
    match command {
        LockCommand::Acquire(args) => acquire(args)?,
        LockCommand::Renew { handle } => handle.renew()?,
        LockCommand::Release { handle } => handle.release()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn acquire(args: &Acquire) -> Result<(), Failure> {
    let wait = if args.try_once { Wait::Never } else { wait(args.wait) };
    // The handle may be used by a process that works in another directory.
    let path = std::path::absolute(&args.path)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", args.path.display())))?;
    let lock = Lock::lockfile(path).lifetime(args.lifetime).on_wait(output::SILENCE, output::tell_waiting);
    let handle = lock.acquire(wait)?.persist()?;
    deliver(&handle)?;
    if !handle.is_durable() {
        let problem =
            "the lock is held, but syncing its directory failed, so it may not survive a power loss";
        output::tell(format_args!("{}: {problem}", handle.path().display()));
    }
    Ok(())
}

/// Prints the handle. If nobody gets it, nobody could release the lock: then it is released at once.
fn deliver(handle: &Handle) -> Result<(), Failure> {
    output::deliver(&format!("{handle}\n")).map_err(|failure| {
        let lock = match handle.release() {
            Ok(()) => "the lock was released again".to_owned(),
            Err(error) => format!("the lock could not be released: {error}"),
        };
        Failure::new(failure.exit, format!("{}, so {lock}", failure.message))
    })
}
