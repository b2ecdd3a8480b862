//! What the lease protects: a set of elements that is read, and written anew as a whole. So a write that comes too late undoes
//! what others have written meanwhile, unless the set checks the token that comes with it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};
use serde_json::Value;
use tenure::lease::fence;
use tenure::{Document, Durability, Error, Token};

use crate::place::{PATIENCE, soon};

/// Elements, with the tokens that they were written with.
pub(super) type Elements = Vec<(u64, i64)>;

/// Why nothing was written: another, with a newer token, has been here.
#[derive(Debug)]
pub(super) struct Fenced;

/// Where the set is kept.
pub(super) enum Protected {
    /// In a JSON document; its fence is the document's.
    Document { path: PathBuf, fenced: bool },
    /// In a table of an SQLite database of its own, as [`fence`] documents it.
    Table { connection: Connection, fenced: bool },
}

const KIND: &str = "set";

impl Protected {
    pub(super) fn open(path: &Path, fenced: bool) -> Protected {
        if path.extension().is_some_and(|extension| extension == "json") {
            return Protected::Document { path: path.to_owned(), fenced };
        }
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        Protected::Table { connection, fenced }
    }

    /// An empty set.
    pub(super) fn make(path: &Path) {
        match Protected::open(path, true) {
            Protected::Document { path, .. } => std::fs::write(path, "[]").unwrap(),
            Protected::Table { connection, .. } => {
                connection.execute_batch(fence::TABLE).unwrap();
                let table = "PRAGMA journal_mode = wal; CREATE TABLE elements (list TEXT NOT NULL)";
                connection.execute_batch(table).unwrap();
                connection.execute("INSERT INTO elements VALUES ('[]')", []).unwrap();
            }
        }
    }

    fn document(path: &Path, token: Option<Token>) -> Document {
        let document = Document::open(path).durability(Durability::Process);
        match token {
            Some(token) => document.fence(token),
            None => document,
        }
    }

    fn told(error: &Error) -> Fenced {
        assert!(error.is_fenced(), "{error}");
        Fenced
    }

    /// What is there now; and from now on, nobody with an older token changes it.
    pub(super) fn read(&mut self, token: Token) -> Result<Elements, Fenced> {
        match self {
            Protected::Document { path, fenced } => {
                let document = Protected::document(path, Some(token));
                if *fenced {
                    document.raise_fence(soon()).map_err(|error| Protected::told(&error))?;
                }
                Ok(document.read::<Elements>().unwrap())
            }
            Protected::Table { connection, fenced } => {
                let mut transaction =
                    connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
                if *fenced {
                    fence::raise(&mut transaction, KIND, token, "a client")
                        .map_err(|error| Protected::told(&error))?;
                }
                let list: String =
                    transaction.query_row("SELECT list FROM elements", [], |row| row.get(0)).unwrap();
                transaction.commit().unwrap();
                Ok(serde_json::from_str(&list).unwrap())
            }
        }
    }

    pub(super) fn write(&mut self, elements: &Elements, token: Token) -> Result<(), Fenced> {
        match self {
            Protected::Document { path, fenced } => {
                let written =
                    Protected::document(path, Some(token).filter(|_| *fenced)).replace(soon(), elements);
                written.map(drop).map_err(|error| Protected::told(&error))
            }
            Protected::Table { connection, fenced } => {
                let mut transaction =
                    connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
                if *fenced {
                    fence::raise(&mut transaction, KIND, token, "a client")
                        .map_err(|error| Protected::told(&error))?;
                }
                let list = serde_json::to_string(elements).unwrap();
                transaction.execute("UPDATE elements SET list = ?1", [list]).unwrap();
                transaction.commit().unwrap();
                Ok(())
            }
        }
    }

    /// What is there when all are gone.
    pub(super) fn left(path: &Path) -> Elements {
        match Protected::open(path, false) {
            Protected::Document { path, .. } => Protected::document(&path, None).read().unwrap(),
            Protected::Table { connection, .. } => {
                let list: String =
                    connection.query_row("SELECT list FROM elements", [], |row| row.get(0)).unwrap();
                let list: Value = serde_json::from_str(&list).unwrap();
                serde_json::from_value(list).unwrap()
            }
        }
    }
}
