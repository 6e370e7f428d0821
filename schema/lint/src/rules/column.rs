//! Columns: added, dropped, altered.

use super::{Target, column_type, constraint, rename, value::Default};
use crate::{
    finding::Step,
    gone::of_column,
    look::Look,
    migration::SchemaPhase,
    name::{Name, made_of},
    rule::Rule,
    tree,
    types::Type,
};
use squawk_syntax::{
    SyntaxNode,
    ast::{self, AlterColumnOption as Option_, AstNode as _, Constraint},
};

/// A column that is added.
struct Added<'a> {
    table: &'a Target,
    /// As it is written.
    name: String,
    ty: String,
    /// Its clause without anything behind the type.
    bare: String,
}

pub(crate) fn add(look: &mut Look<'_>, table: &Target, it: &ast::AddColumn) {
    let (Some(name), Some(ty)) = (it.column_name(), it.ty()) else { return };
    let (name, ty) = (tree::plain(name.syntax()), tree::plain(ty.syntax()));
    let bare = format!("ALTER TABLE {} ADD COLUMN {name} {ty}", table.sql);
    let added = Added { table, name, ty, bare };
    let node = it.syntax();
    let parsed = Type::parse(&added.ty);
    let mut numbers_itself = parsed.is_serial();
    let (mut not_null, mut default) = (false, None);
    for constraint in it.constraints() {
        match &constraint {
            Constraint::NotNullConstraint(_) => not_null = true,
            Constraint::DefaultConstraint(it) => default = it.expr(),
            Constraint::GeneratedConstraint(it) => match it.generated_as() {
                Some(ast::GeneratedAs::GeneratedIdentity(_)) => numbers_itself = true,
                Some(ast::GeneratedAs::GeneratedStored(stored)) => generated(look, &added, node, &stored),
                None => {}
            },
            Constraint::CheckConstraint(check) => {
                let name = constraint.constraint_name().map(|name| tree::plain(name.syntax()));
                let name = name.unwrap_or_else(|| made_of(&[table.short(), &named(&added.name), "check"]));
                let condition = check.expr().map(|expr| tree::plain(expr.syntax())).unwrap_or_default();
                let mut steps =
                    vec![Step::here(look.phase, "the column alone").sql(format!("{};", added.bare))];
                steps.extend(constraint::in_two_steps(
                    look.phase,
                    table,
                    &name,
                    &format!("CHECK ({condition})"),
                ));
                let message = format!("the check of the new column {} is held against all rows", added.name);
                look.find(Rule::CheckValidates, check.syntax(), message, steps);
            }
            Constraint::UniqueConstraint(_) | Constraint::PrimaryKeyConstraint(_) => {
                let column = [named(&added.name)];
                let mut steps =
                    vec![Step::here(look.phase, "the column alone").sql(format!("{};", added.bare))];
                let kind = if matches!(constraint, Constraint::UniqueConstraint(_)) {
                    steps.extend(constraint::by_index(look.phase, table, None, "UNIQUE", (&column, "")));
                    "UNIQUE"
                } else {
                    steps.push(Step::code("write it in each row"));
                    steps.push(Step::backfill("give each old row a value of its own, a batch at a time"));
                    steps.extend(not_null_steps(table, &added.name));
                    let key = constraint::by_index(
                        SchemaPhase::Contract,
                        table,
                        None,
                        "PRIMARY KEY",
                        (&column, ""),
                    );
                    steps.extend(key);
                    "PRIMARY KEY"
                };
                let message = format!(
                    "the {kind} index of the new column {} is built under the table's lock",
                    added.name
                );
                look.find(Rule::UniqueBuildsIndex, constraint.syntax(), message, steps);
            }
            Constraint::ReferencesConstraint(references) if it.constraints().any(|c| has_value(&c)) => {
                let clause = tree::plain(references.syntax());
                let clause = format!("FOREIGN KEY ({}) {}", added.name, from_references(&clause));
                let name = made_of(&[table.short(), &named(&added.name), "fkey"]);
                let mut steps =
                    vec![Step::here(look.phase, "the column alone").sql(format!("{};", added.bare))];
                steps.extend(constraint::in_two_steps(look.phase, table, &name, &clause));
                let message =
                    format!("the new column {} has a default, which is looked up for each row", added.name);
                look.find(Rule::ForeignKeyValidates, references.syntax(), message, steps);
            }
            _ => {}
        }
    }
    if numbers_itself {
        serial(look, &added, node);
    } else if let Some(default) = &default {
        with_default(look, &added, default);
    } else if not_null
        && !it.constraints().any(|constraint| matches!(constraint, Constraint::GeneratedConstraint(_)))
    {
        required(look, &added, node);
    }
    if parsed.name == "json" {
        let message = format!("{} is of the type json", added.name);
        let sql = format!("ALTER TABLE {} ADD COLUMN {} jsonb;", table.sql, added.name);
        look.find(Rule::AddColumnJson, node, message, vec![Step::here(look.phase, "take jsonb").sql(sql)]);
    }
}

