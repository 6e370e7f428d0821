//! What is dropped, emptied, or taken along by CASCADE.

use super::Target;
use crate::{
    finding::Step,
    gone::{dropped, of_table},
    look::Look,
    name::Name,
    rule::Rule,
    tree,
};
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{self, AstNode as _, Stmt},
};

pub(crate) fn apply(look: &mut Look<'_>) {
    let node = look.stmt.syntax().clone();
    match look.stmt {
        Stmt::DropTable(_)
        | Stmt::DropForeignTable(_)
        | Stmt::DropView(_)
        | Stmt::DropMaterializedView(_)
        | Stmt::DropSequence(_) => {
            for named in dropped(&node) {
                relation(look, &node, &named);
            }
        }
        Stmt::DropFunction(_)
        | Stmt::DropProcedure(_)
        | Stmt::DropRoutine(_)
        | Stmt::DropAggregate(_)
        | Stmt::DropType(_)
        | Stmt::DropDomain(_)
        | Stmt::DropTrigger(_)
        | Stmt::DropPolicy(_)
        | Stmt::DropRule(_)
        | Stmt::DropSchema(_)
        | Stmt::DropExtension(_)
        | Stmt::DropOperator(_)
        | Stmt::DropCast(_)
        | Stmt::DropCollation(_)
        | Stmt::DropOwned(_)
        | Stmt::DropRole(_)
        | Stmt::DropUser(_)
        | Stmt::DropPublication(_)
        | Stmt::DropServer(_) => object(look, &node),
        Stmt::DropDatabase(it) => {
            let name = it.database_ref().map(|name| tree::plain(name.syntax())).unwrap_or_default();
            let words = "nothing: who ends a service drops its database by hand";
            look.find(
                Rule::DropDatabase,
                &node,
                format!("drops database {name}"),
                vec![Step::here(look.phase, words)],
            );
        }
        _ => {}
    }
    cascade(look, &node);
}

fn relation(look: &mut Look<'_>, statement: &SyntaxNode, dropped: &SyntaxNode) {
    let target = Target::of(dropped);
    if look.known.is_new(&target.name) {
        return;
    }
    let noun = noun(statement);
    let steps = vec![
        Step::code(&format!("neither read nor write {}", target.sql)),
        Step::contract("once nothing runs a release that uses it")
            .sql(format!("DROP {noun} {};", target.sql)),
    ];
    let message = format!("drops {} {}", noun.to_lowercase(), target.name);
    if look.is_back(&target.name) {
        look.find(Rule::DropTable, dropped, message, steps);
    } else {
        look.find_gone(Rule::DropTable, dropped, message, &of_table(&target.name), steps);
    }
}

/// What is taken away by a name whose schema an earlier statement of the file has made uncertain.
pub(crate) fn of_unknown_schema(look: &mut Look<'_>) {
    let node = look.stmt.syntax().clone();
    let steps = vec![Step::here(look.phase, "write the schema before the name")];
    let message = format!("{} goes by search_path, which this file has set", tree::plain(&node));
    look.find(Rule::UnknownSchema, &node, message, steps);
}

/// `MATERIALIZED VIEW`: the words between DROP and the name.
fn noun(statement: &SyntaxNode) -> String {
    let words =
        tree::tokens(statement).skip(1).take_while(|token| token.parent().as_ref() == Some(statement));
    words.map(|token| token.text().to_ascii_uppercase()).collect::<Vec<_>>().join(" ")
}

fn object(look: &mut Look<'_>, node: &SyntaxNode) {
    let named = dropped(node);
    let Some(first) = named.first() else { return };
    // Behind the name of these stands that of their table.
    let of_a_table = matches!(look.stmt, Stmt::DropTrigger(_) | Stmt::DropPolicy(_) | Stmt::DropRule(_));
    let dropped = if of_a_table { &named[..1] } else { &named[..] };
    if dropped.iter().all(|name| look.known.is_new(&Name::of(name))) {
        return;
    }
    let whole = match node.children().find(|child| child.kind() == SyntaxKind::CASCADE) {
        Some(cascade) => tree::plain_without(node, &cascade),
        None => tree::plain(node),
    };
    let without = whole.find(&tree::plain(first)).map_or(whole.as_str(), |at| &whole[at..]);
    let noun = noun(node);
    let steps = vec![
        Step::code("rest no longer on it"),
        Step::contract("once nothing runs a release that does").sql(format!("DROP {noun} {without};")),
    ];
    look.find(Rule::DropObject, node, format!("drops {} {without}", noun.to_lowercase()), steps);
}

fn cascade(look: &mut Look<'_>, node: &SyntaxNode) {
    let is_cascade = |child: &SyntaxNode| child.kind() == SyntaxKind::CASCADE;
    let actions = node.children().filter(|child| {
        matches!(
            child.kind(),
            SyntaxKind::DROP_COLUMN | SyntaxKind::DROP_CONSTRAINT | SyntaxKind::DROP_ATTRIBUTE
        )
    });
    let found: Vec<SyntaxNode> = std::iter::once(node.clone())
        .chain(actions)
        .filter_map(|node| node.children().find(is_cascade))
        .collect();
    if matches!(look.stmt, Stmt::Revoke(_)) {
        return;
    }
    for cascade in found {
        let restricted = tree::plain_without(node, &cascade);
        let steps = vec![
            Step::contract("drop first what depends on it, each by its name"),
            Step::contract("then, which fails where something is left").sql(format!("{restricted};")),
        ];
        look.find(Rule::Cascade, &cascade, "takes along whatever depends on it", steps);
    }
}

pub(crate) fn truncate(look: &mut Look<'_>, it: &ast::Truncate) {
    let Some(list) = it.table_list() else { return };
    for table in list.syntax().children().map(|table| Target::of(&table)) {
        if look.known.is_new(&table.name) {
            continue;
        }
        let steps = vec![
            Step::code(&format!("neither read nor write {}", table.sql)),
            Step::contract("once nothing runs a release that uses it")
                .sql(format!("TRUNCATE {};", table.sql)),
        ];
        let message = format!("empties {}", table.name);
        look.find_gone(Rule::Truncate, it.syntax(), message, &of_table(&table.name), steps);
    }
}
