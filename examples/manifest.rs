//! A manifest that fifty threads change at once.
//!
//! It grew from metaflow's report: many workers registered what they had made in one JSON file; without a lock 970 of 1000
//! writes were lost, and with an flock on the file that each save replaced, hardly fewer. Their answer was one shared
//! `atomic_json_update(path, updater)`: a stable lock beside the file, a temporary file, fsync, rename. Here it is.
//!
//! ```console
//! $ cargo run -p tenure --example manifest -- manifest.json
//! {"entries":1000,"by_worker":{"0":20, ...}}
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use tenure::{Document, Wait};

const WORKERS: usize = 50;
const ENTRIES_EACH: usize = 20;

/// Reads, changes and writes the file as one step; what waits in this process at once shares one write and one sync.
fn atomic_json_update(path: &Path, updater: impl FnMut(&mut Value)) -> tenure::Result<()> {
    Document::open(path).update(Wait::Forever, updater).map(drop)
}

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: manifest FILE");
        return ExitCode::FAILURE;
    };
    match register_all(Path::new(&path)) {
        Ok(manifest) => {
            println!("{manifest}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("manifest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn register_all(path: &Path) -> Result<Value, Box<dyn Error + Send + Sync>> {
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..WORKERS).map(|worker| scope.spawn(move || register(path, worker))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;
    Ok(Document::open(path).read()?)
}

fn register(path: &Path, worker: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    for _ in 0..ENTRIES_EACH {
        atomic_json_update(path, |manifest| {
            let entries = manifest["entries"].as_u64().unwrap_or(0);
            let own = manifest["by_worker"][worker.to_string()].as_u64().unwrap_or(0);
            manifest["entries"] = json!(entries + 1);
            manifest["by_worker"][worker.to_string()] = json!(own + 1);
        })?;
    }
    Ok(())
}
