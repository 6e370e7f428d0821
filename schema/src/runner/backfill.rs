//! A backfill: one statement for one piece of a table after the other. Piece and how far it is are one transaction, so a row is
//! done by one batch, whoever is killed.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::tables::backfill_record;
use crate::database::{Key, Lag, Session, Value};
use crate::error::{Error, Fault, FaultKind};
use crate::limits::{Pace, SLACK};
use crate::progress::Progress;
use crate::record::{BackfillRecord, Record, State};
use crate::runner::together::failed;
use crate::runner::watch::{Run, Where, watched};
use crate::runner::{
    Course, End, Write, again, begun, millis, rest, rolled_back, sealed, taken_back, unreadable,
    wait_while_paused, write,
};
use handover_script::{BatchHeader, Script, Statement};

/// What stays the same from batch to batch.
struct Walk<'a> {
    script: &'a Script,
    file: String,
    key: Key,
    /// The statement with the places of its values, and which of them are the last key.
    sql: String,
    ends: Vec<bool>,
    longest: Duration,
}

/// What became of one try of a batch.
enum Batch {
    Done {
        rows: u64,
    },
    /// There is no row any more: the backfill is applied.
    End,
    Failed(Fault),
}

pub(crate) async fn run<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    (statement, batch): (&Statement, &BatchHeader),
    record: Option<&Record>,
) -> Result<(), End> {
    let limits = course.job.limits;
    let longest = script.statement_timeout.unwrap_or(limits.statement_timeout);
    session
        .settle(Some(script.lock_timeout.unwrap_or(limits.lock_timeout)), Some(longest))
        .await
        .map_err(unreadable)?;
    let file = script.to_string();
    let key = session.key(&batch.table, &batch.key).await.map_err(unreadable)?;
    let key = key.map_err(|what| {
        let stands = match record {
            None => "nothing was done",
            Some(_) => "the batches before stand, and nothing more was done",
        };
        Error::Backfill { file: file.clone(), what, stands: stands.to_owned() }
    })?;
    let (sql, ends) = with_places::<S>(statement, &key);
    let walk = Walk { script, file, key, sql, ends, longest };
    if record.is_none() {
        // That it is begun, and that it is nowhere yet.
        let begins = session.tables().insert(script, State::Started, &course.hand());
        let nowhere = session.tables().insert_backfill(script.version);
        write(session, course, &[begins, nowhere]).await?;
        course.tell(Progress::Recorded { file: walk.file.clone() });
    }
    let of = session.estimate(&batch.table).await.map_err(unreadable)?;
    let mut pace = Pace::new(batch.size);
    let mut here = 0;
    let began = Instant::now();
    let mut hidden = false;
    loop {
        wait_while_paused(session, course).await?;
        throttle(session, course, &mut hidden).await?;
        let batch_began = Instant::now();
        match batch_once(session, eye, course, &walk, pace.rows(), began).await? {
            Batch::End => return Ok(()),
            Batch::Done { rows } => {
                course.moved();
                here += rows;
                let took = batch_began.elapsed();
                let asked = pace.rows();
                pace.after(took, limits.throttle.batch);
                let all = so_far(session, &walk).await?.rows;
                let per_second = here as f64 / began.elapsed().as_secs_f64().max(1e-6);
                course.tell(Progress::Batch {
                    file: walk.file.clone(),
                    rows: all,
                    of,
                    per_second,
                    batch: asked,
                });
                rest(session, course, limits.throttle.rest(took)).await?;
            }
            Batch::Failed(fault) => {
                // Too long is a question of how much at once.
                let again_later =
                    fault.kind == FaultKind::Locked || fault.kind == FaultKind::TooLong && pace.rows() > 1;
                pace.failed();
                if !again_later || !again(session, course, &walk.file, &fault).await? {
                    let stands =
                        "the batches before stand, and it goes on behind them: correct what this one meets";
                    return Err(failed(course, script, statement, fault, stands));
                }
            }
        }
    }
}

/// The statement with places for values where `:first` and `:last` stand.
fn with_places<S: Session>(statement: &Statement, key: &Key) -> (String, Vec<bool>) {
    let (mut sql, mut ends, mut from) = (String::new(), Vec::new(), 0);
    for hole in &statement.holes {
        ends.push(hole.last);
        sql.push_str(statement.text.get(from..hole.from).unwrap_or_default());
        sql.push_str(&key.cast.0);
        sql.push_str(&S::place(ends.len()));
        sql.push_str(&key.cast.1);
        from = hole.to;
    }
    sql.push_str(statement.text.get(from..).unwrap_or_default());
    (sql, ends)
}

async fn so_far<S: Session>(session: &mut S, walk: &Walk<'_>) -> Result<BackfillRecord, End> {
    let (sql, values) = session.tables().backfill(walk.script.version);
    let rows = session.rows(&sql, &values).await.map_err(unreadable)?;
    let row = rows.first().ok_or_else(|| Error::Nonsense {
        what: format!("{} was begun, and how far it is does not stand there", walk.file),
    })?;
    Ok(backfill_record(row)?)
}

