//! What a file says of itself to the runner, in comments before its first statement: [`directive`](crate::directive).

use std::time::Duration;

/// How a file wants to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `no transaction`: its one statement runs alone.
    pub alone: bool,
    /// `batch table=T key=K size=N`: its one statement runs again and again, for one piece of the table after the other.
    pub batch: Option<BatchHeader>,
    /// `lock_timeout=1s`.
    pub lock_timeout: Option<Duration>,
    /// `statement_timeout=5min`.
    pub statement_timeout: Option<Duration>,
}

/// What is walked over, and in which steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The table, with or without its schema.
    pub table: Vec<String>,
    /// The column by which it is walked over.
    pub key: String,
    /// How many rows the first batch has.
    pub size: u32,
}

/// A batch has no more rows than this.
pub const MOST_ROWS: u32 = 100_000;
const DEFAULT_ROWS: u32 = 1000;
/// No timeout of a file is longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Header {
    /// Reads into it what one comment says.
    ///
    /// # Errors
    ///
    /// What is not known there, and what is.
    pub fn read(&mut self, remark: &str) -> Result<(), String> {
        if remark == "no transaction" {
            self.alone = true;
            return Ok(());
        }
        if let Some(pairs) = remark.strip_prefix(BATCH) {
            if self.batch.is_some() {
                return Err("a second \"batch\": one file walks over one table".to_owned());
            }
            self.batch = Some(batch(pairs)?);
            return Ok(());
        }
        for pair in remark.split_whitespace() {
            let place = match pair.split_once('=') {
                Some(("lock_timeout", value)) => (&mut self.lock_timeout, value),
                Some(("statement_timeout", value)) => (&mut self.statement_timeout, value),
                _ => {
                    return Err(format!(
                        "{pair:?} is not known: \"no transaction\", \"batch table=T key=K size=N\", \"lock_timeout=1s\" and \"statement_timeout=5min\" are, and for the linter \"allow RULE because WHY\""
                    ));
                }
            };
            *place.0 = Some(duration(place.1).ok_or_else(|| {
                format!("{:?} is no time: write 500ms, 5s, 10min or 2h, up to 24h", place.1)
            })?);
        }
        if remark.is_empty() {
            return Err("nothing follows \"handover:\"".to_owned());
        }
        Ok(())
    }
}

/// What says that a file has batches.
const BATCH: &str = "batch ";

/// Whether a remark says that the file has batches, rightly or not.
pub(crate) fn is_batch(remark: &str) -> bool {
    remark.starts_with(BATCH)
}

fn batch(pairs: &str) -> Result<BatchHeader, String> {
    let (mut table, mut key, mut size) = (None, None, DEFAULT_ROWS);
    for pair in pairs.split_whitespace() {
        match pair.split_once('=') {
            Some(("table", value)) => {
                let parts: Vec<String> = value.split('.').map(ToOwned::to_owned).collect();
                table =
                    Some(parts).filter(|parts| parts.len() <= 2 && parts.iter().all(|part| is_name(part)));
                if table.is_none() {
                    return Err(format!(
                        "{value:?} is no name of a table: letters, digits and _, with or without its schema"
                    ));
                }
            }
            Some(("key", value)) if is_name(value) => key = Some(value.to_owned()),
            Some(("size", value)) => {
                size = value
                    .parse()
                    .ok()
                    .filter(|size| (1..=MOST_ROWS).contains(size))
                    .ok_or_else(|| format!("{value:?} is no size of a batch: 1 to {MOST_ROWS} rows"))?;
            }
            _ => return Err(format!("{pair:?} of a batch is not known: table=T key=K size=N")),
        }
    }
    match (table, key) {
        (Some(table), Some(key)) => Ok(BatchHeader { table, key, size }),
        (None, _) => Err("a batch needs its table: batch table=T key=K".to_owned()),
        (_, None) => {
            Err("a batch needs the column by which the table is walked over: batch table=T key=K".to_owned())
        }
    }
}

/// Names are put into statements between quotes; nothing that could end those gets in.
fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit = match text.get(digits..)? {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    // 0 would be "for ever" to PostgreSQL.
    number.checked_mul(unit).filter(|ms| *ms > 0).map(Duration::from_millis).filter(|time| *time <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let mut header = Header::default();
        header.read("batch table=shop.orders key=id size=500").unwrap();
        header.read("lock_timeout=500ms  statement_timeout=2h").unwrap();
        assert_eq!(header.lock_timeout, Some(Duration::from_millis(500)));
        assert_eq!(header.statement_timeout, Some(Duration::from_secs(7200)));
        let table = vec!["shop".to_owned(), "orders".to_owned()];
        assert_eq!(header.batch, Some(BatchHeader { table, key: "id".to_owned(), size: 500 }));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for remark in [
            "",
            "transaction",
            "lock_timeout=0s",
            "lock_timeout=25h",
            "lock_timeout=99999999999999999999s",
            "batch key=id",
            "batch table=a",
            "batch table=a.b.c key=id",
            "batch table=a;drop key=id",
            "batch table=a key=\"id\"",
            "batch table=a key=id size=0",
            "batch table=a key=id size=100001",
        ] {
            assert!(Header::default().read(remark).is_err(), "{remark:?}");
        }
    }
}
