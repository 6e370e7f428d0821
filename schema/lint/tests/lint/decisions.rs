//! Where a rule has to tell like from like: tables of what it takes for which.

use crate::files::{backfill, expand};
use handover_lint::Rule;

#[test]
fn a_write_is_bounded_by_a_limit_a_range_or_a_key_that_every_row_has_to_pass() {
    for (text, bounded) in [
        ("UPDATE users SET a = 1", false),
        ("UPDATE users SET a = (SELECT b FROM c WHERE c.id = users.id LIMIT 1)", false),
        ("UPDATE users u SET a = 1 WHERE u.id = 5", true),
        ("UPDATE users SET a = 1 WHERE id = $1", true),
        ("UPDATE users SET a = 1 WHERE id = ANY ($1)", true),
        ("UPDATE users SET a = 1 WHERE id > $1 AND id <= $1 + 1000", true),
        ("UPDATE users SET a = 1 WHERE id >= 5 AND (id < 10 AND a IS NULL)", true),
        ("UPDATE users SET a = 1 WHERE id > 5", false),
        ("UPDATE users SET a = 1 WHERE id > 5 AND age < 10", false),
        ("UPDATE users SET a = 1 WHERE id > 5 OR id < 10", false),
        ("UPDATE users SET a = 1 WHERE id BETWEEN 1 AND 10", true),
        ("UPDATE users SET a = 1 WHERE NOT id BETWEEN 1 AND 10", false),
        ("UPDATE users SET a = 1 WHERE id NOT BETWEEN 1 AND 10", false),
        ("UPDATE users SET a = 1 WHERE id BETWEEN a AND b", false),
        ("UPDATE users SET a = 1 WHERE id NOT IN (SELECT id FROM x LIMIT 1)", false),
        ("UPDATE users SET a = 1 WHERE id IN (SELECT id FROM x)", false),
        ("UPDATE users SET a = 1 WHERE EXISTS (SELECT 1 FROM x LIMIT 1)", false),
        ("UPDATE users SET a = 1 WHERE (id, b) IN (SELECT id, b FROM users WHERE a IS NULL LIMIT 100)", true),
        ("UPDATE users SET a = 1 FROM (SELECT id FROM users LIMIT 10) x WHERE x.id = users.id", true),
        ("UPDATE users SET (a, b) = (1, 2) WHERE born >= '2020-01-01' AND born < '2020-02-01'", true),
        ("UPDATE users SET a = 1 WHERE status = 'old'", false),
        ("UPDATE users SET a = 1 WHERE id % 10 = 3", false),
        ("DELETE FROM users WHERE id IN (1, 2, 3)", true),
        ("DELETE FROM users WHERE id = 1 OR true", false),
        ("DELETE FROM users WHERE id = (SELECT max(id) FROM users)", true),
        ("DELETE FROM users WHERE ctid IN (SELECT ctid FROM users LIMIT ALL)", false),
        ("DELETE FROM users WHERE ctid IN (SELECT ctid FROM users FETCH FIRST 10 ROWS ONLY)", true),
        ("DELETE FROM users WHERE CURRENT OF c", true),
        ("WITH x AS (SELECT id FROM users LIMIT 10) DELETE FROM users USING x WHERE users.id = x.id", true),
        (
            "WITH x AS (SELECT id FROM users LIMIT 10), y AS (DELETE FROM users USING x WHERE users.id = x.id \
             RETURNING *) INSERT INTO old SELECT * FROM y",
            true,
        ),
        ("WITH y AS (DELETE FROM users RETURNING *) SELECT count(*) FROM y", false),
        ("INSERT INTO a SELECT * FROM generate_series(1, 10) g", true),
        ("INSERT INTO roles SELECT 'a' WHERE NOT EXISTS (SELECT 1 FROM roles WHERE name = 'a')", true),
        ("INSERT INTO a SELECT * FROM b", false),
        ("INSERT INTO a SELECT * FROM b WHERE id BETWEEN 1 AND 1000", true),
        ("INSERT INTO a TABLE b", false),
        ("MERGE INTO users u USING new n ON u.id = n.id WHEN MATCHED THEN UPDATE SET a = n.a", false),
        ("CREATE RULE r AS ON INSERT TO a DO ALSO UPDATE users SET a = 1", true),
    ] {
        let found = !backfill(text).of(Rule::WholeTableWrite).is_empty();
        assert_eq!(found, !bounded, "{text}: {}", backfill(text).linted());
    }
}

#[test]
fn a_default_is_the_same_for_all_rows_or_it_is_not_known_to_be() {
    for (default, same) in [
        ("NULL", true),
        ("-1 NOT NULL", true),
        ("CURRENT_TIMESTAMP", true),
        ("'{}'::text[]", true),
        ("ARRAY[]::text[]", true),
        ("now() + interval '1 day'", true),
        ("pg_catalog.now()", true),
        ("(now() AT TIME ZONE 'utc')::date", true),
        ("jsonb_build_object('a', lower('B'))", true),
        ("lower(md5(random()::text))", false),
        ("gen_random_uuid()", false),
        ("public.uuid_generate_v4()", false),
        ("clock_timestamp()", false),
        ("nextval('a')", false),
        ("shop.opening()", false),
    ] {
        let text = format!("ALTER TABLE users ADD COLUMN x text DEFAULT {default};");
        let found = !expand(&text).of(Rule::AddColumnVolatileDefault).is_empty();
        assert_eq!(found, !same, "{default}: {}", expand(&text).linted());
    }
}

#[test]
fn what_nobody_notices_is_not_found() {
    for text in [
        "ALTER TABLE ONLY users ADD COLUMN IF NOT EXISTS x int, ADD COLUMN IF NOT EXISTS y int",
        "ALTER TABLE users ALTER COLUMN a SET STATISTICS 100, ALTER COLUMN b SET STORAGE EXTERNAL",
        "ALTER TABLE users RENAME CONSTRAINT a TO b",
        "ALTER TABLE users SET WITHOUT CLUSTER, SET (autovacuum_enabled = false)",
        "ALTER INDEX a RENAME TO b",
        "ALTER SEQUENCE s OWNED BY users.id",
        "ALTER DOMAIN zip RENAME CONSTRAINT a TO b",
        "CREATE TABLE x AS SELECT id FROM users",
        "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE EXTENSION IF NOT EXISTS pgcrypto",
        "CREATE INDEX ON ONLY events (at)",
        "CREATE TABLE p PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
        "CREATE STATISTICS s ON a, b FROM users",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO web",
        "COMMENT ON TABLE users IS 'the people'",
        "SET search_path = a, b",
        "INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET b = 2",
        "SELECT setval('a', 10)",
    ] {
        assert_eq!(expand(text).linted().findings, Vec::new(), "{text}");
    }
}

#[test]
fn a_unique_constraint_and_its_index_are_over_the_same() {
    let found = expand("ALTER TABLE users ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a, \"B\") INCLUDE (c)")
        .of(Rule::UniqueBuildsIndex);
    let sql: Vec<&str> = found[0].steps.iter().filter_map(|step| step.sql.as_deref()).collect();
    assert_eq!(
        sql,
        [
            "CREATE UNIQUE INDEX CONCURRENTLY u ON users (a, \"B\") INCLUDE (c) NULLS NOT DISTINCT;",
            "ALTER TABLE users ADD CONSTRAINT u UNIQUE USING INDEX u;",
        ]
    );
}
