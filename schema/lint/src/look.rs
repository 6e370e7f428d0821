//! What a rule gets to see, and where it puts what it finds.

use crate::{
    finding::{Severity, Step},
    gone::Ledger,
    known::{Known, Transaction},
    migration::{Code, SchemaPhase},
    name::Name,
    rule::Rule,
};
use handover_model::{ColumnPattern, SchemaVersion};
use squawk_syntax::{SyntaxNode, ast};
use std::ops::Range;

/// A look at one statement.
pub(crate) struct Look<'a> {
    pub(crate) stmt: &'a ast::Stmt,
    pub(crate) phase: SchemaPhase,
    pub(crate) server_major: u16,
    pub(crate) known: &'a Known,
    pub(crate) transaction: &'a Transaction,
    version: SchemaVersion,
    code: Option<&'a Code>,
    /// What the whole file does.
    ledger: &'a Ledger,
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
        (server_major, version, code): (u16, SchemaVersion, Option<&'a Code>),
        ledger: &'a Ledger,
        known: &'a Known,
        transaction: &'a Transaction,
    ) -> Self {
        Self { stmt, phase, server_major, known, transaction, version, code, ledger, found: Vec::new() }
    }

    /// Notes that a rule is broken at a node, unless the phase allows it.
    pub(crate) fn find(&mut self, rule: Rule, at: &SyntaxNode, message: impl Into<String>, steps: Vec<Step>) {
        if let Some(severity) = rule.severity(self.phase) {
            self.put(rule, severity, at, message.into(), steps);
        }
    }

    /// Whether a view that is dropped is there again behind it, as the table that it showed.
    pub(crate) fn is_back(&self, view: &Name) -> bool {
        self.ledger.is_back(view)
    }

    /// Notes that a rule is broken, as [`Self::find`]; where the phase allows what it does, it is held against what the release's
    /// own code uses.
    pub(crate) fn find_gone(
        &mut self,
        rule: Rule,
        at: &SyntaxNode,
        message: impl Into<String>,
        what: &ColumnPattern,
        steps: Vec<Step>,
    ) {
        if rule.severity(self.phase).is_some() {
            self.find(rule, at, message, steps);
            return;
        }
        if let Some(used) = self.code.and_then(|code| code.loses(self.version, what)) {
            let message = format!("{}, and the release says that its code uses {used}", message.into());
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
