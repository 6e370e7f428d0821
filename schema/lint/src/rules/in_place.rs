//! What the old release uses is changed under it, or its rights are.

use crate::{finding::Step, look::Look, name::Name, rule::Rule, tree};
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{self, AstNode as _, Stmt},
};

/// Something that the old release uses is changed.
pub(crate) fn changed(look: &mut Look<'_>, at: &SyntaxNode, what: &str) {
    let steps = vec![
        Step::expand("make a second one of another name beside it, where both have to be there at a time"),
        Step::code("use the new one"),
        Step::contract("change or drop the old one, once nothing uses it"),
    ];
    look.find(Rule::ChangesInPlace, at, format!("changes for the old release as well: {what}"), steps);
}

pub(crate) fn apply(look: &mut Look<'_>) {
    let node = look.stmt.syntax().clone();
    match look.stmt {
        Stmt::CreateFunction(_)
        | Stmt::CreateProcedure(_)
        | Stmt::CreateView(_)
        | Stmt::CreateTrigger(_)
        | Stmt::CreateAggregate(_) => replaced(look, &node),
        Stmt::CreateRule(it) => {
            let table = it.syntax().children().find(|child| child.kind() == SyntaxKind::TABLE_NAME_REF);
            if !table.is_some_and(|table| look.known.is_new(&Name::of(&table))) {
                changed(look, &node, "a rule turns statements into others");
            }
        }
        Stmt::AlterFunction(_) | Stmt::AlterProcedure(_) | Stmt::AlterRoutine(_) => {
            let options = node.children().find(|child| child.kind() == SyntaxKind::FUNC_OPTION_LIST);
            if let Some(options) = options {
                named(look, &node, &tree::plain(&options));
            }
        }
        Stmt::AlterView(it) => {
            if let Some(
                ast::AlterViewAction::SetOptions(_)
                | ast::AlterViewAction::ResetOptions(_)
                | ast::AlterViewAction::AlterViewColumn(_),
            ) = it.action()
            {
                named(look, &node, "its options");
            }
        }
        Stmt::AlterSequence(it) if it.actions().any(|action| gives_others(&action)) => {
            named(look, &node, "the numbers it gives");
        }
        Stmt::AlterRole(_) | Stmt::AlterUser(_) | Stmt::AlterGroup(_) => {
            changed(look, &node, "options of a role");
        }
        Stmt::AlterDatabase(_) => changed(look, &node, "options of the database"),
        Stmt::AlterSystem(_) => changed(look, &node, "options of the whole server"),
        Stmt::AlterExtension(_) => named(look, &node, "an extension"),
        Stmt::AlterDomain(it) => {
            if let Some(
                ast::AlterDomainAction::SetDefault(_)
                | ast::AlterDomainAction::DropDefault(_)
                | ast::AlterDomainAction::DropNotNull(_)
                | ast::AlterDomainAction::DropConstraint(_),
            ) = it.action()
            {
                named(look, &node, "a domain");
            }
        }
        Stmt::AlterPolicy(it) => {
            if let Some(ast::AlterPolicyAction::AlterPolicyTo(_)) | None = it.action() {
                takes(look, &node, "changes whom a policy lets in");
            }
        }
        Stmt::CreatePolicy(_) => {
            let restrictive =
                tree::tokens(&node).any(|token| token.text().eq_ignore_ascii_case("restrictive"));
            if restrictive {
                takes(look, &node, "a restrictive policy hides rows");
            }
        }
        Stmt::Revoke(_) | Stmt::Reassign(_) => takes(look, &node, &tree::plain(&node)),
        _ => {}
    }
    owner(look, &node);
}

/// Whether a sequence gives other numbers after it.
fn gives_others(action: &ast::AlterSequenceAction) -> bool {
    match action {
        ast::AlterSequenceAction::SequenceOption(option) => {
            !matches!(option, ast::SequenceOption::OptionOwnedBy(_))
        }
        _ => false,
    }
}

fn replaced(look: &mut Look<'_>, node: &SyntaxNode) {
    let Some(replace) = node.children().find(|child| child.kind() == SyntaxKind::OR_REPLACE) else { return };
    let named = node.children().find(|child| child.kind() != SyntaxKind::OR_REPLACE);
    let Some(name) = named.map(|named| Name::of(&named)) else { return };
    if !look.known.is_new(&name) {
        changed(look, &replace, &format!("{name} is replaced, where it is there already"));
    }
}

fn named(look: &mut Look<'_>, node: &SyntaxNode, what: &str) {
    let name = super::rename::noun_and_name(node).map(|(_, named)| Name::of(&named));
    if let Some(name) = name
        && !look.known.is_new(&name)
    {
        changed(look, node, &format!("{what} ({name})"));
    }
}

fn takes(look: &mut Look<'_>, node: &SyntaxNode, message: &str) {
    let sql = format!("{};", tree::plain(node));
    let steps = vec![
        Step::code("run the new release with a role that needs no more than it has then"),
        Step::contract("once the old release is gone").sql(sql),
    ];
    look.find(Rule::TakesRights, node, message, steps);
}

/// ALTER ... OWNER TO.
fn owner(look: &mut Look<'_>, node: &SyntaxNode) {
    let Some(owner) = node.children().find(|child| child.kind() == SyntaxKind::OWNER_TO) else { return };
    let named = node.children().find(|child| child.kind() != SyntaxKind::IF_EXISTS);
    let Some(name) = named.map(|named| Name::of(&named)) else { return };
    if !look.known.is_new(&name) {
        takes(look, node, &format!("{name}: {}", tree::plain(&owner).to_lowercase()));
    }
}
