//! What a new version of a file inherits from the old one (hazard U9), and what is refused instead.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

mod mounted;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use mounted::{Mounted, skip};
use tenure::{Document, Reached, Version, Wait};

fn document() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    fs::write(&path, "{\"n\":1}\n").unwrap();
    (directory, path)
}

fn bump(path: &Path) -> tenure::Result<tenure::Receipt> {
    Document::open(path).update(Wait::Never, |value: &mut serde_json::Value| {
        value["n"] = (value["n"].as_u64().unwrap_or(0) + 1).into();
    })
}

#[test]
fn mode_owner_and_attributes_stay() {
    let (_directory, path) = document();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&path, Some(12_345), Some(23_456)).unwrap();
    }
    let set = rustix::fs::setxattr(&path, "user.colour", b"blue", rustix::fs::XattrFlags::empty());
    let old = path.metadata().unwrap();
    bump(&path).unwrap();
    let new = path.metadata().unwrap();
    assert_ne!(old.ino(), new.ino(), "the file was replaced");
    assert_eq!((old.mode(), old.uid(), old.gid()), (new.mode(), new.uid(), new.gid()));
    if set.is_ok() {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(&path, "user.colour", &mut value).unwrap();
        assert_eq!(&value[..length], b"blue");
    }
    let sidecar = path.with_extension("json.lock").metadata().unwrap();
    assert_eq!(sidecar.mode() & 0o7777, 0o640, "whoever may use the document may lock it, and nobody else");
    assert_eq!((sidecar.uid(), sidecar.gid()), (old.uid(), old.gid()));
}

#[test]
fn a_secret_is_never_readable_to_others() {
    let (_directory, path) = document();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    bump(&path).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    fs::remove_file(&path).unwrap();
    Document::open(&path).mode(0o600).replace(Wait::Never, &1).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn a_symbolic_link_stays_one_and_shares_its_targets_lock() {
    let (directory, path) = document();
    fs::create_dir(directory.path().join("dotfiles")).unwrap();
    let (target, link) = (directory.path().join("dotfiles/real.json"), directory.path().join("link.json"));
    fs::rename(&path, &target).unwrap();
    symlink("dotfiles/real.json", &link).unwrap();
    let second = directory.path().join("second.json");
    symlink(&link, &second).unwrap();
    bump(&second).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink() && second.symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "{\"n\":2}\n");
    assert!(directory.path().join("dotfiles/real.json.lock").exists());
    assert!(!directory.path().join("link.json.lock").exists());
    // Through a directory that is itself a link, and to a target that does not exist yet.
    symlink("dotfiles", directory.path().join("d")).unwrap();
    bump(&directory.path().join("d/real.json")).unwrap();
    symlink("dotfiles/new.json", directory.path().join("dangling.json")).unwrap();
    bump(&directory.path().join("dangling.json")).unwrap();
    assert!(directory.path().join("dotfiles/new.json").exists());
    let (loop_a, loop_b) = (directory.path().join("a"), directory.path().join("b"));
    symlink(&loop_b, &loop_a).unwrap();
    symlink(&loop_a, &loop_b).unwrap();
    assert!(bump(&loop_a).unwrap_err().is_cannot_create());
    // The twin: renaming over the link's own name leaves the target stale.
    fs::write(directory.path().join("twin"), "{}").unwrap();
    fs::rename(directory.path().join("twin"), &link).unwrap();
    assert!(!link.symlink_metadata().unwrap().is_symlink(), "the twin did no harm, so this shows nothing");
}

#[test]
fn what_has_several_names_or_is_no_file_is_refused() {
    let (directory, path) = document();
    fs::hard_link(&path, directory.path().join("other.json")).unwrap();
    let error = bump(&path).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("hard links"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":1}\n");
    assert!(bump(directory.path()).unwrap_err().is_unsupported());
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(bump(&fifo).unwrap_err().is_unsupported());
    let unknown = bump(&directory.path().join("a.json5")).unwrap_err();
    assert!(unknown.is_unsupported(), "{unknown}");
}

