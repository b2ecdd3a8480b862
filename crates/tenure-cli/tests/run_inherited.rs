//! What `tenure run` inherits from its caller and terminal, and small promises that were once broken.
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
use std::process::Command;

use common::{Ended, TENURE, directory, run, tenure};
use support::{Stray, python};

/// Runs `program` from a Python that has set `signals` to be ignored, as nohup(1) and some daemons do.
fn ignoring(directory: &Path, signals: &str, arguments: &[&str]) -> Ended {
    let script = "import os, signal, sys\nfor name in sys.argv[1].split(): \
                  signal.signal(signal.Signals[name], signal.SIG_IGN)\nos.execv(sys.argv[2], sys.argv[2:])";
    run(Command::new(python()).args(["-c", script, signals, TENURE]).args(arguments).current_dir(directory))
}

#[test]
fn signals_that_the_caller_ignores_stay_ignored_in_the_command() {
    let directory = directory();
    let ended = ignoring(
        directory.path(),
        "SIGHUP SIGINT",
        &["run", "a.lock", "--", "grep", "SigIgn", "/proc/self/status"],
    );
    let mask = u64::from_str_radix(ended.stdout.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(mask & 3, 3, "SIGHUP and SIGINT: {}", ended.stdout);
}

#[test]
fn an_ignored_sigchld_does_not_hide_how_the_command_ended() {
    let directory = directory();
    let ended =
        ignoring(directory.path(), "SIGCHLD", &["run", "a.lock", "--", "sh", "-c", "sleep 0.2; exit 3"]);
    assert_eq!(ended.code(), Some(3), "{}", ended.stderr);
}

#[test]
fn closing_the_terminal_ends_the_command() {
    let directory = directory();
    let script = "
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
while not os.path.exists('started'):
    time.sleep(0.01)
os.close(terminal)
for _ in range(500):
    if os.waitpid(pid, os.WNOHANG)[0]:
        sys.exit(0)
    time.sleep(0.01)
os.kill(pid, 9)
sys.exit(1)
";
    let path = directory.path();
    let command = ["run", "a.lock", "--", "sh", "-c", "echo $$ > command; touch started; exec sleep 1000"];
    let ended = run(Command::new(python()).args(["-c", script, TENURE]).args(command).current_dir(path));
    let _command = Stray::named_in(&path.join("command"));
    assert_eq!(ended.code(), Some(0), "5 s after its terminal was closed, tenure still runs");
}

#[test]
fn an_interrupt_that_comes_before_the_command_is_not_lost() {
    let directory = directory();
    let script = "
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp('strace', ['strace', '-qq', '-o', 'trace', '-e', 'trace=clone3,clone,vfork',
        '-e', 'inject=clone3,clone,vfork:delay_enter=2000000:when=1'] + sys.argv[1:])
time.sleep(1)
os.write(terminal, b'\\x03')
start = time.monotonic()
os.waitpid(pid, 0)
sys.exit(0 if time.monotonic() - start < 6 else 1)
";
    let command = ["run", "a.lock", "--", "sleep", "10"];
    let ended =
        run(Command::new(python()).args(["-c", script, TENURE]).args(command).current_dir(directory.path()));
    assert_eq!(ended.code(), Some(0), "the command ran to its end");
}

#[test]
fn an_expression_is_read_from_a_pipe() {
    let directory = directory();
    std::fs::write(directory.path().join("c.json"), "{\"n\": 1}").unwrap();
    let script = format!("{TENURE} get c.json -f <(echo .n); echo .n | {TENURE} get c.json -f /dev/stdin");
    let ended = run(Command::new("bash").args(["-c", &script]).current_dir(directory.path()));
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("1\n1\n", ""));
}

#[test]
fn a_mistake_at_the_end_of_a_line_is_shown_on_that_line() {
    let directory = directory();
    std::fs::write(directory.path().join("c.json"), "{\n  \"b\": tru\n}\n").unwrap();
    let ended = tenure(directory.path(), ["get", "c.json"]);
    assert!(
        ended.stderr.contains("line 2, column") && ended.stderr.contains("2 |   \"b\": tru"),
        "{}",
        ended.stderr
    );
}

#[test]
fn init_knows_the_variables() {
    let directory = directory();
    let ended =
        tenure(directory.path(), ["update", "c.json", "--arg", "x", "1", "--init", "{x: $x}", ".y = 1"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn a_refused_file_gets_no_lock_file() {
    let directory = directory();
    std::fs::write(directory.path().join("a.json5"), "{a: 1}\n").unwrap();
    tenure(directory.path(), ["update", "a.json5", ".a = 2"]);
    assert_eq!(common::names(directory.path()), ["a.json5"]);
}

#[test]
fn a_program_below_a_file_is_not_an_input_output_error() {
    let directory = directory();
    let ended = tenure(directory.path(), ["run", "a.lock", "--", "/etc/passwd/x"]);
    assert_eq!(ended.code(), Some(126), "{}", ended.stderr);
}

#[test]
fn a_command_that_cannot_be_signalled_keeps_its_lock() {
    let directory = directory();
    let path = directory.path();
    let mut running = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pidfd_open", "-e"])
        .args(["inject=pidfd_open:error=ENOSYS", TENURE, "run", "a.lock", "--"])
        .args(["sh", "-c", "touch started; read line"])
        .current_dir(path)
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("strace is there: run ./test");
    while !path.join("started").exists() {
        if running.try_wait().unwrap().is_some() {
            return common::mounted::skip(
                "a_command_that_cannot_be_signalled_keeps_its_lock",
                "ptrace is not permitted",
            );
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(tenure(path, ["run", "--try", "a.lock", "--", "true"]).code(), Some(75));
    // `read` meets the end of its input and the command ends.
    drop(running.stdin.take());
    running.wait().unwrap();
    assert_eq!(tenure(path, ["run", "--try", "a.lock", "--", "true"]).code(), Some(0));
}
