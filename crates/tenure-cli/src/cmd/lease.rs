//! `tenure lease`: the leases of a store, and one that belongs to whoever has its handle.
//!
//! An address may have a password in it: what can't be read is not shown, and what is shown comes from the library, which hides
//! it.

use std::process::ExitCode;
use std::time::Duration;

use tenure::document::Value;
use tenure::host::wall_clock;
use tenure::lease::{Address, Awaited, Entry, Handle, Name, Occupancy, Request, split};
use tenure::owner::Age;
use tenure::{Error, LeaseStore, Wait};
use unicode_width::UnicodeWidthStr;

use super::show::utc;
use super::signals::{Switch, end_by};
use crate::args::{AcquireLease, BreakLease, LeaseCommand, Wishes, wait};
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn lease(command: &LeaseCommand) -> Result<ExitCode, Failure> {
    match command {
        LeaseCommand::List { address, all, json } => list(address, *all, *json)?,
        LeaseCommand::Show { place, json } => show(place, *json)?,
        LeaseCommand::Acquire(args) => return acquire(args),
        LeaseCommand::Renew { address, handle, ttl, json } => renew(address, handle, *ttl, *json)?,
        LeaseCommand::Release { address, handle, json } => release(address, handle, *json)?,
        LeaseCommand::Break(args) => break_lease(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `ADDRESS#NAME`.
pub(super) struct Place {
    /// With its password: not to be shown.
    pub(super) address: String,
    name: Name,
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Place, Failure> {
        let (address, name) = split(text);
        read_address(address)?;
        let problem = "there is no name of a lease behind the address: ADDRESS#NAME is wanted";
        let name = name.ok_or_else(|| Failure::new(Exit::Usage, problem))?;
        Ok(Place { address: address.to_owned(), name })
    }

    pub(super) fn connect(&self) -> Result<LeaseStore, Failure> {
        connect(&self.address)
    }
}

fn read_address(text: &str) -> Result<Address, Failure> {
    Address::parse(text).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

fn connect(address: &str) -> Result<LeaseStore, Failure> {
    LeaseStore::open(&read_address(address)?).map_err(failure)
}

fn read_handle(text: &str) -> Result<Handle, Failure> {
    // Not shown: it may be an address that was put in the wrong place.
    let problem =
        "this is no handle of a lease; one begins with `lease1:`, and is what `tenure lease acquire` prints";
    text.parse().map_err(|_| Failure::new(Exit::Usage, problem))
}

/// Names and times come from the command line: those that no lease can have are a matter of usage.
pub(super) fn failure(error: Error) -> Failure {
    match error.is_rejected() {
        true => Failure::new(Exit::Usage, error.to_string()),
        false => Failure::from(error),
    }
}

/// What is asked of the store, with a word if it takes long.
pub(super) fn request(store: &LeaseStore, place: &Place, ttl: Duration, wishes: &Wishes) -> Request {
    let mut request = store.lease(place.name.clone(), ttl).on_wait(output::SILENCE, tell_waiting);
    if let Some(note) = &wishes.note {
        request = request.note(note);
    }
    if let Some(time) = wishes.at_least {
        request = request.at_least(time);
    }
    if let Some(time) = wishes.at_most {
        request = request.at_most(time);
    }
    request
}

fn tell_waiting(awaited: &Awaited) {
    output::tell(format_args!("waiting for {}#{}, {}", awaited.address, awaited.entry.name, awaited.entry));
}

fn list(address: &str, all: bool, json: bool) -> Result<(), Failure> {
    let mut entries = connect(address)?.list().map_err(failure)?;
    entries.retain(|entry| all || entry.occupancy != Occupancy::Free);
    if json {
        return output::print_value(&Value::Array(entries.iter().map(object).collect()), false);
    }
    let head = ["NAME", "TOKEN", "STATE", "FOR", "LEFT", "HOLDER"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(entries.iter().map(row)).collect();
    // A title without a line says nothing.
    output::print(&if entries.is_empty() { String::new() } else { table(&rows) })
}

fn row(entry: &Entry) -> [String; 6] {
    let (since, left) = match entry.occupancy {
        Occupancy::Free => (String::new(), String::new()),
        _ => (Age(entry.held_for).to_string(), Age(entry.remaining).to_string()),
    };
    let holder = entry.tenant().map_or_else(String::new, ToString::to_string);
    [entry.name.to_string(), entry.token.to_string(), state(entry).to_owned(), since, left, holder]
}

/// The columns but the last one made equally wide.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, wide)| {
            let blanks = " ".repeat(wide.saturating_sub(cell.width()));
            format!("{cell}{blanks}")
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn state(entry: &Entry) -> &'static str {
    match entry.occupancy {
        Occupancy::Free => "free",
        Occupancy::Held(_) => "held",
        Occupancy::Kept(_) => "kept",
    }
}

fn object(entry: &Entry) -> Value {
    output::object(fields(entry))
}

fn fields(entry: &Entry) -> Vec<(&'static str, Value)> {
    let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, output::string);
    let holder = entry.tenant().map_or(Value::Null, |tenant| {
        output::object([
            ("host", output::string(&tenant.host)),
            ("pid", tenant.pid.map_or(Value::Null, output::number)),
            ("command", text(&tenant.command)),
            ("note", text(&tenant.note)),
        ])
    });
    vec![
        ("name", output::string(&entry.name)),
        ("token", output::number(entry.token)),
        ("state", output::string(state(entry))),
        ("holder", holder),
        ("held_for_ms", output::number(entry.held_for.as_millis())),
        ("remaining_ms", output::number(entry.remaining.as_millis())),
    ]
}

fn show(place: &str, json: bool) -> Result<(), Failure> {
    let place = Place::parse(place)?;
    let store = place.connect()?;
    let entry = known(&store, &place)?;
    match json {
        true => output::print_value(&object(&entry), false),
        false => output::print(&format!("{}: {entry}\n", entry.name)),
    }
}

fn known(store: &LeaseStore, place: &Place) -> Result<Entry, Failure> {
    let entry = store.holder(place.name.clone()).map_err(failure)?;
    entry.ok_or_else(|| {
        let problem = "nobody ever had this lease";
        Failure::new(Exit::NoInput, format!("{}#{}: {problem}", store.address(), place.name))
    })
}

fn acquire(args: &AcquireLease) -> Result<ExitCode, Failure> {
    let place = Place::parse(&args.place)?;
    let store = place.connect()?;
    let switch = Switch::new()?;
    let wait = if args.try_once { Wait::Never } else { wait(args.wait) };
    let acquired = request(&store, &place, args.ttl, &args.wishes).acquire_detached(wait.or(switch.cancel()));
    if let Some(signal) = switch.came() {
        // Nobody would get the handle; if this fails, the lease ends when its time is over.
        let _expires = acquired.map(|handle| store.release(&handle));
        return Ok(end_by(signal));
    }
    let handle = acquired.map_err(failure)?;
    deliver(&store, &handle, args.json).map_err(|failure| {
        // If nobody gets the handle, nobody could release the lease.
        let lease = match store.release(&handle) {
            Ok(()) => "the lease was released again".to_owned(),
            Err(error) => format!("the lease could not be released: {error}"),
        };
        Failure::new(failure.exit, format!("{}, so {lease}", failure.message))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn deliver(store: &LeaseStore, handle: &Handle, json: bool) -> Result<(), Failure> {
    if !json {
        return output::deliver(&format!("{handle}\n"));
    }
    let mut fields = identity(handle);
    fields.push(("handle", output::string(handle)));
    // A renewal says how long the lease lasts, whatever the acquisition took.
    fields.push(expires(store, handle, None)?);
    output::deliver(&output::value_text(&output::object(fields), false))
}

fn identity(handle: &Handle) -> Vec<(&'static str, Value)> {
    vec![("name", output::string(handle.name())), ("token", output::number(handle.token()))]
}

/// Renews the lease, and says until when.
fn expires(
    store: &LeaseStore,
    handle: &Handle,
    ttl: Option<Duration>,
) -> Result<(&'static str, Value), Failure> {
    // Before the question: the answer counts from there.
    let now = wall_clock();
    let lasts = store.renew(handle, ttl).map_err(failure)?;
    Ok(("expires", output::string(utc(now.saturating_add(lasts)))))
}

fn renew(address: &str, handle: &str, ttl: Option<Duration>, json: bool) -> Result<(), Failure> {
    let address = read_address(address)?;
    let handle = read_handle(handle)?;
    let store = LeaseStore::open(&address).map_err(failure)?;
    let expires = expires(&store, &handle, ttl)?;
    let object = output::object(identity(&handle).into_iter().chain([expires]));
    if json { output::print_value(&object, false) } else { Ok(()) }
}

fn release(address: &str, handle: &str, json: bool) -> Result<(), Failure> {
    let address = read_address(address)?;
    let handle = read_handle(handle)?;
    LeaseStore::open(&address).map_err(failure)?.release(&handle).map_err(failure)?;
    if json { output::print_value(&output::object(identity(&handle)), false) } else { Ok(()) }
}

fn break_lease(args: &BreakLease) -> Result<(), Failure> {
    let place = Place::parse(&args.place)?;
    let store = place.connect()?;
    let before = known(&store, &place)?;
    let whole = format!("{}#{}", store.address(), place.name);
    if before.occupancy != Occupancy::Free && !args.yes {
        let risk = "To break it is safe if you know that this holder has stopped its work; otherwise another is let in beside it";
        let message = format!("{whole} is {before}. {risk}\nNothing was done; --yes breaks the lease");
        return Err(Failure::new(Exit::Usage, message));
    }
    let broken = store.force_release(place.name.clone(), &args.reason).map_err(failure)?;
    if args.json {
        let mut fields = fields(broken.as_ref().unwrap_or(&before));
        fields.insert(0, ("broken", Value::Bool(broken.is_some())));
        return output::print_value(&output::object(fields), false);
    }
    match broken {
        Some(entry) => output::tell(format_args!("{whole} was broken; it was {entry}")),
        None => output::tell(format_args!("{whole}: nobody holds this lease; there is nothing to break")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let rows = [["NAME", "X"], ["a\u{301}b", "1"], ["\u{65e5}\u{672c}\u{8a9e}", "2"]]
            .map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "NAME    X\na\u{301}b      1\n\u{65e5}\u{672c}\u{8a9e}  2\n");
    }

    #[test]
    fn what_can_not_be_read_is_not_shown() {
        for text in [
            "mysql://me:secret@b#x",
            "secret",
            "postgres:secret#x",
            "postgres://me:secret@b",
            "sqlite:#secret",
        ] {
            let failure = Place::parse(text).err().expect(text);
            assert!(failure.exit == Exit::Usage && !failure.message.contains("secret"), "{failure:?}");
        }
        assert!(!read_handle("secret").unwrap_err().message.contains("secret"));
    }
}
