use super::*;
use crate::sys;
use rustix::fs::fstat;
use std::{
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    time::Instant,
};

fn inode(socket: &impl AsFd) -> u64 {
    fstat(socket).unwrap().st_ino
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_is_found_by_its_addresses_once_it_is_accepted() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let local = listener.local_addr().unwrap();
        let client = TcpStream::connect(local).unwrap();
        let peer = client.local_addr().unwrap();
        let waiting = eventually("a connection in the queue", || find(local, peer).unwrap());
        assert_eq!(waiting.inode, None);
        let (server, _) = listener.accept().unwrap();
        let accepted = find(local, peer).unwrap().unwrap();
        assert_eq!(accepted.inode, Some(inode(&server)));
        assert_eq!(accepted.cookie, waiting.cookie);
        assert!(accepted.is_open());
        assert_eq!(connections(local).unwrap(), [accepted]);
        assert_eq!(listeners(local).unwrap(), [inode(&listener)]);
    }
}

#[test]
fn a_dual_stack_listener_has_its_ipv4_connections() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(("127.0.0.1", address.port())).unwrap();
    let found = eventually("the connection", || connections(address).unwrap().pop());
    assert_eq!(found.peer, client.local_addr().unwrap());
    assert_eq!(listeners(address).unwrap(), [inode(&listener)]);
}

#[test]
fn what_is_not_there_is_not_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    assert_eq!(find(local, "127.0.0.1:1".parse().unwrap()).unwrap(), None);
    assert_eq!(connections(local).unwrap(), []);
    drop(listener);
    assert_eq!(listeners(local).unwrap(), [0_u64; 0]);
}

#[test]
fn hundreds_of_connections_are_listed_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let pairs: Vec<_> =
        (0..300).map(|_| (TcpStream::connect(local).unwrap(), listener.accept().unwrap().0)).collect();
    let mut expected: Vec<_> = pairs.iter().map(|(_, server)| Some(inode(server))).collect();
    let mut found: Vec<_> = connections(local).unwrap().iter().map(|connection| connection.inode).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn whom_a_full_queue_turns_away_is_counted_at_its_own_socket() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let socket = |at: SocketAddr| {
            let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
            sockopt::set_socket_reuseport(&socket, true).unwrap();
            rustix::net::bind(&socket, &at).unwrap();
            socket
        };
        // A queue of 1 holds two connections (`sk_acceptq_is_full` in include/net/sock.h).
        let full = socket(address.parse().unwrap());
        rustix::net::listen(&full, 1).unwrap();
        let full = TcpListener::from(full);
        let local = full.local_addr().unwrap();
        assert_eq!(drops(local).unwrap(), [(inode(&full), 0)].into());
        let _waiting = [TcpStream::connect(local).unwrap(), TcpStream::connect(local).unwrap()];
        eventually("a full queue", || {
            (sys::listening(full.as_fd()).unwrap().accept_queue == 2).then_some(())
        });
        let refused = TcpStream::connect_timeout(&local, Duration::from_millis(100));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(drops(local).unwrap()[&inode(&full)] >= 1);
        // Another one of the group has turned nobody away.
        let other = socket(local);
        rustix::net::listen(&other, 1).unwrap();
        let counted = drops(local).unwrap();
        assert_eq!((counted.len(), counted[&inode(&other)]), (2, 0));
    }
}

#[test]
fn an_attribute_is_found_among_others_and_what_is_cut_is_none() {
    let attributes = [5, 0, 1, 0, 9, 0, 0, 0, 8, 0, 7, 0, 1, 2, 3, 4];
    assert_eq!(attribute(&attributes, 1), Some([9].as_slice()));
    assert_eq!(attribute(&attributes, 7), Some([1, 2, 3, 4].as_slice()));
    assert_eq!(attribute(&attributes, 2), None);
    assert_eq!(attribute(&attributes[..15], 7), None);
    assert_eq!(attribute(&[0; 8], 1), None, "a length that would lead nowhere");
}
