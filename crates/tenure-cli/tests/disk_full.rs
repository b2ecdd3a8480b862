//! Promise: an update that finds no space, no inode or no descriptor says so, exits with 74 and leaves the
//! document as it was, byte for byte; it leaves no temporary file and no lock behind. Neither does an append leave a half
//! record.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::mounted::{Mounted, skip};
use common::{Ended, TENURE, directory, litter, names, run, tenure};

const PAGE: u64 = 4096;

/// The new document: a little more than three pages.
const NEW_BYTES: usize = 3 * 4096 + 100;

/// A small file system that exists in memory alone.
fn tmpfs(name: &str, at: &Path, options: &str) -> Option<Mounted> {
    let mounted = Mounted::new(["-t", "tmpfs", "-o", options, "tenure-test"], at);
    mounted.map_err(|reason| skip(name, &reason)).ok()
}

/// Fills the file system but for `free` pages.
fn fill_but(directory: &Path, free: u64) {
    let mut filler = File::create(directory.join("filler")).unwrap();
    let mut length = 0;
    while filler.write_all(&[1; PAGE as usize]).is_ok() {
        length += PAGE;
    }
    filler.set_len(length - free * PAGE).unwrap();
}

fn grow(directory: &Path) -> Ended {
    let large = "x".repeat(NEW_BYTES);
    tenure(directory, ["update", "f.json", "--arg", "large", &large, ".n += 1 | .large = $large | del(.old)"])
}

fn n(directory: &Path) -> String {
    tenure(directory, ["get", "f.json", ".n"]).stdout.trim().to_owned()
}

/// That a failed update said why and changed nothing: `before` is the content, if there was a file.
fn assert_clean_failure(ended: &Ended, directory: &Path, before: Option<&[u8]>, reason: &str) {
    assert_eq!(ended.code(), Some(74), "{ended:?}");
    assert!(ended.stdout.is_empty(), "a result was printed that is not there: {ended:?}");
    assert!(ended.stderr.starts_with("tenure: f.json"), "names no file: {}", ended.stderr);
    assert!(ended.stderr.contains(reason), "gives another reason: {}", ended.stderr);
    assert_eq!(std::fs::read(directory.join("f.json")).ok().as_deref(), before);
    assert_eq!(litter(directory), [""; 0]);
    if directory.join("f.json.lock").exists() {
        let held = tenure(directory, ["run", "--try", "f.json.lock", "--", "true"]);
        assert_eq!(held.code(), Some(0), "the lock is not free: {held:?}");
    }
}

/// One update with `free` pages left: whether it succeeded.
fn update_with_free_pages(directory: &Path, free: u64, existing: bool) -> bool {
    let file = directory.join("f.json");
    for name in names(directory) {
        std::fs::remove_file(directory.join(name)).unwrap();
    }
    let old = format!("{{ \"n\": 1,\n  \"old\": \"{}\" }}\n", "y".repeat(5000));
    let before = existing.then_some(old.as_bytes());
    if let Some(before) = before {
        std::fs::write(&file, before).unwrap();
    }
    fill_but(directory, free);
    let ended = grow(directory);
    let done = ended.code() == Some(0);
    if done {
        let expected = if existing { "2" } else { "1" };
        assert_eq!(n(directory), expected, "{ended:?}");
        assert!(std::fs::metadata(&file).unwrap().len() > NEW_BYTES as u64);
    } else {
        assert_clean_failure(&ended, directory, before, "No space left on device");
    }
    std::fs::remove_file(directory.join("filler")).unwrap();
    assert_eq!(grow(directory).code(), Some(0), "with space again it works");
    assert_eq!(names(directory), ["f.json", "f.json.lock"]);
    done
}

#[test]
fn a_full_disk_leaves_the_old_document_or_the_new_one() {
    let at = directory();
    let Some(disk) = tmpfs("disk_full", at.path(), "size=128k") else { return };
    for existing in [true, false] {
        let done: Vec<bool> =
            (0..8).map(|free| update_with_free_pages(disk.path(), free, existing)).collect();
        let first = done.iter().position(|done| *done).expect("eight pages are enough");
        assert_eq!(first, 4, "the new document has four pages: {done:?}");
        assert!(done[first..].iter().all(|done| *done), "more space is no worse: {done:?}");
    }
    disk.unmount();
}

