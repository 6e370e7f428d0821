//! Constraints of tables in use.

use super::{Target, listed};
use crate::{
    finding::Step,
    look::Look,
    migration::SchemaPhase,
    name::{Name, made_of, one_word},
    rule::Rule,
    tree,
};
use squawk_syntax::{
    SyntaxNode,
    ast::{self, AstNode as _, Constraint},
    quote::quote_ident,
};

pub(crate) fn add(look: &mut Look<'_>, table: &Target, it: &ast::AddConstraint) {
    let Some(constraint) = it.constraint() else { return };
    let node = it.syntax();
    let written = constraint.constraint_name().map(|name| tree::plain(name.syntax()));
    let validates = |look: &mut Look<'_>, rule, columns: Vec<String>, ending| {
        let name = name_of(written.clone(), table, &columns, ending);
        if !spares_old_rows(&constraint) {
            let steps = in_two_steps(look.phase, table, &name, &clause(&constraint));
            let steps = later(look, table, &columns, steps);
            let message = format!("{name} of {} is checked for all rows at once", table.name);
            look.find(rule, node, message, steps);
        }
        restricts(look, table, &constraint, &name, &columns);
    };
    match &constraint {
        Constraint::ForeignKeyConstraint(key) => {
            let columns = key
                .from_columns()
                .map(|it| listed(it.syntax().children().filter_map(ast::ColumnNameRef::cast)));
            validates(look, Rule::ForeignKeyValidates, columns.unwrap_or_default(), "fkey");
        }
        Constraint::CheckConstraint(check) => {
            validates(look, Rule::CheckValidates, columns_in(check.syntax()), "check");
        }
        Constraint::NotNullConstraint(not_null) => {
            let Some(column) = not_null.column_name_ref() else { return };
            let column = tree::plain(column.syntax());
            let known = look.known.never_null(&table.name, &tree::unquoted(&column));
            let waits = constraint.is_not_valid() && look.server_major >= 18;
            if !known && !waits {
                let name = made_of(&[table.short(), &tree::unquoted(&column), "not_null"]);
                let check = format!("CHECK ({column} IS NOT NULL)");
                let steps = in_two_steps(SchemaPhase::Contract, table, &name, &check);
                let message = format!("{column} of {} is set NOT NULL without a validated check", table.name);
                look.find(Rule::SetNotNull, node, message, steps);
            }
        }
        Constraint::UniqueConstraint(it) if it.using_index().is_none() => {
            unique(look, table, written.as_deref(), node, "UNIQUE");
        }
        Constraint::PrimaryKeyConstraint(it) if it.using_index().is_none() => {
            unique(look, table, written.as_deref(), node, "PRIMARY KEY");
        }
        Constraint::UniqueConstraint(it) => {
            let columns: Vec<String> = Vec::new();
            let name = written.unwrap_or_else(|| tree::plain(it.syntax()));
            if !it.using_index().is_some_and(|index| made_here(look, &index)) {
                restricts(look, table, &constraint, &name, &columns);
            }
        }
        Constraint::ExcludeConstraint(_) => {
            let steps = vec![
                Step::expand(
                    "make a second table with the constraint, and a trigger that writes each change to both",
                ),
                Step::backfill("copy the rows, a batch at a time"),
                Step::contract("exchange the names in one short transaction, with the old one kept"),
            ];
            let message = format!("an exclusion constraint is added to {}", table.name);
            look.find(Rule::ExclusionConstraint, node, message, steps);
        }
        _ => {}
    }
}

/// Where the index of a constraint was made in this release, it has been spoken of already.
fn made_here(look: &Look<'_>, index: &ast::UsingIndexName) -> bool {
    let name = tree::tokens(index.syntax()).last().map(|token| tree::unquoted(token.text()));
    name.is_some_and(|name| look.known.has_index(&Name::new(None, &name)))
}

