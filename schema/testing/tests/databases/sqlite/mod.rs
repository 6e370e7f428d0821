//! The runner against SQLite.

mod in_the_way;

use std::path::Path;
use std::time::{Duration, Instant};

use handover_schema::{Control, Error, Limits, PasswordSource, SchemaPhase, Target, status};
use handover_schema_testing::{Release, eventually, execute, value};
use nix::sys::signal::Signal;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::fixture::{Told, apply, apply_with, limits, said};
use crate::runner::Runner;

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.unwrap()
}

async fn run(file: &Path, sql: &str) {
    execute(connect(file).await, sql).await;
}

async fn number(file: &Path, sql: &str) -> i64 {
    value(connect(file).await, sql).await
}

fn target(file: &Path) -> Target {
    Target {
        address: address(file).parse().unwrap(),
        password: PasswordSource::None,
        credentials: None,
        schema: None,
    }
}

fn address(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

fn release() -> Release {
    Release::new(&[
        (
            "expand/1_table.sql",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);\nINSERT INTO orders VALUES (1, 0), (2, 0), (5, 0);\nCREATE TRIGGER t AFTER DELETE ON orders BEGIN SELECT 1; SELECT 2; END;",
        ),
        ("expand/2_vacuum.sql", "VACUUM;"),
        ("expand/3_add.sql", "UPDATE orders SET n = n + 1;"),
        (
            "backfill/4_add.sql",
            "-- handover: batch table=orders key=id size=1\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;",
        ),
    ])
}

#[tokio::test]
async fn phases_are_applied_once_and_a_failing_file_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    let (release, target, limits) = (release(), target(&file), limits());
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(
        error.starts_with("cannot reach ") && !file.exists(),
        "a file that is not there is not made: {error}"
    );
    run(&file, "SELECT 1").await;
    for phase in [SchemaPhase::Expand, SchemaPhase::Backfill, SchemaPhase::Expand] {
        let (done, told) = apply(&target, &release, phase, &limits).await;
        done.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), told.all()));
    }
    assert_eq!(number(&file, "SELECT count(*) FROM orders WHERE n = 2").await, 3);
    let found = status(&target, "shop", &limits).await.unwrap();
    assert_eq!((found.version.number(), found.holder.as_deref()), (4, None));
    let now = number(&file, "SELECT unixepoch()").await;
    assert!((found.records[0].started_ms / 1000 - now).abs() < 60, "{found:?}");
    release.write("contract/5_bad.sql", "CREATE TABLE a (n INT);\nSELECT nothing;");
    let error = said(apply(&target, &release, SchemaPhase::Contract, &limits).await.0);
    assert!(error.starts_with("contract/0005_bad.sql, line 2: "), "{error}");
    assert_eq!(number(&file, "SELECT count(*) FROM sqlite_master WHERE name = 'a'").await, 0);
}

#[tokio::test]
async fn a_runner_that_is_killed_anywhere_leaves_what_another_finishes_once_its_lease_is_over() {
    let release = release();
    let mut at = 1;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db");
        run(&file, "SELECT 1").await;
        let options = ["lease-ms=300", "wait-ms=3000"];
        let kill_at = format!("kill-at={at}");
        let told = Runner::start(&address(&file), &release, "expand", &[&options[..], &[&kill_at]].concat())
            .into_lines();
        if told.last().is_some_and(|line| line.starts_with("done")) {
            break;
        }
        let again = Runner::start(&address(&file), &release, "expand", &options).into_lines();
        assert!(again.last().unwrap().starts_with("done: version 3"), "{told:#?} {again:#?}");
        let all = "SELECT count(*) * 10 + (SELECT count(*) FROM handover_migrations WHERE state = 'applied') FROM orders WHERE n = 1";
        assert_eq!(number(&file, all).await, 33, "{told:#?}");
        at += 1;
    }
    assert!(at > 12, "{at}");
}

