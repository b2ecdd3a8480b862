//! The address: what in it is ours, what is the driver's, and how it may be shown.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{self, Checks};
use crate::error::{Error, Result};

/// By how much the server's clock may jump forward before a lease is given to another too early, if the address says nothing.
const CLOCK_BOUND: Duration = Duration::from_secs(1);

/// How long sent bytes may stay without an acknowledgement before the connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Where the leases are, and how to get there.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
    /// The address without password and options.
    pub(super) shown: String,
    pub(super) notify: bool,
    pub(super) clock_bound: Duration,
}

/// What we take out of the address before the driver reads it.
#[derive(Debug, Default)]
struct Ours {
    notify: bool,
    clock_bound: Option<Duration>,
    mode: Option<Mode>,
    roots: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Target {
    /// Reads an address; `password` is for one that has none.
    pub(super) fn parse(url: &str, password: Option<String>) -> Result<Target> {
        // Nothing of the text may be shown: a forgotten `@` or a stray `/` makes a password look like anything.
        let refuse = |problem: &str| {
            let form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE&...";
            Error::refused_lease(
                Path::new("postgres:"),
                format!("{problem}. Its form is {form}, percent-encoded"),
            )
        };
        let (rest, ours) = take_ours(url).map_err(&refuse)?;
        let parsed: std::result::Result<Config, _> = rest.parse();
        let mut config = parsed.map_err(|_shows_parts| {
            refuse("this is no address of a PostgreSQL server, or has an option that is not known")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refuse("the address names no host"));
        }
        if let Some(password) = password.filter(|_| config.get_password().is_none()) {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("tenure");
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE_MAX);
        }
        let shown = shown(&config);
        let mode = ours.mode.unwrap_or(Mode::Prefer);
        let checks = match mode {
            Mode::Disable => None,
            Mode::Prefer => Some(Checks::Nothing),
            Mode::Require if ours.roots.is_none() => Some(Checks::Nothing),
            Mode::Require | Mode::VerifyCa => Some(Checks::Authority),
            Mode::VerifyFull => Some(Checks::AuthorityAndName),
        };
        config.ssl_mode(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        // A Unix socket has no name that a certificate could be made out to, and nobody in between.
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        if local && mode == Mode::Prefer && !config.get_hosts().is_empty() {
            config.ssl_mode(SslMode::Disable);
        }
        let tls = checks.map(|checks| tls::connector(checks, ours.roots.as_deref(), &shown)).transpose()?;
        let clock_bound = ours.clock_bound.unwrap_or(CLOCK_BOUND);
        Ok(Target { config, tls, shown, notify: ours.notify, clock_bound })
    }
}

/// Splits our options from those that the driver knows.
fn take_ours(url: &str) -> std::result::Result<(String, Ours), &'static str> {
    // A password may hold a question mark, though it should be written %3F: the driver takes everything up to the `@` for it.
    let behind_user = url.find('@').map_or(0, |at| at + 1);
    let Some(question) = url[behind_user..].find('?').map(|at| behind_user + at) else {
        return Ok((url.to_owned(), Ours::default()));
    };
    let mut ours = Ours::default();
    let mut theirs = Vec::new();
    for option in url[question + 1..].split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').ok_or("an option in the address has no value")?;
        let decoded = || percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "notify" => ours.notify = switch(value).ok_or("`notify` is `on` or `off`")?,
            "clock_bound_ms" => {
                let problem = "`clock_bound_ms` is a number of milliseconds, an hour at most";
                let bound = value.parse().ok().filter(|bound| *bound <= 3_600_000).ok_or(problem)?;
                ours.clock_bound = Some(Duration::from_millis(bound));
            }
            "sslmode" => ours.mode = Some(mode(value).ok_or(MODES)?),
            "sslrootcert" => ours.roots = Some(decoded().into()),
            _ => theirs.push(option),
        }
    }
    let mut rest = url[..question].to_owned();
    if !theirs.is_empty() {
        rest.push('?');
        rest.push_str(&theirs.join("&"));
    }
    Ok((rest, ours))
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

