//! The text format 0.0.4.

use super::*;

const SHOP: &str = "\
# HELP http_requests_total Requests answered.
# TYPE http_requests_total counter
http_requests_total{method=\"GET\",code=\"200\"} 90
http_requests_total{method=\"POST\",code=\"200\"} 1.5e1 1700000000000
http_requests_total{method=\"GET\",code=\"404\"} 3
http_requests_total{method=\"GET\",code=\"503\"} 2

# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le=\"0.1\"} 50
http_request_duration_seconds_bucket{le=\"0.5\"} 100
http_request_duration_seconds_bucket{le=\"+Inf\"} 110
http_request_duration_seconds_sum 30.5
http_request_duration_seconds_count 110
# TYPE process_open_fds gauge
process_open_fds NaN
";

#[test]
fn requests_errors_and_latencies_are_read_by_the_usual_names() {
    let traffic = text(SHOP, &usual()).unwrap();
    assert_eq!((traffic.requests, traffic.bad), (110, 2));
    let latency = traffic.latency.unwrap();
    assert_eq!((latency.edges(), latency.buckets()), (&[0.1, 0.5][..], &[50, 50, 10][..]));
}

#[test]
fn blanks_escapes_and_commas_stand_where_the_format_has_them() {
    let body = "  http_requests_total { code = \"500\" , path=\"a \\\"b\\\" \\\\ c\\nd\", } +7\t\r\n\
        http_requests_total{code=\"200\",path=\"}\"}\t3 -1\n";
    assert_eq!(counts(body, &usual()), (10, 7));
    let path = selectors("http_requests_total{path=\"a \\\"b\\\" \\\\ c\\nd\"}", "", "");
    assert_eq!(counts(body, &path), (7, 7));
}

#[test]
fn names_of_prometheus_3_may_stand_in_quotes() {
    let body = "{\"http_requests_total\", code=\"500\", \"http.route\"=\"/\"} 4\n{\"http.requests\"} 1\n";
    assert_eq!(counts(body, &usual()), (4, 4));
}

#[test]
fn a_line_that_breaks_the_format_refuses_the_whole_with_its_number() {
    let with = |line: &str| refused(&format!("http_requests_total{{code=\"200\"}} 1\n{line}\n"));
    assert_eq!(with("a b c"), "line 2: expected a number, found \"b\"");
    assert_eq!(with("<html>"), "line 2: expected a metric's name, found \"<html>\"");
    assert_eq!(with("a"), "line 2: expected a number, found the line's end");
    assert_eq!(with("a{b} 1"), "line 2: expected \"=\", found \"} 1\"");
    assert_eq!(with("a{b=1} 1"), "line 2: expected a value in quotes, found \"1} 1\"");
    assert_eq!(with("a{b=\"1} 1"), "line 2: expected a closing quote, found the line's end");
    assert_eq!(with("a{b=\"1\" c=\"2\"} 1"), "line 2: expected \",\" or \"}\", found \"c=\\\"2\\\"} 1\"");
    assert_eq!(with("a 1 2 3"), "line 2: expected the line's end, found \"3\"");
    assert_eq!(with("a 1 now"), "line 2: expected a time-stamp, found \"now\"");
    assert_eq!(with("{} 1"), "line 2: expected a metric's name, found \"1\"");
    assert!(with("\u{1b}[31m").contains("\\u{1b}"), "what a terminal would obey is escaped");
}

#[test]
fn a_body_that_was_cut_is_refused() {
    assert_eq!(
        refused("http_requests_total{code=\"200\"} 12"),
        "it was cut: the end of its last line is missing"
    );
    let half = read(Format::Text, b"http_requests_total{code=\"\xc3", &usual()).unwrap_err();
    assert_eq!(half.to_string(), "it is no UTF-8 text at byte 26");
}

#[test]
fn numbers_that_no_counter_has_are_refused_only_where_they_are_asked_for() {
    for number in ["NaN", "-1", "+Inf", "-Inf", "1e300"] {
        let asked = refused(&format!("http_requests_total{{code=\"200\"}} {number}\n"));
        assert!(asked.ends_with("which no counter can be"), "{asked}");
        let body = format!("http_requests_total{{code=\"200\"}} 1\nother {number}\n");
        assert_eq!(counts(&body, &usual()), (1, 0));
    }
    assert_eq!(counts("http_requests_total{code=\"200\"} 1.9\n", &usual()), (1, 0));
    let overflow = "http_requests_total{code=\"200\"} 9e18\n\
        http_requests_total{code=\"201\"} 9e18\nhttp_requests_total{code=\"202\"} 9e18\n";
    assert!(refused(overflow).contains("more than a counter holds"));
}

#[test]
fn one_series_in_two_places_is_refused_whatever_the_order_of_its_labels() {
    let twice = "http_requests_total{a=\"1\",code=\"200\"} 1\nhttp_requests_total{code=\"200\",a=\"1\"} 1\n";
    assert!(refused(twice).ends_with("is there twice"));
    let bucket = "http_request_duration_seconds_bucket{le=\"1\"} 1\n";
    assert!(refused(&bucket.repeat(2)).ends_with("is there twice"));
    assert_eq!(counts("http_requests_total{code=\"200\"} 1\nother 1\nother 1\n", &usual()), (1, 0));
}

#[test]
fn a_histogram_must_be_one() {
    let with = |rest: &str| refused(&format!("http_requests_total{{code=\"200\"}} 1\n{rest}"));
    let bucket =
        |le: &str, count: u32| format!("http_request_duration_seconds_bucket{{le=\"{le}\"}} {count}\n");
    assert!(with(&(bucket("1", 5) + &bucket("+Inf", 4))).contains("descend"));
    assert!(with(&bucket("1", 5)).contains("without its bucket +Inf"));
    assert!(with(&bucket("x", 5)).contains("the edge \"x\", which is none"));
    assert!(with(&bucket("NaN", 5)).contains("the edge NaN, which is none"));
}
