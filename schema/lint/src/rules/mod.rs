//! The rules, by what they are about. Each looks at one statement, with what is known from those before it.

mod advice;
mod alter_table;
mod column;
mod column_type;
mod constraint;
mod domain;
mod drop;
mod in_place;
mod index;
mod partition;
mod rename;
mod rows;
mod table_lock;
mod transaction;
mod value;

pub(crate) use drop::of_unknown_schema;
pub(crate) use transaction::must_run_alone;

use crate::{look::Look, name::Name};
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{AstNode, Stmt},
};

/// Holds a statement against all rules.
pub(crate) fn apply(look: &mut Look<'_>) {
    match look.stmt {
        Stmt::AlterTable(it) => alter_table::table(look, it),
        Stmt::AlterForeignTable(it) => alter_table::foreign_table(look, it),
        Stmt::AlterMaterializedView(it) => alter_table::materialized_view(look, it),
        Stmt::CreateIndex(it) => index::create(look, it),
        Stmt::DropIndex(it) => index::drop(look, it),
        Stmt::Reindex(it) => index::rebuild(look, it),
        Stmt::Lock(it) => table_lock::lock(look, it),
        Stmt::Vacuum(it) => table_lock::vacuum(look, it),
        Stmt::Cluster(it) => table_lock::cluster(look, it),
        Stmt::Repack(it) => table_lock::repack(look, it),
        Stmt::Refresh(it) => table_lock::refresh(look, it),
        Stmt::Truncate(it) => drop::truncate(look, it),
        Stmt::AlterDomain(it) => domain::alter(look, it),
        Stmt::CreateDomain(it) => domain::create(look, it),
        Stmt::AlterType(it) => domain::alter_type(look, it),
        Stmt::Copy(it) => transaction::copy(look, it),
        Stmt::Set(_) | Stmt::Reset(_) | Stmt::Discard(_) => transaction::settings(look),
        _ => {}
    }
    rename::apply(look);
    drop::apply(look);
    in_place::apply(look);
    transaction::apply(look);
    rows::apply(look);
    advice::apply(look);
}

/// A table that a statement is about.
pub(crate) struct Target {
    pub(crate) name: Name,
    /// As the statement writes it.
    pub(crate) sql: String,
}

impl Target {
    pub(crate) fn of(node: &SyntaxNode) -> Self {
        let written: String = crate::tree::tokens(node)
            .filter(|token| {
                !matches!(
                    token.kind(),
                    SyntaxKind::ONLY_KW | SyntaxKind::STAR | SyntaxKind::L_PAREN | SyntaxKind::R_PAREN
                )
            })
            .map(|token| token.text().to_owned())
            .collect();
        Self { name: Name::of(node), sql: written }
    }

    /// Its name without the schema, for making others of it.
    pub(crate) fn short(&self) -> &str {
        self.name.name()
    }
}

/// `email, name` of nodes that are columns.
pub(crate) fn listed<N: AstNode>(nodes: impl Iterator<Item = N>) -> Vec<String> {
    nodes.map(|node| Name::of(node.syntax()).name().to_owned()).collect()
}