fn name_of(written: Option<String>, table: &Target, columns: &[String], ending: &str) -> String {
    written.unwrap_or_else(|| {
        let parts = std::iter::once(table.short()).chain(columns.iter().map(String::as_str));
        made_of(&parts.chain([ending]).collect::<Vec<_>>())
    })
}

/// What a constraint says, without its name.
fn clause(constraint: &Constraint) -> String {
    let node = constraint.syntax();
    let start = match constraint.constraint_name() {
        Some(name) => name.syntax().text_range().end(),
        None => node.text_range().start(),
    };
    tree::plain_from(node, start.into())
}

/// Whether it is not held against the rows that are there.
fn spares_old_rows(constraint: &Constraint) -> bool {
    let not_enforced = |option| matches!(option, ast::ConstraintOption::NotEnforced(_));
    constraint.is_not_valid() || constraint.constraint_options().any(not_enforced)
}

/// The columns that an expression names.
fn columns_in(node: &SyntaxNode) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for name in node.descendants().filter_map(ast::NameRef::cast) {
        let is_call = name.syntax().parent().is_some_and(|parent| ast::CallExpr::cast(parent).is_some());
        let name = one_word(name.syntax());
        if !is_call && !columns.contains(&name) {
            columns.push(name);
        }
    }
    columns
}

/// Added for new rows, then validated for the old ones.
pub(crate) fn in_two_steps(phase: SchemaPhase, table: &Target, name: &str, clause: &str) -> Vec<Step> {
    vec![
        Step::here(phase, "for new rows; a file of its own")
            .sql(format!("ALTER TABLE {} ADD CONSTRAINT {name} {clause} NOT VALID;", table.sql)),
        Step::here(phase, "for the old ones, under a lock that stops nobody; a file of its own")
            .sql(format!("ALTER TABLE {} VALIDATE CONSTRAINT {name};", table.sql)),
    ]
}

/// What the old release writes is not to be refused: unless the columns are new, the steps wait for its end.
fn later(look: &Look<'_>, table: &Target, columns: &[String], steps: Vec<Step>) -> Vec<Step> {
    let waits = look.phase != SchemaPhase::Contract && !all_new(look, table, columns);
    if !waits {
        return steps;
    }
    let code = Step::code("write only rows that fit; put the old ones right");
    let steps = steps.into_iter().map(|step| Step { part: crate::Part::Contract, ..step });
    std::iter::once(code).chain(steps).collect()
}

fn all_new(look: &Look<'_>, table: &Target, columns: &[String]) -> bool {
    !columns.is_empty() && columns.iter().all(|column| look.known.is_new_column(&table.name, column))
}

/// A constraint on columns that the old release writes.
fn restricts(look: &mut Look<'_>, table: &Target, constraint: &Constraint, name: &str, columns: &[String]) {
    if !spares_old_rows(constraint) && !matches!(constraint, Constraint::UniqueConstraint(_)) {
        return;
    }
    if all_new(look, table, columns) {
        return;
    }
    let sql = format!("ALTER TABLE {} ADD {};", table.sql, tree::plain(constraint.syntax()));
    let steps =
        vec![Step::code("write only rows that fit"), Step::contract("once the old release is gone").sql(sql)];
    let message = format!("{name} refuses rows of {} that the old release may write", table.name);
    look.find(Rule::NewConstraint, constraint.syntax(), message, steps);
}

fn unique(look: &mut Look<'_>, table: &Target, written: Option<&str>, node: &SyntaxNode, kind: &str) {
    let columns: Vec<String> = in_brackets(node).iter().map(|column| tree::unquoted(column)).collect();
    let steps = by_index(look.phase, table, written, kind, (&columns, &index_options(node)));
    let mut steps = later(look, table, &columns, steps);
    if kind == "PRIMARY KEY" {
        let words = "where a column may be NULL, make it NOT NULL before, as set-not-null tells";
        let at = steps.len() - 2;
        let part = steps[at].part;
        steps.insert(at, Step { part, ..Step::code(words) });
    }
    let message =
        format!("the index of a {kind} constraint of {} is built under the table's lock", table.name);
    look.find(Rule::UniqueBuildsIndex, node, message, steps);
}

