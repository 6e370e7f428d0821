//! What cannot be in a transaction: as the linter says it, and as the runner takes it.

use crate::files::contract;
use handover_lint::{Rule, SchemaPhase};
use handover_script::{Kind, Work, read};

/// Statements that PostgreSQL refuses in a transaction, and some beside them that it takes.
pub(crate) const ALONE: [(&str, bool); 30] = [
    ("CREATE INDEX CONCURRENTLY i ON users (name)", true),
    ("CREATE INDEX i ON users (name)", false),
    ("DROP INDEX CONCURRENTLY i", true),
    ("DROP INDEX i", false),
    ("REINDEX INDEX CONCURRENTLY i", true),
    ("REINDEX (CONCURRENTLY) TABLE users", true),
    ("REINDEX TABLE users", false),
    ("REINDEX DATABASE postgres", true),
    ("REINDEX SCHEMA public", true),
    ("REINDEX SYSTEM postgres", true),
    ("ALTER TABLE events DETACH PARTITION y2020 CONCURRENTLY", true),
    ("ALTER TABLE events DETACH PARTITION y2020", false),
    ("VACUUM users", true),
    ("VACUUM (FULL) users", true),
    ("ANALYZE users", false),
    ("CLUSTER", true),
    ("CLUSTER VERBOSE", true),
    ("CLUSTER users USING users_pkey", false),
    ("CLUSTER (VERBOSE) users USING users_pkey", false),
    ("CREATE DATABASE other", true),
    ("DROP DATABASE other", true),
    ("ALTER DATABASE postgres SET TABLESPACE pg_default", true),
    ("CREATE TABLESPACE fast LOCATION '/nowhere'", true),
    ("DROP TABLESPACE fast", true),
    ("ALTER SYSTEM SET work_mem = '5MB'", true),
    ("CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p", true),
    ("DISCARD ALL", true),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY totals", false),
    ("ALTER TYPE mood ADD VALUE 'meh'", false),
    ("TRUNCATE users", false),
];

/// Whether the runner lets a statement be in a transaction, alone in its file as it is.
fn runs_in_a_transaction(text: &str) -> bool {
    // What it takes neither way is in none.
    matches!(read(Kind::Postgres, SchemaPhase::Contract, text.as_bytes()), Ok((_, Work::Together(_))))
}

/// Whether the linter says of a statement that it cannot be beside another.
fn has_to_be_alone(text: &str) -> bool {
    !contract(&format!("SELECT 1;\n{text};")).of(Rule::MustRunAlone).is_empty()
}

#[test]
fn the_linter_and_the_runner_agree_on_what_cannot_be_in_a_transaction() {
    let of_subscriptions = [
        ("ALTER SUBSCRIPTION s REFRESH PUBLICATION", true),
        ("ALTER SUBSCRIPTION s SET PUBLICATION p", true),
        ("ALTER SUBSCRIPTION s ADD PUBLICATION p", true),
        ("ALTER SUBSCRIPTION s RENAME TO t", false),
        ("DROP SUBSCRIPTION s", true),
    ];
    for (text, alone) in ALONE.into_iter().chain(of_subscriptions) {
        assert_eq!(has_to_be_alone(text), alone, "{text}");
        assert_eq!(!runs_in_a_transaction(text), alone, "{text}");
    }
    let enum_value = contract("SELECT 1; ALTER TYPE mood ADD VALUE 'meh' AFTER 'ok';");
    assert!(enum_value.of(Rule::MustRunAlone).is_empty());
    assert!(!enum_value.on(11).of(Rule::MustRunAlone).is_empty());
}

#[test]
fn what_has_to_be_alone_has_no_company_of_any_kind() {
    let index = "CREATE INDEX CONCURRENTLY i ON users (age);";
    for company in ["SET LOCAL maintenance_work_mem = '1GB';", "SELECT 1;", "VACUUM users;"] {
        let files = contract(&format!("{company}\n{index}"));
        assert!(!files.of(Rule::MustRunAlone).is_empty(), "{company}: {}", files.linted());
        assert!(
            read(Kind::Postgres, SchemaPhase::Contract, format!("{company}\n{index}").as_bytes()).is_err()
        );
    }
}
