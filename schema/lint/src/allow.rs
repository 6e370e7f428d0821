//! Comments that allow what a rule forbids: `-- handover: allow RULE because WHY`, above the statement.

use crate::rule::Rule;
use handover_model::nearest;
use handover_script::{Directive, Header, directive};
use std::ops::Range;

/// A comment that allows something.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    pub(crate) rule: Rule,
    pub(crate) range: Range<usize>,
    /// Whether it allowed something.
    pub(crate) used: bool,
}

/// What is wrong with one.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) rule: Rule,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
}

/// What the comments before a statement allow, and what is wrong with them.
pub(crate) fn allowed(text: &str, comments: &[Range<usize>]) -> (Vec<Allowed>, Vec<Wrong>) {
    let (mut allowed, mut wrong) = (Vec::new(), Vec::new());
    for range in comments {
        let read = match directive(&text[range.clone()]) {
            Some(Directive::Linter(order)) => read(order),
            Some(Directive::Runner(order)) => match Header::default().read(order) {
                Ok(()) => continue,
                Err(what) => Err((Rule::AllowUnknown, what)),
            },
            None => continue,
        };
        match read {
            Ok(rule) => allowed.push(Allowed { rule, range: range.clone(), used: false }),
            Err((rule, message)) => wrong.push(Wrong { rule, range: range.clone(), message }),
        }
    }
    (allowed, wrong)
}

fn read(order: &str) -> Result<Rule, (Rule, String)> {
    let mut words = order.split_whitespace();
    // The first is "allow".
    let id = words.nth(1).unwrap_or_default();
    if id.is_empty() {
        let message = "this allows nothing: write -- handover: allow RULE because WHY";
        return Err((Rule::AllowUnknown, message.to_owned()));
    }
    let Some(rule) = Rule::from_id(id).filter(|rule| rule.may_be_allowed()) else {
        let names: Vec<&str> =
            Rule::ALL.iter().filter(|rule| rule.may_be_allowed()).map(|rule| rule.id()).collect();
        let meant = match nearest(id, &names) {
            Some(name) => format!(": did you mean {name}?"),
            None => ": docs/schema-lint.md lists them".to_owned(),
        };
        return Err((Rule::AllowUnknown, format!("{id} is no rule that can be allowed{meant}")));
    };
    let because = words.next().is_some_and(|word| word.eq_ignore_ascii_case("because"));
    if !because || words.next().is_none() {
        let message = format!("{id} is allowed without a reason: write -- handover: allow {id} because WHY");
        return Err((Rule::AllowWithoutReason, message));
    }
    Ok(rule)
}
