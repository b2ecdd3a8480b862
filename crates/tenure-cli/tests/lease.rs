//! Promise: `tenure lease` shows who holds what, and gives leases to whoever has their handle; no password is ever shown.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Ended, directory, run, tenure};
use rustix::process::Signal;
use support::{Running, lease_run, tenure_command};

fn lease(directory: &Path, arguments: &[&str]) -> Ended {
    tenure(directory, ["lease"].iter().chain(arguments))
}

fn json(ended: &Ended) -> serde_json::Value {
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Acquires `sqlite:l.db#NAME` and returns the handle.
fn acquire(directory: &Path, name: &str, options: &[&str]) -> String {
    let place = format!("sqlite:l.db#{name}");
    let ended = lease(directory, &[&["acquire", &place, "--try"], options].concat());
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    ended.stdout.trim().to_owned()
}

#[test]
fn a_lease_belongs_to_whoever_has_its_handle() {
    let directory = directory();
    let path = directory.path();
    let handle = acquire(path, "plan/42", &["--ttl", "60s", "--note", "by hand"]);
    assert!(handle.starts_with("lease1:1:") && handle.ends_with(":60000:plan/42"), "{handle}");
    let busy = lease(path, &["acquire", "sqlite:l.db#plan/42", "--ttl", "60s", "--wait", "250ms"]);
    assert_eq!((busy.code(), busy.stdout.as_str()), (Some(75), ""), "{busy:?}");
    assert!(
        busy.stderr.starts_with("tenure: waiting for sqlite:") && busy.stderr.contains("(by hand)"),
        "{busy:?}"
    );
    for arguments in [&["renew", "sqlite:l.db", &handle][..], &["release", "sqlite:l.db", &handle]] {
        let ended = lease(path, arguments);
        assert_eq!(
            (ended.code(), ended.stdout.as_str(), ended.stderr.as_str()),
            (Some(0), "", ""),
            "{arguments:?}"
        );
    }
    let second = acquire(path, "plan/42", &["--ttl", "60s"]);
    assert!(second.starts_with("lease1:2:"), "{second}");
    let lost = lease(path, &["renew", "sqlite:l.db", &handle]);
    assert_eq!(lost.code(), Some(79), "{lost:?}");
    assert!(lost.stderr.contains("#plan/42: this lease (token 1) was lost"), "{lost:?}");
    let held = lease(path, &["show", "sqlite:l.db#plan/42"]);
    let again = lease(path, &["release", "sqlite:l.db", &handle]);
    assert_eq!(again.code(), Some(0), "it was released, whatever happened since: {again:?}");
    assert!(held.stdout.starts_with("plan/42: held by") && held.stdout.contains("token 2"), "{held:?}");
    assert_eq!(
        lease(path, &["renew", "sqlite:l.db", &second]).code(),
        Some(0),
        "the second holder has it still"
    );
}

#[test]
fn what_is_printed_for_programs() {
    let directory = directory();
    let path = directory.path();
    let before = run(Command::new("date").args(["-u", "-d", "+59 minutes", "+%FT%TZ"])).stdout;
    let acquired = json(&lease(path, &["acquire", "sqlite:l.db#a", "--ttl", "1h", "--note", "n", "--json"]));
    let after = run(Command::new("date").args(["-u", "-d", "+61 minutes", "+%FT%TZ"])).stdout;
    assert_eq!((acquired["name"].as_str(), acquired["token"].as_i64()), (Some("a"), Some(1)), "{acquired}");
    let (handle, expires) = (acquired["handle"].as_str().unwrap(), acquired["expires"].as_str().unwrap());
    assert!(before.trim() < expires && expires < after.trim(), "{before} {expires} {after}");
    let shown = json(&lease(path, &["show", "sqlite:l.db#a", "--json"]));
    assert_eq!(
        (shown["state"].as_str(), shown["holder"]["note"].as_str()),
        (Some("held"), Some("n")),
        "{shown}"
    );
    assert!(
        shown["remaining_ms"].as_i64().unwrap() > 3_500_000 && shown["holder"]["pid"].is_null(),
        "{shown}"
    );
    let renewed = json(&lease(path, &["renew", "sqlite:l.db", handle, "--ttl", "10h", "--json"]));
    assert!(renewed["expires"].as_str().unwrap() > after.trim() && renewed["token"] == 1, "{renewed}");
    assert_eq!(json(&lease(path, &["list", "sqlite:l.db", "--json"]))[0]["name"], "a");
    assert_eq!(json(&lease(path, &["release", "sqlite:l.db", handle, "--json"]))["name"], "a");
    assert_eq!(json(&lease(path, &["list", "sqlite:l.db", "--json"])), serde_json::json!([]));
    let all = json(&lease(path, &["list", "sqlite:l.db", "--json", "--all"]));
    assert_eq!((all[0]["state"].as_str(), all[0]["token"].as_i64()), (Some("free"), Some(1)), "{all}");
    assert!(all[0]["holder"].is_null());
}

#[test]
fn what_is_printed_for_people() {
    let directory = directory();
    let path = directory.path();
    assert_eq!(lease(path, &["list", "sqlite:l.db"]).stdout, "");
    let handle = acquire(path, "a", &["--ttl", "60s"]);
    acquire(path, "\u{65e5}\u{672c} ' \"#", &["--ttl", "60s", "--note", "two\nlines"]);
    lease(path, &["release", "sqlite:l.db", &handle]);
    let listed = lease(path, &["list", "sqlite:l.db"]).stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "a note is no second line: {listed}");
    assert!(lines[0].starts_with("NAME       TOKEN  STATE  FOR   LEFT  HOLDER"), "{listed}");
    assert!(lines[1].starts_with("\u{65e5}\u{672c} ' \"#  1      held   "), "{listed}");
    let all = lease(path, &["list", "sqlite:l.db", "--all"]).stdout;
    assert!(all.lines().nth(1).unwrap().starts_with("a          1      free"), "{all}");
    let shown = lease(path, &["show", "sqlite:l.db#a"]);
    assert_eq!((shown.code(), shown.stdout.as_str()), (Some(0), "a: free; the last token was 1\n"));
    let never = lease(path, &["show", "sqlite:l.db#b"]);
    assert_eq!((never.code(), never.stdout.as_str()), (Some(66), ""));
    assert!(never.stderr.contains("l.db#b: nobody ever had this lease"), "{never:?}");
}

