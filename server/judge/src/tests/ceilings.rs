//! What no instance of the canary may use.

use crate::{Ceiling, Ceilings, HostUses, Reading, Resource, Used, Uses};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn ceiling(resource: Resource, most: u64) -> Ceiling {
    let name = match resource {
        Resource::Memory => "max_memory",
        Resource::Cpu => "max_cpu",
        Resource::Refused => "max_refused",
    };
    Ceiling { name: name.into(), resource, most, blocks: 3 }
}

fn memory(host: &str, canary: Reading<u64>, baseline: Reading<u64>) -> HostUses {
    let uses = |memory| Uses { memory, ..Uses::UNKNOWN };
    HostUses { host: host.into(), canary: uses(canary), baseline: uses(baseline) }
}

fn of_memory(blocks: &[Reading<u64>]) -> Ceilings {
    let mut ceilings = Ceilings::new([ceiling(Resource::Memory, 512 * MIB)]);
    for canary in blocks {
        ceilings.observe(&[memory("a", canary.clone(), Reading::Counted(100 * MIB))]);
    }
    ceilings
}

const OVER: Reading<u64> = Reading::Counted(600 * MIB);
const NONE: Reading<u64> = Reading::Absent;
const WITHIN: Reading<u64> = Reading::Counted(512 * MIB);

#[test]
fn three_blocks_in_a_row_above_it_are_a_failure_and_its_line_has_every_number() {
    assert_eq!(of_memory(&[OVER, OVER]).failure(), None);
    assert_eq!(
        of_memory(&[OVER, OVER, OVER]).failure().unwrap(),
        "limit max_memory: canary 600.0 MiB on a against baseline 100.0 MiB, more than 512.0 MiB in 3 blocks in a row"
    );
    assert_eq!(
        of_memory(&[OVER, OVER, WITHIN, OVER, OVER]).failure(),
        None,
        "the most that may be is no failure"
    );
    assert!(of_memory(&[OVER, OVER, OVER, WITHIN]).failure().is_some(), "a failure stays one");
}

#[test]
fn a_block_without_a_figure_changes_nothing_and_a_start_begins_anew() {
    assert!(of_memory(&[OVER, Reading::Absent, OVER, Reading::Absent, OVER]).failure().is_some());
    assert_eq!(of_memory(&[OVER, OVER, Reading::Reset, OVER, OVER]).failure(), None);
    assert_eq!(of_memory(&[NONE; 9]).failure(), None);
    assert_eq!(of_memory(&[NONE; 9]).report()[0].highest, None);
    assert_eq!(of_memory(&[NONE; 9]).without_figure().collect::<Vec<_>>(), ["max_memory"]);
    assert_eq!(of_memory(&[NONE, WITHIN, NONE]).without_figure().next(), None);
}

#[test]
fn three_hosts_above_it_in_one_block_each_are_no_row() {
    let mut ceilings = Ceilings::new([ceiling(Resource::Memory, 512 * MIB)]);
    for above in ["a", "b", "c"] {
        let hosts = ["a", "b", "c"];
        let of = |host| memory(host, if host == above { OVER } else { WITHIN }, Reading::Absent);
        ceilings.observe(&hosts.map(of));
    }
    assert_eq!(ceilings.failure(), None);
    let highest = Used { host: "c".into(), canary: 600 * MIB, baseline: None };
    let report = ceilings.report().remove(0);
    assert_eq!((report.highest, report.above), (Some(highest), 1));
}

#[test]
fn what_is_turned_away_in_three_blocks_in_a_row_is_a_failure_and_its_line_has_both_rates() {
    let mut ceilings = Ceilings::new([ceiling(Resource::Refused, 30_000)]);
    let refused = |canary, baseline| {
        let uses = |refused| Uses { refused: Reading::Counted(refused), ..Uses::UNKNOWN };
        [HostUses { host: "a".into(), canary: uses(canary), baseline: uses(baseline) }]
    };
    for _ in 0..2 {
        ceilings.observe(&refused(45_500, 0));
    }
    assert_eq!(ceilings.failure(), None);
    ceilings.observe(&refused(45_500, 2_000));
    assert_eq!(
        ceilings.failure().unwrap(),
        "limit max_refused: canary 45.5 refused a minute on a against baseline 2.0 refused a minute, more than 30.0 refused a minute in 3 blocks in a row"
    );
}

