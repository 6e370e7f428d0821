//! What a good answer says.

use super::*;
use handover_model::Latency;

#[test]
fn one_query_asks_for_everything_by_host_and_release() {
    let expected = r#"label_replace(min by (host, version) (timestamp(http_requests_total{job="shop"})), "handover_part", "sampled", "", "")
or
label_replace(sum by (host, version) (http_requests_total{job="shop"}), "handover_part", "requests", "", "")
or
label_replace(sum by (host, version) (http_requests_total{job="shop", code=~"5.."}), "handover_part", "errors", "", "")
or
label_replace(sum by (host, version, le) (http_request_duration_seconds_bucket{job="shop"}), "handover_part", "latency", "", "")"#;
    assert_eq!(query(&asked()), expected);
    let named = PrometheusMetrics { latency: Some(" d_bucket { a = 'b' }".parse().unwrap()), ..asked() };
    assert!(query(&named).contains("(d_bucket { a = 'b' })"), "{}", query(&named));
    let without = PrometheusMetrics { latency: None, ..asked() };
    assert!(!query(&without).contains("le)"), "{}", query(&without));
}

#[test]
fn a_release_on_a_host_has_its_counters_and_the_age_of_its_samples() {
    let read = read_series(&[whole("a"), whole("b:9100")].concat());
    let latency = Latency::new(vec![0.1, 1.0], vec![100, 19, 1]).unwrap();
    let reading = Reading {
        sampled: Timestamp::from_unix_millis(1_700_000_008_250),
        age: Duration::from_millis(2250),
        traffic: Traffic { requests: 120, bad: 3, latency: Some(latency) },
    };
    assert_eq!(read.readings, [(key("a"), Ok(reading.clone())), (key("b"), Ok(reading))].into());
    assert_eq!((read.nameless, read.warning), (0, None));
}

#[test]
fn errors_that_never_happened_and_latencies_that_nobody_counts_may_be_missing() {
    let read = read_series(&whole("a")[..2]);
    let reading = read.readings[&key("a")].clone().unwrap();
    assert_eq!(reading.traffic, Traffic { requests: 120, bad: 0, latency: None });
    assert_eq!(read_series(&[]), Answer::default());
}

#[test]
fn ports_of_one_host_are_added_up_and_the_oldest_sample_counts() {
    let mut series = [whole("a:1"), whole("a:2")].concat();
    series[0] = one("a:1", "sampled", "", "1700000003");
    let reading = read_series(&series).readings[&key("a")].clone().unwrap();
    assert_eq!((reading.traffic.requests, reading.traffic.bad), (240, 6));
    assert_eq!(reading.traffic.latency.unwrap().buckets(), [200, 38, 2]);
    assert_eq!(reading.age, Duration::from_millis(7500));
    for (label, host) in
        [("[::1]:9100", "::1"), ("::1", "::1"), ("web-1", "web-1"), ("a:b", "a:b"), ("a:", "a:")]
    {
        assert!(read_series(&whole(label)).readings.contains_key(&key(host)), "{label}");
    }
}

#[test]
fn series_without_a_host_or_a_release_are_counted_and_left_out() {
    let mut series = whole("a");
    series.push(one("", "requests", "", "9"));
    series
        .push("{\"metric\":{\"host\":\"a\",\"handover_part\":\"requests\"},\"value\":[1,\"9\"]}".to_owned());
    series.push("{\"metric\":{},\"value\":[1,\"9\"]}".to_owned());
    series.push(one("a", "surprise", "", "9"));
    let read = read_series(&series);
    assert_eq!((read.readings.len(), read.nameless), (1, 4));
    assert_eq!(read.readings[&key("a")].as_ref().unwrap().traffic.requests, 120);
}

#[test]
fn a_histogram_counts_in_the_unit_of_its_name_and_a_warning_is_taken_in() {
    let asked = PrometheusMetrics { latency: Some("d_milliseconds".parse().unwrap()), ..asked() };
    let body = answer(&whole("a"));
    let warned =
        body.replacen("\"status\"", "\"warnings\":[\"a store is away\\u001b[2J\",\"more\"],\"status\"", 1);
    let read = read(warned.as_bytes(), &asked).unwrap();
    let latency = read.readings[&key("a")].as_ref().unwrap().traffic.latency.clone().unwrap();
    assert_eq!(latency.edges(), [0.1 * 1e-3, 1e-3]);
    assert_eq!(read.warning.as_deref(), Some("\"a store is away\\u{1b}[2J\""));
}
