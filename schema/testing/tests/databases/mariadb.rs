//! The runner against a real MariaDB, where what changes a schema commits by itself.

use std::time::{Duration, Instant};

use handover_schema::{
    Control, Found, Kind, Limits, PasswordSource, Progress, SchemaPhase, SchemaVersion, Target, run, status,
};
use handover_schema_testing::{MariaDb, Release, eventually};
use sqlx::Executor;

use crate::fixture::{Told, apply, apply_with, job, limits, said, says};
use crate::postgres::secrets::certificate as chain;
use crate::runner::Runner;

fn target(mariadb: &MariaDb) -> Target {
    Target {
        address: mariadb.address().parse().unwrap(),
        password: PasswordSource::None,
        credentials: None,
        schema: None,
    }
}

fn release() -> Release {
    Release::new(&[
        (
            "expand/1_table.sql",
            "CREATE TABLE orders (id INT PRIMARY KEY, n INT NOT NULL);\nINSERT INTO orders VALUES (1, 0), (2, 0), (5, 0);\nUPDATE orders SET n = n + 1;",
        ),
        (
            "expand/2_total.sql",
            "ALTER TABLE orders ADD total INT;\nCREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW BEGIN SET NEW.total = 1; END;",
        ),
        (
            "backfill/3_add.sql",
            "-- handover: batch table=orders key=id size=1\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;",
        ),
    ])
}

/// The numbers from 1 on as `seq`, of both servers.
fn numbers(count: u32) -> String {
    let digits = "(SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    format!(
        "FROM (SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n AS seq FROM {digits} a, {digits} b, {digits} c, {digits} d) AS numbers WHERE seq <= {count}"
    )
}

#[tokio::test]
async fn phases_are_applied_once_and_a_changed_file_is_refused() {
    let Some(mariadb) = MariaDb::start("MariaDB") else { return };
    mariadb.run("SELECT 1").await;
    let (release, target, limits) = (release(), target(&mariadb), limits());
    for phase in [SchemaPhase::Expand, SchemaPhase::Backfill, SchemaPhase::Expand] {
        let (done, told) = apply(&target, &release, phase, &limits).await;
        done.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), told.all()));
    }
    assert_eq!(mariadb.number("SELECT COUNT(*) FROM orders WHERE n = 2").await, 3);
    let found = status(&target, "shop", &limits).await.unwrap();
    assert_eq!((found.version.number(), found.records.len(), found.backfills[0].rows), (3, 3, 3));
    let now = mariadb.number("SELECT CAST(UNIX_TIMESTAMP() AS SIGNED)").await;
    assert!((found.records[0].started_ms / 1000 - now).abs() < 60, "{found:?}");
    release.write("expand/1_table.sql", "SELECT 1;");
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(error.contains("expand/0001_table.sql was applied as"), "{error}");
}

#[tokio::test]
async fn a_statement_that_fails_leaves_what_stands_before_it_and_says_so() {
    let Some(mariadb) = MariaDb::start("MariaDB, a failing statement") else { return };
    mariadb.run("CREATE TABLE other (n INT UNIQUE)").await;
    let release = Release::new(&[(
        "expand/1_a.sql",
        "CREATE TABLE a (n INT);\nINSERT INTO other SELECT 1;\nCREATE TABLE b (n INT);",
    )]);
    mariadb.run("INSERT INTO other VALUES (1)").await;
    let (target, limits) = (target(&mariadb), limits());
    let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    assert!(
        // MySQL names the key with its table.
        error.starts_with("expand/0001_a.sql, line 2: Duplicate entry '1' for key '")
            && error.contains("n' (1062)"),
        "{error}"
    );
    assert!(error.contains("statement 1 stands"), "{error}");
    mariadb.run("DELETE FROM other").await;
    let (done, told) = apply(&target, &release, SchemaPhase::Expand, &limits).await;
    assert_eq!(done.unwrap().to.number(), 1);
    assert!(told.has("statement 2 of 3") && !told.has("statement 1 of 3"), "{:#?}", told.all());
}

