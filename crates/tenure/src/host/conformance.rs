//! What every host must do, as cases that run on any of them.
//!
//! The protocols are proved on what these cases state; a host that passes them may carry the protocols.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a case fails")]

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::{Errno, FileKind, Host, Mode, Open, Process, Woken};

/// A case: what it states, and the code that checks it in an empty directory of its own.
pub type Case<H> = (&'static str, fn(&H, &Path));

/// All cases. Each wants a fresh, empty directory on a file system with hard links and `flock`.
pub fn cases<H: Host>() -> Vec<Case<H>> {
    vec![
        ("a new file is created once", created_once),
        ("a symbolic link is reported, read and never opened", links_are_not_followed),
        ("bytes come back as written, and the end is zero", bytes_come_back),
        ("reads and writes at an offset leave the position, and a file can be cut", offsets_and_cuts),
        ("rename replaces in one step and keeps the inode", rename_replaces),
        ("an unnamed file gets its name once, complete", unnamed_is_published),
        ("a link is a further name, and replaces nothing", links_are_names),
        ("touch sets the times to the file system's now", touch_tells_the_time),
        ("a process is recognised, and one that never was is gone", processes_are_recognised),
        ("an unlinked file lives while it is open", unlinked_lives),
        ("list gives the names with the prefix", list_gives_names),
        ("modes are set exactly", modes_are_exact),
        ("attributes come back, if there are any", attributes_come_back),
        ("an exclusive lock excludes every other description", exclusive_excludes),
        ("shared locks admit each other and keep writers out", shared_admit),
        ("closing a description releases its lock", closing_releases),
        ("a lock belongs to the inode, not to the path", lock_follows_inode),
        ("a directory can be locked and synced", directory_works),
        ("the close of another description ends a wait", close_wakes),
        ("a wait for a lock ends with it, and a change that frees nothing is told", changes_are_answered),
        ("opening, trying and unlocking emit nothing", quiet_calls),
        ("a write ends the wait of who asked for writes, and of nobody else", writes_wake),
        ("replacing the watched file ends a wait", replacing_wakes),
        ("a change between watch and wait counts", change_before_wait_counts),
        ("a waker called before the wait counts, once", waker_counts),
        ("the end of a process can be watched", ends_are_watched),
        ("a wait ends at its moment and not before", waits_end),
        ("holders are found and nobody is disturbed", holders_are_found),
        ("random numbers differ and the clock runs forward", random_and_clock),
    ]
}

const NEW: Open = Open::New { mode: 0o600 };
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

fn create<H: Host>(host: &H, path: &Path) -> H::File {
    host.open(path, NEW).expect("the directory is empty")
}

fn open<H: Host>(host: &H, path: &Path) -> H::File {
    host.open(path, Open::Read).expect("the file exists")
}

fn created_once<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    assert_eq!(host.open(&path, Open::Read).err(), Some(Errno::NOENT));
    assert_eq!(host.stat(&path).err(), Some(Errno::NOENT));
    assert_eq!(host.unlink(&path).err(), Some(Errno::NOENT));
    let file = create(host, &path);
    assert_eq!(host.open(&path, NEW).err(), Some(Errno::EXIST));
    let (by_file, by_path) = (host.stat_file(&file).unwrap(), host.stat(&path).unwrap());
    assert_eq!(by_file, by_path);
    assert_eq!((by_file.kind, by_file.links, by_file.size), (FileKind::Regular, 1, 0));
    assert_eq!(host.open(&dir.join("none/f"), NEW).err(), Some(Errno::NOENT));
    assert_eq!(host.open(&path.join("below"), Open::Read).err(), Some(Errno::NOTDIR));
}

fn links_are_not_followed<H: Host>(host: &H, dir: &Path) {
    // The suite cannot make a link through the host: the test's own directory brings one along if it can.
    let link = dir.join("link");
    if host.stat(&link).is_ok_and(|stat| stat.kind == FileKind::Symlink) {
        assert_eq!(host.open(&link, Open::Read).err(), Some(Errno::LOOP));
        assert_eq!(host.open(&link, NEW).err(), Some(Errno::EXIST));
        assert_eq!(host.read_link(&link).unwrap(), Path::new("target"));
    }
    let file = dir.join("f");
    create(host, &file);
    assert_eq!(host.read_link(&file).err(), Some(Errno::INVAL));
}

