//! Statements that write rows: how many at a time, and under which lock.

use super::Target;
use crate::{finding::Step, look::Look, rule::Rule, tree};
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{self, AstNode as _, Expr, Stmt},
};
use std::collections::BTreeSet;

/// Names of columns of which each value stands in one row.
const KEYS: [&str; 6] = ["ctid", "guid", "id", "key", "pk", "uuid"];

pub(crate) fn apply(look: &mut Look<'_>) {
    let node = look.stmt.syntax().clone();
    // What these hold is kept, not run.
    let is_kept = matches!(
        look.stmt,
        Stmt::CreateFunction(_) | Stmt::CreateProcedure(_) | Stmt::CreateRule(_) | Stmt::Prepare(_)
    );
    if is_kept {
        return;
    }
    for inner in node.descendants() {
        if let Some(write) = Write::of(&inner)
            && !look.known.is_new(&write.table.name)
        {
            check(look, &node, &write);
        }
    }
}

/// A statement, or a part of one, that writes rows.
struct Write {
    verb: &'static str,
    node: SyntaxNode,
    table: Target,
    condition: Option<Expr>,
    /// Clauses that bound it where a LIMIT stands in them.
    sources: Vec<SyntaxNode>,
    bounded: bool,
}

impl Write {
    fn of(node: &SyntaxNode) -> Option<Self> {
        let (verb, table) = match node.kind() {
            SyntaxKind::UPDATE => {
                ("UPDATE", ast::Update::cast(node.clone())?.relation_name()?.syntax().clone())
            }
            SyntaxKind::DELETE => {
                ("DELETE", ast::Delete::cast(node.clone())?.relation_name()?.syntax().clone())
            }
            SyntaxKind::MERGE => {
                ("MERGE", ast::Merge::cast(node.clone())?.table_relation_name()?.syntax().clone())
            }
            SyntaxKind::INSERT => {
                ("INSERT", ast::Insert::cast(node.clone())?.relation_name_ref()?.syntax().clone())
            }
            _ => return None,
        };
        let is_source = |kind| {
            matches!(
                kind,
                SyntaxKind::FROM_CLAUSE
                    | SyntaxKind::USING_CLAUSE
                    | SyntaxKind::WITH_CLAUSE
                    | SyntaxKind::USING_ON_CLAUSE
            )
        };
        let sources = node.children().filter(|child| is_source(child.kind())).collect();
        let condition = node.children().find_map(ast::WhereClause::cast).and_then(|clause| clause.expr());
        let current = node.children().any(|child| child.kind() == SyntaxKind::WHERE_CURRENT_OF);
        let mut write = Self {
            verb,
            node: node.clone(),
            table: Target::of(&table),
            condition,
            sources,
            bounded: current,
        };
        write.bounded |= write.is_bounded();
        Some(write)
    }

    fn is_bounded(&self) -> bool {
        if self.sources.iter().any(has_limit) {
            return true;
        }
        // What another part of the statement has bounded: WITH few AS (... LIMIT 10), gone AS (DELETE ... USING few).
        let mut around = self.node.ancestors().skip(1);
        let bounded_before = |node: SyntaxNode| {
            node.kind() == SyntaxKind::WITH_CLAUSE
                && node.children().any(|part| has_limit(&part) && !is_around(&part, &self.node))
        };
        if !self.sources.is_empty() && around.any(bounded_before) {
            return true;
        }
        if self.verb == "INSERT" {
            return self.inserts_few();
        }
        self.condition.clone().is_some_and(bounds)
    }

    /// An INSERT of rows that are written out, or of a bounded number of another table's.
    fn inserts_few(&self) -> bool {
        let Some(insert) = ast::Insert::cast(self.node.clone()) else { return true };
        let Some(ast::InsertSource::SelectVariant(source)) = insert.insert_source() else { return true };
        let source = source.syntax();
        // A query in a condition or a column, as in WHERE NOT EXISTS (...), makes no rows.
        let makes_no_rows = |kind| matches!(kind, SyntaxKind::WHERE_CLAUSE | SyntaxKind::TARGET_LIST);
        let reads_tables = source.descendants().any(|node| {
            let mut around = node.ancestors().take_while(|around| around != source);
            matches!(node.kind(), SyntaxKind::RELATION_FROM_ITEM | SyntaxKind::TABLE)
                && !around.any(|around| makes_no_rows(around.kind()))
        });
        let limited = has_limit(source);
        let ranged = source
            .descendants()
            .filter_map(ast::WhereClause::cast)
            .any(|clause| clause.expr().is_some_and(bounds));
        !reads_tables || limited || ranged
    }
}

fn is_around(node: &SyntaxNode, inner: &SyntaxNode) -> bool {
    inner.ancestors().any(|around| around == *node)
}

