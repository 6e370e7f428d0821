//! What a rule gets to see, and where it puts what it finds.

use crate::{
    finding::{Severity, Step},
    known::{Known, Transaction},
    migration::{Reads, SchemaPhase},
    name::Name,
    rule::Rule,
};
use squawk_syntax::{SyntaxNode, ast};
use std::ops::Range;

/// A look at one statement.
pub(crate) struct Look<'a> {
    pub(crate) stmt: &'a ast::Stmt,
    pub(crate) phase: SchemaPhase,
    pub(crate) server_major: u16,
    pub(crate) known: &'a Known,
    pub(crate) transaction: &'a Transaction,
    reads: &'a Reads,
    found: Vec<Found>,
}

/// What a rule has found, at bytes of the statement.
pub(crate) struct Found {
    pub(crate) rule: Rule,
    pub(crate) severity: Severity,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Look<'a> {
    pub(crate) fn new(
        stmt: &'a ast::Stmt,
        phase: SchemaPhase,
        (server_major, reads): (u16, &'a Reads),
        known: &'a Known,
        transaction: &'a Transaction,
    ) -> Self {
        Self { stmt, phase, server_major, known, transaction, reads, found: Vec::new() }
    }

    /// Notes that a rule is broken at a node, unless the phase allows it.
    pub(crate) fn find(&mut self, rule: Rule, at: &SyntaxNode, message: impl Into<String>, steps: Vec<Step>) {
        if let Some(severity) = rule.severity(self.phase) {
            self.put(rule, severity, at, message.into(), steps);
        }
    }

    /// The same for what is gone then: where the phase allows that, it is held against what running releases read.
    pub(crate) fn find_gone(
        &mut self,
        rule: Rule,
        at: &SyntaxNode,
        message: impl Into<String>,
        (table, column): (&Name, Option<&str>),
        steps: Vec<Step>,
    ) {
        if rule.severity(self.phase).is_some() {
            self.find(rule, at, message, steps);
            return;
        }
        let Reads::Columns(read) = self.reads else { return };
        let is_meant = |of: &(Name, String)| of.0 == *table && column.is_none_or(|column| of.1 == column);
        if let Some((table, column)) = read.iter().find(|of| is_meant(of)) {
            let message = format!("{}, and a running release reads {table}.{column}", message.into());
            self.put(rule, Severity::Fail, at, message, steps);
        }
    }

    fn put(&mut self, rule: Rule, severity: Severity, at: &SyntaxNode, message: String, steps: Vec<Step>) {
        let range = trimmed(at);
        self.found.push(Found { rule, severity, range, message, steps });
    }

    pub(crate) fn into_found(self) -> Vec<Found> {
        self.found
    }
}

/// Where a node stands without the spaces and comments at its ends.
fn trimmed(node: &SyntaxNode) -> Range<usize> {
    let mut tokens = crate::tree::tokens(node);
    let whole = node.text_range();
    let start = tokens.next().map_or(whole.start(), |token| token.text_range().start());
    let end = crate::tree::tokens(node).last().map_or(whole.end(), |token| token.text_range().end());
    start.into()..end.into()
}
