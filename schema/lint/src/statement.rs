//! A file taken apart into its statements.
//!
//! By tokens, as psql does it, and not by the parser: then a statement that the parser does not know takes none of the
//! others with it.

use crate::{
    parse::{MOST_BYTES, MOST_STATEMENTS},
    tree,
};
use squawk_lexer::{Token, TokenKind};
use squawk_syntax::{SyntaxKind, ast};
use std::{fmt, ops::Range};

/// Why a file is not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsplit {
    /// It is longer than [`MOST_BYTES`].
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It has more statements than [`MOST_STATEMENTS`].
    TooMany,
}

impl fmt::Display for Unsplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(f, "the file has {bytes} bytes, and no more than {MOST_BYTES} are read: split it")
            }
            Self::TooMany => {
                write!(f, "the file has more than {MOST_STATEMENTS} statements, which are not read: split it")
            }
        }
    }
}

/// Why a statement cannot run in a transaction.
pub(crate) fn alone(stmt: &ast::Stmt, server_major: u16) -> Option<&'static str> {
    use ast::Stmt;
    let concurrently = tree::token(stmt_node(stmt), SyntaxKind::CONCURRENTLY_KW).is_some();
    match stmt {
        Stmt::CreateIndex(_) if concurrently => Some("CREATE INDEX CONCURRENTLY"),
        Stmt::DropIndex(_) if concurrently => Some("DROP INDEX CONCURRENTLY"),
        Stmt::Reindex(_) if concurrently => Some("REINDEX CONCURRENTLY"),
        Stmt::Reindex(it) => match it.reindex_target()? {
            ast::ReindexTarget::ReindexTargetDatabase(_) => Some("REINDEX DATABASE"),
            ast::ReindexTarget::ReindexTargetSchema(_) => Some("REINDEX SCHEMA"),
            ast::ReindexTarget::ReindexTargetSystem(_) => Some("REINDEX SYSTEM"),
            ast::ReindexTarget::ReindexTargetIndex(_) | ast::ReindexTarget::ReindexTargetTable(_) => None,
        },
        Stmt::AlterTable(it) => it
            .actions()
            .any(|action| matches!(action, ast::AlterTableAction::DetachPartition(_)) && concurrently)
            .then_some("DETACH PARTITION CONCURRENTLY"),
        Stmt::AlterType(it) => match it.action()? {
            ast::AlterTypeAction::AddValue(_) if server_major < 12 => Some("ALTER TYPE ADD VALUE"),
            _ => None,
        },
        Stmt::Vacuum(_) => Some("VACUUM"),
        Stmt::Cluster(it) if it.table_name_ref().is_none() && it.cluster_legacy().is_none() => {
            Some("CLUSTER of all tables")
        }
        Stmt::Repack(it) if concurrently || it.table_and_columns_list().is_none() => Some("REPACK"),
        Stmt::CreateDatabase(_) => Some("CREATE DATABASE"),
        Stmt::DropDatabase(_) => Some("DROP DATABASE"),
        Stmt::AlterDatabase(it) => match it.action()? {
            ast::AlterDatabaseAction::SetTablespace(_) => Some("ALTER DATABASE SET TABLESPACE"),
            _ => None,
        },
        Stmt::CreateTablespace(_) => Some("CREATE TABLESPACE"),
        Stmt::DropTablespace(_) => Some("DROP TABLESPACE"),
        Stmt::AlterSystem(_) => Some("ALTER SYSTEM"),
        Stmt::CreateSubscription(_) => Some("CREATE SUBSCRIPTION"),
        Stmt::DropSubscription(_) => Some("DROP SUBSCRIPTION"),
        Stmt::AlterSubscription(it) => match it.action()? {
            ast::AlterSubscriptionAction::RefreshPublication(_)
            | ast::AlterSubscriptionAction::SetPublication(_)
            | ast::AlterSubscriptionAction::AddPublication(_)
            | ast::AlterSubscriptionAction::DropSubscriptionPublication(_) => Some("ALTER SUBSCRIPTION"),
            _ => None,
        },
        Stmt::Discard(it) => match it.discard_target()? {
            ast::DiscardTarget::DiscardAll(_) => Some("DISCARD ALL"),
            _ => None,
        },
        Stmt::Commit(ast::Commit::CommitPrepared(_)) => Some("COMMIT PREPARED"),
        Stmt::Rollback(ast::Rollback::RollbackPrepared(_)) => Some("ROLLBACK PREPARED"),
        _ => None,
    }
}

fn stmt_node(stmt: &ast::Stmt) -> &squawk_syntax::SyntaxNode {
    use ast::AstNode as _;
    stmt.syntax()
}

/// Where a statement stands, and what stands before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) range: Range<usize>,
    /// The comments between the statement before it and itself.
    pub(crate) comments: Vec<Range<usize>>,
    /// No fewer than its tokens that lie inside each other.
    pub(crate) weight: usize,
}

/// A file's statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts {
    pub(crate) statements: Vec<Cut>,
    /// The comments behind the last one.
    pub(crate) comments: Vec<Range<usize>>,
}

