//! Lines of journald, read by `journalctl`: the interface that systemd keeps, without linking its library.
//!
//! What was there is read backwards, so that the newest lines are the ones that fit; then a second run goes on behind
//! the newest entry. Entries are found by the service's name, which is their identifier. Their unit is the one that the
//! agent names (`handover-INSTANCE.service`) only where the program is in no cgroup of its own or is gone when journald
//! looks (client_context_read_cgroup in journald-context.c); else the instance follows from the cgroup's name, or is
//! not known. What another unit's program wrote under the service's name is not taken.

use super::{Line, MAX_BYTES, MAX_LINE_BYTES, Piece, request::LogRequest};
use handover_model::InstanceId;
use serde::Deserialize;
use serde_json::Value;
use std::{io, process::Stdio};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    sync::mpsc,
};

/// Longest entry as JSON that is read; what is longer is skipped. A byte takes at most four characters, see
/// journal-json in systemd's documentation.
const MAX_ENTRY: usize = 512 * 1024;
/// Of what journalctl complains.
const MAX_COMPLAINT: u64 = 500;

/// An entry, as far as it is asked for.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR", default)]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    micros: String,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "_SYSTEMD_UNIT", default)]
    unit: String,
    #[serde(rename = "_SYSTEMD_CGROUP", default)]
    cgroup: String,
}

/// Why journald cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    /// No journalctl.
    #[error("journalctl cannot be started, which reads what goes to journald")]
    Start(#[source] io::Error),
    /// It broke off.
    #[error("journalctl cannot be read")]
    Read(#[source] io::Error),
    /// It complained.
    #[error("journalctl ended with {status}: {complaint}")]
    Ended {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it complained.
        complaint: String,
    },
}

/// What was there, and where to go on.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// In the order of their times.
    pub(super) lines: Vec<Line>,
    /// Whether there were older ones than fit.
    pub(super) more: bool,
    /// Behind what to go on.
    pub(super) cursor: Option<String>,
}

/// A journalctl that runs; it ends with this value.
#[derive(Debug)]
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

fn start(request: &LogRequest, arguments: &[String]) -> Result<Running, JournalError> {
    let mut command = Command::new("journalctl");
    command
        .args([
            "--output=json",
            "--output-fields=MESSAGE,_SYSTEMD_UNIT,_SYSTEMD_CGROUP",
            "--all",
            "--no-pager",
            "--quiet",
        ])
        .args(arguments)
        .arg(format!("SYSLOG_IDENTIFIER={}", request.service));
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(JournalError::Start)?;
    let out = child.stdout.take().ok_or_else(|| JournalError::Start(io::Error::other("it has no output")))?;
    Ok(Running { child, out: BufReader::new(out) })
}

fn since(millis: u64) -> Option<String> {
    (millis != 0).then(|| format!("--since=@{}", millis / 1000))
}

/// Reads the newest lines, and where to go on.
pub(super) async fn before(request: &LogRequest) -> Result<Before, JournalError> {
    let mut arguments = vec!["--reverse".to_owned(), format!("--lines={}", request.lines.saturating_add(1))];
    arguments.extend(since(request.since_millis));
    let mut running = start(request, &arguments)?;
    let mut before = Before::default();
    let mut room = MAX_BYTES;
    loop {
        let Some(entry) = running.entry().await? else { break };
        if before.cursor.is_none() && !entry.cursor.is_empty() {
            before.cursor = Some(entry.cursor.clone());
        }
        let Some(line) = line(entry, request) else { continue };
        if before.lines.len() == request.lines || line.text.len() > room {
            before.more = true;
            break;
        }
        room -= line.text.len();
        before.lines.push(line);
    }
    before.lines.reverse();
    Ok(before)
}

/// Hands on what is written behind `cursor` (or from `from_millis` on, where there was nothing) until nobody takes it.
pub(super) async fn follow(
    request: &LogRequest,
    cursor: Option<&str>,
    from_millis: u64,
    out: &mpsc::Sender<Piece>,
) -> Result<(), JournalError> {
    let mut arguments = vec!["--follow".to_owned(), "--no-tail".to_owned()];
    arguments.extend(match cursor {
        Some(cursor) => Some(format!("--after-cursor={cursor}")),
        None => since(from_millis),
    });
    let mut running = start(request, &arguments)?;
    while let Some(entry) = running.entry().await? {
        let Some(line) = line(entry, request) else { continue };
        if cursor.is_none() && line.micros.is_some_and(|micros| micros / 1000 < from_millis) {
            continue;
        }
        if out.send(Piece::Lines(vec![line])).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

impl Running {
    /// The next entry that makes sense; `None` at the end.
    async fn entry(&mut self) -> Result<Option<Entry>, JournalError> {
        let mut text = Vec::new();
        loop {
            match bounded_line(&mut self.out, &mut text, MAX_ENTRY).await.map_err(JournalError::Read)? {
                Got::End => return self.end().await.map(|()| None),
                Got::TooLong => tracing::debug!("an entry of journald's is too long and is skipped"),
                Got::Line => match serde_json::from_slice(&text) {
                    Ok(entry) => return Ok(Some(entry)),
                    Err(error) => tracing::debug!(%error, "an entry of journald's makes no sense"),
                },
            }
        }
    }

    async fn end(&mut self) -> Result<(), JournalError> {
        let mut complaint = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            errors.take(MAX_COMPLAINT).read_to_end(&mut complaint).await.map_err(JournalError::Read)?;
        }
        let status = self.child.wait().await.map_err(JournalError::Read)?;
        if status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&complaint).trim().replace('\n', " ");
        Err(JournalError::Ended { status, complaint })
    }
}

