//! MySQL and MariaDB: a named lock of the session. What changes a schema commits by itself there, so it runs in recorded steps.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, Executor, Row as _};

use crate::address::{Place, Tls, Way};
use crate::database::tables::{Tables, Words};
use crate::database::values::{bound, row_of};
use crate::database::{
    Eye, Key, Lock, OURS, QUICK, Row, Session, Value, fault_of_driver, no_answer, patience, within,
};
use crate::error::{Fault, FaultKind};
use crate::limits::Limits;
use crate::progress::Blocker;
use crate::runner::Target;

pub(crate) struct MySql {
    connection: MySqlConnection,
    options: MySqlConnectOptions,
    tables: Tables,
    /// The database in which the tables of what was applied are.
    home: String,
    holder: String,
    id: i64,
    lock: String,
    lease: Duration,
    /// How long one of our own statements may take.
    patience: Duration,
    /// MariaDB bounds every statement, MySQL only what reads.
    mariadb: bool,
}

pub(crate) struct MySqlEye {
    options: MySqlConnectOptions,
    connection: Option<MySqlConnection>,
    id: i64,
}

fn options(target: &Target) -> Result<(MySqlConnectOptions, String), Fault> {
    let refused = |message: String| Fault { kind: FaultKind::Refused, message, position: None };
    let Place::Server { user, database, way } = &target.address.place else {
        return Err(refused("no server".to_owned()));
    };
    let password = target.secret().map_err(|error| refused(error.to_string()))?;
    let options = MySqlConnectOptions::new()
        .username(user)
        .database(database)
        // A migration means what it means to every other client of this database: no mode of the driver's own.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .statement_cache_capacity(50)
        .disable_statement_logging();
    let options = match &password {
        Some(secret) => options.password(secret.expose()),
        None => options,
    };
    let options = match way {
        Way::Socket { path, .. } => options.socket(path).ssl_mode(MySqlSslMode::Disabled),
        Way::Tcp { host, port, tls, authorities } => {
            let options = options.host(host).port(*port).ssl_mode(match tls {
                Tls::Disable => MySqlSslMode::Disabled,
                Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
            });
            match authorities {
                Some(path) => options.ssl_ca(path),
                None => options,
            }
        }
    };
    Ok((options, database.clone()))
}

fn fault(error: &sqlx::Error) -> Fault {
    let sqlx::Error::Database(answer) = error else { return fault_of_driver(error) };
    let number = answer.try_downcast_ref().map_or(0, MySqlDatabaseError::number);
    let kind = match number {
        1205 | 1213 => FaultKind::Locked,
        1317 | 1969 | 3024 => FaultKind::TooLong,
        1040 | 1053 | 1927 | 2006 | 2013 | 4031 => FaultKind::Lost,
        1044 | 1045 | 1049 | 1698 => FaultKind::Refused,
        _ => FaultKind::Other,
    };
    Fault { kind, message: format!("{} ({number})", answer.message()), position: None }
}

fn values(row: &MySqlRow) -> Result<Row, sqlx::Error> {
    row_of(row, |row, at, kind| {
        Ok(if kind.contains("UNSIGNED") {
            Value::Int(i64::try_from(row.try_get_unchecked::<u64, _>(at)?).unwrap_or(i64::MAX))
        } else if kind.contains("INT") || kind == "BOOLEAN" {
            Value::Int(row.try_get_unchecked(at)?)
        } else {
            Value::Text(row.try_get_unchecked(at)?)
        })
    })
}

async fn ask(connection: &mut MySqlConnection, sql: &str, arguments: &[Value]) -> Result<Vec<Row>, Fault> {
    let rows = bound(sql, arguments).fetch_all(connection).await.map_err(|error| fault(&error))?;
    rows.iter().map(values).collect::<Result<_, _>>().map_err(|error| fault(&error))
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Whole seconds, at least one.
fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}

impl MySql {
    async fn one(&mut self, sql: &str, arguments: &[Value]) -> Result<Option<Row>, Fault> {
        Ok(within(QUICK, ask(&mut self.connection, sql, arguments)).await?.into_iter().next())
    }

    async fn number(&mut self, sql: &str, arguments: &[Value]) -> Result<Option<i64>, Fault> {
        Ok(self.one(sql, arguments).await?.and_then(|row| row.first().and_then(Value::int)))
    }

    async fn plain(&mut self, sql: &str) -> Result<u64, Fault> {
        self.connection.execute(sql).await.map(|done| done.rows_affected()).map_err(|error| fault(&error))
    }
}

impl Session for MySql {
    const TRANSACTIONAL: bool = false;
    type Eye = MySqlEye;

