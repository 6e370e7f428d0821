//! Whatever is answered.

use super::*;
use proptest::prelude::*;

fn series() -> impl Strategy<Value = String> {
    let host = prop_oneof!["a", "a:1", "b", "", "\\\\PC{0,9}"];
    let part = prop_oneof!["sampled", "requests", "errors", "latency", "more"];
    let edge = prop_oneof!["", "0\\.1", "1", "\\+Inf", "NaN"];
    let value = prop_oneof!["[0-9]{1,20}", "17000000[0-9]{2}", "NaN", "-1", "\\+Inf"];
    (host, part, edge, value).prop_map(|(host, part, edge, value)| {
        let quoted = serde_json::to_string(&host).unwrap();
        one("HOST", &part, &edge, &value).replacen("\"HOST\"", &quoted, 1)
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_errors_are_a_part_of_the_requests(all in prop::collection::vec(series(), 0..40)) {
        let read = read(answer(&all).as_bytes(), &asked()).unwrap();
        for reading in read.readings.values().flatten() {
            prop_assert!(reading.traffic.bad <= reading.traffic.requests);
        }
    }

    #[test]
    fn bytes_that_are_no_answer_are_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&body, &asked()).is_err());
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_refused(at in 0.0..1.0_f64) {
        let whole = answer(&whole("a"));
        let at = (whole.len() as f64 * at) as usize;
        prop_assert!(read(&whole.as_bytes()[..at], &asked()).is_err());
    }
}
