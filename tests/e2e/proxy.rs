//! A network between worker and orchestrator that can be cut: a TCP relay on the loopback.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It carries everything.
    Up,
    /// Connections break, new ones are refused.
    Cut,
    /// Connections stay, and nothing comes through: a pulled cable.
    Stalled,
}

/// A relay on a port of its own; ends with the test's process.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Host and port to connect to.
    pub(crate) address: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    line: Mutex<Line>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Relays to `target`, a host and port.
    pub(crate) fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let state =
            Arc::new(State { line: Mutex::new(Line::Up), changed: Condvar::new(), open: Mutex::new(Vec::new()) });
        let (target, shared) = (target.to_owned(), state.clone());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let line = *shared.line.lock().unwrap();
                if line == Line::Cut {
                    continue; // dropping it breaks the connection
                }
                let Ok(far) = TcpStream::connect(&target) else { continue };
                relay(&near, &far, &shared);
                relay(&far, &near, &shared);
                shared.open.lock().unwrap().extend([near, far]);
            }
        });
        Self { address, state }
    }

    /// Changes what the network does.
    pub(crate) fn set(&self, line: Line) {
        *self.state.line.lock().unwrap() = line;
        self.state.changed.notify_all();
        if line == Line::Cut {
            for socket in self.state.open.lock().unwrap().drain(..) {
                // One that is closed already is as good as cut.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Copies one direction until it ends, waiting while the line is stalled.
fn relay(from: &TcpStream, to: &TcpStream, state: &Arc<State>) {
    let mut from = from.try_clone().expect("a socket can be cloned");
    let mut to = to.try_clone().expect("a socket can be cloned");
    let state = state.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let stalled = |line: &mut Line| *line == Line::Stalled;
            drop(state.changed.wait_while(state.line.lock().unwrap(), stalled).unwrap());
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
