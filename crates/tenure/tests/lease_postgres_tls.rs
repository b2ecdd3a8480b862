//! Leases in PostgreSQL over TLS: what each `sslmode` encrypts and checks, by a server whose certificate no system trusts.
#![cfg(feature = "postgres")]

mod postgres_server;

use postgres_server::{Server, sql};
use tenure::lease::postgres::Postgres;

#[test]
fn each_mode_encrypts_and_checks_what_it_says() {
    let server = Server::start(&[]);
    let authority = server.file("ca.pem").display().to_string();
    let stranger = Server::start(&[]);
    let strange = stranger.file("ca.pem").display().to_string();
    let connect = |host: &str, options: &str| {
        let url = server.url.replace("@127.0.0.1:", &format!("@{host}:"));
        Postgres::connect(&format!("{url}?hostaddr=127.0.0.1&{options}"))
    };
    let encrypted = || {
        sql(
            &server.url,
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tenure'",
        )
    };
    let good = [
        ("127.0.0.1", "sslmode=disable".to_owned(), "f"),
        ("127.0.0.1", String::new(), "t"),
        ("elsewhere.invalid", "sslmode=prefer".to_owned(), "t"),
        ("elsewhere.invalid", "sslmode=require".to_owned(), "t"),
        ("elsewhere.invalid", format!("sslmode=require&sslrootcert={authority}"), "t"),
        ("elsewhere.invalid", format!("sslmode=verify-ca&sslrootcert={authority}"), "t"),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={authority}"), "t"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={authority}"), "t"),
    ];
    for (host, options, expected) in good {
        let store = connect(host, &options).unwrap_or_else(|error| panic!("{options}: {error}"));
        assert_eq!(encrypted(), expected, "{options}");
        drop(store);
    }
    let bad = [
        ("127.0.0.1", format!("sslmode=require&sslrootcert={strange}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={strange}")),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={strange}")),
        // By the authorities of the system.
        ("127.0.0.1", "sslmode=verify-ca".to_owned()),
        ("127.0.0.1", "sslmode=verify-full".to_owned()),
        ("elsewhere.invalid", format!("sslmode=verify-full&sslrootcert={authority}")),
    ];
    for (host, options) in bad {
        let Err(error) = connect(host, &options) else { panic!("{options} was satisfied") };
        let says = error.to_string();
        assert!(error.is_unreachable() && says.contains("certificate"), "{options}: {says}");
    }
}

#[test]
fn a_server_without_tls_is_refused_by_who_requires_it() {
    let server = Server::start(&[]);
    sql(&server.url, "ALTER SYSTEM SET ssl = off");
    sql(&server.url, "SELECT pg_reload_conf()");
    Postgres::connect(&server.url).expect("the default takes what it gets");
    for mode in ["require", "verify-ca", "verify-full"] {
        let Err(error) = Postgres::connect(&format!("{}?sslmode={mode}", server.url)) else {
            panic!("{mode}")
        };
        assert!(
            error.is_unreachable() && error.to_string().contains("does not support TLS"),
            "{mode}: {error}"
        );
    }
}
