//! Leaving the group, and the wall behind which a hidden member stands meanwhile.

use super::fixture::{
    A_MOMENT, LONG, assert_pins, client, gate, in_own_network, instance, join, only, reached, shares,
    stranger, strangers,
};
use crate::{Gate, GateError, Instruction, Retired, bpf, set_tcp_migrate_req, sys};
use rustix::net::{Shutdown, shutdown};
use std::{
    io::{Read, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// What the kernel does with a number out of range: its hash over all members.
fn break_program(gate: &Gate) {
    let out_of_range = Instruction { code: bpf::RETURN, jump_true: 0, jump_false: 0, operand: 1_000 };
    sys::attach_steering(gate.any_socket().unwrap().as_fd(), &[out_of_range]).unwrap();
}

#[test]
fn the_usual_pair_old_leaves_at_once() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        assert!(matches!(gate.retire(&instance("old")), Err(GateError::HasShare(_))));
        gate.set_shares(&shares(&[("new", 10_000)])).unwrap();
        assert_eq!(gate.retire(&instance("old")).unwrap(), Retired::Closed);
        assert_eq!(strangers(&gate, 50), only("new", 50));
        join(&mut gate, "newer");
        assert_eq!(strangers(&gate, 50), only("new", 50));
        assert_pins(&gate);
    });
}

#[test]
fn a_member_whose_removal_would_move_the_live_one_past_a_hidden_one_stays() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "hidden", "live"]);
        gate.set_shares(&shares(&[("live", 10_000)])).unwrap();
        assert_eq!(gate.retire(&instance("old")).unwrap(), Retired::Waiting);
        assert_eq!(strangers(&gate, 50), only("live", 50));
        assert!(gate.set_shares(&shares(&[("old", 10_000)])).is_err());
        // A new hidden last member makes it safe.
        join(&mut gate, "newer");
        assert_eq!(gate.members().map(ToString::to_string).collect::<Vec<_>>(), ["newer", "hidden", "live"]);
        assert_eq!(strangers(&gate, 50), only("live", 50));
        assert_pins(&gate);
    });
}

#[test]
fn after_a_removal_the_shares_are_drawn_by_the_program_again() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "little", "much"]);
        gate.set_shares(&shares(&[("much", 9_900), ("little", 100)])).unwrap();
        assert_eq!(gate.retire(&instance("old")).unwrap(), Retired::Closed);
        // A number out of range would give half of them to each.
        let seen = strangers(&gate, 300);
        assert!(seen.get("little").copied().unwrap_or(0) < 30, "{seen:?}");
        assert_pins(&gate);
    });
}

#[test]
fn the_last_member_of_all_leaves_and_the_address_is_free() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["only"]);
        let held_by_a_child = gate.socket(&instance("only")).unwrap().try_clone_to_owned().unwrap();
        assert_eq!(gate.retire(&instance("only")).unwrap(), Retired::Closed);
        assert_eq!(crate::sock_diag::listeners(gate.address()).unwrap(), [0_u64; 0]);
        drop(held_by_a_child);
        join(&mut gate, "next");
        gate.set_shares(&shares(&[("next", 10_000)])).unwrap();
        assert_eq!(strangers(&gate, 20), only("next", 20));
    });
}

#[test]
fn the_wall_holds_when_the_kernel_falls_back_to_its_hash() {
    for listener in ["0.0.0.0:80", "[::]:80", "127.0.0.1:80"] {
        in_own_network(|| {
            let mut gate = gate(listener, &["live", "hidden"]);
            gate.set_shares(&shares(&[("live", 10_000)])).unwrap();
            break_program(&gate);
            let seen: Vec<_> = (0..60).map(|_| stranger(&gate, A_MOMENT)).collect();
            let of = |name: Option<&str>| seen.iter().filter(|seen| seen.as_deref() == name).count();
            // The fallback did happen, and what went to the hidden one was dropped.
            assert!(of(None) > 0 && of(Some("live")) > 0, "{seen:?}");
            assert_eq!(of(Some("hidden")), 0);
        });
    }
}

#[test]
fn an_instance_that_shuts_its_own_socket_down_is_found_and_hidden_ones_stay_hidden() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "hidden", "live"]);
        gate.set_shares(&shares(&[("live", 10_000)])).unwrap();
        assert_eq!(gate.sweep().unwrap(), []);
        shutdown(gate.socket(&instance("old")).unwrap(), Shutdown::Both).unwrap();
        for _ in 0..60 {
            assert_ne!(stranger(&gate, A_MOMENT).as_deref(), Some("hidden"));
        }
        assert_eq!(gate.sweep().unwrap(), [instance("old")]);
        assert_eq!(strangers(&gate, 50), only("live", 50));
        assert_pins(&gate);
    });
}

