//! What the linter says, held against a real PostgreSQL: its steps run, what it calls a rewrite is one and what it lets
//! through is none, and what it says cannot be in a transaction cannot.

mod server;

use crate::{alone::ALONE, cases, files::Files};
use handover_lint::{Finding, Rule, SchemaPhase};
use handover_script::{Kind, Work, read};
use server::Server;
use std::fmt::Write as _;

/// What the cases are about. Tables have rows, so that what reads or rewrites them has something to do.
const SHOP: &str = r#"
CREATE EXTENSION btree_gist;
CREATE EXTENSION hstore;
CREATE SCHEMA billing; CREATE SCHEMA shop; CREATE SCHEMA people;
CREATE TABLE users (id bigint PRIMARY KEY, name text, full_name text, email text, "Realm" text,
  age int DEFAULT 18 CONSTRAINT users_age_check CHECK (age > 0), a int, b int, c int, d int);
INSERT INTO users (id, name, age, email) SELECT n, 'user ' || n, 20 + n, n || '@example' FROM generate_series(1, 50) n;
CREATE INDEX users_age ON users (age); CREATE INDEX users_name ON users (name);
CREATE TABLE shop.users (id bigint PRIMARY KEY, name text);
INSERT INTO shop.users SELECT id, name FROM users;
CREATE TABLE billing."Invoices" (id bigint PRIMARY KEY, "from" text);
INSERT INTO billing."Invoices" SELECT id, name FROM users;
CREATE TABLE billing.invoices (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint);
INSERT INTO orders SELECT id, id FROM users;
CREATE VIEW active AS SELECT id FROM orders;
CREATE MATERIALIZED VIEW totals AS SELECT id FROM orders; CREATE UNIQUE INDEX ON totals (id);
CREATE MATERIALIZED VIEW sums AS SELECT id FROM orders;
CREATE TABLE sessions (id bigint); INSERT INTO sessions SELECT id FROM users;
CREATE TABLE people (id bigint, name text);
CREATE TABLE pets (name text, size int);
CREATE TABLE stays (room int, during tstzrange);
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE status AS ENUM ('new', 'done'); CREATE TABLE moods (m text);
CREATE DOMAIN zip AS text; CREATE TABLE places (z zip); INSERT INTO places VALUES ('12345');
CREATE TABLE events (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE y2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE y2026 (at timestamptz);
CREATE FUNCTION price(id int) RETURNS int LANGUAGE sql AS 'SELECT id';
CREATE FUNCTION shop.opening() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RETURN clock_timestamp(); END';
CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER keep_both BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION kept();
GRANT INSERT ON users TO web;
"#;

/// Steps of these rest on what somebody has done before them, which their words say.
const REST_ON_MORE: [(Rule, &str); 4] = [
    (Rule::EnumValueOrder, "which value it comes after is for people to say"),
    (Rule::EnumValueUsed, "the value is added by the file before it"),
    (Rule::ValidateInTransaction, "the constraint is added by the file before it"),
    (Rule::Cascade, "what depends on it is dropped before"),
];

struct Shop {
    server: Server,
    number: usize,
}

impl Shop {
    fn start() -> Option<Self> {
        let server = Server::start()?;
        server.run("postgres", "CREATE ROLE web; CREATE ROLE admin; CREATE DATABASE shop;").unwrap();
        server.run("shop", SHOP).unwrap();
        Some(Self { server, number: 0 })
    }

    /// A shop that nobody has changed.
    fn fresh(&mut self) -> String {
        self.number += 1;
        let name = format!("shop{}", self.number);
        self.server
            .run("postgres", &format!("CREATE DATABASE {name} TEMPLATE shop STRATEGY file_copy;"))
            .unwrap();
        name
    }

    /// Runs a file as the runner does: in one transaction, unless it cannot be.
    fn run(&self, database: &str, text: &str) -> Result<String, String> {
        match read(Kind::Postgres, SchemaPhase::Contract, text.as_bytes()) {
            Ok((_, Work::Together(_))) => self.server.run_in_one(database, text),
            Ok((_, Work::Alone(..) | Work::Batches(..) | Work::Program(_))) | Err(_) => {
                self.server.run(database, text)
            }
        }
    }

    /// What a table's rows lie in: another one after a rewrite.
    fn rows_of(&self, database: &str) -> String {
        let query = "SELECT string_agg(oid::regclass || '=' || pg_relation_filenode(oid), ' ' ORDER BY oid) \
                     FROM pg_class WHERE relname = 'users' AND relkind = 'r'";
        self.server.run(database, query).unwrap()
    }

    /// Makes room for a column that a file adds and the shop has.
    fn make_room(&self, database: &str, text: &str) {
        for added in text.split("ALTER TABLE ").skip(1).filter_map(|text| text.split_once(" ADD COLUMN ")) {
            let (table, column) = (added.0, added.1.split([' ', ',']).next().unwrap());
            if !table.contains(' ') {
                let _ = self
                    .server
                    .run(database, &format!("ALTER TABLE {table} DROP COLUMN IF EXISTS {column};"));
            }
        }
    }
}

/// Whether the shop's server can be asked about it.
fn is_for_it(files: &Files) -> bool {
    (11..=15).contains(&files.context().server_major)
}

#[test]
fn the_steps_of_findings_run_on_a_real_server() {
    let Some(mut shop) = Shop::start() else { return };
    let (mut wrong, mut run) = (String::new(), 0);
    for case in cases::all().iter().filter(|case| is_for_it(&case.broken)) {
        if REST_ON_MORE.iter().any(|(rule, _)| *rule == case.rule) {
            continue;
        }
        for finding in case.broken.of(case.rule) {
            let database = shop.fresh();
            for sql in in_order(&finding) {
                shop.make_room(&database, sql);
                // Which values old rows get is for people to say, between the backfill and the contract.
                if case.rule == Rule::AddRequiredColumn && sql.contains("VALIDATE") {
                    shop.server.run(&database, "UPDATE users SET age = 20").unwrap();
                }
                run += 1;
                if let Err(said) = shop.run(&database, sql) {
                    let _ = writeln!(wrong, "{said}\nat\n{sql}\nof {finding}\n");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(run > 60, "only {run} steps were run");
}

/// The SQL of a finding's steps, in the order in which they happen.
fn in_order(finding: &Finding) -> Vec<&str> {
    finding.steps.iter().filter_map(|step| step.sql.as_deref()).collect()
}

#[test]
fn what_is_called_a_rewrite_is_one_and_what_is_let_through_is_none() {
    const REWRITES: [Rule; 5] = [
        Rule::ChangeType,
        Rule::AddColumnVolatileDefault,
        Rule::AddColumnSerial,
        Rule::AddColumnGenerated,
        Rule::VacuumFull,
    ];
    let Some(mut shop) = Shop::start() else { return };
    let mut wrong = String::new();
    let mut looked_at = 0;
    for case in cases::all().iter().filter(|case| REWRITES.contains(&case.rule)) {
        for (files, expected) in [(&case.broken, true), (&case.fine, false)] {
            // A limit reads all rows and leaves them where they are: that is said of it elsewhere.
            let limits = files.texts().any(|text| text.contains("varchar(80)"));
            if !is_for_it(files) || limits {
                continue;
            }
            let database = shop.fresh();
            for text in files.texts() {
                shop.make_room(&database, text);
                let text = text.replace("CREATE TABLE users", "CREATE TABLE other.users");
                let before = shop.rows_of(&database);
                shop.server.run(&database, "CREATE SCHEMA other").unwrap();
                if let Err(said) = shop.run(&database, &text) {
                    let _ = writeln!(wrong, "{said} at {text}");
                    continue;
                }
                shop.server.run(&database, "DROP SCHEMA other CASCADE").unwrap();
                looked_at += 1;
                if (shop.rows_of(&database) != before) != expected {
                    let _ = writeln!(
                        wrong,
                        "{}: rewrites: {}, expected {expected}: {text}",
                        case.rule, !expected
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(looked_at >= 8, "only {looked_at} files were looked at");
}

#[test]
fn what_cannot_be_in_a_transaction_is_refused_in_one() {
    let Some(mut shop) = Shop::start() else { return };
    let database = shop.fresh();
    shop.server.run(&database, "CREATE INDEX i ON users (email)").unwrap();
    for (text, alone) in ALONE {
        let said = shop.server.run(&database, &format!("BEGIN; {text}; ROLLBACK;"));
        let refused = said.as_ref().is_err_and(|said| said.contains("cannot run inside a transaction block"));
        assert_eq!(refused, alone, "{text}: {said:?}");
    }
}
