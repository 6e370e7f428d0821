//! A migration that waits for a lock, or that somebody ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handover_schema::{Control, Limits, SchemaPhase};
use handover_schema_testing::{Postgres, Release, eventually};
use sqlx::Executor;

use super::target;
use crate::fixture::{Told, apply, apply_with, limits, said};

const ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'handover migrate%' AND state = 'active'";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_migration_behind_a_long_transaction_keeps_others_waiting_no_longer_than_its_lock_timeout() {
    let Some(postgres) = Postgres::start("waiting for a lock") else { return };
    postgres
        .run("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 100)")
        .await;
    let lock_timeout = Duration::from_millis(400);
    let limits = Limits { lock_timeout, attempts: 100, ..limits() };
    let mut long = postgres.connect().await;
    long.execute("BEGIN").await.unwrap();
    long.execute("SELECT count(*) FROM orders").await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut connection = postgres.connect().await;
        let stop = Arc::clone(&stop);
        clients.push(tokio::spawn(async move {
            let (mut worst, mut count) = (Duration::ZERO, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                sqlx::query("SELECT id FROM orders WHERE id = 7").execute(&mut connection).await.unwrap();
                worst = worst.max(began.elapsed());
                count += 1;
            }
            (worst, count)
        }));
    }
    let release = Release::new(&[("expand/1_total.sql", "ALTER TABLE orders ADD total int;")]);
    let told = Told::default();
    let (heard, target) = (told.clone(), target(&postgres));
    let migration = tokio::spawn(async move {
        apply_with(&target, &release, SchemaPhase::Expand, &limits, &Control::new(), heard).await.0
    });
    // Long enough for several tries: each of them queues everybody up behind it.
    eventually(Duration::from_secs(30), "three tries", || async { told.has("try 4 of 100").then_some(()) })
        .await;
    assert!(!migration.is_finished());
    long.execute("COMMIT").await.unwrap();
    let done = migration.await.unwrap().unwrap();
    assert_eq!(done.to.number(), 1);
    stop.store(true, Ordering::Relaxed);
    let mut worst = Duration::ZERO;
    for client in clients {
        let (slowest, count) = client.await.unwrap();
        assert!(count > 100, "a client did {count} queries only");
        worst = worst.max(slowest);
    }
    println!("worst of the others: {worst:?}, lock timeout {lock_timeout:?}");
    assert!(worst > Duration::from_millis(200), "nobody waited behind it: the case shows nothing");
    assert!(worst < lock_timeout + Duration::from_millis(600), "{worst:?}");
    let lines = told.all();
    let blocked = lines.iter().find(|line| line.contains("waits for a lock")).unwrap();
    assert!(blocked.contains("; orders, held by session ") && blocked.contains("(test)"), "{blocked}");
}

#[tokio::test]
async fn a_lock_that_never_comes_free_ends_in_an_error_and_nothing_stands() {
    let Some(postgres) = Postgres::start("a lock that stays") else { return };
    postgres.run("CREATE TABLE a (n int)").await;
    let mut long = postgres.connect().await;
    long.execute("BEGIN").await.unwrap();
    long.execute("SELECT * FROM a").await.unwrap();
    let limits = Limits { lock_timeout: Duration::from_millis(50), attempts: 3, ..limits() };
    let release = Release::new(&[("expand/1_b.sql", "CREATE TABLE b (n int);\nALTER TABLE a ADD m int;")]);
    let (done, told) = apply(&target(&postgres), &release, SchemaPhase::Expand, &limits).await;
    let error = said(done);
    assert!(
        error.starts_with("expand/0001_b.sql, line 2: canceling statement due to lock timeout (55P03)"),
        "{error}"
    );
    assert_eq!(
        told.all().iter().filter(|line| line.contains("taken back, try")).count(),
        2,
        "{:#?}",
        told.all()
    );
    assert_eq!(postgres.number("SELECT count(*) FROM pg_class WHERE relname = 'b'").await, 0);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let Some(postgres) = Postgres::start("too long") else { return };
    let release =
        Release::new(&[("expand/1_b.sql", "-- handover: statement_timeout=200ms\nSELECT pg_sleep(60);")]);
    let began = Instant::now();
    let error = said(apply(&target(&postgres), &release, SchemaPhase::Expand, &limits()).await.0);
    assert!(error.contains("statement timeout (57014)"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_run_that_is_cancelled_ends_its_statement_at_the_server() {
    let Some(postgres) = Postgres::start("cancelling") else { return };
    for (text, records) in
        [("SELECT pg_sleep(60);", 0), ("-- handover: no transaction\nSELECT pg_sleep(60);", 1)]
    {
        let release = Release::new(&[("expand/1_sleep.sql", text)]);
        let (target, limits, control) = (target(&postgres), limits(), Control::new());
        let (done, ()) = tokio::join!(
            apply_with(&target, &release, SchemaPhase::Expand, &limits, &control, Told::default()),
            async {
                eventually(Duration::from_secs(10), "the statement runs", || async {
                (postgres.number("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()").await == 1).then_some(())
            })
            .await;
                control.cancel();
            }
        );
        let error = said(done.0);
        // What no transaction takes back may have done something before it was ended.
        let expected = if records == 0 { "cancelled. " } else { "expand/0001_sleep.sql stands half: " };
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(postgres.number(ACTIVE).await, 0);
        assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, records);
    }
}