#[tokio::test]
async fn a_runner_that_stands_still_loses_the_lock_after_its_lease_and_does_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    run(&file, "CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, n INTEGER NOT NULL)").await;
    run(&file, "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 500) INSERT INTO orders SELECT 'o''' || i, 0 FROM s").await;
    let release = Release::new(&[(
        "backfill/1_add.sql",
        "-- handover: batch table=orders key=id size=5\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;",
    )]);
    let runner =
        Runner::start(&address(&file), &release, "backfill", &["lease-ms=1500", "batch-ms=1", "share=5"]);
    let done = "SELECT count(*) FROM orders WHERE n = 1";
    eventually(Duration::from_secs(20), "some batches", || async {
        (number(&file, done).await > 20).then_some(())
    })
    .await;
    let limits = Limits { lease: Duration::from_millis(1500), ..limits() };
    let error = said(apply(&target(&file), &release, SchemaPhase::Backfill, &limits).await.0);
    assert!(error.starts_with("handover migrate shop by test (process "), "{error}");
    runner.signal(Signal::SIGSTOP);
    let patient = Limits { wait_for_lock: Duration::from_secs(10), ..limits };
    let (second, told) = apply(&target(&file), &release, SchemaPhase::Backfill, &patient).await;
    second.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), told.all()));
    runner.signal(Signal::SIGCONT);
    let told = runner.into_lines();
    assert!(told.last().unwrap().contains("does not have the lock any more"), "{told:#?}");
    assert_eq!(number(&file, done).await, 500);
}

#[tokio::test]
async fn a_statement_without_end_is_ended_by_its_time_or_by_somebody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    run(&file, "SELECT 1").await;
    let forever = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s) SELECT count(*) FROM s;";
    let release =
        Release::new(&[("expand/1_a.sql", &format!("-- handover: statement_timeout=200ms\n{forever}"))]);
    let began = Instant::now();
    let error = said(apply(&target(&file), &release, SchemaPhase::Expand, &limits()).await.0);
    assert!(error.contains("interrupted (9)") && began.elapsed() < Duration::from_secs(20), "{error}");
    let release = Release::new(&[("expand/1_a.sql", forever)]);
    let (control, told) = (Control::new(), Told::default());
    let (target, limits) = (target(&file), limits());
    let (done, ()) = tokio::join!(
        apply_with(&target, &release, SchemaPhase::Expand, &limits, &control, told.clone()),
        async {
            eventually(Duration::from_secs(10), "it runs", || async {
                told.has("statement 1 of 1").then_some(())
            })
            .await;
            control.cancel();
        }
    );
    assert!(matches!(done.0, Err(Error::Cancelled { .. })), "{:?}", done.0);
    assert_eq!(number(&file, "SELECT count(*) FROM handover_migrations").await, 0);
}

#[tokio::test]
async fn a_pause_is_none_of_the_time_that_a_run_may_take() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    run(&file, "CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)").await;
    run(&file, "INSERT INTO orders VALUES (1, 0), (2, 0), (5, 0)").await;
    let release = Release::new(&[(
        "backfill/1_add.sql",
        "-- handover: batch table=orders key=id size=1\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;",
    )]);
    let limits = Limits { whole: Duration::from_secs(2), ..limits() };
    let (target, control, told, began) = (target(&file), Control::new(), Told::default(), Instant::now());
    control.pause();
    let (done, ()) = tokio::join!(
        apply_with(&target, &release, SchemaPhase::Backfill, &limits, &control, told.clone()),
        async {
            eventually(Duration::from_secs(20), "it is paused for longer than it may take", || async {
                (told.has("paused") && began.elapsed() > limits.whole + Duration::from_secs(2)).then_some(())
            })
            .await;
            control.resume();
        }
    );
    done.0.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), told.all()));
    assert_eq!(number(&file, "SELECT count(*) FROM orders WHERE n = 1").await, 3);
}
