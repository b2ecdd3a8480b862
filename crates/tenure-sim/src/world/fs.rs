//! The simulated file system: directories, inodes with several names, open descriptions, and what of it is on the disk.
//!
//! Inode numbers are reused as early as can be: the one that was freed last is given first (ext4 gives the lowest one that
//! is free, often the same). That makes every creation depend on every deletion, so a setting may leave it out.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use tenure::host::{Errno, FileId, FileKind, Stat};

/// Which inode; stays the same while the inode exists, whatever its number is.
pub type Slot = usize;

/// The device number of the one file system.
const DEVICE: u64 = 1;

/// The directory that every path starts from.
pub const ROOT: Slot = 0;

/// More than one process makes in a run, so that no number is given twice while its file is there.
const NUMBERS: u64 = 10_000;

/// What a directory says: names in order.
pub type Entries = Vec<(OsString, Slot)>;

/// A change of a directory that is not yet on the disk, whole or not at all: names, and what they then mean.
pub type DirectoryChange = Vec<(OsString, Option<Slot>)>;

/// A file, directory or symbolic link.
#[derive(Clone, Debug, Hash)]
pub struct Inode {
    /// The number that stat shows.
    pub number: u64,
    /// Tells it from every other that had its slot before; no process sees it.
    pub serial: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Number of names.
    pub links: u64,
    /// Content of a file.
    pub data: Vec<u8>,
    /// Content of a symbolic link.
    pub target: PathBuf,
    /// Content of a directory, sorted.
    pub entries: Entries,
    /// Extended attributes.
    pub attributes: Vec<(OsString, Vec<u8>)>,
    /// Last change of the content, by the server's clock.
    pub modified_ns: i128,
    /// Last change of anything.
    pub changed_ns: i128,
    /// How many descriptors are open.
    pub opens: usize,
    /// Whether it was put in place when it was finished: its content does not change any more.
    pub sealed: bool,
    /// Whether it ever had a name whose file is written in place: then it is never sealed.
    pub in_place: bool,
    /// Which process made it.
    pub maker: usize,
    /// What is on the disk; kept only where the power can go.
    pub disk: Disk,
}

/// What a power loss would leave, and what it might.
#[derive(Clone, Debug, Default, Hash)]
pub struct Disk {
    /// Content at the last fsync.
    pub data: Vec<u8>,
    /// Names at the last fsync of the directory.
    pub entries: Entries,
    /// Changes of the content since, in order.
    pub writes: Vec<Pending>,
    /// Changes of names since, with the moment of each in the order of all directories' changes.
    pub changes: Vec<(u64, DirectoryChange)>,
}

/// A change of a file's content that is not surely on the disk.
#[derive(Clone, Debug, Hash)]
pub struct Pending {
    /// The change.
    pub edit: Edit,
    /// What became of it.
    pub state: Synced,
}

/// A change of a file's content.
#[derive(Clone, Debug, Hash)]
pub enum Edit {
    /// Bytes at an offset, behind what was written before.
    Write(usize, Vec<u8>),
    /// Bytes anywhere, of which any block may reach the disk without the others.
    WriteAt(usize, Vec<u8>),
    /// A new size.
    Truncate(usize),
    /// This size at least: room that was made for bytes which did not come.
    Room(usize),
}

/// What became of a change of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Synced {
    /// No sync was tried yet.
    NotYet,
    /// A sync failed: the kernel takes it for written, so that no later sync writes it.
    Failed,
    /// It is on the disk, on top of something that may not be.
    Yes,
}

/// The file system of one server.
#[derive(Clone, Debug, Default)]
pub struct Fs {
    inodes: Vec<Option<Inode>>,
    freed: Vec<u64>,
    made: Vec<u64>,
    changes: u64,
    serials: u64,
    /// Whether freed numbers are given again.
    pub reuse: bool,
    /// Whether the disk is tracked; then no inode is forgotten, since the disk may still name it.
    pub durable: bool,
    /// The server's clock.
    pub now_ns: i128,
    /// What the names begin with whose files are written in place.
    pub in_place: Vec<String>,
}

/// Where a path leads: the directory, the last name, and what stands there.
pub struct Place {
    /// The directory.
    pub directory: Slot,
    /// The last name; empty if the path means the directory itself.
    pub name: OsString,
    /// What it means, if anything.
    pub slot: Option<Slot>,
}

impl Fs {
    /// A file system with nothing but its root.
    pub fn new(reuse: bool, durable: bool) -> Fs {
        let mut fs = Fs { reuse, durable, now_ns: 1_000_000_001, ..Fs::default() };
        fs.create_inode(0, FileKind::Directory, 0o755);
        fs.at_mut(ROOT).links = 1;
        fs
    }

    /// The inode in a slot.
    pub fn at(&self, slot: Slot) -> &Inode {
        self.inodes[slot].as_ref().expect("a slot in use")
    }

    /// Whether the slot still has the inode that it had.
    pub fn is_still(&self, slot: Slot, serial: u64) -> bool {
        self.inodes[slot].as_ref().is_some_and(|inode| inode.serial == serial)
    }

