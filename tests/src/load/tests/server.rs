//! Servers of a few lines.

use rustix::net::sockopt::set_socket_linger;
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nx-version: v1\r\ncontent-length: 2\r\n\r\nhi";

/// A connection as a server sees it.
pub(super) struct Client(TcpStream);

impl Client {
    /// Reads one request's head; none where the client has closed, or sends nothing for 20 s.
    pub(super) fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        Some(String::from_utf8(head).unwrap())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        // A client that has gone is that client's business.
        let _ = self.0.write_all(bytes);
    }

    /// Answers every request with these bytes until the client closes, or asks for it.
    pub(super) fn answer_all(mut self, bytes: &[u8]) {
        while let Some(request) = self.request() {
            self.send(bytes);
            if request.contains("connection: close") {
                return;
            }
        }
    }

    /// Closes the sending side, and takes whatever still comes: so the client sees the end, never a reset.
    pub(super) fn close(mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
        let _ = self.0.read_to_end(&mut Vec::new());
    }

    pub(super) fn reset(self) {
        set_socket_linger(&self.0, Some(Duration::ZERO)).unwrap();
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.peer_addr().unwrap()
    }
}

/// A server that does the same with each connection, each on a thread of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    pub(super) fn start(behave: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        let behave = Arc::new(behave);
        // It ends with the test's process: nothing can end an accept.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let behave = Arc::clone(&behave);
                thread::spawn(move || behave(Client(stream)));
            }
        });
        Self { address, accepted }
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}
