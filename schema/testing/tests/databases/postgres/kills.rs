//! kill -9 of the runner, of its session, of PostgreSQL, at every thing that a run tells.

use std::time::{Duration, Instant};

use handover_schema::{Control, Limits, Progress, SchemaPhase, run, status};
use handover_schema_testing::{Postgres, Release, eventually};
use nix::sys::signal::Signal;

use super::{psql, target};
use crate::fixture::{job, limits};
use crate::runner::Runner;

/// Something of each kind. What is done twice can be seen of each.
fn release() -> Release {
    Release::new(&[
        (
            "expand/1_table.sql",
            "CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL);\nINSERT INTO orders SELECT i, 0 FROM generate_series(1, 40) i;",
        ),
        ("expand/2_index.sql", "CREATE INDEX CONCURRENTLY orders_n ON orders (n);"),
        ("expand/3_add.sql", "UPDATE orders SET n = n + 1;\nINSERT INTO orders VALUES (1000, 1);"),
        (
            "backfill/4_add.sql",
            "-- handover: batch table=orders key=id size=15\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;",
        ),
    ])
}

const EMPTY: &str = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";

/// That all of it was done, each part once.
async fn done_once(postgres: &Postgres, what: &str) {
    let rows = "SELECT count(*) * 1000 + count(*) FILTER (WHERE n = 2) FROM orders";
    assert_eq!(postgres.number(rows).await, 41_041, "{what}");
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(postgres.number(invalid).await, 0, "{what}");
    let index = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'orders_n%'";
    assert_eq!(postgres.number(index).await, 1, "{what}");
    let records = "SELECT string_agg(version || state, ' ' ORDER BY version) FROM handover_migrations";
    assert_eq!(postgres.text(records).await, "1applied 2applied 3applied 4applied", "{what}");
}

#[tokio::test]
async fn a_runner_that_is_killed_anywhere_leaves_what_another_finishes() {
    let Some(postgres) = Postgres::start("killing the runner") else { return };
    let release = release();
    let address = postgres.address("postgres");
    let options = ["lease-ms=3000", "share=100", "wait-ms=5000"];
    let mut at = 0;
    let mut longest = Duration::ZERO;
    for phase in ["expand", "backfill"] {
        at = 1;
        loop {
            postgres.run(EMPTY).await;
            if phase == "backfill" {
                assert!(
                    Runner::start(&address, &release, "expand", &options)
                        .into_lines()
                        .last()
                        .unwrap()
                        .starts_with("done")
                );
            }
            let kill_at = format!("kill-at={at}");
            let told =
                Runner::start(&address, &release, phase, &[&options[..], &[&kill_at]].concat()).into_lines();
            if told.last().is_some_and(|line| line.starts_with("done")) {
                break;
            }
            let (what, began) = (format!("{phase} killed at {:?}", told.last()), Instant::now());
            // A release's phases come in their order; what is whole is nothing to do.
            for phase in if phase == "expand" { &["expand", "backfill"][..] } else { &["backfill", "expand"] }
            {
                let again = Runner::start(&address, &release, phase, &options).into_lines();
                longest = longest.max(began.elapsed());
                assert!(again.last().unwrap().starts_with("done"), "{what}: {again:#?}");
            }
            done_once(&postgres, &what).await;
            at += 1;
        }
    }
    println!("{at} points of the backfill; the longest recovery took {longest:?}");
    assert!(at > 10, "{at}");
}

#[tokio::test]
async fn a_session_that_is_ended_anywhere_is_opened_anew_and_nothing_is_done_twice() {
    let Some(postgres) = Postgres::start("ending the session") else { return };
    let release = release();
    let (target, limits) = (target(&postgres), limits());
    let scripts = release.scripts(handover_schema::Kind::Postgres);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'handover migrate%'";
    let mut at = 1;
    loop {
        postgres.run(EMPTY).await;
        let mut told = Vec::new();
        for phase in [SchemaPhase::Expand, SchemaPhase::Backfill] {
            let job = job(&target, &scripts, phase, &limits);
            let mut listener = |progress: Progress| {
                told.push(progress.to_string());
                if told.len() == at {
                    psql(&postgres, end);
                }
            };
            let done = run(&job, &Control::new(), &mut listener).await;
            done.unwrap_or_else(|error| panic!("{}: {told:#?}", error.chain()));
        }
        done_once(&postgres, &format!("ended at {at}: {told:#?}")).await;
        if told.len() < at {
            break;
        }
        at += 1;
    }
    assert!(at > 30, "{at}");
}

