//! SQLite: a file of this host. Its own lock is a transaction's, so a row with an end holds the runner's between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row as _};

use crate::address::Place;
use crate::database::tables::{Tables, Words};
use crate::database::values::{bound, row_of};
use crate::database::{Eye, Key, Lock, QUICK, Row, Session, Value, fault_of_driver, within};
use crate::error::{Fault, FaultKind};
use crate::limits::Limits;
use crate::progress::Blocker;
use crate::runner::Target;

/// How many of its steps SQLite goes on without looking whether it should stop.
const STEPS: i32 = 10_000;

pub(crate) struct Sqlite {
    connection: SqliteConnection,
    tables: Tables,
    holder: String,
    epoch: i64,
    lease: Duration,
    busy: Duration,
    /// How long a statement of a file may run.
    longest: Option<Duration>,
    stop: Arc<Stop>,
}

/// What ends a statement: somebody's wish, or its time.
struct Stop {
    began: Instant,
    now: AtomicBool,
    /// Milliseconds since `began`; 0 is never.
    until: std::sync::atomic::AtomicU64,
}

impl Stop {
    fn due(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        self.now.load(Ordering::Relaxed) || until > 0 && self.began.elapsed().as_millis() >= u128::from(until)
    }

    fn set(&self, time: Option<Duration>) {
        let until =
            time.map_or(0, |time| u64::try_from((self.began.elapsed() + time).as_millis()).unwrap_or(0));
        self.until.store(until, Ordering::Relaxed);
    }

    /// The statement that was to be ended has ended: the next one is not meant.
    fn over(&self) {
        self.set(None);
        self.now.store(false, Ordering::Relaxed);
    }
}

pub(crate) struct SqliteEye(Arc<Stop>);

fn fault(error: &sqlx::Error) -> Fault {
    let sqlx::Error::Database(answer) = error else { return fault_of_driver(error) };
    let code = answer.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
    // The lower byte is the kind, the rest which of them.
    let kind = match code & 0xff {
        5 | 6 => FaultKind::Locked,
        9 => FaultKind::TooLong,
        14 | 23 | 26 => FaultKind::Refused,
        _ => FaultKind::Other,
    };
    Fault { kind, message: format!("{} ({code})", answer.message()), position: None }
}

fn values(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    row_of(row, |row, at, kind| {
        Ok(match kind {
            "INTEGER" | "BOOLEAN" => Value::Int(row.try_get_unchecked(at)?),
            _ => Value::Text(row.try_get_unchecked(at)?),
        })
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|time| i64::try_from(time.as_millis()).ok())
        .unwrap_or(0)
}

impl Sqlite {
    fn until(&self) -> i64 {
        now_ms().saturating_add(i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX))
    }

    /// Ours for another lease, if it is still ours.
    async fn renew(&mut self) -> Result<bool, Fault> {
        let sql = format!("UPDATE {} SET until_ms = ? WHERE id = 1 AND epoch = ?", self.tables.lock);
        let row = [Value::Int(self.until()), Value::Int(self.epoch)];
        Ok(self.run(&sql, &row).await? == 1)
    }

    async fn claim(&mut self) -> Result<Lock, Fault> {
        for table in self.tables.create() {
            self.run(&table, &[]).await?;
        }
        let sql = format!("SELECT holder, until_ms, epoch FROM {} WHERE id = 1", self.tables.lock);
        let row = self.rows(&sql, &[]).await?.into_iter().next();
        let mut epoch = 1;
        if let Some([Value::Text(holder), Value::Int(until), Value::Int(last)]) = row.as_deref() {
            let left = until - now_ms();
            // A lease that ends later than one can was written by a clock that was wrong.
            if left > 0
                && left <= i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX).saturating_mul(10)
            {
                return Ok(Lock::Held(format!(
                    "{holder} (for {} s more, unless it is still at work)",
                    left / 1000 + 1
                )));
            }
            epoch = last + 1;
        }
        let sql =
            format!("REPLACE INTO {} (id, holder, epoch, until_ms) VALUES (1, ?, ?, ?)", self.tables.lock);
        let row = [Value::Text(self.holder.clone()), Value::Int(epoch), Value::Int(self.until())];
        self.run(&sql, &row).await?;
        self.epoch = epoch;
        Ok(Lock::Ours)
    }
}

