//! Plain SQL on PostgreSQL, for twins.

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

/// One connection.
pub(crate) struct Raw {
    runtime: Runtime,
    client: Client,
}

impl Raw {
    /// Takes the address of a store, whose own options it leaves out.
    pub(crate) fn connect(address: &str) -> Raw {
        let address = address.split('?').next().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(address, NoTls)).unwrap();
        // It runs whenever a question is asked; its errors are those of the questions.
        runtime.spawn(async move { drop(connection.await) });
        Raw { runtime, client }
    }

    pub(crate) fn run(&self, statements: &str) {
        self.runtime.block_on(self.client.batch_execute(statements)).unwrap();
    }

    /// The first column of the first row, a number.
    pub(crate) fn number(&self, query: &str) -> Option<i64> {
        let query = format!("SELECT n::bigint FROM ({query}) AS asked (n)");
        self.runtime.block_on(self.client.query_opt(&query, &[])).unwrap().map(|row| row.get(0))
    }
}
