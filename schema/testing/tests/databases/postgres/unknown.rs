//! What cannot be told: a statement that failed outside of any transaction, a commit whose answer did not come, an answer that does
//! not come; and what a person says of it.

use std::time::{Duration, Instant};

use handover_schema::{Control, Found, Kind, Limits, Progress, SchemaPhase, SchemaVersion, run};
use handover_schema_testing::{Postgres, Release, Setup, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Executor;

use super::{psql, target};
use crate::fixture::{Told, apply, apply_with, job, limits, said, says};

const OURS: &str = "application_name LIKE 'handover migrate%'";
const ONE: SchemaVersion = SchemaVersion::new(1);

#[tokio::test]
async fn what_fails_outside_of_a_transaction_is_neither_forgotten_nor_tried_again() {
    let Some(postgres) = Postgres::start("a procedure that commits and fails") else { return };
    postgres
        .run(
            "CREATE TABLE done (n int); CREATE TABLE orders (n int); \
             CREATE PROCEDURE fails() LANGUAGE plpgsql AS 'BEGIN INSERT INTO done VALUES (1); COMMIT; RAISE EXCEPTION ''no further''; END'; \
             CREATE PROCEDURE locked() LANGUAGE plpgsql AS 'BEGIN INSERT INTO done VALUES (1); COMMIT; LOCK TABLE orders; END'",
        )
        .await;
    let mut long = postgres.connect().await;
    long.execute("BEGIN").await.unwrap();
    long.execute("SELECT * FROM orders").await.unwrap();
    let (target, limits) = (target(&postgres), limits());
    for (procedure, words) in [("fails", "no further (P0001)"), ("locked", "lock timeout (55P03)")] {
        postgres.run("TRUNCATE done; DROP TABLE IF EXISTS handover_migrations").await;
        let text =
            format!("-- handover: no transaction\n-- handover: lock_timeout=100ms\nCALL {procedure}();");
        let release = Release::new(&[("expand/1_call.sql", &text)]);
        let (done, told) = apply(&target, &release, SchemaPhase::Expand, &limits).await;
        let error = said(done);
        assert!(error.starts_with("expand/0001_call.sql stands half: its statement was begun"), "{error}");
        assert!(error.contains(words) && !error.contains("nothing stands"), "{error}");
        assert!(!told.has("taken back, try"), "{:#?}", told.all());
        let again = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
        assert!(again.contains("stands half"), "{again}");
        assert_eq!(postgres.number("SELECT count(*) FROM done").await, 1, "{procedure} ran once");
        let scripts = release.scripts(Kind::Postgres);
        says(&job(&target, &scripts, SchemaPhase::Expand, &limits), ONE, Found::DidNot).await.unwrap();
        assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations").await, 0);
    }
}

#[tokio::test]
async fn a_backfill_is_put_back_as_a_whole_or_not_at_all() {
    let Some(postgres) = Postgres::start("putting a backfill back") else { return };
    postgres
        .run("CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL); INSERT INTO orders VALUES (1, 0), (2, 0)")
        .await;
    let release = Release::new(&[(
        "backfill/1_add.sql",
        "-- handover: batch table=orders key=id size=1\nUPDATE orders SET n = 1 / (2 - id) WHERE id BETWEEN :first AND :last;",
    )]);
    let (target, limits) = (target(&postgres), limits());
    let error = said(apply(&target, &release, SchemaPhase::Backfill, &limits).await.0);
    assert!(error.contains("division by zero") && error.contains("the batches before stand"), "{error}");
    postgres.run("ALTER TABLE orders DROP CONSTRAINT orders_pkey").await;
    let error = said(apply(&target, &release, SchemaPhase::Backfill, &limits).await.0);
    assert!(
        error.contains("no index of")
            && error.ends_with("the batches before stand, and nothing more was done"),
        "{error}"
    );
    let scripts = release.scripts(Kind::Postgres);
    let job = job(&target, &scripts, SchemaPhase::Backfill, &limits);
    let error = said(says(&job, ONE, Found::TookEffect).await);
    assert!(error.contains("it goes on where it stands"), "{error}");
    postgres
        .run(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''it stays''; END'; \
             CREATE TRIGGER keep BEFORE DELETE ON handover_backfills FOR EACH ROW EXECUTE FUNCTION keep()",
        )
        .await;
    let both =
        "SELECT (SELECT count(*) FROM handover_migrations) * 10 + (SELECT count(*) FROM handover_backfills)";
    let error = said(says(&job, ONE, Found::PutBack).await);
    assert!(error.contains("it stays"), "{error}");
    assert_eq!(postgres.number(both).await, 11);
    postgres.run("DROP TRIGGER keep ON handover_backfills").await;
    says(&job, ONE, Found::PutBack).await.unwrap();
    assert_eq!(postgres.number(both).await, 0);
}

#[tokio::test]
async fn what_took_effect_is_what_was_begun_and_no_other_file() {
    let Some(postgres) = Postgres::start("saying that something took effect") else { return };
    let release = Release::new(&[("expand/1_a.sql", "-- handover: no transaction\nSELECT 1 / 0;")]);
    let (target, limits) = (target(&postgres), limits());
    said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    release.write("expand/1_a.sql", "-- handover: no transaction\nSELECT 1;");
    let scripts = release.scripts(Kind::Postgres);
    let job = job(&target, &scripts, SchemaPhase::Expand, &limits);
    let error = said(says(&job, ONE, Found::TookEffect).await);
    assert!(error.contains("expand/0001_a.sql was applied as"), "{error}");
    assert_eq!(postgres.number("SELECT count(*) FROM handover_migrations WHERE state = 'started'").await, 1);
    // Of what did not take effect nothing stands, so its file may be corrected.
    says(&job, ONE, Found::DidNot).await.unwrap();
    assert_eq!(apply(&target, &release, SchemaPhase::Expand, &limits).await.0.unwrap().to, ONE);
}

/// A commit that is done and whose answer waits for a replica that there is not.
fn waits_for_nobody() -> (Setup, Release) {
    let settings = ["synchronous_standby_names = 'nobody'", "synchronous_commit = local"];
    let setup = Setup { settings: settings.into_iter().map(ToOwned::to_owned).collect(), ..Setup::default() };
    let release = Release::new(&[
        ("expand/1_a.sql", "SET LOCAL synchronous_commit = on;\nCREATE TABLE a (n int);"),
        ("expand/2_b.sql", "CREATE TABLE b (n int);"),
    ]);
    (setup, release)
}

const COMMITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_by_what_the_record_says_afterwards() {
    let (setup, release) = waits_for_nobody();
    let Some(postgres) = Postgres::start_with("a lost answer", &setup) else { return };
    let (target, limits) = (target(&postgres), limits());
    let (done, ()) = tokio::join!(apply(&target, &release, SchemaPhase::Expand, &limits), async {
        eventually(Duration::from_secs(20), "it has committed", || async {
            (postgres.number(COMMITS).await == 1).then_some(())
        })
        .await;
        postgres.run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")).await;
    });
    let (done, told) = done;
    let done = done.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), told.all()));
    let files: Vec<&str> = done.applied.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!((done.from, files), (SchemaVersion::NONE, vec!["expand/0001_a.sql", "expand/0002_b.sql"]));
    assert!(told.has("the database is gone"), "{:#?}", told.all());
    assert_eq!(told.all().iter().filter(|line| line.starts_with("expand/0001_a.sql: applied")).count(), 1);
}

