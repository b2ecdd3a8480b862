//! One connection: how it is made, what is set on it, and its prepared statements.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{
    AsyncMessage, CancelToken, Client, Connection, NoTls, Row, SimpleQueryMessage, Socket, Statement,
};

use super::failure::{Failure, What};
use super::target::Target;

/// What a statement is given.
pub(super) type Params = Vec<Box<dyn ToSql + Send + Sync>>;

/// What a session of ours has to be, whatever server, database and role say.
///
/// `synchronous_commit` is raised from what forgets acknowledged commits when the server crashes; the settings above `on` stay.
/// A statement of ours that has waited so long has nobody any more who waits for it, and must not be granted anything.
const SET_UP: &str = "\
    SET default_transaction_isolation TO 'read committed'; \
    SET lock_timeout TO 0; SET statement_timeout TO '15s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
        WHERE current_setting('synchronous_commit') IN ('off', 'local'); \
    SELECT pg_is_in_recovery(), current_setting('transaction_read_only')";

/// How long a connection that is given up may take to end before its asker goes on.
const CLOSE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// What moves its bytes.
    messages: JoinHandle<()>,
}

/// What a connection does besides answering: it ends, or tells something.
pub(super) type Messages = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Session {
    /// Connects; `hear` gets what the server says unasked.
    pub(super) async fn open(
        target: &Target,
        hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Session, Failure> {
        let (client, messages) = match &target.tls {
            Some(tls) => connect(target, tls.clone(), hear).await?,
            None => connect(target, NoTls, hear).await?,
        };
        let messages = tokio::spawn(messages);
        let session = Session { client, statements: HashMap::new(), messages };
        session.set_up().await?;
        Ok(session)
    }

    async fn set_up(&self) -> Result<(), Failure> {
        let told = self.client.simple_query(SET_UP).await?;
        let last = told.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0), row.get(1))),
            _ => None,
        });
        match last {
            Some((Some("f"), Some("off"))) => Ok(()),
            Some((Some("t"), _)) => Err(Failure::new(
                What::Denied,
                "this server is a standby, which only reads; name the primary",
            )),
            _ => Err(Failure::new(
                What::Denied,
                "this role may only read here (default_transaction_read_only); a lease is a row that is written",
            )),
        }
    }

    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Takes leave of the server, which may have to end what it says first. Otherwise nobody would, until the next question.
    pub(super) async fn close(self) {
        let Session { client, messages, .. } = self;
        drop(client);
        let _ended_or_stuck = timeout(CLOSE_MAX, messages).await;
    }

    /// What another connection ends this one's statement by.
    pub(super) fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// Runs a statement, which is prepared the first time.
    pub(super) async fn query(&mut self, sql: &'static str, params: &Params) -> Result<Vec<Row>, Failure> {
        let statement = match self.statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql).await?;
                self.statements.insert(sql, statement.clone());
                statement
            }
        };
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| &**param as _).collect();
        Ok(self.client.query(&statement, &params).await?)
    }
}

async fn connect<T>(
    target: &Target,
    tls: T,
    hear: impl FnMut(AsyncMessage) + Send + 'static,
) -> Result<(Client, Messages), Failure>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = caught(target.config.connect(tls)).await?;
    Ok((client, Box::pin(run(connection, hear))))
}

/// The driver has a thread look names up, and panics if there is none to be had.
async fn caught<T>(connecting: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    let mut connecting = pin!(connecting);
    poll_fn(|context| {
        // After a panic it is dropped, and not polled again.
        match catch_unwind(AssertUnwindSafe(|| connecting.as_mut().poll(context))) {
            Ok(polled) => polled.map_err(Failure::from),
            Err(_told) => Poll::Ready(Err(Failure::new(
                What::Unreachable,
                "the driver panicked as it connected; perhaps there was no thread to be had that looks its name up",
            ))),
        }
    })
    .await
}

/// Moves bytes until the connection ends. Its error is told to whoever asks something by it.
async fn run<S, T>(mut connection: Connection<S, T>, mut hear: impl FnMut(AsyncMessage))
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        hear(message);
    }
}

/// Ends the statement that `token` belongs to, if it still runs.
pub(super) async fn cancel(target: &Target, token: &CancelToken) {
    // Nobody can be told if this fails; the session's own time limit ends the statement then.
    let _ends_later = match &target.tls {
        Some(tls) => token.cancel_query(tls.clone()).await,
        None => token.cancel_query(NoTls).await,
    };
}
