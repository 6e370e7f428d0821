//! What a selector takes, and where its mistakes are.

use super::*;
use proptest::prelude::*;

fn takes(selector: &str, labels: &[(&str, &str)]) -> bool {
    let value = |name: &str| labels.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| *value);
    Selector::parse(selector).unwrap().takes(value)
}

/// Each mistake as the text that it is about and what is wrong.
fn mistakes(selector: &str) -> Vec<(String, String)> {
    let mistakes = Selector::parse(selector).expect_err("a wrong selector was taken");
    mistakes.into_iter().map(|one| (selector[one.at].to_owned(), one.message)).collect()
}

#[test]
fn a_name_alone_takes_every_series_of_it() {
    let selector = Selector::parse(" http_requests_total ").unwrap();
    assert_eq!(selector.name(), "http_requests_total");
    assert!(takes("a", &[("code", "500")]) && takes("a{}", &[]));
}

#[test]
fn all_four_matchers_are_those_of_prometheus() {
    let code = |value| [("code", value)];
    assert!(takes("a{code=\"500\"}", &code("500")) && !takes("a{code=\"500\"}", &code("5000")));
    assert!(takes("a{code!=\"500\"}", &code("200")) && !takes("a{code!=\"500\"}", &code("500")));
    assert!(takes("a{code=~\"5..\"}", &code("503")) && !takes("a{code=~\"5..\"}", &code("1503")));
    assert!(takes("a{code!~\"5..\"}", &code("5030")) && !takes("a{code!~\"5..\"}", &code("503")));
    assert!(takes("a{code=~\"4..|5..\"}", &code("404")), "the anchors are around the whole");
    assert!(!takes("a{code=~\"4..|5..\"}", &code("4044")));
    assert!(takes("a{code=~\"a.b\"}", &code("a\nb")), "a dot takes a line's end");
}

#[test]
fn all_matchers_must_hold_and_a_missing_label_is_an_empty_one() {
    let both = "a{code=~\"5..\", path!=\"/ready\",}";
    assert!(takes(both, &[("code", "500"), ("path", "/")]) && takes(both, &[("code", "500")]));
    assert!(!takes(both, &[("code", "500"), ("path", "/ready")]));
    assert!(takes("a{x=\"\"}", &[]) && takes("a{x=~\".*\"}", &[]) && !takes("a{x=~\".+\"}", &[]));
}

#[test]
fn values_stand_in_any_of_the_three_quotes() {
    assert!(takes(r#"a{x="q\"\\\n"}"#, &[("x", "q\"\\\n")]));
    assert!(takes(r"a{x='it\'s', y=`\d`}", &[("x", "it's"), ("y", "\\d")]));
    assert!(takes(r"a{x=~`\d+`}", &[("x", "42")]) && takes(r#"a{x="\u00e4"}"#, &[("x", "\u{e4}")]));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let found = mistakes("a{1x=\"\", code~\"5..\", y=~\"(\", z=5, w=\"\\d\"}");
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["1x", "~", "\"(\"", "5", "\\d"], "{found:?}");
    assert!(found[2].1.contains("unclosed group"), "{found:?}");
}

#[test]
fn a_query_is_no_selector() {
    for query in ["rate(a[5m])", "a[5m]", "a offset 5m", "a{} > 0", "sum by (x) (a)", "a + b"] {
        let mistakes = Selector::parse(query).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{query}: {mistakes:?}");
        let hint = mistakes[0].hint.as_deref().unwrap();
        assert!(hint.starts_with("only a selector is taken"), "{query}: {hint}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(mistakes("")[0].1, "a selector begins with the metric's name: letters, digits, '_' and ':'");
    assert_eq!(mistakes("a{x=\"")[0], ("\"".to_owned(), "the value's closing quote is missing".to_owned()));
    assert_eq!(mistakes("a{x=\"1\"")[0].1, "expected \",\" or \"}\", found the end");
    assert_eq!(mistakes("a{")[0].1, "expected a label or \"}\", found the end");
    assert_eq!(mistakes("{__name__=\"a\"}").len(), 1);
    assert_eq!(mistakes("a{__name__=\"a\"}")[0].1, "the metric's name stands before the brace");
}

#[test]
fn a_selector_is_bounded() {
    assert!(mistakes(&"a".repeat(MAX_SELECTOR_BYTES + 1))[0].1.contains("more than the 1024"));
    let many = |number: usize| format!("a{{{}}}", "x=\"\",".repeat(number));
    assert!(Selector::parse(&many(MAX_MATCHERS)).is_ok());
    assert!(mistakes(&many(MAX_MATCHERS + 1))[0].1.contains("17 matchers"));
    for large in [r"a{x=~`(\w{200}){200}`}", "a{x=~`((a{999}){999}){999}`}"] {
        assert_eq!(
            mistakes(large)[0].1,
            "the regular expression is too large once it is compiled",
            "{large}"
        );
    }
    let deep = format!("a{{x=~\"{}{}\"}}", "(".repeat(200), ")".repeat(200));
    assert!(mistakes(&deep)[0].1.starts_with("is no regular expression"));
    assert!(mistakes("a{x=~\"a)|(b\"}")[0].1.starts_with("is no regular expression"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_and_places_lie_within(text in "[a-c{}=!~\"'`,\\\\ 0-9(\\[\u{e4}]{0,40}") {
        match Selector::parse(&text) {
            Ok(selector) => prop_assert_eq!(selector.source(), text),
            Err(mistakes) => {
                prop_assert!(!mistakes.is_empty());
                prop_assert!(mistakes.iter().all(|one| text.get(one.at.clone()).is_some()), "{:?}", mistakes);
            }
        }
    }
}
