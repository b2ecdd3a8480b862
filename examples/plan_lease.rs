//! Workers that execute plans, each plan by one worker at a time, on one machine or on many.
//!
//! It grew from cleveragents' report of 2025: `LockService.acquire(resource_type, resource_id, owner_id, ttl)` read an expired
//! row and then updated it, and of several workers that did so at once each was told that the plan was its own.
//!
//! ```console
//! $ cargo run -p tenure --features sqlite,postgres --example plan_lease                         # a new SQLite file
//! $ cargo run -p tenure --features sqlite,postgres --example plan_lease -- sqlite:/var/tmp/plans.db
//! $ cargo run -p tenure --features sqlite,postgres --example plan_lease -- postgres://me@server/plans
//! ```
//!
//! The address is all that differs between one machine and many.
#![expect(clippy::disallowed_methods, reason = "an example is a program like any other")]

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use tenure::lease::Handle;
use tenure::{Document, Lease, LeaseStore, Token, Wait};

type Outcome<T> = Result<T, Box<dyn Error>>;

const WORKERS: usize = 8;

/// Report D's service.
struct LockService {
    store: LeaseStore,
}

impl LockService {
    fn connect(address: &str) -> tenure::Result<LockService> {
        Ok(LockService { store: LeaseStore::connect(address)? })
    }

    /// The lock of a resource, if nobody has it or its time is over. One statement of the store decides.
    fn acquire(&self, kind: &str, id: &str, ttl: Duration) -> tenure::Result<Option<Lease>> {
        self.store.try_acquire((kind, id), ttl)
    }

    /// The report's `owner_id`: another request of the same owner goes on with its lock.
    fn resume(&self, owner: &Handle) -> tenure::Result<Lease> {
        self.store.resume(owner)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [] => on_a_new_file(),
        [address] => show(address),
        [address, "work", plan] => work(address, plan),
        _ => Err("usage: plan_lease [ADDRESS]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plan_lease: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_a_new_file() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    show(&format!("sqlite:{}", directory.path().join("leases.db").display()))
}

fn show(address: &str) -> Outcome<()> {
    let service = LockService::connect(address)?;
    let plan = format!("example-{}", std::process::id());
    race_for_an_expired_lock(&service, address, &plan)?;
    refuse_a_late_write(&service, &plan)
}

/// A worker has died and left its lock to expire; eight others want it at once.
fn race_for_an_expired_lock(service: &LockService, address: &str, plan: &str) -> Outcome<()> {
    let ttl = Duration::from_millis(100);
    service.store.lease(("plan", plan), ttl).acquire_detached(Wait::Never)?;
    let workers: Vec<Child> =
        (0..WORKERS).map(|_| start_worker(address, plan)).collect::<std::io::Result<_>>()?;
    while service.store.holder(("plan", plan))?.is_some_and(|entry| !entry.remaining.is_zero()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let winners = workers.into_iter().map(let_go).collect::<Outcome<Vec<bool>>>()?;
    println!("{WORKERS} workers, one expired lock: {} got it", winners.iter().filter(|won| **won).count());
    Ok(())
}

fn start_worker(address: &str, plan: &str) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child =
        command.args([address, "work", plan]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // It says when it is connected.
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0])?;
    Ok(child)
}

/// Closing its input is the worker's sign to begin.
fn let_go(worker: Child) -> Outcome<bool> {
    let output = worker.wait_with_output()?;
    match output.status.success() {
        true => Ok(output.stdout == b"mine"),
        false => Err("a worker failed".into()),
    }
}

fn work(address: &str, plan: &str) -> Outcome<()> {
    let service = LockService::connect(address)?;
    print!("r");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    if let Some(lease) = service.acquire("plan", plan, Duration::from_secs(30))? {
        print!("mine");
        std::io::stdout().flush()?;
        // The plan is being executed for longer than the others need to find that it is taken.
        lease.detach()?;
    }
    Ok(())
}

/// A worker is stopped for longer than its lock lasts, wakes up, and writes.
fn refuse_a_late_write(service: &LockService, plan: &str) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("plan.json");
    service.store.force_release(("plan", plan), "the example goes on")?;

    let first = service.acquire("plan", plan, Duration::from_secs(30))?.ok_or("nobody has it")?;
    let late = first.token();
    write(&state, late, "the first worker")?;
    // Another request of the same owner, by its handle.
    let resumed = service.resume(&first.detach()?)?;
    println!("the owner's next request has the same token: {}", resumed.token() == late);

    service.store.force_release(("plan", plan), "its worker does not answer")?;
    let second = service.acquire("plan", plan, Duration::from_secs(30))?.ok_or("it was released")?;
    write(&state, second.token(), "the second worker")?;
    match write(&state, late, "the first worker, late") {
        Err(error) if error.is_fenced() => println!("the late write was refused"),
        Err(error) => return Err(error.into()),
        Ok(()) => return Err("the late write was taken".into()),
    }
    let written: serde_json::Value = Document::open(&state).read()?;
    println!("the plan was written by {}", written["by"]);
    Ok(second.release()?)
}

fn write(state: &Path, token: Token, by: &str) -> tenure::Result<()> {
    let document = Document::open(state).fence(token);
    document.update(Wait::Forever, |value: &mut serde_json::Value| value["by"] = by.into()).map(drop)
}
