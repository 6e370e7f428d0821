//! Each rule with a migration that breaks it and one that reaches the same end, or nearly so, and does not.

use crate::files::{Files, backfill, contract, expand};
use handover_lint::Rule;

/// A rule with both.
pub(crate) struct Case {
    pub(crate) rule: Rule,
    pub(crate) broken: Files,
    pub(crate) fine: Files,
}

fn case(rule: Rule, broken: Files, fine: Files) -> Case {
    Case { rule, broken, fine }
}

pub(crate) fn all() -> Vec<Case> {
    [names(), drops(), rights(), restrictions(), rewrites(), locks(), transactions(), advice(), files()]
        .concat_cases()
}

trait Together {
    fn concat_cases(self) -> Vec<Case>;
}

impl<const N: usize> Together for [Vec<Case>; N] {
    fn concat_cases(self) -> Vec<Case> {
        self.into_iter().flatten().collect()
    }
}

fn names() -> Vec<Case> {
    vec![
        case(
            Rule::RenameColumn,
            expand("ALTER TABLE users RENAME COLUMN name TO full_name;"),
            expand("ALTER TABLE users ADD COLUMN full_name text;"),
        ),
        case(
            Rule::RenameColumn,
            contract("ALTER TABLE billing.\"Invoices\" RENAME \"from\" TO sender;"),
            expand("CREATE TABLE users (name text); ALTER TABLE users RENAME COLUMN name TO full_name;"),
        ),
        case(
            Rule::RenameTable,
            expand("ALTER TABLE users RENAME TO customers;"),
            contract("DROP VIEW customers; ALTER TABLE users RENAME TO customers;"),
        ),
        case(
            Rule::RenameTable,
            expand("ALTER VIEW active RENAME TO current_users;"),
            expand("CREATE VIEW current_users AS SELECT * FROM active;"),
        ),
        case(
            Rule::RenameSchema,
            expand("ALTER SCHEMA billing RENAME TO invoicing;"),
            expand(
                "CREATE SCHEMA invoicing; CREATE VIEW invoicing.invoices AS SELECT * FROM billing.invoices;",
            ),
        ),
        case(
            Rule::RenameObject,
            expand("ALTER FUNCTION price(int) RENAME TO cost;"),
            expand("CREATE FUNCTION cost(id int) RETURNS int LANGUAGE sql AS 'SELECT price(id)';"),
        ),
        case(
            Rule::RenameObject,
            expand("ALTER TYPE mood RENAME TO feeling;"),
            expand("ALTER INDEX users_name RENAME TO users_full_name;"),
        ),
        case(
            Rule::RenameEnumValue,
            expand("ALTER TYPE status RENAME VALUE 'done' TO 'completed';"),
            expand("ALTER TYPE status ADD VALUE 'completed' AFTER 'done';"),
        ),
        case(
            Rule::MoveToSchema,
            expand("ALTER TABLE users SET SCHEMA people;"),
            contract("DROP VIEW people.users; ALTER TABLE users SET SCHEMA people;"),
        ),
    ]
}

fn drops() -> Vec<Case> {
    vec![
        case(
            Rule::DropColumn,
            expand("ALTER TABLE users DROP COLUMN name;"),
            contract("ALTER TABLE users DROP COLUMN name;"),
        ),
        case(Rule::DropTable, backfill("DROP TABLE users;"), contract("DROP TABLE users;")),
        case(
            Rule::DropTable,
            expand("DROP MATERIALIZED VIEW totals, sums;"),
            expand("CREATE TABLE spare (id bigint); DROP TABLE spare;"),
        ),
        case(Rule::DropObject, expand("DROP FUNCTION price(int);"), contract("DROP FUNCTION price(int);")),
        case(
            Rule::DropObject,
            expand("DROP TRIGGER keep_both ON users;"),
            contract("DROP TRIGGER keep_both ON users;"),
        ),
        case(Rule::DropDatabase, contract("DROP DATABASE shop;"), contract("DROP TABLE shop;")),
        case(Rule::Cascade, contract("DROP TABLE users CASCADE;"), contract("DROP TABLE users;")),
        case(
            Rule::Cascade,
            contract("ALTER TABLE users DROP COLUMN name CASCADE;"),
            contract("ALTER TABLE users DROP COLUMN name RESTRICT;"),
        ),
        case(Rule::Truncate, expand("TRUNCATE users;"), contract("TRUNCATE users;")),
        case(
            Rule::DropDefault,
            expand("ALTER TABLE users ALTER COLUMN age DROP DEFAULT;"),
            contract("ALTER TABLE users ALTER COLUMN age DROP DEFAULT;"),
        ),
        case(
            Rule::DropConstraint,
            expand("ALTER TABLE users DROP CONSTRAINT users_age_check;"),
            contract("ALTER TABLE users DROP CONSTRAINT users_age_check;"),
        ),
        case(
            Rule::DropIndex,
            expand("DROP INDEX CONCURRENTLY users_age;"),
            contract("DROP INDEX CONCURRENTLY users_age;"),
        ),
        case(
            Rule::DropNotNull,
            expand("ALTER TABLE users ALTER COLUMN age DROP NOT NULL;"),
            contract("ALTER TABLE users ALTER COLUMN age DROP NOT NULL;"),
        ),
    ]
}

