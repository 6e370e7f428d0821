//! PostgreSQL: one session with an advisory lock of its own, and settings by which the server notices that the runner is gone.

mod eye;

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor, Row as _};

use crate::address::{Place, Tls, Way};
use crate::database::tables::{Tables, Words};
use crate::database::values::{bound, row_of};
use crate::database::{
    Index, Key, Lag, Lock, OURS, QUICK, Row, Session, Value, fault_of_driver, no_answer, patience, within,
};
use crate::error::{Fault, FaultKind};
use crate::limits::Limits;
use crate::runner::Target;
pub(crate) use eye::PostgresEye;

pub(crate) struct Postgres {
    connection: PgConnection,
    options: PgConnectOptions,
    tables: Tables,
    schema: String,
    pid: i64,
    key: i64,
    lease: Duration,
    check: Duration,
    /// How long one of our own statements may take.
    patience: Duration,
}

fn options(target: &Target, holder: &str) -> Result<PgConnectOptions, Fault> {
    let refused = |message: String| Fault { kind: FaultKind::Refused, message, position: None };
    let Place::Server { user, database, way } = &target.address.place else {
        return Err(refused("no server".to_owned()));
    };
    let password = target.secret().map_err(|error| refused(error.to_string()))?;
    // What the environment says of passwords is not asked: they come from where the target says, or there is none.
    let password = password.as_ref().map_or("", |secret| secret.expose());
    let name: String = holder.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(63).collect();
    let options = PgConnectOptions::new_without_pgpass()
        .username(user)
        .database(database)
        .password(password)
        .application_name(&name)
        .statement_cache_capacity(50)
        .disable_statement_logging();
    Ok(match way {
        Way::Socket { path, port } => options.socket(path).port(*port).ssl_mode(PgSslMode::Disable),
        Way::Tcp { host, port, tls, authorities } => {
            let options = options.host(host).port(*port).ssl_mode(match tls {
                Tls::Disable => PgSslMode::Disable,
                Tls::VerifyFull => PgSslMode::VerifyFull,
            });
            match authorities {
                Some(path) => options.ssl_root_cert(path),
                None => options,
            }
        }
    })
}

fn fault(error: &sqlx::Error) -> Fault {
    let sqlx::Error::Database(answer) = error else { return fault_of_driver(error) };
    let code = answer.code().unwrap_or_default();
    let kind = match code.as_ref() {
        "55P03" | "40P01" | "40001" => FaultKind::Locked,
        // Also what a cancelled statement says; who cancelled it knows that it did.
        "57014" => FaultKind::TooLong,
        // Terminated, crashed, starting up, idle for too long, no free connection.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" => FaultKind::Lost,
        "3D000" => FaultKind::Refused,
        code if code.starts_with("08") => FaultKind::Lost,
        code if code.starts_with("28") => FaultKind::Refused,
        _ => FaultKind::Other,
    };
    let of_postgres = answer.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    let mut message = format!("{} ({code})", answer.message());
    for (name, more) in [
        ("detail", of_postgres.and_then(|own| own.detail())),
        ("hint", of_postgres.and_then(|own| own.hint())),
    ] {
        if let Some(more) = more {
            message.push_str(&format!("; {name}: {more}"));
        }
    }
    let position = of_postgres.and_then(|own| match own.position() {
        Some(sqlx::postgres::PgErrorPosition::Original(at)) => Some(at),
        _ => None,
    });
    Fault { kind, message, position }
}

/// Our own statements write `?`, PostgreSQL `$1`.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 8);
    for (number, part) in sql.split('?').enumerate() {
        if number > 0 {
            text.push('$');
            text.push_str(&number.to_string());
        }
        text.push_str(part);
    }
    text
}

fn values(row: &PgRow) -> Result<Row, sqlx::Error> {
    row_of(row, |row, at, kind| {
        Ok(match kind {
            "INT8" => Value::Int(row.try_get(at)?),
            "INT4" => Value::Int(row.try_get::<i32, _>(at)?.into()),
            "BOOL" => Value::Int(row.try_get::<bool, _>(at)?.into()),
            _ => Value::Text(row.try_get(at)?),
        })
    })
}

