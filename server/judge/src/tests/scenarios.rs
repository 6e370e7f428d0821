//! What an operator would ask of a judge.

use super::{counted, e, errors, host, judged, latency, verdict};
use crate::{
    Block, Config, Counted, End, Histogram, HostBlock, Inconclusive, Judge, Limit, Metric, Observed, Outlook,
    Reading, Verdict,
};

const HEALTHY: (u64, u64, u64, u64) = (5, 0, 95, 0);

#[test]
fn a_canary_that_fails_every_request_in_5_of_20_minutes_against_a_baseline_without_errors_fails() {
    for healthy in [0, 30, 48, 90] {
        let mut blocks = [HEALTHY; 120];
        blocks[healthy..healthy + 30].fill((5, 5, 95, 0));
        let judge = judged(&[], &blocks);
        let failure = judge.failure().unwrap();
        assert!(failure.block <= healthy as u64 + 4, "{failure:?}");
    }
}

#[test]
fn six_errors_in_60_against_none_in_540_fail_at_once_where_the_baseline_was_watched() {
    let judge = judged(&[(540, 0)], &[(60, 6, 540, 0)]);
    assert!((e(&judge) / 23_571.08 - 1.0).abs() < 1e-6, "{}", e(&judge));
    let Verdict::Fail(failure) = verdict(&judge) else { panic!("{:?}", verdict(&judge)) };
    assert_eq!(
        failure.line,
        "errors: canary 6/60 bad against baseline 0/540; E 23571, fails at 105.3; promotion 2.0e-8, passes at 20.00"
    );
}

#[test]
fn six_errors_in_60_in_three_blocks_fail_where_the_baseline_was_not_watched() {
    let judge = judged(&[], &[(20, 2, 180, 0); 3]);
    assert!((e(&judge) / 226.503_4 - 1.0).abs() < 1e-6, "{}", e(&judge));
    assert_eq!(verdict(&judge).name(), "fail");
}

#[test]
fn a_good_canary_passes_and_says_before_how_much_more_it_needs() {
    let mut judge = judged(&[(95, 1); 30], &[(5, 0, 95, 1); 4]);
    let Verdict::NeedsMore(Outlook::Toward { end: End::Pass, canary_requests, millis }) = verdict(&judge)
    else {
        panic!("{:?}", verdict(&judge))
    };
    assert!((100..400).contains(&canary_requests), "{canary_requests}");
    assert_eq!(millis % 10_000, 0);
    assert!((millis / 10_000).abs_diff(canary_requests / 5) <= 1, "{millis} {canary_requests}");
    let said = verdict(&judge).to_string();
    assert!(
        said.starts_with(&format!("needs more data: to pass about {canary_requests} more canary requests, ")),
        "{said}"
    );
    for _ in 0..canary_requests.div_ceil(5) + 40 {
        judge.observe(&errors(&[host(5, 0, 95, 1)]));
    }
    assert_eq!(verdict(&judge), Verdict::Pass);
    assert_eq!(judge.at_deadline().verdict, Verdict::Pass);
}

#[test]
fn a_bad_canary_says_that_it_is_about_to_fail() {
    let judge = judged(&[(95, 1); 30], &[(5, 1, 95, 1), (5, 0, 95, 1), (5, 1, 95, 1)]);
    let toward_fail =
        |outlook| matches!(outlook, Outlook::Toward { end: End::Fail, canary_requests: 1..150, .. });
    let Verdict::NeedsMore(outlook) = verdict(&judge) else { panic!("{:?}", verdict(&judge)) };
    assert!(toward_fail(outlook), "{outlook:?}");
}

