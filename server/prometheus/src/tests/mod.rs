//! Answers as Prometheus gives them, and as it should not.

mod properties;
mod readings;
mod refused;

use super::*;
use handover_model::Selector;

/// A service with all three quantities, by the labels of the defaults.
fn asked() -> PrometheusMetrics {
    let selector = |text: &str| text.parse::<Selector>().unwrap();
    PrometheusMetrics {
        requests: selector("http_requests_total{job=\"shop\"}"),
        errors: selector("http_requests_total{job=\"shop\", code=~\"5..\"}"),
        latency: Some(selector("http_request_duration_seconds{job=\"shop\"}")),
        host_label: "host".to_owned(),
        release_label: "version".to_owned(),
    }
}

/// An answer of Prometheus 2.42, as it was recorded, with other series.
fn answer(series: &[String]) -> String {
    format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{}]}}}}",
        series.join(",")
    )
}

fn one(host: &str, part: &str, edge: &str, value: &str) -> String {
    let le = if edge.is_empty() { String::new() } else { format!("\"le\":\"{edge}\",") };
    format!(
        "{{\"metric\":{{\"handover_part\":\"{part}\",\"host\":\"{host}\",{le}\"version\":\"v2\"}},\"value\":[1700000010.5,\"{value}\"]}}"
    )
}

/// What belongs to every release on every host.
fn whole(host: &str) -> Vec<String> {
    vec![
        one(host, "sampled", "", "1700000008.25"),
        one(host, "requests", "", "120"),
        one(host, "errors", "", "3"),
        one(host, "latency", "0.1", "100"),
        one(host, "latency", "1", "119"),
        one(host, "latency", "+Inf", "120"),
    ]
}

fn read_series(series: &[String]) -> Answer {
    read(answer(series).as_bytes(), &asked()).unwrap()
}

fn key(host: &str) -> (String, String) {
    (host.to_owned(), "v2".to_owned())
}

/// Why nothing is known of a.
#[track_caller]
fn problem(series: &[String]) -> String {
    read_series(series).readings.remove(&key("a")).unwrap().unwrap_err()
}
