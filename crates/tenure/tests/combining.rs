//! Updates of one document from the threads of one process: done together, each as if it were alone (source report C).
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tenure::host::faulty::{Fault, Faulty};
use tenure::host::{Errno, Native};
use tenure::{Cancel, Document, Durability, Error, Lock, Reached, Receipt, Result, Version, Wait};

type Host = Faulty<Native>;
type Outcome = std::thread::Result<Result<Receipt>>;
type Caller<'a> = Box<dyn FnOnce() -> Result<Receipt> + Send + 'a>;

/// Long enough for a thread that is woken to get as far as it can.
const SOON: Duration = Duration::from_millis(30);

/// A process of its own, whose calls are counted.
fn process() -> Host {
    Faulty::new(Native, usize::MAX, Fault::Crash)
}

fn writes(host: &Host) -> usize {
    host.calls().iter().filter(|call| **call == "rename").count()
}

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn place(content: &str) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n.txt");
    fs::write(&path, content).unwrap();
    Place { _directory: directory, path }
}

impl Place {
    fn content(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    fn lock(&self) -> Lock {
        Lock::flock(self.path.with_file_name("n.txt.lock"))
    }
}

/// Appends to the document.
fn append(document: &Document<Host>, text: &str) -> Result<Receipt> {
    document.update_bytes(Wait::Forever, |bytes| bytes.extend_from_slice(text.as_bytes()))
}

/// Waits until something is so.
fn until(is_so: impl Fn() -> bool) {
    assert!(within(20_000, is_so), "it never came to be");
}

/// Whether something comes to be so within as many half milliseconds.
fn within(most: usize, is_so: impl Fn() -> bool) -> bool {
    (0..most).any(|_| {
        sleep(Duration::from_micros(500));
        is_so()
    })
}

fn updating<H: tenure::host::Host>(host: &H) -> usize {
    host.local(|local| local.updating())
}

/// Lets the callers come one after the other while another process has the lock, which then lets it go.
fn queued<H: tenure::host::Host>(place: &Place, host: &H, callers: Vec<Caller<'_>>) -> Vec<Outcome> {
    let held = place.lock().acquire(Wait::Forever).unwrap();
    std::thread::scope(|scope| {
        let come = |caller| {
            // Others may give up meanwhile, and if one does in the very moment in which this one comes, a second is enough.
            let fewest = AtomicUsize::new(updating(host));
            let thread = scope.spawn(caller);
            within(2_000, || {
                let now = updating(host);
                now > fewest.fetch_min(now, Ordering::Relaxed) || thread.is_finished()
            });
            thread
        };
        let threads: Vec<_> = callers.into_iter().map(come).collect();
        held.release().unwrap();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    })
}

fn all_well(outcomes: Vec<Outcome>) -> Vec<Receipt> {
    outcomes.into_iter().map(|outcome| outcome.unwrap().unwrap()).collect()
}

#[test]
fn a_thousand_updates_of_fifty_threads_are_a_thousand_in_few_writes() {
    let (place, host, start) = (place("0"), process(), Barrier::new(50));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..20 {
                    add_one(&Document::open_on(host.clone(), &place.path)).unwrap();
                }
            });
        }
    });
    assert_eq!(place.content(), "1000");
    println!("{} writes", writes(&host));
    assert!(writes(&host) < 500, "{} writes of a thousand updates", writes(&host));
}

fn add_one<H: tenure::host::Host>(document: &Document<H>) -> Result<Receipt> {
    document.update_bytes(Wait::Forever, |bytes| {
        let number: u64 = std::str::from_utf8(bytes).unwrap().parse().unwrap();
        *bytes = (number + 1).to_string().into_bytes();
    })
}

#[test]
#[expect(unsafe_code, reason = "fork is how a test gets processes that run its own code")]
fn processes_with_threads_lose_nothing_and_all_get_their_turn() {
    let place = place("0");
    let children: Vec<_> = (0..8)
        .map(|_| {
            // SAFETY: glibc keeps its allocator usable in the child, and the child leaves by _exit.
            match unsafe { libc::fork() } {
                0 => {
                    let work = || {
                        let document = Document::open(&place.path);
                        (0..20).for_each(|_| assert!(add_one(&document).unwrap().changed));
                    };
                    let done = std::panic::catch_unwind(|| {
                        std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(work))));
                    });
                    // SAFETY: ends the child without running the parent's exit handlers.
                    unsafe { libc::_exit(i32::from(done.is_err())) }
                }
                pid => rustix::process::Pid::from_raw(pid).unwrap(),
            }
        })
        .collect();
    for child in children {
        let waited = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
        assert_eq!(waited.unwrap().unwrap().1.exit_status(), Some(0));
    }
    assert_eq!(place.content(), (8 * 6 * 20).to_string());
}

