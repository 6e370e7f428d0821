//! OpenMetrics 1.0.

use super::*;

fn open(body: &str) -> Result<Traffic, ExpositionError> {
    read(Format::OpenMetrics, body.as_bytes(), &usual())
}

#[test]
fn counters_exemplars_and_created_times_are_read_as_the_standard_has_them() {
    let body = "\
# TYPE http_requests counter
# UNIT http_requests requests
http_requests_total{code=\"200\"} 17.0 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67
http_requests_created{code=\"200\"} 1520430000.123
http_requests_total{code=\"500\"} 3.0 # {} 1.0 1520879607.789
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le=\"0.25\"} 12 # {trace_id=\"a # b\"} 0.054
http_request_duration_seconds_bucket{le=\"+Inf\"} 20
http_request_duration_seconds_count 20
http_request_duration_seconds_created 1520430000.123
# EOF
";
    let traffic = open(body).unwrap();
    assert_eq!((traffic.requests, traffic.bad), (20, 3));
    assert_eq!(traffic.latency.unwrap().buckets(), [12, 8]);
}

#[test]
fn without_its_end_it_was_cut() {
    let whole = "http_requests_total{code=\"200\"} 1\n# EOF";
    assert_eq!(open(whole).unwrap().requests, 1);
    assert_eq!(open(&format!("{whole}\n")).unwrap().requests, 1);
    let cut = open("http_requests_total{code=\"200\"} 1\n").unwrap_err();
    assert_eq!(cut.to_string(), "it was cut: \"# EOF\" is missing");
    let behind = open(&format!("{whole}\nhttp_requests_total{{code=\"500\"}} 1\n")).unwrap_err();
    assert_eq!(behind.to_string(), "line 3: something stands behind \"# EOF\"");
}

#[test]
fn a_counter_of_which_only_the_type_is_there_has_counted_nothing_yet() {
    assert_eq!(open("# TYPE http_requests counter\n# EOF\n").unwrap(), Traffic::default());
    assert!(open("# TYPE other counter\n# EOF\n").unwrap_err().to_string().contains("usual counters"));
}