#[test]
fn a_canary_that_turns_bad_after_a_long_healthy_time_is_found_without_making_up_for_it() {
    let mut blocks = vec![(500, 5, 9_500, 95); 120];
    blocks.extend([(500, 15, 9_500, 95); 60]);
    let judge = judged(&[(9_500, 95); 30], &blocks);
    let failure = judge.failure().unwrap();
    assert!((121..=128).contains(&failure.block), "{failure:?}");
    assert!(failure.line.contains("; since a later block "), "{}", failure.line);
    let mut without = Judge::new(Config { late: 0.0, ..Config::default() }).unwrap();
    for (n_c, e_c, n_b, e_b) in blocks {
        without.observe(&errors(&[host(n_c, e_c, n_b, e_b)]));
    }
    assert!(without.failure().is_none_or(|failure| failure.block > 140), "{:?}", without.failure());
}

#[test]
fn a_failure_stays_one_whatever_comes_after() {
    let mut blocks = vec![(5, 5, 95, 0); 2];
    blocks.extend([HEALTHY; 4000]);
    let judge = judged(&[(95, 0); 30], &blocks);
    assert!(e(&judge) < 100.0);
    assert_eq!(verdict(&judge).name(), "fail");
    assert_eq!(judge.at_deadline().verdict.name(), "fail");
}

#[test]
fn no_traffic_until_the_deadline_is_inconclusive_and_never_a_pass() {
    let judge = judged(&[(95, 0); 30], &[(0, 0, 95, 0); 200]);
    assert_eq!(verdict(&judge), Verdict::NeedsMore(Outlook::NoData));
    assert_eq!(judge.at_deadline().verdict, Verdict::Inconclusive(Inconclusive::NoTraffic));
    let judge = judged(&[(95, 0); 30], &[HEALTHY; 5]);
    assert_eq!(judge.at_deadline().verdict, Verdict::Inconclusive(Inconclusive::NotEnough));
    let no_baseline = judged(&[], &[(5, 0, 0, 0); 200]);
    assert_eq!(no_baseline.at_deadline().verdict, Verdict::Inconclusive(Inconclusive::NoTraffic));
}

#[test]
fn a_step_that_gets_no_traffic_does_not_pass_by_what_the_step_before_has_proven() {
    let mut judge = judged(&[(95, 0); 30], &[HEALTHY; 120]);
    assert_eq!(verdict(&judge), Verdict::Pass);
    judge.begin_step();
    judge.observe(&errors(&[host(0, 0, 95, 0)]));
    assert_eq!(judge.at_deadline().verdict, Verdict::Inconclusive(Inconclusive::NoTraffic));
}

#[test]
fn evidence_against_a_canary_is_kept_over_the_steps() {
    let before = judged(&[(95, 1); 30], &[(5, 1, 95, 1); 3]);
    let mut after = before.clone();
    after.begin_step();
    assert_eq!(e(&before), e(&after));
}

#[test]
fn metrics_that_vanish_and_counters_that_are_reset_are_counted_as_skipped() {
    let mut judge = judged(&[(95, 0); 30], &[HEALTHY; 10]);
    let was = e(&judge);
    judge.observe(&Block::new());
    judge.observe(&errors(&[HostBlock { canary: Reading::Reset, baseline: counted(95, 0) }]));
    judge.observe(&errors(&[HostBlock { canary: counted(5, 5), baseline: Reading::Absent }]));
    let report = judge.judgement().metrics.remove(0);
    assert_eq!((report.skipped.no_canary, report.skipped.reset, report.skipped.no_baseline), (1, 1, 1));
    assert_eq!(report.skipped.total(), 3);
    assert_eq!(e(&judge), was);
    assert!(report.to_string().ends_with("; 3 blocks skipped"), "{report}");
}

#[test]
fn a_baseline_that_fails_as_well_is_no_failure_of_the_canary() {
    let mut blocks = vec![(5, 0, 95, 1); 60];
    blocks.extend([(5, 2, 95, 30); 30]);
    let judge = judged(&[(95, 1); 30], &blocks);
    assert!(judge.failure().is_none() && e(&judge) < 1.0, "{}", e(&judge));
}

