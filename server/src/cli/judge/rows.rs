//! The blocks of a file: CSV or JSON lines.

use super::super::error::CliError;
use handover_daemon::read_bounded;
use handover_judge::{Counts, HostBlock, Reading};
use serde::Deserialize;
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

/// The most bytes of a file that are read.
const MAX_BYTES: usize = 16 << 20;
/// The most blocks of a file: two and a half weeks of blocks of 10 s.
const MAX_ROWS: usize = 150_000;
/// What stands in a line, in this order where it is CSV.
const COLUMNS: [&str; 5] = ["block", "canary_requests", "canary_bad", "baseline_requests", "baseline_bad"];

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Its number, or its time; it grows from row to row.
    pub(super) block: u64,
    pub(super) host: HostBlock<Counts>,
}

/// A line that is no block.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct RowError {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) problem: String,
}

/// A line as it was written; an arm without data has neither of its numbers.
#[derive(Debug, Deserialize)]
struct Written {
    block: u64,
    canary_requests: Option<u64>,
    canary_bad: Option<u64>,
    baseline_requests: Option<u64>,
    baseline_bad: Option<u64>,
}

/// The blocks of a file, and its name for messages; - is standard input.
pub(super) fn of_file(file: &Path) -> Result<(PathBuf, Vec<Row>), CliError> {
    let (path, text) = text(file)?;
    let refused = |problem: String| CliError::File { path: path.clone(), problem };
    let rows = read(&text).map_err(|error| refused(error.to_string()))?;
    if rows.is_empty() {
        return Err(refused("holds no block".to_owned()));
    }
    Ok((path, rows))
}

/// The file's name for messages, and what stands in it.
fn text(file: &Path) -> Result<(PathBuf, String), CliError> {
    let (path, bytes) = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| CliError::System { what: "read standard input".to_owned(), source })?;
        (PathBuf::from("standard input"), bytes)
    } else {
        (file.to_owned(), read_bounded(file, MAX_BYTES)?)
    };
    if bytes.len() > MAX_BYTES {
        let problem = format!("has more than the {MAX_BYTES} bytes that are read");
        return Err(CliError::File { path, problem });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((path, text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
            Err(CliError::File { path, problem: format!("line {line}: is not UTF-8 text") })
        }
    }
}