#[test]
fn a_file_system_without_inodes_leaves_the_old_document() {
    let at = directory();
    // One inode is the root.
    let Some(disk) = tmpfs("disk_full_inodes", at.path(), "size=1m,nr_inodes=8") else { return };
    let directory = disk.path();
    let before = b"{\"n\": 1}".as_slice();
    std::fs::write(directory.join("f.json"), before).unwrap();
    let fillers = (0..).map(|number| directory.join(format!("filler-{number}")));
    let mut fillers: Vec<_> = fillers.take_while(|filler| File::create(filler).is_ok()).collect();
    for lock_exists in [false, true] {
        assert_eq!(directory.join("f.json.lock").exists(), lock_exists);
        assert_clean_failure(&grow(directory), directory, Some(before), "No space left on device");
        // Room for the lock file first, then for the new document too.
        std::fs::remove_file(fillers.pop().unwrap()).unwrap();
        if !lock_exists {
            assert_clean_failure(&grow(directory), directory, Some(before), "No space left on device");
        }
    }
    assert_eq!(grow(directory).code(), Some(0));
    assert_eq!(n(directory), "2");
    disk.unmount();
}

#[test]
fn a_full_disk_leaves_no_half_record() {
    let at = directory();
    let Some(disk) = tmpfs("disk_full_journal", at.path(), "size=128k") else { return };
    let directory = disk.path();
    let records = |directory: &Path| tenure(directory, ["log", "j"]).stdout.lines().count();
    assert_eq!(tenure(directory, ["append", "j", "first"]).code(), Some(0));
    let mut outcomes = Vec::new();
    for free in 0..6 {
        fill_but(directory, free);
        let before = records(directory);
        let large = "x".repeat(NEW_BYTES);
        let ended = tenure(directory, ["append", "j", "small", &large]);
        let done = ended.code() == Some(0);
        if !done {
            assert_eq!(ended.code(), Some(74), "{ended:?}");
            let told = "tenure: j: cannot append to the journal: No space left on device (free some space and try again)\n";
            assert_eq!(ended.stderr, told);
        }
        assert_eq!(records(directory), before + if done { 2 } else { 0 }, "all or none");
        assert!(tenure(directory, ["verify", "j"]).stdout.starts_with("j: sound\n"));
        std::fs::remove_file(directory.join("filler")).unwrap();
        let ended = tenure(directory, ["append", "j", "next"]);
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "no tail is left to be moved");
        assert_eq!(names(directory), ["j", "j.lock"]);
        outcomes.push(done);
    }
    assert!(!outcomes[0] && outcomes[5], "{outcomes:?}");
    disk.unmount();
}

/// Runs an update that may have no more than `limit` descriptors.
fn update_with_descriptors(directory: &Path, limit: u32) -> Ended {
    let script = format!("ulimit -n {limit}; exec \"$0\" update f.json '.n += 1'");
    run(Command::new("sh").args(["-c", &script, TENURE]).current_dir(directory))
}

#[test]
fn too_few_descriptors_leave_the_old_document() {
    let at = directory();
    let file = at.path().join("f.json");
    let mut outcomes = Vec::new();
    for (limit, lock_exists) in (0..=20).flat_map(|limit| [(limit, false), (limit, true)]) {
        if !lock_exists {
            let _may_not_exist = std::fs::remove_file(at.path().join("f.json.lock"));
        }
        let before = format!("{{\"n\": {limit}}}");
        std::fs::write(&file, &before).unwrap();
        let ended = update_with_descriptors(at.path(), limit);
        match ended.code() {
            Some(0) => assert_eq!(n(at.path()), (limit + 1).to_string()),
            Some(127) if limit <= 3 => {
                // The dynamic linker could not load the program.
                assert!(ended.stderr.contains("shared libraries"), "{ended:?}");
            }
            _ => assert_clean_failure(&ended, at.path(), Some(before.as_bytes()), "Too many open files"),
        }
        outcomes.push(ended.code());
        let plain = tenure(at.path(), ["update", "--wait", "0s", "f.json", ".n = -1"]);
        assert_eq!((plain.code(), n(at.path())), (Some(0), "-1".to_owned()), "{plain:?}");
        assert_eq!(names(at.path()), ["f.json", "f.json.lock"]);
    }
    assert!(outcomes.contains(&Some(74)) && outcomes.ends_with(&[Some(0), Some(0)]), "{outcomes:?}");
}
