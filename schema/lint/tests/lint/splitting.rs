//! A file taken apart for who runs it.

use handover_lint::{Name, split};

fn pieces(text: &str) -> Vec<&str> {
    split(text, 15).unwrap().into_iter().map(|statement| &text[statement.range]).collect()
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

/// Statements that PostgreSQL refuses in a transaction, and some beside them that it takes.
pub(crate) const ALONE: [(&str, Option<&str>); 28] = [
    ("CREATE INDEX CONCURRENTLY i ON users (name)", Some("CREATE INDEX CONCURRENTLY")),
    ("CREATE INDEX i ON users (name)", None),
    ("DROP INDEX CONCURRENTLY i", Some("DROP INDEX CONCURRENTLY")),
    ("DROP INDEX i", None),
    ("REINDEX INDEX CONCURRENTLY i", Some("REINDEX CONCURRENTLY")),
    ("REINDEX (CONCURRENTLY) TABLE users", Some("REINDEX CONCURRENTLY")),
    ("REINDEX TABLE users", None),
    ("REINDEX DATABASE postgres", Some("REINDEX DATABASE")),
    ("REINDEX SCHEMA public", Some("REINDEX SCHEMA")),
    ("REINDEX SYSTEM postgres", Some("REINDEX SYSTEM")),
    ("ALTER TABLE events DETACH PARTITION y2020 CONCURRENTLY", Some("DETACH PARTITION CONCURRENTLY")),
    ("ALTER TABLE events DETACH PARTITION y2020", None),
    ("VACUUM users", Some("VACUUM")),
    ("VACUUM (FULL) users", Some("VACUUM")),
    ("ANALYZE users", None),
    ("CLUSTER", Some("CLUSTER of all tables")),
    ("CLUSTER users USING users_pkey", None),
    ("CREATE DATABASE other", Some("CREATE DATABASE")),
    ("DROP DATABASE other", Some("DROP DATABASE")),
    ("ALTER DATABASE postgres SET TABLESPACE pg_default", Some("ALTER DATABASE SET TABLESPACE")),
    ("CREATE TABLESPACE fast LOCATION '/nowhere'", Some("CREATE TABLESPACE")),
    ("DROP TABLESPACE fast", Some("DROP TABLESPACE")),
    ("ALTER SYSTEM SET work_mem = '5MB'", Some("ALTER SYSTEM")),
    ("CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p", Some("CREATE SUBSCRIPTION")),
    ("DISCARD ALL", Some("DISCARD ALL")),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY totals", None),
    ("ALTER TYPE mood ADD VALUE 'meh'", None),
    ("TRUNCATE users", None),
];

#[test]
fn who_runs_it_is_told_what_cannot_be_in_a_transaction() {
    for (text, alone) in ALONE {
        assert_eq!(split(text, 15).unwrap()[0].alone, alone, "{text}");
    }
    assert_eq!(split("ALTER TYPE mood ADD VALUE 'meh'", 11).unwrap()[0].alone, Some("ALTER TYPE ADD VALUE"));
}

#[test]
fn an_index_that_may_be_left_invalid_is_named() {
    let built = |text: &str| split(text, 15).unwrap()[0].builds.clone();
    let index =
        built("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"One Mail\" ON Shop.users (email)").unwrap();
    assert_eq!(index.name, Some(Name::new(Some("shop"), "One Mail")));
    assert_eq!(index.table, Name::new(Some("shop"), "users"));
    assert_eq!(index.table.to_string(), "shop.users");
    let nameless = built("CREATE INDEX CONCURRENTLY ON users (email)").unwrap();
    assert_eq!(nameless.name, None);
    assert_eq!(built("CREATE INDEX i ON users (email)"), None);
}
