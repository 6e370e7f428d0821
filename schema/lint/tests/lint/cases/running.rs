//! How a migration runs: what it rewrites, locks and writes; and the files themselves.

use super::{Case, case};
use crate::files::{backfill, contract, expand};
use handover_lint::Rule;

pub(super) fn cases() -> Vec<Case> {
    [rewrites(), locks(), transactions(), advice(), files()].into_iter().flatten().collect()
}

fn rewrites() -> Vec<Case> {
    vec![
        case(
            Rule::ChangeType,
            contract("ALTER TABLE users ALTER COLUMN age TYPE bigint USING age::bigint;"),
            expand("ALTER TABLE users ADD COLUMN age_new bigint;"),
        ),
        case(
            Rule::ChangeType,
            expand("ALTER TABLE users ALTER COLUMN name SET DATA TYPE varchar(80);"),
            expand(
                "ALTER TABLE users ADD COLUMN name text; ALTER TABLE users ALTER COLUMN name TYPE varchar;",
            ),
        ),
        case(
            Rule::AddColumnVolatileDefault,
            expand("ALTER TABLE users ADD COLUMN token uuid DEFAULT gen_random_uuid();"),
            expand(
                "ALTER TABLE users ADD COLUMN token uuid; ALTER TABLE users ALTER token SET DEFAULT gen_random_uuid();",
            ),
        ),
        case(
            Rule::AddColumnVolatileDefault,
            expand("ALTER TABLE users ADD COLUMN at timestamptz DEFAULT shop.opening();"),
            expand("ALTER TABLE users ADD COLUMN at timestamptz NOT NULL DEFAULT now();"),
        ),
        case(
            Rule::AddColumnVolatileDefault,
            expand("ALTER TABLE users ADD COLUMN age int DEFAULT 1 + 1;").on(10),
            expand("ALTER TABLE users ADD COLUMN age int DEFAULT (1 + 1);").on(11),
        ),
        case(
            Rule::AddColumnSerial,
            expand("ALTER TABLE shop.users ADD COLUMN number bigserial;"),
            expand("ALTER TABLE shop.users ADD COLUMN number bigint;"),
        ),
        case(
            Rule::AddColumnSerial,
            expand("ALTER TABLE users ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;"),
            expand("CREATE TABLE users (number bigint GENERATED ALWAYS AS IDENTITY);"),
        ),
        case(
            Rule::AddColumnGenerated,
            expand("ALTER TABLE users ADD COLUMN initial text GENERATED ALWAYS AS (left(name, 1)) STORED;"),
            expand("ALTER TABLE users ADD COLUMN initial text GENERATED ALWAYS AS (left(name, 1)) VIRTUAL;")
                .on(18),
        ),
        case(
            Rule::AddColumnJson,
            expand("ALTER TABLE users ADD COLUMN settings json;"),
            expand("ALTER TABLE users ADD COLUMN settings jsonb;"),
        ),
        case(
            Rule::RewriteTable,
            contract("ALTER TABLE users SET TABLESPACE fast;"),
            contract("ALTER TABLE users SET (fillfactor = 70);"),
        ),
        case(
            Rule::RewriteTable,
            expand("ALTER TABLE users SET UNLOGGED;"),
            expand("CREATE UNLOGGED TABLE sessions (id bigint);"),
        ),
    ]
}

