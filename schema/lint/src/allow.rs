//! Comments that allow what a rule forbids: `-- handover: allow RULE because WHY`, above the statement.

use crate::rule::Rule;
use handover_model::nearest;
use std::ops::Range;

/// What such a comment begins with.
const MARK: &str = "handover:";

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
        let Some(order) = order(&text[range.clone()]).filter(|order| !is_for_the_runner(order)) else {
            continue;
        };
        match read(order) {
            Ok(rule) => allowed.push(Allowed { rule, range: range.clone(), used: false }),
            Err((rule, message)) => wrong.push(Wrong { rule, range: range.clone(), message }),
        }
    }
    (allowed, wrong)
}

/// What a comment tells the linter; `None` where it speaks to people.
fn order(comment: &str) -> Option<&str> {
    let inner = comment
        .strip_prefix("--")
        .or_else(|| comment.strip_prefix("/*").map(|inner| inner.strip_suffix("*/").unwrap_or(inner)))?;
    let inner = inner.trim();
    let mark = inner.get(..MARK.len())?;
    mark.eq_ignore_ascii_case(MARK).then(|| inner[MARK.len()..].trim())
}

/// Whether a comment says how the file is run, and not what is allowed in it.
fn is_for_the_runner(order: &str) -> bool {
    order == "no transaction"
        || is_batch(order)
        || order.starts_with("lock_timeout=")
        || order.starts_with("statement_timeout=")
}

fn is_batch(order: &str) -> bool {
    order.starts_with("batch ")
}

/// Whether the comments say that the file's statement runs for one piece of a table after the other.
pub(crate) fn in_batches<'t>(text: &'t str, mut comments: impl Iterator<Item = &'t Range<usize>>) -> bool {
    comments.any(|range| order(&text[range.clone()]).is_some_and(is_batch))
}

fn read(order: &str) -> Result<Rule, (Rule, String)> {
    let mut words = order.split_whitespace();
    let (verb, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !verb.eq_ignore_ascii_case("allow") || id.is_empty() {
        let message = "this tells the linter nothing: write -- handover: allow RULE because WHY";
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
