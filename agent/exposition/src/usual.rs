//! The usual names: what services count where their manifest names nothing.

/// Histograms of latencies, the first that is there is it. Its `_count` counts requests, too.
///
/// - `http_server_request_duration_seconds`: OpenTelemetry's stable conventions (`http.server.request.duration`), ASP.NET
///   Core; `http_server_duration_milliseconds` before them.
/// - `http_request_duration_seconds`: the name in Prometheus's own guide to naming; express-prom-bundle,
///   prometheus-fastapi-instrumentator, prometheus-net, the exporter of Ruby.
/// - `http_server_requests_seconds`: Micrometer, with Spring Boot, Quarkus, Micronaut.
/// - `flask_http_request_duration_seconds`: prometheus-flask-exporter; `axum_http_requests_duration_seconds` and
///   `actix_http_requests_duration_seconds`: axum-prometheus and its sisters;
///   `django_http_requests_latency_seconds_by_view_method`: django-prometheus; `caddy_http_request_duration_seconds`: Caddy.
/// - `grpc_server_handling_seconds`: go-grpc-middleware and those after it; `grpc_server_call_duration_seconds`: gRPC's own
///   plugins for OpenTelemetry; `rpc_server_call_duration_seconds` and `rpc_server_duration_milliseconds`: OpenTelemetry.
pub(crate) const HISTOGRAMS: [&str; 13] = [
    "http_server_request_duration_seconds",
    "http_request_duration_seconds",
    "http_server_requests_seconds",
    "http_server_duration_milliseconds",
    "flask_http_request_duration_seconds",
    "axum_http_requests_duration_seconds",
    "actix_http_requests_duration_seconds",
    "django_http_requests_latency_seconds_by_view_method",
    "caddy_http_request_duration_seconds",
    "grpc_server_handling_seconds",
    "grpc_server_call_duration_seconds",
    "rpc_server_call_duration_seconds",
    "rpc_server_duration_milliseconds",
];

/// Counters of requests, the first that is there and tells statuses is it; after them the counts of [`HISTOGRAMS`].
///
/// - `http_requests_total`: the name in Prometheus's guides; client_golang's promhttp, FastAPI, Ruby, Node, and many more.
/// - `http_requests_received_total`: prometheus-net; `http_server_requests_total`: older exporters of Ruby and Go.
/// - `flask_http_request_total`, `axum_http_requests_total`, `actix_http_requests_total`,
///   `django_http_responses_total_by_status_total`: the exporters named above; `starlette_requests_total` and
///   `starlette_responses_total`: starlette-exporter and starlette-prometheus.
/// - `grpc_server_handled_total`: go-grpc-middleware, and after it those of Java, Python and Rust.
pub(crate) const COUNTERS: [&str; 10] = [
    "http_requests_total",
    "http_requests_received_total",
    "http_server_requests_total",
    "flask_http_request_total",
    "axum_http_requests_total",
    "actix_http_requests_total",
    "django_http_responses_total_by_status_total",
    "starlette_responses_total",
    "starlette_requests_total",
    "grpc_server_handled_total",
];

/// How many seconds the unit has in which a histogram of this name counts: Prometheus's names end with their unit.
#[must_use]
pub fn unit(name: &str) -> f64 {
    let units = [
        ("_milliseconds", 1e-3),
        ("_millis", 1e-3),
        ("_ms", 1e-3),
        ("_microseconds", 1e-6),
        ("_us", 1e-6),
        ("_nanoseconds", 1e-9),
        ("_ns", 1e-9),
        ("_minutes", 60.0),
    ];
    units.into_iter().find(|(suffix, _)| name.ends_with(suffix)).map_or(1.0, |(_, seconds)| seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_its_unit() {
        assert_eq!(unit("http_server_duration_milliseconds"), 1e-3);
        assert_eq!((unit("a_us"), unit("http_request_duration_seconds"), unit("a_status")), (1e-6, 1.0, 1.0));
    }
}
