//! Comments that are for Handover and not for people: `-- handover: ...`, `/* handover: ... */`.

/// What such a comment begins with, in capitals or not.
const MARK: &str = "handover:";

/// What a comment tells Handover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive<'c> {
    /// The linter: `allow ...`.
    Linter(&'c str),
    /// The runner: whatever else it is.
    Runner(&'c str),
}

/// What a comment tells Handover, as it stands in its file; `None` where it speaks to people.
#[must_use]
pub fn directive(comment: &str) -> Option<Directive<'_>> {
    let inner = comment
        .strip_prefix("--")
        .or_else(|| comment.strip_prefix('#'))
        .or_else(|| comment.strip_prefix("/*").map(|inner| inner.strip_suffix("*/").unwrap_or(inner)))?
        .trim();
    let (mark, order) = inner.split_at_checked(MARK.len())?;
    if !mark.eq_ignore_ascii_case(MARK) {
        return None;
    }
    let order = order.trim();
    let verb = order.split_whitespace().next().unwrap_or_default();
    Some(match verb.eq_ignore_ascii_case("allow") {
        true => Directive::Linter(order),
        false => Directive::Runner(order),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_for_the_runner_for_the_linter_or_for_people() {
        for (comment, expected) in [
            ("-- handover: no transaction\n", Some(Directive::Runner("no transaction"))),
            ("--HANDOVER:batch table=a key=b", Some(Directive::Runner("batch table=a key=b"))),
            ("# handover: x", Some(Directive::Runner("x"))),
            ("/* handover: Allow a because b */", Some(Directive::Linter("Allow a because b"))),
            ("/* handover: allow", Some(Directive::Linter("allow"))),
            ("-- handover:", Some(Directive::Runner(""))),
            ("-- handover does that", None),
            ("-- see handover: it does that", None),
            ("-- h\u{e4}ndover: x", None),
            ("--", None),
        ] {
            assert_eq!(directive(comment), expected, "{comment}");
        }
    }
}
