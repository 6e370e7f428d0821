//! Statements that a transaction cannot hold, and what is known of each when it was cut off in the middle.

use crate::address::Kind;
use crate::script::split::{Piece, Statement};

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
pub(crate) enum Objection {
    /// It begins or ends a transaction, which is the runner's to do.
    Transaction(String),
    /// It makes an index concurrently and gives it no name.
    NoName,
    /// It drops several indexes concurrently.
    Several,
}

/// Whether a statement has to run alone, and what is known of it then.
pub(crate) fn alone(kind: Kind, statement: &Statement) -> Result<Option<Alone>, Objection> {
    let words: Vec<Option<String>> = statement.start.iter().map(Piece::keyword).collect();
    let word = |at: usize| words.get(at).and_then(Option::as_deref).unwrap_or_default();
    let concurrently = words.iter().position(|word| word.as_deref() == Some("CONCURRENTLY"));
    let ends = match word(0) {
        "BEGIN" | "COMMIT" | "ROLLBACK" | "END" | "ABORT" | "SAVEPOINT" | "RELEASE" => true,
        "START" | "PREPARE" => word(1) == "TRANSACTION",
        "XA" => kind == Kind::MySql,
        "LOCK" | "UNLOCK" => kind == Kind::MySql && matches!(word(1), "TABLES" | "TABLE"),
        _ => false,
    };
    if ends {
        return Err(Objection::Transaction(word(0).to_owned()));
    }
    Ok(match kind {
        Kind::MySql => None,
        Kind::Sqlite => match word(0) {
            "VACUUM" => Some(Alone::Repeatable),
            "ATTACH" | "DETACH" => Some(Alone::Unknown),
            _ => None,
        },
        Kind::Postgres => match (word(0), word(1)) {
            ("CREATE", "INDEX" | "UNIQUE") if concurrently.is_some_and(|at| at <= 3) => {
                Some(create_index(statement, concurrently)?)
            }
            ("DROP", "INDEX") if concurrently == Some(2) => Some(drop_index(statement)?),
            ("REINDEX", _)
                if concurrently.is_some()
                    || words.iter().flatten().any(|word| word == "DATABASE" || word == "SYSTEM") =>
            {
                let what = words.iter().position(|word| matches!(word.as_deref(), Some("INDEX" | "TABLE")));
                let at = concurrently.max(what).map_or(0, |at| at + 1);
                Some(Alone::Reindex { of: what.map(|_| name(&statement.start, at).0) })
            }
            ("VACUUM", _) | ("CLUSTER", "") | ("ALTER", "SYSTEM") => Some(Alone::Repeatable),
            ("CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION") => Some(Alone::Unknown),
            ("ALTER", "DATABASE") if words.iter().flatten().any(|word| word == "TABLESPACE") => {
                Some(Alone::Unknown)
            }
            ("ALTER", "TABLE")
                if concurrently.is_some() && words.iter().flatten().any(|word| word == "DETACH") =>
            {
                Some(Alone::Unknown)
            }
            _ => None,
        },
    })
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
    use crate::script::split::split;

    fn of(kind: Kind, text: &str) -> Result<Option<Alone>, &'static str> {
        alone(kind, &split(kind, text).unwrap().statements[0]).map_err(|objection| match objection {
            Objection::Transaction(_) => "transaction",
            Objection::NoName => "no name",
            Objection::Several => "several",
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