    async fn connect(target: &Target, holder: &str, limits: &Limits) -> Result<Self, Fault> {
        let (options, database) = options(target)?;
        let mut connection =
            within(QUICK, async { options.connect().await.map_err(|error| fault(&error)) }).await?;
        let rows =
            within(QUICK, ask(&mut connection, "SELECT CAST(CONNECTION_ID() AS SIGNED), VERSION()", &[]))
                .await?;
        let Some([Value::Int(id), Value::Text(version)]) = rows.first().map(Vec::as_slice) else {
            return Err(no_answer("its session's number"));
        };
        let (id, mariadb) = (*id, version.to_ascii_lowercase().contains("mariadb"));
        let schema = target.schema.clone().unwrap_or_else(|| database.clone());
        // Named locks are the whole server's, and their names short.
        let digest = Sha256::digest(format!("handover migrations of {schema}"));
        let lock =
            digest.iter().take(16).fold("handover_".to_owned(), |name, byte| format!("{name}{byte:02x}"));
        let words = Words {
            number: "BIGINT",
            text: "VARCHAR(255) CHARACTER SET utf8mb4",
            long_text: "TEXT CHARACTER SET utf8mb4",
            time: "DATETIME(3)",
            now: "UTC_TIMESTAMP(3)",
            ms: ("TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', ", ") DIV 1000"),
            end: " ENGINE=InnoDB",
        };
        let tables = Tables::new(words, &format!("{}.", quoted(&schema)));
        let holder = holder.to_owned();
        let mut session = Self {
            connection,
            options,
            tables,
            home: schema,
            holder,
            id,
            lock,
            lease: limits.lease,
            patience: OURS,
            mariadb,
        };
        session.settle(Some(limits.lock_timeout), Some(limits.statement_timeout)).await?;
        Ok(session)
    }

    fn eye(&self) -> MySqlEye {
        MySqlEye { options: self.options.clone(), connection: None, id: self.id }
    }

    fn tables(&self) -> &Tables {
        &self.tables
    }

    async fn try_lock(&mut self) -> Result<Lock, Fault> {
        let name = [Value::Text(self.lock.clone())];
        if self.number("SELECT GET_LOCK(?, 0)", &name).await? != Some(1) {
            return Ok(Lock::Held(
                self.holder().await?.unwrap_or_else(|| "a session that has just ended".to_owned()),
            ));
        }
        for table in self.tables.create() {
            within(QUICK, self.plain(&table)).await?;
        }
        let sql =
            format!("REPLACE INTO {} (id, holder, epoch, until_ms) VALUES (1, ?, ?, 0)", self.tables.lock);
        let row = [Value::Text(self.holder.chars().take(200).collect()), Value::Int(self.id)];
        self.run(&sql, &row).await?;
        Ok(Lock::Ours)
    }

    async fn holder(&mut self) -> Result<Option<String>, Fault> {
        let name = [Value::Text(self.lock.clone())];
        let Some(id) = self.number("SELECT CAST(IS_USED_LOCK(?) AS SIGNED)", &name).await? else {
            return Ok(None);
        };
        // Who took it wrote its name down right afterwards.
        let sql = format!("SELECT holder FROM {} WHERE id = 1 AND epoch = ?", self.tables.lock);
        let row = self.one(&sql, &[Value::Int(id)]).await.unwrap_or_default();
        let name = row.and_then(|row| row.first().and_then(Value::text).map(ToOwned::to_owned));
        Ok(Some(format!("{} (session {id})", name.unwrap_or_else(|| "unnamed".to_owned()))))
    }

    async fn mark(&mut self) -> Result<Option<String>, Fault> {
        let name = [Value::Text(self.lock.clone())];
        let ours =
            self.number("SELECT COALESCE(IS_USED_LOCK(?) = CONNECTION_ID(), 0)", &name).await? == Some(1);
        Ok(ours.then(String::new))
    }

    async fn keep_alive(&mut self) -> Result<(), Fault> {
        self.one("SELECT 1", &[]).await.map(drop)
    }

    async fn close(mut self) {
        // Before the session ends: that takes the server a moment more, in which the next runner would be refused.
        let name = [Value::Text(self.lock.clone())];
        let _ = within(Duration::from_secs(2), self.one("SELECT RELEASE_LOCK(?)", &name)).await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }

