//! Leases in PostgreSQL, on a real server: what is particular to this store. What every store does is in the contract.
#![cfg(feature = "postgres")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

mod postgres_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postgres_server::{Database, Open, PATIENCE, ROLE_PASSWORD, eventually, shared_server, sql};
use tenure::host::{Host, Native};
use tenure::lease::postgres::Postgres;
use tenure::lease::store::{Ask, Attempt, Claim, Notice, Store};
use tenure::lease::{LossReason, Occupancy};
use tenure::{LeaseStore, Moment, Token, Wait};

/// So long that nothing here passes, or fails, because a lease's time was over.
const TTL: Duration = Duration::from_secs(3600);

fn soon() -> Moment {
    Native.now() + Duration::from_secs(20)
}

fn ask(name: &str) -> Ask {
    postgres_server::ask(name, TTL)
}

fn granted(attempt: Attempt) -> (Token, Duration) {
    match attempt {
        Attempt::Granted { token, lasts } => (token, lasts),
        Attempt::Held(entry) => panic!("held: {entry}"),
    }
}

#[test]
fn many_start_at_once_and_count_together() {
    let database = Database::new();
    let (url, inside, counted) = (database.url(), AtomicU64::new(0), AtomicU64::new(0));
    let tokens = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let store = LeaseStore::connect(&url).unwrap();
                    let mut tokens = Vec::new();
                    for _ in 0..5 {
                        let lease = store.acquire("a", TTL, Wait::within(PATIENCE)).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                        // Not an atomic step: two at a time would lose one.
                        let seen = counted.load(Ordering::SeqCst);
                        std::thread::yield_now();
                        counted.store(seen + 1, Ordering::SeqCst);
                        tokens.push(lease.token());
                        inside.fetch_sub(1, Ordering::SeqCst);
                        lease.release().unwrap();
                    }
                    tokens
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(counted.into_inner(), 60);
    let mut sorted: Vec<i64> = tokens.iter().map(|token| token.number()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=60).collect::<Vec<_>>(), "each token once, none left out");
}

#[test]
fn who_comes_while_the_tables_are_made_waits_for_them() {
    let database = Database::new();
    let url = database.url();
    let count = |event: &str| {
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = '{event}'"
        );
        database.sql(&waiting)
    };
    // As one does who makes them: see schema.rs.
    let maker = Open::transaction(&url, "SELECT pg_advisory_xact_lock(x'74656e7572650001'::bigint)");
    std::thread::scope(|scope| {
        let comers: Vec<_> = (0..6).map(|_| scope.spawn(|| Postgres::connect(&url).map(drop))).collect();
        eventually("all of them wait", || count("advisory") == "6");
        maker.commit();
        comers.into_iter().for_each(|comer| comer.join().unwrap().unwrap());
    });
    assert_eq!(database.sql("SELECT count(*) FROM tenure_lease_schema"), "1", "made once");
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let database = Database::new();
    let store = Postgres::connect(&database.url()).unwrap();
    let first = ask("a");
    let (token, lasts) = granted(store.acquire(&first, soon()).unwrap());
    assert_eq!((token.number(), lasts), (1, TTL));
    assert_eq!(granted(store.acquire(&first, soon()).unwrap()), (token, TTL), "granted again, not anew");
    let claim = Claim { name: first.name.clone(), owner: first.owner.clone(), token };
    let done = tenure::lease::store::Answer::Done { lasts: Duration::ZERO };
    assert_eq!(store.release(&claim, soon()).unwrap(), done);
    assert_eq!(store.release(&claim, soon()).unwrap(), done, "released by the first one");
    assert_eq!(granted(store.acquire(&ask("a"), soon()).unwrap()).0.number(), 2);
}

