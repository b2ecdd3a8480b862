//! What each call does, as one step.

use std::path::Path;
use std::time::Duration;

use tenure::host::{Errno, FileKind, Mode, Open, Process as Seen, Woken};

use super::fs::{Edit, Slot, half, is_scratch};
use super::leases::Nature;
use super::{Description, Life, World};
use crate::op::{Fault, Fd, Note, Op, Reply, Value};

/// A pause of at most this long ends at any moment, without the clock: its length decides nothing.
const SHORT_PAUSE: Duration = Duration::from_millis(1);

/// A place in a simulated file, which is small.
fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
}

impl World {
    /// Whether a call can return now. A wait returns when something happened.
    pub fn is_enabled(&self, process: usize, op: &Op) -> bool {
        match (self.processes[process].life, op) {
            (Life::NotYet | Life::Ended | Life::Killed, _) => false,
            (Life::Alive, Op::Wait(waiter, until)) => {
                let waiter = self.processes[process].waiters[*waiter].as_ref();
                let happened = waiter.is_some_and(|waiter| waiter.changed || waiter.called);
                let left = until.map(|until| until.since(self.now(process)));
                happened || left.is_some_and(|left| left <= SHORT_PAUSE)
            }
            (Life::Alive, Op::Nature(Nature::Deliver)) => {
                let alive = |(other, state): (usize, &super::Process)| {
                    other != process && matches!(state.life, Life::NotYet | Life::Alive)
                };
                self.leases.is_awaited() || !self.processes.iter().enumerate().any(alive)
            }
            (Life::Alive, _) => true,
        }
    }

    /// Executes a call that meets a fault.
    pub fn execute_faulty(&mut self, process: usize, op: &Op, fault: Fault) -> Reply {
        self.check.failed.push(process);
        match (fault, op) {
            (Fault::Short, Op::Write(fd, bytes)) => {
                self.execute(process, &Op::Write(*fd, bytes[..half(bytes.len())].to_vec()))
            }
            (Fault::Short, Op::WriteAt(fd, offset, bytes)) => {
                self.keep_contract(process, op);
                let slot = self.writable(process, *fd).ok_or(Errno::BADF)?;
                self.edit(process, slot, Edit::WriteAt(at(*offset), bytes[..half(bytes.len())].to_vec()));
                self.emit_write(process, slot);
                Ok(Value::Count(half(bytes.len())))
            }
            (Fault::Io | Fault::Sync, Op::Fsync(fd) | Op::SyncData(fd)) => {
                self.fail_sync(process, *fd);
                Err(Errno::IO)
            }
            (Fault::LostEvent, Op::Wait(waiter, _)) => {
                self.waiter(process, *waiter).changed = false;
                Ok(Value::Nothing)
            }
            (Fault::Late, Op::Ask(question)) => {
                self.leases.send(process, question);
                Err(Errno::IO)
            }
            (Fault::TooManyFiles, Op::Watch(..) | Op::WatchEnd(..)) => Ok(Value::Yes(false)),
            (Fault::LostReply, _) => match self.execute(process, op) {
                // The repetition is refused because the first request was carried out.
                Ok(_) => Err(fault.errno(op).expect("a lost reply becomes an error")),
                refused => refused,
            },
            _ => Err(fault.errno(op).expect("every other fault is an error")),
        }
    }

