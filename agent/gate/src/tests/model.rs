//! Random lives of a gate against the real kernel.

use super::fixture::{A_MOMENT, LONG, assert_pins, duplicates, in_own_network, instance, shares, stranger};
use crate::{Gate, OrderCheck};
use handover_model::InstanceId;
use proptest::prelude::*;
use rustix::net::{Shutdown, shutdown};

/// What can happen to a gate. Numbers choose among the members that are there.
#[derive(Clone, Debug)]
enum Step {
    Join,
    /// All to one, split between two, or nothing to anybody.
    Flip(usize, Option<usize>, u32),
    Hide,
    Retire(usize),
    ResetQueues,
    /// The instance shuts its own socket down.
    Leave(usize),
    /// kill -9 of the agent; the journal is up to date.
    Crash,
    /// kill -9 of the agent between the next step and the journal.
    CrashAfter(Box<Step>),
}

fn step() -> impl Strategy<Value = Step> {
    let simple = prop_oneof![
        4 => Just(Step::Join),
        4 => (0..8_usize, proptest::option::of(0..8_usize), 1..9_999_u32).prop_map(|(a, b, s)| Step::Flip(a, b, s)),
        1 => Just(Step::Hide),
        4 => (0..8_usize).prop_map(Step::Retire),
        1 => Just(Step::ResetQueues),
        1 => (0..8_usize).prop_map(Step::Leave),
    ];
    prop_oneof![
        8 => simple.clone(),
        1 => Just(Step::Crash),
        1 => simple.prop_map(|step| Step::CrashAfter(Box::new(step))),
    ]
}

struct World {
    gate: Gate,
    next: usize,
}

impl World {
    fn active(&self) -> Vec<InstanceId> {
        let snapshot = self.gate.snapshot();
        snapshot.members.into_iter().filter(|member| !member.retired).map(|member| member.instance).collect()
    }

    fn take(&mut self, step: &Step) {
        let active = self.active();
        let choose = |number: &usize| active.get(number % active.len().max(1));
        match step {
            Step::Join => {
                if active.len() < 6
                    && let Some(pin) = self.gate.free_pin()
                {
                    self.gate.join(instance(&format!("i{}", self.next)), pin).unwrap();
                    self.next += 1;
                }
            }
            Step::Flip(a, b, share) => {
                let given = match (choose(a), b.as_ref().and_then(&choose)) {
                    (Some(a), Some(b)) if a != b => {
                        shares(&[(a.as_str(), *share), (b.as_str(), 10_000 - share)])
                    }
                    (Some(a), _) => shares(&[(a.as_str(), 10_000)]),
                    (None, _) => return,
                };
                self.gate.set_shares(&given).unwrap();
            }
            Step::Hide => {
                for name in &active {
                    if self.gate.share(name).unwrap().is_hidden() {
                        self.gate.hide_standby(name).unwrap();
                    }
                }
            }
            Step::Retire(number) => {
                if let Some(name) = choose(number)
                    && self.gate.share(name).unwrap().is_hidden()
                {
                    self.gate.retire(name).unwrap();
                }
            }
            Step::ResetQueues => {
                let retired: Vec<_> =
                    self.gate.members().filter(|name| !active.contains(name)).cloned().collect();
                for name in retired {
                    // One removal can take others along.
                    if self.gate.socket(&name).is_some() {
                        self.gate.reset_queue(&name).unwrap();
                    }
                }
            }
            Step::Leave(number) => {
                if let Some(name) = choose(number)
                    && self.gate.share(name).unwrap().is_hidden()
                {
                    shutdown(self.gate.socket(name).unwrap(), Shutdown::Both).unwrap();
                    let name = name.clone();
                    assert_eq!(self.gate.sweep().unwrap(), [name]);
                }
            }
            Step::Crash => self.crash(self.gate.snapshot()),
            Step::CrashAfter(step) => {
                let stale = self.gate.snapshot();
                self.take(step);
                self.crash(stale);
            }
        }
    }

    fn crash(&mut self, journal: crate::GateSnapshot) {
        let sockets = duplicates(&self.gate);
        self.gate = Gate::new(self.gate.address(), 64);
        let restored = Gate::restore(journal, sockets).unwrap();
        for socket in &restored.unmatched {
            // One that was retired meanwhile listens no more.
            let _ = shutdown(socket, Shutdown::Both);
        }
        self.gate = restored.gate;
        let check = self.gate.verify_order().unwrap();
        assert!(!matches!(check, OrderCheck::Unknown(_)), "{check:?} {:?}", self.gate.snapshot());
    }

    /// A hidden member is never reached by a stranger, a member by its pin always.
    fn check(&self) {
        let live: Vec<_> =
            self.active().into_iter().filter(|name| !self.gate.share(name).unwrap().is_hidden()).collect();
        let members = self.gate.members().count();
        if members > 0 && live.is_empty() {
            // A live one can have been lost to a stale journal: then an unwalled standby may answer, a candidate never.
            for _ in 0..2 {
                if let Some(name) = stranger(&self.gate, A_MOMENT) {
                    let snapshot = self.gate.snapshot();
                    let member =
                        snapshot.members.iter().find(|member| member.instance.as_str() == name).unwrap();
                    assert_eq!(member.wall, crate::wall::Wall::Open, "{snapshot:?}");
                }
            }
        } else if members > 0 {
            for _ in 0..6 {
                let name = stranger(&self.gate, LONG);
                let found = name.as_ref().is_some_and(|name| live.iter().any(|live| live.as_str() == name));
                assert!(found, "reached {name:?}: {:?}", self.gate.snapshot());
            }
        }
        assert_pins(&self.gate);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn through_random_joins_flips_retirements_leaves_and_crashes_a_hidden_member_is_never_reached(
        steps in proptest::collection::vec(step(), 1..25), ipv6: bool,
    ) {
        in_own_network(|| {
            let listener = if ipv6 { "[::]:80" } else { "0.0.0.0:80" };
            let mut world = World { gate: Gate::new(listener.parse().unwrap(), 64), next: 0 };
            for step in &steps {
                world.take(step);
                world.check();
            }
        });
    }
}