#[test]
fn a_refusal_writes_nothing() {
    let database = Database::new();
    let store = Postgres::connect(&database.url()).unwrap();
    granted(store.acquire(&ask("a"), soon()).unwrap());
    let version = "SELECT xmin, xmax, ctid FROM tenure_lease";
    let before = database.sql(version);
    for _ in 0..20 {
        let Attempt::Held(entry) = store.acquire(&ask("a"), soon()).unwrap() else { panic!("two holders") };
        assert!(entry.remaining > TTL / 2 && entry.remaining <= TTL + Duration::from_secs(1));
    }
    assert_eq!(database.sql(version), before, "neither written nor locked");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenure'";
    assert_eq!(database.sql(sessions), "1", "one connection for questions that follow each other");
}

#[test]
fn a_row_is_kept_limited_and_broken() {
    let database = Database::new();
    let store = Postgres::connect(&database.url()).unwrap();
    let kept = Ask { at_least: TTL, at_most: Some(TTL), ..ask("kept") };
    let (token, _) = granted(store.acquire(&kept, soon()).unwrap());
    let claim = Claim { name: kept.name.clone(), owner: kept.owner.clone(), token };
    let renewed = store.renew(&claim, 10 * TTL, None, soon()).unwrap();
    let tenure::lease::store::Answer::Done { lasts } = renewed else { panic!("{renewed:?}") };
    assert!(lasts <= TTL && lasts > Duration::ZERO, "the limit is kept: {lasts:?}");
    store.release(&claim, soon()).unwrap();
    let entry = store.look(&kept.name, soon()).unwrap().unwrap();
    assert!(matches!(entry.occupancy, Occupancy::Kept(_)) && entry.remaining <= TTL, "{entry:?}");
    assert!(matches!(store.acquire(&ask("kept"), soon()).unwrap(), Attempt::Held(_)));
    let broken = store.break_lease(&kept.name, "upgrade", soon()).unwrap().unwrap();
    assert!(matches!(broken.occupancy, Occupancy::Kept(_)), "{broken:?}");
    assert_eq!(store.break_lease(&kept.name, "upgrade", soon()).unwrap(), None);
    assert_eq!(store.look(&kept.name, soon()).unwrap().unwrap().occupancy, Occupancy::Free);
    let next = ask("kept");
    assert_eq!(granted(store.acquire(&next, soon()).unwrap()).0.number(), 2);
    let claim = Claim { name: next.name.clone(), owner: next.owner.clone(), token: Token::new(2).unwrap() };
    let broken = store.break_lease(&kept.name, "again", soon()).unwrap().unwrap();
    assert!(matches!(broken.occupancy, Occupancy::Held(_)), "{broken:?}");
    let told = tenure::lease::store::Answer::Lost(LossReason::Forced("again".into()));
    assert_eq!(store.renew(&claim, TTL, None, soon()).unwrap(), told);
    assert_eq!(store.release(&claim, soon()).unwrap(), told);
}

#[test]
fn who_wants_no_commit_lost_is_not_let_down_by_the_role() {
    for setting in ["synchronous_commit = off", "synchronous_commit = local"] {
        let database = Database::new();
        let (url, _role) = database.as_role(&[
            setting,
            "default_transaction_isolation = 'serializable'",
            "lock_timeout = 1",
        ]);
        assert_eq!(sql(&url, "SHOW synchronous_commit"), setting.rsplit(' ').next().unwrap());
        let store = Postgres::connect(&url).unwrap();
        let _listens = store.notice(&"a".into(), std::task::Waker::noop());
        // What the sessions of the store have, not what a new one would have: the table says so itself, by a trigger.
        database.sql(
            "CREATE TABLE seen (sync text, isolation text);
             GRANT ALL ON seen TO public;
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO seen VALUES (current_setting('synchronous_commit'), current_setting('transaction_isolation'));
                 RETURN new; END $$;
             CREATE TRIGGER see BEFORE INSERT ON tenure_lease FOR EACH ROW EXECUTE FUNCTION see()",
        );
        granted(store.acquire(&ask("a"), soon()).unwrap());
        assert_eq!(database.sql("SELECT * FROM seen"), "on|read committed");
    }
}

