//! Fencing tokens in a transaction of PostgreSQL: two write at once, and the smaller token never comes behind the larger one.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test looks at the real system")]

mod postgres_server;

use postgres_server::Database;
use tenure::Token;
use tenure::lease::fence;
use tokio_postgres::{Client, NoTls};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Writes its token behind the others', if the fence lets it.
async fn write(client: &mut Client, token: i64) -> tenure::Result<()> {
    let transaction = client.transaction().await.unwrap();
    fence::raise_postgres(&transaction, "list", Token::new(token).unwrap(), &format!("writer {token}"))
        .await?;
    transaction.execute("INSERT INTO list (token) VALUES ($1)", &[&token]).await.unwrap();
    transaction.commit().await.unwrap();
    Ok(())
}

#[test]
fn a_smaller_token_is_refused_and_told_of_the_larger() {
    let database = Database::new();
    run(async {
        let mut client = connect(&database.url()).await;
        client.batch_execute(fence::TABLE).await.unwrap();
        client.batch_execute("CREATE TABLE list (n serial, token bigint)").await.unwrap();
        for token in [5, 5, 7] {
            write(&mut client, token).await.unwrap();
        }
        let error = write(&mut client, 6).await.unwrap_err();
        assert!(error.is_fenced() && error.to_string().contains("7, of writer 7"), "{error}");
        // What is rolled back has not been.
        let transaction = client.transaction().await.unwrap();
        fence::raise_postgres(&transaction, "list", Token::new(9).unwrap(), "nine").await.unwrap();
        transaction.rollback().await.unwrap();
        write(&mut client, 8).await.unwrap();
    });
}

/// The row of the fence is locked until the transaction ends, so the second decides by what the first has committed.
#[test]
fn of_two_at_once_the_smaller_token_never_comes_second() {
    let database = Database::new();
    run(async {
        let client = connect(&database.url()).await;
        client.batch_execute(fence::TABLE).await.unwrap();
        client.batch_execute("CREATE TABLE list (n serial, token bigint)").await.unwrap();
        let writers: Vec<_> = (1..=20)
            .map(|token| {
                let url = database.url();
                tokio::spawn(async move {
                    let mut client = connect(&url).await;
                    write(&mut client, token).await.is_ok()
                })
            })
            .collect();
        let mut written = 0;
        for writer in writers {
            written += usize::from(writer.await.unwrap());
        }
        let rows = client.query("SELECT token FROM list ORDER BY n", &[]).await.unwrap();
        let tokens: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert!(tokens.is_sorted() && tokens.len() == written && tokens.contains(&20), "{tokens:?}");
    });
}

/// The documented clause, where the row carries the token itself; and its twin, which looks first.
#[test]
fn the_clause_is_check_and_write_in_one() {
    let database = Database::new();
    run(async {
        let client = connect(&database.url()).await;
        let table =
            "CREATE TABLE plan (id int, state text, fence bigint); INSERT INTO plan VALUES (1, '', 0)";
        client.batch_execute(table).await.unwrap();
        let update = "UPDATE plan SET state = $1, fence = $2 WHERE id = $3 AND fence <= $2";
        for (state, token, changed) in [("a", 7_i64, 1), ("late", 6, 0), ("b", 7, 1)] {
            assert_eq!(client.execute(update, &[&state, &token, &1_i32]).await.unwrap(), changed, "{state}");
        }
        // The twin: both have looked before either writes.
        let look = "SELECT 1 FROM plan WHERE id = 1 AND fence <= $1";
        let (late, newer) = (8_i64, 9_i64);
        assert!(client.query_opt(look, &[&late]).await.unwrap().is_some());
        let unchecked = "UPDATE plan SET state = $1, fence = $2 WHERE id = 1";
        assert_eq!(client.execute(unchecked, &[&"newer", &newer]).await.unwrap(), 1);
        assert_eq!(client.execute(unchecked, &[&"late", &late]).await.unwrap(), 1);
        let state: String = client.query_one("SELECT state FROM plan", &[]).await.unwrap().get(0);
        assert_eq!(state, "late", "what the twin loses");
    });
}
