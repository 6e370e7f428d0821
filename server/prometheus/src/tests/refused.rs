//! What is refused, and how much of it.

use super::*;

fn with(at: usize, series: String) -> Vec<String> {
    let mut all = whole("a");
    all[at] = series;
    all
}

#[test]
fn numbers_that_no_counter_can_be_refuse_their_release_on_their_host_alone() {
    for value in ["NaN", "-1", "+Inf", "-Inf", "1e300", "", "many", "0x10"] {
        for (at, part, edge) in [(1, "requests", ""), (2, "errors", ""), (5, "latency", "+Inf")] {
            let series = [with(at, one("a", part, edge, value)), whole("b")].concat();
            let said = problem(&series);
            assert!(said.starts_with(&format!("its {part} are ")) && said.contains("no counter"), "{said}");
            assert!(read_series(&series).readings[&key("b")].is_ok(), "{value}");
        }
        let said = problem(&with(0, one("a", "sampled", "", value)));
        assert!(said.contains("which no counter can be") || said.contains("which is no time"), "{said}");
    }
    let huge =
        [with(1, one("a:1", "requests", "", "9e18")), vec![one("a:2", "requests", "", "9e18")]].concat();
    let huge = [huge, vec![one("a:3", "requests", "", "9e18")]].concat();
    assert_eq!(problem(&huge), "its requests add up to more than a counter holds");
    let fraction = with(1, one("a", "requests", "", "120.9"));
    assert_eq!(read_series(&fraction).readings[&key("a")].as_ref().unwrap().traffic.requests, 120);
}

#[test]
fn a_series_that_is_there_twice_and_counters_that_do_not_fit_together_are_refused() {
    let twice = [whole("a"), vec![one("a", "errors", "", "3")]].concat();
    assert_eq!(problem(&twice), "a series of its errors is there twice");
    let more = with(2, one("a", "errors", "", "121"));
    assert!(problem(&more).starts_with("121 errors of 120 requests"), "{}", problem(&more));
    assert_eq!(problem(&whole("a")[2..]), "it has errors or latencies, and no requests");
    assert_eq!(problem(&whole("a")[1..]), "it is not said when its samples were taken");
}

#[test]
fn what_is_no_classic_histogram_is_refused() {
    assert!(problem(&with(3, one("a", "latency", "0.1", "120"))).contains("descend"));
    assert!(problem(&whole("a")[..5]).contains("without its bucket +Inf"));
    assert!(problem(&with(3, one("a", "latency", "fast", "1"))).contains("the edge \"fast\", which is none"));
    assert!(problem(&with(3, one("a", "latency", "NaN", "1"))).contains("which is none"));
    let native = "{\"metric\":{\"handover_part\":\"latency\",\"host\":\"a\",\"version\":\"v2\"},\"histogram\":[1,{\"count\":\"5\",\"sum\":\"2\",\"buckets\":[[0,\"1\",\"2\",\"5\"]]}]}";
    assert!(problem(&with(3, native.to_owned())).contains("native histogram"));
    assert!(problem(&with(3, native.replace("histogram\"", "surprise\""))).contains("has no number"));
}

#[test]
fn what_is_no_answer_is_refused_with_what_it_is() {
    let said = |body: &str| read(body.as_bytes(), &asked()).unwrap_err().to_string();
    for garbage in [
        "",
        "<html>",
        "null",
        "[]",
        "{\"status\":\"success\"}",
        "{\"status\":5}",
        "\u{0}",
        "{\"status\":\"success\",\"data\":null}",
    ] {
        assert!(said(garbage).starts_with("the answer is none of Prometheus's query API: "), "{garbage}");
    }
    let failed = "{\"status\":\"error\",\"errorType\":\"timeout\",\"error\":\"query timed out in expression evaluation\"}";
    assert_eq!(said(failed), "the query failed: \"timeout\": \"query timed out in expression evaluation\"");
    let matrix = answer(&[]).replace("vector", "matrix");
    assert_eq!(said(&matrix), "the answer is a \"matrix\", expected a vector");
    let cut = answer(&whole("a"));
    assert!(said(&cut[..cut.len() - 3]).contains("EOF"), "half of an answer says nothing");
}

#[test]
fn answers_have_bounds_of_bytes_series_and_depth() {
    let long = vec![b' '; MAX_BYTES + 1];
    assert_eq!(read(&long, &asked()), Err(AnswerError::TooLong));
    let many = answer(&vec!["{\"metric\":{},\"value\":[1,\"1\"]}".to_owned(); MAX_SERIES + 1]);
    assert!(many.len() < MAX_BYTES);
    assert_eq!(read(many.as_bytes(), &asked()), Err(AnswerError::TooMany));
    let deep = "{\"a\":".repeat(100_000);
    assert!(matches!(read(deep.as_bytes(), &asked()), Err(AnswerError::Garbage(_))));
}
