//! Promise: of a document's fenced writers, whoever is killed when, none with an older token comes behind one with a newer
//! (hazard D9); and `--fence` says why it refuses.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Ended, directory, litter, names, tenure};
use support::{Running, Scatter, tenure_command};

const WRITERS: u64 = 6;
const ROUNDS: u64 = 40;

fn list(directory: &Path) -> Vec<u64> {
    tenure::Document::open(directory.join("list.json")).read().unwrap()
}

fn fenced(directory: &Path, token: u64, expression: &str) -> Ended {
    tenure(directory, ["update", "--fence", &token.to_string(), "list.json", expression])
}

#[test]
fn no_older_token_comes_behind_a_newer_one_in_a_storm_of_kills() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("list.json"), "[]").unwrap();
    let (acknowledged, refused, killed) = (Mutex::new(Vec::new()), Mutex::new(0), Mutex::new(0));
    let drawn = AtomicU64::new(0);
    thread::scope(|scope| {
        let (acknowledged, refused, killed, drawn) = (&acknowledged, &refused, &killed, &drawn);
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut scatter = Scatter(writer * 7919 + 1);
                let mut usual = Duration::from_millis(5);
                for _ in 0..ROUNDS {
                    // On the whole they grow, and nobody keeps to the order.
                    let token = 1 + drawn.fetch_add(1, Ordering::Relaxed) + scatter.below(WRITERS);
                    let doomed = scatter.below(5) < 2;
                    let (start, number) = (Instant::now(), token.to_string());
                    let expression = format!(". += [{token}]");
                    let arguments = ["update", "--fence", &number, "list.json", &expression];
                    let mut running = Running::start(&mut tenure_command(path, &arguments));
                    if doomed {
                        // Anywhere in the time that an update takes here, waiting included.
                        thread::sleep(usual.mul_f64(scatter.below(1000) as f64 / 1000.0));
                        running.kill();
                    }
                    let ended = running.ended();
                    match ended.code() {
                        Some(0) => acknowledged.lock().unwrap().push(token),
                        Some(79) => *refused.lock().unwrap() += 1,
                        None => *killed.lock().unwrap() += 1,
                        Some(_) => panic!("an update failed: {}", ended.stderr),
                    }
                    usual = if doomed { usual } else { (usual + start.elapsed()) / 2 };
                }
            });
        }
    });
    let (acknowledged, refused, killed) =
        (acknowledged.into_inner().unwrap(), refused.into_inner().unwrap(), killed.into_inner().unwrap());
    let list = list(path);
    println!("{} acknowledged, {refused} refused, {killed} killed: {} there", acknowledged.len(), list.len());
    assert!(list.is_sorted(), "an older token came behind a newer one: {list:?}");
    let there = |token: &u64| list.iter().filter(|there| *there == token).count();
    assert!(
        acknowledged.iter().all(|token| there(token) >= 1),
        "{acknowledged:?} were acknowledged: {list:?}"
    );
    let [written, most] = [list.len(), acknowledged.len() + killed];
    assert!(acknowledged.len() <= written && written <= most, "{written} are there, at most {most} can be");
    assert!(killed >= 20 && refused >= 10 && acknowledged.len() >= 10, "this was no storm");
    // The fence is no smaller than what is there, and nothing lies about after one more update.
    let newest = *list.last().unwrap();
    let late = fenced(path, newest - 1, ". += [0]");
    assert_eq!(late.code(), Some(79), "{}", late.stderr);
    let next = fenced(path, newest + 1, ".");
    assert_eq!(next.code(), Some(0), "{}", next.stderr);
    assert_eq!(litter(path), [""; 0]);
    assert_eq!(names(path), ["list.json", "list.json.fence", "list.json.lock"]);
}

/// The twin: each looks whether its token is the newest, and then writes. The looks are right, the writes are safe, and the
/// order is lost.
#[test]
fn d9_a_check_before_the_write_lets_older_tokens_pass() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("list.json"), "[]").unwrap();
    let all_have_looked = Barrier::new(20);
    thread::scope(|scope| {
        for token in (1..=20).rev() {
            let all_have_looked = &all_have_looked;
            scope.spawn(move || {
                let newest = tenure(path, ["get", "list.json", "max // 0"]);
                assert!(newest.stdout.trim().parse::<u64>().unwrap() <= token, "{}", newest.stderr);
                all_have_looked.wait();
                let expression = format!(". += [{token}]");
                let ended = tenure(path, ["update", "--durability", "process", "list.json", &expression]);
                assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
            });
        }
    });
    let list = list(path);
    assert_eq!(list.len(), 20);
    assert!(!list.is_sorted(), "the twin kept the order, so this test shows nothing");
}

#[test]
fn a_refusal_says_who_was_here_and_what_to_do() {
    let directory = directory();
    let path = directory.path();
    let first = fenced(path, 7, "[7]");
    assert_eq!(first.code(), Some(0), "{}", first.stderr);
    let late = fenced(path, 6, ". += [6]");
    assert_eq!(late.code(), Some(79), "{}", late.stderr);
    for part in [
        "tenure: list.json: has accepted fencing token 7 from pid ",
        "update --fence 7 list.json [7]` on ",
        "newer than the 6 that this write carries",
        "Nothing was written. Acquire the lease again",
        "list.json.fence",
    ] {
        assert!(late.stderr.contains(part), "{part:?} is not in {}", late.stderr);
    }
    assert_eq!(list(path), [7]);
    // A dry run, an undo and an edit are told the same; the edited text is kept.
    let dry = tenure(path, ["update", "--dry-run", "--fence", "6", "list.json", ". += [6]"]);
    assert_eq!(dry.code(), Some(79), "{}", dry.stderr);
    std::fs::write(path.join("list.json.~1~"), "[1]\n").unwrap();
    let undo = tenure(path, ["undo", "--fence", "6", "list.json"]);
    assert_eq!(undo.code(), Some(79), "{}", undo.stderr);
    let edit = tenure(path, ["edit", "--fence", "6", "list.json", "--", "sed", "-i", "s/7/6/"]);
    assert_eq!(edit.code(), Some(79), "{}", edit.stderr);
    let kept =
        edit.stderr.split("Your text is kept in ").nth(1).expect("the place is told").trim().to_owned();
    assert_eq!(std::fs::read_to_string(&kept).unwrap().trim().replace(char::is_whitespace, ""), "[6]");
    std::fs::remove_dir_all(Path::new(&kept).parent().unwrap()).unwrap();
    assert_eq!(list(path), [7]);
    let edit = tenure(path, ["edit", "--fence", "8", "list.json", "--", "sed", "-i", "s/7/8/"]);
    assert_eq!(edit.code(), Some(0), "{}", edit.stderr);
    let undo = tenure(path, ["undo", "--fence", "8", "list.json"]);
    assert_eq!((undo.code(), list(path)), (Some(0), vec![1]), "{}", undo.stderr);
    // A fence that is none is named.
    std::fs::write(path.join("list.json.fence"), "9\n").unwrap();
    let foreign = fenced(path, 9, ". += [9]");
    assert_eq!(foreign.code(), Some(65), "{}", foreign.stderr);
    assert!(foreign.stderr.contains("list.json.fence: should be the fence"), "{}", foreign.stderr);
    let usage = tenure(path, ["update", "--fence", "0", "list.json", "."]);
    assert_eq!(usage.code(), Some(64), "{}", usage.stderr);
    assert!(usage.stderr.contains("whole number from 1 to"), "{}", usage.stderr);
}
