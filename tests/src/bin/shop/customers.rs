//! The table of customers, as code knows it before, during and after the rename of `email` to `mail`.

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{path::Path, time::Duration};

/// Connections of an instance: two of them at a time on each of two hosts stay below what a test's PostgreSQL takes.
const CONNECTIONS: u32 = 6;
/// Longest wait for one of them.
const WAIT: Duration = Duration::from_secs(10);

/// What the code knows of the rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Columns {
    /// Reads and writes `email`.
    Old,
    /// Writes both, reads `email`.
    Both,
    /// Writes both, reads `mail`.
    Switched,
    /// Reads and writes `mail`.
    New,
}

impl Columns {
    const fn read(self) -> &'static str {
        match self {
            Self::Old | Self::Both => "SELECT email FROM customers WHERE id = $1",
            Self::Switched | Self::New => "SELECT mail FROM customers WHERE id = $1",
        }
    }

    const fn write(self) -> &'static str {
        match self {
            Self::Old => {
                "INSERT INTO customers (id, email) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET email = $2"
            }
            Self::Both | Self::Switched => {
                "INSERT INTO customers (id, email, mail) VALUES ($1, $2, $2) ON CONFLICT (id) DO UPDATE SET email = $2, mail = $2"
            }
            Self::New => {
                "INSERT INTO customers (id, mail) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET mail = $2"
            }
        }
    }
}

/// The customers in the database.
#[derive(Debug)]
pub(crate) struct Customers {
    pool: PgPool,
    columns: Columns,
}

impl Customers {
    /// Nothing is connected before the first question.
    pub(crate) fn of(sockets: &Path, columns: Columns) -> Self {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(sockets)
            .username("postgres")
            .database("postgres")
            .application_name("shop");
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(WAIT)
            .connect_lazy_with(options);
        Self { pool, columns }
    }

    /// A customer's address; `None` where there is no such customer.
    pub(crate) async fn address(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar(self.columns.read()).bind(id).fetch_optional(&self.pool).await
    }

    /// Writes a customer's address, new or not.
    pub(crate) async fn write(&self, id: i64, address: &str) -> Result<(), sqlx::Error> {
        sqlx::query(self.columns.write()).bind(id).bind(address).execute(&self.pool).await.map(drop)
    }

    /// Whether the code's columns are there.
    pub(crate) async fn ready(&self) -> Result<(), sqlx::Error> {
        self.address(0).await.map(drop)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}