enum Got {
    Line,
    TooLong,
    End,
}

/// Reads a line without its end into `text`, of which no more than `most` bytes are kept.
async fn bounded_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    text: &mut Vec<u8>,
    most: usize,
) -> io::Result<Got> {
    text.clear();
    let mut too_long = false;
    loop {
        let piece = reader.fill_buf().await?;
        if piece.is_empty() {
            return Ok(if text.is_empty() { Got::End } else { Got::Line });
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.unwrap_or(piece.len());
        if text.len() + length > most {
            too_long = true;
            text.clear();
        } else if !too_long {
            text.extend_from_slice(&piece[..length]);
        }
        reader.consume(end.map_or(length, |end| end + 1));
        if end.is_some() {
            return Ok(if too_long { Got::TooLong } else { Got::Line });
        }
    }
}

/// The line in an entry; `None` where it is none of an instance's, or older than asked.
fn line(entry: Entry, request: &LogRequest) -> Option<Line> {
    let ours = entry.unit.strip_prefix("handover-");
    if ours.is_none() && entry.unit.ends_with(".service") {
        return None;
    }
    let instance = ours
        .and_then(|unit| unit.strip_suffix(".service"))
        .into_iter()
        .chain(entry.cgroup.rsplit('/'))
        .find_map(|name| instance_of(name, request));
    if !request.instances.is_empty() && !instance.as_ref().is_some_and(|instance| request.wants(instance)) {
        return None;
    }
    let micros: u64 = entry.micros.parse().ok()?;
    if micros / 1000 < request.since_millis {
        return None;
    }
    let mut text = bytes(entry.message);
    let cut = text.len() > MAX_LINE_BYTES;
    text.truncate(MAX_LINE_BYTES);
    Some(Line { instance, micros: Some(micros), seen: false, text, cut })
}

/// The instance whose name begins `name`, where that is one of the service's: `web-d3`, also with more behind a dot.
fn instance_of(name: &str, request: &LogRequest) -> Option<InstanceId> {
    let name = name.split('.').next()?;
    let rest = name.strip_prefix(request.service.as_str())?;
    rest.starts_with('-').then(|| name.parse().ok()).flatten()
}

/// A field's value: text, or bytes where it is no UTF-8.
fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.into_bytes(),
        Value::Array(bytes) => {
            bytes.iter().filter_map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> LogRequest {
        LogRequest {
            service: "web".parse().unwrap(),
            instances: std::collections::BTreeSet::new(),
            since_millis: 1_000,
            follow: false,
            lines: 10,
        }
    }

    fn read(json: &str) -> Option<Line> {
        line(serde_json::from_str(json).unwrap(), &request())
    }

    #[test]
    fn an_entry_is_a_line_with_a_time() {
        let line = read(
            r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"2000001","MESSAGE":"hi","_SYSTEMD_UNIT":"handover-web-d1.service"}"#,
        );
        let line = line.unwrap();
        assert_eq!(
            (line.micros, line.seen, line.text.as_slice()),
            (Some(2_000_001), false, b"hi".as_slice())
        );
        assert_eq!(line.instance.unwrap().as_str(), "web-d1");
        let line = read(
            r#"{"__REALTIME_TIMESTAMP":"2000001","MESSAGE":[104,255],"_SYSTEMD_UNIT":"handover-web-d1.service"}"#,
        );
        assert_eq!(line.unwrap().text, [104, 255]);
    }

    #[test]
    fn the_instance_follows_from_the_cgroup_where_the_unit_does_not_tell_it() {
        for (unit, cgroup, instance) in [
            ("", "/handover-a/web-d3", Some("web-d3")),
            ("handover-agent.service", "/system.slice/handover-agent.service/web-d3", Some("web-d3")),
            ("session-1.scope", "/user.slice/session-1.scope", None),
        ] {
            let json = serde_json::json!({
                "__REALTIME_TIMESTAMP": "2000001", "MESSAGE": "a", "_SYSTEMD_UNIT": unit, "_SYSTEMD_CGROUP": cgroup,
            });
            let line = read(&json.to_string()).unwrap();
            assert_eq!(line.instance.as_ref().map(InstanceId::as_str), instance, "{unit} {cgroup}");
        }
    }

    #[test]
    fn entries_of_others_and_older_ones_are_not_taken() {
        for other in [
            r#"{"__REALTIME_TIMESTAMP":"2000001","MESSAGE":"a","_SYSTEMD_UNIT":"web.service"}"#,
            r#"{"__REALTIME_TIMESTAMP":"999999","MESSAGE":"a","_SYSTEMD_UNIT":"handover-web-d1.service"}"#,
            r#"{"__REALTIME_TIMESTAMP":"no","MESSAGE":"a","_SYSTEMD_UNIT":"handover-web-d1.service"}"#,
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn an_entry_that_is_too_long_is_skipped_and_takes_no_memory() {
        let text = format!("{}\nshort\nlast", "x".repeat(100_000));
        let mut reader = BufReader::new(text.as_bytes());
        let mut line = Vec::new();
        assert!(matches!(bounded_line(&mut reader, &mut line, 10).await.unwrap(), Got::TooLong));
        assert!(line.capacity() <= 64);
        assert!(matches!(bounded_line(&mut reader, &mut line, 10).await.unwrap(), Got::Line));
        assert_eq!(line, b"short");
        assert!(matches!(bounded_line(&mut reader, &mut line, 10).await.unwrap(), Got::Line));
        assert!(matches!(bounded_line(&mut reader, &mut line, 10).await.unwrap(), Got::End));
    }
}