#[test]
fn changes_are_made_in_the_order_of_coming_by_one_write_and_receipts_are_true() {
    let (place, host) = (place(""), process());
    let letters = ["a", "b", "c", "d", "e"];
    let calls: Vec<Caller<'_>> = letters
        .map(|letter| -> Caller<'_> {
            let document = Document::open_on(host.clone(), &place.path);
            Box::new(move || append(&document, letter))
        })
        .into();
    let receipts = all_well(queued(&place, &host, calls));
    assert_eq!((place.content().as_str(), writes(&host)), ("abcde", 1));
    for receipt in receipts {
        let whole = (true, Version::of(Some(b"abcde")), Reached::Power);
        assert_eq!((receipt.changed, receipt.version, receipt.durability), whole);
    }
}

#[test]
fn a_version_that_is_asked_for_is_that_of_the_one_before() {
    let (place, host) = (place(""), process());
    let call = |expected: &'static str, text: &'static str| -> Caller<'_> {
        let document = Document::open_on(host.clone(), &place.path);
        let document = document.if_version(Version::of(Some(expected.as_bytes())));
        Box::new(move || append(&document, text))
    };
    let outcomes =
        queued(&place, &host, vec![call("", "a"), call("a", "b"), call("a", "x"), call("ab", "c")]);
    let heard: Vec<_> =
        outcomes.into_iter().map(|outcome| outcome.unwrap().map_err(|error| error.is_conflict())).collect();
    assert_eq!((place.content().as_str(), writes(&host)), ("abc", 1));
    assert!(matches!(heard[..], [Ok(_), Ok(_), Err(true), Ok(_)]), "{heard:?}");
}

#[test]
fn who_fails_or_panics_is_undone_alone() {
    // The first leads, so each has its turn at that.
    let plan = ["add", "fail", "panic", "nothing", "add"];
    for first in 0..plan.len() {
        let (place, host) = (place("0"), process());
        let order: Vec<_> = plan.iter().cycle().skip(first).take(plan.len()).collect();
        let callers = order.iter().map(|what| -> Caller<'_> {
            let document = Document::open_on(host.clone(), &place.path);
            Box::new(move || match **what {
                "add" => add_one(&document),
                "nothing" => document.update_bytes(Wait::Forever, |_| {}),
                "fail" => document.update_bytes(Wait::Forever, |bytes| {
                    *bytes = b"7".to_vec();
                    Err("no")
                }),
                _ => document.update_bytes(Wait::Forever, |bytes| {
                    *bytes = b"8".to_vec();
                    assert_eq!(bytes[0], b'9', "a panic as planned");
                }),
            })
        });
        let outcomes = queued(&place, &host, callers.collect());
        assert_eq!(place.content(), "2", "{order:?}");
        for (what, outcome) in order.iter().zip(outcomes) {
            let heard = match outcome {
                Err(_) => "panic",
                Ok(Err(error)) if error.is_rejected() => "fail",
                Ok(Ok(receipt)) if receipt.version != Version::of(Some(b"2")) => "another version",
                Ok(Ok(Receipt { changed: true, .. })) => "add",
                Ok(Ok(_)) => "nothing",
                Ok(Err(error)) => panic!("{error}"),
            };
            // A leader that panics leaves the others to the next; then they are another batch.
            assert_eq!(heard, **what, "{order:?}");
        }
    }
}

#[test]
fn a_batch_that_begins_again_runs_every_change_again() {
    let (place, host, runs) = (place("0"), process(), AtomicUsize::new(0));
    let (path, lock) = (&place.path, place.path.with_file_name("n.txt.lock"));
    let meddle =
        [|_: &Path, lock: &Path| fs::remove_file(lock), |path: &Path, _: &Path| fs::write(path, "100")];
    let call = |n: usize| -> Caller<'_> {
        let (document, lock, runs, mut ran) = (Document::open_on(host.clone(), path), &lock, &runs, false);
        Box::new(move || {
            document.update_bytes(Wait::Forever, |bytes| {
                runs.fetch_add(1, Ordering::Relaxed);
                // The last two each disturb one round, so that there are three.
                if n > 0 && !ran && runs.load(Ordering::Relaxed) > 3 * (n - 1) {
                    ran = true;
                    meddle[n - 1](path, lock).unwrap();
                }
                let number: u64 = std::str::from_utf8(bytes).unwrap().parse().unwrap();
                *bytes = (number + 1).to_string().into_bytes();
            })
        })
    };
    let receipts = all_well(queued(&place, &host, (0..3).map(call).collect()));
    assert_eq!(place.content(), "103");
    assert_eq!((writes(&host), runs.into_inner()), (1, 9));
    assert!(receipts.iter().all(|receipt| receipt.version == Version::of(Some(b"103"))));
}

