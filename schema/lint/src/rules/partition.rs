//! Partitions: attached, detached.

use super::Target;
use crate::{finding::Step, look::Look, name::made_of, rule::Rule};
use squawk_syntax::ast::{self, AstNode as _};

pub(crate) fn attach(look: &mut Look<'_>, table: &Target, it: &ast::AttachPartition) {
    let Some(partition) = it.table_name_ref().map(|partition| Target::of(partition.syntax())) else { return };
    if look.known.is_new(&partition.name) || look.known.has_validated_check(&partition.name) {
        return;
    }
    let name = made_of(&[partition.short(), "bounds"]);
    let steps = vec![
        Step::here(
            look.phase,
            &format!(
                "give {} a check NOT VALID, {name}, that says of its rows what the bounds say, and validate it in a file of its own",
                partition.sql
            ),
        ),
        Step::here(look.phase, "then attach it: PostgreSQL takes the check's word for the rows"),
        Step::contract("drop the check"),
    ];
    let message = format!("all rows of {} are read while it is attached to {}", partition.name, table.name);
    look.find(Rule::AttachPartition, it.syntax(), message, steps);
}

pub(crate) fn detach(look: &mut Look<'_>, table: &Target, it: &ast::DetachPartition) {
    let Some(partition) = it.table_name_ref().map(|partition| Target::of(partition.syntax())) else { return };
    if it.detach_partition_option().is_some() || look.known.is_new(&partition.name) {
        return;
    }
    let message = format!("{} is detached from {} without CONCURRENTLY", partition.name, table.name);
    let sql = format!("ALTER TABLE {} DETACH PARTITION {} CONCURRENTLY;", table.sql, partition.sql);
    let words = if look.server_major >= 14 {
        "alone in its file, outside a transaction"
    } else {
        "from PostgreSQL 14 on, alone in its file, outside a transaction; before, there is no other way: allow it with a reason, at a quiet hour"
    };
    let step = Step::contract(words).sql(sql);
    let code = Step::code("use nothing of the partition through its parent");
    look.find(Rule::DetachPartition, it.syntax(), message, vec![code, step]);
}