#[test]
fn of_several_hosts_the_one_that_uses_most_is_told_and_one_that_is_gone_is_forgotten() {
    let mut ceilings = Ceilings::new([ceiling(Resource::Cpu, 1_500_000)]);
    let cpu = |host: &str, canary| HostUses {
        host: host.into(),
        canary: Uses { cpu: Reading::Counted(canary), ..Uses::UNKNOWN },
        baseline: Uses::UNKNOWN,
    };
    let both = [cpu("a", 1_600_000), cpu("b", 2_120_000)];
    ceilings.observe(&both);
    ceilings.observe(&both);
    let mut without = ceilings.clone();
    without.observe(&[]);
    without.observe(&both);
    assert_eq!(without.failure(), None);
    ceilings.observe(&both);
    assert_eq!(
        ceilings.failure().unwrap(),
        "limit max_cpu: canary 212.0 % of a processor on b against baseline none there, more than 150.0 % of a processor in 3 blocks in a row"
    );
}

#[test]
fn of_a_fleet_that_is_above_it_as_a_whole_a_few_hosts_are_remembered() {
    let mut ceilings = Ceilings::new([ceiling(Resource::Memory, MIB)]);
    let hosts: Vec<_> = (0..500).map(|host| memory(&format!("{host:->63}"), OVER, WITHIN)).collect();
    ceilings.observe(&hosts);
    ceilings.observe(&hosts);
    let text = serde_json::to_string(&ceilings).unwrap();
    assert!(text.len() < 2048 && ceilings.is_whole(), "{} bytes", text.len());
    ceilings.observe(&hosts);
    assert!(ceilings.failure().is_some());
}

fn reading() -> impl Strategy<Value = Reading<u64>> {
    prop_oneof![5 => (0_u64..4).prop_map(Reading::Counted), 1 => Just(Reading::Absent), 1 => Just(Reading::Reset)]
}

fn uses() -> impl Strategy<Value = Uses> {
    (reading(), reading(), reading()).prop_map(|(memory, cpu, refused)| Uses { memory, cpu, refused })
}

proptest! {
    #[test]
    fn ceilings_that_are_saved_and_loaded_at_any_time_go_on_as_if_they_had_not_been(
        blocks in prop::collection::vec(prop::collection::vec((uses(), uses()), 1..4), 1..25),
    ) {
        let mut whole = Ceilings::new([
            ceiling(Resource::Memory, 1),
            ceiling(Resource::Cpu, 2),
            ceiling(Resource::Refused, 2),
        ]);
        let mut parted = whole.clone();
        // The same by a plain rule: the figures that there are, since the last start.
        let mut figures = vec![Vec::new(); 4];
        let mut failed = false;
        for hosts in blocks {
            let named = |(number, (canary, baseline)): (usize, &(Uses, Uses))| HostUses {
                host: number.to_string(), canary: canary.clone(), baseline: baseline.clone(),
            };
            let hosts: Vec<_> = hosts.iter().enumerate().map(named).collect();
            whole.observe(&hosts);
            let text = serde_json::to_string(&parted).unwrap();
            parted = serde_json::from_str(&text).unwrap();
            parted.observe(&hosts);
            prop_assert!(parted.is_whole());
            prop_assert_eq!(&whole, &parted);
            for (number, figures) in figures.iter_mut().enumerate() {
                match hosts.get(number).map(|host| &host.canary.memory) {
                    Some(Reading::Counted(used)) => figures.push(*used > 1),
                    Some(Reading::Reset) | None => figures.clear(),
                    Some(Reading::Absent) => {}
                }
                failed |= figures.ends_with(&[true; 3]);
            }
            let by_memory = whole.failure().is_some_and(|line| line.starts_with("limit max_memory"));
            prop_assert_eq!(by_memory, failed);
        }
    }
}
