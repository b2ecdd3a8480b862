//! Other processes: this test's own program, started again to play a role.
//!
//! A worker is told what to do by one variable, in JSON, and then by lines on its standard input; it answers by lines that begin
//! with `@`, since the test harness prints there, too.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::place::PATIENCE;

const ROLE: &str = "TENURE_TEST_LEASE_ROLE";

/// A process that plays a role; killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Worker {
    pub(crate) fn start(role: &str, task: &Value) -> Worker {
        Worker::start_by(Command::new(std::env::current_exe().unwrap()), role, task)
    }

    /// Starts it by this command, which is given the harness's arguments.
    pub(crate) fn start_by(mut command: Command, role: &str, task: &Value) -> Worker {
        command.args(["--exact", "worker::a_worker_plays_its_role", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, json!({ "role": role, "task": task }).to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once('@')
                    && send.send(line.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Worker { child, input, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Its next line.
    pub(crate) fn hear(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|problem| {
            panic!("worker {} said nothing: {problem}; {:?}", self.child.id(), self.child.try_wait())
        })
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// SIGKILL; returns when it is reaped.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends its input, and waits until it has left well.
    pub(crate) fn finish(mut self) {
        drop(self.input.take());
        let start = std::time::Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "worker {} never ended", self.child.id());
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        assert!(status.success(), "a worker ended with {status}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// Says something to whoever started this process.
pub(crate) fn tell(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "@{line}").unwrap();
    output.flush().unwrap();
}

/// What this process is told, line by line, until nobody is left to tell.
pub(crate) fn told() -> impl Iterator<Item = String> {
    std::io::stdin().lock().lines().map_while(Result::ok)
}

#[test]
fn a_worker_plays_its_role() {
    let Ok(text) = std::env::var(ROLE) else {
        let mut worker = Worker::start("echo", &json!("task"));
        assert_eq!(worker.hear(), "\"task\"");
        worker.say("hello");
        assert_eq!(worker.hear(), "hello");
        return worker.finish();
    };
    let wanted: Value = serde_json::from_str(&text).unwrap();
    let (role, task) = (wanted["role"].as_str().unwrap(), &wanted["task"]);
    match role {
        "echo" => {
            tell(&task.to_string());
            told().for_each(|line| tell(&line));
        }
        "keep" => crate::losing::keep(task),
        "hold" => crate::sqlite_owners::hold(task),
        "hammer" => crate::sqlite_owners::hammer(task),
        "move away" => crate::sqlite_files::move_away(task),
        "try once" => crate::sqlite_files::try_once(task),
        "client" => crate::histories::client::run(task),
        "race" => crate::races::race(task),
        "race naively" => crate::races::race_naively(task),
        "open" => crate::opening::open(task),
        role => panic!("no such role: {role}"),
    }
}
