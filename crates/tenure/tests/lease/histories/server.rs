//! A PostgreSQL server that is killed, is cut off, and has its clock jump.

use std::fmt;
use std::time::{Duration, Instant};

use super::proxy::{Proxy, Way};
use super::storm::{Ailment, below};
use crate::postgres_server::Server;

/// How far the server's clock jumps.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Jumps {
    /// To and fro by nine tenths of what the store allows for, a second.
    WithinTheBound,
    BeyondTheBound,
}

pub(super) struct Ailing {
    server: Server,
    proxy: Proxy,
    jumps: Jumps,
    ahead: bool,
    cut_until: Option<Instant>,
    kills: usize,
    cuts: usize,
    jumped: usize,
}

impl Ailing {
    pub(super) fn start(jumps: Jumps) -> Ailing {
        let server = Server::start(&["--faketime"]);
        let port = server.url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
        let proxy = Proxy::to(port.parse().unwrap());
        Ailing { server, proxy, jumps, ahead: false, cut_until: None, kills: 0, cuts: 0, jumped: 0 }
    }

    /// The address that leads through the proxy.
    pub(super) fn address(&self) -> String {
        let (user, _) = self.server.url.rsplit_once('@').unwrap();
        format!("{user}@127.0.0.1:{}/postgres?clock_bound_ms=1000&notify=on", self.proxy.port)
    }

    fn jump(&mut self) {
        let ahead = match self.jumps {
            Jumps::WithinTheBound => "+0.9",
            Jumps::BeyondTheBound => "+60",
        };
        self.ahead = !self.ahead;
        self.server.control("clock", &[if self.ahead { ahead } else { "+0" }]);
        self.jumped += 1;
    }

    fn cut(&mut self) {
        self.proxy.be(if below(2) == 0 { Way::Cut } else { Way::Silent });
        self.cut_until = Some(Instant::now() + Duration::from_millis(50 + below(800)));
        self.cuts += 1;
    }
}

impl Ailment for Ailing {
    fn tick(&mut self) {
        if self.cut_until.is_some_and(|until| until <= Instant::now()) {
            self.proxy.be(Way::Open);
            self.cut_until = None;
        }
        match (self.jumps, below(16)) {
            (Jumps::BeyondTheBound, 0..6) | (_, 0..3) => self.jump(),
            (Jumps::WithinTheBound, 3..6) if self.cut_until.is_none() => self.cut(),
            // Also when luck would leave it alone: what did not happen shows nothing.
            (Jumps::WithinTheBound, n) if n == 6 || (self.cuts > 4 && self.kills == 0) => {
                self.server.control("kill", &[]);
                self.server.control("restart", &[]);
                self.kills += 1;
            }
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.proxy.be(Way::Open);
    }

    fn suffered(&self) -> bool {
        let more = self.kills > 0 && self.cuts > 0;
        self.jumped > 1 && (more || self.jumps == Jumps::BeyondTheBound)
    }
}

impl fmt::Display for Ailing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kills, {} cuts and {} jumps of the server", self.kills, self.cuts, self.jumped)
    }
}
