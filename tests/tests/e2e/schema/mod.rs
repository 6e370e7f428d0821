//! Schemas: migrations in deployments, on a real PostgreSQL.

mod customers;
mod deploying;
mod halves;
mod kills;
mod locked;
mod pausing;
mod programs;
mod refusals;
mod renaming;
mod shop;