    /// The inode in a slot.
    pub fn at_mut(&mut self, slot: Slot) -> &mut Inode {
        self.inodes[slot].as_mut().expect("a slot in use")
    }

    /// The numbers that were others', in the order of their release: the last is given next.
    pub fn freed(&self) -> &[u64] {
        &self.freed
    }

    fn create_inode(&mut self, maker: usize, kind: FileKind, mode: u32) -> Slot {
        let number = self.freed.pop().unwrap_or_else(|| {
            self.made.resize(self.made.len().max(maker + 1), 0);
            self.made[maker] += 1;
            (maker as u64 + 1) * NUMBERS + self.made[maker]
        });
        self.serials += 1;
        let inode = Inode {
            number,
            serial: self.serials,
            kind,
            mode,
            owner: (1000, 1000),
            links: 0,
            data: Vec::new(),
            target: PathBuf::new(),
            entries: Vec::new(),
            attributes: Vec::new(),
            modified_ns: self.now_ns,
            changed_ns: self.now_ns,
            opens: 0,
            sealed: false,
            in_place: false,
            maker,
            disk: Disk::default(),
        };
        let free = self.inodes.iter().position(Option::is_none).unwrap_or(self.inodes.len());
        if free == self.inodes.len() {
            self.inodes.push(None);
        }
        self.inodes[free] = Some(inode);
        free
    }

