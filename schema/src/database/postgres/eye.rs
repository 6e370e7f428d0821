//! Looks at a session of PostgreSQL from another one.

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::database::postgres::{ask, fault};
use crate::database::{Eye, QUICK, Row, Value, within};
use crate::error::Fault;
use crate::progress::Blocker;

pub(crate) struct PostgresEye {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    pid: i64,
}

impl PostgresEye {
    /// It is opened when it is needed first.
    pub(crate) fn new(options: PgConnectOptions, pid: i64) -> Self {
        Self { options, connection: None, pid }
    }

    async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                within(QUICK, async { self.options.connect().await.map_err(|error| fault(&error)) }).await?
            }
        };
        let rows = within(QUICK, ask(&mut connection, sql, &[Value::Int(self.pid)])).await?;
        // Only one that gave its answer is used again.
        self.connection = Some(connection);
        Ok(rows)
    }
}

impl Eye for PostgresEye {
    async fn blockers(&mut self) -> Result<Option<Vec<Blocker>>, Fault> {
        if self.ask("SELECT 1 FROM pg_stat_activity WHERE pid = ?::int").await?.is_empty() {
            return Ok(None);
        }
        let rows = self
            .ask(
                "SELECT b.pid::bigint, coalesce(nullif(a.application_name, ''), a.usename::text, a.backend_type, 'unknown'), \
                 coalesce((extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)) * 1000)::bigint, 0), \
                 (SELECT string_agg(DISTINCT w.relation::regclass::text, ', ') FROM pg_locks w WHERE w.pid = s.pid AND NOT w.granted) \
                 FROM (SELECT ?::int AS pid) s CROSS JOIN LATERAL unnest(pg_blocking_pids(s.pid)) b(pid) \
                 LEFT JOIN pg_stat_activity a ON a.pid = b.pid LIMIT 5",
            )
            .await?;
        let blocker = |row: &Row| match row.as_slice() {
            [Value::Int(session), Value::Text(name), Value::Int(for_ms), what] => Some(Blocker {
                session: *session,
                name: name.clone(),
                for_ms: *for_ms,
                what: what.text().map(ToOwned::to_owned),
            }),
            _ => None,
        };
        Ok(Some(rows.iter().filter_map(blocker).collect()))
    }

    async fn cancel(&mut self) -> Result<(), Fault> {
        self.ask("SELECT pg_cancel_backend(?::int)").await.map(drop)
    }

    async fn terminate(&mut self) -> Result<(), Fault> {
        self.ask("SELECT pg_terminate_backend(?::int)").await.map(drop)
    }
}
