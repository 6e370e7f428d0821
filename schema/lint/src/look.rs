//! What a rule gets to see, and where it puts what it finds.

use crate::{
    finding::{Severity, Step},
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
    found: Vec<Found>,
    changes: Changes,
}

/// What a statement takes away by its name, and what it gives a name that something had before.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) taken: Vec<Taken>,
    pub(crate) given: Vec<ColumnPattern>,
}

/// Columns that are taken away.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) what: ColumnPattern,
    /// A view's name: one that is made anew in its place has the columns again.
    pub(crate) view: Option<Name>,
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
        known: &'a Known,
        transaction: &'a Transaction,
    ) -> Self {
        Self {
            stmt,
            phase,
            server_major,
            known,
            transaction,
            version,
            code,
            found: Vec::new(),
            changes: Changes::default(),
        }
    }

    /// Notes that a rule is broken at a node, unless the phase allows it.
    pub(crate) fn find(&mut self, rule: Rule, at: &SyntaxNode, message: impl Into<String>, steps: Vec<Step>) {
        if let Some(severity) = rule.severity(self.phase) {
            self.put(rule, severity, at, message.into(), steps);
        }
    }

    /// Notes that columns are gone then, all of a table's or one.
    pub(crate) fn takes(&mut self, what: ColumnPattern) {
        self.changes.taken.push(Taken { what, view: None });
    }

    /// The same of a view.
    pub(crate) fn takes_view(&mut self, view: &Name) {
        self.changes.taken.push(Taken { what: all_of(view), view: Some(view.clone()) });
    }

    /// Notes that something has the name that was taken from another.
    pub(crate) fn gives(&mut self, name: &Name) {
        self.changes.given.push(all_of(name));
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

    pub(crate) fn into_found(self) -> (Vec<Found>, Changes) {
        (self.found, self.changes)
    }
}

/// All columns of a table or a view.
pub(crate) fn all_of(table: &Name) -> ColumnPattern {
    ColumnPattern::of_table(table.schema(), table.name())
}

/// One of them.
pub(crate) fn column_of(table: &Name, column: &str) -> ColumnPattern {
    ColumnPattern::column(table.schema(), table.name(), column)
}

/// Where a node stands without the spaces and comments at its ends.
fn trimmed(node: &SyntaxNode) -> Range<usize> {
    let mut tokens = crate::tree::tokens(node);
    let whole = node.text_range();
    let start = tokens.next().map_or(whole.start(), |token| token.text_range().start());
    let end = crate::tree::tokens(node).last().map_or(whole.end(), |token| token.text_range().end());
    start.into()..end.into()
}
