//! Statements that lock a table for as long as they run.

use super::Target;
use crate::{finding::Step, look::Look, name::Name, rule::Rule, tree};
use squawk_syntax::ast::{self, AstNode as _};

pub(crate) fn lock(look: &mut Look<'_>, it: &ast::Lock) {
    let mode = it.lock_mode_clause().and_then(|clause| clause.lock_mode());
    let stops_nobody = matches!(
        mode,
        Some(ast::LockMode::AccessShare(_) | ast::LockMode::RowShare(_) | ast::LockMode::RowExclusive(_))
    );
    let Some(list) = it.relation_list() else { return };
    let tables: Vec<Name> = list.syntax().children().map(|table| Target::of(&table).name).collect();
    if stops_nobody || tables.iter().all(|table| look.known.is_new(table)) {
        return;
    }
    let names = tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let steps = vec![Step::here(
        look.phase,
        "leave it out: each statement takes the lock that it needs, and the runner bounds how long it waits",
    )];
    look.find(Rule::LockTable, it.syntax(), format!("locks {names} until the transaction ends"), steps);
}

pub(crate) fn vacuum(look: &mut Look<'_>, it: &ast::Vacuum) {
    if !it.is_full() {
        return;
    }
    let tables = it.table_and_columns_list().map(|list| tree::plain(list.syntax()));
    let names = tables.clone().unwrap_or_default();
    let step = if look.server_major >= 19 && tables.is_some() {
        Step::here(look.phase, "rewrites it beside the traffic; alone in its file")
            .sql(format!("REPACK (CONCURRENTLY) {names};"))
    } else {
        let words = "frees the room for new rows, and stops nobody; to give it back to the disk there is pg_repack, by hand";
        Step::here(look.phase, words).sql(format!("VACUUM {names}").trim_end().to_owned() + ";")
    };
    let steps = vec![step];
    let what = tables.unwrap_or_else(|| "all tables".to_owned());
    look.find(Rule::VacuumFull, it.syntax(), format!("rewrites {what} under a lock"), steps);
}

pub(crate) fn cluster(look: &mut Look<'_>, it: &ast::Cluster) {
    let steps = vec![Step::here(
        look.phase,
        "leave it out; pg_repack with an order, by hand: it keeps the table usable",
    )];
    look.find(Rule::Cluster, it.syntax(), "rewrites the table in an index' order, under a lock", steps);
}

pub(crate) fn repack(look: &mut Look<'_>, it: &ast::Repack) {
    let concurrently = tree::token(it.syntax(), squawk_syntax::SyntaxKind::CONCURRENTLY_KW).is_some();
    if !concurrently {
        let steps = vec![Step::here(look.phase, "with the option CONCURRENTLY, alone in its file")];
        look.find(Rule::Cluster, it.syntax(), "rewrites the table under a lock", steps);
    }
}

pub(crate) fn refresh(look: &mut Look<'_>, it: &ast::Refresh) {
    let Some(view) = it.view_ref().map(|view| Target::of(view.syntax())) else { return };
    if it.concurrently_token().is_some() || look.known.is_new(&view.name) {
        return;
    }
    let steps = vec![
        Step::here(look.phase, "it needs a unique index over columns, without a condition, on the view")
            .sql(format!("REFRESH MATERIALIZED VIEW CONCURRENTLY {};", view.sql)),
    ];
    let message = format!("{} is refreshed without CONCURRENTLY", view.name);
    look.find(Rule::RefreshNotConcurrent, it.syntax(), message, steps);
}
