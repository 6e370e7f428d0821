//! Backfills: in batches by key, to the end, each row once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use handover_schema::{Control, Error, Limits, SchemaPhase, Throttle, status};
use handover_schema_testing::{Postgres, Release, eventually};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::Executor;

use super::target;
use crate::fixture::{Told, apply, apply_with, limits, said};
use crate::runner::Runner;

fn adding(table: &str, key: &str, size: u32) -> Release {
    let text = format!(
        "-- handover: batch table={table} key={key} size={size}\nUPDATE {table} SET n = n + 1 WHERE {key} BETWEEN :first AND :last;"
    );
    Release::new(&[("backfill/1_add.sql", &text)])
}

fn fast() -> Limits {
    Limits { throttle: Throttle { share: 100, ..Throttle::default() }, ..limits() }
}

#[tokio::test]
async fn a_backfill_that_is_killed_ten_times_does_every_row_once() {
    let Some(postgres) = Postgres::start("a backfill that is killed") else { return };
    let rows = 120_000;
    postgres.run(&format!("CREATE TABLE orders (id bigint PRIMARY KEY, n int NOT NULL); INSERT INTO orders SELECT i * 3, 0 FROM generate_series(1, {rows}) i; ANALYZE orders")).await;
    let release = adding("orders", "id", 100);
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let options = ["lease-ms=3000", "wait-ms=6000", "batch-ms=10", "share=10"];
    let mut kills = 0;
    let mut last = Vec::new();
    while kills < 10 {
        let mut runner = Runner::start(&postgres.address("postgres"), &release, "backfill", &options);
        // By the clock, so anywhere; and now and then the session instead of the process.
        tokio::time::sleep(Duration::from_millis(random.random_range(100..700))).await;
        if runner.has_ended() {
            last = runner.into_lines();
            break;
        }
        runner.kill();
        kills += 1;
    }
    let done = "SELECT count(*) FROM orders WHERE n = 1";
    println!("{kills} kills, {} of {rows} rows by then", postgres.number(done).await);
    assert_eq!(kills, 10, "it was through too early: {last:#?}");
    let (finished, told) = apply(
        &target(&postgres),
        &release,
        SchemaPhase::Backfill,
        &Limits { wait_for_lock: Duration::from_secs(6), ..fast() },
    )
    .await;
    finished.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), told.all()));
    assert_eq!(postgres.number(done).await, rows);
    let status = status(&target(&postgres), "shop", &limits()).await.unwrap();
    assert_eq!((status.version.number(), status.backfills[0].rows), (1, 120_000));
    let last = told.all().iter().rev().find(|line| line.contains("rows of about")).cloned().unwrap();
    assert!(last.contains("120000 rows of about 120000"), "{last}");
}