/// The names in the first brackets of a node.
fn in_brackets(node: &SyntaxNode) -> Vec<String> {
    let inside = tree::tokens(node)
        .skip_while(|token| token.text() != "(")
        .skip(1)
        .take_while(|token| token.text() != ")");
    inside.filter(|token| token.text() != ",").map(|token| token.text().to_owned()).collect()
}

/// What an index of a UNIQUE constraint has behind its columns.
fn index_options(node: &SyntaxNode) -> String {
    let words: Vec<String> = tree::tokens(node).map(|token| token.text().to_owned()).collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|one| one.eq_ignore_ascii_case(word));
    let mut options = String::new();
    if let Some(at) = (0..words.len()).find(|at| is(*at, "include") && is(at + 1, "(")) {
        let inside = words[at + 2..].iter().take_while(|word| *word != ")");
        let columns: Vec<&str> = inside.filter(|word| *word != ",").map(String::as_str).collect();
        options = format!(" INCLUDE ({})", columns.join(", "));
    }
    if (0..words.len()).any(|at| is(at, "nulls") && is(at + 1, "not") && is(at + 2, "distinct")) {
        options.push_str(" NULLS NOT DISTINCT");
    }
    options
}

/// A constraint by an index that was built beside the traffic.
pub(crate) fn by_index(
    phase: SchemaPhase,
    table: &Target,
    name: Option<&str>,
    kind: &str,
    (columns, options): (&[String], &str),
) -> Vec<Step> {
    let name = match name {
        Some(name) => name.to_owned(),
        None if kind == "UNIQUE" => name_of(None, table, columns, "key"),
        None => made_of(&[table.short(), "pkey"]),
    };
    let quoted: Vec<String> = columns.iter().map(|column| quote_ident(column)).collect();
    vec![
        Step::here(phase, "the index, alone in its file, outside a transaction").sql(format!(
            "CREATE UNIQUE INDEX CONCURRENTLY {name} ON {} ({}){options};",
            table.sql,
            quoted.join(", ")
        )),
        Step::here(phase, "the constraint takes it over")
            .sql(format!("ALTER TABLE {} ADD CONSTRAINT {name} {kind} USING INDEX {name};", table.sql)),
    ]
}

pub(crate) fn validate(look: &mut Look<'_>, table: &Target, it: &ast::ValidateConstraint) {
    let Some(name) = it.constraint_name_ref() else { return };
    let folded = Name::of(name.syntax());
    let added = (table.name.clone(), folded.name().to_owned());
    if !look.transaction.not_valid.contains(&added) {
        return;
    }
    let sql = format!("ALTER TABLE {} VALIDATE CONSTRAINT {};", table.sql, tree::plain(name.syntax()));
    let message = format!("{folded} is validated in the transaction that added it");
    let steps = vec![Step::here(look.phase, "in a file of its own, behind the one that adds it").sql(sql)];
    look.find(Rule::ValidateInTransaction, it.syntax(), message, steps);
}

pub(crate) fn drop(look: &mut Look<'_>, table: &Target, it: &ast::DropConstraint) {
    let Some(name) = it.constraint_name_ref() else { return };
    let folded = Name::of(name.syntax());
    if look.known.has_constraint(&table.name, folded.name()) {
        return;
    }
    let sql = format!("ALTER TABLE {} DROP CONSTRAINT {};", table.sql, tree::plain(name.syntax()));
    let steps =
        vec![Step::code("rest no longer on it"), Step::contract("once the old release is gone").sql(sql)];
    look.find(Rule::DropConstraint, it.syntax(), format!("drops {folded} of {}", table.name), steps);
}