#[test]
fn who_may_not_write_is_told_so() {
    let database = Database::new();
    Postgres::connect(&database.url()).unwrap();
    let (reads_only, _role) = database.as_role(&["default_transaction_read_only = on"]);
    let (without_rights, _role) = database.as_role(&[]);
    let empty = Database::new();
    let (creates_nothing, role) = empty.as_role(&[]);
    empty.sql("REVOKE CREATE ON SCHEMA public FROM public");
    empty.sql(&format!("REVOKE CREATE ON SCHEMA public FROM {role}"));
    for (url, says) in [
        (&reads_only, "default_transaction_read_only"),
        (&without_rights, "SELECT, INSERT and UPDATE"),
        (&creates_nothing, "CREATE on the schema"),
    ] {
        let error = Postgres::connect(url).unwrap_err();
        assert!(error.is_permission() && error.to_string().contains(says), "{error}");
        assert!(!format!("{error} {error:?}").contains(ROLE_PASSWORD));
    }
}

#[test]
fn tables_that_are_not_ours_are_left_alone() {
    let cases = [
        ("CREATE TABLE tenure_lease (name text)", "without tenure_lease_schema"),
        ("CREATE TABLE tenure_lease_schema (version text)", "no integer"),
        ("CREATE TABLE tenure_lease_schema (versions int)", "no column `version`"),
        ("CREATE TABLE tenure_lease_schema (version int)", "names no version"),
        (
            "CREATE TABLE tenure_lease_schema (version int); INSERT INTO tenure_lease_schema VALUES (1)",
            "tenure_lease is gone",
        ),
        (
            "CREATE TABLE tenure_lease_schema (version int); INSERT INTO tenure_lease_schema VALUES (1); \
             CREATE TABLE tenure_lease (name text PRIMARY KEY, fence int NOT NULL)",
            "no column `fence` that is bigint",
        ),
    ];
    let database = Database::new();
    for (n, (statement, says)) in cases.into_iter().enumerate() {
        database.sql(&format!("CREATE SCHEMA case{n}; SET search_path = case{n}; {statement}"));
        let columns = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema LIKE 'case%' ORDER BY 1, 2";
        let before = database.sql(columns);
        let error =
            Postgres::connect(&database.with(&format!("options=-csearch_path%3Dcase{n}"))).unwrap_err();
        assert!(error.is_corrupt() && error.to_string().contains(says), "{statement}: {error}");
        assert_eq!(database.sql(columns), before);
    }
}

#[test]
fn tables_of_a_later_version_are_refused() {
    let database = Database::new();
    Postgres::connect(&database.url()).unwrap();
    database.sql("UPDATE tenure_lease_schema SET version = 2");
    let error = Postgres::connect(&database.url()).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("version 2"), "{error}");
}

#[test]
fn a_locked_row_bounds_the_call_and_what_it_got_is_given_back() {
    let database = Database::new();
    let store = Postgres::connect(&database.url()).unwrap();
    // A free row, locked by somebody who takes his time.
    let first = ask("a");
    let (token, _) = granted(store.acquire(&first, soon()).unwrap());
    store.release(&Claim { name: first.name.clone(), owner: first.owner, token }, soon()).unwrap();
    let busy = Open::transaction(&database.url(), "SELECT FROM tenure_lease WHERE name = 'a' FOR UPDATE");
    let late = ask("a");
    let (start, limit) = (Instant::now(), Duration::from_millis(300));
    let error = store.acquire(&late, Native.now() + limit).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("did not answer"), "{error}");
    // A little earlier than asked, so that what the driver has to say arrives in time.
    assert!(start.elapsed() >= limit / 2 && start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    // Other leases are not in its way.
    granted(store.acquire(&ask("b"), soon()).unwrap());
    store.abandon(&late.name, &late.owner);
    drop(busy);
    eventually("the lease is free", || {
        let entry = store.look(&late.name, soon()).unwrap().unwrap();
        entry.occupancy == Occupancy::Free
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("nobody waits for a lock", || database.sql(waiting) == "0");
    let (token, _) = granted(store.acquire(&ask("a"), soon()).unwrap());
    assert!(token.number() >= 2);
}

#[test]
fn time_counts_from_the_lock_of_the_row_and_not_from_before() {
    let database = Database::new();
    let store = Postgres::connect(&database.with("clock_bound_ms=0")).unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let clock = "SELECT (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    let number = |statement: &str| database.sql(statement).parse::<i64>().unwrap();
    let first = ask("a");
    let (token, _) = granted(store.acquire(&first, soon()).unwrap());
    let claim = Claim { name: first.name.clone(), owner: first.owner, token };
    // Runs the step while somebody has the row locked, and gives the time at which that one left.
    let blocked = |step: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let busy =
                Open::transaction(&database.url(), "SELECT FROM tenure_lease WHERE name = 'a' FOR UPDATE");
            scope.spawn(step);
            eventually("it waits", || database.sql(waiting) == "1");
            let left = number(clock);
            drop(busy);
            left
        })
    };
    let ttl = i64::try_from(TTL.as_micros()).unwrap();
    let left = blocked(&|| assert!(store.renew(&claim, TTL, None, soon()).is_ok()));
    assert!(number("SELECT expires_us FROM tenure_lease") >= left + ttl, "renewed from before the wait on");
    store.release(&claim, soon()).unwrap();
    let left = blocked(&|| assert_eq!(granted(store.acquire(&ask("a"), soon()).unwrap()).0.number(), 2));
    assert!(number("SELECT granted_us FROM tenure_lease") >= left, "granted before the wait");
    assert!(number("SELECT expires_us FROM tenure_lease") >= left + ttl, "lasts from before the wait on");
}

