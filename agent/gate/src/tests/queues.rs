//! Queues after a flip.

use super::fixture::{LONG, client, gate, in_own_network, instance, ready, shares};
use crate::{Instruction, bpf, sys};
use handover_model::reached_at;
use rustix::{
    event::PollFlags,
    net::{AddressFamily, SocketFlags, SocketType, accept, connect, socket_with},
};
use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    thread,
    time::Instant,
};

/// A client that does not hear the answer to its SYN, so that the handshake stays half open until `resume`.
fn half_open(to: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let drop_all = Instruction { code: bpf::RETURN, jump_true: 0, jump_false: 0, operand: 0 };
    sys::attach_filter(socket.as_fd(), &[drop_all]).unwrap();
    let _in_progress = connect(&socket, &reached_at(to));
    socket
}

fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !look() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_handshake_from_before_the_flip_is_waited_for_and_a_later_one_is_not() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        let (old, new) = (instance("old"), instance("new"));
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        let early = half_open(gate.address());
        eventually("a half-open handshake", || gate.pending_requests().unwrap().len() == 1);
        gate.set_shares(&shares(&[("new", 10_000)])).unwrap();
        let pending = gate.pending_requests().unwrap();
        assert_eq!(pending.len(), 1);
        let late = half_open(gate.address());
        eventually("a second one", || gate.pending_requests().unwrap().len() == 2);
        assert!(!gate.queues_empty(&pending, &old).unwrap());
        // The client hears the repeated answer: the handshake ends with the old one, also behind a standby's wall.
        gate.hide_standby(&old).unwrap();
        sys::detach_filter(early.as_fd()).unwrap();
        assert!(ready(&early, PollFlags::OUT, LONG));
        eventually("the connection in the old one's queue", || gate.accept_queue(&old).unwrap() == 1);
        assert!(!gate.queues_empty(&pending, &old).unwrap(), "it waits in the accept queue");
        let accepted = accept(gate.socket(&old).unwrap()).unwrap();
        assert!(gate.queues_empty(&pending, &old).unwrap(), "although the late handshake is still under way");
        sys::detach_filter(late.as_fd()).unwrap();
        assert!(ready(&late, PollFlags::OUT, LONG));
        eventually("the late one at the new one", || gate.accept_queue(&new).unwrap() == 1);
        drop(accepted);
    });
}

#[test]
fn an_accept_queue_is_counted() {
    in_own_network(|| {
        let mut gate = gate("[::]:80", &["a", "b"]);
        gate.set_shares(&shares(&[("a", 10_000)])).unwrap();
        let clients: Vec<_> = (0..7).map(|_| client(gate.address(), None)).collect();
        eventually("seven in the queue", || gate.accept_queue(&instance("a")).unwrap() == 7);
        assert_eq!(gate.accept_queue(&instance("b")).unwrap(), 0);
        let waiting = gate.connections().unwrap();
        assert_eq!(waiting.iter().filter(|connection| connection.inode.is_none()).count(), 7);
        drop(clients);
    });
}
