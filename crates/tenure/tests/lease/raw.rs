//! Plain SQL on PostgreSQL, for twins and for what leases protect.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

/// What came of a statement.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server refused it, and changed nothing.
    Refused(String),
    /// Nobody knows whether it was done.
    Unknown(String),
}

/// One connection.
pub(crate) struct Raw {
    runtime: Runtime,
    client: Client,
    patience: Duration,
}

impl Raw {
    /// Takes the address of a store, whose own options it leaves out.
    pub(crate) fn connect(address: &str) -> Result<Raw, Trouble> {
        let address = address.split('?').next().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let patience = Duration::from_secs(5);
        let connect = async { tokio::time::timeout(patience, tokio_postgres::connect(address, NoTls)).await };
        let (client, connection) = match runtime.block_on(connect) {
            Ok(Ok(both)) => both,
            Ok(Err(error)) => return Err(Trouble::Refused(error.to_string())),
            Err(late) => return Err(Trouble::Refused(late.to_string())),
        };
        // It runs whenever a question is asked; its errors are those of the questions.
        runtime.spawn(async move { drop(connection.await) });
        Ok(Raw { runtime, client, patience })
    }

    fn ask<T>(&self, question: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Trouble> {
        let within = async { tokio::time::timeout(self.patience, question).await };
        match self.runtime.block_on(within) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match error.code() {
                // Told by a server that ends, or by one that undid the statement.
                Some(code) if *code != SqlState::ADMIN_SHUTDOWN && *code != SqlState::CRASH_SHUTDOWN => {
                    Trouble::Refused(format!("{error:?}"))
                }
                _ => Trouble::Unknown(format!("{error:?}")),
            }),
            Err(late) => Err(Trouble::Unknown(late.to_string())),
        }
    }

    pub(crate) fn run(&self, statements: &str) -> Result<(), Trouble> {
        self.ask(self.client.batch_execute(statements))
    }

    /// How many rows a statement changed.
    pub(crate) fn change(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Trouble> {
        self.ask(self.client.execute(statement, values))
    }

    /// The first column of the first row, a number.
    pub(crate) fn number(&self, query: &str) -> Result<Option<i64>, Trouble> {
        Ok(self.numbers(query)?.first().copied())
    }

    /// The first column, which is of numbers.
    pub(crate) fn numbers(&self, query: &str) -> Result<Vec<i64>, Trouble> {
        let query = format!("SELECT n::bigint FROM ({query}) AS asked (n)");
        let rows = self.ask(self.client.query(&query, &[]))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