#[test]
fn several_metrics_share_alpha_by_their_weights() {
    let metrics = vec![Metric::errors("errors", 0.9), Metric::errors("timeouts", 0.1)];
    let mut judge = Judge::new(Config { metrics, ..Config::default() }).unwrap();
    let bound = |index: usize| judge.judgement().metrics[index].fails_at.value();
    assert!((bound(0) - 1.0 / 0.008_55).abs() < 1e-9 && (bound(1) - 1.0 / 0.000_95).abs() < 1e-9);
    let (good, bad) = ([host(5, 0, 95, 0)], [host(5, 5, 95, 0)]);
    for _ in 0..30 {
        judge.watch(&errors(&[HostBlock { canary: Reading::Absent, baseline: counted(95, 0) }]));
    }
    for _ in 0..20 {
        judge.observe(&Block::from([
            ("errors", Observed::Counts(&good)),
            ("timeouts", Observed::Counts(&bad)),
        ]));
    }
    assert_eq!(judge.failure().unwrap().name, "timeouts");
}

#[test]
fn a_metric_without_data_keeps_the_others_from_passing() {
    let metrics = vec![Metric::errors("errors", 0.5), Metric::errors("timeouts", 0.5)];
    let mut judge = Judge::new(Config { metrics, ..Config::default() }).unwrap();
    (0..200).for_each(|_| judge.observe(&errors(&[host(5, 0, 95, 0)])));
    assert!(!judge.passes());
    assert_eq!(judge.at_deadline().verdict, Verdict::Inconclusive(Inconclusive::NoTraffic));
}

#[test]
fn limits_hold_whatever_the_baseline_does() {
    let limit = Limit {
        name: "errors".into(),
        metric: "all".into(),
        slower_than: None,
        over: 0.1,
        at_least: 20,
        of: Counted::Requests,
    };
    let mut judge = Judge::new(Config { metrics: vec![], limits: vec![limit], ..Config::default() }).unwrap();
    let blocks = |judge: &mut Judge, hosts: [HostBlock<_>; 1], times: usize| {
        (0..times).for_each(|_| judge.observe(&Block::from([("all", Observed::Counts(&hosts))])));
    };
    blocks(&mut judge, [host(9, 9, 9, 9)], 2);
    assert!(judge.failure().is_none(), "18 requests are less than 20");
    blocks(&mut judge, [host(500, 0, 9, 9)], 1);
    assert!(judge.failure().is_none(), "18 of 518 are less than 10 %");
    blocks(&mut judge, [host(20, 2, 9, 9)], 5);
    assert!(judge.failure().is_none(), "10 % is not over 10 %");
    assert_eq!(judge.at_deadline().verdict, Verdict::Inconclusive(Inconclusive::NothingToProve));
    blocks(&mut judge, [host(20, 3, 9, 9)], 1);
    assert_eq!(
        judge.failure().unwrap().line,
        "limit errors: canary 3/20 bad against baseline 9/9, more than 10 %"
    );
    let report = judge.judgement().limits.remove(0);
    assert_eq!((report.canary, report.baseline), ([20, 3], [9, 9]));
}

#[test]
fn a_limit_on_connections_alone_fails_with_their_numbers_and_never_passes() {
    let limit = Limit {
        name: "max_resets".into(),
        metric: "ends".into(),
        slower_than: None,
        over: 0.01,
        at_least: 100,
        of: Counted::Connections,
    };
    let mut judge = Judge::new(Config { metrics: vec![], limits: vec![limit], ..Config::default() }).unwrap();
    let mut block = |hosts: [HostBlock<_>; 1]| {
        judge.observe(&Block::from([("ends", Observed::Counts(&hosts))]));
        judge.judgement().verdict
    };
    assert!(matches!(block([host(2, 1, 9, 0)]), Verdict::NeedsMore(_)), "one of two is no failure");
    assert!(matches!(block([host(98, 0, 900, 3)]), Verdict::NeedsMore(_)), "one of a hundred is 1 %");
    let Verdict::Fail(failure) = block([host(120, 12, 1000, 3)]) else { panic!("not found") };
    assert_eq!(
        failure.line,
        "limit max_resets: canary 12/120 connections reset against baseline 3/1000, more than 1 %"
    );
}