    async fn settle(&mut self, lock: Option<Duration>, statement: Option<Duration>) -> Result<(), Fault> {
        self.patience = patience(lock, statement);
        let lock = lock.map_or(86_400, seconds);
        let mut sql = format!(
            "SET SESSION sql_mode = DEFAULT, SESSION foreign_key_checks = DEFAULT, SESSION lock_wait_timeout = {lock}, \
             SESSION innodb_lock_wait_timeout = {lock}, SESSION wait_timeout = {}, SESSION autocommit = 1",
            seconds(self.lease)
        );
        if self.mariadb {
            sql.push_str(&format!(", SESSION max_statement_time = {}", statement.map_or(0, seconds)));
        } else {
            sql.push_str(&format!(
                ", SESSION max_execution_time = {}",
                statement.map_or(0, |time| time.as_millis().min(86_400_000))
            ));
        }
        within(QUICK, self.plain(&sql)).await.map(drop)
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Fault> {
        within(self.patience, ask(&mut self.connection, sql, values)).await
    }

    async fn run(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        within(self.patience, self.batch(sql, values)).await
    }

    async fn statement(&mut self, sql: &str) -> Result<u64, Fault> {
        // As text: not everything can be prepared (CREATE TRIGGER).
        self.plain(sql).await
    }

    async fn batch(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let done = bound(sql, values).execute(&mut self.connection).await.map_err(|error| fault(&error))?;
        Ok(done.rows_affected())
    }

    fn place(_: usize) -> String {
        "?".to_owned()
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        within(QUICK, self.plain("START TRANSACTION")).await.map(drop)
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.plain("COMMIT").await.map(drop)
    }

    async fn rollback(&mut self) -> Result<(), Fault> {
        within(QUICK, self.plain("ROLLBACK")).await.map(drop)
    }

    async fn has_tables(&mut self) -> Result<bool, Fault> {
        let names = [Value::Text(self.home.clone())];
        let sql = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name IN ('handover_migrations', 'handover_backfills')";
        Ok(self.number(sql, &names).await? == Some(2))
    }

    async fn key(&mut self, table: &[String], column: &str) -> Result<Result<Key, String>, Fault> {
        let (schema, name) = match table {
            [schema, name] => (Value::Text(schema.clone()), name),
            [name] => (Value::Null, name),
            _ => return Ok(Err("a table's name has one or two parts".to_owned())),
        };
        let asked = [schema.clone(), name.as_str().into(), column.into()];
        let row = self
            .one(
                "SELECT LOWER(CONCAT(data_type, '')), column_type LIKE '%unsigned%', is_nullable = 'NO' FROM information_schema.columns \
                 WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND column_name = ?",
                &asked,
            )
            .await?;
        let table = table.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
        let Some([Value::Text(kind), Value::Int(unsigned), Value::Int(not_null)]) = row.as_deref() else {
            return Ok(Err(format!("there is no table {table} with a column {column}")));
        };
        let number = matches!(kind.as_str(), "tinyint" | "smallint" | "mediumint" | "int" | "bigint");
        if !number && !matches!(kind.as_str(), "char" | "varchar") || kind == "bigint" && *unsigned == 1 {
            return Ok(Err(format!(
                "{table}.{column} is of type {kind}: a table is walked over by a signed integer, or a text"
            )));
        }
        if *not_null == 0 {
            return Ok(Err(format!("{table}.{column} may be NULL: rows without it would be left out")));
        }
        let indexed = self
            .number(
                "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? \
                 AND column_name = ? AND seq_in_index = 1",
                &asked,
            )
            .await?;
        if indexed.unwrap_or(0) == 0 {
            return Ok(Err(format!(
                "no index of {table} begins with {column}: each batch would read all of the table"
            )));
        }
        let text = if number { ("CAST(", " AS CHAR)") } else { ("", "") };
        Ok(Ok(Key { table, column: quoted(column), cast: (String::new(), String::new()), text, number }))
    }

    async fn estimate(&mut self, table: &[String]) -> Result<Option<u64>, Fault> {
        // The database of the table, which need not be that of the tables of what was applied.
        let (schema, name) = match table {
            [schema, name] => (schema.as_str().into(), name.as_str().into()),
            [.., name] => (Value::Null, name.as_str().into()),
            [] => return Ok(None),
        };
        let sql = "SELECT CAST(MAX(table_rows) AS SIGNED) FROM information_schema.tables WHERE table_name = ? \
                   AND table_schema = COALESCE(?, DATABASE())";
        let rows = self.number(sql, &[name, schema]).await?;
        Ok(rows.and_then(|rows| u64::try_from(rows).ok()).filter(|rows| *rows > 0))
    }

    async fn active(&mut self) -> Result<u32, Fault> {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE command NOT IN ('Sleep', 'Daemon', 'Binlog Dump') AND id <> CONNECTION_ID()";
        Ok(self.number(sql, &[]).await?.and_then(|count| u32::try_from(count).ok()).unwrap_or(0))
    }
}

impl MySqlEye {
    async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                within(QUICK, async { self.options.connect().await.map_err(|error| fault(&error)) }).await?
            }
        };
        let rows = async { connection.fetch_all(sql).await.map_err(|error| fault(&error)) };
        let rows = within(QUICK, rows).await?;
        // Only one that gave its answer is used again.
        self.connection = Some(connection);
        rows.iter().map(values).collect::<Result<_, _>>().map_err(|error| fault(&error))
    }
}

impl Eye for MySqlEye {
    async fn blockers(&mut self) -> Result<Option<Vec<Blocker>>, Fault> {
        let there = self
            .ask(&format!("SELECT id FROM information_schema.processlist WHERE id = {}", self.id))
            .await?;
        // Who holds a metadata lock only an optional plugin (MariaDB) or instrument (MySQL) tells.
        Ok((!there.is_empty()).then(Vec::new))
    }

    async fn cancel(&mut self) -> Result<(), Fault> {
        self.ask(&format!("KILL QUERY {}", self.id)).await.map(drop)
    }

    async fn terminate(&mut self) -> Result<(), Fault> {
        self.ask(&format!("KILL {}", self.id)).await.map(drop)
    }
}