fn rights() -> Vec<Case> {
    vec![
        case(
            Rule::ChangesInPlace,
            expand("CREATE OR REPLACE VIEW active AS SELECT * FROM users WHERE NOT gone;"),
            expand("CREATE VIEW active_users AS SELECT * FROM users WHERE NOT gone;"),
        ),
        case(
            Rule::ChangesInPlace,
            expand("ALTER TABLE users ALTER COLUMN age SET DEFAULT 18;"),
            expand(
                "ALTER TABLE users ADD COLUMN age int; ALTER TABLE users ALTER COLUMN age SET DEFAULT 18;",
            ),
        ),
        case(
            Rule::ChangesInPlace,
            expand("ALTER FUNCTION price(int) SECURITY DEFINER;"),
            contract("ALTER FUNCTION price(int) SECURITY DEFINER;"),
        ),
        case(
            Rule::TakesRights,
            expand("REVOKE INSERT ON users FROM web;"),
            expand("GRANT INSERT ON users TO web;"),
        ),
        case(
            Rule::TakesRights,
            expand("ALTER TABLE users ENABLE ROW LEVEL SECURITY;"),
            expand("CREATE TABLE notes (id bigint); ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"),
        ),
        case(
            Rule::TakesRights,
            expand("ALTER TABLE users OWNER TO admin;"),
            contract("ALTER TABLE users OWNER TO admin;"),
        ),
        case(
            Rule::DisableTrigger,
            expand("ALTER TABLE users DISABLE TRIGGER keep_both;"),
            expand("ALTER TABLE users ENABLE TRIGGER keep_both;"),
        ),
    ]
}