fn locks() -> Vec<Case> {
    vec![
        case(
            Rule::IndexNotConcurrent,
            expand("CREATE INDEX IF NOT EXISTS users_age ON users (age) WHERE age > 17;"),
            expand("CREATE INDEX CONCURRENTLY IF NOT EXISTS users_age ON users (age) WHERE age > 17;"),
        ),
        case(
            Rule::IndexNotConcurrent,
            contract("CREATE UNIQUE INDEX ON users (email);"),
            expand("CREATE TABLE pets (name text); CREATE INDEX ON pets (name);"),
        ),
        case(
            Rule::DropIndexNotConcurrent,
            contract("DROP INDEX users_age, users_name;"),
            contract("DROP INDEX CONCURRENTLY users_age;"),
        ),
        case(
            Rule::ReindexNotConcurrent,
            contract("REINDEX TABLE users;"),
            contract("REINDEX TABLE CONCURRENTLY users;"),
        ),
        case(
            Rule::AttachPartition,
            expand(
                "ALTER TABLE events ATTACH PARTITION y2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');",
            ),
            expand(
                "CREATE TABLE y2026 (at timestamptz); ALTER TABLE events ATTACH PARTITION y2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');",
            ),
        ),
        case(
            Rule::DetachPartition,
            contract("ALTER TABLE events DETACH PARTITION y2020;"),
            contract("ALTER TABLE events DETACH PARTITION y2020 CONCURRENTLY;"),
        ),
        case(
            Rule::LockTable,
            expand("LOCK TABLE users, orders IN SHARE ROW EXCLUSIVE MODE;"),
            expand("LOCK TABLE users IN ROW EXCLUSIVE MODE;"),
        ),
        case(
            Rule::VacuumFull,
            contract("VACUUM (FULL, VERBOSE) users;"),
            contract("VACUUM (ANALYZE) users;"),
        ),
        case(Rule::Cluster, contract("CLUSTER users USING users_age;"), contract("ANALYZE users;")),
        case(
            Rule::RefreshNotConcurrent,
            backfill("REFRESH MATERIALIZED VIEW totals;"),
            backfill("REFRESH MATERIALIZED VIEW CONCURRENTLY totals;"),
        ),
    ]
}

fn transactions() -> Vec<Case> {
    vec![
        case(
            Rule::TransactionControl,
            expand("BEGIN; ALTER TABLE users ADD COLUMN age int; COMMIT;"),
            expand("ALTER TABLE users ADD COLUMN age int;"),
        ),
        case(
            Rule::MustRunAlone,
            expand("ALTER TABLE users ADD COLUMN age int; CREATE INDEX CONCURRENTLY a ON users (age);"),
            expand("ALTER TABLE users ADD COLUMN age int;")
                .then(expand("CREATE INDEX CONCURRENTLY a ON users (age);")),
        ),
        case(
            Rule::MustRunAlone,
            expand("SET maintenance_work_mem = '1GB'; CREATE INDEX CONCURRENTLY a ON users (age);"),
            expand("CREATE INDEX CONCURRENTLY a ON users (age);"),
        ),
        case(
            Rule::NotTaken,
            expand(
                "-- handover: batch table=users key=id\nUPDATE users SET age = 1 WHERE id BETWEEN :first AND :last;",
            ),
            backfill(
                "/* Handover: batch table=users key=id */ UPDATE users SET age = 1 WHERE id BETWEEN :FIRST AND :Last;",
            ),
        ),
        case(
            Rule::NotTaken,
            expand("SELECT 1;\n-- handover: lock_timeout=5s\nALTER TABLE users ADD COLUMN age int;"),
            expand("-- handover: lock_timeout=5s\nALTER TABLE users ADD COLUMN age int;"),
        ),
        case(
            Rule::NotTaken,
            expand(
                "-- handover: no transaction\nALTER TABLE users ADD COLUMN age int; ALTER TABLE users ADD COLUMN size int;",
            ),
            expand("-- handover: no transaction\nALTER TABLE users ADD COLUMN age int;"),
        ),
        case(
            Rule::MustRunAlone,
            expand("CREATE INDEX CONCURRENTLY a ON users (age);").in_a_transaction(true),
            expand("CREATE INDEX CONCURRENTLY a ON users (age);").in_a_transaction(false),
        ),
        case(
            Rule::WholeTableWrite,
            backfill("UPDATE users SET full_name = name WHERE full_name IS NULL;"),
            backfill(
                "UPDATE users SET full_name = name WHERE id IN (SELECT id FROM users WHERE full_name IS NULL LIMIT 1000);",
            ),
        ),
        case(
            Rule::WholeTableWrite,
            expand("DELETE FROM sessions;"),
            backfill("DELETE FROM sessions WHERE id > $1 AND id <= $2;"),
        ),
        case(
            Rule::WholeTableWrite,
            expand("INSERT INTO people (id, name) SELECT id, name FROM users;"),
            expand(
                "CREATE TABLE people (id bigint, name text); INSERT INTO people (id, name) SELECT id, name FROM users;",
            ),
        ),
        case(
            Rule::DdlAndRows,
            expand(
                "ALTER TABLE users ADD COLUMN full_name text; UPDATE users SET full_name = name WHERE id BETWEEN 1 AND 100;",
            ),
            expand("ALTER TABLE users ADD COLUMN full_name text;")
                .then(backfill("UPDATE users SET full_name = name WHERE id BETWEEN 1 AND 100;")),
        ),
        case(
            Rule::SeveralTables,
            expand("ALTER TABLE users ADD COLUMN a int; ALTER TABLE orders ADD COLUMN a int;"),
            expand("ALTER TABLE users ADD COLUMN a int; ALTER TABLE users ADD COLUMN b int;")
                .then(expand("ALTER TABLE orders ADD COLUMN a int;")),
        ),
        case(
            Rule::TimeoutOff,
            expand("SET lock_timeout = 0; ALTER TABLE users ADD COLUMN a int;"),
            expand("SET LOCAL lock_timeout = '2s'; ALTER TABLE users ADD COLUMN a int;"),
        ),
        case(Rule::TimeoutOff, expand("RESET ALL;"), expand("RESET search_path;")),
        case(
            Rule::OpaqueCode,
            expand("DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$;"),
            expand(
                "-- handover: allow opaque-code because it only notices something\nDO $$ BEGIN RAISE NOTICE 'hello'; END $$;",
            ),
        ),
        case(Rule::NeedsClient, expand("\\connect other\nSELECT 1;"), expand("SELECT 1;")),
        case(
            Rule::NeedsClient,
            expand("COPY users (id, name) FROM STDIN;"),
            expand("INSERT INTO users (id, name) VALUES (1, 'a'), (2, 'b');"),
        ),
    ]
}

