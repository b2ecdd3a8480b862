//! The tables, and how they come to be.
//!
//! Whoever comes first makes them, under an advisory lock, so that any number may start at once. Nothing else is ever done to
//! tables that are there: what does not look like ours is left alone, and so is what a later version made.

use tokio_postgres::error::SqlState;

use super::failure::{Failure, What};
use super::session::Session;

/// The version that this code reads and writes.
const VERSION: i32 = 1;

/// The advisory lock's number: "tenure" and a version, as bytes.
const LOCK: i64 = 0x7465_6e75_7265_0001;

/// The columns of `tenure_lease` as PostgreSQL describes them, in their order.
const COLUMNS: [(&str, &str); 12] = [
    ("name", "text COLLATE \"C\" PRIMARY KEY"),
    ("fence", "bigint NOT NULL"),
    ("owner", "text"),
    ("holder", "text NOT NULL"),
    ("granted_us", "bigint NOT NULL"),
    ("expires_us", "bigint NOT NULL"),
    ("term_us", "bigint NOT NULL"),
    ("at_least_us", "bigint NOT NULL"),
    ("at_most_us", "bigint"),
    ("ended_owner", "text"),
    ("ended_fence", "bigint"),
    ("ended_reason", "text"),
];

/// Every column of a table, with its type and, behind it, whether it may be null.
const LOOK: &str = "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute \
    WHERE attrelid = 'tenure_lease'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

/// Makes the tables if there are none, and looks whether they are what we know.
pub(super) async fn ensure(session: &mut Session) -> Result<(), Failure> {
    if version(session).await?.is_none() {
        create(session).await?;
    }
    match version(session).await? {
        Some(VERSION) => check_columns(session).await,
        Some(later) if later > VERSION => Err(Failure::new(
            What::Unsupported,
            format!(
                "its tables are of version {later}, this program knows version {VERSION}; use a later one"
            ),
        )),
        Some(_) => Err(foreign("tenure_lease_schema is there, but names no version")),
        None => Err(foreign("tenure_lease_schema vanished just after it was made")),
    }
}

fn foreign(problem: &str) -> Failure {
    let advice = "Nothing was changed. Rename that table, or give Tenure a database or schema of its own";
    Failure::new(
        What::Foreign,
        format!("it has tables of these names that are not Tenure's: {problem}. {advice}"),
    )
}

/// The version that the tables say they have; `None` if there are none.
async fn version(session: &mut Session) -> Result<Option<i32>, Failure> {
    match session.client().query_opt("SELECT max(version) FROM tenure_lease_schema", &[]).await {
        Ok(None) => Ok(Some(0)),
        Ok(Some(row)) => match row.try_get::<_, Option<i32>>(0) {
            Ok(version) => Ok(version.or(Some(0))),
            Err(_other_type) => Err(foreign("the column `version` of tenure_lease_schema is no integer")),
        },
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => {
            Err(foreign("tenure_lease_schema has no column `version`"))
        }
        Err(error) => Err(explained(error)),
    }
}

async fn create(session: &mut Session) -> Result<(), Failure> {
    let columns = COLUMNS.map(|(name, kind)| format!("{name} {kind}")).join(", ");
    let transaction = session.client().transaction().await?;
    // Until the end of this transaction: whoever waits here finds the tables made.
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let seen = "SELECT to_regclass('tenure_lease_schema') IS NULL, to_regclass('tenure_lease') IS NULL";
    let seen = transaction.query_one(seen, &[]).await?;
    match (seen.get(0), seen.get(1)) {
        (false, _) => return Ok(()),
        (true, false) => return Err(foreign("tenure_lease is there without tenure_lease_schema")),
        (true, true) => {}
    }
    let sql = format!(
        "CREATE TABLE tenure_lease ({columns}); \
         CREATE TABLE tenure_lease_schema (version integer NOT NULL); \
         INSERT INTO tenure_lease_schema VALUES ({VERSION})"
    );
    transaction.batch_execute(&sql).await.map_err(explained)?;
    Ok(transaction.commit().await?)
}

async fn check_columns(session: &mut Session) -> Result<(), Failure> {
    let rows = session.client().query(LOOK, &[]).await.map_err(|error| match error.code() {
        Some(&SqlState::UNDEFINED_TABLE) => foreign("tenure_lease_schema is there, but tenure_lease is gone"),
        _ => explained(error),
    })?;
    let shape = |kind: &str| {
        let name = kind.split(' ').next().unwrap_or_default().to_owned();
        (name, kind.contains("NOT NULL") || kind.contains("PRIMARY KEY"))
    };
    let expected = COLUMNS.map(|(name, kind)| (name.to_owned(), shape(kind)));
    let found: Vec<(String, (String, bool))> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    match expected.iter().find(|column| !found.contains(column)) {
        Some((name, (kind, _))) => {
            Err(foreign(&format!("tenure_lease has no column `{name}` that is {kind}")))
        }
        None => Ok(()),
    }
}

/// A permission that is missing is the most common failure here: since version 15, not everyone may create tables in `public`.
fn explained(error: tokio_postgres::Error) -> Failure {
    let mut failure = Failure::from(error);
    if failure.what == What::Denied {
        failure.text.push_str(
            ". The role needs CREATE on the schema once, and SELECT, INSERT and UPDATE on the tables tenure_lease and \
             tenure_lease_schema",
        );
    }
    failure
}
