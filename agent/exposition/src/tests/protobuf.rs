//! Delimited messages.

use super::*;
use crate::messages::{Bucket, BucketSpan, Histogram, LabelPair, Metric, Number, Summary};
use prost::Message;

/// The message that a service sends, as far as it is needed here.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Family {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

fn family(name: &str, metric: Vec<Metric>) -> Vec<u8> {
    let family =
        Family { name: Some(name.to_owned()), help: Some("For people.".to_owned()), kind: Some(4), metric };
    family.encode_length_delimited_to_vec()
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| LabelPair {
        name: Some((*name).to_owned()),
        value: Some((*value).to_owned()),
    };
    Metric { label: labels.iter().map(pair).collect(), ..Metric::default() }
}

fn counter(code: &str, value: f64) -> Metric {
    Metric { counter: Some(Number { value: Some(value) }), ..labelled(&[("code", code)]) }
}

fn distribution(histogram: Histogram) -> Metric {
    Metric { histogram: Some(histogram), ..labelled(&[("code", "200")]) }
}

fn bucket(edge: f64, count: u64) -> Bucket {
    Bucket { cumulative_count: Some(count), cumulative_count_float: None, upper_bound: Some(edge) }
}

fn native() -> Histogram {
    Histogram {
        sample_count: Some(6),
        schema: Some(3),
        zero_threshold: Some(1e-128),
        positive_span: vec![BucketSpan { offset: Some(-8), length: Some(2) }],
        positive_delta: vec![4, -2],
        ..Histogram::default()
    }
}

/// A good body with a native histogram.
pub(super) fn native_body() -> Vec<u8> {
    family("http_request_duration_seconds", vec![distribution(native())])
}

fn message(body: &[u8]) -> Result<Traffic, ExpositionError> {
    read(Format::Protobuf, body, &usual())
}

#[test]
fn counters_and_classic_histograms_are_read() {
    let histogram = Histogram {
        sample_count: Some(9),
        bucket: vec![bucket(0.1, 4), bucket(1.0, 7)],
        ..Histogram::default()
    };
    let body = [
        family("http_requests_total", vec![counter("200", 7.0), counter("500", 2.0)]),
        family("http_request_duration_seconds", vec![distribution(histogram)]),
    ];
    let traffic = message(&body.concat()).unwrap();
    assert_eq!((traffic.requests, traffic.bad), (9, 2));
    let latency = traffic.latency.unwrap();
    assert_eq!((latency.edges(), latency.buckets()), (&[0.1, 1.0][..], &[4, 3, 2][..]));
}

#[test]
fn a_native_histogram_is_put_on_the_fixed_edges_and_counts_requests() {
    let traffic = message(&native_body()).unwrap();
    assert_eq!((traffic.requests, traffic.bad), (6, 0));
    let latency = traffic.latency.unwrap();
    assert_eq!((latency.edges().len(), latency.buckets().iter().sum::<u64>()), (61, 6));
    // Bucket -8 of schema 3 is (0.459, 0.5], its middle 0.479; bucket -7 is (0.5, 0.545], its middle 0.522.
    let at = |edge: f64| latency.edges().iter().position(|found| *found == edge).unwrap();
    assert_eq!((latency.buckets()[at(0.5)], latency.buckets()[at(0.63)]), (4, 2));
}

#[test]
fn classic_buckets_come_before_native_ones_and_both_may_be_floats() {
    let both = Histogram {
        bucket: vec![Bucket { cumulative_count_float: Some(3.5), ..bucket(0.3, 0) }],
        sample_count_float: Some(6.5),
        ..native()
    };
    let traffic = message(&family("http_request_duration_seconds", vec![distribution(both)])).unwrap();
    let latency = traffic.latency.unwrap();
    assert_eq!((traffic.requests, latency.edges(), latency.buckets()), (6, &[0.3][..], &[3, 3][..]));
}

#[test]
fn a_summary_counts_requests() {
    let summary =
        Metric { summary: Some(Summary { sample_count: Some(5) }), ..labelled(&[("status", "500")]) };
    let traffic = message(&family("http_server_requests_seconds", vec![summary])).unwrap();
    assert_eq!((traffic.requests, traffic.bad, traffic.latency), (5, 5, None));
}

#[test]
fn a_counter_without_series_has_counted_nothing_yet() {
    assert_eq!(message(&family("http_requests_total", vec![])).unwrap(), Traffic::default());
}

#[test]
fn what_breaks_the_format_is_refused() {
    let good = family("http_requests_total", vec![counter("200", 7.0)]);
    let cut = message(&good[..good.len() - 1]).unwrap_err().to_string();
    assert_eq!(cut, "it was cut: the end of its last message is missing");
    let twice = family("http_requests_total", vec![counter("200", 7.0), counter("200", 7.0)]);
    assert!(message(&twice).unwrap_err().to_string().ends_with("is there twice"));
    for garbage in [&b"\x02\x00\x00"[..], b"\x01\x0a", b"\x03\x0a\x01\xff", b"\x02\x0b\x0c"] {
        let error = message(garbage).unwrap_err().to_string();
        assert_eq!(error, "message 1: it is no MetricFamily", "{garbage:?}");
    }
    let custom = Histogram { schema: Some(-53), ..native() };
    let custom = message(&family("http_request_duration_seconds", vec![distribution(custom)])).unwrap_err();
    assert!(custom.to_string().contains("custom buckets"), "{custom}");
}

#[test]
fn a_body_of_empty_series_and_a_series_of_empty_labels_are_bounded() {
    // Two bytes each.
    let empty = |tag: u8, number: usize| [tag, 0].repeat(number);
    let inside = |bytes: Vec<u8>, name: &str| {
        let mut family = Family { name: Some(name.to_owned()), ..Family::default() }.encode_to_vec();
        family.extend(bytes);
        let mut body = Vec::new();
        prost::encode_length_delimiter(family.len(), &mut body).unwrap();
        body.extend(family);
        body
    };
    let many = inside(empty(0x22, 4_000_000), "http_requests_total");
    assert_eq!(message(&many), Err(ExpositionError::TooMany));
    let metric = empty(0x0a, 4_000_000);
    let mut one = vec![0x22];
    prost::encode_length_delimiter(metric.len(), &mut one).unwrap();
    one.extend(metric);
    let one = message(&inside(one, "http_requests_total")).unwrap_err().to_string();
    assert_eq!(one, "message 1: one of its series is longer than 128 KiB");
}
