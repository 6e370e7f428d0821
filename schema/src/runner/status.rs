//! What stands in a database, without changing anything there.

use crate::address::Kind;
use crate::database::tables;
use crate::database::{Session, mysql::MySql, postgres::Postgres, sqlite::Sqlite};
use crate::error::Error;
use crate::limits::Limits;
use crate::plan::version_of;
use crate::record::{BackfillRecord, Record};
use crate::runner::{End, Target, end, records, unreadable};
use handover_model::SchemaVersion;

/// What stands in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The schema's version.
    pub version: SchemaVersion,
    /// What was applied, or begun.
    pub records: Vec<Record>,
    /// How far backfills are, or came.
    pub backfills: Vec<BackfillRecord>,
    /// Who runs migrations now.
    pub holder: Option<String>,
    /// Indexes that a failure left and that are not used.
    pub invalid_indexes: Vec<String>,
}

/// Reads it.
pub async fn status(target: &Target, service: &str, limits: &Limits) -> Result<Status, Error> {
    target.secret()?;
    let read = match target.address.kind() {
        Kind::Postgres => read::<Postgres>(target, service, limits).await,
        Kind::MySql => read::<MySql>(target, service, limits).await,
        Kind::Sqlite => read::<Sqlite>(target, service, limits).await,
    };
    read.map_err(|end| {
        end.into_error(|source| Error::Connect { database: target.address.to_string(), source })
    })
}

async fn read<S: Session>(target: &Target, service: &str, limits: &Limits) -> Result<Status, End> {
    let database = target.address.to_string();
    let mut session = S::connect(target, &format!("handover migrate {service}: status"), limits)
        .await
        .map_err(|fault| end(fault, |source| Error::Connect { database, source }))?;
    let mut status = Status {
        invalid_indexes: session.invalid_indexes(None).await.map_err(unreadable)?,
        ..Status::default()
    };
    if session.has_tables().await.map_err(unreadable)? {
        status.records = records(&mut session).await?;
        status.version = version_of(&status.records);
        let sql = session.tables().all_backfills();
        let rows = session.rows(&sql, &[]).await.map_err(unreadable)?;
        status.backfills = rows.iter().map(tables::backfill_record).collect::<Result<_, _>>()?;
        status.holder = session.holder().await.map_err(unreadable)?;
    }
    session.close().await;
    Ok(status)
}