/// Takes a text apart at its semicolons.
pub(crate) fn cut(text: &str) -> Result<Cuts, Unsplit> {
    if text.len() > MOST_BYTES {
        return Err(Unsplit::TooLong { bytes: text.len() });
    }
    let mut cuts = Cuts::default();
    let mut open = Open::default();
    let mut at = if text.starts_with(squawk_lexer::BOM) { squawk_lexer::BOM.len() } else { 0 };
    for token in squawk_lexer::tokenize(&text[at..]) {
        let range = at..at + usize::try_from(token.len).unwrap_or(usize::MAX);
        at = range.end;
        match token.kind {
            TokenKind::Whitespace | TokenKind::Eof => {}
            TokenKind::LineComment | TokenKind::BlockComment { .. } => {
                if open.tokens == 0 {
                    open.cut.comments.push(range);
                }
            }
            TokenKind::Semi if open.ends_here() => {
                let done = std::mem::take(&mut open);
                if done.tokens > 0 {
                    cuts.statements.push(done.cut);
                } else {
                    // A semicolon alone is nothing; what was said above it is about what comes.
                    open.cut.comments = done.cut.comments;
                }
                if cuts.statements.len() > MOST_STATEMENTS {
                    return Err(Unsplit::TooMany);
                }
            }
            _ => open.take(&token, &text[range.clone()], range),
        }
    }
    if open.tokens > 0 {
        cuts.statements.push(open.cut);
    } else {
        cuts.comments = open.cut.comments;
    }
    if cuts.statements.len() > MOST_STATEMENTS { Err(Unsplit::TooMany) } else { Ok(cuts) }
}

/// Words after which a comma does not end what they began.
const OPENERS: [&str; 28] = [
    "all",
    "and",
    "as",
    "begin",
    "by",
    "case",
    "create",
    "delete",
    "end",
    "except",
    "explain",
    "for",
    "from",
    "if",
    "insert",
    "intersect",
    "join",
    "loop",
    "merge",
    "on",
    "or",
    "returning",
    "select",
    "table",
    "union",
    "update",
    "values",
    "with",
];

/// The statement that is being taken apart.
#[derive(Default)]
struct Open {
    cut: Cut,
    tokens: usize,
    /// For each bracket that is open, and the statement itself: what may lie inside each other there.
    levels: Vec<Level>,
    /// How much that is on all levels.
    total: usize,
    /// The first words, as far as they tell whether it has a body of statements.
    words: Vec<String>,
    /// BEGIN and CASE of such a body that are open.
    begins: usize,
}

#[derive(Default)]
struct Level {
    since_comma: usize,
    openers: usize,
}

impl Open {
    fn ends_here(&self) -> bool {
        self.levels.len() <= 1 && self.begins == 0
    }

    fn take(&mut self, token: &Token, text: &str, range: Range<usize>) {
        if self.tokens == 0 {
            self.cut.range.start = range.start;
            self.levels.push(Level::default());
        }
        self.tokens += 1;
        self.cut.range.end = range.end;
        self.weigh(token, text);
        if matches!(token.kind, TokenKind::Ident) && self.levels.len() <= 1 {
            self.follow_body(text);
        }
    }

    fn weigh(&mut self, token: &Token, text: &str) {
        match token.kind {
            TokenKind::OpenParen | TokenKind::OpenBracket | TokenKind::OpenCurly => {
                self.levels.push(Level::default());
            }
            TokenKind::CloseParen | TokenKind::CloseBracket | TokenKind::CloseCurly => {
                if self.levels.len() > 1
                    && let Some(level) = self.levels.pop()
                {
                    self.total -= level.since_comma + level.openers;
                }
            }
            TokenKind::Comma => {
                if let Some(level) = self.levels.last_mut() {
                    self.total -= level.since_comma;
                    level.since_comma = 0;
                }
            }
            _ => {}
        }
        let is_opener = matches!(token.kind, TokenKind::Ident) && text.len() <= 9 && {
            let word = text.to_ascii_lowercase();
            OPENERS.binary_search(&word.as_str()).is_ok()
        };
        if let Some(level) = self.levels.last_mut() {
            if is_opener {
                level.openers += 1;
            } else {
                level.since_comma += 1;
            }
            self.total += 1;
        }
        self.cut.weight = self.cut.weight.max(self.total);
    }

    /// A function's body may be statements between BEGIN ATOMIC and END: their semicolons do not end it.
    fn follow_body(&mut self, text: &str) {
        let word = text.to_ascii_lowercase();
        if self.words.len() < 4 {
            self.words.push(word.clone());
        }
        let mut words = self.words.iter().map(String::as_str);
        let is_routine = words.next() == Some("create") && {
            let mut words = words.skip_while(|word| ["or", "replace"].contains(word));
            matches!(words.next(), Some("function" | "procedure"))
        };
        if !is_routine {
            return;
        }
        match word.as_str() {
            "begin" => self.begins += 1,
            "case" if self.begins > 0 => self.begins += 1,
            "end" => self.begins = self.begins.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        cut(text).unwrap().statements.into_iter().map(|cut| &text[cut.range]).collect()
    }

    #[test]
    fn statements_end_at_semicolons_that_are_not_in_something() {
        assert_eq!(
            pieces("SELECT 1; ;\n-- a; b\nSELECT ';', $a$;$a$, \";\" /* ; */ ;\n\n  SELECT (2); -- end"),
            ["SELECT 1", "SELECT ';', $a$;$a$, \";\"", "SELECT (2)"]
        );
        assert_eq!(pieces(""), Vec::<&str>::new());
        assert_eq!(pieces(" ; -- nothing\n;"), Vec::<&str>::new());
    }

    #[test]
    fn a_body_of_statements_is_part_of_its_function() {
        let function = "CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 1 END; SELECT 2; END";
        assert_eq!(pieces(&format!("{function}; SELECT 3;")), [function, "SELECT 3"]);
        let rule = "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)";
        assert_eq!(pieces(&format!("{rule}; SELECT 3;")), [rule, "SELECT 3"]);
        assert_eq!(pieces("BEGIN; SELECT 1; END; SELECT 2"), ["BEGIN", "SELECT 1", "END", "SELECT 2"]);
    }

    #[test]
    fn what_the_parser_does_not_know_is_a_statement_all_the_same() {
        assert_eq!(pieces("FROBNICATE the table; SELECT 1"), ["FROBNICATE the table", "SELECT 1"]);
    }
}