fn bytes_come_back<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let file = create(host, &path);
    for part in [&b"one "[..], b"two"] {
        assert_eq!(host.write(&file, part), Ok(part.len()));
    }
    assert_eq!(host.stat_file(&file).unwrap().size, 7);
    host.fsync(&file).unwrap();
    host.close(file).unwrap();
    let (file, mut buffer) = (open(host, &path), [0; 16]);
    assert_eq!(host.read(&file, &mut buffer), Ok(7));
    assert_eq!(&buffer[..7], b"one two");
    assert_eq!(host.read(&file, &mut buffer), Ok(0));
    assert_eq!(host.write(&file, b"x"), Err(Errno::BADF), "opened for reading");
}

fn offsets_and_cuts<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let (file, mut buffer) = (create(host, &path), [0; 16]);
    assert_eq!(host.write_at(&file, 0, b"one two"), Ok(7));
    assert_eq!(host.write_at(&file, 4, b"2"), Ok(1));
    assert_eq!(host.read_at(&file, 4, &mut buffer[..2]), Ok(2));
    assert_eq!(&buffer[..2], b"2w");
    assert_eq!(host.read(&file, &mut buffer), Ok(7), "from the beginning");
    assert_eq!(&buffer[..7], b"one 2wo");
    host.sync_data(&file).unwrap();
    host.truncate(&file, 3).unwrap();
    assert_eq!(host.read_at(&file, 0, &mut buffer), Ok(3));
    for behind in [3, 9] {
        assert_eq!(host.read_at(&file, behind, &mut buffer), Ok(0));
    }
    assert_eq!(host.stat(&path).unwrap().size, 3);
    assert_eq!(host.write_at(&file, 5, b"x"), Ok(1));
    assert_eq!(host.read_at(&file, 0, &mut buffer), Ok(6));
    assert_eq!(&buffer[..6], b"one\0\0x", "what was never written is zero");
    assert_eq!(host.truncate(&open(host, &path), 0), Err(Errno::INVAL), "opened for reading");
}

fn rename_replaces<H: Host>(host: &H, dir: &Path) {
    let (old, new) = (dir.join("old"), dir.join("new"));
    create(host, &old);
    let file = create(host, &new);
    let id = host.stat_file(&file).unwrap().id;
    host.rename(&new, &old).unwrap();
    assert_eq!(host.stat(&old).unwrap().id, id);
    assert_eq!(host.stat(&new).err(), Some(Errno::NOENT));
    assert_eq!(host.rename(&new, &old).err(), Some(Errno::NOENT));
}

fn unnamed_is_published<H: Host>(host: &H, dir: &Path) {
    let file = match host.open(dir, Open::Unnamed) {
        Err(Errno::NOTSUP | Errno::ISDIR) => return,
        file => file.unwrap(),
    };
    assert_eq!(host.write(&file, b"whole"), Ok(5));
    host.set_mode(&file, 0o640).unwrap();
    assert!(host.list(dir, OsStr::new("f")).unwrap().is_empty());
    let path = dir.join("f");
    host.publish(&file, &path).unwrap();
    let stat = host.stat(&path).unwrap();
    assert_eq!((stat.id, stat.size, stat.mode), (host.stat_file(&file).unwrap().id, 5, 0o640));
    let second = host.open(dir, Open::Unnamed).unwrap();
    assert_eq!(host.publish(&second, &path), Err(Errno::EXIST));
}

fn links_are_names<H: Host>(host: &H, dir: &Path) {
    let (first, second) = (dir.join("first"), dir.join("second"));
    let file = create(host, &first);
    host.link(&first, &second).unwrap();
    let stat = host.stat(&second).unwrap();
    assert_eq!((stat.id, stat.links), (host.id(&file).unwrap(), 2));
    assert_eq!(host.link(&first, &second), Err(Errno::EXIST));
    assert_eq!(host.link(&dir.join("none"), &dir.join("third")), Err(Errno::NOENT));
    host.unlink(&first).unwrap();
    assert_eq!(host.stat_file(&file).unwrap().links, 1);
}

