//! Others who use the file at the same time: they keep the runner from beginning, or from committing.

use std::path::Path;
use std::time::Duration;

use handover_schema::{Control, Kind, Limits, Progress, SchemaPhase, run};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use super::{number, release, target};
use crate::fixture::{job, limits};

/// Does something while the runner waits for its listener.
fn meanwhile<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
        });
        thread.join().unwrap()
    })
}

/// A transaction of somebody else's, unless the runner is in its way.
async fn transaction(file: &Path, how: &str) -> Option<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::ZERO);
    let mut connection = options.connect().await.unwrap();
    connection.execute(how).await.is_ok().then_some(connection)
}

/// Runs the release with somebody in the way at one of the things that are told, until the next one is. How many were told, and
/// whether the runner met him.
async fn with_somebody_in_the_way(how: &str, at: usize) -> (usize, bool) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    super::run(&file, "SELECT 1").await;
    let (release, target) = (release(), target(&file));
    let scripts = release.scripts(Kind::Sqlite);
    let limits = Limits {
        lock_timeout: Duration::from_millis(30),
        wait_for_lock: Duration::from_secs(10),
        ..limits()
    };
    let (mut told, mut met, mut somebody) = (Vec::new(), false, None);
    for phase in [SchemaPhase::Expand, SchemaPhase::Backfill] {
        let job = job(&target, &scripts, phase, &limits);
        let mut listener = |progress: Progress| {
            if let Some(connection) = somebody.take() {
                met = matches!(progress, Progress::Again { .. } | Progress::WaitsForLock { .. });
                meanwhile(SqliteConnection::close(connection)).unwrap();
            }
            told.push(progress.to_string());
            if told.len() == at {
                somebody = meanwhile(transaction(&file, how));
            }
        };
        let done = run(&job, &Control::new(), &mut listener).await;
        done.unwrap_or_else(|error| panic!("{how} at {at}: {}: {told:#?}", error.chain()));
    }
    drop(somebody);
    let all = "SELECT count(*) * 10 + (SELECT count(*) FROM handover_migrations WHERE state = 'applied') FROM orders WHERE n = 2";
    assert_eq!(number(&file, all).await, 34, "{how} at {at}: {told:#?}");
    (told.len(), met)
}

/// That a whole run waits for somebody, whenever he comes.
async fn whenever_he_comes(how: &str) {
    let (mut at, mut met) = (1, 0);
    loop {
        let (told, meets) = with_somebody_in_the_way(how, at).await;
        met += usize::from(meets);
        if told < at {
            break;
        }
        at += 1;
    }
    println!("{how}: met at {met} of {at} points");
    assert!(at > 25 && met > 8, "{how}: met at {met} of {at} points");
}

#[tokio::test]
async fn somebody_who_writes_is_waited_for_whenever_he_comes() {
    whenever_he_comes("BEGIN IMMEDIATE").await;
}

#[tokio::test]
async fn a_commit_that_a_reader_refuses_is_taken_back_and_tried_again() {
    whenever_he_comes("BEGIN; SELECT * FROM sqlite_master").await;
}