const MODES: &str = "`sslmode` is `disable`, `prefer`, `require`, `verify-ca` or `verify-full`";

fn mode(value: &str) -> Option<Mode> {
    Some(match value {
        "disable" => Mode::Disable,
        "prefer" => Mode::Prefer,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        _ => return None,
    })
}

/// Made anew from the parts that are no secret, so that nothing else can be in it.
fn shown(config: &Config) -> String {
    let mut text = "postgres://".to_owned();
    if let Some(user) = config.get_user() {
        text.push_str(user);
        text.push('@');
    }
    let named = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let mut hosts: Vec<String> = named.collect();
    if hosts.is_empty() {
        hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    for (n, host) in hosts.iter().enumerate() {
        text.push_str(if n > 0 { "," } else { "" });
        text.push_str(host);
        let port = config.get_ports().get(n).or(config.get_ports().first());
        if let Some(port) = port.filter(|port| **port != 5432) {
            // Writing to a String can't fail.
            let _written = write!(text, ":{port}");
        }
    }
    if let Some(database) = config.get_dbname() {
        text.push('/');
        text.push_str(database);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_of(url: &str) -> String {
        Target::parse(url, None).unwrap_or_else(|error| panic!("{url}: {error}")).shown
    }

    #[test]
    fn what_is_shown_has_no_password_and_no_options() {
        let cases = [
            ("postgres://ada:hush@db.example/leases", "postgres://ada@db.example/leases"),
            ("postgresql://ada:hu%40sh@db:6432/leases?sslmode=disable", "postgres://ada@db:6432/leases"),
            ("postgres://ada:hush?x=hush@db/leases", "postgres://ada@db/leases"),
            (
                "postgres://ada@a,b:6432/leases?password=hush&target_session_attrs=read-write",
                "postgres://ada@a:5432,b:6432/leases",
            ),
            ("postgres:///leases?host=/run/postgresql&user=ada", "postgres://ada@/run/postgresql/leases"),
        ];
        for (url, expected) in cases {
            let shown = shown_of(url);
            assert!(!shown.contains("hush"), "{shown}");
            assert_eq!(shown.replace(":5432", ""), expected.replace(":5432", ""), "{url}");
        }
    }

    #[test]
    fn our_options_are_taken_out() {
        let url = "postgres://a@b/c?notify=on&clock_bound_ms=250&sslmode=require&connect_timeout=3";
        let target = Target::parse(url, Some("hush".into())).unwrap();
        assert!(target.notify && target.tls.is_some());
        assert_eq!(target.clock_bound, Duration::from_millis(250));
        assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(target.config.get_password(), Some(&b"hush"[..]));
        let own = Target::parse("postgres://a:own@b/c", Some("hush".into())).unwrap();
        assert_eq!(own.config.get_password(), Some(&b"own"[..]));
        assert!(!own.notify && own.config.get_ssl_mode() == SslMode::Prefer);
    }

    #[test]
    fn what_is_refused_is_not_shown() {
        for url in [
            "postgres://ada:hush@db/leases?notify=hush",
            "postgres://ada:hush@db/leases?sslmode=hush",
            "postgres://ada:hush@db/leases?clock_bound_ms=hush",
            "postgres://ada:hush@db/leases?hush=1",
            "postgres://ada:hush@db/leases?hush",
            "postgres://ada:hush@db:hush/leases",
            "postgres://ada:%ffhush@db:1x/leases",
            "postgres://ada:hush/db/leases",
            "postgres:///hush",
            "postgres://ada:hush@db/leases?sslmode=verify-full&sslrootcert=/does/not/exist",
        ] {
            let Err(error) = Target::parse(url, None) else { panic!("{url} was taken") };
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }
}
