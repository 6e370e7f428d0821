//! Backfills that are done again: all from one on, from their beginnings, once for each time that somebody says so.

use handover_schema::{Found, Kind, SchemaPhase, SchemaVersion};
use handover_schema_testing::{Postgres, Release};

use super::target;
use crate::fixture::{apply, job, limits, said, says};

const ROWS: i64 = 100;

fn adding(column: &str) -> String {
    format!(
        "-- handover: batch table=orders key=id size=10\nUPDATE orders SET {column} = {column} + 1 WHERE id BETWEEN :first AND :last;"
    )
}

#[tokio::test]
async fn every_backfill_from_one_on_is_done_again_and_the_schema_stays_where_it_is() {
    let Some(postgres) = Postgres::start("backfills that are done again") else { return };
    let table = format!(
        "CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL, m int NOT NULL);
INSERT INTO orders SELECT i, 0, 0 FROM generate_series(1, {ROWS}) i;"
    );
    let release = Release::new(&[
        ("expand/1_orders.sql", &table),
        ("backfill/2_n.sql", &adding("n")),
        ("backfill/3_m.sql", &adding("m")),
        ("expand/4_more.sql", "CREATE TABLE more (n int);"),
    ]);
    let (target, limits) = (target(&postgres), limits());
    for phase in [SchemaPhase::Expand, SchemaPhase::Backfill, SchemaPhase::Expand] {
        apply(&target, &release, phase, &limits).await.0.unwrap();
    }
    let scripts = release.scripts(Kind::Postgres);
    let job = job(&target, &scripts, SchemaPhase::Backfill, &limits);
    let counted = |n: i64, m: i64| {
        let postgres = &postgres;
        async move {
            let sql = format!("SELECT count(*) FROM orders WHERE n = {n} AND m = {m}");
            assert_eq!(postgres.number(&sql).await, ROWS, "n = {n}, m = {m}");
        }
    };
    counted(1, 1).await;

    says(&job, SchemaVersion::new(2), Found::Again).await.unwrap();
    let done = apply(&target, &release, SchemaPhase::Backfill, &limits).await.0.unwrap();
    assert_eq!((done.from.number(), done.to.number(), done.applied.len()), (4, 4, 2));
    counted(2, 2).await;
    says(&job, SchemaVersion::new(3), Found::Again).await.unwrap();
    apply(&target, &release, SchemaPhase::Backfill, &limits).await.0.unwrap();
    counted(2, 3).await;
    let none = said(says(&job, SchemaVersion::new(5), Found::Again).await);
    assert!(none.contains("there is nothing to resolve"), "{none}");
}

#[tokio::test]
async fn what_was_one_transaction_is_not_done_again_by_itself() {
    let Some(postgres) = Postgres::start("a backfill without batches") else { return };
    postgres.run("CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL)").await;
    let release = Release::new(&[("backfill/1_n.sql", "UPDATE orders SET n = n + 1;")]);
    let (target, limits) = (target(&postgres), limits());
    apply(&target, &release, SchemaPhase::Backfill, &limits).await.0.unwrap();
    let scripts = release.scripts(Kind::Postgres);
    let job = job(&target, &scripts, SchemaPhase::Backfill, &limits);
    let error = said(says(&job, SchemaVersion::new(1), Found::Again).await);
    assert!(error.contains("no backfill in batches") && error.contains("--resolve 1=took-effect"), "{error}");
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations WHERE state = 'applied'").await, 1);
}