impl Session for Sqlite {
    const TRANSACTIONAL: bool = true;
    type Eye = SqliteEye;

    async fn connect(target: &Target, holder: &str, limits: &Limits) -> Result<Self, Fault> {
        let Place::File(path) = &target.address.place else {
            return Err(Fault { kind: FaultKind::Refused, message: "no file".to_owned(), position: None });
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(limits.lock_timeout)
            .disable_statement_logging();
        let mut connection =
            within(QUICK, async { options.connect().await.map_err(|error| fault(&error)) }).await?;
        let stop = Arc::new(Stop { began: Instant::now(), now: AtomicBool::new(false), until: 0.into() });
        let handle = Arc::clone(&stop);
        connection
            .lock_handle()
            .await
            .map_err(|error| fault(&error))?
            .set_progress_handler(STEPS, move || !handle.due());
        let words = Words {
            number: "INTEGER",
            text: "TEXT",
            long_text: "TEXT",
            time: "TEXT",
            now: "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
            ms: ("CAST(round((julianday(", ") - 2440587.5) * 86400000) AS INTEGER)"),
            end: "",
        };
        let holder = format!("{holder} (process {})", std::process::id());
        let tables = Tables::new(words, "");
        Ok(Self {
            connection,
            tables,
            holder,
            epoch: 0,
            lease: limits.lease,
            busy: limits.lock_timeout,
            longest: Some(limits.statement_timeout),
            stop,
        })
    }

    fn eye(&self) -> SqliteEye {
        SqliteEye(Arc::clone(&self.stop))
    }

    fn tables(&self) -> &Tables {
        &self.tables
    }

    async fn try_lock(&mut self) -> Result<Lock, Fault> {
        let claimed = async {
            self.begin().await?;
            let lock = self.claim().await?;
            if lock == Lock::Ours {
                self.commit().await?;
            }
            Ok(lock)
        };
        let claimed: Result<Lock, Fault> = claimed.await;
        if !matches!(claimed, Ok(Lock::Ours)) {
            self.rollback().await?;
            // The next one who takes the lock writes the same number.
            self.epoch = 0;
        }
        match claimed {
            Err(fault) if fault.kind == FaultKind::Locked => {
                Ok(Lock::Held("a transaction of somebody".to_owned()))
            }
            claimed => claimed,
        }
    }

    async fn holder(&mut self) -> Result<Option<String>, Fault> {
        let sql = format!("SELECT holder, until_ms FROM {} WHERE id = 1", self.tables.lock);
        Ok(match self.rows(&sql, &[]).await?.first().map(Vec::as_slice) {
            Some([Value::Text(holder), Value::Int(until)]) if *until > now_ms() => Some(holder.clone()),
            _ => None,
        })
    }

    async fn mark(&mut self) -> Result<Option<String>, Fault> {
        Ok(self.renew().await?.then(|| self.epoch.to_string()))
    }

    async fn keep_alive(&mut self) -> Result<(), Fault> {
        self.renew().await.map(drop)
    }

    async fn close(mut self) {
        let sql = format!("UPDATE {} SET until_ms = 0 WHERE id = 1 AND epoch = ?", self.tables.lock);
        let epoch = self.epoch;
        // Somebody may be in the way for a moment; without another try the next runner would wait for the lease.
        let until = Instant::now() + Duration::from_secs(2);
        while epoch > 0
            && let Err(fault) = within(QUICK, self.run(&sql, &[Value::Int(epoch)])).await
            && fault.kind == FaultKind::Locked
            && Instant::now() < until
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }

    async fn settle(&mut self, lock: Option<Duration>, statement: Option<Duration>) -> Result<(), Fault> {
        self.longest = statement;
        let busy = lock.unwrap_or(self.busy).as_millis().min(86_400_000);
        self.run(&format!("PRAGMA busy_timeout = {busy}"), &[]).await.map(drop)
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Fault> {
        let rows = bound(sql, values).fetch_all(&mut self.connection).await.map_err(|error| fault(&error))?;
        rows.iter().map(self::values).collect::<Result<_, _>>().map_err(|error| fault(&error))
    }

    async fn run(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let done = bound(sql, values).execute(&mut self.connection).await.map_err(|error| fault(&error))?;
        Ok(done.rows_affected())
    }

    async fn statement(&mut self, sql: &str) -> Result<u64, Fault> {
        self.stop.set(self.longest);
        let done = sqlx::query(sql).persistent(false).execute(&mut self.connection).await;
        self.stop.over();
        done.map(|done| done.rows_affected()).map_err(|error| fault(&error))
    }

    async fn batch(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        self.stop.set(self.longest);
        let done = self.run(sql, values).await;
        self.stop.over();
        done
    }

    fn place(_: usize) -> String {
        "?".to_owned()
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        // At once for writing: one that becomes so later can be refused in the middle.
        self.run("BEGIN IMMEDIATE", &[]).await.map(drop)
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.run("COMMIT", &[]).await.map(drop)
    }

    async fn rollback(&mut self) -> Result<(), Fault> {
        match within(QUICK, self.run("ROLLBACK", &[])).await {
            // There is none any more: what failed in it has ended it already.
            Err(fault) if fault.kind == FaultKind::Other => Ok(()),
            done => done.map(drop),
        }
    }

    async fn has_tables(&mut self) -> Result<bool, Fault> {
        let rows = self
            .rows(
                "SELECT 1 FROM sqlite_master WHERE name IN ('handover_migrations', 'handover_backfills')",
                &[],
            )
            .await?;
        Ok(rows.len() == 2)
    }

    async fn key(&mut self, table: &[String], column: &str) -> Result<Result<Key, String>, Fault> {
        let [name] = table else { return Ok(Err("a table of SQLite has no schema".to_owned())) };
        let columns = self
            .rows(
                "SELECT upper(type), \"notnull\", pk FROM pragma_table_info(?) WHERE name = ?",
                &[name.as_str().into(), column.into()],
            )
            .await?;
        let table = quoted(name);
        let Some([Value::Text(kind), Value::Int(not_null), Value::Int(primary)]) =
            columns.first().map(Vec::as_slice)
        else {
            return Ok(Err(format!("there is no table {table} with a column {column}")));
        };
        // The rules by which SQLite itself reads a type.
        let number = kind.contains("INT");
        if !number && !["CHAR", "CLOB", "TEXT"].iter().any(|word| kind.contains(word)) {
            return Ok(Err(format!(
                "{table}.{column} is of type {kind}: a table is walked over by an integer, or a text"
            )));
        }
        let alone = number && *primary == 1 && kind == "INTEGER";
        if *not_null == 0 && !alone {
            return Ok(Err(format!("{table}.{column} may be NULL: rows without it would be left out")));
        }
        let indexed = self
            .rows(
                "SELECT 1 FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) i WHERE i.seqno = 0 AND i.name = ? AND l.partial = 0",
                &[name.as_str().into(), column.into()],
            )
            .await?;
        if indexed.is_empty() && !alone {
            return Ok(Err(format!(
                "no index of {table} begins with {column}: each batch would read all of the table"
            )));
        }
        let cast = (String::new(), String::new());
        Ok(Ok(Key { table, column: quoted(column), cast, text: ("CAST(", " AS TEXT)"), number }))
    }

    async fn estimate(&mut self, table: &[String]) -> Result<Option<u64>, Fault> {
        let [name] = table else { return Ok(None) };
        // There is no estimate to ask for; counting is bounded instead.
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT 1000000)", quoted(name));
        let rows = self.rows(&sql, &[]).await?;
        let count = rows
            .first()
            .and_then(|row| row.first())
            .and_then(Value::int)
            .and_then(|count| u64::try_from(count).ok());
        Ok(count.filter(|count| *count < 1_000_000))
    }
}

impl Eye for SqliteEye {
    async fn blockers(&mut self) -> Result<Option<Vec<Blocker>>, Fault> {
        Ok(Some(Vec::new()))
    }

    async fn cancel(&mut self) -> Result<(), Fault> {
        self.0.now.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn terminate(&mut self) -> Result<(), Fault> {
        self.cancel().await
    }
}