#[test]
fn a_lease_is_broken_when_somebody_insists() {
    let directory = directory();
    let path = directory.path();
    let handle = acquire(path, "a", &["--ttl", "60s"]);
    let asked = lease(path, &["break", "sqlite:l.db#a", "--reason", "gone"]);
    assert_eq!(asked.code(), Some(64), "{asked:?}");
    assert!(
        asked.stderr.contains("is held by") && asked.stderr.contains("--yes breaks the lease"),
        "{asked:?}"
    );
    assert_eq!(lease(path, &["renew", "sqlite:l.db", &handle]).code(), Some(0), "nothing was done");
    let broken = json(&lease(path, &["break", "sqlite:l.db#a", "--reason", "gone", "--yes", "--json"]));
    assert_eq!(
        (broken["broken"].as_bool(), broken["state"].as_str()),
        (Some(true), Some("held")),
        "{broken}"
    );
    let lost = lease(path, &["renew", "sqlite:l.db", &handle]);
    assert_eq!(lost.code(), Some(79));
    assert!(lost.stderr.contains("released by force: gone"), "{lost:?}");
    let again = lease(path, &["break", "sqlite:l.db#a", "--reason", "gone"]);
    assert_eq!(again.code(), Some(0), "{again:?}");
    assert!(again.stderr.contains("nobody holds this lease"), "{again:?}");
    assert_eq!(lease(path, &["break", "sqlite:l.db#b", "--reason", "gone"]).code(), Some(66));
}

