//! The database file: whether it is ours, and the table in it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use crate::error::Error;
use crate::lease::row::Row;

/// Tells our files from others (`PRAGMA application_id`): "Tenu".
const APPLICATION: i64 = 0x5465_6e75;

/// The layout that this version writes (`PRAGMA user_version`), made by the steps up to it.
const VERSION: i64 = 1;

/// What makes each layout of the one before it.
const STEPS: [&str; VERSION as usize] = ["
    CREATE TABLE tenure_lease (
        name TEXT PRIMARY KEY NOT NULL,
        fence INTEGER NOT NULL CHECK (fence > 0),
        owner TEXT,
        tenant TEXT NOT NULL,
        boot TEXT NOT NULL,
        granted_us INTEGER NOT NULL,
        expires_us INTEGER NOT NULL,
        ttl_us INTEGER NOT NULL,
        at_least_us INTEGER NOT NULL,
        at_most_us INTEGER,
        ended_owner TEXT,
        ended_reason TEXT
    ) STRICT, WITHOUT ROWID;
"];

const COLUMNS: &str = "name, fence, owner, tenant, boot, granted_us, expires_us, ttl_us, at_least_us, at_most_us, \
                       ended_owner, ended_reason";

/// What a file turned out to be.
pub(super) enum Found {
    Ready,
    /// Empty, or of an earlier version.
    ToMigrate {
        from: i64,
    },
}

/// Looks whether the database is ours.
pub(super) fn look(connection: &Connection, path: &Path) -> std::result::Result<Found, Problem> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(Found::ToMigrate { from: 0 }),
        (APPLICATION, VERSION) => {
            // A table of this name with other columns fails here.
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tenure_lease LIMIT 0")).map_err(
                |error| {
                    Problem::Ours(Error::corrupt(
                        path,
                        format!("its table of leases is not as it was made: {error}"),
                    ))
                },
            )?;
            Ok(Found::Ready)
        }
        (APPLICATION, newer) if newer > VERSION => {
            let problem = format!(
                "was made by a later version of tenure (layout {newer}, this one knows {VERSION}). Use that version"
            );
            Err(Problem::Ours(Error::unsupported(path, problem)))
        }
        (APPLICATION, from) if from > 0 => Ok(Found::ToMigrate { from }),
        _ => {
            let problem = format!(
                "is another program's database (application id {application:#x}, {tables} tables and indexes). Leases \
                 need a file of their own"
            );
            Err(Problem::Ours(Error::unsupported(path, problem)))
        }
    }
}

/// Makes the tables; within a transaction.
pub(super) fn migrate(connection: &Connection, from: i64) -> rusqlite::Result<()> {
    for step in &STEPS[usize::try_from(from).unwrap_or(0)..] {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// SQLite's error, or one that says all already.
pub(super) enum Problem {
    Sqlite(rusqlite::Error),
    Ours(Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Problem {
        Problem::Sqlite(error)
    }
}

pub(super) fn read(connection: &Connection, name: &str) -> rusqlite::Result<Option<Row>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tenure_lease WHERE name = ?1"))?;
    statement.query_row([name], from_sql).optional()
}

pub(super) fn read_all(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tenure_lease ORDER BY name"))?;
    let rows = statement.query_map([], from_sql)?;
    rows.collect()
}

pub(super) fn write(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT OR REPLACE INTO tenure_lease ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    ))?;
    let changed = statement.execute(params![
        row.name,
        row.fence,
        row.owner,
        row.tenant,
        row.boot,
        row.granted_us,
        row.expires_us,
        row.ttl_us,
        row.at_least_us,
        row.at_most_us,
        row.ended_owner,
        row.ended_reason,
    ])?;
    debug_assert_eq!(changed, 1, "one row a name");
    Ok(())
}

fn from_sql(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        name: row.get(0)?,
        fence: row.get(1)?,
        owner: row.get(2)?,
        tenant: row.get(3)?,
        boot: row.get(4)?,
        granted_us: row.get(5)?,
        expires_us: row.get(6)?,
        ttl_us: row.get(7)?,
        at_least_us: row.get(8)?,
        at_most_us: row.get(9)?,
        ended_owner: row.get(10)?,
        ended_reason: row.get(11)?,
    })
}

/// SQLite's failure on this file, in our words.
pub(super) fn explain(path: &Path, address: &str, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, PermissionDenied,
        ReadOnly,
    };
    let code = error.sqlite_error_code();
    let problem = match code {
        Some(DatabaseBusy | DatabaseLocked) => {
            let problem = "another program keeps this database locked (a transaction in a database shell?)";
            return Error::unreachable(address, format!("{problem}. Nothing was changed"));
        }
        Some(DatabaseCorrupt) => "the database is damaged",
        Some(NotADatabase) => "this file is no SQLite database",
        Some(ReadOnly | PermissionDenied) => {
            return Error::denied(
                path,
                format!(
                    "the database can't be written: {error}. Check owner and mode of the file and of its directory"
                ),
            );
        }
        Some(DiskFull) => return Error::failed(path, format!("{error}: free some space and try again")),
        Some(CannotOpen) => {
            return Error::uncreatable(
                path,
                format!("the database can't be opened or created: {error}. Check its directory"),
            );
        }
        _ => return Error::failed(path, format!("the database failed: {error}")),
    };
    Error::corrupt(path, format!("{problem}: {error}"))
}