#[test]
fn what_was_seen_before_a_wait_is_not_believed() {
    let database = Database::new();
    let store = Postgres::connect(&database.url()).unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // Runs the step while somebody changes the row, who then commits.
    fn during<T: Send>(
        database: &Database,
        waiting: &str,
        change: &str,
        step: impl FnOnce() -> T + Send,
    ) -> T {
        let change = Open::transaction(&database.url(), change);
        std::thread::scope(|scope| {
            let step = scope.spawn(step);
            eventually("it waits", || database.sql(waiting) == "1");
            change.commit();
            step.join().unwrap()
        })
    }
    let hour = "(extract(epoch from clock_timestamp()) * 1000000)::bigint + 3600000000, 3600000000";
    // A name that another takes for the first time just now.
    let insert = format!("INSERT INTO tenure_lease SELECT 'a', 1, 'x', '{{}}', 0, {hour}, 0");
    let attempt = during(&database, waiting, &insert, || store.acquire(&ask("a"), soon()).unwrap());
    assert!(matches!(attempt, Attempt::Held(entry) if entry.token.number() == 1));
    // A free one that another takes.
    store.break_lease(&"a".into(), "test", soon()).unwrap();
    let update =
        format!("UPDATE tenure_lease SET (owner, fence, expires_us, term_us) = ('x', fence + 1, {hour})");
    let attempt = during(&database, waiting, &update, || store.acquire(&ask("a"), soon()).unwrap());
    assert!(matches!(attempt, Attempt::Held(entry) if entry.token.number() == 2));
    // One that is taken away from its holder while that one renews.
    store.break_lease(&"a".into(), "test", soon()).unwrap();
    let held = ask("a");
    let (token, _) = granted(store.acquire(&held, soon()).unwrap());
    let claim = Claim { name: held.name.clone(), owner: held.owner, token };
    let answer = during(&database, waiting, &update, || store.renew(&claim, TTL, None, soon()).unwrap());
    assert_eq!(answer, tenure::lease::store::Answer::Lost(LossReason::Stolen));
}

#[test]
fn a_thread_of_an_event_loop_may_call_and_drop_it() {
    let database = Database::new();
    let events = tokio::runtime::Builder::new_current_thread().build().unwrap();
    events.block_on(async {
        let store = LeaseStore::connect(&database.url()).unwrap();
        store.acquire("a", TTL, Wait::Never).unwrap().release().unwrap();
    });
}