    /// Breaks a rule where a call does what the reductions rely on not being done: it changes a file that is said to
    /// stay, or uses another's temporary file for more than sweeping it.
    fn keep_contract(&mut self, process: usize, op: &Op) {
        let (paths, fd) = match op {
            Op::Rename(from, to) | Op::Link(from, to) => ([Some(from), Some(to)], None),
            Op::Publish(fd, path) => ([Some(path), None], Some(fd)),
            Op::Unlink(path) | Op::Open(path, _) | Op::Stat(path) | Op::Holders(path) => {
                ([Some(path), None], None)
            }
            Op::Write(fd, _)
            | Op::WriteAt(fd, ..)
            | Op::WriteRest(fd, ..)
            | Op::Truncate(fd, _)
            | Op::Touch(fd)
            | Op::SetMode(fd, _)
            | Op::SetOwner(fd, ..)
            | Op::SetAttribute(fd, ..)
            | Op::RemoveAttribute(fd, _) => ([None, None], Some(fd)),
            _ => return,
        };
        let looks = matches!(op, Op::Open(..) | Op::Stat(_) | Op::Holders(_));
        let fd = fd.map(|fd| self.file(process, *fd).slot);
        let is_changed = |stable: &&std::path::PathBuf| {
            !looks
                && (paths.contains(&Some(*stable)) || (fd.is_some() && fd == self.fs.existing(stable).ok()))
        };
        let changed = self.stable.iter().find(is_changed);
        let is_anothers = |path: &&&std::path::PathBuf| {
            let scratch = path.file_name().is_some_and(is_scratch);
            scratch && self.fs.existing(path).is_ok_and(|slot| self.fs.at(slot).maker != process)
        };
        let anothers = paths.iter().flatten().find(is_anothers).filter(|_| !matches!(op, Op::Unlink(_)));
        let rule = match (changed, anothers) {
            _ if self.is_late_in_place(process, op) => {
                format!("P{process} gives a finished file a name whose file is written in place")
            }
            (Some(path), _) => {
                format!("the scenario says that {} stays, but it was changed", path.display())
            }
            (_, Some(path)) => format!("P{process} uses {}, the temporary file of another", path.display()),
            (None, None) => return,
        };
        self.check.break_rule(rule);
    }

    /// Whether a file that others may have taken for one that nobody writes and watches becomes one that is written in place.
    fn is_late_in_place(&self, process: usize, op: &Op) -> bool {
        let in_place = |path: &Path| path.file_name().is_some_and(|name| self.fs.is_written_in_place(name));
        match op {
            Op::Rename(from, to) | Op::Link(from, to) => {
                in_place(to) && !in_place(from) && !from.file_name().is_some_and(is_scratch)
            }
            Op::Publish(fd, to) => {
                let inode = self.fs.at(self.file(process, *fd).slot);
                in_place(to) && !inode.in_place && inode.links > 0
            }
            _ => false,
        }
    }

    /// Whether a file is one that the scenario says stays.
    pub fn is_stable_file(&self, slot: Slot) -> bool {
        self.stable.iter().any(|stable| self.fs.existing(stable) == Ok(slot))
    }

    /// Whether the scenario says that the name always means the same file.
    pub fn is_stable(&self, path: &Path) -> bool {
        self.stable.iter().any(|stable| stable == path)
    }

