//! What code finds when it looks: names, what is there, what it may, what is refused.

use super::{Case, case};
use crate::files::{backfill, contract, expand};
use handover_lint::Rule;

pub(super) fn cases() -> Vec<Case> {
    [names(), drops(), rights(), restrictions()].into_iter().flatten().collect()
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
        case(
            Rule::DropObject,
            expand("DROP TYPE IF EXISTS mood, status CASCADE;"),
            expand("CREATE TYPE m AS ENUM ('a'); DROP TYPE m;"),
        ),
        case(
            Rule::UnknownSchema,
            contract("SET LOCAL search_path = shop; DROP TABLE users;"),
            contract("SET LOCAL search_path = shop; DROP TABLE public.users;"),
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
            contract("ALTER TABLE users ADD CHECK (age > 17);").on(18),
            contract("ALTER TABLE users ADD CHECK (age > 17) NOT ENFORCED;").on(18),
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
            contract("ALTER TABLE pets ADD PRIMARY KEY (name), ADD UNIQUE NULLS NOT DISTINCT (name) INCLUDE (size);"),
            expand("CREATE TABLE cats (name text); ALTER TABLE cats ADD PRIMARY KEY (name);"),
        ),
        case(
            Rule::UniqueBuildsIndex,
            expand("ALTER TABLE moods ADD COLUMN id bigint PRIMARY KEY;"),
            expand("CREATE TABLE moods (id bigint PRIMARY KEY);"),
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
            expand("ALTER TYPE mood ADD VALUE 'meh' AFTER 'sad';").on(11),
            expand("-- handover: no transaction\nALTER TYPE mood ADD VALUE 'meh' AFTER 'sad';").on(11),
        ),
        case(
            Rule::EnumValueOrder,
            expand("ALTER TYPE mood ADD VALUE 'meh';"),
            expand("ALTER TYPE mood ADD VALUE 'meh' BEFORE 'sad';"),
        ),
    ]
}
