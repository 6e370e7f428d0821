//! PostgreSQL.

mod anew;
mod applying;
mod backfills;
mod indexes;
mod kills;
mod locks;
pub(crate) mod secrets;
mod unknown;

use std::process::Command;

use handover_schema::{PasswordSource, Target};
use handover_schema_testing::Postgres;

fn target(postgres: &Postgres) -> Target {
    let address = postgres.address("postgres").parse().unwrap();
    Target { address, password: PasswordSource::None, credentials: None, schema: None }
}

/// What the server answers, for those who cannot wait for it without blocking.
fn psql(postgres: &Postgres, sql: &str) -> String {
    let mut command = Command::new("psql");
    command.args([
        "-qAtX",
        "-U",
        "postgres",
        "-d",
        "postgres",
        "-c",
        sql,
        "-p",
        &postgres.port().to_string(),
        "-h",
    ]);
    let done = command.arg(postgres.sockets()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}