    /// Executes a call.
    pub fn execute(&mut self, process: usize, op: &Op) -> Reply {
        self.keep_contract(process, op);
        match op {
            Op::Open(path, how) => self.open(process, path, *how),
            Op::Read(fd, most) => {
                let file = self.file(process, *fd);
                let bytes = self.content(file.slot, file.position, *most)?;
                self.open_file(process, *fd).position += bytes.len();
                Ok(Value::Bytes(bytes))
            }
            Op::Write(fd, bytes) => {
                let slot = self.writable(process, *fd).ok_or(Errno::BADF)?;
                let position = self.file(process, *fd).position;
                self.edit(process, slot, Edit::Write(position, bytes.clone()));
                self.emit_write(process, slot);
                self.open_file(process, *fd).position += bytes.len();
                Ok(Value::Count(bytes.len()))
            }
            Op::ReadAt(fd, offset, most) => {
                Ok(Value::Bytes(self.content(self.file(process, *fd).slot, at(*offset), *most)?))
            }
            Op::WriteAt(fd, offset, bytes) => {
                let slot = self.writable(process, *fd).ok_or(Errno::BADF)?;
                let begun = half(bytes.len());
                self.edit(process, slot, Edit::WriteAt(at(*offset), bytes[..begun].to_vec()));
                if begun < bytes.len() {
                    return Ok(Value::Begun);
                }
                self.emit_write(process, slot);
                Ok(Value::Count(bytes.len()))
            }
            Op::WriteRest(fd, offset, bytes) => {
                let slot = self.file(process, *fd).slot;
                self.fs.write_rest(slot, at(*offset), bytes);
                self.emit_write(process, slot);
                Ok(Value::Count(bytes.len()))
            }
            Op::Truncate(fd, size) => {
                let slot = self.writable(process, *fd).ok_or(Errno::INVAL)?;
                self.edit(process, slot, Edit::Truncate(at(*size)));
                self.emit_write(process, slot);
                Ok(Value::Nothing)
            }
            Op::Fsync(fd) | Op::SyncData(fd) => {
                if std::mem::take(&mut self.open_file(process, *fd).owed) {
                    return Err(Errno::IO);
                }
                let slot = self.file(process, *fd).slot;
                if self.fs.durable {
                    self.fs.sync(slot);
                }
                Ok(Value::Nothing)
            }
            Op::CloseEvent(fd) => {
                let slot = self.file(process, *fd).slot;
                self.emit(process, slot);
                Ok(Value::Nothing)
            }
            Op::Close(fd) => {
                let file = self.processes[process].files[*fd].take().expect("closed once");
                while matches!(self.processes[process].files.last(), Some(None)) {
                    self.processes[process].files.pop();
                }
                self.fs.at_mut(file.slot).opens -= 1;
                self.fs.forget_unused(file.slot);
                Ok(Value::Nothing)
            }
            Op::StatFile(fd) => Ok(Value::Stat(self.fs.stat(self.file(process, *fd).slot))),
            Op::Id(fd) => Ok(Value::Id(self.fs.stat(self.file(process, *fd).slot).id)),
            Op::Stat(path) => Ok(Value::Stat(self.fs.stat(self.fs.existing(path)?))),
            Op::ReadLink(path) => {
                let inode = self.fs.at(self.fs.existing(path)?);
                match inode.kind {
                    FileKind::Symlink => Ok(Value::Path(inode.target.clone())),
                    _ => Err(Errno::INVAL),
                }
            }
            Op::SetMode(fd, mode) => self.set(process, *fd, |inode| inode.mode = *mode & 0o7777),
            Op::SetOwner(fd, uid, gid) => self.set(process, *fd, |inode| inode.owner = (*uid, *gid)),
            Op::Attributes(fd) => {
                Ok(Value::Attributes(self.fs.at(self.file(process, *fd).slot).attributes.clone()))
            }
            Op::SetAttribute(fd, name, value) => self.set(process, *fd, |inode| {
                inode.attributes.retain(|(other, _)| other != name);
                inode.attributes.push((name.clone(), value.clone()));
                inode.attributes.sort();
            }),
            Op::RemoveAttribute(fd, name) => {
                let slot = self.file(process, *fd).slot;
                if !self.fs.at(slot).attributes.iter().any(|(other, _)| other == name) {
                    return Err(Errno::NODATA);
                }
                self.set(process, *fd, |inode| inode.attributes.retain(|(other, _)| other != name))
            }
            Op::Rename(from, to) => {
                let robbed = self.robbed_at(process, to);
                let replaced = self.fs.existing(to).ok();
                let moved = self.fs.existing(from)?;
                for touched in [Some(moved), replaced].into_iter().flatten() {
                    self.emit(process, touched);
                }
                self.fs.rename(from, to)?;
                self.rob(process, robbed);
                Ok(Value::Nothing)
            }
            Op::Publish(fd, path) => {
                let (slot, place) = (self.file(process, *fd).slot, self.fs.place(path)?);
                self.fs.enter(&place, slot)?;
                self.fs.seal(slot, &place.name);
                self.emit(process, slot);
                Ok(Value::Nothing)
            }
            Op::Link(from, to) => {
                let (slot, place) = (self.fs.existing(from)?, self.fs.place(to)?);
                self.fs.enter(&place, slot)?;
                self.fs.seal(slot, &place.name);
                self.emit(process, slot);
                Ok(Value::Nothing)
            }
            Op::Touch(fd) => {
                let now = self.fs.now_ns;
                self.set(process, *fd, |inode| inode.modified_ns = now)
            }
            Op::Unlink(path) => {
                let robbed = self.robbed_at(process, path);
                let watched = self.fs.existing(path)?;
                self.emit(process, watched);
                let removed = self.fs.at(self.fs.existing(path)?).maker;
                self.fs.remove(path)?;
                if self.check.breaker == Some(process) && self.check.lock_file.as_ref() == Some(path) {
                    self.check.forced = Some(removed);
                }
                self.rob(process, robbed);
                Ok(Value::Nothing)
            }
            Op::List(path, prefix) => {
                let inode = self.fs.at(self.fs.existing(path)?);
                if inode.kind != FileKind::Directory {
                    return Err(Errno::NOTDIR);
                }
                let prefix = prefix.as_encoded_bytes();
                let names = inode.entries.iter().map(|(name, _)| name.clone());
                let found = names.filter(|name| name.as_encoded_bytes().starts_with(prefix));
                Ok(Value::Names(found.collect()))
            }
            Op::TryFlock(fd, mode) => {
                let free = !self.conflicts(process, *fd, *mode);
                if free {
                    self.open_file(process, *fd).lock = Some(*mode);
                }
                Ok(Value::Yes(free))
            }
            Op::Unlock(fd) => {
                self.open_file(process, *fd).lock = None;
                Ok(Value::Nothing)
            }
            Op::Holders(path) => {
                let slot = self.fs.existing(path)?;
                let holders = self.processes.iter().flat_map(|process| {
                    let files = process.files.iter().flatten().filter(|file| file.slot == slot);
                    files.filter_map(|file| Some((process.pid, file.lock? == Mode::Exclusive)))
                });
                Ok(Value::Holders(holders.collect()))
            }
            Op::IsLocal(_) => Ok(Value::Yes(self.local_fs)),
            Op::Process(pid) => Ok(Value::Process(match self.living(process, *pid) {
                Some(other) => Seen::Running { started: Some(self.processes[other].started) },
                None => Seen::Gone,
            })),
            Op::Now => Ok(Value::Moment(self.now(process))),
            // The thread goes on at once with its step, which others can't come between.
            Op::Local => Ok(Value::Shared(self.view(process))),
            Op::Watch(waiter, fd, writes) => {
                let slot = self.file(process, *fd).slot;
                let serial = self.fs.at(slot).serial;
                let is_known = self.fs.at(slot).in_place || (!writes && !self.watches_stable_only);
                if !is_known && (*writes || !self.is_stable_file(slot)) {
                    self.check.break_rule(format!("P{process} watches what the scenario says nobody does"));
                }
                let waiter = self.waiter(process, *waiter);
                (waiter.watched, waiter.process, waiter.writes) = (Some((slot, serial)), None, *writes);
                Ok(Value::Yes(true))
            }
            Op::WatchEnd(waiter, pid) => {
                let found = self.living(process, *pid).map(|found| self.main_thread(found));
                self.waiter(process, *waiter).process = found;
                Ok(Value::Yes(found.is_some()))
            }
            Op::Wait(number, _) => {
                let waiter = self.waiter(process, *number);
                Ok(Value::Woken(if std::mem::take(&mut waiter.changed) {
                    Woken::Changed
                } else if std::mem::take(&mut waiter.called) {
                    Woken::Called
                } else {
                    Woken::TimedOut
                }))
            }
            Op::Ask(question) => self.ask(process, question).map(Value::Told).ok_or(Errno::IO),
            Op::Answer => Ok(Value::Nothing),
            Op::Nature(nature) => Ok(Value::Yes(self.befall(*nature))),
            Op::Fenced(step) => Ok(Value::Yes(self.fenced(process, *step))),
            Op::Note(note) => {
                self.take_note(process, *note);
                Ok(Value::Nothing)
            }
            Op::Exit => {
                self.end(process, Life::Ended);
                Ok(Value::Nothing)
            }
        }
    }

