//! What a file does to the transaction and the session that the runner has opened for it.

use crate::{finding::Step, look::Look, rule::Rule, tree};
use squawk_syntax::{
    SyntaxKind,
    ast::{self, AstNode as _, Stmt},
};

pub(crate) fn apply(look: &mut Look<'_>) {
    let node = look.stmt.syntax().clone();
    match look.stmt {
        Stmt::Begin(_)
        | Stmt::Commit(_)
        | Stmt::Rollback(_)
        | Stmt::SavepointCreate(_)
        | Stmt::ReleaseSavepoint(_)
        | Stmt::PrepareTransaction(_) => {
            let words = "leave it out; what is to be a transaction of its own is a file of its own";
            let message = format!("{} in a file that the runner has in a transaction", tree::plain(&node));
            look.find(Rule::TransactionControl, &node, message, vec![Step::here(look.phase, words)]);
        }
        Stmt::Do(_) | Stmt::Call(_) | Stmt::Execute(_) | Stmt::Load(_) => {
            let word = tree::tokens(&node).next().map(|token| token.text().to_ascii_uppercase());
            let message = format!("{} runs what is not seen here", word.unwrap_or_default());
            let words = "write the statements themselves; or, where that cannot be: -- handover: allow opaque-code because WHY";
            look.find(Rule::OpaqueCode, &node, message, vec![Step::here(look.phase, words)]);
        }
        _ => {}
    }
    enum_values(look);
}

/// A value that was added to an enum cannot be used before the transaction has ended.
fn enum_values(look: &mut Look<'_>) {
    if look.transaction.enum_values.is_empty() || matches!(look.stmt, Stmt::AlterType(_)) {
        return;
    }
    let node = look.stmt.syntax().clone();
    let used = tree::tokens(&node)
        .find(|token| look.transaction.enum_values.iter().any(|value| value == token.text()))
        .and_then(|token| Some((token.text().to_owned(), token.parent()?)));
    if let Some((value, at)) = used {
        let message = format!("{value} was added to an enum in this transaction, and cannot be used in it");
        let steps = vec![
            Step::here(look.phase, "in a file of its own, behind the one that adds it")
                .sql(format!("{};", tree::plain(&node))),
        ];
        look.find(Rule::EnumValueUsed, &at, message, steps);
    }
}

/// A statement that cannot be in a transaction.
pub(crate) fn must_run_alone(look: &mut Look<'_>, reason: &str, transaction: Option<bool>, company: bool) {
    let message = match transaction {
        Some(true) => format!("{reason} cannot run in a transaction, and this file is one"),
        _ if company => {
            format!("{reason} cannot run in a transaction, so the rest of this file has none either")
        }
        _ => return,
    };
    let node = look.stmt.syntax().clone();
    let sql = format!("{};", tree::plain(&node));
    let steps = vec![Step::here(look.phase, "alone in its file, outside a transaction").sql(sql)];
    look.find(Rule::MustRunAlone, &node, message, steps);
}

/// SET, RESET and DISCARD of the timeouts that the runner has set.
pub(crate) fn settings(look: &mut Look<'_>) {
    const TIMEOUTS: [&str; 2] = ["lock_timeout", "statement_timeout"];
    let node = look.stmt.syntax().clone();
    let words: Vec<String> = tree::tokens(&node).map(|token| tree::unquoted(token.text())).collect();
    let is_all =
        matches!(look.stmt, Stmt::Reset(_) | Stmt::Discard(_)) && words.iter().any(|word| word == "all");
    let named = words.iter().find(|word| TIMEOUTS.contains(&word.as_str()));
    let value = words.last().map(|word| word.trim_matches('\'').trim());
    let is_off =
        matches!(look.stmt, Stmt::Reset(_)) || value.is_some_and(is_zero) || value == Some("default");
    if is_all || (named.is_some() && is_off) {
        let steps = vec![
            Step::here(look.phase, "leave it out; a longer one for this file: SET LOCAL, with a time")
                .sql("SET LOCAL statement_timeout = '10min';"),
        ];
        look.find(
            Rule::TimeoutOff,
            &node,
            format!("{} ends the runner's timeouts", tree::plain(&node)),
            steps,
        );
    }
}

/// `0`, `0ms`, `0 s`.
fn is_zero(value: &str) -> bool {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    !digits.is_empty() && digits.chars().all(|digit| digit == '0')
}

/// COPY from or to a client.
pub(crate) fn copy(look: &mut Look<'_>, it: &ast::Copy) {
    let node = it.syntax();
    let client = node
        .descendants()
        .find(|inner| matches!(inner.kind(), SyntaxKind::COPY_STDIN | SyntaxKind::COPY_STDOUT));
    if let Some(client) = client {
        let steps = vec![Step::here(look.phase, "write the rows out: INSERT INTO ... VALUES ...")];
        look.find(Rule::NeedsClient, &client, "COPY has no client here", steps);
    }
}
