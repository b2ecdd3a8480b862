//! PostgreSQL servers for tests: the one that `./test` starts for all of them, and servers of a test's own.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test uses a part of this, and looks at the real system"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tenure::host::{Host, Native};
use tenure::lease::Tenant;
use tenure::lease::store::{Ask, Owner};

/// Longer than anything here takes on a machine that works, however busy it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "after {PATIENCE:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An acquisition by an owner of its own.
pub(crate) fn ask(name: &str, ttl: Duration) -> Ask {
    let tenant = Tenant::from_json("{\"host\":\"here\"}");
    let owner = Owner::new(Native.random(), Native.random());
    Ask { name: name.into(), owner, tenant, ttl, at_least: Duration::ZERO, at_most: None, again: false }
}

/// The address of the server that the tests share, of a superuser and with a password.
pub(crate) fn shared_server() -> String {
    std::env::var("TENURE_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("TENURE_TEST_POSTGRES is not set: run ./test, or `scripts/with-postgres cargo test ...`")
    })
}

/// A database of a test's own in the shared server. It is left there: the server goes as a whole, and dropping one takes as long
/// as making it.
pub(crate) struct Database {
    server: String,
    pub(crate) name: String,
}

impl Database {
    pub(crate) fn new() -> Database {
        Database::on(&shared_server())
    }

    pub(crate) fn on(server: &str) -> Database {
        // Names must not clash: with those of other processes, and within this one.
        let name = format!("test_{}", uuid());
        sql(server, &format!("CREATE DATABASE {name}"));
        Database { server: server.to_owned(), name }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        let (server, _postgres) = self.server.rsplit_once('/').expect("the address names a database");
        format!("{server}/{}", self.name)
    }

    /// Its address with options behind it.
    pub(crate) fn with(&self, options: &str) -> String {
        format!("{}?{options}", self.url())
    }

    /// Its address for a new role, which may do everything in it and has these settings; and the role's name.
    pub(crate) fn as_role(&self, settings: &[&str]) -> (String, String) {
        let name = format!("role_{}", uuid());
        self.sql(&format!("CREATE ROLE {name} LOGIN PASSWORD '{ROLE_PASSWORD}'"));
        self.sql(&format!("GRANT ALL ON SCHEMA public TO {name}"));
        for setting in settings {
            self.sql(&format!("ALTER ROLE {name} SET {setting}"));
        }
        let url = self.url();
        let (_, host) = url.split_once('@').expect("the address has a user");
        (format!("postgres://{name}:{ROLE_PASSWORD}@{host}"), name)
    }

    /// Runs SQL in it, and gives what it says, columns parted by `|`.
    pub(crate) fn sql(&self, statement: &str) -> String {
        sql(&self.url(), statement)
    }
}

/// What no error, and no other text, may show.
pub(crate) const ROLE_PASSWORD: &str = "open-sesame-7431";

fn uuid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().replace('-', "")
}

/// Runs SQL on a server.
pub(crate) fn sql(url: &str, statement: &str) -> String {
    let output = psql(url, statement);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{statement}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn psql(url: &str, statement: &str) -> Output {
    let mut command = Command::new("psql");
    command.args([url, "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--command", statement]);
    command.output().unwrap_or_else(|error| panic!("psql: {error}: run ./test"))
}

/// A session of psql that stays open until this is dropped.
pub(crate) struct Open(std::process::Child);

impl Open {
    /// Runs a statement in a transaction that is not ended, and returns when that is done.
    pub(crate) fn transaction(url: &str, statement: &str) -> Open {
        use std::io::{BufRead, BufReader, Write};
        use std::process::Stdio;
        let mut command = Command::new("psql");
        command.args([url, "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.as_mut().unwrap();
        writeln!(input, "BEGIN; {statement};\n\\echo ready").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "ready"), "psql has ended");
        Open(child)
    }

    /// Commits it, and ends the session.
    pub(crate) fn commit(mut self) {
        use std::io::Write;
        writeln!(self.0.stdin.take().unwrap(), "COMMIT;").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

/// A server of a test's own, which may be killed, stopped and have its clock set. It ends with the test.
pub(crate) struct Server {
    directory: tempfile::TempDir,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let url = control(directory.path(), "start", options);
        Server { directory, url }
    }

    /// `scripts/postgres ACTION`, with arguments.
    pub(crate) fn control(&self, action: &str, arguments: &[&str]) -> String {
        control(self.directory.path(), action, arguments)
    }

    /// A file of the cluster.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("cluster").join(name)
    }

    /// Its processes, the first one first.
    pub(crate) fn processes(&self) -> Vec<rustix::process::Pid> {
        let text = std::fs::read_to_string(self.file("data/postmaster.pid")).unwrap();
        let first: i32 = text.lines().next().unwrap().parse().unwrap();
        let listed = Command::new("ps").args(["-o", "pid=", "--ppid", &first.to_string()]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let others = listed.lines().map(|line| line.trim().parse().unwrap());
        std::iter::once(first).chain(others).map(|pid| rustix::process::Pid::from_raw(pid).unwrap()).collect()
    }

    /// Sends a signal to all of its processes.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        for pid in self.processes() {
            // One that has just ended needs none.
            let _ended = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control("remove", &[]);
    }
}

fn control(directory: &Path, action: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres");
    let mut command = Command::new(script);
    let output = command.arg(action).arg(directory).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/postgres {action}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
