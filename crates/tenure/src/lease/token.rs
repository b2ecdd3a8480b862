//! The number that orders the holders of a lease.

use std::fmt;
use std::str::FromStr;

/// A fencing token: of two holders of one lease, the later has the larger token.
///
/// The first is 1. Neither a release, nor an expiry, nor a forced release starts the count anew. Whoever stores something on
/// behalf of a lease stores the token with it, and refuses a smaller one: then a holder that lost its lease without
/// noticing (its machine was paused, say) can't overwrite what its successor wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(i64);

impl Token {
    /// The token with this number; `None` below 1. The largest is that of SQL's `bigint`.
    pub const fn new(number: i64) -> Option<Token> {
        match number {
            1.. => Some(Token(number)),
            _ => None,
        }
    }

    /// The number, as a database keeps it.
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is no fencing token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAToken(String);

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no fencing token: that is a whole number from 1 to {}", self.0, i64::MAX)
    }
}

impl std::error::Error for NotAToken {}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Token, NotAToken> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.and_then(Token::new).ok_or_else(|| NotAToken(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_print_and_parse() {
        for number in [1, 7, i64::MAX] {
            let token = Token::new(number).unwrap();
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        for text in ["", "0", "-1", "+1", " 1", "1.0", "9223372036854775808", "x"] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