fn touch_tells_the_time<H: Host>(host: &H, dir: &Path) {
    let file = create(host, &dir.join("f"));
    let before = host.stat_file(&file).unwrap().modified_ns;
    host.wait(&mut host.waiter(), Some(host.now() + SHORT));
    host.touch(&file).unwrap();
    let after = host.stat_file(&file).unwrap().modified_ns;
    assert!(after > before, "{after} after {before}");
    let reader = open(host, &dir.join("f"));
    host.touch(&reader).unwrap();
}

fn processes_are_recognised<H: Host>(host: &H, dir: &Path) {
    let me = host.identity();
    assert_eq!(me, host.identity());
    assert_eq!(host.process(me.pid), Ok(Process::Running { started: me.started }));
    // More than a pid can be (proc(5), pid_max).
    assert_eq!(host.process(1 << 30), Ok(Process::Gone));
    host.is_local(&create(host, &dir.join("f"))).unwrap();
}

fn unlinked_lives<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let file = create(host, &path);
    host.write(&file, b"still").unwrap();
    let reader = open(host, &path);
    host.unlink(&path).unwrap();
    assert_eq!(host.stat_file(&reader).unwrap().links, 0);
    let mut buffer = [0; 8];
    assert_eq!(host.read(&reader, &mut buffer), Ok(5));
    let again = create(host, &path);
    assert_ne!(host.stat_file(&again).unwrap().id, host.stat_file(&reader).unwrap().id);
}

fn list_gives_names<H: Host>(host: &H, dir: &Path) {
    for name in ["a.1", "a.2", "b.1", ".a"] {
        create(host, &dir.join(name));
    }
    let mut names = host.list(dir, OsStr::new("a.")).unwrap();
    names.sort();
    assert_eq!(names, ["a.1", "a.2"]);
    assert_eq!(host.list(&dir.join("none"), OsStr::new("")).err(), Some(Errno::NOENT));
}

fn modes_are_exact<H: Host>(host: &H, dir: &Path) {
    let file = create(host, &dir.join("f"));
    for mode in [0o666, 0o600, 0o640] {
        let before = host.stat_file(&file).unwrap();
        host.set_mode(&file, mode).unwrap();
        let after = host.stat_file(&file).unwrap();
        assert_eq!((after.mode, after.modified_ns), (mode, before.modified_ns));
        assert!(after.changed_ns >= before.changed_ns);
    }
    let stat = host.stat_file(&file).unwrap();
    host.set_owner(&file, stat.uid, stat.gid).unwrap();
}

fn attributes_come_back<H: Host>(host: &H, dir: &Path) {
    let file = create(host, &dir.join("f"));
    let (name, value) = (OsStr::new("user.tenure"), vec![0, 1, 255]);
    match host.set_attribute(&file, name, &value) {
        Err(Errno::NOTSUP) => {}
        set => {
            set.unwrap();
            assert!(host.attributes(&file).unwrap().contains(&(name.to_owned(), value)));
            host.remove_attribute(&file, name).unwrap();
            assert_eq!(host.remove_attribute(&file, name), Err(Errno::NODATA));
        }
    }
}

fn exclusive_excludes<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let (first, second) = (create(host, &path), open(host, &path));
    assert_eq!(host.try_flock(&first, Mode::Exclusive), Ok(true));
    assert_eq!(host.try_flock(&first, Mode::Exclusive), Ok(true), "it has it already");
    assert_eq!(host.try_flock(&second, Mode::Exclusive), Ok(false));
    assert_eq!(host.try_flock(&second, Mode::Shared), Ok(false));
    host.unlock(&first).unwrap();
    host.unlock(&first).unwrap();
    assert_eq!(host.try_flock(&second, Mode::Exclusive), Ok(true));
    assert_eq!(host.try_flock(&first, Mode::Exclusive), Ok(false));
}

