//! What a report says, and what it rests on.

use crate::files::{Files, VERSION, contract, expand, file};
use handover_lint::{
    Code, Context, DatabaseKind, Migration, Name, Outcome, Release, Rule, SchemaPhase, Severity, lint,
};
use handover_model::{SchemaRange, SchemaVersion};
use std::collections::{BTreeMap, BTreeSet};

fn rules(report: &handover_lint::Report) -> Vec<Rule> {
    report.findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_finding_has_its_place_whatever_stands_before_it() {
    for before in [
        "",
        "\t",
        "/* ä */ ",
        "/* 日本 */ ",
        "SELECT 'a\u{301}';  ",
        "\r\n-- a comment; with a semicolon\r\n",
    ] {
        let text = format!("{before}ALTER TABLE users\n  ADD COLUMN a int,\n  RENAME COLUMN \"na;me\" TO b;");
        let text = text.replace("ADD COLUMN a int,\n  ", "");
        let report = expand(&text).linted();
        assert_eq!(rules(&report), [Rule::RenameColumn], "{report}");
        let finding = &report.findings[0];
        assert_eq!(&text[finding.range.clone()], "RENAME COLUMN \"na;me\" TO b");
        assert_eq!(finding.column, 3);
        assert_eq!(text.lines().nth(finding.line as usize - 1), Some("  RENAME COLUMN \"na;me\" TO b;"));
        assert!(finding.to_string().contains("|   ^^^^^^^^^^^^^^^^^^^^^^^^^^"), "{finding}");
        assert!(finding.statement.starts_with("ALTER TABLE users\n"), "{finding:?}");
    }
}

#[test]
fn a_rename_is_told_over_three_releases_with_the_names_of_the_statement() {
    let report = expand("alter table Shop.\"Users\" rename \"Name\" to full_name").linted();
    let steps = &report.findings[0].steps;
    let releases: Vec<Release> = steps.iter().map(|step| step.release).collect();
    assert!(releases.contains(&Release::Next) && releases.contains(&Release::AfterNext), "{report}");
    let sql: Vec<&str> = steps.iter().filter_map(|step| step.sql.as_deref()).collect();
    assert_eq!(sql[0], "ALTER TABLE Shop.\"Users\" ADD COLUMN full_name text;");
    assert!(sql[1].starts_with("UPDATE Shop.\"Users\" SET full_name = \"Name\"\n"), "{}", sql[1]);
    assert_eq!(sql[2], "ALTER TABLE Shop.\"Users\" DROP COLUMN \"Name\";");
}

#[test]
fn the_type_of_a_column_is_taken_from_where_it_is_known() {
    let mut context = Context::postgresql(15);
    context.types =
        BTreeMap::from([((Name::new(None, "users"), "name".to_owned()), "varchar(40)".to_owned())]);
    let widened = expand("ALTER TABLE public.users ALTER name TYPE varchar(80);").linted_with(&context);
    assert_eq!(rules(&widened), [], "{widened}");
    let narrowed = expand("ALTER TABLE users ALTER name TYPE varchar(20);").linted_with(&context);
    assert_eq!(rules(&narrowed), [Rule::ChangeType]);
    assert!(narrowed.findings[0].message.contains("from varchar(40) to varchar(20)"), "{narrowed}");
    let renamed = expand("ALTER TABLE users RENAME name TO full_name;").linted_with(&context);
    assert_eq!(
        renamed.findings[0].steps[0].sql.as_deref(),
        Some("ALTER TABLE users ADD COLUMN full_name varchar(40);")
    );
}

#[test]
fn a_contract_may_drop_what_its_own_code_does_not_use() {
    let mut context = Context::postgresql(15);
    let columns = |uses: &str| vec![uses.parse().unwrap()];
    for (uses, text, rule) in [
        ("users.name", "ALTER TABLE users DROP COLUMN name;", Some(Rule::DropColumn)),
        ("users.*", "ALTER TABLE users DROP COLUMN name;", Some(Rule::DropColumn)),
        ("users.name", "ALTER TABLE users DROP COLUMN age;", None),
        ("users.name", "ALTER TABLE shop.users DROP COLUMN name;", None),
        ("shop.users.\"Name\"", "ALTER TABLE Shop.Users DROP COLUMN \"Name\";", Some(Rule::DropColumn)),
        ("users.name", "DROP TABLE users;", Some(Rule::DropTable)),
        ("users.name", "DROP TABLE orders;", None),
        ("users.name", "TRUNCATE public.users;", Some(Rule::Truncate)),
    ] {
        let reads = SchemaRange::new(SchemaVersion::NONE, VERSION).unwrap();
        context.code = Some(Code { reads, uses: columns(uses) });
        let report = contract(text).linted_with(&context);
        assert_eq!(report.findings.first().map(|finding| finding.rule), rule, "{text}: {report}");
        if let Some(finding) = report.findings.first() {
            assert_eq!(finding.severity, Severity::Fail);
            let said = format!(", and the release says that its code uses {uses}");
            assert!(finding.message.ends_with(&said), "{report}");
        }
    }
    // The end of a rename by way of a view: the columns are there, now the table's own.
    let reads = SchemaRange::new(SchemaVersion::NONE, VERSION).unwrap();
    context.code = Some(Code { reads, uses: columns("people.name") });
    let renamed = contract("DROP VIEW people; ALTER TABLE users RENAME TO people;").linted_with(&context);
    assert_eq!(rules(&renamed), [], "{renamed}");
    let anew = contract("DROP VIEW people; CREATE VIEW people AS SELECT 1 AS a;").linted_with(&context);
    assert_eq!(rules(&anew), [Rule::DropTable], "{anew}");
    // A file of an earlier release stays in the folder: the code was written after it.
    let later = SchemaVersion::new(VERSION.number() + 1);
    let reads = SchemaRange::new(later, later).unwrap();
    context.code = Some(Code { reads, uses: columns("users.name") });
    assert_eq!(rules(&contract("DROP TABLE users;").linted_with(&context)), []);
}

#[test]
fn what_is_gone_after_a_file_is_told_whatever_uses_it() {
    let gone = |files: Files| {
        let report = files.linted();
        assert!(report.gone.iter().all(|gone| gone.version == VERSION), "{report}");
        report.gone.iter().map(|gone| gone.what.to_string()).collect::<Vec<_>>().join(" ")
    };
    for (text, expected) in [
        ("ALTER TABLE users DROP COLUMN \"Name\", DROP age;", "users.\"Name\" users.age"),
        ("ALTER TABLE IF EXISTS ONLY shop.users DROP COLUMN IF EXISTS name;", "shop.users.name"),
        ("DROP TABLE a, shop.b;", "a.* shop.b.*"),
        ("DROP SCHEMA shop, billing;", "shop.*.* billing.*.*"),
        ("DROP OWNED BY shop;", "*.*.*"),
        ("ALTER TABLE users RENAME COLUMN name TO full_name;", "users.name"),
        ("ALTER TABLE users RENAME TO people;", "users.*"),
        ("ALTER VIEW users RENAME COLUMN name TO full_name;", "users.name"),
        ("ALTER SCHEMA shop RENAME TO store;", "shop.*.*"),
        ("ALTER TABLE users SET SCHEMA shop;", "users.*"),
        ("ALTER FUNCTION users SET SCHEMA shop;", ""),
        ("TRUNCATE users;", ""),
        ("CREATE TABLE b (id bigint); DROP TABLE b;", ""),
        ("DROP VIEW people; ALTER TABLE users RENAME TO people;", "users.*"),
        ("DROP VIEW shop.users; ALTER TABLE users SET SCHEMA shop;", "users.*"),
        ("DROP VIEW people; CREATE VIEW people AS SELECT 1 AS a;", "people.*"),
        ("DROP TABLE people; ALTER TABLE users RENAME TO people;", "people.* users.*"),
        ("CREATE VIEW people AS SELECT 1 AS a; DROP VIEW people;", ""),
        ("ALTER VIEW people RENAME TO persons;", "people.*"),
        ("ALTER VIEW people SET SCHEMA shop;", "people.*"),
        ("ALTER MATERIALIZED VIEW people RENAME COLUMN name TO full_name;", "people.name"),
        ("ALTER FOREIGN TABLE users DROP COLUMN name;", "users.name"),
        ("ALTER TABLE users MERGE PARTITIONS (a, shop.b) INTO c;", "a.* shop.b.*"),
        (
            "ALTER TABLE users SPLIT PARTITION a INTO (PARTITION b FOR VALUES IN (1), PARTITION c DEFAULT);",
            "a.*",
        ),
        ("CREATE TABLE IF NOT EXISTS users (name text); ALTER TABLE users DROP COLUMN name;", "users.name"),
        (
            "ALTER TABLE users ADD COLUMN IF NOT EXISTS name text; ALTER TABLE users DROP COLUMN name;",
            "users.name",
        ),
        ("ALTER TABLE users ADD COLUMN name text; ALTER TABLE users DROP COLUMN name;", ""),
        ("CREATE TYPE users AS ENUM ('a'); DROP TABLE users;", "users.*"),
        (
            "CREATE MATERIALIZED VIEW s AS SELECT 1 AS a; DROP MATERIALIZED VIEW stats; ALTER MATERIALIZED VIEW s RENAME TO stats;",
            "stats.*",
        ),
        ("CREATE TABLE p (a bigint); DROP VIEW people; ALTER TABLE p RENAME TO people;", "people.*"),
        (
            "DROP VIEW people; ALTER TABLE users DROP COLUMN name; ALTER TABLE users RENAME TO people;",
            "people.* users.name users.*",
        ),
        (
            "DROP VIEW people; ALTER TABLE users RENAME TO people; ALTER TABLE people RENAME name TO full_name;",
            "people.* users.* people.name",
        ),
        ("DROP VIEW people; ALTER VIEW persons RENAME TO people;", "people.* persons.*"),
        ("ALTER TABLE orders ADD COLUMN total numeric, DROP COLUMN total;", "orders.total"),
        ("SET SCHEMA 'shop'; DROP TABLE invoices;", "*.*.*"),
        (
            "SET LOCAL search_path = archive; CREATE TABLE users AS SELECT 1 AS a; DROP TABLE public.users;",
            "users.*",
        ),
        ("CREATE TABLE users (a bigint); SET search_path = archive; DROP TABLE users;", "*.*.*"),
        ("CREATE TEMP TABLE users AS SELECT 1 AS a; DROP TABLE public.users;", "users.*"),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT 1'; ALTER TABLE users DROP COLUMN name;",
            "users.name",
        ),
        ("ALTER ROLE shop SET search_path = shop; DROP TABLE users;", "users.*"),
        ("SET LOCAL search_path = shop; DROP TABLE public.users;", "users.*"),
        (
            "SET LOCAL search_path = shop; ALTER TABLE users DROP name, ADD b text; DROP TABLE a.b;",
            "*.*.* a.b.*",
        ),
        ("SELECT set_config('Search_Path', 'shop', true); DROP TABLE users;", "*.*.*"),
        ("DROP TABLE people; CREATE TABLE people (a bigint);", "people.*"),
        ("ALTER TABLE users DROP name, ADD name text;", "users.name"),
        ("ALTER TABLE users DRP name;", "*.*.*"),
        (
            "-- handover: allow syntax-error because the parser does not know it\nALTER TABLE users DRP name;",
            "",
        ),
        ("-- handover: allow drop-table because it is empty\nDROP TABLE users;", "users.*"),
        ("SELECT 1;", ""),
    ] {
        assert_eq!(gone(contract(text)), expected, "{text}");
    }
    assert_eq!(
        gone(expand("ALTER TABLE users DROP COLUMN name;")),
        "users.name",
        "also where it must not be"
    );
    let made_before = expand("CREATE TABLE users (name text);");
    assert_eq!(gone(made_before.then(expand("ALTER TABLE users DROP COLUMN name;"))), "users.name");
}

