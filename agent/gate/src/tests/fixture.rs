//! A network of the test's own, a gate, and clients that see whom they reached.

use crate::{Gate, Pin};
use handover_model::{InstanceId, Share, reached_at};
use handover_skips::Lack;
use nix::sched::{CloneFlags, unshare};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, accept_with, bind, connect, socket_with, sockopt},
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Runs `body` in a network namespace of its own with a loopback interface, so that ports, settings and other tests
/// do not matter. Returns false, and says so, where that is not allowed.
pub(crate) fn in_own_network(body: impl FnOnce() + Send) -> bool {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            // Only this thread, and those that it starts.
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                Lack::NetworkNamespace.skips(&format!("a gate ({error})"));
                return false;
            }
            ip("link set lo up");
            body();
            true
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// ip(8) in the namespace of this thread.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip(8) of iproute2 is needed");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// Gives the loopback interface an address, and waits until it can be connected to: for IPv6 that comes a moment later.
pub(crate) fn add_loopback_address(ip_with_prefix: &str, options: &str) {
    ip(format!("addr add {ip_with_prefix} dev lo {options}").trim_end());
    let (own, _) = ip_with_prefix.split_once('/').unwrap();
    let deadline = Instant::now() + LONG;
    loop {
        let connected =
            TcpListener::bind((own, 0)).and_then(|listener| TcpStream::connect(listener.local_addr()?));
        match connected {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < deadline, "{own} cannot be reached: {error}"),
        }
        thread::yield_now();
    }
}

pub(crate) fn instance(name: &str) -> InstanceId {
    name.parse().unwrap()
}

pub(crate) fn pin(number: u8) -> Pin {
    Pin::new(number).unwrap()
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A gate with these members; pins are counted from 1, and nobody has a share.
pub(crate) fn gate(listener: &str, names: &[&str]) -> Gate {
    let mut gate = Gate::new(address(listener), 1024);
    for name in names {
        join(&mut gate, name);
    }
    gate
}

pub(crate) fn join(gate: &mut Gate, name: &str) {
    let pin = gate.free_pin().unwrap();
    gate.join(instance(name), pin).unwrap();
}

pub(crate) fn shares(shares: &[(&str, u32)]) -> BTreeMap<InstanceId, Share> {
    shares.iter().map(|(name, share)| (instance(name), Share::new(*share).unwrap())).collect()
}

/// A client's connection that a member got.
pub(crate) struct Reached {
    pub(crate) name: String,
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
}

/// A non-blocking client of 127.0.0.1 or ::1, or of the pin, on its way.
pub(crate) fn client(to: SocketAddr, pin: Option<Pin>) -> OwnedFd {
    let socket = match pin {
        Some(pin) => pin.socket_for(to).unwrap(),
        None => {
            let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(family, SocketType::STREAM, flags, None).unwrap();
            let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            if to.ip().is_loopback() {
                bind(&socket, &address(any)).unwrap();
            }
            // No TIME_WAIT: thousands of connections must not use up the ports.
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
            socket
        }
    };
    match connect(&socket, &reached_at(to)) {
        Ok(()) | Err(Errno::INPROGRESS) => socket,
        Err(error) => panic!("connect to {to} from {pin:?}: {error}"),
    }
}

/// Whether something can be read, accepted or written within `patience`.
pub(crate) fn ready(socket: impl AsFd, what: PollFlags, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).unwrap();
    poll(&mut [PollFd::new(&socket, what)], Some(&patience)).unwrap() == 1
}

/// Who gets `client`'s connection; `None` if nobody answers within `patience`.
pub(crate) fn reached(gate: &Gate, client: OwnedFd, patience: Duration) -> Option<Reached> {
    if !ready(&client, PollFlags::OUT, patience) {
        return None;
    }
    sockopt::socket_error(&client).unwrap().unwrap();
    // The handshake's last packet may still be on its way to the queue.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        for name in gate.members() {
            if gate.accept_queue(name).unwrap_or(0) == 0 {
                continue;
            }
            let server = accept_with(gate.socket(name).unwrap(), SocketFlags::CLOEXEC).unwrap();
            let client = TcpStream::from(client);
            client.set_nonblocking(false).unwrap();
            return Some(Reached { name: name.to_string(), client, server: server.into() });
        }
        assert!(Instant::now() < deadline, "a connection that is established is in no member's queue");
        thread::yield_now();
    }
}

/// Long enough for a packet that is not dropped, short enough for many that are.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(20);
pub(crate) const LONG: Duration = Duration::from_secs(5);

/// Who gets the next stranger.
pub(crate) fn stranger(gate: &Gate, patience: Duration) -> Option<String> {
    reached(gate, client(gate.address(), None), patience).map(|reached| reached.name)
}

/// Who is behind the pin.
pub(crate) fn pinned(gate: &Gate, pin: Pin) -> Option<String> {
    reached(gate, client(gate.address(), Some(pin)), LONG).map(|reached| reached.name)
}

/// Where `count` strangers end up.
pub(crate) fn strangers(gate: &Gate, count: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        let name = stranger(gate, LONG).expect("every stranger is answered");
        *seen.entry(name).or_default() += 1;
    }
    seen
}

pub(crate) fn only(name: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(name.to_owned(), count)])
}

/// Each member that is not retired is behind its own pin.
pub(crate) fn assert_pins(gate: &Gate) {
    for member in gate.snapshot().members.iter().filter(|member| !member.retired) {
        assert_eq!(
            pinned(gate, member.pin).as_deref(),
            Some(member.instance.as_str()),
            "{:?}",
            gate.snapshot()
        );
    }
}

/// Duplicates of all sockets, as another holder of them would have.
pub(crate) fn duplicates(gate: &Gate) -> Vec<OwnedFd> {
    gate.members().filter_map(|name| gate.socket(name)?.try_clone_to_owned().ok()).collect()
}