#[tokio::test]
async fn a_postgres_that_is_killed_anywhere_comes_back_and_nothing_is_done_twice() {
    let Some(mut postgres) = Postgres::start("killing PostgreSQL") else { return };
    let release = release();
    let (target, limits) = (target(&postgres), limits());
    let scripts = release.scripts(handover_schema::Kind::Postgres);
    let mut at = 1;
    loop {
        let mut told = Vec::new();
        for phase in [SchemaPhase::Expand, SchemaPhase::Backfill] {
            let job = job(&target, &scripts, phase, &limits);
            let mut listener = |progress: Progress| {
                told.push(progress.to_string());
                if told.len() == at {
                    postgres.kill();
                    postgres.restart();
                }
            };
            let done = run(&job, &Control::new(), &mut listener).await;
            done.unwrap_or_else(|error| panic!("{}: {told:#?}", error.chain()));
        }
        done_once(&postgres, &format!("killed at {at}: {told:#?}")).await;
        if told.len() < at {
            break;
        }
        postgres.run(EMPTY).await;
        at += 1;
    }
    assert!(at > 30, "{at}");
}

#[tokio::test]
async fn the_lock_of_a_runner_that_is_killed_while_its_statement_runs_is_free_within_the_lease() {
    let Some(postgres) = Postgres::start("the lock of a killed runner") else { return };
    let release = Release::new(&[("expand/1_sleep.sql", "CREATE TABLE a (n int);\nSELECT pg_sleep(600);")]);
    let mut runner = Runner::start(&postgres.address("postgres"), &release, "expand", &["lease-ms=3000"]);
    let asleep =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%' AND state = 'active'";
    eventually(Duration::from_secs(20), "the statement runs", || async {
        (postgres.number(asleep).await == 1).then_some(())
    })
    .await;
    runner.kill();
    let killed = Instant::now();
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    eventually(Duration::from_secs(10), "the lock is free", || async {
        (postgres.number(locks).await == 0).then_some(())
    })
    .await;
    println!("free after {:?}", killed.elapsed());
    // The lease, and what a busy machine needs to look.
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    let status = status(&target(&postgres), "shop", &limits()).await.unwrap();
    assert_eq!((status.version.number(), status.records), (0, vec![]));
}

#[tokio::test]
async fn a_runner_that_stands_still_loses_the_lock_after_the_lease_and_commits_nothing_afterwards() {
    let Some(postgres) = Postgres::start("a runner that stands still") else { return };
    postgres.run("CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL); INSERT INTO orders SELECT i, 0 FROM generate_series(1, 2000) i").await;
    let batch = "-- handover: batch table=orders key=id size=10\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;";
    let release = Release::new(&[("backfill/1_add.sql", batch)]);
    let (target, limits) = (target(&postgres), Limits { wait_for_lock: Duration::from_secs(10), ..limits() });
    let mut runner = Runner::start(
        &postgres.address("postgres"),
        &release,
        "backfill",
        &["lease-ms=3000", "batch-ms=1", "share=2"],
    );
    let begun = "SELECT count(*) FROM pg_tables WHERE tablename = 'orders' AND (SELECT count(*) FROM orders WHERE n = 1) > 20";
    eventually(Duration::from_secs(20), "some batches", || async {
        (postgres.number(begun).await == 1).then_some(())
    })
    .await;
    runner.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let scripts = release.scripts(handover_schema::Kind::Postgres);
    let other = job(&target, &scripts, SchemaPhase::Backfill, &limits);
    let mut locked = None;
    let mut listener = |progress: Progress| {
        if progress == Progress::Locked {
            locked = Some(stopped.elapsed());
        }
    };
    run(&other, &Control::new(), &mut listener).await.unwrap();
    println!("the other had the lock after {locked:?}");
    assert!(locked.unwrap() < Duration::from_secs(6), "{locked:?}");
    runner.signal(Signal::SIGCONT);
    eventually(Duration::from_secs(30), "the first has ended", || {
        let ended = runner.has_ended();
        async move { ended.then_some(()) }
    })
    .await;
    let told = runner.into_lines();
    assert!(
        told.iter().any(|line| line.contains("the database is gone"))
            && told.last().unwrap().starts_with("done"),
        "{told:#?}"
    );
    assert_eq!(postgres.number("SELECT count(*) FROM orders WHERE n = 1").await, 2000);
}
