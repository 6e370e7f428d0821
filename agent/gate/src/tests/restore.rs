//! Taking over after a restart of the agent.

use super::fixture::{
    assert_pins, client, duplicates, gate, in_own_network, instance, join, only, shares, strangers,
};
use crate::{Gate, GateError, GateSnapshot, Order, OrderCheck};
use rustix::net::{Shutdown, shutdown};

/// Through the journal's format.
fn written_and_read(snapshot: &GateSnapshot) -> GateSnapshot {
    serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
}

fn quiet(gate: &Gate) {
    for name in gate.members() {
        assert_eq!(gate.accept_queue(name).unwrap_or(0), 0, "{name} saw a connection");
    }
}

#[test]
fn a_gate_is_taken_over_and_no_instance_notices() {
    for listener in ["0.0.0.0:80", "[::]:80", "127.0.0.1:80"] {
        in_own_network(|| {
            let mut gate = gate(listener, &["a", "b", "c", "d"]);
            gate.set_shares(&shares(&[("b", 6_000), ("c", 4_000)])).unwrap();
            let (snapshot, sockets) = (written_and_read(&gate.snapshot()), duplicates(&gate));
            drop(gate);
            let restored = Gate::restore(snapshot.clone(), sockets).unwrap();
            let mut gate = restored.gate;
            assert!(restored.lost.is_empty() && restored.unmatched.is_empty());
            assert!(matches!(gate.set_shares(&shares(&[])), Err(GateError::Unverified(_))));
            assert!(matches!(gate.retire(&instance("a")), Err(GateError::Unverified(_))));
            assert_eq!(gate.verify_order().unwrap(), OrderCheck::Right);
            quiet(&gate);
            assert_eq!(gate.snapshot(), snapshot);
            assert_pins(&gate);
            let seen = strangers(&gate, 60);
            assert!(seen.len() == 2 && seen.contains_key("b") && seen.contains_key("c"), "{seen:?}");
        });
    }
}

#[test]
fn a_wrong_order_is_found_and_corrected() {
    for listener in ["0.0.0.0:80", "[::]:80"] {
        in_own_network(|| {
            let mut gate = gate(listener, &["a", "b", "c", "d", "e"]);
            gate.set_shares(&shares(&[("d", 10_000)])).unwrap();
            let right = gate.snapshot();
            let mut wrong = right.clone();
            wrong.members.rotate_left(2);
            wrong.members.swap(0, 3);
            let sockets = duplicates(&gate);
            drop(gate);
            let mut gate = Gate::restore(wrong, sockets).unwrap().gate;
            assert_eq!(gate.verify_order().unwrap(), OrderCheck::Corrected);
            quiet(&gate);
            assert_eq!(gate.snapshot(), right);
            assert_eq!(strangers(&gate, 50), only("d", 50));
            assert_pins(&gate);
        });
    }
}

#[test]
fn checking_the_order_works_under_load_on_the_live_member() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["a", "live", "c"]);
        gate.set_shares(&shares(&[("live", 10_000)])).unwrap();
        // Nobody accepts: a full queue drops packets too, which must not be taken for answers.
        let clients: Vec<_> = (0..1_200).map(|_| client(gate.address(), None)).collect();
        let mut snapshot = gate.snapshot();
        snapshot.members.reverse();
        let sockets = duplicates(&gate);
        drop(gate);
        let mut gate = Gate::restore(snapshot, sockets).unwrap().gate;
        assert_eq!(gate.verify_order().unwrap(), OrderCheck::Corrected);
        assert_eq!(gate.members().map(ToString::to_string).collect::<Vec<_>>(), ["a", "live", "c"]);
        drop(clients);
    });
}

#[test]
fn a_member_that_left_behind_the_journals_back_is_reported() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["a", "b", "c", "live"]);
        gate.set_shares(&shares(&[("live", 10_000)])).unwrap();
        let stale = gate.snapshot();
        for name in ["a", "b"] {
            shutdown(gate.socket(&instance(name)).unwrap(), Shutdown::Both).unwrap();
        }
        let sockets = duplicates(&gate);
        drop(gate);
        let mut restored = Gate::restore(stale, sockets).unwrap();
        restored.lost.sort();
        assert_eq!(restored.lost, [instance("a"), instance("b")]);
        restored.gate.verify_order().unwrap();
        assert_eq!(restored.gate.order(), Order::Verified);
        assert_eq!(strangers(&restored.gate, 50), only("live", 50));
        assert_pins(&restored.gate);
    });
}

#[test]
fn a_socket_that_only_its_instance_holds_keeps_its_number() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["a", "b", "live"]);
        gate.set_shares(&shares(&[("live", 10_000)])).unwrap();
        let snapshot = gate.snapshot();
        let mut sockets = duplicates(&gate);
        let held_elsewhere = sockets.remove(1);
        drop(gate);
        let mut gate = Gate::restore(snapshot, sockets).unwrap().gate;
        assert!(gate.socket(&instance("b")).is_none());
        assert_eq!(gate.verify_order().unwrap(), OrderCheck::Right);
        assert_eq!(strangers(&gate, 50), only("live", 50));
        assert!(matches!(gate.set_shares(&shares(&[("b", 10_000)])), Err(GateError::NoSocket(_))));
        drop(held_elsewhere);
        assert_eq!(gate.sweep().unwrap(), [instance("b")]);
        assert_eq!(strangers(&gate, 50), only("live", 50));
        assert_pins(&gate);
    });
}

#[test]
fn a_socket_that_the_journal_does_not_know_must_go_first() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["live"]);
        gate.set_shares(&shares(&[("live", 10_000)])).unwrap();
        let stale = gate.snapshot();
        join(&mut gate, "unwritten");
        let sockets = duplicates(&gate);
        drop(gate);
        let mut restored = Gate::restore(stale, sockets).unwrap();
        assert!(matches!(restored.gate.verify_order(), Err(GateError::ForeignSockets { .. })));
        for socket in restored.unmatched {
            shutdown(&socket, Shutdown::Both).unwrap();
        }
        assert_eq!(restored.gate.verify_order().unwrap(), OrderCheck::Right);
        assert_eq!(strangers(&restored.gate, 50), only("live", 50));
    });
}

#[test]
fn a_flip_that_the_journal_does_not_know_puts_no_candidates_wall_before_strangers() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        let stale = gate.snapshot();
        gate.set_shares(&shares(&[("new", 10_000)])).unwrap();
        let sockets = duplicates(&gate);
        drop(gate);
        let mut gate = Gate::restore(stale, sockets).unwrap().gate;
        gate.verify_order().unwrap();
        assert!(!crate::sys::has_filter(gate.socket(&instance("new")).unwrap()).unwrap());
        assert_eq!(strangers(&gate, 50), only("old", 50));
        assert_pins(&gate);
    });
}
