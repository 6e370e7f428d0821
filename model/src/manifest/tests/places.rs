//! A mistake's place is exactly what it is about, and its hint is what was meant.

use crate::config::{Manifest, Mistake};

/// The only mistake of a manifest, with the text that its place covers and its hint.
#[track_caller]
fn only(text: &str) -> (String, String) {
    let errors = Manifest::from_bytes(text.as_bytes()).expect_err("a wrong manifest was taken");
    let [Mistake { span, hint, .. }] = errors.all() else { panic!("not one mistake:\n{errors}") };
    (text[span.clone()].to_owned(), hint.clone().unwrap_or_default())
}

#[track_caller]
fn with(rest: &str, place: &str, hint: &str) {
    let text = format!("service = \"web\"\ncommand = [\"bin/web\"]\n{rest}");
    assert_eq!(only(&text), (place.to_owned(), hint.to_owned()), "{rest}");
}

#[test]
fn a_place_is_the_key_or_the_value_that_is_wrong() {
    with("usr = \"a\"", "usr", "did you mean \"user\"?");
    with("[drain]\nsignal = \"TERM\"", "\"TERM\"", "did you mean \"SIGTERM\"?");
    with("[drain]\ndeadline = 30", "30", "did you mean \"30s\"?");
    with("[limits]\ncpu = 150", "150", "did you mean \"150%\"?");
    with("[restart]\nattempts = \"3\"", "\"3\"", "did you mean 3?");
    with("[logs]\nto = \"journal\"", "\"journal\"", "did you mean \"journald\"?");
    with("[readiness]\nkind = \"notify\"\npath = \"/\"", "path", "");
    with("[limits]\ncore = \"unlimitd\"", "\"unlimitd\"", "did you mean \"unlimited\"?");
    with("[limits]\nmemory = \"512MB\"", "\"512MB\"", "did you mean \"512MiB\"?");
}

#[test]
fn a_key_of_another_table_is_named_with_its_table() {
    with("settle = \"1s\"", "settle", "it is a key of [readiness]");
    with("[drain]\nbatch = 1", "batch", "it is a key of [rollout]");
    with("[limits]\nuser = \"a\"", "user", "it is a key of the top");
}

#[test]
fn a_placeholder_has_a_place_inside_its_text() {
    let hint = "did you mean {host.address}?";
    with("[listeners]\na = \"{host.adress}:80\"", "{host.adress}", hint);
    with("[environment]\nA = 'x {host.nam} y'", "{host.nam}", "did you mean {host.name}?");
    let known = "known are {host.name}, {host.address} and {label.KEY}; write {{ for a brace";
    with("[environment]\nA = \"öä{\"", "{", known);
    with("[environment]\nA = '''x{zone}'''", "{zone}", known);
    // An escape shifts what follows: the whole text.
    with("[environment]\nA = \"\\t{host.nam}\"", "\"\\t{host.nam}\"", "did you mean {host.name}?");
}

#[test]
fn a_listener_that_does_not_exist_has_its_nearest() {
    with(
        "[listeners]\nhttp = \"[::]:1\"\nadmin = \"[::]:2\"\n[readiness]\nkind = \"tcp\"\nlistener = \"htp\"",
        "\"htp\"",
        "did you mean \"http\"?",
    );
}

#[test]
fn what_is_missing_in_a_table_points_to_the_table() {
    with("[listeners.a]\nbacklog = 5", "[listeners.a]", "write it like this: address = \"0.0.0.0:8080\"");
    with(
        "[listeners]\na = { backlog = 5 }",
        "{ backlog = 5 }",
        "write it like this: address = \"0.0.0.0:8080\"",
    );
    with("[liveness]\ninterval = \"1s\"", "[liveness]", "write it like this: kind = \"http\"");
}

#[test]
fn a_byte_of_no_character_has_its_place() {
    let errors = Manifest::from_bytes(b"service = \"web\"\nuser = \"m\xfcller\"").unwrap_err();
    let error = &errors.all()[0];
    assert_eq!((error.line, error.column), (2, 10), "{errors}");
    assert_eq!(error.span, 25..28, "the replacement character in the lossy text");
    assert!(error.message.contains("byte 25 (0xfc)"), "{errors}");
}
