//! Addresses: others on them, specific ones, settings of the kernel.

use super::fixture::{
    A_MOMENT, add_loopback_address, address, assert_pins, client, gate, in_own_network, instance, ip, join,
    only, pin, reached, shares, strangers,
};
use crate::{Gate, GateError, reserve_pin_ports, set_tcp_migrate_req};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use std::net::TcpListener;

#[test]
fn an_address_in_use_is_named_with_what_to_do() {
    in_own_network(|| {
        let _stranger = TcpListener::bind("127.0.0.1:80").unwrap();
        let mut gate = Gate::new(address("0.0.0.0:80"), 16);
        let error = gate.join(instance("first"), pin(1)).unwrap_err();
        assert!(matches!(error, GateError::AddressInUse { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("0.0.0.0:80") && text.contains("EADDRINUSE") && text.contains("ss -ltnp"),
            "{text}"
        );
        assert_eq!(gate.members().count(), 0);
    });
}

#[test]
fn a_foreign_socket_in_the_group_is_refused() {
    in_own_network(|| {
        let foreign = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseport(&foreign, true).unwrap();
        bind(&foreign, &address("0.0.0.0:80")).unwrap();
        listen(&foreign, 1).unwrap();
        let mut gate = Gate::new(address("0.0.0.0:80"), 16);
        let error = gate.join(instance("first"), pin(1)).unwrap_err();
        assert!(matches!(error, GateError::ForeignSockets { .. }), "{error:?}");
        drop(foreign);
        gate.join(instance("first"), pin(1)).unwrap();
    });
}

#[test]
fn pins_are_unique_and_members_too() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["a"]);
        assert!(matches!(gate.join(instance("a"), pin(2)), Err(GateError::AlreadyMember(_))));
        assert!(matches!(gate.join(instance("b"), pin(1)), Err(GateError::PinTaken { .. })));
        assert_eq!(gate.free_pin(), Some(pin(2)));
    });
}

#[test]
fn a_specific_address_takes_the_pins_of_both_families() {
    for listener in ["10.9.8.7:80", "[fd00::7]:80", "127.0.0.9:80"] {
        in_own_network(|| {
            add_loopback_address("10.9.8.7/32", "");
            add_loopback_address("fd00::7/128", "nodad");
            let mut gate = gate(listener, &["old", "new"]);
            gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
            assert_eq!(strangers(&gate, 20), only("old", 20));
            for _ in 0..20 {
                assert_pins(&gate);
            }
        });
    }
}

#[test]
fn an_address_of_another_interface_takes_pins() {
    in_own_network(|| {
        // A pair of interfaces, as a network card would be: the connection from the pin goes over loopback all the same.
        ip("link add one type veth peer name two");
        ip("link set one up");
        ip("link set two up");
        ip("addr add 10.9.8.7/24 dev one");
        let mut gate = gate("10.9.8.7:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        assert_pins(&gate);
    });
}

#[test]
fn two_gates_on_two_addresses_of_one_port_do_not_meet() {
    in_own_network(|| {
        let mut one = gate("127.0.0.2:80", &["a", "hidden"]);
        let mut two = gate("127.0.0.3:80", &["b", "hidden"]);
        one.set_shares(&shares(&[("a", 10_000)])).unwrap();
        two.set_shares(&shares(&[("b", 10_000)])).unwrap();
        assert_eq!(strangers(&one, 20), only("a", 20));
        assert_eq!(strangers(&two, 20), only("b", 20));
        let open = reached(&one, client(one.address(), None), A_MOMENT).unwrap();
        assert_eq!(one.connections().unwrap().iter().filter(|connection| connection.is_open()).count(), 1);
        assert_eq!(two.connections().unwrap().iter().filter(|connection| connection.is_open()).count(), 0);
        drop(open);
    });
}

#[test]
fn a_gate_holds_32_members_and_no_more() {
    in_own_network(|| {
        let names: Vec<_> = (0..32).map(|number| format!("i{number}")).collect();
        let mut gate = gate("0.0.0.0:80", &names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(gate.join(instance("more"), pin(99)), Err(GateError::Full(_))));
        gate.set_shares(&shares(&[("i17", 10_000)])).unwrap();
        assert_eq!(strangers(&gate, 50), only("i17", 50));
        assert_pins(&gate);
    });
}

#[test]
fn the_kernels_settings_are_set_once_and_stay() {
    in_own_network(|| {
        for _ in 0..2 {
            assert!(set_tcp_migrate_req().unwrap());
            assert!(reserve_pin_ports().unwrap());
        }
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        assert_eq!(read("tcp_migrate_req").trim(), "1");
        assert_eq!(read("ip_local_reserved_ports").trim(), "61000-65111");
        // Reserved ports can still be bound to by name, which is what a pin does.
        let mut gate = gate("[::]:80", &["a"]);
        gate.set_shares(&shares(&[("a", 10_000)])).unwrap();
        join(&mut gate, "b");
        assert_pins(&gate);
    });
}
