//! Statements that a transaction cannot hold, and what is known of each when it was cut off in the middle.

use std::fmt;

use crate::Kind;
use crate::split::{Piece, Statement};

/// A statement that runs by itself, outside of any transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alone {
    /// CREATE INDEX CONCURRENTLY: leaves an invalid index where it fails.
    CreateIndex {
        /// The index's name, without a schema, as the catalog has it.
        index: String,
        /// The table as it was written, for `to_regclass`.
        table: String,
        /// Whether it says IF NOT EXISTS.
        lenient: bool,
    },
    /// DROP INDEX CONCURRENTLY of one index: it is there still, or it is gone.
    DropIndex {
        /// The index as it was written, for `to_regclass`.
        index: String,
    },
    /// REINDEX ... CONCURRENTLY: leaves invalid indexes beside the old ones where it fails.
    Reindex {
        /// The index or table as it was written, for `to_regclass`; none for a schema or a database.
        of: Option<String>,
    },
    /// VACUUM and its like: doing it again does no harm.
    Repeatable,
    /// What became of it when it was cut off only a person can tell.
    Unknown,
}

/// Why a statement is not taken as it stands.
#[derive(Debug)]
pub(crate) enum Objection {
    /// It begins or ends a transaction, which is the runner's to do.
    Transaction(String),
    /// It makes an index concurrently and gives it no name.
    NoName,
    /// It drops several indexes concurrently.
    Several,
    /// It takes from the session what the runner has there.
    TakesAway,
    /// It leaves something in the session, where no server takes that back between two files.
    Leaves(String, &'static str),
}

impl fmt::Display for Objection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction(word) => {
                write!(out, "{word}: transactions are the runner's to begin and to end; take it out")
            }
            Self::NoName => out.write_str(
                "the index has no name: after a failure nobody could tell which one it was; write CREATE INDEX CONCURRENTLY name ON ...",
            ),
            Self::Several => out.write_str("several indexes at once: write a file for each"),
            Self::TakesAway => out.write_str(
                "DISCARD ALL gives up the runner's lock and its timeouts; take it out: each file has a session as good as new",
            ),
            Self::Leaves(word, instead) => write!(
                out,
                "{word}: what it leaves in the session would hold in later files, and is gone where a run goes on in another session after a failure; {instead}"
            ),
        }
    }
}

/// Whether a statement has to run alone, and what is known of it then.
pub(crate) fn alone(kind: Kind, statement: &Statement) -> Result<Option<Alone>, Objection> {
    let words = Words::of(statement);
    let ends = match words.at(0) {
        "COMMIT" | "ROLLBACK" | "BEGIN" | "END" | "ABORT" | "SAVEPOINT" | "RELEASE" => true,
        "START" | "PREPARE" => words.at(1) == "TRANSACTION",
        "XA" => kind == Kind::MySql,
        "LOCK" | "UNLOCK" => kind == Kind::MySql && matches!(words.at(1), "TABLES" | "TABLE"),
        _ => false,
    };
    if ends {
        return Err(Objection::Transaction(words.at(0).to_owned()));
    }
    match kind {
        Kind::MySql => leaves(&words).map_or(Ok(None), Err),
        Kind::Sqlite => Ok(match words.at(0) {
            "VACUUM" => Some(Alone::Repeatable),
            "ATTACH" | "DETACH" => Some(Alone::Unknown),
            _ => None,
        }),
        Kind::Postgres => alone_in_postgres(statement, &words),
    }
}

/// The words of a statement that are not quoted, in capitals, each at its piece.
struct Words(Vec<Option<String>>);

impl Words {
    fn of(statement: &Statement) -> Self {
        Self(statement.start.iter().map(Piece::keyword).collect())
    }

    /// The word there; nothing, where there is none.
    fn at(&self, at: usize) -> &str {
        self.0.get(at).and_then(Option::as_deref).unwrap_or_default()
    }

    fn first_of(&self, these: &[&str]) -> Option<usize> {
        self.0.iter().position(|word| word.as_deref().is_some_and(|word| these.contains(&word)))
    }

    fn has(&self, this: &str) -> bool {
        self.first_of(&[this]).is_some()
    }
}