#[tokio::test]
async fn a_runner_that_is_killed_anywhere_goes_on_or_says_what_stands() {
    let Some(mariadb) = MariaDb::start("MariaDB, killing the runner") else { return };
    let (release, target) = (release(), target(&mariadb));
    let limits = Limits { wait_for_lock: Duration::from_secs(5), ..limits() };
    let scripts = release.scripts(Kind::MySql);
    let (mut at, mut asked) = (1, 0);
    loop {
        mariadb.run("DROP DATABASE shop").await;
        mariadb.run("SELECT 1").await;
        let kill_at = format!("kill-at={at}");
        let told =
            Runner::start(&mariadb.address(), &release, "expand", &["wait-ms=5000", &kill_at]).into_lines();
        if told.last().is_some_and(|line| line.starts_with("done")) {
            break;
        }
        let what = format!("killed at {:?}", told.last());
        let (mut done, _) = apply(&target, &release, SchemaPhase::Expand, &limits).await;
        while let Err(error) = done {
            let error = error.chain();
            assert!(
                error.contains("stands half") && error.contains("whether it took effect"),
                "{what}: {error}"
            );
            asked += 1;
            // What the person sees who looks.
            let (version, seen) = if error.contains("0001_table") {
                (
                    1,
                    mariadb
                        .number("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'orders'")
                        .await,
                )
            } else if error.contains("CREATE TRIGGER") {
                (
                    2,
                    mariadb
                        .number("SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_name = 't'")
                        .await,
                )
            } else {
                (2, mariadb.number("SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'total'").await)
            };
            let found = if seen == 1 { Found::TookEffect } else { Found::DidNot };
            says(&job(&target, &scripts, SchemaPhase::Expand, &limits), SchemaVersion::new(version), found)
                .await
                .unwrap();
            done = apply(&target, &release, SchemaPhase::Expand, &limits).await.0;
        }
        let rows = "SELECT COUNT(*) * 100 + SUM(n = 1) * 10 + (SELECT COUNT(*) FROM handover_migrations WHERE state = 'applied') FROM orders";
        assert_eq!(
            mariadb.number(&rows.replace("SUM(n = 1)", "CAST(SUM(n = 1) AS SIGNED)")).await,
            332,
            "{what}"
        );
        at += 1;
    }
    println!("{at} points, a person was asked {asked} times");
    // Only between the two records around a statement that commits by itself.
    assert!(at > 15 && (3..=9).contains(&asked), "{at} {asked}");
}

#[tokio::test]
async fn a_backfill_is_killed_with_the_server_and_does_every_row_once() {
    let Some(mut mariadb) = MariaDb::start("MariaDB, killing a backfill") else { return };
    mariadb
        .run("CREATE TABLE orders (id VARCHAR(40) COLLATE utf8mb4_unicode_ci PRIMARY KEY, n INT NOT NULL)")
        .await;
    mariadb.run(&format!("INSERT INTO orders SELECT CONCAT('o''\\\\', seq * 7), 0 {}", numbers(3000))).await;
    let release = Release::new(&[(
        "backfill/1_add.sql",
        "-- handover: batch table=orders key=id size=20\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;",
    )]);
    let (target, limits) = (target(&mariadb), Limits { wait_for_lock: Duration::from_secs(10), ..limits() });
    let done = "SELECT COUNT(*) FROM orders WHERE n = 1";
    for round in 0..3 {
        let before = mariadb.number(done).await;
        let mut runner = Runner::start(
            &mariadb.address(),
            &release,
            "backfill",
            &["batch-ms=1", "share=20", "wait-ms=10000", "reconnect-ms=20000"],
        );
        eventually(Duration::from_secs(30), "some batches", || async {
            (mariadb.number(done).await > before + 60).then_some(())
        })
        .await;
        if round == 1 {
            mariadb.crash();
            let after = mariadb.number(done).await;
            eventually(Duration::from_secs(30), "it goes on by itself", || async {
                (mariadb.number(done).await > after).then_some(())
            })
            .await;
        }
        runner.kill();
    }
    apply(&target, &release, SchemaPhase::Backfill, &limits).await.0.unwrap();
    assert_eq!(mariadb.number(done).await, 3000);
}