async fn ask(connection: &mut PgConnection, sql: &str, arguments: &[Value]) -> Result<Vec<Row>, Fault> {
    let sql = numbered(sql);
    let rows = bound(&sql, arguments).fetch_all(connection).await.map_err(|error| fault(&error))?;
    rows.iter().map(values).collect::<Result<_, _>>().map_err(|error| fault(&error))
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name of its parts, quoted.
fn joined(table: &[String]) -> String {
    table.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")
}

/// A time as settings take it: milliseconds; 0 is for ever.
fn ms(time: Option<Duration>) -> String {
    time.map_or(0, |time| time.as_millis().clamp(1, 2_147_483_647)).to_string()
}

const HOLDER: &str = "SELECT a.pid::bigint, coalesce(nullif(a.application_name, ''), 'unnamed'), a.usename::text, \
     coalesce(host(a.client_addr), 'this host'), extract(epoch FROM clock_timestamp() - a.backend_start)::bigint \
     FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
     AND l.classid::bigint = ? AND l.objid::bigint = ? AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

impl Postgres {
    /// The lock's number as `pg_locks` shows it: in two halves.
    fn halves(&self) -> [Value; 2] {
        let bits = u64::from_ne_bytes(self.key.to_ne_bytes());
        [Value::Int((bits >> 32) as i64), Value::Int((bits & 0xffff_ffff) as i64)]
    }

    async fn one(&mut self, sql: &str, arguments: &[Value]) -> Result<Option<Row>, Fault> {
        Ok(within(QUICK, ask(&mut self.connection, sql, arguments)).await?.into_iter().next())
    }

    /// A statement as it stands, and nothing that it gives.
    async fn plain(&mut self, sql: &'static str) -> Result<(), Fault> {
        self.connection.execute(sql).await.map(drop).map_err(|error| fault(&error))
    }
}

impl Session for Postgres {
    const TRANSACTIONAL: bool = true;
    type Eye = PostgresEye;

    async fn connect(target: &Target, holder: &str, limits: &Limits) -> Result<Self, Fault> {
        let options = options(target, holder)?;
        let mut connection =
            within(QUICK, async { options.connect().await.map_err(|error| fault(&error)) }).await?;
        let rows = within(QUICK, ask(&mut connection, "SELECT pg_backend_pid()", &[])).await?;
        let pid = rows
            .first()
            .and_then(|row| row.first())
            .and_then(Value::int)
            .ok_or_else(|| no_answer("its session's number"))?;
        let schema = target.schema.clone().unwrap_or_else(|| "public".to_owned());
        let digest = Sha256::digest(format!("handover migrations of {schema}"));
        let key = digest.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let words = Words {
            number: "bigint",
            text: "text",
            long_text: "text",
            time: "timestamptz",
            now: "clock_timestamp()",
            ms: ("(extract(epoch FROM ", ") * 1000)::bigint"),
            end: "",
        };
        let tables = Tables::new(words, &format!("{}.", quoted(&schema)));
        let mut session = Self {
            connection,
            options,
            tables,
            schema,
            pid,
            key,
            lease: limits.lease,
            check: limits.check_interval(),
            patience: OURS,
        };
        session.settle(Some(limits.lock_timeout), Some(limits.statement_timeout)).await?;
        Ok(session)
    }

    fn eye(&self) -> PostgresEye {
        PostgresEye::new(self.options.clone(), self.pid)
    }

    fn tables(&self) -> &Tables {
        &self.tables
    }

    async fn try_lock(&mut self) -> Result<Lock, Fault> {
        let key = [Value::Int(self.key)];
        let row = self.one("SELECT pg_try_advisory_lock(?)", &key).await?;
        if row.and_then(|row| row.first().and_then(Value::int)) == Some(1) {
            return Ok(Lock::Ours);
        }
        Ok(Lock::Held(self.holder().await?.unwrap_or_else(|| "a session that has just ended".to_owned())))
    }

    async fn holder(&mut self) -> Result<Option<String>, Fault> {
        let halves = self.halves();
        let row = self.one(HOLDER, &halves).await?;
        Ok(row.map(|row| {
            let text = |at: usize| row.get(at).and_then(Value::text).unwrap_or("unknown");
            let int = |at: usize| row.get(at).and_then(Value::int).unwrap_or_default();
            format!("{} (session {} of {} from {}, for {} s)", text(1), int(0), text(2), text(3), int(4))
        }))
    }

    async fn mark(&mut self) -> Result<Option<String>, Fault> {
        let halves = self.halves();
        let row = self
            .one(
                "SELECT txid_current()::text, EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
                 AND classid::bigint = ? AND objid::bigint = ? AND pid = pg_backend_pid())",
                &halves,
            )
            .await?;
        Ok(row.and_then(|row| match row.as_slice() {
            [Value::Text(number), Value::Int(1)] => Some(number.clone()),
            _ => None,
        }))
    }

    async fn keep_alive(&mut self) -> Result<(), Fault> {
        self.one("SELECT 1", &[]).await.map(drop)
    }

    async fn close(mut self) {
        // Before the session ends: that takes the server a moment more, in which the next runner would be refused.
        let key = [Value::Int(self.key)];
        let _ = within(Duration::from_secs(2), self.one("SELECT pg_advisory_unlock(?)", &key)).await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }

    async fn own(&mut self) -> Result<(), Fault> {
        for reset in ["RESET SESSION AUTHORIZATION", "RESET ROLE"] {
            within(QUICK, self.plain(reset)).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, lock: Option<Duration>, statement: Option<Duration>) -> Result<(), Fault> {
        self.own().await?;
        // A temporary table of one file would stand before a real one in the next.
        within(QUICK, self.plain("DISCARD TEMP")).await?;
        within(QUICK, self.plain("RESET ALL")).await?;
        self.patience = patience(lock, statement);
        let third = (self.lease.as_secs() / 3).max(1).to_string();
        let settings = [
            ("lock_timeout", ms(lock)),
            ("statement_timeout", ms(statement)),
            // A runner that stands still keeps neither a transaction nor the lock for longer than its lease...
            ("idle_in_transaction_session_timeout", ms(Some(self.lease))),
            ("idle_session_timeout", ms(Some(self.lease))),
            // ...and one that is gone, with its process or with its host, is noticed even while a statement of its runs.
            ("client_connection_check_interval", ms(Some(self.check))),
            ("tcp_user_timeout", ms(Some(self.lease))),
            ("tcp_keepalives_idle", third.clone()),
            ("tcp_keepalives_interval", third),
            ("tcp_keepalives_count", "2".to_owned()),
            ("standard_conforming_strings", "on".to_owned()),
        ];
        let places = vec!["(?, ?)"; settings.len()].join(", ");
        // Joined with what this server knows: some came with PostgreSQL 14.
        let sql = format!(
            "SELECT set_config(s.name, v.value, false) FROM (VALUES {places}) v(name, value) JOIN pg_settings s ON s.name = v.name"
        );
        let arguments: Vec<Value> =
            settings.into_iter().flat_map(|(name, value)| [Value::from(name), Value::Text(value)]).collect();
        within(QUICK, ask(&mut self.connection, &sql, &arguments)).await.map(drop)
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Fault> {
        within(self.patience, ask(&mut self.connection, sql, values)).await
    }

    async fn run(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let sql = numbered(sql);
        let run = bound(&sql, values).execute(&mut self.connection);
        let done = within(self.patience, async { run.await.map_err(|error| fault(&error)) }).await?;
        Ok(done.rows_affected())
    }

    async fn statement(&mut self, sql: &str) -> Result<u64, Fault> {
        // Prepared, though nothing is bound: so the server refuses a text that is more than one statement to it.
        let query = sqlx::query(sql).persistent(false);
        query
            .execute(&mut self.connection)
            .await
            .map(|done| done.rows_affected())
            .map_err(|error| fault(&error))
    }

    async fn batch(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        // Not kept prepared: a generic plan knows nothing of where the batch is.
        let query = bound(sql, values).persistent(false);
        query
            .execute(&mut self.connection)
            .await
            .map(|done| done.rows_affected())
            .map_err(|error| fault(&error))
    }

    fn place(number: usize) -> String {
        format!("${number}")
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        within(QUICK, self.plain("BEGIN")).await
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.plain("COMMIT").await
    }

    async fn rollback(&mut self) -> Result<(), Fault> {
        within(QUICK, self.plain("ROLLBACK")).await
    }

    async fn has_tables(&mut self) -> Result<bool, Fault> {
        let names = [Value::Text(self.tables.migrations.clone()), Value::Text(self.tables.backfills.clone())];
        let row =
            self.one("SELECT to_regclass(?) IS NOT NULL AND to_regclass(?) IS NOT NULL", &names).await?;
        Ok(row.and_then(|row| row.first().and_then(Value::int)) == Some(1))
    }

    async fn make_room(&mut self) -> Result<(), Fault> {
        // Only where it is missing: a role that owns its schema need not be allowed to make schemas.
        let schema = self.schema.clone();
        let known =
            self.one("SELECT 1 FROM pg_namespace WHERE nspname = ?", &[Value::Text(schema.clone())]).await?;
        if known.is_none() {
            self.run(&format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(&schema)), &[]).await?;
        }
        Ok(())
    }

    async fn index(&mut self, name: &str, table: &str) -> Result<Option<Index>, Fault> {
        let row = self
            .one(
                "SELECT c.oid::regclass::text, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                 WHERE c.relname = ? AND i.indrelid = to_regclass(?)",
                &[name.into(), table.into()],
            )
            .await?;
        Ok(row.and_then(|row| match row.as_slice() {
            [Value::Text(name), Value::Int(valid)] => Some(Index { name: name.clone(), valid: *valid == 1 }),
            _ => None,
        }))
    }

    async fn exists(&mut self, name: &str) -> Result<bool, Fault> {
        let row = self.one("SELECT to_regclass(?) IS NOT NULL", &[name.into()]).await?;
        Ok(row.and_then(|row| row.first().and_then(Value::int)) == Some(1))
    }

    async fn invalid_indexes(&mut self, of: Option<&str>) -> Result<Vec<String>, Fault> {
        let of = of.map_or(Value::Null, Value::from);
        let rows = self
            .rows(
                "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                 WHERE NOT i.indisvalid AND c.relkind = 'i' AND (?::text IS NULL OR i.indrelid = to_regclass(?) \
                 OR i.indrelid = (SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(?))) ORDER BY 1 LIMIT 100",
                &[of.clone(), of.clone(), of],
            )
            .await?;
        Ok(rows.iter().filter_map(|row| row.first().and_then(Value::text).map(ToOwned::to_owned)).collect())
    }

    async fn key(&mut self, table: &[String], column: &str) -> Result<Result<Key, String>, Fault> {
        let table = joined(table);
        let row = self
            .one(
                "SELECT format_type(a.atttypid, NULL), a.attnotnull, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid \
                 AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL) FROM pg_attribute a \
                 WHERE a.attrelid = to_regclass(?) AND a.attname = ? AND a.attnum > 0 AND NOT a.attisdropped",
                &[table.as_str().into(), column.into()],
            )
            .await?;
        let Some([Value::Text(kind), Value::Int(not_null), Value::Int(indexed)]) = row.as_deref() else {
            return Ok(Err(format!("there is no table {table} with a column {column}")));
        };
        if !matches!(kind.as_str(), "smallint" | "integer" | "bigint" | "uuid" | "text" | "character varying")
        {
            return Ok(Err(format!(
                "{table}.{column} is of type {kind}: a table is walked over by an integer, a uuid or a text"
            )));
        }
        if *not_null == 0 {
            return Ok(Err(format!("{table}.{column} may be NULL: rows without it would be left out")));
        }
        if *indexed == 0 {
            return Ok(Err(format!(
                "no index of {table} begins with {column}: each batch would read all of the table"
            )));
        }
        let cast = ("CAST(".to_owned(), format!(" AS {kind})"));
        Ok(Ok(Key { table, column: quoted(column), cast, text: ("CAST(", " AS text)"), number: false }))
    }

    async fn estimate(&mut self, table: &[String]) -> Result<Option<u64>, Fault> {
        let row = self
            .one(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(?)",
                &[Value::Text(joined(table))],
            )
            .await?;
        // -1: never counted; so are 0 rows of a table that was filled since.
        Ok(row
            .and_then(|row| row.first().and_then(Value::int))
            .and_then(|rows| u64::try_from(rows).ok())
            .filter(|rows| *rows > 0))
    }

    async fn lag(&mut self) -> Result<Lag, Fault> {
        let row = self
            .one(
                "SELECT count(*), count(state), coalesce((extract(epoch FROM max(replay_lag)) * 1000)::bigint, 0) FROM pg_stat_replication",
                &[],
            )
            .await?;
        Ok(match row.as_deref() {
            Some([Value::Int(0), ..]) | None => Lag::None,
            Some([_, Value::Int(0), _]) => Lag::Hidden,
            Some([_, _, Value::Int(behind)]) => {
                Lag::Behind(Duration::from_millis(u64::try_from(*behind).unwrap_or(0)))
            }
            Some(_) => Lag::None,
        })
    }

    async fn active(&mut self) -> Result<u32, Fault> {
        let row = self
            .one(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
                &[],
            )
            .await?;
        Ok(row
            .and_then(|row| row.first().and_then(Value::int))
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0))
    }
}
