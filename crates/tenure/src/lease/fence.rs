//! Fencing tokens enforced by an SQL database, in the transaction that writes.
//!
//! A row that belongs to one lease can carry the token itself. Then one statement is both check and write, and nothing of this
//! module is needed: it changes no row if a larger token has been there.
//!
//! ```sql
//! UPDATE plan SET state = $1, fence = $2 WHERE id = $3 AND fence <= $2
//! ```
//!
//! For anything larger there is a table of its own, [`TABLE`], with the largest token that each resource has seen. [`raise`] is
//! called first in the transaction: it refuses a smaller token, and otherwise remembers this one, whose row stays locked until the
//! transaction ends. So of two transactions for one resource the second sees what the first did, and a smaller token
//! is refused from the moment at which a larger one has committed. (On SQLite, begin the transaction with `IMMEDIATE`.)
//!
//! ```
//! # #[cfg(feature = "sqlite")] fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rusqlite::{Connection, TransactionBehavior::Immediate};
//! use tenure::{Token, lease::fence};
//!
//! let mut database = Connection::open_in_memory()?;
//! database.execute_batch(fence::TABLE)?;
//! database.execute_batch("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)")?;
//! # let (lease_token, older) = (Token::new(8).unwrap(), Token::new(7).unwrap());
//!
//! let mut transaction = database.transaction_with_behavior(Immediate)?;
//! fence::raise(&mut transaction, "accounts", lease_token, "nightly run")?;
//! transaction.execute("INSERT INTO account (balance) VALUES (100)", [])?;
//! transaction.commit()?;
//!
//! let mut transaction = database.transaction_with_behavior(Immediate)?;
//! assert!(fence::raise(&mut transaction, "accounts", older, "a run that was late").unwrap_err().is_fenced());
//! # Ok(()) }
//! # #[cfg(feature = "sqlite")] example().unwrap();
//! ```
//!
//! What is read before the fence was raised may be old by the time of the write: read after it, in the same transaction.

use std::path::Path;

use super::Token;
use crate::error::{BoxError, Error, Result};

/// The table, as SQL of SQLite and PostgreSQL alike. It may stand in any database, and need not be that of the leases.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS tenure_fence (
    resource TEXT PRIMARY KEY NOT NULL,
    token BIGINT NOT NULL,
    holder TEXT NOT NULL)";

/// Remembers the token `$2` and its holder `$3` for the resource `$1`; changes no row if a larger token is there.
pub const RAISE: &str = "INSERT INTO tenure_fence AS f (resource, token, holder) VALUES ($1, $2, $3)
    ON CONFLICT (resource) DO UPDATE SET token = excluded.token, holder = excluded.holder
    WHERE f.token <= excluded.token";

/// The token of the resource `$1`, and who had it.
pub const NEWEST: &str = "SELECT token, holder FROM tenure_fence WHERE resource = $1";

/// A transaction that has begun, for [`raise`]: two calls that every driver has. Here for `rusqlite` (feature `sqlite`); for
/// `tokio-postgres`, which is asynchronous, see `raise_postgres` (feature `postgres`).
pub trait Sql {
    /// Runs a statement with these three parameters and says how many rows it changed.
    ///
    /// # Errors
    ///
    /// The driver's.
    fn execute(&mut self, sql: &str, parameters: (&str, i64, &str)) -> std::result::Result<u64, BoxError>;

    /// Reads the one row of a query with this parameter, if there is one.
    ///
    /// # Errors
    ///
    /// The driver's.
    fn query(&mut self, sql: &str, parameter: &str) -> std::result::Result<Option<(i64, String)>, BoxError>;
}