/// A name as it is written, folded.
fn named(written: &str) -> String {
    tree::unquoted(written)
}

fn has_value(constraint: &Constraint) -> bool {
    match constraint {
        Constraint::DefaultConstraint(it) => it.expr().is_some_and(|expr| !is_null(&expr)),
        _ => false,
    }
}

fn is_null(expr: &ast::Expr) -> bool {
    tree::plain(expr.syntax()).eq_ignore_ascii_case("null")
}

/// `REFERENCES ...` of a column's clause, without the constraint's name before it.
fn from_references(clause: &str) -> &str {
    let at = clause.to_ascii_lowercase().find("references").unwrap_or(0);
    &clause[at..]
}

fn required(look: &mut Look<'_>, added: &Added<'_>, node: &SyntaxNode) {
    let mut steps = vec![
        Step::here(look.phase, "the column, which may be NULL").sql(format!("{};", added.bare)),
        Step::code("write it in each row"),
        Step::backfill("give each old row a value, a batch at a time, until none is NULL"),
    ];
    steps.extend(not_null_steps(added.table, &added.name));
    let message = format!("{} is NOT NULL and has no default", added.name);
    look.find(Rule::AddRequiredColumn, node, message, steps);
}

/// How a column in use becomes NOT NULL without a scan under a lock.
fn not_null_steps(table: &Target, column: &str) -> Vec<Step> {
    let name = made_of(&[table.short(), &named(column), "not_null"]);
    let sql = &table.sql;
    vec![
        Step::contract("a check that holds for new rows; a file of its own")
            .sql(format!("ALTER TABLE {sql} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID;")),
        Step::contract("the old rows, under a lock that stops nobody; a file of its own")
            .sql(format!("ALTER TABLE {sql} VALIDATE CONSTRAINT {name};")),
        Step::contract("PostgreSQL 12 and later take the check's word for it").sql(format!(
            "ALTER TABLE {sql} ALTER COLUMN {column} SET NOT NULL;\nALTER TABLE {sql} DROP CONSTRAINT {name};"
        )),
    ]
}

fn with_default(look: &mut Look<'_>, added: &Added<'_>, default: &ast::Expr) {
    let why = match Default::of(default) {
        _ if is_null(default) => return,
        Default::Same if look.server_major >= 11 => return,
        Default::Same => {
            format!("before PostgreSQL 11 (this is {}) any default rewrites the table", look.server_major)
        }
        Default::Differs(function) => format!("{function}() gives another value for each row"),
        Default::Unknown(function) => {
            format!("{function}() is not known to give the same value for all rows")
        }
    };
    let (table, name) = (&added.table.sql, &added.name);
    let value = tree::plain(default.syntax());
    let steps = vec![
        Step::here(look.phase, "the column first, then its default: that is for new rows")
            .sql(format!("{};\nALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {value};", added.bare)),
        Step::backfill("the old rows, a batch at a time, until no row is changed").sql(rename::in_batches(
            table,
            &format!("{name} = {value}"),
            &format!("{name} IS NULL"),
        )),
    ];
    let message = format!("the default of {name} rewrites {}: {why}", added.table.name);
    look.find(Rule::AddColumnVolatileDefault, default.syntax(), message, steps);
}

fn serial(look: &mut Look<'_>, added: &Added<'_>, node: &SyntaxNode) {
    let ty = match Type::parse(&added.ty).name.as_str() {
        "serial" | "serial4" => "integer",
        "smallserial" | "serial2" => "smallint",
        "bigserial" | "serial8" => "bigint",
        _ => added.ty.as_str(),
    };
    let (table, name) = (&added.table.sql, &added.name);
    let sequence = made_of(&[added.table.short(), &named(name), "seq"]);
    let schema = added.table.sql.rsplit_once('.').map(|(schema, _)| format!("{schema}."));
    let sequence = format!("{}{sequence}", schema.unwrap_or_default());
    let literal = sequence.replace('\'', "''");
    let steps = vec![
        Step::here(look.phase, "a sequence, the column, then its default: that is for new rows").sql(format!(
            "CREATE SEQUENCE {sequence};\nALTER TABLE {table} ADD COLUMN {name} {ty};\nALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT nextval('{literal}');"
        )),
        Step::backfill("the old rows, a batch at a time, until no row is changed").sql(rename::in_batches(
            table,
            &format!("{name} = nextval('{literal}')"),
            &format!("{name} IS NULL"),
        )),
    ];
    look.find(Rule::AddColumnSerial, node, format!("{name} numbers itself"), steps);
}