/// Reads all blocks. Empty lines, lines that begin with `#`, and a first line with the columns' names are no blocks.
fn read(text: &str) -> Result<Vec<Row>, RowError> {
    let mut rows: Vec<Row> = Vec::new();
    let mut may_be_names = true;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let wrong = |problem: String| RowError { line: number, problem };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_names = line.split(',').map(str::trim).eq(COLUMNS);
        if std::mem::take(&mut may_be_names) && is_names {
            continue;
        }
        let written = if line.starts_with('{') { of_json(line) } else { of_csv(line) }.map_err(wrong)?;
        let row = row(&written).map_err(wrong)?;
        if let Some(last) = rows.last().filter(|last| last.block >= row.block) {
            let (block, last) = (row.block, last.block);
            return Err(wrong(format!(
                "block {block} comes after block {last}: blocks must grow from line to line"
            )));
        }
        if rows.len() == MAX_ROWS {
            return Err(wrong(format!("more than {MAX_ROWS} blocks: give the deployment's own ones")));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn of_json(line: &str) -> Result<Written, String> {
    serde_json::from_str(line).map_err(|error| {
        let text = error.to_string();
        // Each line is a document of its own: serde's line number would mislead.
        let problem = text.split(" at line ").next().unwrap_or(&text);
        format!("column {}: {problem}", error.column())
    })
}

fn of_csv(line: &str) -> Result<Written, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let count = fields.len();
    let five: [&str; 5] = fields
        .try_into()
        .map_err(|_| format!("has {count} fields; five are expected: {}", COLUMNS.join(",")))?;
    let mut numbers = [None; 5];
    for ((number, field), column) in numbers.iter_mut().zip(five).zip(COLUMNS) {
        if !field.is_empty() {
            let shown: String = field.chars().take(30).flat_map(char::escape_debug).collect();
            let parsed =
                field.parse().map_err(|_| format!("{column} is \"{shown}\", not a whole number from 0"));
            *number = Some(parsed?);
        }
    }
    let [block, canary_requests, canary_bad, baseline_requests, baseline_bad] = numbers;
    let block = block.ok_or("block is empty")?;
    Ok(Written { block, canary_requests, canary_bad, baseline_requests, baseline_bad })
}

fn row(written: &Written) -> Result<Row, String> {
    let Written { block, canary_requests, canary_bad, baseline_requests, baseline_bad } = *written;
    let canary = reading("canary", canary_requests, canary_bad)?;
    let baseline = reading("baseline", baseline_requests, baseline_bad)?;
    Ok(Row { block, host: HostBlock { canary, baseline } })
}

fn reading(arm: &str, requests: Option<u64>, bad: Option<u64>) -> Result<Reading<Counts>, String> {
    match (requests, bad) {
        (Some(requests), Some(bad)) => {
            Counts::new(requests, bad).map(Reading::Counted).map_err(|error| format!("{arm}: {error}"))
        }
        (None, None) => Ok(Reading::Absent),
        (Some(_), None) => Err(format!("{arm}_bad is missing where {arm}_requests is given")),
        (None, Some(_)) => Err(format!("{arm}_requests is missing where {arm}_bad is given")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Row> {
        read(text).unwrap()
    }

    fn problem(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn csv_and_json_lines_say_the_same() {
        let csv = "block, canary_requests, canary_bad, baseline_requests, baseline_bad\n# five minutes\n1,5,1,95,0\n\n2 , 5,0, ,\r\n";
        let json = concat!(
            r#"{"block": 1, "canary_requests": 5, "canary_bad": 1, "baseline_requests": 95, "baseline_bad": 0, "e": 2.5}"#,
            "\n",
            r#"{"block": 2, "canary_requests": 5, "canary_bad": 0, "baseline_requests": null}"#,
        );
        assert_eq!(of(csv), of(json));
        assert_eq!(of(csv)[1].host.baseline, Reading::Absent);
        assert_eq!(of(csv).len(), 2);
        assert_eq!(of(""), []);
    }

    #[test]
    fn what_is_no_block_is_told_with_its_line_and_why() {
        for (text, told) in [
            ("1,5,1,95", "line 1: has 4 fields; five are expected: block,canary_requests,"),
            (
                "1,5,1,95,0\n\n2,5,x\u{1b},95,0",
                r#"line 3: canary_bad is "x\u{1b}", not a whole number from 0"#,
            ),
            ("1,5,-1,95,0", r#"line 1: canary_bad is "-1""#),
            ("1,5,6,95,0", "line 1: canary: 6 bad requests are more than the 5 requests"),
            ("1,5,0,1000000000001,0", "line 1: baseline: 1000000000001 requests in one block are more than"),
            ("1,5,0,99999999999999999999999,0", "line 1: baseline_requests is"),
            ("1,5,,95,0", "line 1: canary_bad is missing where canary_requests is given"),
            ("1,5,0,,3", "line 1: baseline_requests is missing where baseline_bad is given"),
            (",5,0,95,3", "line 1: block is empty"),
            ("2,5,0,95,3\n2,5,0,95,3", "line 2: block 2 comes after block 2"),
            (
                "1,5,0,95,3\nblock,canary_requests,canary_bad,baseline_requests,baseline_bad",
                "line 2: block is \"block\"",
            ),
            (
                r#"{"block": 1, "canary_requests": 5.5}"#,
                "line 1: column 35: invalid type: floating point `5.5`, expected u64",
            ),
            (r#"{"canary_requests": 5}"#, "line 1: column 22: missing field `block`"),
            (r#"{"block": 1"#, "line 1: column 11: EOF while parsing an object"),
        ] {
            assert!(problem(text).starts_with(told), "{text:?}: {}", problem(text));
        }
    }
}
