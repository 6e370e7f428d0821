//! PostgreSQL.

mod applying;
mod backfills;
mod indexes;
mod kills;
mod locks;
mod secrets;

use handover_schema::{PasswordSource, Target};
use handover_schema_testing::Postgres;

fn target(postgres: &Postgres) -> Target {
    let address = postgres.address("postgres").parse().unwrap();
    Target { address, password: PasswordSource::None, credentials: None, schema: None }
}
