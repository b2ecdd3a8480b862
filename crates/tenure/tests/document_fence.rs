//! Fencing tokens of documents: who comes with a smaller one than was there is refused, by every way of writing, under
//! every fault, and alone in a batch (hazard D9).
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use tenure::document::{Value, update_all};
use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Host, Native};
use tenure::{Document, Durability, Error, Lock, Receipt, Result, Token, Version, Wait};

const OLD: &str = "{\"n\": 1}\n";
const NEW: &str = "{\"n\": 2}\n";

fn token(number: i64) -> Token {
    Token::new(number).unwrap()
}

struct Place {
    directory: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    fs::write(&path, OLD).unwrap();
    Place { directory, path }
}

impl Place {
    fn fenced(&self, number: i64) -> Document {
        Document::open(&self.path).fence(token(number))
    }

    fn sidecar(&self) -> PathBuf {
        self.path.with_file_name("state.json.fence")
    }

    /// The token in the sidecar, 0 if there is none.
    fn fence(&self) -> i64 {
        let Ok(text) = fs::read_to_string(self.sidecar()) else { return 0 };
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["token"].as_i64().unwrap()
    }

    fn content(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn bump(value: &mut serde_json::Value) {
    value["n"] = (value["n"].as_u64().unwrap() + 1).into();
}

fn refused(outcome: Result<impl std::fmt::Debug>) -> Error {
    let error = outcome.unwrap_err();
    assert!(error.is_fenced(), "{error}");
    error
}

#[test]
fn a_smaller_token_than_was_there_is_refused_and_told_why() {
    let place = place();
    place.fenced(7).update(Wait::Never, bump).unwrap();
    place.fenced(7).update(Wait::Never, bump).unwrap();
    place.fenced(9).update(Wait::Never, bump).unwrap();
    let mut ran = false;
    let late = place.fenced(8).update(Wait::Never, |_: &mut serde_json::Value| ran = true);
    let text = refused(late).to_string();
    assert!(!ran, "the change of who is refused is not even tried");
    let pid = format!("fencing token 9 from pid {}", std::process::id());
    for part in
        [pid.as_str(), "document_fence", " on ", "the 8 that this write carries", "Nothing was written"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!((place.content().as_str(), place.fence()), ("{\"n\": 4}\n", 9));
    // It stops nobody who carries none.
    Document::open(&place.path).update(Wait::Never, bump).unwrap();
    assert_eq!(place.content(), "{\"n\": 5}\n");
    assert_eq!(place.names(), ["state.json", "state.json.fence", "state.json.lock"]);
}

#[test]
fn every_way_to_write_is_fenced() {
    type Way = (&'static str, fn(&Document) -> Result<()>);
    let ways: [Way; 12] = [
        ("update", |d| d.update(Wait::Never, bump).map(drop)),
        ("transform", |d| d.transform(Wait::Never, |old| Ok((old.clone(), Value::Null))).map(drop)),
        ("update_bytes", |d| d.update_bytes(Wait::Never, |bytes| *bytes = NEW.into()).map(drop)),
        ("replace", |d| d.replace(Wait::Never, &2).map(drop)),
        ("replace_bytes", |d| d.replace_bytes(Wait::Never, NEW.as_bytes()).map(drop)),
        ("keep_versions", |d| d.clone().keep_versions(1).update(Wait::Never, bump).map(drop)),
        ("undo", |d| d.undo(Wait::Never).map(drop)),
        ("draft", |d| {
            let mut draft = d.edit::<serde_json::Value>()?;
            bump(&mut draft);
            Ok(draft.commit(Wait::Never).map(drop)?)
        }),
        ("redo", |d| {
            let mut draft = d.edit::<serde_json::Value>()?;
            bump(&mut draft);
            draft.commit_or_redo(Wait::Never, bump).map(drop)
        }),
        ("text", |d| Ok(d.commit_text(Wait::Never, Some(OLD.as_bytes()), NEW.as_bytes()).map(drop)?)),
        ("together", |d| {
            update_all(std::slice::from_ref(d), Wait::Never, |values| values[0] = Value::Null).map(drop)
        }),
        ("nothing", |d| d.raise_fence(Wait::Never)),
    ];
    for (name, way) in ways {
        let place = place();
        fs::write(place.path.with_file_name("state.json.~1~"), NEW).unwrap();
        way(&place.fenced(5)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(place.fence(), 5, "{name}");
        assert_eq!(place.content() == OLD, name == "nothing", "{name}");
        fs::write(&place.path, OLD).unwrap();
        fs::write(place.path.with_file_name("state.json.~1~"), NEW).unwrap();
        place.fenced(6).raise_fence(Wait::Never).unwrap();
        let before = place.names();
        refused(way(&place.fenced(5)).map_err(|error| {
            assert!(error.is_fenced(), "{name}: {error}");
            error
        }));
        assert_eq!((place.content().as_str(), place.fence()), (OLD, 6), "{name}");
        assert_eq!(place.names(), before, "{name}");
        // A larger one passes, and is remembered, whichever way.
        way(&place.fenced(7)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(place.fence(), 7, "{name}");
    }
}

#[test]
fn one_fence_of_several_documents_keeps_all_as_they_are() {
    let (first, second) = (place(), place());
    second.fenced(6).raise_fence(Wait::Never).unwrap();
    let both = [first.fenced(9), second.fenced(5)];
    refused(update_all(&both, Wait::Never, |values| values.fill(Value::Null)));
    assert_eq!((first.content().as_str(), first.fence()), (OLD, 0), "not even the other's fence was raised");
    assert_eq!((second.content().as_str(), second.fence()), (OLD, 6));
}

#[test]
fn what_changes_nothing_raises_the_fence_and_what_fails_does_not() {
    let place = place();
    let receipt = place.fenced(3).update(Wait::Never, |_: &mut serde_json::Value| ()).unwrap();
    assert_eq!((receipt.changed, place.fence()), (false, 3));
    let failing = |_: &mut serde_json::Value| Err::<(), _>("no");
    assert!(place.fenced(4).update(Wait::Never, failing).unwrap_err().is_rejected());
    let conflict = place.fenced(4).if_version(Version::of(None)).update(Wait::Never, bump);
    assert!(conflict.unwrap_err().is_conflict());
    assert_eq!((place.content().as_str(), place.fence()), (OLD, 3));
    // Who is too late for both hears of the fence, since to look at the version again would be in vain.
    refused(place.fenced(2).if_version(Version::of(None)).update(Wait::Never, bump));
    refused(place.fenced(2).preview(|old| Ok((old.clone(), Value::Null))));
    assert!(Document::open(&place.path).raise_fence(Wait::Never).unwrap_err().is_unsupported());
}

#[test]
fn the_fence_is_written_once_for_a_token() {
    let place = place();
    place.fenced(3).update(Wait::Never, bump).unwrap();
    let before = place.sidecar().metadata().unwrap();
    let host = Faulty::new(Native, usize::MAX, Fault::Crash);
    let again = Document::open_on(host.clone(), &place.path).fence(token(3));
    again.update(Wait::Never, bump).unwrap();
    let renames = host.calls().iter().filter(|call| **call == "rename").count();
    assert_eq!((place.sidecar().metadata().unwrap().ino(), renames), (before.ino(), 1));
}

#[test]
fn what_is_no_fence_is_named_and_nothing_is_written() {
    for foreign in
        ["", "7\n", "{\"tenure\":1,\"token\":3", "{\"tenure\":2,\"token\":3}\n", "a bed of roses\n"]
    {
        let place = place();
        fs::write(place.sidecar(), foreign).unwrap();
        let error = place.fenced(9).update(Wait::Never, bump).unwrap_err();
        assert!(error.is_corrupt() && error.path() == place.sidecar(), "{foreign:?}: {error}");
        assert!(error.to_string().contains("move the file away"), "{error}");
        assert_eq!(place.content(), OLD);
        assert_eq!(fs::read_to_string(place.sidecar()).unwrap(), foreign);
        Document::open(&place.path).update(Wait::Never, bump).unwrap();
        fs::remove_file(place.sidecar()).unwrap();
        place.fenced(9).update(Wait::Never, bump).unwrap();
        assert_eq!(place.fence(), 9);
    }
    let place = place();
    fs::create_dir(place.sidecar()).unwrap();
    let error = place.fenced(9).update(Wait::Never, bump).unwrap_err();
    assert!(error.path() == place.sidecar(), "{error}");
    assert_eq!(place.content(), OLD);
}

#[test]
fn the_fence_is_as_readable_as_the_document_and_stands_beside_the_real_file() {
    let place = place();
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o600)).unwrap();
    let link = place.directory.path().join("link.json");
    symlink("state.json", &link).unwrap();
    for number in [1, 2] {
        Document::open(&link).fence(token(number)).update(Wait::Never, bump).unwrap();
        let (fence, document) = (place.sidecar().metadata().unwrap(), place.path.metadata().unwrap());
        assert_eq!(
            (fence.mode(), fence.uid(), fence.gid()),
            (document.mode(), document.uid(), document.gid())
        );
        assert_eq!((fence.mode() & 0o777, fence.nlink()), (0o600, 1));
    }
    // A document that is yet to come.
    let absent = place.directory.path().join("absent.json");
    Document::open(&absent).mode(0o640).fence(token(1)).raise_fence(Wait::Never).unwrap();
    let fence = absent.with_file_name("absent.json.fence").metadata().unwrap();
    assert_eq!((fence.mode() & 0o777, absent.exists()), (0o640, false));
}

const FAULTS: [Fault; 7] = [
    Fault::Fail(Errno::IO),
    Fault::Fail(Errno::NOSPC),
    Fault::Fail(Errno::MFILE),
    Fault::Fail(Errno::ACCESS),
    // At the link: a file system without any.
    Fault::Fail(Errno::PERM),
    Fault::ShortWrite,
    Fault::Crash,
];

/// A write with the token 2 under every fault at every call, where `before` is the fence that is there.
fn under_every_fault(
    before: i64,
    durability: Durability,
    write: fn(&Document<Faulty<Native>>) -> Result<()>,
) -> usize {
    let mut runs = 0;
    for fault in FAULTS {
        for n in 0.. {
            let place = place();
            if before > 0 {
                fs::write(place.sidecar(), format!("{{\"tenure\":1,\"token\":{before}}}\n")).unwrap();
            }
            let host = Faulty::new(Native, n, fault);
            let document =
                Document::open_on(host.clone(), &place.path).fence(token(2)).durability(durability);
            let outcome = write(&document);
            let at = format!("{fault:?} at call {n} of {:?}: {outcome:?}", host.calls());
            judge(&place, before, &outcome, fault).unwrap_or_else(|problem| panic!("{problem}: {at}"));
            runs += 1;
            if !host.met() {
                outcome.unwrap();
                break;
            }
        }
    }
    runs
}

fn judge(place: &Place, before: i64, outcome: &Result<()>, fault: Fault) -> std::result::Result<(), String> {
    let (written, fence) = (place.content() != OLD, place.fence());
    if fence != before && fence != 2 {
        return Err(format!("the fence is {fence}"));
    }
    if written && fence != 2 {
        return Err("written with a token that is not in the fence".into());
    }
    match outcome {
        Ok(()) if fence != 2 => return Err("acknowledged, and not in the fence".into()),
        Err(error) if error.is_fenced() => return Err("refused for a token that never was".into()),
        Err(_) if written && fault != Fault::Crash => {
            return Err("a change was made but an error reported".into());
        }
        _ => {}
    }
    if fence == 2 {
        let late = place.fenced(1).durability(Durability::Process).update(Wait::Never, bump);
        if !late.is_err_and(|error| error.is_fenced()) {
            return Err("an older token passed afterwards".into());
        }
    }
    // The next comer gets in at once, and cleans up.
    let next =
        place.fenced(2).durability(Durability::Process).update(Wait::within(Duration::from_secs(20)), bump);
    next.map_err(|error| format!("the next update fails: {error}"))?;
    match place.names() == ["state.json", "state.json.fence", "state.json.lock"] && place.fence() == 2 {
        true => Ok(()),
        false => Err(format!("litter: {:?}", place.names())),
    }
}

#[test]
fn no_fault_parts_a_document_from_its_fence() {
    let update = |document: &Document<Faulty<Native>>| {
        document.update(Wait::within(Duration::from_secs(20)), bump).map(drop)
    };
    let raise =
        |document: &Document<Faulty<Native>>| document.raise_fence(Wait::within(Duration::from_secs(20)));
    let together = |document: &Document<Faulty<Native>>| {
        let two = || Value::parse_json("{\"n\":2}").unwrap();
        let wait = Wait::within(Duration::from_secs(20));
        update_all(std::slice::from_ref(document), wait, |values| values[0] = two()).map(drop)
    };
    let runs = [
        under_every_fault(0, Durability::Power, update),
        under_every_fault(1, Durability::Power, update),
        under_every_fault(1, Durability::Process, raise),
        under_every_fault(1, Durability::Process, together),
    ];
    assert!(runs.iter().all(|runs| *runs > 100), "only {runs:?} runs: the faults were not met");
}

#[test]
fn a_judge_that_finds_nothing_would_prove_nothing() {
    // The twin writes the document first, and dies before the fence.
    let place = place();
    place.fenced(1).raise_fence(Wait::Never).unwrap();
    fs::write(&place.path, NEW).unwrap();
    let killed = place.fenced(2).if_version(Version::of(None)).update(Wait::Never, bump).map(drop);
    let problem = judge(&place, 1, &killed, Fault::Crash);
    assert!(problem.unwrap_err().contains("not in the fence"));
}

#[test]
fn a_lock_file_that_is_deleted_in_the_middle_does_not_let_an_older_token_pass() {
    let place = place();
    place.fenced(1).raise_fence(Wait::Never).unwrap();
    let mut rounds = 0;
    let late = place.fenced(2).update(Wait::Never, |value: &mut serde_json::Value| {
        rounds += 1;
        // Somebody cleans up "stale locks", and another process with a newer token gets in and out meanwhile.
        fs::remove_file(place.path.with_file_name("state.json.lock")).unwrap();
        let other = Faulty::new(Native, usize::MAX, Fault::Crash);
        Document::open_on(other, &place.path).fence(token(3)).raise_fence(Wait::Never).unwrap();
        bump(value);
    });
    refused(late);
    assert_eq!((rounds, place.content().as_str(), place.fence()), (1, OLD, 3));
}

type Caller<'a> = Box<dyn FnOnce() -> Result<Receipt> + Send + 'a>;

/// Lets the callers come one after the other while another process has the lock, which then lets it go.
fn queued(place: &Place, host: &Faulty<Native>, callers: Vec<Caller<'_>>) -> Vec<Result<Receipt>> {
    let held = Lock::flock(place.path.with_file_name("state.json.lock")).acquire(Wait::Forever).unwrap();
    std::thread::scope(|scope| {
        let mut rounds = 0;
        let come = |caller| {
            let mut fewest = host.local(|local| local.updating());
            let thread = scope.spawn(caller);
            // One that fails at once never stands in the queue; one that stood there may leave it meanwhile.
            loop {
                let now = host.local(|local| local.updating());
                if now > fewest || thread.is_finished() {
                    break;
                }
                fewest = now;
                rounds += 1;
                if rounds > 2_000 {
                    break;
                }
                sleep(Duration::from_micros(500));
            }
            thread
        };
        let threads: Vec<_> = callers.into_iter().map(come).collect();
        held.release().unwrap();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn in_a_batch_each_is_judged_by_those_before_it_and_the_fence_is_written_once() {
    let place = place();
    fs::write(&place.path, "").unwrap();
    place.fenced(3).raise_fence(Wait::Never).unwrap();
    let host = Faulty::new(Native, usize::MAX, Fault::Crash);
    let document = Document::open_on(host.clone(), &place.path);
    let order = Mutex::new(Vec::new());
    let carrying = |number: Option<i64>, text: &'static str| -> Caller<'_> {
        let (document, order) = (document.clone(), &order);
        let document = number.map(token).into_iter().fold(document, Document::fence);
        Box::new(move || {
            document.update_bytes(Wait::Forever, |bytes| {
                order.lock().unwrap().push(text);
                bytes.extend_from_slice(text.as_bytes());
            })
        })
    };
    let callers = vec![
        carrying(Some(4), "a"),
        carrying(None, "b"),
        carrying(Some(3), "c"),
        carrying(Some(6), "d"),
        carrying(Some(5), "e"),
        carrying(Some(6), "f"),
        carrying(None, "g"),
    ];
    let told: Vec<_> = queued(&place, &host, callers)
        .into_iter()
        .map(|outcome| match outcome {
            Ok(receipt) => receipt.changed,
            Err(error) if error.is_fenced() => false,
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(told, [true, true, false, true, false, true, true]);
    assert_eq!((place.content().as_str(), place.fence()), ("abdfg", 6));
    assert_eq!(order.into_inner().unwrap(), ["a", "b", "d", "f", "g"], "who is refused is not even run");
    let renames = host.calls().iter().filter(|call| **call == "rename").count();
    assert_eq!(renames, 2, "one of the fence, one of the document");
}

#[test]
fn of_a_write_that_fails_a_member_is_not_told_of_a_token_that_never_was() {
    let place = place();
    fs::write(&place.path, "").unwrap();
    place.fenced(3).raise_fence(Wait::Never).unwrap();
    let appending = |document: Document<Faulty<Native>>| -> Caller<'_> {
        Box::new(move || document.update_bytes(Wait::Forever, |bytes| bytes.push(b'x')))
    };
    // The call at which the first temporary file is written: nothing has been put in place by then.
    for n in 0.. {
        let host = Faulty::new(Native, n, Fault::Fail(Errno::NOSPC));
        let document = Document::open_on(host.clone(), &place.path);
        let callers = vec![appending(document.clone().fence(token(5))), appending(document.fence(token(4)))];
        let outcomes = queued(&place, &host, callers);
        let fence = place.fence();
        for outcome in outcomes {
            match outcome {
                Err(error) if error.is_fenced() => {
                    assert_eq!(fence, 5, "refused for a token that never was: {error}")
                }
                _ => {}
            }
        }
        if !host.met() {
            break;
        }
        fs::remove_file(place.sidecar()).unwrap();
        fs::write(&place.path, "").unwrap();
        place.fenced(3).raise_fence(Wait::Never).unwrap();
    }
}
