//! From an append, not synced, to the reader that waits for it; the base is a pipe, tail(1) follows the raw file.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use tenure::{Durability, Journal, Wait};

use crate::measure::{Finding, Plan, Result, Setting, side_by_side, timed};

const PLAN: Plan = Plan { rounds: 15, samples: 40, batch: 1 };

/// tail(1), ended when it is dropped.
struct Tail(Child);

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

pub(crate) fn run(setting: &Setting) -> Result<Finding> {
    let plan = setting.plan(PLAN);
    let path = setting.directory.join("followed.journal");
    let journal = Journal::open(&path).durability(Durability::Process);
    journal.append(Wait::Forever, ["first"])?;
    let mut reader = journal.read_from(None)?;
    reader.next()?;
    let (seen, arrived) = mpsc::channel();
    // Ends with the benchmark's process; it waits for ever.
    std::thread::spawn(move || while reader.next_wait(Wait::Forever).is_ok() && seen.send(()).is_ok() {});

    let (pipe_in, mut pipe_out) = std::io::pipe()?;
    let (echo, echoed) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe_in).lines();
        while lines.next().is_some_and(|line| line.is_ok()) && echo.send(()).is_ok() {}
    });

    let raw = setting.directory.join("followed.log");
    let mut log = File::options().create(true).append(true).open(&raw)?;
    let command = Command::new("tail").args(["-n", "0", "-F"]).arg(&raw).stdout(Stdio::piped()).spawn();
    let mut tail = Tail(command?);
    let mut lines = BufReader::new(tail.0.stdout.take().ok_or("a pipe")?).lines();
    log.write_all(b"begin\n")?;
    lines.next();

    let contenders = vec![
        timed("a line through a pipe", None, plan, || {
            pipe_out.write_all(b"r\n")?;
            Ok(echoed.recv()?)
        }),
        timed("tenure, append to next_wait", None, plan, || {
            journal.append(Wait::Forever, ["r"])?;
            Ok(arrived.recv()?)
        }),
        timed("raw append to tail -F", None, plan, || {
            log.write_all(b"r\n")?;
            lines.next().ok_or("tail has ended")??;
            Ok(())
        }),
    ];
    side_by_side(contenders, plan)
}
