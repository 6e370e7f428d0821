//! A stranger's body costs what it may cost.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn each_bound_is_told() {
    let long = "a".repeat(MAX_LINE_BYTES) + "\n";
    assert_eq!(refused(&long), "line 1: it is longer than 128 KiB");
    assert_eq!(refused(&"x".repeat(MAX_BYTES + 1)), "it is longer than 8 MiB");
    let labels = |number: usize| {
        let labels: String = (0..number).map(|n| format!("l{n}=\"\",")).collect();
        format!("http_requests_total{{code=\"200\",{labels}}} 1\n")
    };
    assert_eq!(counts(&labels(MAX_LABELS - 1), &usual()), (1, 0));
    assert_eq!(refused(&labels(MAX_LABELS)), "line 1: it has more than 128 labels");
    assert_eq!(refused(&"a 1\n".repeat(MAX_SAMPLES + 1)), "it has more than 200000 samples");
    let edges: String =
        (0..5000).map(|n| format!("http_request_duration_seconds_bucket{{le=\"{n}\"}} 0\n")).collect();
    assert!(refused(&edges).contains("too many different edges"));
}

#[test]
fn the_largest_bodies_are_read_or_refused_soon() {
    let started = Instant::now();
    let series: String = (0..MAX_SAMPLES).map(|n| format!("r{{code=\"200\",n=\"{n}\"}} 1\n")).collect();
    assert!(series.len() < MAX_BYTES);
    assert_eq!(counts(&series, &selectors("r", "", "")), (200_000, 0));
    for body in [
        "\n".repeat(MAX_BYTES),
        "# TYPE a b\n".repeat(MAX_BYTES / 11),
        ("{".repeat(MAX_LINE_BYTES - 2) + "\n").repeat(8),
        format!("a{{b=\"{}\"}} 1\n", "\\".repeat(MAX_LINE_BYTES - 20)).repeat(60),
    ] {
        assert!(text(&body, &usual()).is_err());
    }
    let pattern = selectors("a{x=~\"(.*)(.*)(.*)(.*)(.*)y\"}", "", "");
    let slow = format!("a{{x=\"{}\"}} 1\n", "z".repeat(100_000)).repeat(60);
    assert_eq!(counts(&slow, &pattern), (0, 0));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