/// Requests in the buckets up to 0.1, 0.2, 0.4, 0.8 s and above.
fn histogram(buckets: [u64; 5]) -> Reading<Histogram> {
    Reading::Counted(Histogram::new(vec![0.1, 0.2, 0.4, 0.8], buckets.into()).unwrap())
}

fn by_latency(metric: Metric) -> Judge {
    Judge::new(Config { metrics: vec![metric], ..Config::default() }).unwrap()
}

const USUAL: [u64; 5] = [60, 20, 12, 2, 1];

#[test]
fn a_canary_that_is_slower_fails_by_the_edges_that_the_baseline_had_before() {
    for metric in [Metric::latency("latency", 1.0), Metric::histogram("latency", 1.0)] {
        let mut judge = by_latency(metric);
        for _ in 0..30 {
            judge.watch(&latency(&[HostBlock { canary: Reading::Absent, baseline: histogram(USUAL) }]));
        }
        let mut equal = judge.clone();
        for _ in 0..30 {
            judge.observe(&latency(&[HostBlock {
                canary: histogram([1, 1, 2, 1, 0]),
                baseline: histogram(USUAL),
            }]));
            equal.observe(&latency(&[HostBlock {
                canary: histogram([3, 1, 1, 0, 0]),
                baseline: histogram(USUAL),
            }]));
        }
        let failure = judge.failure().unwrap();
        assert!(failure.block <= 20, "{failure:?}");
        assert!(failure.line.contains(" s against baseline "), "{}", failure.line);
        assert!(equal.failure().is_none());
    }
}

#[test]
fn latency_that_was_not_watched_takes_its_edges_from_the_first_blocks_and_does_not_judge_them() {
    let mut judge = by_latency(Metric::latency("latency", 1.0));
    let slow = HostBlock { canary: histogram([0, 0, 0, 0, 5]), baseline: histogram(USUAL) };
    (0..2).for_each(|_| judge.observe(&latency(std::slice::from_ref(&slow))));
    assert_eq!(judge.judgement().metrics[0].skipped.no_thresholds, 2);
    assert_eq!(e(&judge), 1.0);
    (0..3).for_each(|_| judge.observe(&latency(std::slice::from_ref(&slow))));
    assert!(judge.failure().is_some());
}

#[test]
fn a_release_with_other_buckets_is_not_compared_where_an_edge_is_missing() {
    let mut judge = by_latency(Metric::latency("latency", 1.0));
    for _ in 0..5 {
        judge.watch(&latency(&[HostBlock { canary: Reading::Absent, baseline: histogram(USUAL) }]));
    }
    let other = Reading::Counted(Histogram::new(vec![0.15, 0.3], vec![0, 0, 5]).unwrap());
    for _ in 0..50 {
        judge.observe(&latency(&[HostBlock { canary: other.clone(), baseline: histogram(USUAL) }]));
    }
    let report = judge.judgement().metrics.remove(0);
    assert_eq!((report.skipped.no_canary, report.e.value()), (50, 1.0));
    assert_eq!(judge.at_deadline().verdict, Verdict::Inconclusive(Inconclusive::NoTraffic));
}

#[test]
fn a_latency_limit_counts_what_is_slower_than_the_next_edge() {
    let limit = Limit {
        name: "slow".into(),
        metric: "latency".into(),
        slower_than: Some(0.3),
        over: 0.07,
        at_least: 10,
        of: Counted::Requests,
    };
    let mut judge = Judge::new(Config { limits: vec![limit], ..Config::default() }).unwrap();
    judge.observe(&latency(&[HostBlock { canary: histogram([7, 7, 7, 1, 0]), baseline: Reading::Absent }]));
    assert!(judge.failure().is_none(), "0.3 s is in the bucket to 0.4 s: 1 of 22 is slower for certain");
    judge.observe(&latency(&[HostBlock { canary: histogram([7, 7, 6, 1, 1]), baseline: Reading::Absent }]));
    assert_eq!(
        judge.failure().unwrap().line,
        "limit slow: canary 2/22 slower than 0.3 s against baseline 0/0, more than 7 %"
    );
}