fn restrictions() -> Vec<Case> {
    vec![
        case(
            Rule::SetNotNull,
            expand("ALTER TABLE users ALTER COLUMN age SET NOT NULL;"),
            contract("ALTER TABLE users ADD CONSTRAINT age_known CHECK (age IS NOT NULL) NOT VALID;")
                .then(contract("ALTER TABLE users VALIDATE CONSTRAINT age_known;"))
                .then(contract("ALTER TABLE users ALTER COLUMN age SET NOT NULL;"))
                .then(contract("ALTER TABLE users DROP CONSTRAINT age_known;")),
        ),
        case(
            Rule::SetNotNull,
            contract("ALTER TABLE users ADD CONSTRAINT age_known NOT NULL age;").on(18),
            contract("ALTER TABLE users ADD CONSTRAINT age_known NOT NULL age NOT VALID;").on(18),
        ),
        case(
            Rule::AddRequiredColumn,
            expand("ALTER TABLE users ADD COLUMN age int NOT NULL;"),
            expand("ALTER TABLE users ADD COLUMN age int NOT NULL DEFAULT 0;"),
        ),
        case(
            Rule::NewConstraint,
            expand("ALTER TABLE users ADD CONSTRAINT grown CHECK (age > 17) NOT VALID;"),
            expand("ALTER TABLE users ADD COLUMN size int; ALTER TABLE users ADD CONSTRAINT s CHECK (size > 0) NOT VALID;"),
        ),
        case(
            Rule::NewConstraint,
            expand("CREATE UNIQUE INDEX CONCURRENTLY one_mail ON users (lower(email));"),
            contract("CREATE UNIQUE INDEX CONCURRENTLY one_mail ON users (lower(email));"),
        ),
        case(
            Rule::ForeignKeyValidates,
            contract("ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;"),
            contract("ALTER TABLE orders ADD CONSTRAINT o FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID;")
                .then(contract("ALTER TABLE orders VALIDATE CONSTRAINT o;")),
        ),
        case(
            Rule::ForeignKeyValidates,
            expand("ALTER TABLE orders ADD COLUMN user_id bigint DEFAULT 1 REFERENCES users (id);"),
            expand("ALTER TABLE orders ADD COLUMN user_id bigint REFERENCES users (id);"),
        ),
        case(
            Rule::CheckValidates,
            expand("ALTER TABLE users ADD CONSTRAINT grown CHECK (age > 17 AND age < 200);"),
            contract("ALTER TABLE users ADD CONSTRAINT grown CHECK (age > 17) NOT VALID;"),
        ),
        case(
            Rule::CheckValidates,
            expand("ALTER TABLE users ADD COLUMN age int CHECK (age > 17);"),
            expand("CREATE TABLE pets (age int CHECK (age > 0)); ALTER TABLE pets ADD CHECK (age < 99);"),
        ),
        case(
            Rule::ValidateInTransaction,
            contract("ALTER TABLE users ADD CONSTRAINT grown CHECK (age > 17) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT grown;"),
            contract("ALTER TABLE users ADD CONSTRAINT grown CHECK (age > 17) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT grown;")
                .in_a_transaction(false),
        ),
        case(
            Rule::UniqueBuildsIndex,
            expand("ALTER TABLE users ADD CONSTRAINT one_mail UNIQUE (email, \"Realm\");"),
            contract("CREATE UNIQUE INDEX CONCURRENTLY one_mail ON users (email);")
                .then(contract("ALTER TABLE users ADD CONSTRAINT one_mail UNIQUE USING INDEX one_mail;")),
        ),
        case(
            Rule::UniqueBuildsIndex,
            expand("ALTER TABLE users ADD COLUMN email text UNIQUE;"),
            expand("ALTER TABLE users ADD COLUMN email text;")
                .then(expand("CREATE UNIQUE INDEX CONCURRENTLY one_mail ON users (email);")),
        ),
        case(
            Rule::ExclusionConstraint,
            contract("ALTER TABLE stays ADD EXCLUDE USING gist (room WITH =, during WITH &&);"),
            expand("CREATE TABLE stays (room int, during tstzrange, EXCLUDE USING gist (room WITH =, during WITH &&));"),
        ),
        case(
            Rule::DomainConstraint,
            expand("ALTER DOMAIN zip ADD CONSTRAINT five CHECK (length(VALUE) = 5);"),
            expand("ALTER DOMAIN zip ADD CONSTRAINT five CHECK (length(VALUE) = 5) NOT VALID;"),
        ),
        case(
            Rule::CreateDomainConstraint,
            expand("CREATE DOMAIN zip AS text CHECK (length(VALUE) = 5);"),
            expand("CREATE DOMAIN zip AS text;"),
        ),
        case(
            Rule::EnumValueUsed,
            expand("ALTER TYPE mood ADD VALUE 'meh' AFTER 'sad'; INSERT INTO moods VALUES ('meh');"),
            expand("ALTER TYPE mood ADD VALUE 'meh' AFTER 'sad';").then(expand("INSERT INTO moods VALUES ('meh');")),
        ),
        case(
            Rule::EnumValueUsed,
            expand("ALTER TYPE mood ADD VALUE 'meh' AFTER 'sad';").on(11).in_a_transaction(true),
            expand("ALTER TYPE mood ADD VALUE 'meh' AFTER 'sad';").on(11),
        ),
        case(
            Rule::EnumValueOrder,
            expand("ALTER TYPE mood ADD VALUE 'meh';"),
            expand("ALTER TYPE mood ADD VALUE 'meh' BEFORE 'sad';"),
        ),
    ]
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
            expand("ALTER TABLE users ADD COLUMN age int;").then(expand(
                "SET LOCAL maintenance_work_mem = '1GB'; CREATE INDEX CONCURRENTLY a ON users (age);",
            )),
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