/// What PostgreSQL refuses in a transaction (`PreventInTransactionBlock` in its sources; each command's page says so).
fn alone_in_postgres(statement: &Statement, words: &Words) -> Result<Option<Alone>, Objection> {
    let concurrently = words.first_of(&["CONCURRENTLY"]);
    Ok(match (words.at(0), words.at(1)) {
        ("CREATE", "INDEX" | "UNIQUE") if concurrently.is_some_and(|at| at <= 3) => {
            Some(create_index(statement, concurrently)?)
        }
        ("DROP", "INDEX") if concurrently == Some(2) => Some(drop_index(statement)?),
        ("REINDEX", _) => {
            // The first of them is what is rebuilt; what comes behind it is a name.
            let what = words.first_of(&["INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM"]);
            match what.map_or("", |at| words.at(at)) {
                "INDEX" | "TABLE" if concurrently.is_some() => {
                    let at = concurrently.max(what).map_or(0, |at| at + 1);
                    Some(Alone::Reindex { of: Some(name(&statement.start, at).0) })
                }
                "INDEX" | "TABLE" => None,
                _ => Some(Alone::Reindex { of: None }),
            }
        }
        ("VACUUM", _) | ("ALTER", "SYSTEM") => Some(Alone::Repeatable),
        // Of all tables. One table's may be in a transaction.
        ("CLUSTER" | "REPACK", _) if concurrently.is_some() || !names_something(&statement.start) => {
            Some(Alone::Repeatable)
        }
        ("DISCARD", "ALL") => return Err(Objection::TakesAway),
        ("CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION") => Some(Alone::Unknown),
        ("ALTER", "DATABASE") if words.has("TABLESPACE") => Some(Alone::Unknown),
        ("ALTER", "SUBSCRIPTION") => match (words.at(3), words.at(4)) {
            ("REFRESH", _) | ("SET", "PUBLICATION") => Some(Alone::Repeatable),
            ("ADD" | "DROP", "PUBLICATION") => Some(Alone::Unknown),
            _ => None,
        },
        ("ALTER", "TABLE") if concurrently.is_some() && words.has("DETACH") => Some(Alone::Unknown),
        _ => None,
    })
}

/// Whether a command names a table, behind its options: `(VERBOSE)`, `VERBOSE`.
fn names_something(pieces: &[Piece]) -> bool {
    let behind = match pieces.iter().position(|piece| *piece == Piece::Sign(")")) {
        Some(end) if pieces.get(1) == Some(&Piece::Sign("(")) => end + 1,
        _ => 1,
    };
    pieces.iter().skip(behind).any(|piece| match piece {
        Piece::Word(_, quoted) => *quoted || piece.keyword().as_deref() != Some("VERBOSE"),
        Piece::Sign(_) | Piece::Other => false,
    })
}

/// What a statement leaves in a session of MySQL. Nothing there makes a session as good as new without giving up the lock, and a
/// file runs statement by statement: what is set by the first need not be set for the second.
fn leaves(words: &Words) -> Option<Objection> {
    let own = |word: &str| {
        matches!(word, "SESSION" | "LOCAL")
            || word.starts_with('@') && !word.starts_with("@@GLOBAL") && !word.starts_with("@@PERSIST")
    };
    let of_the_session = match words.at(1) {
        "GLOBAL" | "PERSIST" | "PERSIST_ONLY" | "@@GLOBAL" | "@@PERSIST" | "@@PERSIST_ONLY" => {
            words.0.iter().flatten().any(|word| own(word))
        }
        "PASSWORD" | "STATEMENT" => false,
        "DEFAULT" => words.at(2) != "ROLE",
        _ => true,
    };
    let temporary = words.at(1) == "TEMPORARY" || words.at(1) == "OR" && words.at(3) == "TEMPORARY";
    let (word, instead) = match words.at(0) {
        "USE" => ("USE", "name the database before the table: other.orders"),
        "SET" if of_the_session => (
            "SET",
            "write it into the statement that needs it: SET STATEMENT name = value FOR ... (MariaDB), /*+ SET_VAR(name = value) */ (MySQL)",
        ),
        "CREATE" if temporary => ("CREATE TEMPORARY", "make an ordinary table, and drop it at the end"),
        "PREPARE" | "DEALLOCATE" => ("PREPARE", "write the statement itself, or EXECUTE IMMEDIATE"),
        "EXECUTE" if words.at(1) != "IMMEDIATE" => {
            ("EXECUTE", "write the statement itself, or EXECUTE IMMEDIATE")
        }
        _ => return None,
    };
    Some(Objection::Leaves(word.to_owned(), instead))
}

