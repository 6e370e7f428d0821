//! Which series are taken.

use super::*;

#[test]
fn the_usual_names_of_many_frameworks_are_known() {
    for (body, counted) in [
        ("http_requests_received_total{code=\"500\",method=\"GET\"} 2\n", (2, 2)),
        ("http_server_requests_seconds_count{status=\"503\",outcome=\"SERVER_ERROR\",uri=\"/\"} 2\n", (2, 2)),
        ("http_server_request_duration_seconds_count{http_response_status_code=\"500\"} 2\n", (2, 2)),
        ("http_requests_total{handler=\"/\",status=\"5xx\"} 2\n", (2, 2)),
        ("grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Get\"} 2\n", (2, 2)),
        ("grpc_server_handled_total{grpc_code=\"NotFound\"} 2\n", (2, 0)),
        ("rpc_server_duration_milliseconds_count{rpc_grpc_status_code=\"14\"} 2\n", (2, 2)),
        ("axum_http_requests_total{status=\"404\"} 2\n", (2, 0)),
    ] {
        assert_eq!(counts(body, &usual()), counted, "{body}");
    }
}

#[test]
fn a_counter_without_statuses_makes_way_for_one_with_them() {
    let body = "http_requests_total 9\nhttp_request_duration_seconds_count{code=\"500\"} 4\n";
    assert_eq!(counts(body, &usual()), (4, 4));
    assert_eq!(counts(body, &selectors("", "http_errors_total", "")), (9, 0));
    assert_eq!(
        refused("http_requests_total{method=\"GET\"} 9\n"),
        "no label of http_requests_total tells a status: say which requests failed in [metrics], errors = \"NAME{LABEL=...}\""
    );
}

#[test]
fn named_series_are_added_up_and_others_are_not() {
    let body = "\
calls_total{path=\"/metrics\",result=\"ok\"} 100
calls_total{path=\"/a\",result=\"ok\"} 10
calls_total{path=\"/b\",result=\"failed\"} 3
http_requests_total{code=\"200\"} 7
";
    let named = selectors("calls_total{path!=\"/metrics\"}", "calls_total{result=\"failed\"}", "");
    assert_eq!(counts(body, &named), (13, 3));
    let elsewhere = selectors("calls_total", "failures_total", "");
    assert_eq!(counts(body, &elsewhere), (113, 0), "errors that never happened have no series yet");
    let none = text(body, &selectors("cals_total", "", "")).unwrap_err().to_string();
    assert!(none.starts_with("it has no cals_total: no request was answered yet, or"), "{none}");
    let idle = selectors("calls_total{path=\"/c\"}", "", "");
    assert_eq!(counts(body, &idle), (0, 0), "the counter is there, and these requests never came");
}

#[test]
fn more_errors_than_requests_cannot_be() {
    let body = "a_total 3\nb_total 5\n";
    let wrong = text(body, &selectors("a_total", "b_total", "")).unwrap_err().to_string();
    assert!(wrong.starts_with("5 errors of 3 requests"), "{wrong}");
}

#[test]
fn a_named_histogram_counts_requests_too_and_its_unit_is_in_its_name() {
    let body = "\
rpc_milliseconds_bucket{status=\"200\",le=\"5\"} 1
rpc_milliseconds_bucket{status=\"200\",le=\"+Inf\"} 2
rpc_milliseconds_count{status=\"200\"} 2
rpc_milliseconds_bucket{status=\"500\",le=\"5\"} 0
rpc_milliseconds_bucket{status=\"500\",le=\"+Inf\"} 1
rpc_milliseconds_count{status=\"500\"} 1
http_requests_total{code=\"200\"} 99
";
    for name in ["rpc_milliseconds", "rpc_milliseconds_bucket"] {
        let traffic = text(body, &selectors("", "", name)).unwrap();
        assert_eq!((traffic.requests, traffic.bad), (3, 1), "{name}");
        let latency = traffic.latency.unwrap();
        assert_eq!((latency.edges(), latency.buckets()), (&[0.005][..], &[1, 2][..]));
    }
    let good = text(body, &selectors("", "", "rpc_milliseconds{status=\"200\"}")).unwrap();
    assert_eq!((good.requests, good.latency.unwrap().buckets()), (2, &[1, 1][..]));
    // The same series for two purposes.
    let last = selectors("rpc_milliseconds_bucket{le=\"+Inf\"}", "", "rpc_milliseconds");
    assert_eq!(text(body, &last).unwrap().requests, 3);
}

#[test]
fn a_histogram_that_is_not_there_is_left_out() {
    let traffic = text("http_requests_total{code=\"200\"} 1\n", &selectors("", "", "other")).unwrap();
    assert_eq!(traffic, Traffic { requests: 1, bad: 0, latency: None });
}

#[test]
fn protobuf_is_asked_for_where_there_may_be_native_histograms() {
    let first = |selectors: &Selectors| selectors.accept().split([';', ',']).next().unwrap().to_owned();
    assert_eq!(first(&usual()), "application/vnd.google.protobuf");
    assert_eq!(first(&selectors("", "", "a_seconds")), "application/vnd.google.protobuf");
    assert_eq!(first(&selectors("", "", "a_seconds_bucket")), "text/plain");
}

#[test]
fn the_format_is_what_the_answer_says_of_itself() {
    for (said, format) in [
        (None, Format::Text),
        (Some("text/plain; version=0.0.4; charset=utf-8"), Format::Text),
        (Some("application/openmetrics-text;version=1.0.0"), Format::OpenMetrics),
        (
            Some(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            ),
            Format::Protobuf,
        ),
    ] {
        assert_eq!(Format::of(said), Ok(format), "{said:?}");
    }
    let other = Format::of(Some("text/html")).unwrap_err().to_string();
    assert_eq!(other, "it is \"text/html\", and no format of Prometheus's");
    assert!(Format::of(Some("application/vnd.google.protobuf; encoding=text")).is_err());
}