fn reads_a_table(node: &SyntaxNode) -> bool {
    tree::has_inside(node, SyntaxKind::RELATION_FROM_ITEM)
}

fn has_limit(node: &SyntaxNode) -> bool {
    let is_all = |limit: &SyntaxNode| {
        tree::tokens(limit).last().is_some_and(|token| token.kind() == SyntaxKind::ALL_KW)
    };
    node.descendants().any(|inner| match inner.kind() {
        SyntaxKind::LIMIT_CLAUSE => !is_all(&inner),
        SyntaxKind::FETCH_CLAUSE => true,
        _ => false,
    })
}

/// Whether a condition lets only a bounded number of rows through.
fn bounds(condition: Expr) -> bool {
    let (mut from, mut to) = (BTreeSet::new(), BTreeSet::new());
    for expr in tree::conjuncts(condition) {
        match &expr {
            Expr::BetweenExpr(between) if between.not_token().is_none() => {
                let ends = between.start().is_some_and(|e| tree::is_value(&e))
                    && between.end().is_some_and(|e| tree::is_value(&e));
                if ends && between.target().is_some_and(|target| tree::column(&target).is_some()) {
                    return true;
                }
            }
            Expr::BinExpr(both) => {
                let (Some(left), Some(right)) = (both.lhs(), both.rhs()) else { continue };
                let operator = tree::operator(both);
                match (tree::column(&left), operator.as_str()) {
                    (_, "=" | "in") if has_limit(right.syntax()) => return true,
                    (Some(column), "=" | "in") if KEYS.contains(&column.as_str()) => {
                        // A query in brackets is one value behind `=`, and any number of them behind IN.
                        let one = operator == "=" && matches!(right, Expr::ParenExpr(_));
                        if one || (!reads_a_table(right.syntax()) && tree::column(&right).is_none()) {
                            return true;
                        }
                    }
                    (Some(column), ">" | ">=") if tree::is_value(&right) => {
                        from.insert(column);
                    }
                    (Some(column), "<" | "<=") if tree::is_value(&right) => {
                        to.insert(column);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    from.intersection(&to).next().is_some()
}

fn check(look: &mut Look<'_>, statement: &SyntaxNode, write: &Write) {
    let Write { verb, node, table, .. } = write;
    if !write.bounded {
        let condition = match &write.condition {
            Some(_) => format!("the condition of this {verb} bounds no number of rows of {}", table.name),
            None if *verb == "INSERT" => format!("this INSERT copies any number of rows to {}", table.name),
            None => format!("this {verb} is for all rows of {}", table.name),
        };
        let steps = vec![in_batches(write, statement)];
        look.find(Rule::WholeTableWrite, node, condition, steps);
    }
    let writes_old_rows = *verb != "INSERT" || !write.inserts_few();
    if look.transaction.open && !look.transaction.locked.is_empty() && writes_old_rows {
        let locked = look.transaction.locked.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message =
            format!("rows of {} are written while the transaction holds the lock of {locked}", table.name);
        look.find(Rule::DdlAndRows, node, message, vec![in_batches(write, statement)]);
    }
}

/// The same a batch at a time.
fn in_batches(write: &Write, statement: &SyntaxNode) -> Step {
    let Write { verb, node, table, condition, sources, bounded } = write;
    let table = &table.sql;
    let step = Step::backfill("a batch at a time, until no row is changed");
    if *bounded && node == statement {
        return Step::backfill("in a file of its own").sql(format!("{};", tree::plain(node)));
    }
    let has_alias = node.children().any(|child| child.kind() == SyntaxKind::OPTIONAL_AS_ALIAS);
    let is_plain = sources.is_empty() && !has_alias && node == statement;
    let set =
        node.children().find(|child| child.kind() == SyntaxKind::SET_CLAUSE).map(|set| tree::plain(&set));
    let head = match (*verb, set) {
        ("UPDATE", Some(set)) => format!("UPDATE {table} {set}"),
        ("DELETE", _) => format!("DELETE FROM {table}"),
        _ => {
            return Step::backfill(
                "a batch at a time, by the key: give it a condition of both ends, or a LIMIT",
            );
        }
    };
    match condition {
        _ if !is_plain => {
            Step::backfill("a batch at a time, by the key: give it a condition of both ends, or a LIMIT")
        }
        Some(condition) => step.sql(format!(
            "{head}\nWHERE ctid = ANY (ARRAY(\n  SELECT ctid FROM {table} WHERE {} LIMIT 1000 FOR UPDATE));",
            tree::plain(condition.syntax())
        )),
        None => Step::backfill("a batch at a time, by the key (here id), to the last one")
            .sql(format!("{head}\nWHERE id BETWEEN 1 AND 1000;")),
    }
}
