//! How a daemon's own log lines look: text for people, JSON for collectors, or journald with every field of its own.
//!
//! A line that cannot be written (standard error is a file on a full disk) is lost, and nothing else is.
//!
//! In all three a line carries the fields of the spans that it was written in: `deployment`, `host`, `service`,
//! `instance`. In JSON they stand in `span` (the innermost) and `spans` (all, the outermost first), in journald as
//! `F_DEPLOYMENT`, `F_HOST` and so on.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// Which lines are written: directives of tracing's `EnvFilter`, as `info` or `handover=debug`.
pub const FILTER: &str = "HANDOVER_LOG";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// To journald where standard error goes there, as text elsewhere
    #[default]
    Auto,
    /// Lines for people, on standard error
    Text,
    /// One JSON object a line, on standard error
    Json,
    /// To journald, every field one of journald's
    Journald,
}

impl fmt::Display for LogFormat {
    /// The word that the flag takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
            Self::Journald => "journald",
        })
    }
}

/// The option that both daemons take.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct LogArgs {
    /// How the daemon's own log is written; which lines: HANDOVER_LOG, default `info`
    #[arg(
        id = "log-format",
        long = "log-format",
        value_name = "FORMAT",
        env = "HANDOVER_LOG_FORMAT",
        value_enum,
        default_value_t
    )]
    pub format: LogFormat,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// journald was asked for and is not there.
    #[error(
        "cannot log to journald: is systemd-journald running? `--log-format text` writes to standard error"
    )]
    Journald(#[source] io::Error),
    /// The filter is none.
    #[error("{FILTER} is no filter of log lines, as `info` or `handover=debug`")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Something else in this process logs already.
    #[error("the log was set up before")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Where lines go once `auto` is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Text,
    Json,
    Journald,
}

/// Sets the process's log up. `identifier` is the program's name in journald.
///
/// # Errors
/// A filter that is none; journald that was asked for by name and is not there.
pub fn init(format: LogFormat, identifier: &str) -> Result<(), LogError> {
    let filter = match std::env::var(FILTER) {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::builder().parse(directives).map_err(LogError::Filter)?
        }
        Ok(_) | Err(_) => EnvFilter::new("info"),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let way = match format {
        LogFormat::Auto if is_the_journal(io::stderr()) => Way::Journald,
        LogFormat::Auto | LogFormat::Text => Way::Text,
        LogFormat::Json => Way::Json,
        LogFormat::Journald => Way::Journald,
    };
    let journald = match way {
        Way::Text | Way::Json => None,
        Way::Journald => match tracing_journald::layer() {
            Ok(layer) => Some(layer.with_syslog_identifier(identifier.to_owned())),
            // Standard error reaches the journal as well, only without fields.
            Err(_) if format == LogFormat::Auto => None,
            Err(error) => return Err(LogError::Journald(error)),
        },
    };
    let done = match (journald, way) {
        (Some(journald), _) => registry.with(journald).try_init(),
        (None, Way::Json) => registry.with(json(io::stderr)).try_init(),
        (None, Way::Text | Way::Journald) => {
            let text = tracing_subscriber::fmt::layer()
                .log_internal_errors(false)
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
            registry.with(text).try_init()
        }
    };
    done.map_err(LogError::Twice)
}

/// Lines of JSON: the event's fields beside `timestamp`, `level`, `target`, `message`; the spans' in `span`, `spans`.
fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer().log_internal_errors(false).json().flatten_event(true).with_writer(writer)
}

/// Whether what is written to `stream` goes to journald: `JOURNAL_STREAM` names its device and inode, see
/// systemd.exec(5). A child that redirected its output inherits the variable, so it is compared.
fn is_the_journal(stream: impl AsFd) -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(stream).is_ok_and(|found| names(&told, found.st_dev, found.st_ino))
}

fn names(told: &str, device: u64, inode: u64) -> bool {
    told.split_once(':').is_some_and(|(told_device, told_inode)| {
        told_device.parse() == Ok(device) && told_inode.parse() == Ok(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_json_carries_the_fields_of_its_spans() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(json(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _host = tracing::info_span!("session", host = "web-1").entered();
            let _step = tracing::info_span!("step", deployment = "d7", service = "web").entered();
            tracing::info!(state = "baking", "host moves");
        });
        let line: serde_json::Value = serde_json::from_slice(&written.0.lock().unwrap()).unwrap();
        assert_eq!(line["message"], "host moves");
        assert_eq!(line["state"], "baking");
        assert_eq!(line["span"]["deployment"], "d7");
        assert_eq!(line["spans"][0]["host"], "web-1");
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert!(names("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:1234:1", "a:b"] {
            assert!(!names(other, 8, 1234), "{other}");
        }
    }
}