#[tokio::test]
async fn of_a_database_that_does_not_come_back_is_told_what_was_read_last_and_no_more() {
    let (setup, release) = waits_for_nobody();
    let Some(mut postgres) = Postgres::start_with("no way back", &setup) else { return };
    let (target, limits) = (target(&postgres), Limits { reconnect: Duration::from_millis(500), ..limits() });
    let runs = tokio::spawn(async move { apply(&target, &release, SchemaPhase::Expand, &limits).await.0 });
    eventually(Duration::from_secs(20), "it has committed", || async {
        (postgres.number(COMMITS).await == 1).then_some(())
    })
    .await;
    postgres.kill();
    let error = said(runs.await.unwrap());
    assert!(error.starts_with("the database went away and did not come back"), "{error}");
    assert!(error.contains("The schema was at version 0 when it was read last; whether"), "{error}");
    assert!(!error.contains("taken back") && !error.contains("nothing was done"), "{error}");
}

#[tokio::test]
async fn a_runner_that_is_kept_out_after_it_was_cut_off_says_what_stands_now() {
    let Some(postgres) = Postgres::start("kept out") else { return };
    postgres.run("CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app").await;
    let target = handover_schema::Target {
        address: postgres.address("app").parse().unwrap(),
        schema: Some("app".to_owned()),
        ..target(&postgres)
    };
    let release = Release::new(&[
        ("expand/1_a.sql", "CREATE TABLE app.a (n int);"),
        ("expand/2_b.sql", "SELECT pg_sleep(600);"),
    ]);
    let (control, told, limits) = (Control::new(), Told::default(), limits());
    let (done, ()) = tokio::join!(
        apply_with(&target, &release, SchemaPhase::Expand, &limits, &control, told.clone()),
        async {
            eventually(Duration::from_secs(20), "the second file runs", || async {
                told.has("expand/0002_b.sql: statement 1 of 1").then_some(())
            })
            .await;
            postgres.run("ALTER ROLE app NOLOGIN").await;
            postgres
                .run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}"))
                .await;
        }
    );
    let error = said(done.0);
    assert!(error.contains("is not permitted to log in"), "{error}");
    assert!(error.contains("The schema was at version 1 when it was read last"), "{error}");
    assert!(!error.contains("othing was done"), "{error}");
}