fn create_index(statement: &Statement, concurrently: Option<usize>) -> Result<Alone, Objection> {
    let pieces = &statement.start;
    let keyword = |at: usize| pieces.get(at).and_then(Piece::keyword).unwrap_or_default();
    let mut at = concurrently.map_or(0, |at| at + 1);
    let lenient = keyword(at) == "IF";
    if lenient {
        at += 3;
    }
    if keyword(at) == "ON" {
        return Err(Objection::NoName);
    }
    let Some(Piece::Word(index, quoted)) = pieces.get(at) else { return Err(Objection::NoName) };
    let index = if *quoted { index.replace("\"\"", "\"") } else { index.to_lowercase() };
    at += 2;
    if keyword(at) == "ONLY" {
        at += 1;
    }
    Ok(Alone::CreateIndex { index, table: name(pieces, at).0, lenient })
}

fn drop_index(statement: &Statement) -> Result<Alone, Objection> {
    let keyword = |at: usize| statement.start.get(at).and_then(Piece::keyword).unwrap_or_default();
    let at = if keyword(3) == "IF" { 5 } else { 3 };
    let (index, after) = name(&statement.start, at);
    if statement.start.get(after) == Some(&Piece::Sign(",")) {
        return Err(Objection::Several);
    }
    Ok(Alone::DropIndex { index })
}

/// A name with or without its schema, quoted as far as it was, and where it ends.
fn name(pieces: &[Piece], mut at: usize) -> (String, usize) {
    let mut name = String::new();
    while let Some(Piece::Word(word, quoted)) = pieces.get(at) {
        if *quoted {
            name.push('"');
            name.push_str(word);
            name.push('"');
        } else {
            name.push_str(word);
        }
        at += 1;
        if pieces.get(at) != Some(&Piece::Sign(".")) {
            break;
        }
        name.push('.');
        at += 1;
    }
    (name, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::split;

    fn of(kind: Kind, text: &str) -> Result<Option<Alone>, &'static str> {
        alone(kind, &split(kind, text).unwrap().statements[0]).map_err(|objection| match objection {
            Objection::Transaction(_) => "transaction",
            Objection::NoName => "no name",
            Objection::Several => "several",
            Objection::TakesAway => "takes away",
            Objection::Leaves(..) => "leaves",
        })
    }

    #[test]
    fn statements_that_no_transaction_holds_are_known() {
        let index = |index: &str, table: &str, lenient| {
            Ok(Some(Alone::CreateIndex { index: index.to_owned(), table: table.to_owned(), lenient }))
        };
        for (text, expected) in [
            ("create index concurrently Ix on shop.orders (a)", index("ix", "shop.orders", false)),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"Ix\" ON ONLY \"Or\"\"ders\" USING btree (a)",
                index("Ix", "\"Or\"\"ders\"", true),
            ),
            ("create index concurrently on orders (a)", Err("no name")),
            ("create index ix on concurrently (a)", Ok(None)),
            ("drop index concurrently if exists a.b", Ok(Some(Alone::DropIndex { index: "a.b".to_owned() }))),
            ("drop index concurrently a, b", Err("several")),
            (
                "reindex (verbose) table concurrently a.b",
                Ok(Some(Alone::Reindex { of: Some("a.b".to_owned()) })),
            ),
            ("reindex table a", Ok(None)),
            ("reindex table database", Ok(None)),
            ("reindex schema a", Ok(Some(Alone::Reindex { of: None }))),
            ("reindex (verbose) database", Ok(Some(Alone::Reindex { of: None }))),
            ("reindex system a", Ok(Some(Alone::Reindex { of: None }))),
            ("cluster", Ok(Some(Alone::Repeatable))),
            ("cluster (verbose)", Ok(Some(Alone::Repeatable))),
            ("cluster (verbose) a", Ok(None)),
            ("cluster verbose \"verbose\"", Ok(None)),
            ("repack", Ok(Some(Alone::Repeatable))),
            ("alter subscription s refresh publication", Ok(Some(Alone::Repeatable))),
            ("alter subscription s add publication p", Ok(Some(Alone::Unknown))),
            ("alter subscription s rename to t", Ok(None)),
            ("discard all", Err("takes away")),
            ("discard temp", Ok(None)),
            ("vacuum (analyze) a", Ok(Some(Alone::Repeatable))),
            ("alter table a detach partition b concurrently", Ok(Some(Alone::Unknown))),
            ("create database x", Ok(Some(Alone::Unknown))),
            ("refresh materialized view concurrently m", Ok(None)),
            ("/* a */ Commit", Err("transaction")),
            ("start transaction", Err("transaction")),
            ("select 'commit'", Ok(None)),
        ] {
            assert_eq!(of(Kind::Postgres, text), expected, "{text}");
        }
        assert_eq!(of(Kind::MySql, "lock tables a write"), Err("transaction"));
        assert_eq!(of(Kind::Sqlite, "vacuum"), Ok(Some(Alone::Repeatable)));
    }
}