#[test]
fn a_mount_point_is_refused_and_left_alone() {
    let (directory, path) = document();
    let source = directory.path().join("source.json");
    fs::write(&source, "{\"n\":5}").unwrap();
    let mounted = match Mounted::new([OsStr::new("--bind"), source.as_os_str()], &path) {
        Ok(mounted) => mounted,
        Err(reason) => return skip("a_mount_point_is_refused_and_left_alone", &reason),
    };
    let outcome = bump(&path);
    let content = fs::read_to_string(&path).unwrap();
    mounted.unmount();
    let error = outcome.unwrap_err();
    assert!(error.is_io() && error.to_string().contains("mount point"), "{error}");
    assert_eq!(content, "{\"n\":5}");
}

#[test]
fn an_access_list_that_the_directory_gives_its_files_is_not_taken_over() {
    let (directory, path) = document();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // acl(5) as the kernel stores it: version 2, then tag, permissions, id; here user 2001 may read.
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 7, u32::MAX), (0x02, 7, 2001), (0x04, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let create = rustix::fs::XattrFlags::empty();
    match rustix::fs::setxattr(directory.path(), "system.posix_acl_default", &list, create) {
        Err(rustix::io::Errno::NOTSUP) => return,
        set => set.unwrap(),
    }
    let access = |path: &Path| rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0; 64]);
    fs::write(directory.path().join("twin"), "").unwrap();
    assert!(
        access(&directory.path().join("twin")).is_ok(),
        "new files get the list, else this shows nothing"
    );
    bump(&path).unwrap();
    assert_eq!(access(&path), Err(rustix::io::Errno::NODATA));
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn a_mode_changed_during_an_update_is_not_undone() {
    let (_directory, path) = document();
    let mut rounds = 0;
    Document::open(&path)
        .update(Wait::Never, |value: &mut serde_json::Value| {
            rounds += 1;
            if rounds == 1 {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            value["n"] = 2.into();
        })
        .unwrap();
    assert_eq!((rounds, path.metadata().unwrap().mode() & 0o7777), (2, 0o600));
}

#[test]
fn receipts_say_what_was_done() {
    let (_directory, path) = document();
    let first = bump(&path).unwrap();
    assert_eq!((first.changed, first.durability), (true, Reached::Power));
    assert_eq!(first.version, Version::of(Some(&fs::read(&path).unwrap())));
    let inode = path.metadata().unwrap().ino();
    let same = Document::open(&path).update(Wait::Never, |_: &mut serde_json::Value| ()).unwrap();
    assert_eq!((same.changed, same.durability, same.version), (false, Reached::Power, first.version));
    assert_eq!(path.metadata().unwrap().ino(), inode, "nothing was written");
    let document = Document::open(&path).if_version(first.version);
    document.replace(Wait::Never, &vec![1, 2]).unwrap();
    assert!(document.replace(Wait::Never, &vec![3]).unwrap_err().is_conflict());
    assert_eq!(fs::read_to_string(&path).unwrap(), "[\n  1,\n  2\n]\n");
    let bytes = |bytes: &mut Vec<u8>| bytes.extend_from_slice(b"\xff\x00");
    Document::open(&path).update_bytes(Wait::Never, bytes).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"[\n  1,\n  2\n]\n\xff\x00");
    assert!(bump(&path).unwrap_err().is_corrupt());
}

#[test]
fn a_typed_update_keeps_what_its_type_does_not_know() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Known {
        visits: u32,
    }
    let (_directory, path) = document();
    let text = "{\n\t\"future\": {\"x\": 1e3},\n\t\"visits\": 7\n}\n";
    fs::write(&path, text).unwrap();
    Document::open(&path).update(Wait::Never, |known: &mut Known| known.visits += 1).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text.replace('7', "8"));
    fs::write(&path, "{\"visits\":\"seven\"}").unwrap();
    let error = Document::open(&path).read::<Known>().err().unwrap();
    assert!(error.is_corrupt() && error.to_string().contains("line 1, column"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(Document::open(&path).read::<Known>().err().unwrap().is_missing());
}
