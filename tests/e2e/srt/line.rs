//! A line between publisher and orchestrator that loses packets, the same ones for the same seed: a UDP relay.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Numbers without any sense, the same for the same seed: Marsaglia's xorshift64.
#[derive(Debug)]
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    /// One from 0 up to `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// A line for one publisher; it ends with the test's process.
#[derive(Debug)]
pub(super) struct Line {
    /// Where the publisher calls.
    pub(super) at: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    lost: AtomicU64,
    dead_until: Mutex<Option<Instant>>,
}

impl Line {
    /// A line to `target` that loses one packet in `one_in`, either way.
    pub(super) fn to(target: SocketAddr, seed: u64, one_in: u64) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let far = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        far.connect(target).expect("a socket can be bound to its peer");
        let at = near.local_addr().expect("a bound socket has an address");
        let state = Arc::<State>::default();
        let caller = Arc::<Mutex<Option<SocketAddr>>>::default();
        let [near, far] = [near, far].map(Arc::new);
        for there in [true, false] {
            let (near, far, state, caller) = (near.clone(), far.clone(), state.clone(), caller.clone());
            let mut noise = Noise::new(seed * 2 + u64::from(there));
            thread::spawn(move || {
                let mut packet = [0; 2_048];
                loop {
                    let received = if there { near.recv_from(&mut packet) } else { far.recv_from(&mut packet) };
                    let (length, from) = match received {
                        Ok(received) => received,
                        // Nobody listens there at the moment.
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                        Err(_) => return,
                    };
                    if there {
                        *caller.lock().unwrap() = Some(from);
                    }
                    if noise.below(one_in) == 0 || state.is_dead() {
                        state.lost.fetch_add(1, Relaxed);
                        continue;
                    }
                    // A packet that can't be sent is one more that is lost.
                    let _ = match *caller.lock().unwrap() {
                        _ if there => far.send(&packet[..length]),
                        Some(caller) => near.send_to(&packet[..length], caller),
                        None => Ok(0),
                    };
                }
            });
        }
        Self { at, state }
    }

    /// Packets that were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Relaxed)
    }

    /// From now on nothing comes through for so long.
    pub(super) fn cut_for(&self, time: Duration) {
        *self.state.dead_until.lock().unwrap() = Some(Instant::now() + time);
    }
}

impl State {
    fn is_dead(&self) -> bool {
        self.dead_until.lock().unwrap().is_some_and(|until| Instant::now() < until)
    }
}
