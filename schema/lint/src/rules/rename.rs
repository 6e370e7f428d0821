//! Renames: to change a name in one step breaks whoever knows the other one.

use super::Target;
use crate::{
    finding::Step,
    look::Look,
    migration::SchemaPhase,
    name::Name,
    rule::Rule,
    tree::{self, has_inside},
};
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{self, AstNode as _, Stmt},
};

pub(crate) fn column(look: &mut Look<'_>, table: &Target, it: &ast::RenameColumn) {
    let (Some(old), Some(new)) = (it.column_name_ref(), it.column_name()) else { return };
    let folded = Name::of(old.syntax());
    if look.known.is_new_column(&table.name, folded.name()) {
        return;
    }
    let (old, new) = (tree::plain(old.syntax()), tree::plain(new.syntax()));
    let known = look.known.type_of(&table.name, folded.name());
    let steps = moved(&table.sql, (&old, &new), known, &old);
    let message = format!("renames column {old} of {} to {new} in one step", table.name);
    look.find(Rule::RenameColumn, it.syntax(), message, steps);
}

/// How one column becomes another over three releases.
pub(crate) fn moved(table: &str, (old, new): (&str, &str), known: Option<&str>, value: &str) -> Vec<Step> {
    let (ty, which) = match known {
        Some(ty) => (ty, String::new()),
        None => ("text", format!(" (here text: take the type of {old})")),
    };
    vec![
        Step::expand(&format!("add {new}, which may be NULL{which}"))
            .sql(format!("ALTER TABLE {table} ADD COLUMN {new} {ty};")),
        Step::code(&format!("write {old} and {new}, read {old}")),
        Step::backfill(&format!("copy {old} to {new}, a batch at a time, until no row is changed"))
            .sql(in_batches(table, &format!("{new} = {value}"), &format!("{new} IS DISTINCT FROM {value}"))),
        Step::code(&format!("read {new}, write both: a rollback still finds {old}")).next(),
        Step::code(&format!("neither read nor write {old} (where it is NOT NULL, give it a default before)"))
            .after_next(),
        Step::contract(&format!("drop {old}, once nothing runs a release that uses it"))
            .sql(format!("ALTER TABLE {table} DROP COLUMN {old};"))
            .after_next(),
    ]
}

/// An UPDATE of a thousand rows that are still to be done.
pub(crate) fn in_batches(table: &str, set: &str, to_do: &str) -> String {
    format!(
        "UPDATE {table} SET {set}\nWHERE ctid = ANY (ARRAY(\n  SELECT ctid FROM {table} WHERE {to_do} LIMIT 1000 FOR UPDATE));"
    )
}

pub(crate) fn table(look: &mut Look<'_>, table: &Target, it: &ast::TableRenameTo) {
    let Some(new) = it.table_name() else { return };
    let steps =
        through_a_view(&table.sql, &tree::plain(new.syntax()), Name::of(new.syntax()).name(), "TABLE");
    renamed(look, "table", table, it.syntax(), new.syntax(), steps);
}

/// A rename is the end of a way over a view when it takes the name of what the transaction dropped.
fn renamed(
    look: &mut Look<'_>,
    noun: &str,
    old: &Target,
    at: &SyntaxNode,
    new: &SyntaxNode,
    steps: Vec<Step>,
) {
    let taken = Name::new(old.name.schema(), Name::of(new).name());
    let frees = look.transaction.dropped.contains(&taken);
    if look.known.is_new(&old.name) || (look.phase == SchemaPhase::Contract && frees) {
        return;
    }
    let message = format!("renames {noun} {} to {} in one step", old.name, tree::plain(new));
    look.find(Rule::RenameTable, at, message, steps);
}

fn through_a_view(old: &str, new: &str, short: &str, noun: &str) -> Vec<Step> {
    let new_here = match old.rsplit_once('.') {
        Some((schema, _)) => format!("{schema}.{}", squawk_syntax::quote::quote_ident(short)),
        None => new.to_owned(),
    };
    vec![
        Step::expand(&format!("a view of the new name, which shows the {}", noun.to_lowercase()))
            .sql(format!("CREATE VIEW {new_here} AS SELECT * FROM {old};")),
        Step::code(&format!("use {new_here} only; what is written to it goes to {old}")),
        Step::contract(&format!("once nothing knows {old}, in one transaction"))
            .sql(format!("DROP VIEW {new_here};\nALTER {noun} {old} RENAME TO {new};")),
    ]
}

