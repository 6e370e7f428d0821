//! What is applied, how often, and what is refused.

use std::time::Duration;

use handover_schema::{Limits, SchemaPhase, Target, status};
use handover_schema_testing::{Postgres, Release, eventually};

use super::target;
use crate::fixture::{apply, limits, said};

#[tokio::test]
async fn a_phase_is_applied_once_and_the_table_says_what_when_by_whom_and_how_long() {
    let Some(postgres) = Postgres::start("applied once") else { return };
    let release = Release::new(&[
        (
            "expand/1_orders.sql",
            "CREATE TABLE orders (id bigint PRIMARY KEY);\nINSERT INTO orders VALUES (1);",
        ),
        ("expand/2_total.sql", "ALTER TABLE orders ADD total int;"),
        ("contract/3_drop.sql", "ALTER TABLE orders DROP total;"),
    ]);
    let (target, limits) = (target(&postgres), limits());
    let (done, told) = apply(&target, &release, SchemaPhase::Expand, &limits).await;
    let done = done.unwrap();
    assert_eq!((done.from.number(), done.to.number(), done.applied.len()), (0, 2, 2), "{:#?}", told.all());
    let (again, told) = apply(&target, &release, SchemaPhase::Expand, &limits).await;
    assert_eq!(again.unwrap().applied, []);
    assert!(told.has("nothing to do: the schema is at version 2"));
    assert_eq!(postgres.number("SELECT count(*) FROM orders").await, 1);

    let status = status(&target, "shop", &limits).await.unwrap();
    assert_eq!((status.version.number(), status.records.len(), status.holder), (2, 2, None));
    let record = &status.records[0];
    let script = release.scripts(handover_schema::Kind::Postgres).get(record.version).unwrap().clone();
    assert_eq!(
        (record.checksum, record.name.as_str(), record.phase),
        (script.checksum, "orders", SchemaPhase::Expand)
    );
    assert_eq!((record.by.as_str(), record.deployment.as_str()), ("agent-1", "7"));
    let now = postgres.number("SELECT (extract(epoch FROM now()) * 1000)::bigint").await;
    assert!(
        record.started_ms <= record.applied_ms.unwrap() && (now - record.started_ms) < 60_000,
        "{record:?}"
    );

    let (done, _) = apply(&target, &release, SchemaPhase::Contract, &limits).await;
    assert_eq!(done.unwrap().to.number(), 3);
}

#[tokio::test]
async fn a_file_that_fails_leaves_nothing_and_says_the_line() {
    let Some(postgres) = Postgres::start("a failing file") else { return };
    let release = Release::new(&[
        ("expand/1_a.sql", "CREATE TABLE a (n int);"),
        ("expand/2_b.sql", "CREATE TABLE b (n int);\nSELECT 1,\n  nothing\nFROM a;"),
    ]);
    let (target, limits) = (target(&postgres), limits());
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(
        error.starts_with("expand/0002_b.sql, line 3: column \"nothing\" does not exist (42703)"),
        "{error}"
    );
    assert!(error.contains("The schema is at version 1"), "{error}");
    assert_eq!(postgres.number("SELECT count(*) FROM pg_class WHERE relname = 'b'").await, 0);
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, 1);
    release.write("expand/2_b.sql", "CREATE TABLE b (n int);");
    assert_eq!(apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap().to.number(), 2);
    // A deferred constraint speaks only at the commit.
    release.write(
        "expand/3_c.sql",
        "CREATE TABLE c (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO c VALUES (1), (1);",
    );
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(error.contains("23505") && error.contains("expand/0003_c.sql"), "{error}");
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, 2);
}

#[tokio::test]
async fn a_changed_file_is_refused() {
    let Some(postgres) = Postgres::start("a changed file") else { return };
    let release = Release::new(&[
        ("expand/1_a.sql", "CREATE TABLE a (n int);"),
        ("expand/2_b.sql", "CREATE TABLE b (n int);"),
    ]);
    let (target, limits) = (target(&postgres), limits());
    apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap();
    release.write("expand/1_a.sql", "CREATE TABLE a (n bigint);");
    release.write("expand/3_c.sql", "CREATE TABLE c (n int);");
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(
        error.contains("expand/0001_a.sql was applied as") && error.contains("migration of its own"),
        "{error}"
    );
    assert_eq!(postgres.number("SELECT count(*) FROM pg_class WHERE relname = 'c'").await, 0);
}

#[tokio::test]
async fn a_transaction_that_a_file_ends_is_not_recorded_as_if_it_were_whole() {
    let Some(postgres) = Postgres::start("a file that ends its transaction") else { return };
    let (target, limits) = (target(&postgres), limits());
    // Gives up the lock inside of a function, which no reading of the file finds.
    let release = Release::new(&[(
        "expand/1_a.sql",
        "CREATE TABLE a (n int);\nDO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$;",
    )]);
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(error.contains("does not have the lock any more"), "{error}");
    assert_eq!(postgres.number("SELECT count(*) FROM pg_class WHERE relname = 'a'").await, 0);
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, 0);
    // What a file sets is gone for the next.
    let release = Release::new(&[
        (
            "expand/1_a.sql",
            "CREATE SCHEMA other; SET search_path = other; SET lock_timeout = 0; CREATE ROLE app; GRANT ALL ON SCHEMA other TO app; SET ROLE app; CREATE TABLE a (n int);",
        ),
        (
            "expand/2_b.sql",
            "CREATE TABLE b AS SELECT current_setting('lock_timeout') AS lock, current_user::text AS who;",
        ),
    ]);
    apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap();
    assert_eq!(postgres.text("SELECT lock || ' ' || who FROM public.b").await, "1s postgres");
}

