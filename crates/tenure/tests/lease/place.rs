//! Stores that no test has used before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tenure::{LeaseStore, Wait};

/// How long a test waits for what must happen in the end, on a machine that does other things as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A time to live that no test outlasts.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A time to live that a test can wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// Where a fresh store is; gone when this is dropped.
pub(crate) struct Place {
    pub(crate) address: String,
    directory: TempDir,
}

impl Place {
    pub(crate) fn sqlite() -> Place {
        let directory = tempfile::tempdir().unwrap();
        Place { address: format!("sqlite:{}", directory.path().join("leases.db").display()), directory }
    }

    /// A database in the server that `./test` started.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres() -> Place {
        let address = crate::postgres_server::Database::new().url();
        Place { address, directory: tempfile::tempdir().unwrap() }
    }

    /// A connection of its own that is told of releases.
    pub(crate) fn listen(&self) -> LeaseStore {
        match self.address.starts_with("sqlite:") {
            true => self.connect(),
            false => LeaseStore::connect(&format!("{}?notify=on", self.address)).unwrap(),
        }
    }

    /// A connection of its own.
    pub(crate) fn connect(&self) -> LeaseStore {
        LeaseStore::connect(&self.address).unwrap()
    }

    /// For whatever the test keeps besides.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The database file of an SQLite store.
    pub(crate) fn file(&self) -> PathBuf {
        self.address.strip_prefix("sqlite:").unwrap().into()
    }
}

pub(crate) fn soon() -> Wait {
    Wait::within(PATIENCE)
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