#[tokio::test]
async fn keys_are_integers_uuids_or_texts_whatever_stands_in_them() {
    let Some(postgres) = Postgres::start("kinds of keys") else { return };
    postgres
        .run(
            "CREATE TABLE a (k uuid PRIMARY KEY, n int NOT NULL); INSERT INTO a SELECT gen_random_uuid(), 0 FROM generate_series(1, 500); \
             INSERT INTO a VALUES ('00000000-0000-0000-0000-000000000000', 0), ('ffffffff-ffff-ffff-ffff-ffffffffffff', 0); \
             CREATE TABLE b (k text COLLATE \"und-x-icu\" PRIMARY KEY, n int NOT NULL); INSERT INTO b SELECT E'\\'; DROP TABLE a; --' || i || E'\\\\' || chr(300 + i), 0 FROM generate_series(1, 500) i; \
             INSERT INTO b VALUES ('', 0), ('$1', 0), (':last', 0); \
             CREATE TABLE c (k varchar(9) NOT NULL, n int NOT NULL); CREATE INDEX ON c (k); INSERT INTO c SELECT 'x' || (i % 7), 0 FROM generate_series(1, 500) i; \
             CREATE TABLE d (k smallint PRIMARY KEY, n int NOT NULL); INSERT INTO d SELECT i, 0 FROM generate_series(-32768, -32268) i; INSERT INTO d VALUES (32767, 0); \
             CREATE TABLE e (k int PRIMARY KEY, n int NOT NULL)",
        )
        .await;
    let target = target(&postgres);
    for table in ["a", "b", "c", "d", "e"] {
        let text = format!(
            "-- handover: batch table=public.{table} key=k size=7\nUPDATE {table} SET n = n + 1 WHERE k >= :first AND k <= :last AND :first IS NOT NULL;"
        );
        let release = Release::new(&[("backfill/1_add.sql", &text)]);
        let (done, told) = apply(&target, &release, SchemaPhase::Backfill, &fast()).await;
        done.unwrap_or_else(|error| panic!("{table}: {}: {:#?}", error.chain(), told.all()));
        assert_eq!(
            postgres.number(&format!("SELECT count(*) FROM {table} WHERE n <> 1")).await,
            0,
            "{table}"
        );
        postgres.run("DROP TABLE handover_migrations, handover_backfills").await;
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_walked_over_is_refused_with_the_reason() {
    let Some(postgres) = Postgres::start("tables that cannot be walked over") else { return };
    postgres
        .run("CREATE TABLE a (k int, i int NOT NULL, d float NOT NULL, n int); CREATE INDEX ON a (k); CREATE INDEX ON a (n, i); CREATE INDEX ON a (d)")
        .await;
    for (table, key, words) in [
        ("a", "k", "may be NULL"),
        ("a", "i", "no index of \"a\" begins with i"),
        ("a", "d", "of type double precision"),
        ("a", "x", "no table \"a\" with a column x"),
        ("x", "k", "no table \"x\" with a column k"),
    ] {
        let error = said(
            apply(&target(&postgres), &adding(table, key, 10), SchemaPhase::Backfill, &limits()).await.0,
        );
        assert!(error.contains(words) && error.contains("nothing was done"), "{table}.{key}: {error}");
    }
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, 0);
}

#[tokio::test]
async fn a_backfill_is_paused_resumed_held_up_and_cancelled() {
    let Some(postgres) = Postgres::start("pausing a backfill") else { return };
    postgres.run("CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL); INSERT INTO orders SELECT i, 0 FROM generate_series(1, 3000) i").await;
    let release = adding("orders", "id", 10);
    let (held, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (hold, ask) = (Arc::clone(&held), Arc::clone(&asked));
    let brake: handover_schema::Brake = Arc::new(move || {
        ask.fetch_add(1, Ordering::SeqCst);
        hold.load(Ordering::SeqCst).then(|| "the pager is ringing".to_owned())
    });
    // The lease is shorter than any of the waits below: waiting is no standing still.
    let lease = Duration::from_millis(900);
    let throttle = Throttle {
        batch: Duration::from_millis(1),
        share: 20,
        look: Duration::from_millis(50),
        brake: Some(brake),
        ..Throttle::default()
    };
    let limits = Limits { lease, throttle, ..limits() };
    let (control, told) = (Control::new(), Told::default());
    let (target, heard, wish) = (target(&postgres), told.clone(), control.clone());
    let task = tokio::spawn(async move {
        apply_with(&target, &release, SchemaPhase::Backfill, &limits, &wish, heard).await.0
    });
    let deadline = Duration::from_secs(20);
    let done = "SELECT count(*) FROM orders WHERE n = 1";
    eventually(deadline, "some batches", || async { (postgres.number(done).await > 50).then_some(()) }).await;

    control.pause();
    eventually(deadline, "paused", || async { told.has("paused").then_some(()) }).await;
    let before = postgres.number(done).await;
    // It is the passing of time that is looked at: three leases.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(postgres.number(done).await, before);
    assert!(!told.has("the database is gone"), "{:#?}", told.all());
    control.resume();
    eventually(deadline, "it goes on", || async { (postgres.number(done).await > before).then_some(()) })
        .await;

    held.store(true, Ordering::SeqCst);
    eventually(deadline, "held up", || async { told.has("waits: the pager is ringing").then_some(()) }).await;
    let (before, times) = (postgres.number(done).await, asked.load(Ordering::SeqCst));
    eventually(deadline, "it looks again and again", || async {
        (asked.load(Ordering::SeqCst) > times + 20).then_some(())
    })
    .await;
    assert_eq!(postgres.number(done).await, before);
    held.store(false, Ordering::SeqCst);
    eventually(deadline, "it goes on", || async { (postgres.number(done).await > before).then_some(()) })
        .await;

    control.cancel();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    let walked = postgres.number("SELECT rows_done FROM handover_backfills").await;
    assert_eq!(postgres.number(done).await, walked);
}

#[tokio::test]
async fn a_batch_that_meets_a_lock_is_taken_back_and_done_again_smaller() {
    let Some(postgres) = Postgres::start("a batch that meets a lock") else { return };
    postgres.run("CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL); INSERT INTO orders SELECT i, 0 FROM generate_series(1, 300) i").await;
    let mut other = postgres.connect().await;
    other.execute("BEGIN").await.unwrap();
    other.execute("UPDATE orders SET n = n WHERE id = 150").await.unwrap();
    let limits = Limits { lock_timeout: Duration::from_millis(100), attempts: 100, ..fast() };
    let told = Told::default();
    let (target, heard) = (target(&postgres), told.clone());
    let release = adding("orders", "id", 100);
    let task = tokio::spawn(async move {
        apply_with(&target, &release, SchemaPhase::Backfill, &limits, &Control::new(), heard).await.0
    });
    eventually(Duration::from_secs(20), "three tries", || async { told.has("try 4 of 100").then_some(()) })
        .await;
    other.execute("COMMIT").await.unwrap();
    task.await.unwrap().unwrap();
    assert_eq!(postgres.number("SELECT count(*) FROM orders WHERE n = 1").await, 300);
}

#[tokio::test]
async fn a_backfill_waits_for_a_replica_that_is_behind() {
    let Some(postgres) = Postgres::start("a replica that is behind") else { return };
    postgres.run("CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL); INSERT INTO orders SELECT i, 0 FROM generate_series(1, 5000) i").await;
    let _replica = postgres.replica(Duration::from_secs(2));
    let attached = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    eventually(Duration::from_secs(20), "the replica is attached", || async {
        (postgres.number(attached).await == 1).then_some(())
    })
    .await;
    let throttle = Throttle {
        most_lag: Duration::from_millis(500),
        look: Duration::from_millis(100),
        batch: Duration::from_millis(20),
        share: 10,
        ..Throttle::default()
    };
    let limits = Limits { throttle, ..limits() };
    let release = adding("orders", "id", 2);
    let (target, told, control) = (target(&postgres), Told::default(), Control::new());
    let (done, ()) = tokio::join!(
        apply_with(&target, &release, SchemaPhase::Backfill, &limits, &control, told.clone()),
        async {
            eventually(Duration::from_secs(30), "it waits", || async {
                told.has("waits: a replica is ").then_some(())
            })
            .await;
            let held = postgres.number("SELECT count(*) FROM orders WHERE n = 1").await;
            assert!(held < 5000, "{held}");
            // It goes on when the replica has caught up: two more rows at least.
            eventually(Duration::from_secs(30), "it goes on", || async {
                (postgres.number("SELECT count(*) FROM orders WHERE n = 1").await > held).then_some(())
            })
            .await;
            control.cancel();
        }
    );
    assert!(matches!(done.0, Err(Error::Cancelled { .. })), "{:?}", done.0);
    let line = told.all().into_iter().find(|line| line.contains("waits: a replica")).unwrap();
    assert!(line.ends_with("s behind, 0.5 s is the most"), "{line}");
}
