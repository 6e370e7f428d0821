//! Who gets a connection.

use super::fixture::{
    A_MOMENT, LONG, assert_pins, client, gate, in_own_network, instance, join, only, pin, pinned, reached,
    shares, stranger, strangers,
};
use std::time::Instant;

#[test]
fn a_hidden_candidate_gets_none_of_500_strangers_and_every_pinned_client() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        join(&mut gate, "new");
        assert_eq!(strangers(&gate, 500), only("old", 500));
        for _ in 0..50 {
            assert_pins(&gate);
        }
        assert_eq!(strangers(&gate, 50), only("old", 50));
    });
}

#[test]
fn a_share_of_5_percent_gets_about_5_percent() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 9_500), ("new", 500)])).unwrap();
        let seen = strangers(&gate, 4_000);
        // 200 expected, standard deviation 13.8: five of them to either side fail once in two million runs.
        assert!((131..=269).contains(&seen["new"]), "{seen:?}");
    });
}

#[test]
fn four_members_share_as_told() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["a", "b", "c", "d", "hidden"]);
        gate.set_shares(&shares(&[("a", 1_000), ("b", 2_000), ("c", 3_000), ("d", 4_000)])).unwrap();
        let seen = strangers(&gate, 2_000);
        assert_eq!(seen.get("hidden"), None);
        for (name, expected) in [("a", 200), ("b", 400), ("c", 600), ("d", 800)] {
            assert!(seen[name].abs_diff(expected) < 115, "{seen:?}");
        }
        assert_pins(&gate);
    });
}

#[test]
fn a_flip_takes_effect_with_the_next_connection() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        let mut nanos = Vec::new();
        let mut whole = Vec::new();
        for _ in 0..100 {
            for name in ["old", "new"] {
                let begin = Instant::now();
                nanos.push(gate.set_shares(&shares(&[(name, 10_000)])).unwrap().nanos);
                whole.push(begin.elapsed().as_nanos());
                assert_eq!(strangers(&gate, 5), only(name, 5));
            }
        }
        nanos.sort_unstable();
        whole.sort_unstable();
        let micros = |nanos: u64| nanos / 1_000;
        eprintln!(
            "flip: setsockopt {} us median, {} us at most; set_shares {} us median, {} us at most; {} flips",
            micros(nanos[100]),
            micros(nanos[199]),
            whole[100] / 1_000,
            whole[199] / 1_000,
            nanos.len()
        );
    });
}

#[test]
fn ipv6_pins_work_again_and_again_from_their_few_ports() {
    for listener in ["[::]:80", "[::1]:80"] {
        in_own_network(|| {
            let mut gate = gate(listener, &["old"]);
            gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
            join(&mut gate, "new");
            assert_eq!(strangers(&gate, 100), only("old", 100));
            // Six times more than a pin has ports, with either side closing first.
            for round in 0..100 {
                for (number, name) in [(1, "old"), (2, "new")] {
                    let reached = reached(&gate, client(gate.address(), Some(pin(number))), LONG).unwrap();
                    assert_eq!(reached.name, name);
                    if round % 2 == 0 {
                        drop(reached.server);
                    }
                }
            }
        });
    }
}

#[test]
fn a_dual_stack_listener_steers_both_families() {
    in_own_network(|| {
        let mut gate = gate("[::]:80", &["old", "new"]);
        gate.set_shares(&shares(&[("new", 10_000)])).unwrap();
        for (from, expected) in [(None, "new"), (Some(pin(1)), "old"), (Some(pin(2)), "new")] {
            for to in ["127.0.0.1:80", "[::1]:80"] {
                let reached = reached(&gate, client(to.parse().unwrap(), from), LONG).unwrap();
                assert_eq!(reached.name, expected, "{from:?} {to}");
            }
        }
    });
}

#[test]
fn an_unknown_pin_is_a_stranger() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        assert_eq!(pinned(&gate, pin(77)).as_deref(), Some("old"));
    });
}

#[test]
fn before_the_first_share_strangers_wait_and_the_pin_works() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["first"]);
        let early = client(gate.address(), None);
        for _ in 0..10 {
            assert_eq!(stranger(&gate, A_MOMENT), None);
            assert_pins(&gate);
        }
        gate.set_shares(&shares(&[("first", 10_000)])).unwrap();
        assert_eq!(strangers(&gate, 10), only("first", 10));
        // The early one's kernel sends its SYN again after a second: it was never refused.
        assert_eq!(reached(&gate, early, LONG).map(|reached| reached.name).as_deref(), Some("first"));
    });
}

#[test]
fn when_all_shares_are_taken_away_strangers_reach_nobody() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        gate.set_shares(&shares(&[])).unwrap();
        for _ in 0..10 {
            assert_eq!(stranger(&gate, A_MOMENT), None);
        }
        assert_pins(&gate);
    });
}

#[test]
fn shares_that_make_no_sense_change_nothing() {
    in_own_network(|| {
        let mut gate = gate("0.0.0.0:80", &["old", "new"]);
        gate.set_shares(&shares(&[("old", 10_000)])).unwrap();
        for wrong in [&[("old", 9_999)][..], &[("nobody", 10_000)], &[("old", 10_000), ("new", 1)]] {
            gate.set_shares(&shares(wrong)).unwrap_err();
            assert!(gate.share(&instance("old")).unwrap().basis_points() == 10_000);
            assert_eq!(strangers(&gate, 20), only("old", 20));
        }
    });
}