#[test]
fn the_strictest_durability_is_done_for_all() {
    for (asked, reached) in [
        ([Durability::Process, Durability::Process], Reached::Process),
        ([Durability::Process, Durability::Power], Reached::Power),
        ([Durability::Power, Durability::Process], Reached::Power),
    ] {
        let (place, host) = (place(""), process());
        let call = |durability: Durability| -> Caller<'_> {
            let document = Document::open_on(host.clone(), &place.path).durability(durability);
            Box::new(move || append(&document, "x"))
        };
        let receipts = all_well(queued(&place, &host, asked.map(call).into()));
        assert_eq!(receipts.iter().map(|receipt| receipt.durability).collect::<Vec<_>>(), [reached; 2]);
        assert_eq!(host.calls().contains(&"fsync"), reached == Reached::Power);
    }
}

#[test]
fn a_deadline_ends_when_the_change_begins() {
    let (place, host) = (place(""), process());
    let document = Document::open_on(host.clone(), &place.path);
    let slow = |text: &'static str, wait: Wait| -> Caller<'_> {
        let document = document.clone();
        Box::new(move || {
            document.update_bytes(wait, |bytes| {
                sleep(10 * SOON);
                bytes.extend_from_slice(text.as_bytes());
            })
        })
    };
    let within = |time: u32| Wait::within(time * SOON);
    // The second's time is over while it makes its change; the third's before it could begin.
    let outcomes =
        queued(&place, &host, vec![slow("a", Wait::Forever), slow("b", within(18)), slow("c", within(18))]);
    let heard: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert!(heard[0].is_ok() && heard[1].is_ok(), "{heard:?}");
    assert!(heard[2].as_ref().is_err_and(Error::is_busy), "{heard:?}");
    assert_eq!(place.content(), "ab");
}

#[test]
fn who_does_not_wait_and_who_is_cancelled_leave_the_queue() {
    let (place, host, cancel) = (place(""), process(), Cancel::new());
    let document = Document::open_on(host.clone(), &place.path);
    let callers: Vec<Caller<'_>> = vec![
        Box::new(|| document.update_bytes(Wait::within(SOON / 2), |bytes| bytes.push(b'x'))),
        Box::new(|| append(&document, "a")),
        Box::new(|| document.update_bytes(Wait::Never, |bytes| bytes.push(b'x'))),
        Box::new(|| document.update_bytes(Wait::Forever.or(&cancel), |bytes| bytes.push(b'x'))),
        Box::new(|| {
            sleep(2 * SOON);
            cancel.cancel();
            sleep(2 * SOON);
            append(&document, "b")
        }),
    ];
    let heard: Vec<_> = queued(&place, &host, callers).into_iter().map(|outcome| outcome.unwrap()).collect();
    let busy = |n: usize| heard[n].as_ref().is_err_and(Error::is_busy);
    assert!(busy(0) && busy(2) && heard[3].as_ref().is_err_and(Error::is_cancelled), "{heard:?}");
    // The first led, gave up, and left the lead to the second.
    assert!(heard[1].is_ok() && heard[4].is_ok(), "{heard:?}");
    assert_eq!((place.content().as_str(), writes(&host)), ("ab", 1));
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told() {
    let (place, host) = (place(""), process());
    let other = place.path.with_file_name("link.txt");
    std::os::unix::fs::symlink("n.txt", &other).unwrap();
    let paths = [&place.path, &other];
    let nested = |path: &Path| -> Caller<'_> {
        let (path, host) = (path.to_owned(), host.clone());
        let lock = Lock::flock_on(host.clone(), place.path.with_file_name("n.txt.lock"));
        Box::new(move || {
            Document::open_on(host.clone(), path).update_bytes(Wait::Forever, |bytes| {
                for path in paths {
                    let again = append(&Document::open_on(host.clone(), path), "x");
                    assert!(again.unwrap_err().is_already_held());
                }
                assert!(lock.acquire(Wait::Forever).unwrap_err().is_already_held());
                bytes.push(b'a');
            })
        })
    };
    all_well(queued(&place, &host, vec![nested(&place.path), nested(&place.path), nested(&other)]));
    assert_eq!((place.content().as_str(), writes(&host)), ("aaa", 1));

    // A thread that has the lock itself, while another leads and waits for it.
    let lock = Lock::flock_on(host.clone(), place.path.with_file_name("n.txt.lock"));
    let held = lock.acquire(Wait::Never).unwrap();
    let document = Document::open_on(host.clone(), &place.path);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| append(&document, "b"));
        sleep(SOON);
        assert!(append(&document, "x").unwrap_err().is_already_held());
        held.release().unwrap();
        leader.join().unwrap().unwrap();
    });
    assert_eq!(place.content(), "aaab");
}