fn shared_admit<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let files = [create(host, &path), open(host, &path), open(host, &path)];
    assert_eq!(host.try_flock(&files[0], Mode::Shared), Ok(true));
    assert_eq!(host.try_flock(&files[1], Mode::Shared), Ok(true));
    assert_eq!(host.try_flock(&files[2], Mode::Exclusive), Ok(false));
    host.unlock(&files[0]).unwrap();
    assert_eq!(host.try_flock(&files[2], Mode::Exclusive), Ok(false));
    host.unlock(&files[1]).unwrap();
    assert_eq!(host.try_flock(&files[2], Mode::Exclusive), Ok(true));
}

fn closing_releases<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let (first, second) = (create(host, &path), open(host, &path));
    assert_eq!(host.try_flock(&first, Mode::Exclusive), Ok(true));
    drop(first);
    assert_eq!(host.try_flock(&second, Mode::Exclusive), Ok(true));
}

fn lock_follows_inode<H: Host>(host: &H, dir: &Path) {
    let (path, other) = (dir.join("f"), dir.join("g"));
    let old = create(host, &path);
    create(host, &other);
    assert_eq!(host.try_flock(&old, Mode::Exclusive), Ok(true));
    host.rename(&other, &path).unwrap();
    let new = open(host, &path);
    assert_eq!(host.try_flock(&new, Mode::Exclusive), Ok(true), "two holders of one path (U3)");
    assert_ne!(host.stat_file(&old).unwrap().id, host.stat_file(&new).unwrap().id);
}

fn directory_works<H: Host>(host: &H, dir: &Path) {
    let (first, second) = (open(host, dir), open(host, dir));
    assert_eq!(host.stat_file(&first).unwrap().kind, FileKind::Directory);
    host.fsync(&first).unwrap();
    assert_eq!(host.try_flock(&first, Mode::Exclusive), Ok(true));
    assert_eq!(host.try_flock(&second, Mode::Shared), Ok(false));
}

fn close_wakes<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let (file, other) = (create(host, &path), open(host, &path));
    let mut waiter = host.waiter();
    if host.watch(&mut waiter, &file) {
        drop(other);
        assert_eq!(host.wait(&mut waiter, Some(host.now() + LONG)), Woken::Changed);
    }
}

fn changes_are_answered<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let file = create(host, &path);
    let mut waiter = host.waiter();
    if !host.watch(&mut waiter, &file) {
        return;
    }
    let mut wait = |time| host.wait_flock(&mut waiter, Some(host.now() + time), &file, Mode::Exclusive);
    // Again and again: what one wait leaves unread must not spoil the next.
    for _ in 0..3 {
        let other = open(host, &path);
        assert_eq!(host.try_flock(&other, Mode::Exclusive), Ok(true));
        drop(open(host, &path));
        assert_eq!(wait(LONG), Ok(Some(Woken::Changed)));
        assert_eq!(wait(SHORT), Ok(Some(Woken::TimedOut)));
        drop(other);
        assert_eq!(wait(LONG), Ok(None));
        assert_eq!(host.try_flock(&open(host, &path), Mode::Shared), Ok(false), "the lock is taken");
        host.unlock(&file).unwrap();
    }
}

fn quiet_calls<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let file = create(host, &path);
    let mut waiter = host.waiter();
    if host.watch(&mut waiter, &file) {
        let other = open(host, &path);
        assert_eq!(host.try_flock(&other, Mode::Exclusive), Ok(true));
        assert_eq!(host.try_flock(&file, Mode::Exclusive), Ok(false));
        host.unlock(&other).unwrap();
        host.stat(&path).unwrap();
        host.flock_holders(&path).unwrap();
        assert_eq!(host.wait(&mut waiter, Some(host.now() + SHORT)), Woken::TimedOut);
    }
}

