//! Promise: a lock of the lockfile kind that can't be had for want of room or descriptors is had by nobody, the command says why
//! and exits with 74; and one that is held is kept up and given up whatever is exhausted.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;

use std::process::Command;

use common::mounted::{Mounted, skip};
use common::{TENURE, directory, litter, run, tenure};

#[test]
fn a_lock_file_is_given_up_where_nothing_can_be_made() {
    let at = directory();
    let small = match Mounted::new(["-t", "tmpfs", "-o", "nr_inodes=8", "tenure-test"], at.path()) {
        Ok(small) => small,
        Err(reason) => return skip("a_lock_file_is_given_up_where_nothing_can_be_made", &reason),
    };
    let path = small.path();
    let acquired = tenure(path, ["lock", "acquire", "--lifetime", "1h", "handle.lock"]);
    assert_eq!(acquired.code(), Some(0), "{acquired:?}");
    // The owner's lifetime is kept up meanwhile.
    let script = "n=0; while touch filler$n 2>/dev/null; do n=$((n + 1)); done; sleep 0.7";
    let arguments = ["run", "--kind", "lockfile", "--lifetime", "300ms", "a.lock", "--", "sh", "-c", script];
    let ended = tenure(path, arguments);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    assert!(!path.join("a.lock").exists());
    std::fs::write(path.join("the last inode"), "").unwrap();
    let ended = tenure(path, ["run", "--kind", "lockfile", "--try", "a.lock", "--", "true"]);
    assert_eq!(ended.code(), Some(74), "{ended:?}");
    assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
    let handle = acquired.stdout.trim();
    let renewed = tenure(path, ["lock", "renew", handle]);
    assert!(renewed.code() == Some(74) && renewed.stderr.contains("No space left"), "{renewed:?}");
    let released = tenure(path, ["lock", "release", handle]);
    assert_eq!(released.code(), Some(0), "{released:?}");
    assert!(!path.join("a.lock").exists() && !path.join("handle.lock").exists());
    assert_eq!(litter(path), [""; 0]);
}

#[test]
fn too_few_descriptors_leave_no_lock_file() {
    let at = directory();
    let path = at.path();
    let mut outcomes = Vec::new();
    for limit in 0..=25 {
        let command = "run --kind lockfile --lifetime 10s a.lock -- true";
        let script = format!("ulimit -n {limit}; exec \"$0\" {command}");
        let ended = run(Command::new("sh").args(["-c", &script, TENURE]).current_dir(path));
        match ended.code() {
            Some(0) => {}
            Some(127) if limit <= 3 => assert!(ended.stderr.contains("shared libraries"), "{ended:?}"),
            code => {
                assert_eq!(code, Some(74), "{ended:?}");
                assert!(ended.stderr.contains("Too many open files"), "{ended:?}");
            }
        }
        assert!(!path.join("a.lock").exists(), "{limit} descriptors: {ended:?}");
        assert_eq!(litter(path), [""; 0], "{limit} descriptors: {ended:?}");
        outcomes.push(ended.code());
    }
    assert!(outcomes.contains(&Some(74)) && outcomes.ends_with(&[Some(0), Some(0)]), "{outcomes:?}");
}
