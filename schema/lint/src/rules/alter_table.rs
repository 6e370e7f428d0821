//! ALTER TABLE, action by action.

use super::{Target, column, constraint, in_place, partition, rename};
use crate::{finding::Step, known::locks, look::Look, rule::Rule, tree};
use squawk_syntax::ast::{self, AlterTableAction as Action, AstNode as _};

pub(crate) fn table(look: &mut Look<'_>, it: &ast::AlterTable) {
    let Some(table) = it.table_relation_name().map(|table| Target::of(table.syntax())) else {
        if let Some(all) = it.all_in_tablespace() {
            rewrites(look, all.syntax(), "all tables of a tablespace are moved");
        }
        return;
    };
    for action in it.actions() {
        check(look, &table, &action);
    }
    let others: Vec<String> = look.transaction.locked.iter().map(ToString::to_string).collect();
    let is_another = !look.known.is_new(&table.name) && !look.transaction.locked.contains(&table.name);
    if is_another && locks(it) && !others.is_empty() {
        let sql = format!("{};", tree::plain(it.syntax()));
        look.find(
            Rule::SeveralTables,
            it.syntax(),
            format!("changes {} while the transaction holds the lock of {}", table.name, others.join(", ")),
            vec![Step::here(look.phase, "in a file of its own").sql(sql)],
        );
    }
}

pub(crate) fn foreign_table(look: &mut Look<'_>, it: &ast::AlterForeignTable) {
    let Some(table) = it.table_relation_name().map(|table| Target::of(table.syntax())) else { return };
    for action in it.actions() {
        check(look, &table, &action);
    }
}

pub(crate) fn materialized_view(look: &mut Look<'_>, it: &ast::AlterMaterializedView) {
    let Some(view) = it.view_ref().map(|view| Target::of(view.syntax())) else { return };
    for action in it.action() {
        if let ast::AlterMaterializedViewAction::AlterTableAction(action) = &action {
            check(look, &view, action);
        }
    }
}

fn check(look: &mut Look<'_>, table: &Target, action: &Action) {
    if look.known.is_new(&table.name) {
        return;
    }
    let node = action.syntax();
    match action {
        Action::RenameColumn(it) => rename::column(look, table, it),
        Action::TableRenameTo(it) => rename::table(look, table, it),
        Action::AddColumn(it) => column::add(look, table, it),
        Action::DropColumn(it) => column::drop(look, table, it),
        Action::AlterColumn(it) => column::alter(look, table, it),
        Action::AddConstraint(it) => constraint::add(look, table, it),
        Action::ValidateConstraint(it) => constraint::validate(look, table, it),
        Action::DropConstraint(it) => constraint::drop(look, table, it),
        Action::AttachPartition(it) => partition::attach(look, table, it),
        Action::DetachPartition(it) => partition::detach(look, table, it),
        Action::SplitPartition(_) => rewrites(look, node, "the partition's rows are moved to others"),
        Action::MergePartitions(_) => rewrites(look, node, "the partitions' rows are moved to one"),
        Action::SetTablespace(_) => rewrites(look, node, "the table is copied to another tablespace"),
        Action::SetLogged(_) => rewrites(look, node, "the table is written anew, and all of it to the log"),
        Action::SetUnlogged(_) => rewrites(look, node, "the table is written anew, and lost in a crash"),
        Action::SetAccessMethod(_) => {
            rewrites(look, node, "the table is written anew by another access method");
        }
        Action::DisableTrigger(_) | Action::DisableRule(_) => {
            let message = format!("{} on {}", tree::plain(node).to_lowercase(), table.name);
            let words =
                "let the trigger's function decide for which rows it does nothing; drop it in the contract";
            look.find(Rule::DisableTrigger, node, message, vec![Step::expand(words)]);
        }
        Action::EnableRls(_) | Action::ForceRls(_) => {
            let words = "make the policies, and run the new release with a role that they let in";
            let later = format!("ALTER TABLE {} {};", table.sql, tree::plain(node));
            look.find(
                Rule::TakesRights,
                node,
                format!("rows of {} are hidden from whoever no policy lets in", table.name),
                vec![Step::code(words), Step::contract("once the old release is gone").sql(later)],
            );
        }
        Action::ReplicaIdentity(_) | Action::InheritTable(_) | Action::NoInheritTable(_) => {
            in_place::changed(look, node, &format!("{} of {}", tree::plain(node), table.name));
        }
        _ => {}
    }
}

fn rewrites(look: &mut Look<'_>, node: &squawk_syntax::SyntaxNode, message: &str) {
    let steps = vec![
        Step::expand("make a table beside it, as it is to be, and a trigger that writes each change to both"),
        Step::backfill("copy the rows in batches"),
        Step::contract("exchange the names in one short transaction, with the old one kept"),
    ];
    look.find(Rule::RewriteTable, node, message, steps);
}