#[tokio::test]
async fn a_runner_that_finds_another_after_it_was_cut_off_says_what_the_record_says() {
    let (setup, release) = waits_for_nobody();
    let Some(postgres) = Postgres::start_with("another one in between", &setup) else { return };
    let (target, limits) = (target(&postgres), Limits { lease: Duration::from_millis(500), ..limits() });
    let mut other = postgres.connect().await;
    let (done, ()) = tokio::join!(apply(&target, &release, SchemaPhase::Expand, &limits), async {
        eventually(Duration::from_secs(20), "it has committed", || async {
            (postgres.number(COMMITS).await == 1).then_some(())
        })
        .await;
        let lock = postgres
            .number(
                "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory'",
            )
            .await;
        let takes = format!("SELECT pg_advisory_lock({lock})");
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        tokio::join!(async { other.execute(takes.as_str()).await.unwrap() }, async {
            eventually(Duration::from_secs(20), "the other one waits", || async {
                (postgres.number(waits).await == 1).then_some(())
            })
            .await;
            postgres
                .run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}"))
                .await;
        });
    });
    let error = said(done.0);
    assert!(error.starts_with("test (session "), "{error}");
    assert!(error.contains("the connection was lost, and the schema is at version 1; wait until"), "{error}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
    let Some(postgres) = Postgres::start("a session that stands still") else { return };
    let release = Release::new(&[("expand/1_a.sql", "CREATE TABLE a (n int);")]);
    let (target, limits) = (target(&postgres), Limits { reconnect: Duration::ZERO, ..limits() });
    let scripts = release.scripts(Kind::Postgres);
    let job = job(&target, &scripts, SchemaPhase::Expand, &limits);
    let mut session = None;
    let mut listener = |progress: Progress| {
        if progress == Progress::Locked {
            let pid = psql(&postgres, &format!("SELECT pid FROM pg_stat_activity WHERE {OURS}"));
            let pid = Pid::from_raw(pid.trim().parse().unwrap());
            kill(pid, Signal::SIGSTOP).unwrap();
            session = Some(pid);
        }
    };
    let began = Instant::now();
    let done = tokio::time::timeout(Duration::from_secs(60), run(&job, &Control::new(), &mut listener)).await;
    kill(session.unwrap(), Signal::SIGCONT).unwrap();
    let error = said(done.expect("it comes to an end"));
    println!("after {:?}: {error}", began.elapsed());
    assert!(error.contains("no answer within 10 s") && error.contains("Nothing was done"), "{error}");
}
