//! A way to the server that can be cut: connections are closed, or go silent.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the way is like.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    Open,
    /// Connections are closed, and new ones at once.
    Cut,
    /// Nothing passes, and nobody is told.
    Silent,
}

const WAYS: [Way; 3] = [Way::Open, Way::Cut, Way::Silent];

/// Listens for as long as this process lives.
pub(super) struct Proxy {
    pub(super) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    way: AtomicU8,
    open: Mutex<Vec<TcpStream>>,
}

impl State {
    fn way(&self) -> Way {
        WAYS[usize::from(self.way.load(Ordering::SeqCst))]
    }
}

impl Proxy {
    pub(super) fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = proxy.state.clone();
        std::thread::spawn(move || {
            for incoming in listener.incoming().flatten() {
                // A server that is down, too, closes the connection.
                if state.way() != Way::Cut
                    && let Ok(server) = TcpStream::connect(("127.0.0.1", port))
                {
                    state.join(&incoming, &server);
                }
            }
        });
        proxy
    }

    pub(super) fn be(&self, way: Way) {
        let number = WAYS.iter().position(|known| *known == way).unwrap();
        self.state.way.store(u8::try_from(number).unwrap(), Ordering::SeqCst);
        if way == Way::Cut {
            for stream in self.state.open.lock().unwrap().drain(..) {
                // It may be closed already.
                let _closed = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl State {
    fn join(self: &Arc<State>, client: &TcpStream, server: &TcpStream) {
        for (from, to) in [(client, server), (server, client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            self.open.lock().unwrap().push(from.try_clone().unwrap());
            let state = self.clone();
            std::thread::spawn(move || {
                state.pump(&from, &to);
                let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }

    /// Passes on what comes, until either side has closed.
    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream) {
        from.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        to.set_nodelay(true).unwrap();
        let mut buffer = [0; 4096];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_closed) => return,
            };
            while self.way() == Way::Silent {
                std::thread::sleep(Duration::from_millis(2));
            }
            if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    }
}