#[test]
fn what_files_of_earlier_releases_made_is_in_use() {
    let migration = |file, version, text| Migration {
        file,
        text,
        phase: SchemaPhase::Expand,
        version: SchemaVersion::new(version),
        transaction: None,
    };
    let files = [
        migration("1.sql", 1, "CREATE TABLE users (id bigint, name text);"),
        migration("2.sql", 2, "CREATE INDEX ON users (name);"),
        migration("42.sql", 42, "ALTER TABLE users DROP COLUMN name;"),
    ];
    let linted = |code| {
        let context = Context { code, ..Context::postgresql(15) };
        let Outcome::Linted(report) = lint(&files, &context) else { panic!() };
        rules(&report)
    };
    assert_eq!(linted(None), []);
    let code = |reads: &str| Some(Code { reads: reads.parse().unwrap(), uses: Vec::new() });
    assert_eq!(linted(code("1..=50")), [], "all of them may be new");
    assert_eq!(
        linted(code("41..=50")),
        [Rule::DropColumn],
        "what the first ones do among each other is done"
    );
}

#[test]
fn what_was_made_in_a_phase_is_free_until_the_next_one() {
    let made = "CREATE TABLE pets (id bigint);";
    let index = "CREATE INDEX ON pets (id);";
    assert_eq!(rules(&expand(made).then(expand(index)).linted()), []);
    assert_eq!(rules(&expand(made).then(contract(index)).linted()), [Rule::IndexNotConcurrent]);
    let mut context = Context::postgresql(15);
    context.made.insert(Name::new(None, "pets"));
    assert_eq!(rules(&expand(index).linted_with(&context)), []);
    assert_eq!(
        rules(&expand("CREATE TABLE other.pets (id bigint);").then(expand(index)).linted()),
        [Rule::IndexNotConcurrent]
    );
}