#[test]
fn a_lease_without_its_option_is_no_lock_file() {
    let directory = directory();
    for address in ["sqlite:l.db#job", "postgres://me:secret@b/c#job"] {
        let ended = tenure(directory.path(), ["run", address, "--", "true"]);
        assert_eq!(ended.code(), Some(64), "{}", ended.stderr);
        assert!(ended.stderr.contains("--lease") && !ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let ended = tenure(directory.path(), ["run", "./sqlite:l.db#job", "--", "true"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn nonsense_is_a_matter_of_usage() {
    let directory = directory();
    let path = directory.path();
    let table: &[(&[&str], &str)] = &[
        (&[], "Usage: tenure lease"),
        (&["list"], "<ADDRESS>"),
        (&["list", "sqlite:l.db#a"], "without a name"),
        (&["list", "mysql://me:secret@b"], "no lease store of the kind `mysql:`"),
        (&["show", "sqlite:l.db"], "ADDRESS#NAME"),
        (&["acquire", "sqlite:l.db#a"], "--ttl"),
        (&["acquire", "sqlite:l.db#a", "--ttl", "1ms"], "from 100ms"),
        (&["acquire", "sqlite:l.db#a", "--ttl", "1m", "--try", "--wait", "1s"], "cannot be used with"),
        (&["renew", "sqlite:l.db", "postgres://me:secret@b"], "begins with `lease1:`"),
        (&["renew", "postgres://me:secret@b", "secret", "postgres://me:secret@b"], "unexpected argument"),
        (&["release", "lease1:secret", "sqlite:l.db"], "no lease store of the kind"),
        (&["release", "secret", "sqlite:l.db"], "this is no address"),
        (&["break", "sqlite:l.db#a"], "--reason"),
        (&["show", &format!("sqlite:l.db#{}", "x".repeat(1025))], "at most 1024 bytes"),
    ];
    for (arguments, said) in table {
        let ended = lease(path, arguments);
        assert_eq!(ended.code(), Some(64), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said) && ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("secret"), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_store_that_does_not_answer_is_told_apart() {
    let directory = directory();
    let path = directory.path();
    // Nobody listens on that port.
    let store = "postgres://me:secret@127.0.0.1:1/db";
    let lease = format!("{store}#a");
    let table: [&[&str]; 3] = [
        &["lease", "list", store],
        &["lease", "acquire", &lease, "--ttl", "10s", "--wait", "1s"],
        &["run", "--lease", &lease, "--ttl", "10s", "--", "touch", "ran"],
    ];
    for arguments in table {
        let ended = tenure(path, arguments);
        assert_eq!(ended.code(), Some(69), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("127.0.0.1:1") && !ended.stderr.contains("secret"), "{ended:?}");
    }
    assert!(!path.join("ran").exists());
}

/// Others are shown the command line of a holder; it may have had the password of some address in it.
#[test]
fn a_password_in_a_command_line_is_not_recorded() {
    let directory = directory();
    let path = directory.path();
    let script = "#x:y@z postgres://me:secret@b\necho held; read line || true";
    let holder = Running::holding(&mut lease_run(path, &["--ttl", "60s"], script));
    for arguments in
        [&["list", "sqlite:l.db"][..], &["list", "sqlite:l.db", "--json"], &["show", "sqlite:l.db#job"]]
    {
        let ended = lease(path, arguments);
        assert!(ended.stdout.contains("sh -c #x:y@z post"), "{ended:?}");
        assert!(!ended.stdout.contains("secret"), "{ended:?}");
    }
    let recorded = json(&lease(path, &["show", "sqlite:l.db#job", "--json"]));
    let command = recorded["holder"]["command"].as_str().unwrap();
    assert!(command.contains("postgres://me:***@b"), "{command}");
    assert_eq!(holder.finish().code(), Some(0));
}

/// Nobody could release a lease whose handle nobody has.
#[test]
fn a_handle_that_nobody_gets_is_released() {
    let directory = directory();
    let path = directory.path();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = tenure_command(path, &["lease", "acquire", "sqlite:l.db#a", "--ttl", "60s"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("so the lease was released again"), "{said}");
    assert_eq!(lease(path, &["list", "sqlite:l.db"]).stdout, "");

    let mut ended_by_it = 0;
    for _ in 0..10 {
        let handle = acquire(path, "a", &["--ttl", "60s"]);
        let mut waiter =
            Running::start(&mut tenure_command(path, &["lease", "acquire", "sqlite:l.db#a", "--ttl", "60s"]));
        waiter.until_waiting();
        // It finds both when it goes on: the lease, and the signal.
        waiter.signal(Signal::STOP);
        assert_eq!(lease(path, &["release", "sqlite:l.db", &handle]).code(), Some(0));
        waiter.signal(Signal::TERM);
        waiter.signal(Signal::CONT);
        let ended = waiter.ended();
        match ended.status.signal() {
            Some(signal) => {
                assert_eq!((signal, ended.stdout.as_str()), (15, ""), "{}", ended.stderr);
                ended_by_it += 1;
            }
            // The kernel may hand the signal to another thread, behind which this one may be done.
            None => {
                assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
                assert_eq!(lease(path, &["release", "sqlite:l.db", ended.stdout.trim()]).code(), Some(0));
            }
        }
        assert_eq!(lease(path, &["list", "sqlite:l.db"]).stdout, "", "nobody has it");
    }
    assert!(ended_by_it > 0);
}
