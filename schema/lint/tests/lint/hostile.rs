//! Files that nobody wrote to be run: whatever stands in them, the answer is findings, in time, and no panic.

use crate::files::{Files, VERSION, expand};
use handover_lint::{
    Context, MAX_LISTED, MOST_BYTES, MOST_STATEMENTS, MOST_WEIGHT, Migration, Outcome, Rule, SchemaPhase,
    lint,
};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Pieces of SQL that open something, or that the rules look for.
const PIECES: [&str; 64] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    "'",
    "\"",
    "$$",
    "$a$",
    "--",
    "/*",
    "*/",
    "\\",
    "\n",
    ".",
    "::",
    "-",
    "+",
    "||",
    "=",
    "<",
    ">",
    "*",
    "$1",
    "1",
    "1e",
    "x",
    "\"X\"",
    "E'\\",
    "U&\"",
    "ALTER",
    "TABLE",
    "ADD",
    "COLUMN",
    "DROP",
    "RENAME",
    "TO",
    "CONSTRAINT",
    "CHECK",
    "NOT",
    "NULL",
    "SELECT",
    "FROM",
    "WHERE",
    "CASE",
    "WHEN",
    "END",
    "CREATE",
    "FUNCTION",
    "BEGIN",
    "ATOMIC",
    "INDEX",
    "CONCURRENTLY",
    "ON",
    "UPDATE",
    "SET",
    "TYPE",
    "USING",
    "INSERT",
    "DO",
    "LANGUAGE",
];

/// Statements out of which others are made by cutting and joining.
const WHOLE: &str = "\
-- handover: allow drop-column because it is a test
ALTER TABLE users DROP COLUMN name CASCADE, ADD COLUMN \"Ä\" varchar(10) NOT NULL DEFAULT 'ß' CHECK (a > 1);
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 1 ELSE 2 END; SELECT 2; END;
WITH b AS (SELECT id FROM users LIMIT 10) UPDATE users SET a = 1 FROM b WHERE users.id = b.id AND users.x BETWEEN 1 AND 2;
DO $body$ BEGIN RAISE NOTICE 'x'; END $body$;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY a.b USING btree (lower(c) DESC, d) WHERE e IS NOT NULL;
ALTER TABLE a.b ADD CONSTRAINT f FOREIGN KEY (x, y) REFERENCES c (d, e) ON DELETE CASCADE NOT VALID;
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'meh' BEFORE 'ok'; VACUUM (FULL) t; COPY t FROM STDIN; SET lock_timeout = 0;
";

fn looked_at(text: &str) {
    let report = expand(text).linted();
    for finding in &report.findings {
        assert!(text.get(finding.range.clone()).is_some(), "{finding:?}");
        let shown = finding.to_string();
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_looked_at(text in any::<String>()) {
        looked_at(&text);
    }

    #[test]
    fn any_pieces_of_sql_are_looked_at(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        looked_at(&pieces.join(" "));
        looked_at(&pieces.concat());
    }

    #[test]
    fn a_file_that_was_cut_off_or_joined_is_looked_at(cut in 0..WHOLE.len(), skip in 0..WHOLE.len()) {
        let piece = |range: std::ops::Range<usize>| String::from_utf8_lossy(&WHOLE.as_bytes()[range]).into_owned();
        looked_at(&piece(0..cut));
        looked_at(&(piece(0..cut) + &piece(skip..WHOLE.len())));
    }

    #[test]
    fn what_repeats_without_end_is_looked_at_or_refused(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..5),
        times in 1_usize..40_000,
    ) {
        let text = format!("SELECT {}", format!("{} ", pieces.join(" ")).repeat(times));
        if text.len() <= MOST_BYTES {
            looked_at(&text);
        }
    }
}

/// Each way to nest that the grammar has: what begins it, and what is repeated.
const NESTS: [(&str, &str); 32] = [
    ("SELECT ", "("),
    ("SELECT ", "array["),
    ("SELECT ", "- "),
    ("SELECT ", "NOT "),
    ("SELECT 1", "+1"),
    ("SELECT 1", " AND 1"),
    ("SELECT 1", "::int"),
    ("SELECT a", ".a"),
    ("SELECT a", "[1]"),
    ("SELECT ", "CASE WHEN "),
    ("SELECT ", "f("),
    ("SELECT ", "EXISTS (SELECT "),
    ("SELECT 1", " UNION SELECT 1"),
    ("SELECT 1, 2", " UNION SELECT 1, 2"),
    ("SELECT * FROM a", " JOIN a"),
    ("SELECT * FROM ", "("),
    ("", "WITH a AS ("),
    ("", "EXPLAIN "),
    ("", "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC "),
    ("", "CREATE SCHEMA s "),
    ("", "CREATE RULE r AS ON INSERT TO t DO ("),
    ("CREATE TABLE t (a ", "setof "),
    ("CREATE TABLE t (a int", "[]"),
    ("ALTER TABLE t ADD CHECK ", "("),
    ("INSERT INTO t VALUES ", "(("),
    ("SELECT 1 WHERE a", " IN (a"),
    ("SELECT 1 WHERE a", " BETWEEN a"),
    ("SELECT 1 WHERE a", " IS NOT"),
    ("SELECT ", "a => "),
    ("SELECT ", "interval "),
    ("", "{"),
    ("", "$a$"),
];