    fn take_note(&mut self, process: usize, note: Note) {
        if matches!(note, Note::Enter(_)) && self.check.breaker.is_some() && !self.made_lock_file(process) {
            // Robbed by force before it could even say that it holds the lock.
            return;
        }
        let tells_of_holding =
            matches!(note, Note::Enter(_) | Note::Extend(_) | Note::StillHeld | Note::Believes);
        if tells_of_holding && self.leases.refused.contains(&process) {
            self.check.break_rule(format!("P{process} holds what the store has told it that it lost"));
        }
        if tells_of_holding && self.leases.is_forced(process) {
            // Whoever was robbed of a lease by force may take it for its own until it asks the store.
            return;
        }
        let clocks: Vec<_> = (0..self.processes.len()).map(|process| self.now(process)).collect();
        self.check.note(process, note, |process| clocks[process]);
    }

    fn open_file(&mut self, process: usize, fd: Fd) -> &mut Description {
        self.processes[process].files[fd].as_mut().expect("a descriptor that is open")
    }

    /// The inode, if the descriptor was opened for writing.
    fn writable(&self, process: usize, fd: Fd) -> Option<Slot> {
        let file = self.file(process, fd);
        file.writable.then_some(file.slot)
    }

    fn content(&self, slot: Slot, offset: usize, most: usize) -> Result<Vec<u8>, Errno> {
        let inode = self.fs.at(slot);
        if inode.kind == FileKind::Directory {
            return Err(Errno::ISDIR);
        }
        let rest = inode.data.get(offset..).unwrap_or_default();
        Ok(rest[..rest.len().min(most)].to_vec())
    }

