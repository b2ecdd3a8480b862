//! What a lease is called.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What stands for itself in no part of a typed name: the separator, and the sign of an escape.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

/// The name of a lease: any text of 1 to [`Name::LENGTH_MAX`] bytes without control characters.
///
/// A pair is a typed name: `("plan", "42")` is `plan/42`, and a `/` or `%` within a part is written `%2F`, `%25`, so that
/// no two pairs share a name. Whether a name is allowed shows when it is used: nothing is checked before.
///
/// ```
/// use tenure::lease::Name;
/// assert_eq!(Name::from(("plan", "42")), Name::from("plan/42"));
/// assert_ne!(Name::from(("a/b", "c")), Name::from(("a", "b/c")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The longest name, in bytes. A database keeps names in an index, and an index's entries are small.
    pub const LENGTH_MAX: usize = 1024;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        if self.0.is_empty() {
            return Some("the name of a lease can't be empty".to_owned());
        }
        if self.0.len() > Name::LENGTH_MAX {
            let problem = "the name of a lease has at most";
            return Some(format!("{problem} {} bytes, this one has {}", Name::LENGTH_MAX, self.0.len()));
        }
        let control = self.0.chars().find(|c| c.is_control())?;
        Some(format!("the name of a lease has no control characters, this one has {control:?}"))
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        Name(name.to_owned())
    }
}

impl From<String> for Name {
    fn from(name: String) -> Name {
        Name(name)
    }
}

impl<A: AsRef<str>, B: AsRef<str>> From<(A, B)> for Name {
    fn from((kind, id): (A, B)) -> Name {
        let part = |text| utf8_percent_encode(text, ESCAPED);
        Name(format!("{}/{}", part(kind.as_ref()), part(id.as_ref())))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_could_not_keep_is_refused() {
        let long = "x".repeat(Name::LENGTH_MAX);
        for name in ["a", "plan/42", "\u{e9}\u{1f980} #'\";--%", &long] {
            assert_eq!(Name::from(name).problem(), None, "{name}");
        }
        for name in ["", "a\0", "a\nb", &format!("{long}x")] {
            assert!(Name::from(name).problem().is_some(), "{name:?}");
        }
    }

    #[test]
    fn pairs_are_told_apart() {
        let pairs = [("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("a", "b"), ("a\0", "b")];
        for (n, pair) in pairs.iter().enumerate() {
            for other in &pairs[n + 1..] {
                assert_ne!(Name::from(*pair), Name::from(*other));
            }
        }
    }
}
