//! A test that is skipped says so by the one list, so that CI can forbid it.

use crate::none_of;
use handover_tests::repository;

#[test]
fn no_test_says_that_it_is_skipped_but_by_the_list_of_what_may_be_lacking() {
    // Put together here, since this file would else be found.
    let words = ["SKIPPED", "skipped: "].map(|word| format!("(\"{word}"));
    let sources = repository::files().into_iter().filter(|path| path.ends_with(".rs"));
    let sources = sources.filter(|path| !path.starts_with("tests/skips/"));
    let mut mistakes = Vec::new();
    for path in sources {
        let text = repository::read(&path);
        let lines = (1..).zip(text.lines());
        let found = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        mistakes.extend(found.map(|(line, _)| format!("{path}:{line}: use handover_skips::Lack")));
    }
    none_of(&mistakes);
}

#[test]
fn what_runs_on_every_change_forbids_skips_and_prints_what_it_lets_through() {
    let run = repository::read(".ci/run");
    assert_eq!(handover_skips::VARIABLE, "HANDOVER_NO_SKIP");
    let (before, after) = run.split_once("export HANDOVER_NO_SKIP=1\n").expect(".ci/run forbids skips");
    assert!(!before.contains("make test") && after.contains("make test"), "{run}");
    assert!(after.contains("--example allowed"), "{run}");
}