/// The renames that are statements of their own, and moves to another schema.
pub(crate) fn apply(look: &mut Look<'_>) {
    match look.stmt {
        Stmt::AlterView(it) => {
            let Some(view) = it.view_ref().map(|view| Target::of(view.syntax())) else { return };
            match it.action() {
                Some(ast::AlterViewAction::RenameColumn(rename)) => view_column(look, &view, &rename),
                Some(ast::AlterViewAction::ViewRenameTo(to)) => view_renamed(look, &view, &to, "VIEW"),
                _ => {}
            }
        }
        Stmt::AlterMaterializedView(it) => {
            let Some(view) = it.view_ref().map(|view| Target::of(view.syntax())) else { return };
            for action in it.action() {
                match &action {
                    ast::AlterMaterializedViewAction::RenameColumn(rename) => {
                        view_column(look, &view, rename);
                    }
                    ast::AlterMaterializedViewAction::ViewRenameTo(to) => {
                        view_renamed(look, &view, to, "MATERIALIZED VIEW");
                    }
                    _ => {}
                }
            }
        }
        Stmt::AlterSequence(it) => {
            let Some(sequence) = it.sequence_ref().map(|sequence| Target::of(sequence.syntax())) else {
                return;
            };
            for action in it.actions() {
                if let ast::AlterSequenceAction::SequenceRenameTo(to) = &action {
                    let words = "make a sequence of the new name that begins behind the old one's numbers";
                    let steps = beside(words, &format!("DROP SEQUENCE {};", sequence.sql));
                    let Some(new) = to.syntax().children().next() else { continue };
                    renamed(look, "sequence", &sequence, to.syntax(), &new, steps);
                }
            }
        }
        Stmt::AlterSchema(it) => {
            let Some(schema) = it.schema_ref() else { return };
            if let Some(ast::AlterSchemaAction::SchemaRenameTo(to)) = it.action()
                && !look.known.is_new(&Name::of(schema.syntax()))
            {
                let (old, new) =
                    (tree::plain(schema.syntax()), to.schema().map(|new| tree::plain(new.syntax())));
                let new = new.unwrap_or_default();
                let steps = vec![
                    Step::expand("make the new schema, and in it a view of each table")
                        .sql(format!("CREATE SCHEMA {new};")),
                    Step::code(&format!("use {new} only")),
                    Step::contract("move each table in the transaction that drops its view"),
                ];
                look.find(
                    Rule::RenameSchema,
                    to.syntax(),
                    format!("renames schema {old} to {new} in one step"),
                    steps,
                );
            }
        }
        Stmt::AlterType(it) => type_renamed(look, it),
        Stmt::AlterFunction(_)
        | Stmt::AlterProcedure(_)
        | Stmt::AlterRoutine(_)
        | Stmt::AlterAggregate(_)
        | Stmt::AlterDomain(_) => object(look),
        _ => {}
    }
    moves(look);
}

fn view_renamed(look: &mut Look<'_>, view: &Target, to: &ast::ViewRenameTo, noun: &str) {
    let Some(new) = to.view() else { return };
    let steps = through_a_view(&view.sql, &tree::plain(new.syntax()), Name::of(new.syntax()).name(), noun);
    renamed(look, &noun.to_lowercase(), view, to.syntax(), new.syntax(), steps);
}

fn view_column(look: &mut Look<'_>, view: &Target, it: &ast::RenameColumn) {
    let (Some(old), Some(new)) = (it.column_name_ref(), it.column_name()) else { return };
    if look.known.is_new(&view.name) {
        return;
    }
    let (old, new) = (tree::plain(old.syntax()), tree::plain(new.syntax()));
    let steps =
        beside("make a view of another name with the new columns", &format!("DROP VIEW {};", view.sql));
    let message = format!("renames column {old} of view {} to {new} in one step", view.name);
    look.find(Rule::RenameColumn, it.syntax(), message, steps);
}

/// A second object first, then the code, then without the old one.
fn beside(first: &str, last: &str) -> Vec<Step> {
    vec![
        Step::expand(first),
        Step::code("use the new one only"),
        Step::contract("once nothing uses the old one").sql(last),
    ]
}