#[test]
fn files_are_read_in_the_order_of_their_phases_and_then_as_given() {
    let files = contract("DROP TABLE a CASCADE;").then(expand("DROP TABLE b;")).then(expand("DROP TABLE c;"));
    let report = files.linted();
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.file.as_str()).collect();
    assert_eq!(found, ["expand/1.sql", "expand/2.sql", "contract/0.sql"]);
    assert_eq!(report.statements, 3);
}

#[test]
fn what_is_not_postgresql_is_not_linted_and_that_is_no_pass() {
    for database in [DatabaseKind::MySql, DatabaseKind::Sqlite] {
        let mut context = Context::postgresql(15);
        context.database = database;
        let migration = Migration {
            file: "a.sql",
            text: "SELECT 1",
            phase: SchemaPhase::Expand,
            version: VERSION,
            transaction: None,
        };
        let outcome = lint(&[migration], &context);
        assert_eq!(outcome, Outcome::NotLinted { database });
        assert!(outcome.to_string().starts_with("not linted: "), "{outcome}");
    }
}

#[test]
fn what_the_runner_refuses_is_known_of_every_kind_of_database() {
    for (database, text, says) in [
        (DatabaseKind::MySql, "CREATE TABLE a (n INT);\nUSE other;", "the runner refuses the file: USE: "),
        (DatabaseKind::MySql, "SET foreign_key_checks = 0;\nDROP TABLE a;", "SET STATEMENT"),
        (DatabaseKind::Sqlite, "SELECT 1;\nCOMMIT;", "transactions are the runner's"),
    ] {
        let mut context = Context::postgresql(15);
        context.database = database;
        let migration = Migration {
            file: "a.sql",
            text,
            phase: SchemaPhase::Contract,
            version: VERSION,
            transaction: None,
        };
        let Outcome::Linted(report) = lint(&[migration], &context) else { panic!("{text} is refused") };
        assert_eq!(rules(&report), [Rule::NotTaken], "{report}");
        assert!(report.findings[0].message.contains(says) && !report.passes(), "{report}");
    }
    let dropped = contract("ALTER TABLE events DETACH PARTITION y2020;").on(12);
    let advice = dropped.of(Rule::DetachPartition).remove(0).to_string();
    assert!(
        advice.contains("from PostgreSQL 14 on") && advice.contains("before, there is no other way"),
        "{advice}"
    );
}