fn generated(look: &mut Look<'_>, added: &Added<'_>, node: &SyntaxNode, it: &ast::GeneratedStored) {
    let is_virtual = matches!(it.generated_kind(), Some(ast::GeneratedKind::Virtual(_)))
        || (it.generated_kind().is_none() && look.server_major >= 18);
    if is_virtual {
        return;
    }
    let value = it.expr().map(|expr| tree::plain(expr.syntax())).unwrap_or_default();
    let (table, name) = (&added.table.sql, &added.name);
    let steps = vec![
        Step::here(look.phase, "a plain column, and a trigger that fills it in new and changed rows")
            .sql(format!("{};", added.bare)),
        Step::backfill("the old rows, a batch at a time, until no row is changed").sql(rename::in_batches(
            table,
            &format!("{name} = {value}"),
            &format!("{name} IS DISTINCT FROM ({value})"),
        )),
    ];
    look.find(Rule::AddColumnGenerated, node, format!("{name} is generated and stored"), steps);
}

pub(crate) fn drop(look: &mut Look<'_>, table: &Target, it: &ast::DropColumn) {
    let Some(column) = it.column_name_ref() else { return };
    let folded = Name::of(column.syntax());
    if look.known.is_new_column(&table.name, folded.name()) {
        return;
    }
    let column = tree::plain(column.syntax());
    let steps = vec![
        Step::code(&format!(
            "neither read nor write {column} (where it is NOT NULL, give it a default before)"
        )),
        Step::contract("once nothing runs a release that uses it")
            .sql(format!("ALTER TABLE {} DROP COLUMN {column};", table.sql)),
    ];
    let message = format!("drops column {column} of {}", table.name);
    look.find_gone(Rule::DropColumn, it.syntax(), message, &of_column(&table.name, folded.name()), steps);
}

pub(crate) fn alter(look: &mut Look<'_>, table: &Target, it: &ast::AlterColumn) {
    let (Some(column), Some(option)) = (it.column_name_ref(), it.option()) else { return };
    let folded = Name::of(column.syntax());
    let is_new = look.known.is_new_column(&table.name, folded.name());
    let column = tree::plain(column.syntax());
    let node = it.syntax();
    match &option {
        Option_::SetNotNull(_) => set_not_null(look, table, &column, node),
        Option_::SetType(set) => column_type::change(look, table, &column, set, node),
        Option_::SetExpression(_) => {
            let steps = vec![
                Step::expand("add a second column with the new expression, and switch the code to it"),
                Step::contract("drop the old one, once nothing uses it"),
            ];
            let message = format!("{column} is computed anew for each row");
            look.find(Rule::RewriteTable, node, message, steps);
        }
        Option_::DropNotNull(_) if !is_new => {
            let words = format!("read {column} so that NULL is expected; write none yet");
            let later = format!("ALTER TABLE {} ALTER COLUMN {column} DROP NOT NULL;", table.sql);
            let steps = vec![
                Step::code(&words),
                Step::contract("once nothing runs a release that expects a value").sql(later),
            ];
            look.find(Rule::DropNotNull, node, format!("{column} may be NULL from then on"), steps);
        }
        Option_::DropDefault(_) | Option_::DropIdentity(_) | Option_::DropExpression(_) if !is_new => {
            let what = tree::plain(option.syntax());
            let steps = vec![
                Step::code(&format!("write {column} in each INSERT")),
                Step::contract("once nothing runs a release that leaves it out")
                    .sql(format!("ALTER TABLE {} ALTER COLUMN {column} {what};", table.sql)),
            ];
            let message = format!("{column} is not filled in any more for code that leaves it out");
            look.find(Rule::DropDefault, node, message, steps);
        }
        Option_::SetDefault(_)
        | Option_::SetGenerated(_)
        | Option_::SetGeneratedOptions(_)
        | Option_::SetSequenceOption(_)
            if !is_new =>
        {
            super::in_place::changed(look, node, &format!("{} of {}", tree::plain(node), table.name));
        }
        _ => {}
    }
}

fn set_not_null(look: &mut Look<'_>, table: &Target, column: &str, node: &SyntaxNode) {
    if look.server_major >= 12 && look.known.never_null(&table.name, &named(column)) {
        return;
    }
    let mut steps = vec![
        Step::code(&format!("write {column} in each row")),
        Step::backfill("give each old row a value, a batch at a time, until none is NULL"),
    ];
    steps.extend(not_null_steps(table, column));
    let message = format!("{column} of {} is set NOT NULL without a validated check", table.name);
    look.find(Rule::SetNotNull, node, message, steps);
}
