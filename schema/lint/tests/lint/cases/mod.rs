//! Each rule with a migration that breaks it and one that reaches the same end, or nearly so, and does not.

mod running;
mod shape;

use crate::files::Files;
use handover_lint::Rule;

/// A rule with both.
pub(crate) struct Case {
    pub(crate) rule: Rule,
    pub(crate) broken: Files,
    pub(crate) fine: Files,
}

fn case(rule: Rule, broken: Files, fine: Files) -> Case {
    Case { rule, broken, fine }
}

pub(crate) fn all() -> Vec<Case> {
    let mut all = shape::cases();
    all.extend(running::cases());
    all
}