#[test]
fn a_comment_allows_one_rule_for_the_statement_under_it() {
    let allow = "-- handover: allow drop-column because it was never written\n";
    assert_eq!(rules(&expand(&format!("{allow}ALTER TABLE t DROP COLUMN a;")).linted()), []);
    let cascade = expand(&format!("{allow}ALTER TABLE t DROP COLUMN a CASCADE;")).linted();
    assert_eq!(rules(&cascade), [Rule::Cascade]);
    let next = expand(&format!("{allow}ALTER TABLE t DROP COLUMN a;\nALTER TABLE t DROP COLUMN b;")).linted();
    assert_eq!(rules(&next), [Rule::DropColumn]);
    let both = "/* Handover: ALLOW cascade BECAUSE nothing depends on it */\n";
    assert_eq!(rules(&expand(&format!("{allow}{both}ALTER TABLE t DROP COLUMN a CASCADE;")).linted()), []);
    // A comment behind the last statement is above none.
    assert_eq!(rules(&expand(&format!("SELECT 1;\n{allow}")).linted()), [Rule::AllowUnused]);
    // Neither is text in a string.
    assert_eq!(
        rules(&expand(&format!("SELECT '\n{allow}'; ALTER TABLE t DROP COLUMN a;")).linted()),
        [Rule::DropColumn]
    );
}