#[test]
fn a_release_wakes_those_who_listen() {
    let database = Database::new();
    let store = Arc::new(Postgres::connect(&database.with("notify=on")).unwrap());
    let holder = Postgres::connect(&database.url()).unwrap().with_notices();
    let silent = Postgres::connect(&database.url()).unwrap();
    assert!(matches!(silent.notice(&"a".into(), std::task::Waker::noop()), Notice::Nothing));
    struct Count(AtomicU64);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (told, other) = (Arc::new(Count(AtomicU64::new(0))), Arc::new(Count(AtomicU64::new(0))));
    let count = |count: &Count| count.0.load(Ordering::SeqCst);
    let held = ask("a");
    let (token, _) = granted(holder.acquire(&held, soon()).unwrap());
    let Notice::Called(listening) = store.notice(&"a".into(), &told.clone().into()) else { panic!() };
    let _other = store.notice(&"b".into(), &other.clone().into());
    // As soon as it listens, everyone looks once.
    eventually("it listens", || count(&told) == 1 && count(&other) == 1);
    holder.release(&Claim { name: held.name.clone(), owner: held.owner, token }, soon()).unwrap();
    eventually("the waiter is told", || count(&told) == 2);
    granted(holder.acquire(&ask("a"), soon()).unwrap());
    holder.break_lease(&held.name, "test", soon()).unwrap();
    eventually("the waiter is told", || count(&told) == 3);
    assert_eq!(count(&other), 1, "who waits for another lease is not woken");
    // A connection that breaks is made again, and everyone looks.
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    eventually("it listens again", || count(&told) == 4);
    drop(listening);
    granted(holder.acquire(&ask("a"), soon()).unwrap());
    holder.break_lease(&held.name, "test", soon()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(count(&told), 4);
}

#[test]
fn a_broken_connection_is_made_again() {
    let database = Database::new();
    let store = LeaseStore::connect(&database.url()).unwrap();
    let lease = store.acquire("a", TTL, Wait::Never).unwrap();
    for _ in 0..3 {
        database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        lease.renew().unwrap();
    }
    lease.release().unwrap();
}

/// The server says so as the answer to the next question.
#[test]
fn a_connection_that_the_server_ended_for_idleness_is_made_again() {
    let database = Database::new();
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let store = LeaseStore::connect(&database.with("options=-c%20idle_session_timeout%3D100ms")).unwrap();
    let lease = store.acquire("a", TTL, Wait::Never).unwrap();
    for _ in 0..2 {
        eventually("the server has ended the connection", || database.sql(others).trim() == "0");
        lease.renew().unwrap();
    }
    lease.release().unwrap();
}

#[test]
fn errors_name_the_address_and_no_password() {
    let server = shared_server();
    let (_, secret) = server.split_once("://tenure:").unwrap();
    let (secret, host) = secret.split_once('@').unwrap();
    let (address, _) = host.split_once('/').unwrap();
    let check = |url: &str, is: fn(&tenure::Error) -> bool, says: &str| {
        let error = Postgres::connect(url).unwrap_err();
        let texts =
            format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(is(&error) && texts.contains(says), "{url}: {texts}");
        assert!(!texts.contains(secret) && !texts.contains("hush"), "{texts}");
    };
    check(
        &format!("postgres://tenure:hush@{host}"),
        tenure::Error::is_permission,
        "password authentication failed",
    );
    check(
        &format!("postgres://tenure:{secret}@{address}/nowhere"),
        tenure::Error::is_cannot_create,
        "nowhere",
    );
    check(
        &format!("postgres://tenure:{secret}@127.0.0.1:1/postgres"),
        tenure::Error::is_unreachable,
        "127.0.0.1:1",
    );
    check(
        &format!("postgres://tenure:{secret}@no.invalid/postgres"),
        tenure::Error::is_unreachable,
        "no.invalid",
    );
    check(
        &format!("postgres://tenure:{secret}@{host}?nonsense={secret}"),
        tenure::Error::is_rejected,
        "form",
    );
    let store = Postgres::connect(&server).unwrap();
    let lease = LeaseStore::connect(&server).unwrap();
    let shown = format!("{} {store:?} {lease:?}", store.address());
    assert!(
        shown.contains(&format!("postgres://tenure@{address}/postgres")) && !shown.contains(secret),
        "{shown}"
    );
}
