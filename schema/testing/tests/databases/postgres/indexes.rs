//! What no transaction holds: indexes made concurrently, and what a failure leaves of them.

use std::time::Duration;

use handover_schema::{Control, Found, Kind, SchemaPhase, SchemaVersion, status};
use handover_schema_testing::{Postgres, Release, eventually};
use sqlx::Executor;

use super::target;
use crate::fixture::{Told, apply, apply_with, job, limits, said, says};
use crate::runner::Runner;

const VALID: &str = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = 'orders_n' AND i.indisvalid";
const THERE: &str = "SELECT count(*) FROM pg_class WHERE relname = 'orders_n'";
const INDEX: &str = "CREATE UNIQUE INDEX CONCURRENTLY orders_n ON orders (n);";

async fn with_orders(what: &str) -> Option<Postgres> {
    let postgres = Postgres::start(what)?;
    postgres.run("CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL); INSERT INTO orders SELECT i, i FROM generate_series(1, 1000) i").await;
    Some(postgres)
}

#[tokio::test]
async fn an_index_that_fails_is_named_dropped_and_made_once_it_can_be() {
    let Some(postgres) = with_orders("a failing index").await else { return };
    postgres.run("UPDATE orders SET n = 7 WHERE id = 8").await;
    let (target, limits) = (target(&postgres), limits());
    let release = Release::new(&[("expand/1_index.sql", INDEX)]);
    let (done, told) = apply(&target, &release, SchemaPhase::Expand, &limits).await;
    let error = said(done);
    assert!(error.contains("could not create unique index \"orders_n\" (23505)"), "{error}");
    assert!(told.has("index orders_n is invalid"), "{:#?}", told.all());
    assert_eq!(postgres.number(THERE).await, 0);
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, 0);
    postgres.run("UPDATE orders SET n = 8 WHERE id = 8").await;
    apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap();
    assert_eq!(postgres.number(VALID).await, 1);
}

#[tokio::test]
async fn an_index_whose_runner_was_killed_is_found_invalid_named_and_made_anew() {
    let Some(postgres) = with_orders("an index that is cut off").await else { return };
    let release = Release::new(&[("expand/1_index.sql", INDEX)]);
    // Holds up the index after it stands in the catalog: it waits for every transaction that began before.
    let mut long = postgres.connect().await;
    long.execute("BEGIN").await.unwrap();
    long.execute("UPDATE orders SET n = 0 - n WHERE id = 1").await.unwrap();
    let mut runner = Runner::start(&postgres.address("postgres"), &release, "expand", &["lease-ms=3000"]);
    eventually(Duration::from_secs(20), "the index is being made", || async {
        (postgres.number(THERE).await == 1).then_some(())
    })
    .await;
    runner.kill();
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'handover migrate%'";
    eventually(Duration::from_secs(10), "the server has noticed", || async {
        (postgres.number(ours).await == 0).then_some(())
    })
    .await;
    assert_eq!(postgres.number(VALID).await, 0);
    let (target, limits) = (target(&postgres), limits());
    let found = status(&target, "shop", &limits).await.unwrap();
    assert_eq!((found.invalid_indexes, found.version), (vec!["orders_n".to_owned()], SchemaVersion::NONE));
    long.execute("ROLLBACK").await.unwrap();
    let (done, told) = apply(&target, &release, SchemaPhase::Expand, &limits).await;
    assert_eq!(done.unwrap().to.number(), 1);
    assert!(
        told.has("index orders_n is invalid") && told.has("expand/0001_index.sql: goes on"),
        "{:#?}",
        told.all()
    );
    assert_eq!(postgres.number(VALID).await, 1);
}

#[tokio::test]
async fn an_index_of_somebody_else_is_left_alone_and_named() {
    let Some(postgres) = with_orders("an index of somebody else").await else { return };
    postgres.run("UPDATE orders SET n = 7 WHERE id = 8").await;
    postgres
        .connect()
        .await
        .execute("CREATE UNIQUE INDEX CONCURRENTLY orders_n ON orders (n)")
        .await
        .unwrap_err();
    let (target, limits) = (target(&postgres), limits());
    let release = Release::new(&[("expand/1_index.sql", INDEX)]);
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(error.contains("there is an index orders_n already, and it is invalid, left by a failure: it was not begun; drop it"), "{error}");
    assert_eq!(postgres.number(THERE).await, 1);
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, 0);
}

