//! What went wrong with the server, and what follows from it.

use std::path::Path;

use tokio_postgres::error::SqlState;

use crate::error::Error;

/// Why a question was not answered. No text here shows a password: they are the server's own words, and the system's.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) what: What,
    pub(super) text: String,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The connection is gone, or there was none to be had: another one may do.
    Broken,
    /// The server is there, but takes nobody now (it starts, or has too many clients): it may take us soon.
    NotNow,
    /// It does not answer, or not in a way that can be trusted.
    Unreachable,
    /// This role may not do it, or nobody may do it on this server.
    Denied,
    /// The tables are not what they have to be.
    Foreign,
    /// The tables are those of a later version, or this process has no part in the store.
    Unsupported,
    /// There is no such database.
    NoDatabase,
    /// Anything else that the server says.
    Failed,
}

impl Failure {
    pub(super) fn new(what: What, text: impl Into<String>) -> Failure {
        Failure { what, text: text.into() }
    }

    /// Whether the same question may be answered by another connection.
    pub(super) fn passes(&self) -> bool {
        matches!(self.what, What::Broken | What::NotNow)
    }

    /// The error that callers see.
    pub(super) fn into_error(self, address: &str) -> Error {
        let Failure { what, text } = self;
        let path = Path::new(address);
        match what {
            What::Broken | What::NotNow | What::Unreachable => {
                let advice =
                    "Check that the server runs, and that host, port and sslmode of the address are right";
                Error::unreachable(address, format!("{text}. {advice}"))
            }
            What::Denied => Error::denied(path, text),
            What::Foreign => Error::foreign(path, text),
            What::Unsupported => Error::unsupported(path, text),
            What::NoDatabase => {
                Error::uncreatable(path, format!("{text}. Create it with `createdb`, or name another"))
            }
            What::Failed => Error::failed(path, text),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(told) => Failure::new(by_code(told.code()), told.message()),
            None => without_code(&error),
        }
    }
}

/// By the error codes of PostgreSQL's manual, appendix A.
fn by_code(code: &SqlState) -> What {
    match *code {
        SqlState::CANNOT_CONNECT_NOW | SqlState::TOO_MANY_CONNECTIONS => What::NotNow,
        // Our own cancellation, or the time limit of the session.
        SqlState::QUERY_CANCELED => What::Unreachable,
        SqlState::INSUFFICIENT_PRIVILEGE | SqlState::READ_ONLY_SQL_TRANSACTION => What::Denied,
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => What::Foreign,
        SqlState::INVALID_CATALOG_NAME => What::NoDatabase,
        // "Operator intervention" ends the session: a shutdown, or the end of its time to be idle.
        _ if code.code().starts_with("08") || code.code().starts_with("57P") => What::Broken,
        _ if code.code().starts_with("28") => What::Denied,
        _ => What::Failed,
    }
}

fn without_code(error: &tokio_postgres::Error) -> Failure {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    let tls = io
        .and_then(std::io::Error::get_ref)
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
    let text = match source {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match () {
        () if text.ends_with("password missing") => Failure::new(
            What::Denied,
            "the server wants a password: set PGPASSWORD, or put it in the address",
        ),
        () if error.is_closed() || io.is_some() && !tls => Failure::new(What::Broken, text),
        // No way to prove who we are that both sides know.
        () if text.starts_with("authentication error") => Failure::new(What::Denied, text),
        () => Failure::new(What::Unreachable, text),
    }
}
