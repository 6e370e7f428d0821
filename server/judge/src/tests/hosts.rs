//! Many hosts: compared within, summed, skipped; over-dispersion.

use super::{counted, host};
use crate::{
    Comparison, HostBlock, Reading, Skip, Tally,
    dispersion::Dispersion,
    gathered::{Cap, gather},
};
use proptest::prelude::*;

#[test]
fn hosts_of_one_ratio_are_plainly_summed() {
    let hosts = [host(5, 1, 95, 2), host(10, 0, 190, 1), host(1, 1, 19, 0)];
    let pair = gather(&hosts, Comparison::WithinHosts, None).compared.unwrap().counted;
    assert_eq!(pair.canary, Tally { requests: 16.0, bad: 2.0 });
    assert_eq!(pair.baseline, Tally { requests: 304.0, bad: 3.0 });
}

#[test]
fn a_slow_host_that_carries_more_of_the_canary_does_not_make_the_canary_slow() {
    // On both hosts the arms are equal; summed plainly the canary would have 46 % and the baseline 14 %.
    let hosts = [host(100, 50, 100, 50), host(10, 1, 1000, 100)];
    let across = gather(&hosts, Comparison::AcrossHosts, None).compared.unwrap().counted;
    assert!(
        across.canary.bad / across.canary.requests > 3.0 * across.baseline.bad / across.baseline.requests
    );
    let within = gather(&hosts, Comparison::WithinHosts, None).compared.unwrap().counted;
    let (canary, baseline) =
        (within.canary.bad / within.canary.requests, within.baseline.bad / within.baseline.requests);
    assert!((canary / baseline - 1.0).abs() < 1e-12, "{within:?}");
}

#[test]
fn hosts_without_both_arms_are_left_out_and_a_block_without_any_is_skipped_with_its_reason() {
    let nothing = || HostBlock { canary: Reading::Absent, baseline: Reading::Absent };
    let canary = || HostBlock { canary: counted(5, 0), baseline: Reading::Absent };
    let baseline = || HostBlock { canary: counted(0, 0), baseline: counted(95, 1) };
    let reset = || HostBlock { canary: Reading::Reset, baseline: counted(95, 1) };
    let skip = |hosts: &[HostBlock<_>]| gather(hosts, Comparison::WithinHosts, None).compared.err();
    assert_eq!(skip(&[]), Some(Skip::NoCanary));
    assert_eq!(skip(&[nothing(), baseline()]), Some(Skip::NoCanary));
    assert_eq!(skip(&[canary()]), Some(Skip::NoBaseline));
    assert_eq!(skip(&[reset(), baseline()]), Some(Skip::Reset));
    assert_eq!(skip(&[canary(), baseline()]), Some(Skip::NoCanary), "no host has both");
    let rest =
        gather(&[reset(), host(5, 1, 95, 2), canary()], Comparison::WithinHosts, None).compared.unwrap();
    assert_eq!(rest.raw, [5, 1, 95, 2]);
    let across = gather(&[canary(), baseline()], Comparison::AcrossHosts, None).compared.unwrap();
    assert_eq!(across.raw, [5, 0, 95, 1], "a canary by hosts is compared between them");
}

#[test]
fn a_cap_never_makes_the_other_arm_look_better() {
    let cap = Some(Cap { bad: 2.0, canary: 0.02, baseline: 0.01 });
    let compared = gather(&[host(100, 30, 1000, 400)], Comparison::WithinHosts, cap).compared.unwrap();
    assert_eq!((compared.against.canary.bad, compared.against.baseline.bad), (8.0, 400.0));
    assert_eq!((compared.for_it.canary.bad, compared.for_it.baseline.bad), (30.0, 40.0));
    assert_eq!(compared.against.canary.requests, 100.0);
}

proptest! {
    #[test]
    fn the_weights_are_at_most_1_and_give_both_arms_the_same_hosts(
        sizes in prop::collection::vec((1..500u64, 1..500u64), 1..30)
    ) {
        let hosts: Vec<_> = sizes.iter().map(|&(n_c, n_b)| host(n_c, 0, n_b, 0)).collect();
        let all = gather(&hosts, Comparison::WithinHosts, None).compared.unwrap().counted;
        let ratio = all.baseline.requests / all.canary.requests;
        for (index, &(n_c, n_b)) in sizes.iter().enumerate() {
            // A host whose requests are all bad shows its own weights.
            let mut marked = hosts.clone();
            marked[index] = host(n_c, n_c, n_b, n_b);
            let pair = gather(&marked, Comparison::WithinHosts, None).compared.unwrap().counted;
            prop_assert!(pair.canary.bad <= n_c as f64 && pair.baseline.bad <= n_b as f64 * (1.0 + 1e-12));
            prop_assert!((pair.baseline.bad / pair.canary.bad / ratio - 1.0).abs() < 1e-9);
        }
        let one = sizes.iter().map(|&(n_c, n_b)| n_c as f64 * n_b as f64 / (n_c + n_b) as f64).fold(0.0, f64::max);
        let (c, b) = (all.canary.requests, all.baseline.requests);
        prop_assert!(c * b / (c + b) >= one * (1.0 - 1e-9), "not less information than the best host has alone");
    }
}

fn after(blocks: impl Iterator<Item = [Tally; 2]>) -> f64 {
    let mut dispersion = Dispersion::default();
    blocks.for_each(|halves| dispersion.observe(halves));
    dispersion.factor()
}

fn tally(requests: f64, bad: f64) -> Tally {
    Tally { requests, bad }
}

#[test]
fn bursts_in_the_baseline_are_seen_as_over_dispersion() {
    let bursts = |block: u32| [tally(105.0, if block % 18 == 9 { 11.0 } else { 1.0 }), tally(0.0, 0.0)];
    let factor = after((0..180).map(bursts));
    assert!((2.0..8.0).contains(&factor), "{factor}");
}

#[test]
fn what_all_hosts_do_together_is_no_over_dispersion() {
    let swings = |block: u32| if block.is_multiple_of(2) { 10.0 } else { 100.0 };
    let together = |block: u32| [tally(1000.0, swings(block)), tally(1000.0, 2.0 * swings(block))];
    assert!(after((0..100).map(|block| [tally(1000.0, swings(block)), tally(0.0, 0.0)])) > 5.0, "one host");
    let both = after((0..100).map(|block| {
        let [a, _] = together(block);
        [a, a]
    }));
    assert_eq!(both, 1.0);
}

#[test]
fn nothing_is_estimated_from_a_few_blocks_or_without_bad_requests() {
    assert_eq!(after((0..10).map(|block| [tally(100.0, f64::from(block % 2) * 50.0), tally(0.0, 0.0)])), 1.0);
    assert_eq!(after((0..200).map(|_| [tally(100.0, 0.0), tally(0.0, 0.0)])), 1.0);
}