#[test]
fn what_a_comment_lacks_is_told() {
    for (comment, rule, says) in [
        ("-- handover: allow", Rule::AllowUnknown, "write -- handover: allow RULE because WHY"),
        ("-- handover: ignore drop-column because x", Rule::AllowUnknown, "\"ignore\" is not known"),
        ("-- handover: lock_timeout=5", Rule::AllowUnknown, "is no time"),
        ("-- handover: allow drop-colum because x", Rule::AllowUnknown, "did you mean drop-column?"),
        (
            "-- handover: allow too-large because x",
            Rule::AllowUnknown,
            "too-large is no rule that can be allowed",
        ),
        ("-- handover: allow drop-column", Rule::AllowWithoutReason, "without a reason"),
        ("-- handover: allow drop-column because", Rule::AllowWithoutReason, "without a reason"),
        ("-- handover: allow drop-column it is unused", Rule::AllowWithoutReason, "without a reason"),
    ] {
        let report = expand(&format!("{comment}\nALTER TABLE t DROP COLUMN a;")).linted();
        assert_eq!(rules(&report), [rule, Rule::DropColumn], "{comment}");
        assert!(report.findings[0].message.contains(says), "{comment}: {report}");
        assert_eq!((report.findings[0].line, report.findings[0].column), (1, 1));
    }
}

#[test]
fn one_statement_that_cannot_be_read_leaves_the_others() {
    let report =
        expand("ALTER TABLE a ADD COLUMN;\nALTER TABLE b NONSENSE c;\nDROP TABLE d;\n\\i other.sql").linted();
    assert_eq!(
        rules(&report),
        [Rule::SyntaxError, Rule::SyntaxError, Rule::DropTable, Rule::NeedsClient],
        "{report}"
    );
    assert_eq!(report.statements, 4);
}

#[test]
fn json_has_everything_but_the_drawing() {
    let report = expand("CREATE INDEX users_age ON users (age);").linted();
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        serde_json::json!({
            "findings": [{
                "rule": "index-not-concurrent",
                "severity": "fail",
                "file": "expand/0.sql",
                "phase": "expand",
                "range": [0, 37],
                "line": 1,
                "column": 1,
                "statement": "CREATE INDEX users_age ON users (age)",
                "message": "users_age on users is made without CONCURRENTLY",
                "why": "writers wait until it is built",
                "steps": [{
                    "release": "this",
                    "part": "expand",
                    "words": "alone in its file, outside a transaction",
                    "sql": "CREATE INDEX CONCURRENTLY users_age ON users (age);",
                }],
            }],
            "left_out": 0,
            "statements": 1, "gone": [],
        })
    );
}

#[test]
fn severity_follows_the_phase() {
    for phase in SchemaPhase::ALL {
        let report = file(phase, "ALTER TABLE t DROP COLUMN a;").linted();
        let severity = report.findings.first().map(|finding| finding.severity);
        assert_eq!(severity, Rule::DropColumn.severity(phase), "{phase}");
    }
}

#[test]
fn names_of_rules_are_kept_apart_and_found_again() {
    let mut ids = BTreeSet::new();
    for rule in Rule::ALL {
        assert!(ids.insert(rule.id()), "{rule} stands there twice");
        assert_eq!(Rule::from_id(rule.id()), Some(*rule));
        assert!(rule.id().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{rule}");
    }
}
