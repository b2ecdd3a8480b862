//! Where a lease lives, as text: `sqlite:PATH#NAME`, `postgres://USER@HOST/DATABASE#NAME`.

use std::fmt;
use std::path::PathBuf;

use super::Name;

/// The address of a lease store.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// `sqlite:PATH`: a database file on this machine. The path is taken as it is, and can't hold a `#`.
    Sqlite(PathBuf),
    /// `postgres://...` or `postgresql://...`, with everything that belongs to it. It may hold a password.
    Postgres(String),
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnAddress(String);

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAnAddress {}

/// Splits `ADDRESS#NAME` at its first `#`. Without one, or with nothing behind it, there is no name.
pub fn split(text: &str) -> (&str, Option<Name>) {
    match text.split_once('#') {
        Some((address, name)) => (address, Some(name).filter(|name| !name.is_empty()).map(Name::from)),
        None => (text, None),
    }
}

/// The text, a command line for instance, with what may be the password of an address in it replaced by `***`. Hides too much
/// rather than too little.
pub fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let word = &after[..after.find(char::is_whitespace).unwrap_or(after.len())];
        // A password that was not encoded may have blanks in it, and an `@`.
        let end = word.rfind('@').or_else(|| after.find('@'));
        rest = match (after.find(':'), end) {
            (Some(colon), Some(end)) if colon < end => {
                shown.push_str(&after[..=colon]);
                shown.push_str("***");
                &after[end..]
            }
            _ => after,
        };
    }
    shown.push_str(rest);
    without_parameter(&shown)
}

/// `password=...` as a parameter of an address.
fn without_parameter(text: &str) -> String {
    const PARAMETER: &str = "password=";
    let mut parts = text.split(PARAMETER);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        let end = part.find(|c: char| c.is_whitespace() || c == '&' || c == '#').unwrap_or(part.len());
        format!("{shown}{PARAMETER}***{}", &part[end..])
    })
}

impl Address {
    /// Reads an address without a name.
    ///
    /// # Errors
    ///
    /// What is wrong, in a sentence that shows nothing of what may be a password.
    pub fn parse(text: &str) -> Result<Address, NotAnAddress> {
        let problem = |problem: &str| {
            let known = "A lease store's address is `sqlite:PATH`, or `postgres://USER@HOST/DATABASE`";
            Err(NotAnAddress(format!("{problem}. {known}")))
        };
        if text.contains('#') {
            return problem("an address without a name is wanted here, but there is a `#`");
        }
        match text.split_once(':') {
            Some(("sqlite", "")) => problem("`sqlite:` wants the path of a database file behind it"),
            Some(("sqlite", path)) if path.starts_with("//") => {
                problem("`sqlite:` is followed by the path itself, without `//`")
            }
            Some(("sqlite", path)) if path.contains('\0') => problem("a path has no zero bytes"),
            Some(("sqlite", path)) => Ok(Address::Sqlite(path.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Address::Postgres(text.to_owned()))
            }
            Some(("postgres" | "postgresql", _)) => problem("`postgres:` is followed by `//`"),
            Some(("etcd" | "etcds", _)) => problem("this version has no store on etcd"),
            // The rest may be a password.
            Some((scheme, _)) if is_scheme(scheme) => {
                problem(&format!("there is no lease store of the kind `{scheme}:`"))
            }
            _ => problem("this is no address: it begins with no kind of store"),
        }
    }
}

/// RFC 3986, section 3.1. A single letter is more likely a drive.
fn is_scheme(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (2..=20).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_recognised() {
        assert!(Address::parse("sqlite:/a b/c.db") == Ok(Address::Sqlite("/a b/c.db".into())));
        assert!(Address::parse("sqlite:c.db") == Ok(Address::Sqlite("c.db".into())));
        let url = "postgresql://a:secret@b/c";
        assert!(Address::parse(url) == Ok(Address::Postgres(url.into())));
        for text in [
            "",
            "x",
            "/a/b",
            "sqlite:",
            "sqlite://a",
            "postgres:a",
            "etcd://secret@a",
            "mysql://me:secret@b",
            "sqlite:a#b",
            "me:secret@postgres://b",
        ] {
            let Err(error) = Address::parse(text) else { panic!("{text} was taken") };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn passwords_are_hidden() {
        let table = [
            ("run --lease postgres://a:secret@h/d#n -- x@y", "run --lease postgres://a:***@h/d#n -- x@y"),
            ("postgres://a:secret@secret@h postgres://b:secret@h", "postgres://a:***@h postgres://b:***@h"),
            ("postgres://a:secret secret@h/d", "postgres://a:***@h/d"),
            ("postgres://a:/secret@h", "postgres://a:***@h"),
            ("postgres://a@h:5432/d?password=secret&x=1", "postgres://a@h:5432/d?password=***&x=1"),
            ("curl https://h:80/x sqlite:a#b", "curl https://h:80/x sqlite:a#b"),
        ];
        for (text, shown) in table {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn the_name_stands_behind_the_first_number_sign() {
        assert_eq!(split("sqlite:a#b#c"), ("sqlite:a", Some(Name::from("b#c"))));
        assert_eq!(split("sqlite:a#"), ("sqlite:a", None));
        assert_eq!(split("sqlite:a"), ("sqlite:a", None));
    }
}
