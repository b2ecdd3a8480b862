//! What the tests of several processes share: children that do not outlive their test, and waits for what
//! must come true.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part of this")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::common::{Ended, TENURE, run};

/// Longer than anything here takes on a machine that works, however busy it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "after {PATIENCE:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A child that reads from a pipe, speaks into files, and is killed when the test drops it.
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let (out, err) = (stdout.try_clone().unwrap(), stderr.try_clone().unwrap());
        let child = command.stdin(Stdio::piped()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}: run ./test"));
        Running { child, stdout, stderr }
    }

    /// Starts a command that prints `held` once it has the lock.
    pub(crate) fn holding(command: &mut Command) -> Running {
        let mut running = Running::start(command);
        running.until_stdout("held");
        running
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    pub(crate) fn until_stdout(&mut self, expected: &str) {
        eventually(&format!("`{expected}` on standard output"), || {
            let there = self.stdout().contains(expected);
            assert!(there || self.is_running(), "it ended: {}", self.stderr());
            there || self.stdout().contains(expected)
        });
    }

    /// Waits until the command has said that it waits for a lock.
    pub(crate) fn until_waiting(&mut self) {
        eventually("`waiting for` on standard error", || {
            assert!(self.is_running(), "it ended: {}", self.stderr());
            // The whole line: it may come in pieces.
            self.stderr().split_once("waiting for").is_some_and(|(_, rest)| rest.contains('\n'))
        });
    }

    /// Writes to its standard input.
    pub(crate) fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("its input is open").write_all(text.as_bytes()).unwrap();
    }

    /// Closes its standard input, which is what holders here wait for.
    pub(crate) fn end_input(&mut self) {
        self.child.stdin = None;
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Kills it and waits until it is gone; its standard input stays open for those that inherited it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        eventually("the end of a killed process", || !self.is_running());
    }

    /// Ends its input and waits for its end.
    pub(crate) fn finish(mut self) -> Ended {
        self.end_input();
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        eventually("the end of a process", || !self.is_running());
        let status = self.child.wait().unwrap();
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has been reaped already.
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

fn text(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    // Not `read`: the child's writing moves the offset that both share.
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A process that nobody here is the parent of; killed when this is dropped.
pub(crate) struct Stray(pub(crate) Pid);

impl Stray {
    /// The process whose number stands in `file`.
    pub(crate) fn named_in(file: &Path) -> Stray {
        let pid = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        Stray(Pid::from_raw(pid).unwrap())
    }

    pub(crate) fn is_running(&self) -> bool {
        rustix::process::test_kill_process(self.0).is_ok()
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        let _gone_already = rustix::process::kill_process(self.0, Signal::KILL);
    }
}

/// `tenure` in `directory`, not yet started.
pub(crate) fn tenure_command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(TENURE);
    command.args(arguments).current_dir(directory);
    command
}

/// `tenure run OPTIONS LOCK -- sh -c SCRIPT`.
pub(crate) fn tenure_run(directory: &Path, options_and_lock: &[&str], script: &str) -> Command {
    let mut command = tenure_command(directory, &["run"]);
    command.args(options_and_lock).args(["--", "sh", "-c", script]);
    command
}

/// `tenure run --lease sqlite:l.db#job OPTIONS -- sh -c SCRIPT`.
pub(crate) fn lease_run(directory: &Path, options: &[&str], script: &str) -> Command {
    let mut command = tenure_command(directory, &["run", "--lease", "sqlite:l.db#job"]);
    command.args(options).args(["--", "sh", "-c", script]);
    command
}

/// The fields of /proc/PID/stat behind the name: state, parent, process group, ...; `None` if there is no such process.
pub(crate) fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Every process of a process group, zombies included.
pub(crate) fn group_members(group: i32) -> Vec<i32> {
    let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|fields| fields[2] == group.to_string())).collect()
}

/// The script of a holder: it says so, and holds until its input ends.
pub(crate) const HOLD: &str = "echo held; read line || true";

/// Holds `file` with flock(1), in one process, until its input ends.
pub(crate) fn flock_holder(file: &Path) -> Running {
    let mut command = Command::new("flock");
    Running::holding(command.arg("--no-fork").arg(file).args(["sh", "-c", HOLD]))
}

/// The Python that has `filelock` and `portalocker`.
pub(crate) fn python() -> PathBuf {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-venv/bin/python");
    let python = std::env::var_os("TENURE_TEST_PYTHON").map_or_else(venv, PathBuf::from);
    let modules = |python: &Path| run(Command::new(python).args(["-c", "import filelock, portalocker"]));
    assert!(python.exists() && modules(&python).status.success(), "{}: run ./test first", python.display());
    python
}

/// Runs a command at a terminal of its own: waits for each text in turn, and types what belongs to it.
pub(crate) const TERMINAL: &str = "
import json, os, pty, signal, sys, termios
dialogue = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    # Else a key throws away what is shown just then.
    modes = termios.tcgetattr(0)
    modes[3] |= termios.NOFLSH
    termios.tcsetattr(0, termios.TCSANOW, modes)
    os.execv(sys.argv[2], sys.argv[2:])
def too_late(*_):
    sys.exit('still waiting after ' + shown.decode())
signal.signal(signal.SIGALRM, too_late)
signal.alarm(60)
shown = b''
seen = 0
def read():
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b''
for text, keys in dialogue:
    while text.encode() not in shown[seen:]:
        piece = read()
        if not piece:
            sys.exit('never saw ' + text + ' in ' + shown.decode())
        shown += piece
    seen = shown.index(text.encode(), seen) + len(text.encode())
    os.write(terminal, keys.encode())
while piece := read():
    shown += piece
print(shown.decode().replace('\\r', ''), end='')
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// A command that notes each signal in the file `signals`, until there is a file `stop`. Not in sh, which
/// makes one of two signals that come while it waits for a child.
pub(crate) const NOTE_SIGNALS: &str = "
import os, signal, sys, time
def note(number, frame):
    with open('signals', 'a') as file:
        file.write(signal.Signals(number).name + '\\n')
for name in sys.argv[1:]:
    signal.signal(signal.Signals[name], note)
print('held', flush=True)
while not os.path.exists('stop'):
    time.sleep(0.01)
sys.exit(5)
";

/// Numbers that look random enough to scatter kills (xorshift).
pub(crate) struct Scatter(pub(crate) u64);

impl Scatter {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}
