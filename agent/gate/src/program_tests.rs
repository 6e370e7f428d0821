use super::*;
use crate::bpf::interpreter::{Packet, SYN, run};
use handover_model::reached_at;
use proptest::prelude::*;
use std::net::SocketAddr;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn entry(index: u32, pin: u8, share: u32) -> Entry {
    Entry { index, pin: Pin::new(pin).unwrap(), share: Share::new(share).unwrap() }
}

fn stranger(random: u32) -> Packet {
    let mut packet = Packet::new(address("192.0.2.9:40000"), address("192.0.2.1:80"), SYN);
    packet.random = random;
    packet
}

fn pinned(pin: Pin, listener: &str) -> impl Iterator<Item = Packet> {
    let listener = address(listener);
    pin.sources_for(listener).map(move |source| Packet::new(source, reached_at(listener), SYN))
}

#[test]
fn a_pin_reaches_its_member_whatever_the_shares_are() {
    let entries = [entry(0, 7, 10_000), entry(1, 9, 0)];
    let program = steering(&entries, 0).unwrap();
    for listener in ["0.0.0.0:80", "192.0.2.1:80", "[::]:80", "[2001:db8::1]:80"] {
        for entry in entries {
            for packet in pinned(entry.pin, listener) {
                assert_eq!(run(&program, &packet), entry.index, "{listener} {entry:?}");
            }
        }
    }
}

#[test]
fn a_source_that_looks_like_a_pin_and_is_none_is_a_stranger() {
    let program = steering(&[entry(0, 7, 10_000), entry(1, 9, 0)], 0).unwrap();
    let lies = [
        // Nobody's number; the network beside; a port of the range, but from another address; below and above it.
        ("127.77.0.8:1", "127.0.0.1:80"),
        ("127.77.1.9:1", "127.0.0.1:80"),
        ("127.78.0.9:1", "127.0.0.1:80"),
        ("[2001:db8::2]:61144", "[2001:db8::1]:80"),
        ("[::1]:60999", "[::1]:80"),
        ("[::1]:61143", "[::1]:80"),
        ("[::1]:61160", "[::1]:80"),
        ("[::1]:65535", "[::1]:80"),
        ("[::1]:9", "[::1]:80"),
        ("192.0.2.9:61144", "192.0.2.9:80"),
    ];
    for (from, to) in lies {
        assert_eq!(run(&program, &Packet::new(address(from), address(to), SYN)), 0, "{from}");
    }
    assert_eq!(run(&program, &Packet::new(address("[::1]:61144"), address("[::1]:80"), SYN)), 1);
    assert_eq!(run(&program, &Packet::new(address("[::1]:61159"), address("[::1]:80"), SYN)), 1);
}

#[test]
fn where_nobody_has_a_share_strangers_are_sent_to_the_walled_member() {
    let program = steering(&[entry(0, 1, 0), entry(1, 2, 0)], 1).unwrap();
    for random in [0, 1, u32::MAX] {
        assert_eq!(run(&program, &stranger(random)), 1);
    }
}

#[test]
fn the_draw_is_exact_at_its_edges() {
    let program = steering(&[entry(0, 1, 9_500), entry(1, 2, 500)], 0).unwrap();
    let threshold = u32::try_from((9_500_u64 << 32) / 10_000).unwrap();
    for (random, index) in [(0, 0), (threshold - 1, 0), (threshold, 1), (u32::MAX, 1)] {
        assert_eq!(run(&program, &stranger(random)), index, "{random}");
    }
}

#[test]
fn the_largest_program_is_one_that_the_kernel_takes() {
    let entries: Vec<_> = (0..32).map(|n| entry(n, u8::try_from(n + 1).unwrap(), 312)).collect();
    let program = steering(&entries, 0).unwrap();
    assert!(program.len() < 4096, "{}", program.len());
    assert_eq!(run(&program, &stranger(u32::MAX)), 31);
    let many: Vec<_> = (0..33).map(|n| entry(n, u8::try_from(n + 1).unwrap(), 0)).collect();
    assert_eq!(steering(&many, 0), Err(ProgramError::TooMany(33)));
}