fn nested(before: &str, piece: &str, times: usize) -> [String; 3] {
    let text = format!("{before}{}", piece.repeat(times));
    let quoted = format!("DO '{}'", text.replace('\'', ""));
    let body = format!("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_x_$ {text} $_x_$");
    [text, quoted, body]
}

/// As deep as a file of the greatest size can be.
#[test]
fn no_nesting_reaches_the_end_of_the_stack() {
    for (before, piece) in NESTS {
        for text in nested(before, piece, (MOST_BYTES - 4096) / piece.len()) {
            let report = expand(&text).linted();
            assert!(
                text.starts_with("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS") || !report.passes(),
                "{before}{piece}"
            );
        }
    }
}

/// As deep as is read at all, which is what the stack is made for.
#[test]
fn nesting_just_within_the_bounds_does_not_reach_it_either() {
    for (before, piece) in NESTS {
        let tokens =
            squawk_lexer::tokenize(piece).filter(|token| token.kind != squawk_lexer::TokenKind::Whitespace);
        let most = (MOST_WEIGHT - 20) / tokens.count();
        for times in [most / 20, most / 3, most / 2, most] {
            for text in nested(before, piece, times) {
                let _ = expand(&text).linted();
            }
        }
    }
}

#[test]
fn what_people_write_is_not_nested_too_deep() {
    for text in [
        format!("SELECT {}1{};", "(".repeat(150), ")".repeat(150)),
        format!("SELECT 1{};", " + 1".repeat(500)),
        format!("SELECT 1 WHERE 1 = 1{};", " OR a = 1".repeat(500)),
        format!("SELECT 1{};", " UNION ALL SELECT 1, 2, 3".repeat(300)),
    ] {
        assert_eq!(expand(&text).linted().findings, Vec::new());
    }
}

#[test]
fn a_file_or_a_number_of_statements_beyond_the_bounds_is_refused() {
    let refused = |text: &str| {
        let report = expand(text).linted();
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].rule, Rule::TooLarge);
        report.findings[0].message.clone()
    };
    let long = " ".repeat(MOST_BYTES + 1);
    assert!(refused(&long).contains("1048577 bytes"), "{}", refused(&long));
    let many = "SELECT 1;".repeat(MOST_STATEMENTS + 1);
    assert!(refused(&many).contains("10000 statements"), "{}", refused(&many));
    assert_eq!(expand(&"SELECT 1;".repeat(MOST_STATEMENTS)).linted().findings, Vec::new());
}

#[test]
fn a_file_with_too_many_findings_lists_the_first_and_counts_the_rest() {
    let report = expand(&"DROP TABLE t;\n".repeat(MAX_LISTED + 5)).linted();
    // The first drop does not make the next ones right.
    assert_eq!(report.findings.len(), MAX_LISTED);
    assert_eq!(report.left_out, 5);
    assert!(!report.passes());
    assert!(report.to_string().ends_with("and 5 more"), "{report}");
}

#[test]
fn a_file_as_large_as_is_read_takes_seconds_at_most() {
    let mut insert = "INSERT INTO t (a, b, c) VALUES ".to_owned();
    while insert.len() < MOST_BYTES - 100 {
        insert.push_str("(1, 'two', -3.0),\n");
    }
    insert.push_str("(1, 'two', null);");
    let many = "ALTER TABLE t ADD COLUMN a_column text NOT NULL DEFAULT 'abcdefghijklmnopqrstuvwxyz' CHECK (a > 1);\n"
        .repeat(MOST_STATEMENTS - 1);
    for text in [insert, many[..many.len().min(MOST_BYTES)].to_owned()] {
        let began = Instant::now();
        let report = expand(&text).linted();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(60), "{took:?}");
        assert!(report.statements > 0);
    }
}

#[test]
fn rows_that_are_written_out_are_no_nesting() {
    let rows = "(1, null, true, default, -1, 'a', now(), array[1, 2], (3)),\n".repeat(5000);
    let report = expand(&format!("INSERT INTO t VALUES {rows}(1);")).linted();
    assert_eq!(report.findings, Vec::new());
}

#[test]
fn every_file_of_several_is_looked_at_whatever_is_wrong_with_one() {
    let files: Files = expand("SELECT ((").then(expand("DROP TABLE t;"));
    let rules: Vec<Rule> = files.linted().findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::SyntaxError, Rule::DropTable]);
}

#[test]
fn bytes_that_are_no_character_cannot_be_given() {
    // The type says it; a byte order mark is none of the first statement.
    let migration = Migration {
        file: "a.sql",
        text: "\u{feff}DROP TABLE t;",
        phase: SchemaPhase::Expand,
        version: VERSION,
        transaction: None,
    };
    let Outcome::Linted(report) = lint(&[migration], &Context::postgresql(15)) else { panic!() };
    assert_eq!((report.findings[0].line, report.findings[0].column), (1, 12));
    assert_eq!(report.findings[0].statement, "DROP TABLE t");
}