fn type_renamed(look: &mut Look<'_>, it: &ast::AlterType) {
    let Some(name) = it.type_name_ref() else { return };
    if look.known.is_new(&Name::of(name.syntax())) {
        return;
    }
    let ty = tree::plain(name.syntax());
    match it.action() {
        Some(ast::AlterTypeAction::RenameValue(value)) => {
            let (Some(from), Some(to)) = (value.from(), value.to()) else { return };
            let (from, to) = (tree::plain(from.syntax()), tree::plain(to.syntax()));
            let steps = vec![
                Step::expand("add the new value beside the old one")
                    .sql(format!("ALTER TYPE {ty} ADD VALUE {to} AFTER {from};")),
                Step::code("read both, write the old one"),
                Step::code("write the new one, read both").next(),
                Step::backfill("change the rows, a batch at a time; the old value stays in the type").next(),
            ];
            look.find(
                Rule::RenameEnumValue,
                value.syntax(),
                format!("renames value {from} of {ty} to {to} in one step"),
                steps,
            );
        }
        Some(ast::AlterTypeAction::RenameAttribute(attribute)) => {
            let message = format!("{} of type {ty} in one step", tree::plain(attribute.syntax()));
            let steps = beside("make a type with the new attribute beside it", &format!("DROP TYPE {ty};"));
            look.find(Rule::RenameColumn, attribute.syntax(), message, steps);
        }
        Some(ast::AlterTypeAction::TypeRenameTo(to)) => {
            let message = format!("renames type {ty} to {} in one step", new_name(to.syntax()));
            let steps = beside("make a type of the new name beside it", &format!("DROP TYPE {ty};"));
            look.find(Rule::RenameObject, to.syntax(), message, steps);
        }
        _ => {}
    }
}

/// ALTER FUNCTION, PROCEDURE, ROUTINE, AGGREGATE and DOMAIN ... RENAME TO.
fn object(look: &mut Look<'_>) {
    let node = look.stmt.syntax();
    let is_rename =
        |child: &SyntaxNode| tree::tokens(child).next().is_some_and(|t| t.kind() == SyntaxKind::RENAME_KW);
    let Some(to) = node.children().find(is_rename) else { return };
    if has_inside(&to, SyntaxKind::CONSTRAINT_NAME) {
        return;
    }
    let Some((noun, named)) = noun_and_name(node) else { return };
    if look.known.is_new(&Name::of(&named)) {
        return;
    }
    let old = tree::plain(&named);
    let message = format!("renames {} {old} to {} in one step", noun.to_lowercase(), new_name(&to));
    let steps = beside("make one of the new name beside it", &format!("DROP {noun} {old};"));
    look.find(Rule::RenameObject, &to, message, steps);
}

/// `FUNCTION` and what it names, of an ALTER statement.
pub(crate) fn noun_and_name(node: &SyntaxNode) -> Option<(String, SyntaxNode)> {
    let noun = tree::tokens(node).nth(1)?.text().to_ascii_uppercase();
    let named = node.children().find(|child| child.kind() != SyntaxKind::IF_EXISTS)?;
    Some((noun, named))
}

fn new_name(rename: &SyntaxNode) -> String {
    rename.children().last().map(|name| tree::plain(&name)).unwrap_or_default()
}

/// ALTER ... SET SCHEMA of whatever it is.
fn moves(look: &mut Look<'_>) {
    let node = look.stmt.syntax();
    let Some(set) = node.children().find(|child| child.kind() == SyntaxKind::SET_SCHEMA) else { return };
    let name = node
        .children()
        .find(|child| child.kind() != SyntaxKind::IF_EXISTS)
        .map(|named| (Name::of(&named), Target::of(&named)));
    let Some((name, old)) = name else { return };
    if look.known.is_new(&name) {
        return;
    }
    let schema = new_name(&set);
    let short = squawk_syntax::quote::quote_ident(old.short());
    let frees = look.transaction.dropped.contains(&Name::new(Some(&tree::unquoted(&schema)), old.short()));
    if look.phase == SchemaPhase::Contract && frees {
        return;
    }
    let steps = match look.stmt {
        Stmt::AlterTable(_) => vec![
            Step::expand("a view in the new schema, which can be written like the table")
                .sql(format!("CREATE VIEW {schema}.{short} AS SELECT * FROM {};", old.sql)),
            Step::code(&format!("use it in {schema} only")),
            Step::contract("once nothing uses the old name, in one transaction")
                .sql(format!("DROP VIEW {schema}.{short};\nALTER TABLE {} SET SCHEMA {schema};", old.sql)),
        ],
        _ => vec![
            Step::expand("make one in the new schema beside it"),
            Step::code("use the new one only"),
            Step::contract("once nothing uses the old one: drop it"),
        ],
    };
    look.find(Rule::MoveToSchema, &set, format!("moves {name} to schema {schema}"), steps);
}
