//! A place for a file that is looked at and forgotten.

use std::fs;
use std::path::{Path, PathBuf};

/// In memory if that can be had: nobody loses power here.
pub(crate) fn directory() -> (PathBuf, impl Drop) {
    struct Removed(PathBuf);
    impl Drop for Removed {
        fn drop(&mut self) {
            let _litter_of_a_test = fs::remove_dir_all(&self.0);
        }
    }
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let path = base.join(format!("tenure-any-bytes-{}-{number}", std::process::id()));
    fs::create_dir(&path).expect("a directory to work in");
    (path.clone(), Removed(path))
}