#[test]
fn a_question_gets_the_number_that_it_asks_for() {
    let program = steering(&[entry(0, 1, 10_000), entry(1, 2, 0)], 0).unwrap();
    for (number, port) in (0..32).zip(65_080..) {
        for (from, to) in [("127.77.0.255", "127.0.0.1:80"), ("::1", "[::1]:80")] {
            let from = SocketAddr::new(from.parse().unwrap(), port);
            assert_eq!(run(&program, &Packet::new(from, address(to), SYN)), number);
        }
    }
    for port in [1, 60_000, 65_079, 65_112, 65_535] {
        let from = SocketAddr::new("127.77.0.255".parse().unwrap(), port);
        assert_eq!(run(&program, &Packet::new(from, address("127.0.0.1:80"), SYN)), 0, "{port}");
    }
}

#[test]
fn two_members_cannot_have_one_pin() {
    let same = [entry(0, 1, 10_000), entry(1, 1, 0)];
    assert_eq!(steering(&same, 0), Err(ProgramError::SamePin(Pin::new(1).unwrap())));
}

/// Up to 12 members with shares that add up to 10,000 or to nothing.
fn members() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(prop_oneof![Just(0_u32), 1..1_000_u32, Just(5_000)], 1..12).prop_map(
        |weights| {
            let mut left = 10_000;
            let mut entries: Vec<_> = weights
                .iter()
                .zip(0..)
                .map(|(weight, index)| {
                    let share = (*weight).min(left);
                    left -= share;
                    entry(index, u8::try_from(index * 20 + 1).unwrap(), share)
                })
                .collect();
            if let Some(live) = entries.iter_mut().find(|entry| !entry.share.is_hidden()) {
                live.share = Share::new(u32::from(live.share.basis_points()) + left).unwrap();
            }
            entries
        },
    )
}

proptest! {
    #[test]
    fn a_stranger_gets_the_member_whose_interval_its_number_falls_into(
        entries in members(), random: u32, port in 1..60_999_u16,
    ) {
        let program = steering(&entries, 0).unwrap();
        let mut packet = Packet::new(
            SocketAddr::new("203.0.113.5".parse().unwrap(), port), address("203.0.113.1:443"), SYN);
        packet.random = random;
        let got = run(&program, &packet);
        // The member's interval, computed without division: c * 2^32 <= random * S.
        let mut below = 0_u64;
        let mut expected = 0;
        for entry in entries.iter().filter(|entry| !entry.share.is_hidden()) {
            if (below << 32) / 10_000 <= u64::from(random) {
                expected = entry.index;
            }
            below += u64::from(entry.share.basis_points());
        }
        prop_assert_eq!(got, expected);
        let hidden = entries.iter().find(|entry| entry.index == got).unwrap().share.is_hidden();
        prop_assert!(!hidden || below == 0);
    }

    #[test]
    fn each_interval_is_as_wide_as_the_share_says(entries in members()) {
        let program = steering(&entries, 0).unwrap();
        let mut below = 0_u64;
        for entry in entries.iter().filter(|entry| !entry.share.is_hidden()) {
            let first = u32::try_from((below << 32) / 10_000).unwrap();
            below += u64::from(entry.share.basis_points());
            let last = u32::try_from(((below << 32) / 10_000) - 1).unwrap();
            prop_assert_eq!(run(&program, &stranger(first)), entry.index);
            prop_assert_eq!(run(&program, &stranger(last)), entry.index);
        }
    }

    #[test]
    fn a_pin_reaches_its_own_member_and_no_other(entries in members(), port in 1_u16..) {
        let program = steering(&entries, 0).unwrap();
        for entry in &entries {
            let from = SocketAddr::new(entry.pin.source_for(address("0.0.0.0:1")).ip(), port);
            let packet = Packet::new(from, address("127.0.0.1:80"), SYN);
            prop_assert_eq!(run(&program, &packet), entry.index);
        }
    }
}
