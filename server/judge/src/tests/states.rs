//! Saving and going on.

use super::host;
use crate::{
    Block, Config, Counted, Counts, Histogram, HostBlock, Judge, Kind, Limit, Metric, Observed, Reading,
    State, Tolerance,
};
use proptest::prelude::*;

/// As much as a judge may have: 12 tests, 4 limits, the longest names, the most edges.
fn largest() -> Config {
    let name = |index: usize| format!("{index:-<32}");
    let mut metrics = vec![Metric::histogram("shape", 0.125), Metric::latency("latency", 0.125)];
    metrics.extend((0..1).map(|index| Metric::errors(&name(index), 0.75)));
    metrics[1].name = name(8);
    metrics[0].name = name(9);
    let limit = |index: usize| Limit {
        name: name(100 + index),
        metric: name(index),
        slower_than: None,
        over: 0.333_333_333_333_333_3,
        at_least: 1_000_000,
        of: Counted::Connections,
    };
    Config {
        alpha: 0.012_345_678_901_234_567,
        cap: Some(3),
        metrics,
        limits: (0..4).map(limit).collect(),
        ..Config::default()
    }
}

/// A block of the largest judge, from a few numbers.
#[derive(Clone, Debug)]
struct Drawn {
    counts: Vec<HostBlock<Counts>>,
    histograms: Vec<HostBlock<Histogram>>,
}

impl Drawn {
    fn of(numbers: &[(u64, u64, u64, u64, u8)]) -> Self {
        let counts = numbers.iter().map(|&(n_c, e_c, n_b, e_b, absent)| {
            let both = host(n_c, e_c.min(n_c), n_b, e_b.min(n_b));
            match absent {
                0 => HostBlock { canary: Reading::Reset, ..both },
                1 => HostBlock { baseline: Reading::Absent, ..both },
                _ => both,
            }
        });
        let histogram = |requests: u64, slow: u64| {
            let edges = (1..=64).map(|edge| f64::from(edge) / 30.0).collect();
            let buckets = (0..65).map(|bucket| (requests + slow * bucket) / (1 + bucket)).collect();
            Reading::Counted(Histogram::new(edges, buckets).unwrap())
        };
        let histograms = numbers.iter().map(|&(n_c, e_c, n_b, e_b, _)| HostBlock {
            canary: histogram(n_c, e_c),
            baseline: histogram(n_b, e_b),
        });
        Self { counts: counts.collect(), histograms: histograms.collect() }
    }

    fn block<'a>(&'a self, config: &'a Config) -> Block<'a> {
        let observed = |metric: &'a Metric| match metric.kind {
            Kind::Share { .. } => (metric.name.as_str(), Observed::Counts(&self.counts)),
            Kind::Latency { .. } => (metric.name.as_str(), Observed::Histograms(&self.histograms)),
        };
        config.metrics.iter().map(observed).collect()
    }
}

fn reloaded(judge: &Judge) -> Judge {
    let text = serde_json::to_string(&State::from(judge)).unwrap();
    assert!(text.len() < 8 * 1024, "{} bytes", text.len());
    serde_json::from_str::<State>(&text).unwrap().try_into().unwrap()
}

proptest! {
    #[test]
    fn a_judge_that_is_saved_and_reloaded_at_any_time_goes_on_as_if_it_had_not_been(
        blocks in prop::collection::vec(prop::collection::vec((0..2000u64, 0..40u64, 0..30_000u64, 0..400u64, 0..12u8), 1..4), 2..25),
        watched in 0..12usize, at in 0..25usize, step in 0..25usize,
    ) {
        let config = largest();
        let mut whole = Judge::new(config.clone()).unwrap();
        let mut parted = whole.clone();
        for (number, numbers) in blocks.iter().enumerate() {
            let drawn = Drawn::of(numbers);
            for judge in [&mut whole, &mut parted] {
                if number == step {
                    judge.begin_step();
                }
                if number < watched { judge.watch(&drawn.block(&config)) } else { judge.observe(&drawn.block(&config)) }
            }
            if number == at || number % 7 == 3 {
                parted = reloaded(&parted);
            }
            prop_assert_eq!(&whole, &parted);
            prop_assert_eq!(whole.judgement(), parted.judgement());
        }
    }
}

#[test]
fn a_state_of_another_version_is_refused_by_name() {
    let text = serde_json::to_string(&State::from(&Judge::new(Config::default()).unwrap())).unwrap();
    assert!(text.starts_with(r#"{"version":"1","#), "{text}");
    let error =
        serde_json::from_str::<State>(&text.replace(r#""version":"1""#, r#""version":"2""#)).unwrap_err();
    assert!(error.to_string().contains("unknown variant `2`"), "{error}");
}

#[test]
fn a_state_that_no_judge_left_is_refused() {
    let judge = Judge::new(Config::default()).unwrap();
    let text = serde_json::to_string(&State::from(&judge)).unwrap();
    let refused = |text: &str| match serde_json::from_str::<State>(text) {
        Ok(state) => Judge::try_from(state).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(refused(&text.replace(r#""in_step":[0]"#, r#""in_step":[]"#)).contains("do not fit together"));
    assert!(refused(&text.replace(r#""alpha":"0.01""#, r#""alpha":"1.01""#)).contains("make no sense"));
    let (before, packed) = text.split_once(r#""proportion":""#).unwrap();
    let (_, after) = packed.split_once('"').unwrap();
    for wrong in ["AAAA", "", "?"] {
        let error = refused(&format!("{before}\"proportion\":\"{wrong}\"{after}"));
        assert!(error.contains("not the numbers") || error.contains("Invalid symbol"), "{wrong}: {error}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_with_the_number() {
    let with = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        Judge::new(config).unwrap_err().to_string()
    };
    assert_eq!(with(|c| c.alpha = 0.0), "alpha is 0: it must be above 0 and below 1");
    assert_eq!(with(|c| c.alpha = f64::NAN), "alpha is NaN: it must be above 0 and below 1");
    assert_eq!(
        with(|c| c.metrics[0].weight = 0.5),
        "the weights of the metrics sum to 0.5: they must sum to 1"
    );
    assert!(with(|c| c.metrics.clear()).contains("neither a metric nor a limit"));
    assert!(with(|c| c.metrics[0].name.clear()).contains("is empty"));
    let d_max = with(|c| {
        c.metrics[0].kind = Kind::Share { tolerance: Tolerance::new(1.0, 0.1, Some(0.1)), fixed: None }
    });
    assert_eq!(d_max, "d_max of errors is 0.1: it must be above d, below 1");
    assert!(
        with(|c| c.metrics = (0..9).map(|i| Metric::errors(&i.to_string(), 1.0 / 9.0)).collect())
            .contains("at most 6 can be judged")
    );
}