fn writes_wake<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let file = create(host, &path);
    let (mut writes, mut closes) = (host.waiter(), host.waiter());
    let watched = open(host, &path);
    assert!(host.watch(&mut closes, &watched));
    host.write_at(&file, 0, b"unseen").unwrap();
    assert_eq!(host.wait(&mut closes, Some(host.now() + SHORT)), Woken::TimedOut);
    assert!(host.watch_writes(&mut writes, &watched));
    assert_eq!(host.write_at(&file, 6, b"more"), Ok(4));
    assert_eq!(host.wait(&mut writes, Some(host.now() + LONG)), Woken::Changed);
    host.truncate(&file, 1).unwrap();
    assert_eq!(host.wait(&mut writes, Some(host.now() + LONG)), Woken::Changed);
}

fn replacing_wakes<H: Host>(host: &H, dir: &Path) {
    for (n, change) in [H::unlink as fn(&H, &Path) -> super::Result<()>, replace].into_iter().enumerate() {
        let path = dir.join(n.to_string());
        let file = create(host, &path);
        let mut waiter = host.waiter();
        if host.watch(&mut waiter, &file) {
            change(host, &path).unwrap();
            assert_eq!(host.wait(&mut waiter, Some(host.now() + LONG)), Woken::Changed);
        }
    }
}

fn replace<H: Host>(host: &H, path: &Path) -> super::Result<()> {
    let other = path.with_extension("new");
    create(host, &other);
    host.rename(&other, path)
}

fn change_before_wait_counts<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let file = create(host, &path);
    let mut waiter = host.waiter();
    if host.watch(&mut waiter, &file) {
        drop(open(host, &path));
        assert_eq!(host.wait(&mut waiter, Some(host.now() + LONG)), Woken::Changed);
        assert_eq!(host.wait(&mut waiter, Some(host.now() + SHORT)), Woken::TimedOut);
        drop(open(host, &path));
        assert_eq!(host.wait(&mut waiter, Some(host.now() + LONG)), Woken::Changed);
    }
}

fn waker_counts<H: Host>(host: &H, dir: &Path) {
    let file = create(host, &dir.join("f"));
    let mut waiter = host.waiter();
    for watched in [false, true] {
        if watched {
            host.watch(&mut waiter, &file);
        }
        host.waker(&waiter).wake();
        assert_eq!(host.wait(&mut waiter, None), Woken::Called);
        assert_eq!(host.wait(&mut waiter, Some(host.now() + SHORT)), Woken::TimedOut);
    }
}

fn ends_are_watched<H: Host>(host: &H, dir: &Path) {
    let file = create(host, &dir.join("f"));
    let mut waiter = host.waiter();
    if host.watch(&mut waiter, &file) {
        assert!(!host.watch_end(&mut waiter, 1 << 30), "no such process");
        assert!(host.watch_end(&mut waiter, host.identity().pid));
        assert_eq!(host.wait(&mut waiter, Some(host.now() + SHORT)), Woken::TimedOut, "this process goes on");
    }
}

fn waits_end<H: Host>(host: &H, _dir: &Path) {
    let (mut waiter, until) = (host.waiter(), host.now() + SHORT);
    assert_eq!(host.wait(&mut waiter, Some(until)), Woken::TimedOut);
    assert!(host.now() >= until);
    assert_eq!(host.wait(&mut waiter, Some(until)), Woken::TimedOut, "a moment in the past");
}

fn holders_are_found<H: Host>(host: &H, dir: &Path) {
    let path = dir.join("f");
    let file = create(host, &path);
    assert!(host.flock_holders(&path).unwrap().list.is_empty());
    host.try_flock(&file, Mode::Shared).unwrap();
    let holders = host.flock_holders(&path).unwrap().list;
    assert_eq!(holders.iter().map(|holder| holder.mode).collect::<Vec<_>>(), [Mode::Shared]);
    assert!(holders[0].certain);
    assert_eq!(host.flock_holders(&dir.join("none")).err(), Some(Errno::NOENT));
}

fn random_and_clock<H: Host>(host: &H, _dir: &Path) {
    assert_ne!(host.random(), host.random());
    let (earlier, later) = (host.now(), host.now());
    assert!(later >= earlier);
    assert_eq!(host.process_mark(), host.process_mark());
    assert_eq!(host.thread(), host.thread());
}
