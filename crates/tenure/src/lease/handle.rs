//! A lease as one word, for scripts and for other processes.
//!
//! `lease1:TOKEN:OWNER:TTL:NAME`: version 1, the fencing token, the owner's UUID, the time to live in milliseconds, and the name
//! with everything that a shell or a URL could misread percent-encoded. Whoever has the handle has the lease.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::store::{Claim, Owner};
use super::timing::{TTL_MAX, TTL_MIN};
use super::{Name, Token};

const PREFIX: &str = "lease1";

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b':');

/// Stands for a lease that belongs to no process, see [`Lease::detach`](super::Lease::detach). Prints as one word and parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    pub(super) claim: Claim,
    pub(super) ttl: Duration,
}

impl Handle {
    /// The lease's name.
    pub fn name(&self) -> &Name {
        &self.claim.name
    }

    /// The lease's fencing token.
    pub fn token(&self) -> Token {
        self.claim.token
    }

    /// The time to live that the lease was given.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { name, owner, token } = &self.claim;
        let name = utf8_percent_encode(name.as_str(), ESCAPED);
        write!(f, "{PREFIX}:{token}:{}:{}:{name}", owner.as_str(), self.ttl.as_millis())
    }
}

/// Text that is no handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAHandle(String);

impl fmt::Display for NotAHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no handle of a lease; it would begin with `{PREFIX}:`", self.0)
    }
}

impl std::error::Error for NotAHandle {}

impl FromStr for Handle {
    type Err = NotAHandle;

    fn from_str(text: &str) -> Result<Handle, NotAHandle> {
        let read = || {
            let rest = text.trim().strip_prefix(PREFIX)?.strip_prefix(':')?;
            let (token, rest) = rest.split_once(':')?;
            let (owner, rest) = rest.split_once(':')?;
            let (ttl, name) = rest.split_once(':')?;
            let ttl = ttl.bytes().all(|byte| byte.is_ascii_digit()).then(|| ttl.parse().ok())??;
            let ttl = Some(Duration::from_millis(ttl)).filter(|ttl| (TTL_MIN..=TTL_MAX).contains(ttl))?;
            let name = Name::from(percent_decode_str(name).decode_utf8().ok()?.into_owned());
            let claim = Claim { name, owner: Owner::parse(owner)?, token: token.parse().ok()? };
            claim.name.problem().is_none().then_some(Handle { claim, ttl })
        };
        read().ok_or_else(|| NotAHandle(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_word_and_reads_back() {
        for name in ["plan/42", "a b'\"$`\\;|&", "\u{e9}:%2F#"] {
            let claim = Claim { name: name.into(), owner: Owner::new(1, 2), token: Token::new(7).unwrap() };
            let handle = Handle { claim, ttl: Duration::from_secs(30) };
            let word = handle.to_string();
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric() || "/.-_:%".contains(c)), "{word}");
            assert_eq!(format!("{word}\n").parse(), Ok(handle));
        }
        let good = "lease1:7:00000000-0000-4001-8000-000000000002:30000:plan/42";
        assert!(good.parse::<Handle>().is_ok());
        for (from, to) in
            [("lease1", "lease2"), (":7:", ":0:"), ("4001", "5001"), ("30000", "9"), ("plan/42", "")]
        {
            assert!(good.replacen(from, to, 1).parse::<Handle>().is_err(), "{to}");
        }
    }
}