    fn edit(&mut self, process: usize, slot: Slot, edit: Edit) {
        if self.fs.at(slot).sealed {
            self.check.break_rule(format!(
                "P{process} writes into a file that others read, and that the scenario does not say is written in place"
            ));
        }
        self.fs.edit(slot, edit);
    }

    /// A sync that fails: every other description that is open now hears of it once, too.
    fn fail_sync(&mut self, process: usize, fd: Fd) {
        if !self.fs.durable {
            return;
        }
        let slot = self.file(process, fd).slot;
        if self.fs.at(slot).kind != FileKind::Regular || self.is_stable_file(slot) {
            return;
        }
        self.fs.fail_sync(slot);
        let files = self.processes.iter_mut().flat_map(|other| &mut other.files).flatten();
        files.filter(|file| file.slot == slot).for_each(|file| file.owed = true);
        self.open_file(process, fd).owed = false;
    }

    fn open(&mut self, process: usize, path: &Path, how: Open) -> Reply {
        let place = self.fs.place(path)?;
        let slot = match (how, place.slot) {
            (Open::New { .. }, Some(_)) => return Err(Errno::EXIST),
            (Open::New { mode }, None) => {
                let slot = self.fs.make(process, FileKind::Regular, mode & 0o7777);
                self.fs.enter(&place, slot)?;
                slot
            }
            (Open::Unnamed, Some(_)) if !self.unnamed => return Err(Errno::NOTSUP),
            (Open::Unnamed, Some(_)) => self.fs.make(process, FileKind::Regular, 0o600),
            (_, None) => return Err(Errno::NOENT),
            (_, Some(slot)) => slot,
        };
        match (self.fs.at(slot).kind, how) {
            (FileKind::Symlink, _) => return Err(Errno::LOOP),
            (FileKind::Directory, Open::ReadWrite) => return Err(Errno::ISDIR),
            _ => {}
        }
        self.fs.at_mut(slot).opens += 1;
        let file = Description { slot, position: 0, writable: how != Open::Read, lock: None, owed: false };
        let files = &mut self.processes[process].files;
        let fd = files.iter().position(Option::is_none).unwrap_or(files.len());
        if fd == files.len() {
            files.push(None);
        }
        files[fd] = Some(file);
        Ok(Value::File(fd))
    }

    fn set(&mut self, process: usize, fd: Fd, change: impl FnOnce(&mut super::fs::Inode)) -> Reply {
        let (slot, now) = (self.file(process, fd).slot, self.fs.now_ns);
        let inode = self.fs.at_mut(slot);
        change(inode);
        inode.changed_ns = now;
        self.emit(process, slot);
        Ok(Value::Nothing)
    }

    /// The living process that this number means to `process`.
    fn living(&self, process: usize, pid: u32) -> Option<usize> {
        let place = |process: &super::Process| (process.machine, process.namespace);
        let here = place(&self.processes[process]);
        self.processes
            .iter()
            .position(|other| other.pid == pid && other.life == Life::Alive && place(other) == here)
    }

    /// Another process that holds the lock by the lock file at this path.
    fn robbed_at(&self, process: usize, path: &Path) -> Option<usize> {
        if self.check.lock_file.as_deref() != Some(path) {
            return None;
        }
        let slot: Slot = self.fs.existing(path).ok()?;
        let owner = self.fs.at(slot).maker;
        let other = owner != process && owner < self.processes.len();
        (other && self.check.holds(owner, self.now(owner))).then_some(owner)
    }

    /// Whether the lock file that is there is this process's.
    fn made_lock_file(&self, process: usize) -> bool {
        let slot = self.check.lock_file.as_ref().and_then(|path| self.fs.existing(path).ok());
        slot.is_some_and(|slot| self.fs.at(slot).maker == process)
    }

    /// Takes note that a process took away another's lock file.
    fn rob(&mut self, process: usize, robbed: Option<usize>) {
        match robbed {
            // Whoever is robbed by force, on a person's word, holds nothing any more.
            Some(owner) if self.check.breaker == Some(process) => self.check.left(owner),
            Some(owner) => {
                let rule = format!("P{process} took the lock file of P{owner}, which holds the lock");
                self.check.break_rule(rule);
            }
            None => {}
        }
    }
}