#[test]
fn names_that_lead_to_one_file_are_one_queue_and_a_name_that_is_turned_elsewhere_leaves_it() {
    let (place, host) = (place(""), process());
    let (link, aside) = (place.path.with_file_name("link.txt"), place.path.with_file_name("aside.txt"));
    let away = place.path.parent().unwrap().join("away");
    std::os::unix::fs::symlink(place.path.parent().unwrap(), &away).unwrap();
    std::os::unix::fs::symlink("n.txt", &link).unwrap();
    fs::write(&aside, "").unwrap();
    let call = |path: &Path, text: &'static str| -> Caller<'_> {
        let document = Document::open_on(host.clone(), path);
        Box::new(move || append(&document, text))
    };
    let turn: Caller<'_> = Box::new(|| {
        Document::open_on(host.clone(), &place.path).update_bytes(Wait::Forever, |bytes| {
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink("aside.txt", &link).unwrap();
            bytes.push(b'b');
        })
    });
    let callers = vec![
        call(&away.join("n.txt"), "a"),
        call(&link, "l"),
        turn,
        call(&link, "m"),
        call(&place.path, "c"),
    ];
    all_well(queued(&place, &host, callers));
    assert_eq!((place.content().as_str(), writes(&host)), ("albc", 2));
    assert_eq!(fs::read_to_string(aside).unwrap(), "m");
}

#[test]
fn of_a_write_that_fails_every_member_hears() {
    let mut failed_together = 0;
    for fault in [Fault::Fail(Errno::NOSPC), Fault::Fail(Errno::IO), Fault::ShortWrite] {
        for n in 0.. {
            let place = place("0");
            let host = Faulty::new(Native, n, fault);
            let document = Document::open_on(host.clone(), &place.path);
            let refused = AtomicUsize::new(0);
            let add = || document.update_bytes(Wait::Forever, |bytes| bytes[0] += 1);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let first = scope.spawn(|| {
                    document.update_bytes(Wait::Forever, |bytes| {
                        // The others come while the leader makes its change, unless they can't even do that.
                        until(|| updating(&host) + refused.load(Ordering::Relaxed) >= 3);
                        bytes[0] += 1;
                    })
                });
                until(|| updating(&host) == 1 || first.is_finished());
                let count = || {
                    let added = add();
                    refused.fetch_add(1, Ordering::Relaxed);
                    added
                };
                let others = [(); 2].map(|()| scope.spawn(count));
                [first].into_iter().chain(others).map(|thread| thread.join().unwrap()).collect()
            });
            let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert_eq!(place.content(), made.to_string(), "{fault:?} at {n}: {outcomes:?}");
            failed_together += usize::from(made == 0);
            if !host.met() {
                break;
            }
        }
    }
    assert!(failed_together >= 10, "only {failed_together} batches failed");
}

#[test]
#[expect(unsafe_code, reason = "fork is what this test is about")]
fn a_child_that_is_forked_in_a_change_hands_nothing_over() {
    for forker in [0, 1] {
        let (place, host) = (place(""), Native);
        let document = Document::open_on(host, &place.path);
        let forks = || {
            let (mut child, mut pid) = (false, 0);
            let updated = document.update_bytes(Wait::Forever, |bytes| {
                // SAFETY: glibc keeps its allocator usable in the child, and the child leaves by _exit.
                pid = unsafe { libc::fork() };
                child = pid == 0;
                bytes.push(b'f');
            });
            if child {
                let told =
                    updated.is_err_and(|error| error.is_conflict() && error.to_string().contains("forked"));
                // SAFETY: ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(i32::from(!told)) }
            }
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let waited = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            assert_eq!(waited.unwrap().unwrap().1.exit_status(), Some(0), "what the child was told");
            updated
        };
        let plain = || document.update_bytes(Wait::Forever, |bytes| bytes.push(b'p'));
        let mut callers: Vec<Caller<'_>> = vec![Box::new(plain), Box::new(plain)];
        callers.insert(forker, Box::new(forks));
        all_well(queued(&place, &host, callers));
        assert_eq!(place.content(), if forker == 0 { "fpp" } else { "pfp" });
    }
}
