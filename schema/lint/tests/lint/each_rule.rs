//! Every rule, by its cases.

use crate::{
    cases,
    files::{Files, file},
};
use handover_lint::{Finding, Part, Release, Rule, Severity};
use std::fmt::Write as _;

#[test]
fn every_rule_has_a_migration_that_breaks_it_and_one_that_does_not() {
    let cases = cases::all();
    let without: Vec<&str> = Rule::ALL
        .iter()
        .filter(|rule| !cases.iter().any(|case| case.rule == **rule))
        .map(|rule| rule.id())
        .collect();
    assert!(without.is_empty(), "no case for {without:?}");
}

#[test]
fn what_breaks_a_rule_is_found_with_its_place_and_its_reason() {
    let mut wrong = String::new();
    for case in cases::all() {
        let found = case.broken.of(case.rule);
        if found.is_empty() {
            let _ = writeln!(
                wrong,
                "{} was not found in {:?}: {}\n",
                case.rule,
                case.broken,
                case.broken.linted()
            );
        }
        for finding in found {
            assert_eq!(Some(finding.severity), case.rule.severity(finding.phase), "{finding}");
            assert!(!finding.message.is_empty() && !finding.why.is_empty(), "{finding:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_breaks_no_rule_has_no_findings_at_all() {
    let mut wrong = String::new();
    for case in cases::all() {
        let report = case.fine.linted();
        // That is what the case is about: a file beside it is not a second one.
        if !report.findings.is_empty() {
            let _ = writeln!(wrong, "{}: {:?}\n{report}\n", case.rule, case.fine);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Rules about files and comments say in their message what to do.
fn has_no_steps(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::SyntaxError
            | Rule::TooLarge
            | Rule::NotTaken
            | Rule::AllowWithoutReason
            | Rule::AllowUnknown
            | Rule::AllowUnused
    )
}

#[test]
fn every_finding_has_steps_and_their_sql_breaks_no_rule_where_it_is_to_run() {
    let mut wrong = String::new();
    for case in cases::all() {
        for finding in case.broken.of(case.rule) {
            assert_eq!(finding.steps.is_empty(), has_no_steps(finding.rule), "{finding}");
            for release in [Release::This, Release::Next, Release::AfterNext] {
                let Some(files) = sql_of(&finding, release, &case.broken) else { continue };
                let report = files.linted();
                if !report.findings.is_empty() {
                    let _ = writeln!(wrong, "of {finding}\n{report}\n");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The SQL of a finding's steps in one release, each a file of its part.
fn sql_of(finding: &Finding, release: Release, like: &Files) -> Option<Files> {
    let mut steps: Vec<_> = finding.steps.iter().filter(|step| step.release == release).collect();
    steps.sort_by_key(|step| step.part);
    let files = steps.into_iter().filter_map(|step| Some(file(step.part.phase()?, step.sql.as_ref()?)));
    Some(files.reduce(Files::then)?.on(like.context().server_major))
}

#[test]
fn steps_are_in_the_order_in_which_they_happen() {
    for case in cases::all() {
        for finding in case.broken.of(case.rule) {
            let order: Vec<(Release, Part)> =
                finding.steps.iter().map(|step| (step.release, step.part)).collect();
            assert!(order.is_sorted(), "{finding}");
        }
    }
}

#[test]
fn a_warning_alone_passes_and_a_failure_does_not() {
    for case in cases::all() {
        let report = case.broken.linted();
        let fails = report.findings.iter().any(|finding| finding.severity == Severity::Fail);
        assert_eq!(report.passes(), !fails, "{report}");
    }
}