#[tokio::test]
async fn a_lock_is_waited_for_no_longer_than_its_timeout_and_two_at_once_cannot_happen() {
    let Some(mariadb) = MariaDb::start("MariaDB, locks") else { return };
    mariadb.run("CREATE TABLE orders (id INT PRIMARY KEY)").await;
    let mut long = mariadb.connect().await;
    long.execute("START TRANSACTION").await.unwrap();
    long.execute("SELECT * FROM orders").await.unwrap();
    let release = Release::new(&[("expand/1_total.sql", "ALTER TABLE orders ADD total INT;")]);
    let (target, limits) = (target(&mariadb), Limits { attempts: 100, ..limits() });
    let told = Told::default();
    let control = Control::new();
    let migration = apply_with(&target, &release, SchemaPhase::Expand, &limits, &control, told.clone());
    let (done, refused) = tokio::join!(migration, async {
        eventually(Duration::from_secs(20), "a try", || async { told.has("try 2 of 100").then_some(()) })
            .await;
        let refused = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
        let began = Instant::now();
        long.execute("SELECT * FROM orders").await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(3));
        long.execute("COMMIT").await.unwrap();
        refused
    });
    assert_eq!(done.0.unwrap().to.number(), 1);
    assert!(refused.starts_with("handover migrate shop by agent-1 (session "), "{refused}");
}

#[tokio::test]
async fn over_tcp_the_server_has_to_be_the_one_that_was_asked_for_and_the_password_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let (authority, certificate, key) = chain("127.0.0.1");
    let Some(mariadb) = MariaDb::start_with("MariaDB, TLS", Some((&certificate, &key))) else { return };
    mariadb.run("CREATE USER app@'%' IDENTIFIED BY 's3cret-p4ss'").await;
    mariadb.run("GRANT ALL ON shop.* TO app@'%'").await;
    let release = Release::new(&[("expand/1_a.sql", "CREATE TABLE a (n INT);")]);
    let (authority, other) = (write("authority", &authority), write("other", &chain("127.0.0.1").0));
    let (right, wrong) = (write("right", "s3cret-p4ss\n"), write("wrong", "s3cret-wr0ng"));
    let apply_as = async |options: String, password: &std::path::Path| {
        let address = format!("mysql://app@127.0.0.1:{}/shop?{options}", mariadb.port()).parse().unwrap();
        let password = PasswordSource::File(password.to_owned());
        let target = Target { address, password, credentials: None, schema: None };
        apply(&target, &release, SchemaPhase::Expand, &limits()).await.0
    };
    let known = format!("sslrootcert={}", authority.display());
    let refused = said(apply_as(format!("sslrootcert={}", other.display()), &right).await);
    assert!(
        refused.starts_with("cannot reach") && refused.contains("TLS: invalid peer certificate"),
        "{refused}"
    );
    let unencrypted = said(apply_as("sslmode=disable".to_owned(), &right).await);
    assert!(unencrypted.starts_with("cannot reach"), "{unencrypted}");
    let denied = said(apply_as(known.clone(), &wrong).await);
    assert!(denied.contains("Access denied for user 'app'") && !denied.contains("s3cret"), "{denied}");
    assert_eq!(apply_as(known, &right).await.unwrap().to.number(), 1);
}

#[tokio::test]
async fn what_the_server_does_not_take_back_as_a_whole_is_neither_forgotten_nor_tried_again() {
    let Some(mariadb) = MariaDb::start("MariaDB, a procedure that fails midway") else { return };
    mariadb.run("CREATE PROCEDURE p() BEGIN CREATE TABLE b (n INT); CREATE TABLE b (n INT); END").await;
    mariadb.run("CREATE TABLE c (n INT)").await;
    let (target, limits) = (target(&mariadb), limits());
    for (statement, gone) in [("CALL p()", "b"), ("DROP TABLE c, d", "c")] {
        mariadb.run("DROP TABLE IF EXISTS handover_migrations").await;
        let release = Release::new(&[(
            "expand/1_a.sql",
            &format!("CREATE TABLE IF NOT EXISTS a (n INT);\n{statement};"),
        )]);
        let there = format!(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = '{gone}'"
        );
        let before = mariadb.number(&there).await;
        let error = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
        // MySQL drops several tables as a whole or not at all; that it did is not asked.
        if !(mariadb.is_mysql() && statement.starts_with("DROP")) {
            assert_ne!(mariadb.number(&there).await, before, "{statement}: a part of it stands");
        }
        assert!(
            error.starts_with("expand/0001_a.sql stands half: its statement was begun and failed"),
            "{error}"
        );
        let again = said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
        assert!(
            again.contains("statement 2 (line 2: ") && again.contains("whether it took effect"),
            "{again}"
        );
    }
}

