//! Files that are finished under a name of their own before they get the name that others read.
//!
//! The name says whose it is: `.<name>.<16 hexadecimal digits>.tenure-tmp` beside the file `<name>`, random, so that
//! no two writers share one (U7). Whoever holds the lock on `<name>` knows that every such file is an orphan, or belongs
//! to a newcomer who will notice its loss and make another, and removes it by its exact pattern (U12).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::host::{Errno, Host, Result, directory_of};

/// Behind the last dot of every temporary name.
const SUFFIX: &str = "tenure-tmp";

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