/// Refuses a token that is smaller than the largest that this resource has seen, and remembers it otherwise. `holder` is what
/// others are told who are refused because of it.
///
/// # Errors
///
/// [`Error::is_fenced`], which says who has the newer token; [`Error::is_io`] with the driver's error as its source. Roll the
/// transaction back.
pub fn raise(transaction: &mut impl Sql, resource: &str, token: Token, holder: &str) -> Result<()> {
    let failed = |error: BoxError| Error::driver(Path::new(resource), "raise the fence", error);
    match transaction.execute(RAISE, (resource, token.number(), holder)).map_err(failed)? {
        0 => Err(refusal(resource, token, transaction.query(NEWEST, resource).map_err(failed)?)),
        _ => Ok(()),
    }
}

/// [`raise`] in a transaction of `tokio-postgres`.
///
/// # Errors
///
/// As for [`raise`].
#[cfg(feature = "postgres")]
pub async fn raise_postgres(
    transaction: &tokio_postgres::Transaction<'_>,
    resource: &str,
    token: Token,
    holder: &str,
) -> Result<()> {
    let failed =
        |error: tokio_postgres::Error| Error::driver(Path::new(resource), "raise the fence", error.into());
    let raised = transaction.execute(RAISE, &[&resource, &token.number(), &holder]).await.map_err(failed)?;
    if raised > 0 {
        return Ok(());
    }
    let newest = transaction.query_opt(NEWEST, &[&resource]).await.map_err(failed)?;
    Err(refusal(resource, token, newest.map(|row| (row.get(0), row.get(1)))))
}

fn refusal(resource: &str, token: Token, newest: Option<(i64, String)>) -> Error {
    let newest = newest.map_or("a larger one".to_owned(), |(token, holder)| format!("{token}, of {holder}"));
    let problem = format!(
        "the fencing token {token} is refused: {newest} has been here since. The lease was lost; stop this work, and \
         take the lease anew to go on"
    );
    Error::fenced(Path::new(resource), problem)
}

#[cfg(feature = "sqlite")]
impl Sql for rusqlite::Transaction<'_> {
    fn execute(&mut self, sql: &str, parameters: (&str, i64, &str)) -> std::result::Result<u64, BoxError> {
        Ok(self.prepare_cached(sql)?.execute(parameters)? as u64)
    }

    fn query(&mut self, sql: &str, parameter: &str) -> std::result::Result<Option<(i64, String)>, BoxError> {
        use rusqlite::OptionalExtension;
        Ok(self
            .prepare_cached(sql)?
            .query_row([parameter], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use rusqlite::{Connection, Transaction, TransactionBehavior};

    use super::*;

    fn begin(database: &mut Connection) -> Transaction<'_> {
        database.transaction_with_behavior(TransactionBehavior::Immediate).expect("a transaction")
    }

    fn raise_and_commit(database: &mut Connection, resource: &str, token: i64, holder: &str) -> Result<()> {
        let mut transaction = begin(database);
        raise(&mut transaction, resource, Token::new(token).expect("a positive number"), holder)?;
        transaction.commit().expect("a commit");
        Ok(())
    }

    #[test]
    fn a_smaller_token_is_refused_and_told_of_the_larger() {
        let mut database = Connection::open_in_memory().unwrap();
        database.execute_batch(TABLE).unwrap();
        raise_and_commit(&mut database, "a", 5, "five").unwrap();
        raise_and_commit(&mut database, "a", 5, "five").unwrap();
        raise_and_commit(&mut database, "a", 7, "seven").unwrap();
        raise_and_commit(&mut database, "b", 1, "one").unwrap();
        let error = raise_and_commit(&mut database, "a", 6, "six").unwrap_err();
        assert!(error.is_fenced() && error.to_string().contains("7, of seven"), "{error}");
        // What was rolled back has not been.
        let mut transaction = begin(&mut database);
        raise(&mut transaction, "a", Token::new(9).unwrap(), "nine").unwrap();
        drop(transaction);
        raise_and_commit(&mut database, "a", 8, "eight").unwrap();
    }

    #[test]
    fn a_missing_table_is_the_drivers_error() {
        let mut database = Connection::open_in_memory().unwrap();
        let error = raise_and_commit(&mut database, "a", 5, "five").unwrap_err();
        assert!(error.is_io() && error.to_string().contains("no such table"), "{error}");
    }
}
