//! A machine without inotify instances to spare (the limit is per user): waiting still works, by polling.
//! Alone in its binary, since it takes them all.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use std::time::Duration;

use rustix::fs::inotify;
use tenure::{Lock, Wait};

#[test]
fn waiting_works_without_inotify() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l");
    let mut instances = Vec::new();
    let error = loop {
        match inotify::init(inotify::CreateFlags::CLOEXEC) {
            Ok(instance) => instances.push(instance),
            Err(errno) => break errno,
        }
    };
    assert_eq!(error, rustix::io::Errno::MFILE);
    // Another description of our own process, which the kernel excludes and the queue of threads does not know.
    let file = std::fs::File::create(&path).unwrap();
    file.lock().unwrap();
    let waiting = std::thread::spawn({
        let path = path.clone();
        move || Lock::flock(path).acquire(Wait::within(Duration::from_secs(30))).map(drop)
    });
    while !waiting.is_finished() && instances.len() > 1 {
        std::thread::sleep(Duration::from_millis(300));
        file.unlock().unwrap();
        if waiting.is_finished() {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    waiting.join().unwrap().unwrap();
}
