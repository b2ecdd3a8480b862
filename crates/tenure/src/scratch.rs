//! Files that are finished under a name of their own before they get the name that others read.
//!
//! The name says whose it is: `.<name>.<16 hexadecimal digits>.tenure-tmp` beside the file `<name>`, random, so that
//! no two writers share one (U7). Whoever holds the lock on `<name>` knows that every such file is an orphan, or belongs
//! to a newcomer who will notice its loss and make another, and removes it by its exact pattern (U12).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host::{Errno, Host, Result, Stat, directory_of};

/// Behind the last dot of every temporary name.
const SUFFIX: &str = "tenure-tmp";

/// Where Linux keeps a POSIX access list (acl(5)).
const ACCESS_LIST: &str = "system.posix_acl_access";

fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// A new name beside `path`.
pub(crate) fn name<H: Host>(host: &H, path: &Path) -> PathBuf {
    let mut name = prefix(path);
    name.push(format!("{:016x}.{SUFFIX}", host.random()));
    path.with_file_name(name)
}

/// Writes all of `bytes`, however little the system takes at a time.
pub(crate) fn write_all<H: Host>(host: &H, file: &H::File, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match host.write(file, bytes)? {
            0 => return Err(Errno::NOSPC),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Gives a new file the owner, extended attributes and mode of the one it is to replace at `path`. What can't be kept is an
/// error: a silent change of owner locks people out, a dropped access list lets people in, and so does one that the directory
/// gives its new files.
pub(crate) fn dress<H: Host>(
    host: &H,
    path: &Path,
    file: &H::File,
    (old, old_stat): (&H::File, &Stat),
) -> crate::Result<()> {
    let fail = |what: &str, errno| {
        let advice = match errno {
            Errno::PERM | Errno::ACCESS => "; write it as its owner, or as root",
            _ => "",
        };
        Error::host(&format!("keep the file's {what} on its new version{advice}"), path, errno)
    };
    let new = host.stat_file(file).map_err(|errno| fail("owner", errno))?;
    if (new.uid, new.gid) != (old_stat.uid, old_stat.gid) {
        let owned = host.set_owner(file, old_stat.uid, old_stat.gid);
        owned.map_err(|errno| fail("owner and group", errno))?;
    }
    let list = |file| host.attributes(file).map_err(|errno| fail("extended attributes", errno));
    let (wanted, present) = (list(old)?, list(file)?);
    let is_wanted = |name: &OsString| wanted.iter().any(|(wanted, _)| wanted == name);
    for (name, _) in present.iter().filter(|(name, _)| name == ACCESS_LIST && !is_wanted(name)) {
        host.remove_attribute(file, name).map_err(|errno| fail("access list", errno))?;
    }
    // An attribute that the system gave the new file itself (a security label) may be beyond our rights.
    for (name, value) in wanted.iter().filter(|attribute| !present.contains(attribute)) {
        let failed = |errno| fail(&format!("extended attribute {}", name.display()), errno);
        host.set_attribute(file, name, value).map_err(failed)?;
    }
    host.set_mode(file, old_stat.mode).map_err(|errno| fail("mode", errno))
}

/// Removes every temporary file of `path`. A failure leaves litter and harms nobody, so whoever sweeps goes on.
pub(crate) fn sweep<H: Host>(host: &H, path: &Path) {
    let (directory, prefix) = (directory_of(path), prefix(path));
    let names = host.list(&directory, &prefix).unwrap_or_default();
    for name in names.iter().filter(|name| is_temporary(name, &prefix)) {
        let _harmless = host.unlink(&directory.join(name));
    }
}

/// Whether `name` is `prefix`, sixteen hexadecimal digits and the suffix; nothing else is ours to remove.
fn is_temporary(name: &OsStr, prefix: &OsStr) -> bool {
    let (name, prefix) = (name.as_encoded_bytes(), prefix.as_encoded_bytes());
    let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes())) else {
        return false;
    };
    rest.len() == 17
        && rest.ends_with(b".")
        && rest[..16].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_temporaries_are_swept() {
        let prefix = OsStr::new(".a.json.");
        let table = [
            (".a.json.0123456789abcdef.tenure-tmp", true),
            (".a.json.0123456789abcdeg.tenure-tmp", false),
            (".a.json.0123456789abcde.tenure-tmp", false),
            (".a.json.0123456789abcdef.tenure-tmp.bak", false),
            (".a.json.b.0123456789abcdef.tenure-tmp", false),
            (".a.json.", false),
        ];
        for (name, ours) in table {
            assert_eq!(is_temporary(OsStr::new(name), prefix), ours, "{name}");
        }
    }
}
