//! The version of a document, as text and as callers compare it.

use std::fmt;

/// The version of a document: a hash of its bytes (the first half of their SHA-256), or `absent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(Option<[u8; 16]>);

impl Version {
    /// The version of these bytes; `None` is a document that does not exist.
    pub fn of(bytes: Option<&[u8]>) -> Version {
        use sha2::Digest;
        Version(bytes.map(|bytes| {
            let digest = sha2::Sha256::digest(bytes);
            let mut half = [0; 16];
            half.copy_from_slice(&digest[..16]);
            half
        }))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            None => f.write_str("absent"),
        }
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Version, String> {
        if text == "absent" {
            return Ok(Version(None));
        }
        let number =
            u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32 && !text.starts_with('+'));
        let number = number.ok_or("a version is 32 hexadecimal digits, or `absent`")?;
        Ok(Version(Some(number.to_be_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_print_and_parse() {
        for version in [Version::of(None), Version::of(Some(b"")), Version::of(Some(b"{}"))] {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert_eq!(Version::of(Some(b"")).to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
        assert!("e3b0".parse::<Version>().is_err());
    }
}
