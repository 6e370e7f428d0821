//! Schemas: migrations in deployments, on a real PostgreSQL.

mod deploying;
mod shop;