#[tokio::test]
async fn two_at_once_cannot_happen_and_the_second_is_told_who_is_first() {
    let Some(postgres) = Postgres::start("two at once") else { return };
    let release = Release::new(&[("expand/1_a.sql", "SELECT pg_sleep(2);\nCREATE TABLE a (n int);")]);
    let (target, limits) = (target(&postgres), limits());
    let (first, refused) = tokio::join!(apply(&target, &release, SchemaPhase::Expand, &limits), async {
        eventually(Duration::from_secs(10), "the first is at work", || async {
            let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
            (postgres.number(asleep).await == 1).then_some(())
        })
        .await;
        let refused = apply(&target, &release, SchemaPhase::Expand, &limits).await.0;
        let holder = status(&target, "shop", &limits).await.unwrap().holder;
        (refused, holder)
    });
    first.0.unwrap();
    let (refused, holder) = refused;
    let error = said(refused);
    assert!(error.starts_with("handover migrate shop by agent-1 (session "), "{error}");
    assert!(error.contains("has the lock of the migrations of postgres as postgres"), "{error}");
    assert!(holder.is_none_or(|holder| holder.contains("agent-1")));
    // With patience, the second finds that there is nothing left to do.
    let patient = Limits { wait_for_lock: Duration::from_secs(20), ..limits.clone() };
    release.write("expand/2_b.sql", "SELECT pg_sleep(0.5);");
    let (one, two) = tokio::join!(
        apply(&target, &release, SchemaPhase::Expand, &patient),
        apply(&target, &release, SchemaPhase::Expand, &patient)
    );
    let applied = [one.0.unwrap().applied.len(), two.0.unwrap().applied.len()];
    assert_eq!(applied.iter().sum::<usize>(), 1, "{applied:?}");
}

#[tokio::test]
async fn two_services_in_one_database_have_a_history_each() {
    let Some(postgres) = Postgres::start("two histories") else { return };
    let limits = limits();
    let one = target(&postgres);
    let two = Target { schema: Some("Se\"cond".to_owned()), ..one.clone() };
    let slow = Release::new(&[("expand/1_a.sql", "CREATE TABLE a (n int);\nSELECT pg_sleep(1);")]);
    let quick = Release::new(&[("expand/1_b.sql", "CREATE TABLE b (n int);")]);
    let (first, second) = tokio::join!(
        apply(&one, &slow, SchemaPhase::Expand, &limits),
        apply(&two, &quick, SchemaPhase::Expand, &limits)
    );
    assert_eq!((first.0.unwrap().to.number(), second.0.unwrap().to.number()), (1, 1));
    assert_eq!(postgres.text("SELECT name FROM \"Se\"\"cond\".handover_migrations").await, "b");
    assert_eq!(postgres.text("SELECT name FROM handover_migrations").await, "a");
}

#[tokio::test]
async fn a_role_that_may_not_make_the_tables_is_told_so_and_one_that_finds_them_may_go_on() {
    let Some(postgres) = Postgres::start("a role with few rights") else { return };
    postgres.run("CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app").await;
    let target = Target { address: postgres.address("app").parse().unwrap(), ..target(&postgres) };
    let release = Release::new(&[("expand/1_a.sql", "CREATE TABLE app.a (n int);")]);
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits()).await.0);
    assert!(
        error.starts_with(
            "the table of what was applied cannot be written: permission denied for schema public (42501)"
        ),
        "{error}"
    );
    let target = Target { schema: Some("app".to_owned()), ..target };
    assert_eq!(apply(&target, &release, SchemaPhase::Expand, &limits()).await.0.unwrap().to.number(), 1);
}

#[tokio::test]
async fn without_any_lock_the_table_itself_lets_a_version_be_applied_once() {
    let Some(postgres) = Postgres::start("the table without the lock") else { return };
    let (target, limits) = (target(&postgres), limits());
    apply(&target, &Release::new(&[]), SchemaPhase::Expand, &limits).await.0.unwrap();
    let release = Release::new(&[("expand/1_a.sql", "CREATE TABLE a (n int);\nSELECT pg_sleep(1);")]);
    let (first, second) = tokio::join!(apply(&target, &release, SchemaPhase::Expand, &limits), async {
        eventually(Duration::from_secs(10), "the first is at work", || async {
            let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
            (postgres.number(asleep).await == 1).then_some(())
        })
        .await;
        // What a runner would do that knew nothing of the lock.
        let sql = "INSERT INTO handover_migrations SELECT 1, 'expand', 'a', '', 'applied', 0, 0, now(), now(), '', 0, ''";
        sqlx::query(sql).execute(&mut postgres.connect().await).await.map(drop)
    });
    first.0.unwrap();
    assert!(second.unwrap_err().to_string().contains("handover_migrations_pkey"));
}

#[tokio::test]
async fn what_a_file_leaves_in_the_session_is_gone_for_the_next() {
    let Some(postgres) = Postgres::start("what a file leaves behind") else { return };
    postgres.run("CREATE TABLE orders (n int)").await;
    let release = Release::new(&[
        ("expand/1_a.sql", "CREATE TEMP TABLE orders (n int);\nSET search_path = pg_catalog;"),
        ("expand/2_b.sql", "ALTER TABLE orders ADD total int;"),
    ]);
    apply(&target(&postgres), &release, SchemaPhase::Expand, &limits()).await.0.unwrap();
    let total = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'total'";
    assert_eq!(postgres.number(total).await, 1);
}