    /// Finds what a path means, without following a link in its last component.
    pub fn place(&self, path: &Path) -> Result<Place, Errno> {
        let mut place = Place { directory: ROOT, name: OsString::new(), slot: Some(ROOT) };
        for component in path.components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
            };
            let directory = place.slot.ok_or(Errno::NOENT)?;
            if self.at(directory).kind != FileKind::Directory {
                return Err(Errno::NOTDIR);
            }
            place = Place { directory, name: name.to_owned(), slot: self.find(directory, name) };
        }
        Ok(place)
    }

    fn find(&self, directory: Slot, name: &OsStr) -> Option<Slot> {
        let entries = &self.at(directory).entries;
        let found = entries.binary_search_by(|(entry, _)| entry.as_os_str().cmp(name)).ok()?;
        Some(entries[found].1)
    }

    /// What stands at a path.
    pub fn existing(&self, path: &Path) -> Result<Slot, Errno> {
        self.place(path)?.slot.ok_or(Errno::NOENT)
    }

    /// Makes names mean other inodes, in one step.
    fn change(&mut self, directory: Slot, change: DirectoryChange) {
        for (name, slot) in &change {
            let entries = &mut self.at_mut(directory).entries;
            match (entries.binary_search_by(|(entry, _)| entry.cmp(name)), slot) {
                (Ok(found), Some(slot)) => entries[found].1 = *slot,
                (Ok(found), None) => drop(entries.remove(found)),
                (Err(place), Some(slot)) => entries.insert(place, (name.clone(), *slot)),
                (Err(_), None) => {}
            }
            if let Some(slot) = slot
                && self.is_written_in_place(name)
            {
                self.at_mut(*slot).in_place = true;
            }
        }
        if self.durable {
            self.changes += 1;
            let at = self.changes;
            self.at_mut(directory).disk.changes.push((at, change));
        }
    }

    fn relink(&mut self, slot: Slot, difference: i64) {
        let now = self.now_ns;
        let inode = self.at_mut(slot);
        inode.links = inode.links.checked_add_signed(difference).expect("names are counted");
        inode.changed_ns = now;
        self.forget_unused(slot);
    }

    /// Frees an inode without names and descriptors.
    pub fn forget_unused(&mut self, slot: Slot) {
        let inode = self.at(slot);
        if inode.links > 0 || inode.opens > 0 || self.durable {
            return;
        }
        let number = inode.number;
        self.inodes[slot] = None;
        if self.reuse {
            self.freed.push(number);
        }
    }

    /// Creates a file, directory or link that has no name yet.
    pub fn make(&mut self, maker: usize, kind: FileKind, mode: u32) -> Slot {
        self.create_inode(maker, kind, mode)
    }

    /// Takes note that a file was finished before it got this name.
    pub fn seal(&mut self, slot: Slot, name: &OsStr) {
        let inode = self.at_mut(slot);
        inode.sealed |= !inode.in_place && !is_scratch(name);
    }

    /// Whether the scenario says that the file of this name is written in place.
    pub fn is_written_in_place(&self, name: &OsStr) -> bool {
        self.in_place.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    }

    /// Gives an inode a name that is free.
    pub fn enter(&mut self, place: &Place, slot: Slot) -> Result<(), Errno> {
        if place.slot.is_some() {
            return Err(Errno::EXIST);
        }
        self.change(place.directory, vec![(place.name.clone(), Some(slot))]);
        self.relink(slot, 1);
        Ok(())
    }

    /// unlink(2).
    pub fn remove(&mut self, path: &Path) -> Result<Slot, Errno> {
        let place = self.place(path)?;
        let slot = place.slot.ok_or(Errno::NOENT)?;
        if self.at(slot).kind == FileKind::Directory {
            return Err(Errno::ISDIR);
        }
        self.change(place.directory, vec![(place.name, None)]);
        self.relink(slot, -1);
        Ok(slot)
    }

    /// rename(2) within one directory, the only kind that the protocols use.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Errno> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let slot = from.slot.ok_or(Errno::NOENT)?;
        if from.directory != to.directory {
            return Err(Errno::XDEV);
        }
        if to.slot == Some(slot) {
            return Ok(());
        }
        self.change(from.directory, vec![(from.name, None), (to.name.clone(), Some(slot))]);
        self.seal(slot, &to.name);
        let now = self.now_ns;
        self.at_mut(slot).changed_ns = now;
        if let Some(replaced) = to.slot {
            self.relink(replaced, -1);
        }
        Ok(())
    }

    /// Writes at an offset.
    pub fn write(&mut self, slot: Slot, offset: usize, bytes: &[u8]) {
        self.edit(slot, Edit::Write(offset, bytes.to_vec()));
    }

    /// Changes a file's content.
    pub fn edit(&mut self, slot: Slot, edit: Edit) {
        let (now, durable) = (self.now_ns, self.durable);
        let inode = self.at_mut(slot);
        edit.apply(&mut inode.data);
        (inode.modified_ns, inode.changed_ns) = (now, now);
        if durable {
            inode.disk.writes.push(Pending { edit, state: Synced::NotYet });
        }
    }

    /// Writes the second half of these bytes, the first of which is written. To the disk they are one write, unless
    /// something came between.
    pub fn write_rest(&mut self, slot: Slot, offset: usize, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(half(bytes.len()));
        self.edit(slot, Edit::WriteAt(offset + first.len(), rest.to_vec()));
        let writes = &mut self.at_mut(slot).disk.writes;
        if let [.., Pending { edit: Edit::WriteAt(start, begun), state: Synced::NotYet }, _] = &mut writes[..]
            && *start == offset
            && begun == first
        {
            begun.extend_from_slice(rest);
            writes.pop();
        }
    }

    /// fsync(2) of a file's content or a directory's names.
    pub fn sync(&mut self, slot: Slot) {
        let inode = self.at_mut(slot);
        inode.disk.entries.clone_from(&inode.entries);
        inode.disk.changes.clear();
        for write in inode.disk.writes.iter_mut().filter(|write| write.state == Synced::NotYet) {
            write.state = Synced::Yes;
        }
        let done = inode.disk.writes.iter().take_while(|write| write.state == Synced::Yes).count();
        for write in inode.disk.writes.drain(..done) {
            write.edit.apply(&mut inode.disk.data);
        }
    }

    /// A sync of a file's content that failed: what was written since the last one may be on the disk or not, and no later
    /// sync changes that.
    pub fn fail_sync(&mut self, slot: Slot) {
        for write in &mut self.at_mut(slot).disk.writes {
            if write.state == Synced::NotYet {
                write.state = Synced::Failed;
            }
        }
    }

    /// The slots of all inodes.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..self.inodes.len()).filter(|slot| self.inodes[*slot].is_some())
    }

    /// What stat shows.
    pub fn stat(&self, slot: Slot) -> Stat {
        let inode = self.at(slot);
        Stat {
            id: FileId { device: DEVICE, inode: inode.number },
            kind: inode.kind,
            mode: inode.mode,
            uid: inode.owner.0,
            gid: inode.owner.1,
            links: inode.links,
            size: inode.data.len() as u64,
            modified_ns: inode.modified_ns,
            changed_ns: inode.changed_ns,
        }
    }
}

/// Whether a name is one that its maker alone opens: others may list it and unlink it, no more.
pub fn is_scratch(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(b".tenure-tmp")
}

/// How much of so many bytes is written by a write that stops in the middle.
pub fn half(bytes: usize) -> usize {
    bytes.div_ceil(2)
}

impl Edit {
    /// Changes the content.
    pub fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Edit::Write(offset, bytes) | Edit::WriteAt(offset, bytes) => put(data, *offset, bytes),
            Edit::Truncate(size) => data.resize(*size, 0),
            Edit::Room(size) => data.resize(data.len().max(*size), 0),
        }
    }

    /// Everything that may be on the disk of it, besides nothing at all.
    pub fn parts(&self) -> Vec<Edit> {
        let mut parts = vec![self.clone()];
        if let Edit::Write(offset, bytes) | Edit::WriteAt(offset, bytes) = self {
            let half = bytes.len() / 2;
            parts.push(Edit::Write(*offset, bytes[..half].to_vec()));
            parts.push(Edit::Room(offset + bytes.len()));
            if matches!(self, Edit::WriteAt(..)) {
                parts.push(Edit::Write(offset + half, bytes[half..].to_vec()));
            }
        }
        parts
    }
}

/// Writes into a growing buffer.
pub fn put(data: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if data.len() < end {
        data.resize(end, 0);
    }
    data[offset..end].copy_from_slice(bytes);
}