fn advice() -> Vec<Case> {
    vec![
        case(
            Rule::CharType,
            expand("CREATE TABLE pets (code char(2));"),
            expand("CREATE TABLE pets (code text);"),
        ),
        case(
            Rule::VarcharLimit,
            expand("ALTER TABLE pets ADD COLUMN name varchar(80);"),
            expand("ALTER TABLE pets ADD COLUMN name varchar;"),
        ),
        case(
            Rule::TimestampWithoutZone,
            expand("CREATE TABLE pets (born timestamp);"),
            expand("CREATE TABLE pets (born timestamp with time zone);"),
        ),
        case(
            Rule::SmallKey,
            expand("CREATE TABLE pets (id int PRIMARY KEY, age int);"),
            expand("CREATE TABLE pets (id bigint PRIMARY KEY, age int);"),
        ),
        case(
            Rule::SerialColumn,
            expand("CREATE TABLE pets (id bigserial PRIMARY KEY);"),
            expand("CREATE TABLE pets (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);"),
        ),
        case(
            Rule::WideIndex,
            expand("CREATE INDEX CONCURRENTLY wide ON users (a, b, c, d);"),
            expand("CREATE INDEX CONCURRENTLY narrow ON users (d, b);"),
        ),
        case(
            Rule::NameTooLong,
            expand(
                "ALTER TABLE users ADD COLUMN a_name_that_is_far_longer_than_anybody_could_ever_want_to_type_again int;",
            ),
            expand("ALTER TABLE users ADD COLUMN a_name int;"),
        ),
        case(
            Rule::AssignedTwice,
            backfill("UPDATE users SET a = 1, b = 2, a = 3 WHERE id = 1;"),
            backfill("UPDATE users SET a = 1, b = 2 WHERE id = 1;"),
        ),
    ]
}

fn files() -> Vec<Case> {
    vec![
        case(
            Rule::SyntaxError,
            expand("ALTER TABLE users ADD COLUMN;"),
            expand("ALTER TABLE users ADD COLUMN age int;"),
        ),
        case(
            Rule::TooLarge,
            expand(&format!("SELECT {}1{};", "(".repeat(6000), ")".repeat(6000))),
            expand(&format!("SELECT {}1{};", "(".repeat(20), ")".repeat(20))),
        ),
        case(
            Rule::AllowWithoutReason,
            expand("-- handover: allow drop-column\nALTER TABLE users DROP COLUMN age;"),
            expand(
                "-- handover: allow drop-column because nothing ever read it\nALTER TABLE users DROP COLUMN age;",
            ),
        ),
        case(
            Rule::AllowUnknown,
            expand("-- handover: allow drop-colum because nothing reads it\nSELECT 1;"),
            expand("-- handover is a deployer\nSELECT 1;"),
        ),
        case(
            Rule::AllowUnused,
            expand("-- handover: allow drop-column because nothing reads it\nSELECT 1;"),
            expand("SELECT 1;"),
        ),
    ]
}
