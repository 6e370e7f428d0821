//! The type of a column is changed.

use super::{Target, constraint, rename};
use crate::{
    finding::Step, look::Look, migration::SchemaPhase, name::made_of, rule::Rule, tree, types::Type,
};
use squawk_syntax::{
    SyntaxNode,
    ast::{self, AstNode as _},
};

pub(crate) fn change(
    look: &mut Look<'_>,
    table: &Target,
    column: &str,
    it: &ast::SetType,
    node: &SyntaxNode,
) {
    let Some(ty) = it.ty() else { return };
    let folded = tree::unquoted(column);
    let ty = tree::plain(ty.syntax());
    let new = Type::parse(&ty);
    let old = look.known.type_of(&table.name, &folded).map(str::to_owned);
    let widens = old.as_deref().is_some_and(|old| Type::parse(old).widens_to(&new));
    if widens && it.using_expr().is_none() && it.collate().is_none() {
        return;
    }
    let value = match it.using_expr().and_then(|using| using.expr()) {
        Some(expr) => format!("({})", tree::plain(expr.syntax())),
        None => format!("{column}::{ty}"),
    };
    let steps = match (new.name.as_str(), new.numbers.as_slice()) {
        // A limit is a check, which can be added without reading the rows under a lock.
        ("varchar", [limit]) if it.using_expr().is_none() => {
            let name = made_of(&[table.short(), &folded, "length"]);
            let check = format!("CHECK (char_length({column}) <= {limit})");
            let code = Step::code(&format!("write no {column} that is longer; shorten the old ones"));
            std::iter::once(code)
                .chain(constraint::in_two_steps(SchemaPhase::Contract, table, &name, &check))
                .collect()
        }
        _ => {
            let beside = made_of(&[&folded, "new"]);
            rename::moved(&table.sql, (column, &beside), Some(&ty), &value)
        }
    };
    let message = match &old {
        Some(old) => format!("changes {column} of {} from {old} to {ty}", table.name),
        None => format!("changes {column} of {} to {ty} (from what is not known here)", table.name),
    };
    look.find(Rule::ChangeType, node, message, steps);
}
