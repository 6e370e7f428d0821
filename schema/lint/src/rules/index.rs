//! Indexes: made, dropped, rebuilt.

use super::Target;
use crate::{
    finding::Step,
    look::Look,
    migration::SchemaPhase,
    name::{Name, made_of},
    rule::Rule,
    tree,
};
use squawk_syntax::{
    SyntaxKind,
    ast::{self, AstNode as _},
};

const ALONE: &str = "alone in its file, outside a transaction";

pub(crate) fn create(look: &mut Look<'_>, it: &ast::CreateIndex) {
    let Some(relation) = it.table_relation_name() else { return };
    let table = Target::of(relation.syntax());
    if look.known.is_new(&table.name) {
        return;
    }
    let node = it.syntax();
    let name = it.index().map_or_else(|| "an index".to_owned(), |index| tree::plain(index.syntax()));
    // ON ONLY makes the index of a partitioned table without those of its partitions: nothing is built.
    if it.concurrently_token().is_none()
        && relation.only_token().is_none()
        && let Some(index) = tree::token(node, SyntaxKind::INDEX_KW)
    {
        // The runner takes none without a name: what a failure leaves of it is found by that.
        let concurrently = match it.index() {
            Some(_) => " CONCURRENTLY".to_owned(),
            None => format!(" CONCURRENTLY {}", name_for(&table, it)),
        };
        let sql = format!("{};", tree::plain_with(node, (&index, &concurrently)));
        let message = format!("{name} on {} is made without CONCURRENTLY", table.name);
        let steps = if restricts(look, &table, it) {
            vec![Step::code("write no duplicates"), Step::contract(ALONE).sql(sql)]
        } else {
            vec![Step::here(look.phase, ALONE).sql(sql)]
        };
        look.find(Rule::IndexNotConcurrent, node, message, steps);
    } else if restricts(look, &table, it) {
        let steps = vec![
            Step::code("write no duplicates"),
            Step::contract(ALONE).sql(format!("{};", tree::plain(node))),
        ];
        let message = format!("{name} refuses duplicates that the old release may write to {}", table.name);
        look.find(Rule::NewConstraint, node, message, steps);
    }
    let columns = it.partition_item_list().map_or(0, |list| list.partition_items().count());
    if columns > 3 && it.unique_token().is_none() {
        let steps = vec![Step::here(look.phase, "take the columns that narrow down the most, in that order")];
        look.find(Rule::WideIndex, node, format!("{name} is over {columns} columns"), steps);
    }
}

/// The columns of an index; none for an expression.
fn columns(it: &ast::CreateIndex) -> Vec<Option<String>> {
    let columns = it.partition_item_list();
    let items = columns.iter().flat_map(ast::PartitionItemList::partition_items);
    items.map(|item| item.expr().as_ref().and_then(tree::column)).collect()
}

/// A name for an index that has none, as PostgreSQL would make it.
fn name_for(table: &Target, it: &ast::CreateIndex) -> String {
    let columns = columns(it);
    let columns = columns.iter().map(|column| column.as_deref().unwrap_or("expr"));
    made_of(&[table.short()].into_iter().chain(columns).chain(["idx"]).collect::<Vec<_>>())
}

/// Whether it is unique over columns that the old release writes.
fn restricts(look: &Look<'_>, table: &Target, it: &ast::CreateIndex) -> bool {
    let is_new = |column: &Option<String>| {
        column.as_ref().is_some_and(|column| look.known.is_new_column(&table.name, column))
    };
    look.phase != SchemaPhase::Contract && it.unique_token().is_some() && !columns(it).iter().all(is_new)
}

pub(crate) fn drop(look: &mut Look<'_>, it: &ast::DropIndex) {
    let node = it.syntax();
    let names: Vec<Name> = it.index_refs().map(|index| Name::of(index.syntax())).collect();
    if names.iter().all(|name| look.known.has_index(name)) {
        return;
    }
    let one = |index: ast::IndexRef| {
        let exists = if it.if_exists().is_some() { "IF EXISTS " } else { "" };
        let sql = format!("DROP INDEX CONCURRENTLY {exists}{};", tree::plain(index.syntax()));
        Step::contract(ALONE).sql(sql)
    };
    let listed = it.index_refs().map(|index| tree::plain(index.syntax())).collect::<Vec<_>>().join(", ");
    if it.concurrently_token().is_none() {
        let message = format!("{listed} is dropped without CONCURRENTLY");
        look.find(Rule::DropIndexNotConcurrent, node, message, it.index_refs().map(one).collect());
    }
    // An index that failed to be built concurrently is dropped before the next try.
    if it.concurrently_token().is_some() && it.if_exists().is_some() {
        return;
    }
    if it.concurrently_token().is_some() {
        look.find(Rule::DropIndex, node, format!("drops index {listed}"), it.index_refs().map(one).collect());
    }
}

pub(crate) fn rebuild(look: &mut Look<'_>, it: &ast::Reindex) {
    if it.is_concurrently() {
        return;
    }
    let node = it.syntax();
    let Some(target) = it.reindex_target() else { return };
    if matches!(target, ast::ReindexTarget::ReindexTargetTable(_))
        && look.known.is_new(&Name::of(target.syntax()))
    {
        return;
    }
    let word = tree::tokens(target.syntax()).next();
    let sql = word.map(|word| format!("{};", tree::plain_with(node, (&word, " CONCURRENTLY"))));
    let step = Step::here(look.phase, ALONE);
    let step = match (sql, &target) {
        // PostgreSQL knows no other way for the catalogue.
        (_, ast::ReindexTarget::ReindexTargetSystem(_)) | (None, _) => {
            Step::here(look.phase, "by hand, while nothing else runs")
        }
        (Some(sql), _) => step.sql(sql),
    };
    let message = format!("rebuilds {} without CONCURRENTLY", tree::plain(target.syntax()));
    look.find(Rule::ReindexNotConcurrent, node, message, vec![step]);
}
