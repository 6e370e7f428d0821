//! Backfills that are done again: all from one on, from their beginnings, once for each time that somebody says so.

use std::sync::Mutex;

use handover_schema::{
    Control, Found, Job, Kind, ProgramCall, ProgramEnd, Programs, RunsProgram, SchemaPhase, SchemaVersion,
    run,
};
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

/// Programs that end as was written down for each, and write down whether they were told that they had been cut off.
#[derive(Debug, Default)]
struct Scripted {
    ends: Mutex<Vec<Result<(), ProgramEnd>>>,
    again: Mutex<Vec<bool>>,
}

impl Programs for Scripted {
    fn run<'a>(&'a self, call: ProgramCall<'a>) -> RunsProgram<'a> {
        self.again.lock().unwrap().push(call.again);
        let end = self.ends.lock().unwrap().pop().unwrap_or(Ok(()));
        Box::pin(std::future::ready(end))
    }
}

#[tokio::test]
async fn a_program_that_is_done_again_begins_from_its_beginning_and_may_fail_below_others() {
    let Some(postgres) = Postgres::start("a program that is done again") else { return };
    let release = Release::new(&[
        ("backfill/1_a.run", "#!/bin/sh"),
        ("backfill/2_b.run", "#!/bin/sh"),
        ("contract/3_c.sql", "CREATE TABLE c (n int);"),
    ]);
    let (target, limits, programs) = (target(&postgres), limits(), Scripted::default());
    let scripts = release.scripts(Kind::Postgres);
    let of = |phase| Job { programs: Some(&programs), ..job(&target, &scripts, phase, &limits) };
    let apply = async |phase| run(&of(phase), &Control::new(), &mut |_| {}).await;
    apply(SchemaPhase::Backfill).await.unwrap();
    apply(SchemaPhase::Contract).await.unwrap();
    let (backfill, one) = (of(SchemaPhase::Backfill), SchemaVersion::new(1));

    let wrong = said(says(&of(SchemaPhase::Contract), one, Found::Again).await);
    assert!(wrong.contains("only backfills are done again"), "{wrong}");
    says(&backfill, one, Found::Again).await.unwrap();
    programs.ends.lock().unwrap().push(Err(ProgramEnd::Failed("exited with code 4".to_owned())));
    let failed = said(apply(SchemaPhase::Backfill).await);
    assert!(failed.contains("exited with code 4") && failed.contains("it counts as begun"), "{failed}");
    says(&backfill, one, Found::DidNot).await.unwrap();
    programs.ends.lock().unwrap().push(Err(ProgramEnd::CutOff("was killed".to_owned())));
    said(apply(SchemaPhase::Backfill).await);
    let done = apply(SchemaPhase::Backfill).await.unwrap();
    assert_eq!((done.from.number(), done.to.number()), (3, 3));
    let told = programs.again.lock().unwrap().clone();
    assert_eq!(
        told,
        [false, false, false, false, true, false],
        "only what was cut off goes on from where it was"
    );
    let open = "SELECT count(*) FROM handover_migrations WHERE state <> 'applied'";
    assert_eq!(postgres.number(open).await, 0);
}
