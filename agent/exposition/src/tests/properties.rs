//! What holds for any body.

use super::*;
use proptest::prelude::*;

fn formats() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Text), Just(Format::OpenMetrics), Just(Format::Protobuf)]
}

/// Lines of series that are all different, with the buckets of a histogram for each.
fn series() -> impl Strategy<Value = Vec<String>> {
    let one = (0_u32..600, prop::collection::vec(0_u32..1000, 4));
    prop::collection::vec(one, 0..12).prop_map(|series| {
        let mut lines = vec!["http_requests_total{code=\"200\",n=\"first\"} 0\n".to_owned()];
        for (n, (code, counts)) in series.into_iter().enumerate() {
            lines.push(format!("http_requests_total{{code=\"{code}\",n=\"{n}\"}} {}.7\n", counts[0]));
            let mut cumulative = 0;
            for (edge, count) in ["0.1", "0.5", "2.5", "+Inf"].iter().zip(counts) {
                cumulative += count;
                lines.push(format!(
                    "http_request_duration_seconds_bucket{{n=\"{n}\",le=\"{edge}\"}} {cumulative}\n"
                ));
            }
        }
        lines
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(format in formats(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(format, &bytes, &usual());
    }

    #[test]
    fn no_text_that_looks_like_metrics_makes_it_panic(
        format in formats(),
        text in "((http_requests_total|http_request_duration_seconds_bucket)?[{}\"=,\\\\# a-c0-9.eE+\n-]{0,12}(le=\"|code=\")?){0,8}",
    ) {
        let _ = read(format, text.as_bytes(), &usual());
    }

    #[test]
    fn no_changed_byte_of_a_good_message_makes_it_panic(at in 0..200_usize, byte in any::<u8>()) {
        let mut body = super::protobuf::native_body();
        prop_assert!(read(Format::Protobuf, &body, &usual()).is_ok());
        let at = at % body.len();
        body[at] = byte;
        let _ = read(Format::Protobuf, &body, &usual());
    }

    #[test]
    fn the_order_of_lines_changes_nothing(lines in series().prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle()))) {
        let (ordered, shuffled) = lines;
        let ordered = text(&ordered.concat(), &usual());
        prop_assert!(ordered.is_ok(), "{:?}", ordered);
        prop_assert_eq!(ordered, text(&shuffled.concat(), &usual()));
    }

    #[test]
    fn errors_are_a_part_of_requests_and_buckets_add_up(lines in series()) {
        let traffic = text(&lines.concat(), &usual()).unwrap();
        prop_assert!(traffic.bad <= traffic.requests);
        if let Some(latency) = traffic.latency {
            prop_assert_eq!(latency.buckets().len(), latency.edges().len() + 1);
        }
    }
}
