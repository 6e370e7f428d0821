//! The recorded session of the quick start.

use handover_tests::{load::FailureKind, markdown::Document, repository, session::Session, shell};

#[test]
fn the_recorded_session_is_of_the_quick_start_as_it_stands_in_the_readme() {
    let told = shell::typed(&Document::read("README.md").script("Quick start"));
    let told: Vec<&str> = told.iter().map(String::as_str).filter(|line| !Session::leaves_out(line)).collect();
    let recorded = Session::read(&repository::read(Session::PATH));
    assert_eq!(
        recorded.typed,
        told,
        "{} was recorded from another quick start: `make session` records it anew",
        Session::PATH
    );
}

#[test]
fn the_recorded_session_is_plain_text_and_shows_what_the_quick_start_is_for() {
    let text = repository::read(Session::PATH);
    let strange = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(strange, None, "{} has control characters", Session::PATH);
    for words in ["web 1.1.0: succeeded", "web 1.2.0: rolled back", "exit code 3", "hello from 1.1.0"] {
        assert!(text.contains(words), "{words:?} is not in {}", Session::PATH);
    }
    for kind in FailureKind::ALL {
        let name = kind.to_string();
        let count = text.lines().find_map(|line| line.trim_start().strip_prefix(&name));
        assert_eq!(count.map(str::trim), Some("0"), "{name} in {}", Session::PATH);
    }
}
