//! A way between an agent and its server that a test can cut, as a network does: what was on its way is lost, nobody is
//! told, and whoever dials gets no answer.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Whatever is larger is no heartbeat. A target has the manifests of what runs in it.
const LARGE: usize = 400;
/// Longest wait for the server's side to take a connection or some bytes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A relay on this machine's loopback. Ends with its value.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    way: Arc<Way>,
}

/// What the relay's threads share.
#[derive(Debug, Default)]
struct Way {
    /// Nothing gets through in either direction.
    cut: AtomicBool,
    /// Nothing gets from the agent to the server.
    silenced: AtomicBool,
    /// The agent is silenced as soon as the server says something that is no heartbeat.
    armed: AtomicBool,
    over: AtomicBool,
    /// Both ends of each connection: the agent's, and the server's where it is open.
    ends: Mutex<Vec<(TcpStream, Option<TcpStream>)>>,
}

impl Relay {
    /// A relay to HOST:PORT.
    ///
    /// # Panics
    /// Where that is no address, or nothing can listen.
    #[must_use]
    pub fn to(server: &str) -> Self {
        let server: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way::default());
        let held = Arc::clone(&way);
        thread::spawn(move || {
            for agent in listener.incoming().flatten() {
                if held.over.load(Ordering::SeqCst) {
                    return;
                }
                held.take(agent, server);
            }
        });
        Self { address, way }
    }

    /// HOST:PORT for the agent.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From the next order of the server's on, which still gets through, the agent is not heard any more.
    pub fn silence_at_the_next_order(&self) {
        self.way.armed.store(true, Ordering::SeqCst);
    }

    /// Cuts it in both directions. The server learns of it at once, the agent does not.
    pub fn cut(&self) {
        self.way.cut.store(true, Ordering::SeqCst);
        for (_, server) in self.way.ends().iter() {
            shut(server.as_ref());
        }
    }

    /// It is as before. What was open is closed, so that the agent dials again.
    pub fn heal(&self) {
        self.way.armed.store(false, Ordering::SeqCst);
        self.way.silenced.store(false, Ordering::SeqCst);
        self.way.cut.store(false, Ordering::SeqCst);
        self.way.close_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.way.over.store(true, Ordering::SeqCst);
        self.way.close_all();
        // So that the listener's thread looks up.
        let _ = TcpStream::connect(self.address);
    }
}

fn shut(stream: Option<&TcpStream>) {
    // One that is closed already is shut.
    let _ = stream.map(|stream| stream.shutdown(Shutdown::Both));
}

impl Way {
    fn ends(&self) -> std::sync::MutexGuard<'_, Vec<(TcpStream, Option<TcpStream>)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_all(&self) {
        for (agent, server) in self.ends().drain(..) {
            shut(Some(&agent));
            shut(server.as_ref());
        }
    }

    /// A connection of the agent's: on to the server, or nowhere.
    fn take(self: &Arc<Self>, agent: TcpStream, server: SocketAddr) {
        if self.cut.load(Ordering::SeqCst) {
            self.ends().push((agent, None));
            return;
        }
        let Ok(server) = TcpStream::connect_timeout(&server, PATIENCE) else {
            return shut(Some(&agent));
        };
        for stream in [&agent, &server] {
            stream.set_nodelay(true).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
        }
        let clone = |stream: &TcpStream| stream.try_clone().unwrap();
        self.ends().push((clone(&agent), Some(clone(&server))));
        let (up, down) = ((clone(&agent), clone(&server)), (server, agent));
        let way = Arc::clone(self);
        thread::spawn(move || {
            way.pump(up.0, up.1, |way, _| {
                !way.cut.load(Ordering::SeqCst) && !way.silenced.load(Ordering::SeqCst)
            });
        });
        let way = Arc::clone(self);
        thread::spawn(move || {
            way.pump(down.0, down.1, |way, size| {
                if size >= LARGE && way.armed.swap(false, Ordering::SeqCst) {
                    way.silenced.store(true, Ordering::SeqCst);
                }
                !way.cut.load(Ordering::SeqCst)
            });
        });
    }

    /// Carries what gets through, until one side is closed. A cut way stays open at the other side.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, gets_through: impl Fn(&Self, usize) -> bool) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            if gets_through(self, size) && to.write_all(&buffer[..size]).is_err() {
                break;
            }
        }
        if !self.cut.load(Ordering::SeqCst) {
            shut(Some(&to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay to a server that says everything twice, and the connection of an agent.
    fn doubled() -> (Relay, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::to(&listener.local_addr().unwrap().to_string());
        thread::spawn(move || {
            for mut agent in listener.incoming().flatten() {
                let mut buffer = [0; 1024];
                while let Ok(size @ 1..) = agent.read(&mut buffer) {
                    let twice = buffer[..size].repeat(2);
                    if agent.write_all(&twice).is_err() {
                        break;
                    }
                }
            }
        });
        let agent = dial(&relay);
        (relay, agent)
    }

    fn dial(relay: &Relay) -> TcpStream {
        let agent = TcpStream::connect(relay.address()).unwrap();
        agent.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        agent
    }

    fn say(agent: &mut TcpStream, size: usize) -> std::io::Result<usize> {
        agent.write_all(&vec![7; size])?;
        let mut answer = vec![0; 2 * size];
        agent.read_exact(&mut answer).map(|()| answer.len())
    }

    #[test]
    fn a_cut_way_loses_everything_and_a_healed_one_has_to_be_dialled_again() {
        let (relay, mut agent) = doubled();
        assert_eq!(say(&mut agent, 10).unwrap(), 20);
        relay.cut();
        assert!(say(&mut agent, 10).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        let mut dialled = dial(&relay);
        assert!(say(&mut dialled, 10).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        relay.heal();
        assert!(say(&mut agent, 10).is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock));
        assert_eq!(say(&mut dial(&relay), 10).unwrap(), 20);
    }

    #[test]
    fn an_agent_that_is_silenced_hears_the_order_and_is_not_heard() {
        let (relay, mut agent) = doubled();
        relay.silence_at_the_next_order();
        assert_eq!(say(&mut agent, 10).unwrap(), 20, "that was a heartbeat");
        assert_eq!(say(&mut agent, LARGE).unwrap(), 2 * LARGE);
        assert!(say(&mut agent, 10).is_err());
    }
}
