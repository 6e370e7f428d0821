//! Domains and enums: types whose changes reach into every table that uses them.

use crate::{
    finding::Step,
    look::Look,
    name::{Name, made_of},
    rule::Rule,
    tree,
};
use squawk_syntax::ast::{self, AstNode as _};

pub(crate) fn alter(look: &mut Look<'_>, it: &ast::AlterDomain) {
    let Some(domain) = it.domain_ref() else { return };
    let name = Name::of(domain.syntax());
    if look.known.is_new(&name) {
        return;
    }
    let sql = tree::plain(domain.syntax());
    match it.action() {
        Some(ast::AlterDomainAction::AddConstraint(added)) => {
            let Some(constraint) = added.constraint() else { return };
            if constraint.is_not_valid() {
                return;
            }
            let named = constraint.constraint_name().map(|name| tree::plain(name.syntax()));
            let named = named.unwrap_or_else(|| made_of(&[name.name(), "check"]));
            let check = match &constraint {
                ast::Constraint::CheckConstraint(check) => {
                    check.expr().map(|expr| tree::plain(expr.syntax()))
                }
                _ => None,
            };
            let check = check.unwrap_or_else(|| "VALUE IS NOT NULL".to_owned());
            let steps = in_two_steps(&sql, &named, &check);
            let message = format!("{named} is checked for all rows of all tables with a column of {name}");
            look.find(Rule::DomainConstraint, added.syntax(), message, steps);
        }
        Some(ast::AlterDomainAction::SetNotNull(set)) => {
            let named = made_of(&[name.name(), "not_null"]);
            let steps = in_two_steps(&sql, &named, "VALUE IS NOT NULL");
            let message = format!("all rows of all tables with a column of {name} are read");
            look.find(Rule::DomainConstraint, set.syntax(), message, steps);
        }
        _ => {}
    }
}

fn in_two_steps(domain: &str, name: &str, check: &str) -> Vec<Step> {
    vec![
        Step::code("write only values that fit; put the old ones right"),
        Step::contract("for new rows; a file of its own")
            .sql(format!("ALTER DOMAIN {domain} ADD CONSTRAINT {name} CHECK ({check}) NOT VALID;")),
        Step::contract("for the old ones; a file of its own")
            .sql(format!("ALTER DOMAIN {domain} VALIDATE CONSTRAINT {name};")),
    ]
}

pub(crate) fn create(look: &mut Look<'_>, it: &ast::CreateDomain) {
    let constraint = it.domain_qualifiers().find_map(|one| match one {
        ast::DomainQualifier::Constraint(constraint) => Some(constraint),
        ast::DomainQualifier::Collate(_) => None,
    });
    let Some(constraint) = constraint else { return };
    if matches!(constraint, ast::Constraint::DefaultConstraint(_) | ast::Constraint::NullConstraint(_)) {
        return;
    }
    let words = "a plain type, and a check in each table: it can be changed there alone, NOT VALID first";
    let steps = vec![Step::here(look.phase, words)];
    let name = it.domain().map(|domain| tree::plain(domain.syntax())).unwrap_or_default();
    look.find(
        Rule::CreateDomainConstraint,
        constraint.syntax(),
        format!("domain {name} has a constraint"),
        steps,
    );
}

pub(crate) fn alter_type(look: &mut Look<'_>, it: &ast::AlterType) {
    let Some(name) = it.type_name_ref().map(|name| tree::plain(name.syntax())) else { return };
    match it.action() {
        Some(ast::AlterTypeAction::AddValue(added)) => {
            let value = added.literal().map(|value| tree::plain(value.syntax())).unwrap_or_default();
            if added.value_position().is_none() {
                let sql = format!("ALTER TYPE {name} ADD VALUE {value} AFTER 'the value before it';");
                let steps = vec![Step::here(look.phase, "say where it sorts").sql(sql)];
                let message = format!("{value} sorts behind all other values of {name}");
                look.find(Rule::EnumValueOrder, added.syntax(), message, steps);
            }
            if look.server_major < 12 && look.transaction.open {
                let steps = vec![Step::here(look.phase, "in a file of its own, outside a transaction")];
                let message = "before PostgreSQL 12 this cannot be in a transaction";
                look.find(Rule::EnumValueUsed, added.syntax(), message, steps);
            }
        }
        Some(ast::AlterTypeAction::AlterTypeAttributeActionList(list)) => {
            for action in list.actions() {
                let node = action.syntax();
                match action {
                    ast::AlterTypeAttributeAction::AddAttribute(_) => {
                        super::in_place::changed(look, node, &format!("{} of {name}", tree::plain(node)));
                    }
                    ast::AlterTypeAttributeAction::AlterAttribute(_) => {
                        let message = format!("{} of {name}", tree::plain(node));
                        let words = "make a second type, and a second column of it in each table";
                        look.find(Rule::ChangeType, node, message, vec![Step::expand(words)]);
                    }
                    ast::AlterTypeAttributeAction::DropAttribute(_) => {
                        let words = "once nothing runs a release that uses it";
                        let sql = format!("ALTER TYPE {name} {};", tree::plain(node));
                        let steps = vec![Step::code("use it no longer"), Step::contract(words).sql(sql)];
                        look.find(Rule::DropColumn, node, format!("{} of {name}", tree::plain(node)), steps);
                    }
                }
            }
        }
        _ => {}
    }
}