#[tokio::test]
async fn an_index_is_dropped_and_another_made_anew_outside_of_transactions() {
    let Some(postgres) = with_orders("dropping an index").await else { return };
    let release = Release::new(&[
        ("expand/1_index.sql", INDEX),
        ("expand/2_again.sql", "REINDEX INDEX CONCURRENTLY orders_n;"),
        ("expand/3_vacuum.sql", "VACUUM (ANALYZE) orders;"),
        ("contract/4_drop.sql", "DROP INDEX CONCURRENTLY orders_n;"),
    ]);
    let (target, limits) = (target(&postgres), limits());
    apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap();
    assert_eq!(postgres.number(VALID).await, 1);
    apply(&target, &release, SchemaPhase::Contract, &limits).await.0.unwrap();
    assert_eq!(postgres.number(THERE).await, 0);
}

#[tokio::test]
async fn what_cannot_be_told_is_said_and_waits_for_a_person() {
    let Some(postgres) = Postgres::start("what cannot be told") else { return };
    let release = Release::new(&[
        ("expand/1_database.sql", "CREATE DATABASE other;"),
        ("expand/2_more.sql", "CREATE TABLE a (n int);"),
    ]);
    let address = postgres.address("postgres");
    // Killed right after the statement has come to its end, before that is written.
    let told = Runner::start(&address, &release, "expand", &[]).into_lines();
    let at = told.iter().position(|line| line.ends_with("statement 1 is done")).unwrap() + 1;
    postgres.run("DROP DATABASE other").await;
    postgres.run("DROP TABLE handover_migrations, a").await;
    Runner::start(&address, &release, "expand", &[&format!("kill-at={at}")]).into_lines();
    let (target, limits) =
        (target(&postgres), handover_schema::Limits { wait_for_lock: Duration::from_secs(10), ..limits() });
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(error.starts_with("expand/0001_database.sql stands half: its statement was begun"), "{error}");
    assert_eq!(postgres.number("SELECT count(*) FROM pg_class WHERE relname = 'a'").await, 0);
    let scripts = release.scripts(Kind::Postgres);
    let job = job(&target, &scripts, SchemaPhase::Expand, &limits);
    let one = SchemaVersion::new(1);
    says(&job, one, Found::TookEffect).await.unwrap();
    let error = said(says(&job, one, Found::TookEffect).await);
    assert!(error.contains("version 1 does not stand half"), "{error}");
    assert_eq!(apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap().to.number(), 2);
}

#[tokio::test]
async fn an_index_that_is_there_is_passed_over_where_the_file_says_so_but_not_an_invalid_one() {
    let Some(postgres) = with_orders("IF NOT EXISTS").await else { return };
    let (target, limits) = (target(&postgres), limits());
    let lenient = Release::new(&[(
        "expand/1_index.sql",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS orders_n ON orders (n);",
    )]);
    postgres.run("UPDATE orders SET n = 7 WHERE id = 8").await;
    postgres.connect().await.execute(INDEX).await.unwrap_err();
    let error = said(apply(&target, &lenient, SchemaPhase::Expand, &limits).await.0);
    assert!(error.contains("and it is invalid"), "{error}");
    postgres.run("UPDATE orders SET n = 8 WHERE id = 8").await;
    postgres.connect().await.execute("REINDEX INDEX CONCURRENTLY orders_n").await.unwrap();
    assert_eq!(apply(&target, &lenient, SchemaPhase::Expand, &limits).await.0.unwrap().to.number(), 1);
}

#[tokio::test]
async fn an_index_whose_making_is_cancelled_is_named_and_made_by_the_next_run() {
    let Some(postgres) = with_orders("cancelling an index").await else { return };
    let mut long = postgres.connect().await;
    long.execute("BEGIN").await.unwrap();
    long.execute("UPDATE orders SET n = 0 - n WHERE id = 1").await.unwrap();
    let (target, limits, control) = (target(&postgres), limits(), Control::new());
    let release = Release::new(&[("expand/1_index.sql", INDEX)]);
    let (done, ()) = tokio::join!(
        apply_with(&target, &release, SchemaPhase::Expand, &limits, &control, Told::default()),
        async {
            eventually(Duration::from_secs(20), "the index is being made", || async {
                (postgres.number(THERE).await == 1).then_some(())
            })
            .await;
            control.cancel();
        }
    );
    let error = said(done.0);
    assert_eq!(error, "cancelled. index orders_n is invalid; the next run drops it and begins anew");
    long.execute("ROLLBACK").await.unwrap();
    assert_eq!(apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap().to.number(), 1);
    assert_eq!(postgres.number(VALID).await, 1);
}
