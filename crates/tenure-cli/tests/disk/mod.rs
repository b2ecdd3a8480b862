//! A disk whose power can be cut, and the random moments to cut it at.
//!
//! The power is cut by `EXT4_IOC_SHUTDOWN`, without a last flush of the journal: nothing that ext4 had not yet sent to its disk
//! ever gets there. What this does not show is a disk that lies about its own cache.
//!
//! One test program, one disk at a time: a process that is being started by another thread holds copies of everything that is
//! open, until its exec, and so keeps a file system from being unmounted.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::common::mounted::Mounted;
use crate::common::{directory, run};

/// An ext4 file system in a file, and where it is mounted.
pub(crate) struct Disk {
    mounted: Option<Mounted>,
    // Dropped, and so deleted, after the unmount.
    files: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Result<Disk, String> {
        let files = directory();
        let image = files.path().join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        // Not every user's PATH leads there.
        let mut mkfs = Command::new("mkfs.ext4");
        let made = run(mkfs.arg("-q").arg(&image).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"));
        assert!(made.status.success(), "{}", made.stderr);
        std::fs::create_dir(files.path().join("root")).unwrap();
        let mut disk = Disk { mounted: None, files };
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.files.path().join("root")
    }

    fn mount(&mut self) -> Result<(), String> {
        let options = ["-t".as_ref(), "ext4".as_ref(), "-o".as_ref(), "loop".as_ref()];
        let image = self.files.path().join("image");
        let mounted = Mounted::new(options.into_iter().chain([image.as_os_str()]), &self.root())?;
        self.mounted = Some(mounted);
        Ok(())
    }

    /// From here on nothing reaches the disk.
    pub(crate) fn cut(&self) {
        shut_down(&File::open(self.root()).unwrap()).unwrap();
    }

    /// Replays the journal, as the next boot does.
    pub(crate) fn reboot(&mut self) {
        self.mounted.take().unwrap().unmount();
        self.mount().unwrap();
    }
}

#[expect(unsafe_code, reason = "rustix has no wrapper for this ioctl")]
fn shut_down(root: &File) -> rustix::io::Result<()> {
    const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: EXT4_IOC_SHUTDOWN reads one u32 through the pointer and writes nothing.
    unsafe { rustix::ioctl::ioctl(root, rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }
}

/// Random numbers that a seed repeats (xorshift64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        let given = std::env::var("TENURE_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        let seed = given.unwrap_or_else(clock);
        println!("TENURE_SEED={seed}");
        Random(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