#[test]
fn handshakes_and_connections_of_a_standby_outlive_its_wall() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        let mut before = reached(&gate, client(gate.address(), None), LONG).unwrap();
        gate.set_shares(&shares(&[("new", 10_000)])).unwrap();
        assert!(
            !sys::has_filter(gate.socket(&instance("old")).unwrap()).unwrap(),
            "not walled by the flip itself"
        );
        assert!(matches!(gate.hide_standby(&instance("new")), Err(GateError::HasShare(_))));
        gate.hide_standby(&instance("old")).unwrap();
        for _ in 0..10 {
            before.client.write_all(b"ping").unwrap();
            let mut word = [0; 4];
            before.server.read_exact(&mut word).unwrap();
            before.server.write_all(&word).unwrap();
            before.client.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"ping");
        }
        break_program(&gate);
        for _ in 0..40 {
            assert_ne!(stranger(&gate, A_MOMENT).as_deref(), Some("old"));
        }
        // And back: the wall falls before the share is given.
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        assert_eq!(strangers(&gate, 50), only("old", 50));
    });
}

#[test]
fn a_queue_that_is_not_empty_does_not_move_to_a_hidden_member() {
    in_own_network(|| {
        assert!(set_tcp_migrate_req().unwrap());
        let mut gate = gate("0.0.0.0:80", &["old", "new", "hidden"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        let waiting: Vec<_> = (0..20).map(|_| client(gate.address(), None)).collect();
        gate.set_shares(&shares(&[("new", 10_000)])).unwrap();
        assert_eq!(gate.retire(&instance("old")).unwrap(), Retired::Waiting);
        assert_eq!(gate.reset_queue(&instance("old")).unwrap(), 20);
        assert_eq!(gate.members().count(), 2);
        assert_eq!(gate.accept_queue(&instance("hidden")).unwrap(), 0);
        drop(waiting);
        assert_eq!(strangers(&gate, 20), only("new", 20));
        assert_pins(&gate);
    });
}

#[test]
fn a_queue_moves_to_the_survivor_where_every_survivor_has_a_share() {
    in_own_network(|| {
        assert!(set_tcp_migrate_req().unwrap());
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        let waiting: Vec<_> = (0..20).map(|_| client(gate.address(), None)).collect();
        gate.set_shares(&shares(&[("new", 10_000)])).unwrap();
        assert_eq!(gate.retire(&instance("old")).unwrap(), Retired::Closed);
        for client in waiting {
            assert_eq!(reached(&gate, client, LONG).unwrap().name, "new");
        }
    });
}

#[test]
fn no_stranger_reaches_a_hidden_member_while_members_come_and_go() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["i0", "h0"]);
        gate.set_shares(&shares(&[("i0", 10_000)])).unwrap();
        let done = AtomicBool::new(false);
        let answered = AtomicUsize::new(0);
        let to = gate.address();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let socket = client(to, None);
                        if super::fixture::ready(&socket, rustix::event::PollFlags::OUT, LONG) {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            // Each round: a new one joins, gets everything, the former one is retired, and so is the hidden one.
            let empty = |gate: &Gate, name: &str| gate.accept_queue(&instance(name)).unwrap_or(0) == 0;
            for round in 0..60 {
                let (old, new) = (format!("i{round}"), format!("i{}", round + 1));
                let (hidden, next) = (format!("h{round}"), format!("h{}", round + 1));
                join(&mut gate, &new);
                join(&mut gate, &next);
                assert!(empty(&gate, &hidden) && empty(&gate, &next) && empty(&gate, &new), "round {round}");
                gate.set_shares(&shares(&[(&new, 10_000)])).unwrap();
                gate.retire(&instance(&hidden)).unwrap();
                gate.retire(&instance(&old)).unwrap();
                for name in gate.members().cloned().collect::<Vec<_>>() {
                    if name.as_str() == old {
                        gate.reset_queue(&name).unwrap();
                    }
                }
                // Drain the live one as its instance would, so that its queue never fills.
                let live = instance(&new);
                for _ in 0..gate.accept_queue(&live).unwrap() {
                    drop(rustix::net::accept(gate.socket(&live).unwrap()).unwrap());
                }
                let snapshot = gate.snapshot();
                for member in
                    snapshot.members.iter().filter(|member| member.instance.as_str().starts_with('h'))
                {
                    assert!(empty(&gate, member.instance.as_str()), "round {round}: {snapshot:?}");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        eprintln!(
            "{} connections during 60 rounds of join, flip and retire",
            answered.load(Ordering::Relaxed)
        );
        assert!(answered.load(Ordering::Relaxed) > 0);
        assert_pins(&gate_of_clean_queues(gate));
    });
}

/// What the threads left in the live member's queue is taken out, so that the next connection is the one asked for.
fn gate_of_clean_queues(gate: Gate) -> Gate {
    for name in gate.members() {
        for _ in 0..gate.accept_queue(name).unwrap() {
            drop(rustix::net::accept(gate.socket(name).unwrap()).unwrap());
        }
    }
    gate
}