#[tokio::test]
async fn what_took_effect_is_a_statement_that_was_begun_of_the_file_that_was_begun() {
    let Some(mariadb) = MariaDb::start("MariaDB, saying that something took effect") else { return };
    mariadb.run("CREATE TABLE b (n INT)").await;
    let release = Release::new(&[("expand/1_a.sql", "CREATE TABLE a (n INT);\nCREATE TABLE b (n INT);")]);
    let (target, limits, one) = (target(&mariadb), limits(), SchemaVersion::new(1));
    said(apply(&target, &release, SchemaPhase::Expand, &limits).await.0);
    let scripts = release.scripts(Kind::MySql);
    let begun = job(&target, &scripts, SchemaPhase::Expand, &limits);
    // The second one failed, and so is not recorded as begun any more.
    for found in [Found::TookEffect, Found::DidNot] {
        let error = said(says(&begun, one, found).await);
        assert!(
            error.contains("1 of its statements are recorded as applied, and none beyond them"),
            "{error}"
        );
    }
    mariadb.run("UPDATE handover_migrations SET begun = 2").await;
    release.write("expand/1_a.sql", "CREATE TABLE a (n INT);\nCREATE TABLE c (n INT);");
    let others = release.scripts(Kind::MySql);
    let other = job(&target, &others, SchemaPhase::Expand, &limits);
    let error = said(says(&other, one, Found::TookEffect).await);
    assert!(error.contains("expand/0001_a.sql was applied as"), "{error}");
    assert_eq!(mariadb.number("SELECT done FROM handover_migrations WHERE state = 'started'").await, 1);
    says(&begun, one, Found::TookEffect).await.unwrap();
    assert_eq!(mariadb.number("SELECT COUNT(*) FROM handover_migrations WHERE state = 'applied'").await, 1);
}

#[tokio::test]
async fn rows_are_estimated_of_the_table_that_is_walked_over_wherever_the_history_is() {
    let Some(mariadb) = MariaDb::start("MariaDB, a history elsewhere") else { return };
    mariadb.run("CREATE TABLE orders (id INT PRIMARY KEY, n INT NOT NULL)").await;
    mariadb.run(&format!("INSERT INTO orders SELECT seq, 0 {}", numbers(300))).await;
    mariadb.run("ANALYZE TABLE orders").await;
    mariadb.run("CREATE DATABASE history").await;
    let (target, limits) = (Target { schema: Some("history".to_owned()), ..target(&mariadb) }, limits());
    for (table, version) in [("orders", 1), ("shop.orders", 2)] {
        let text = format!(
            "-- handover: batch table={table} key=id size=100\nUPDATE orders SET n = n + 1 WHERE id BETWEEN :first AND :last;"
        );
        let release = Release::new(&[(&format!("backfill/{version}_add.sql"), &text)]);
        let (done, told) = apply(&target, &release, SchemaPhase::Backfill, &limits).await;
        done.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), told.all()));
        assert!(told.has("rows of about 300"), "{:#?}", told.all());
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
    let Some(mariadb) = MariaDb::start("MariaDB that stands still") else { return };
    mariadb.run("SELECT 1").await;
    let release = Release::new(&[("expand/1_a.sql", "CREATE TABLE a (n INT);")]);
    let (target, limits) = (target(&mariadb), Limits { reconnect: Duration::ZERO, ..limits() });
    let scripts = release.scripts(Kind::MySql);
    let job = job(&target, &scripts, SchemaPhase::Expand, &limits);
    let mut listener = |progress: Progress| {
        if progress == Progress::Locked {
            mariadb.freeze();
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), run(&job, &Control::new(), &mut listener)).await;
    mariadb.thaw();
    let error = said(done.expect("it comes to an end"));
    assert!(error.contains("no answer within 10 s") && error.contains("Nothing was done"), "{error}");
}