/// The first and the last key of the next piece, and its rows.
async fn next_piece<S: Session>(
    session: &mut S,
    key: &Key,
    after: Option<&str>,
    rows: u32,
) -> Result<Result<Option<(String, String, u64)>, Fault>, End> {
    let Key { table, column, cast, text, number: _ } = key;
    let (where_, values) = match after {
        Some(after) => (format!("WHERE {column} > {}?{}", cast.0, cast.1), vec![bound(key, after)?]),
        None => (String::new(), Vec::new()),
    };
    let sql = format!(
        "SELECT {before}first_value(k) OVER (ORDER BY k){behind}, {before}k{behind}, row_number() OVER (ORDER BY k) FROM \
         (SELECT {column} AS k FROM {table} {where_} ORDER BY {column} LIMIT {rows}) piece ORDER BY k DESC LIMIT 1",
        before = text.0,
        behind = text.1
    );
    let found = match session.rows(&sql, &values).await {
        Ok(found) => found,
        Err(fault) => return Ok(Err(fault)),
    };
    Ok(Ok(match found.first().map(Vec::as_slice) {
        None => None,
        Some([Value::Text(first), Value::Text(last), Value::Int(rows)]) => {
            Some((first.clone(), last.clone(), u64::try_from(*rows).unwrap_or(0)))
        }
        Some(other) => return Err(Error::Nonsense { what: format!("the keys of a piece: {other:?}") }.into()),
    }))
}

/// A key as it is bound.
fn bound(key: &Key, text: &str) -> Result<Value, Error> {
    if !key.number {
        return Ok(Value::Text(text.to_owned()));
    }
    text.parse()
        .map(Value::Int)
        .map_err(|_| Error::Nonsense { what: format!("{text:?} is no key of {}", key.table) })
}

async fn batch_once<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    walk: &Walk<'_>,
    rows: u32,
    began: Instant,
) -> Result<Batch, End> {
    let mark = begun(session).await?;
    match in_transaction(session, eye, course, walk, rows, began).await {
        Ok(Ok((batch, last))) => {
            course.tell(Progress::Commits { file: walk.file.clone() });
            sealed(session, &mark, &last).await.map(|()| batch)
        }
        Ok(Err(fault)) if fault.kind == FaultKind::Lost => Err(End::Lost(fault)),
        Ok(Err(fault)) => rolled_back(session).await.map(|()| Batch::Failed(fault)),
        Err(end) => Err(taken_back(session, end).await),
    }
}

/// A batch up to the last write of its transaction, which says how far it is; or the fault that it met.
async fn in_transaction<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    walk: &Walk<'_>,
    rows: u32,
    began: Instant,
) -> Result<Result<(Batch, Write), Fault>, End> {
    let before = so_far(session, walk).await?;
    let piece = match next_piece(session, &walk.key, before.last_key.as_deref(), rows).await? {
        Ok(piece) => piece,
        Err(fault) => return Ok(Err(fault)),
    };
    let Some((first, last, rows)) = piece else {
        let applied = session.tables().applied(walk.script.version, millis(began.elapsed()));
        return Ok(Ok((Batch::End, applied)));
    };
    let ends = [bound(&walk.key, &first)?, bound(&walk.key, &last)?];
    let values: Vec<Value> = walk.ends.iter().map(|last| ends[usize::from(*last)].clone()).collect();
    let place = Where { file: &walk.file, longest: Some(walk.longest + SLACK) };
    if let Err(fault) = watched(session, eye, course, Run::With(&walk.sql, &values), place).await {
        return Ok(Err(fault));
    }
    let done = session.tables().batch(&before, &last, rows);
    Ok(Ok((Batch::Done { rows }, done)))
}

/// Waits while the database, or somebody else, has too much to do.
async fn throttle<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    hidden: &mut bool,
) -> Result<(), End> {
    let throttle = &course.job.limits.throttle;
    let mut told: Option<String> = None;
    while let Some(why) = brake(session, course, hidden).await? {
        // Told when it begins, and not for each number that changes.
        if told.is_none() {
            course.tell(Progress::Throttled { why: why.clone() });
            told = Some(why);
        }
        rest(session, course, throttle.look).await?;
        wait_while_paused(session, course).await?;
    }
    Ok(())
}

async fn brake<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    hidden: &mut bool,
) -> Result<Option<String>, End> {
    let throttle = &course.job.limits.throttle;
    if let Some(why) = throttle.brake.as_ref().and_then(|brake| brake()) {
        return Ok(Some(why));
    }
    match session.lag().await.map_err(unreadable)? {
        Lag::Behind(lag) if lag > throttle.most_lag => {
            let [lag, most] = [lag, throttle.most_lag].map(|time| time.as_secs_f64());
            return Ok(Some(format!("a replica is {lag:.1} s behind, {most:.1} s is the most")));
        }
        Lag::Hidden if !*hidden => {
            *hidden = true;
            let note = "there are replicas, and this user may not see how far they are behind: the backfill does not wait for them (GRANT pg_monitor lets it)";
            course.tell(Progress::Note(note.to_owned()));
        }
        Lag::None | Lag::Hidden | Lag::Behind(_) => {}
    }
    if let Some(most) = throttle.most_active {
        let active = session.active().await.map_err(unreadable)?;
        if active > most {
            return Ok(Some(format!("{active} sessions are at work, {most} is the most")));
        }
    }
    Ok(None)
}
