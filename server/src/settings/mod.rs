//! What the server goes by, and who said so: flag, then environment, then `server.toml`, then default.

mod file;

pub use file::ServerFileError;

use crate::server_command::{Metrics, ServerArgs};
use clap::{ArgMatches, parser::ValueSource};
use file::ServerFile;
use handover_model::{
    language::{Stated, written_seconds},
    settings::{PrometheusUrl, flag, server as keys, variable},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Who said what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// The configuration, with the line.
    File(PathBuf, u32),
    /// Nobody.
    Default,
}

impl Source {
    /// In a word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::File(..) => "file",
            Self::Default => "default",
        }
    }

    /// Which one.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Flag(name) | Self::Environment(name) => name.clone(),
            Self::File(path, line) => format!("{}:{line}", path.display()),
            Self::Default => String::new(),
        }
    }
}

/// A setting as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the file.
    pub key: &'static str,
    /// What it is; `None` where the server decides.
    pub value: Option<String>,
    /// Who said so.
    pub source: Source,
}

/// Everything that the server goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The options, all decided.
    pub arguments: ServerArgs,
    /// Each of them in the order of the table, with who said so.
    pub settings: Vec<Setting>,
    /// The configuration, and who named it.
    pub file: Setting,
    /// Whether it is there.
    pub file_is_there: bool,
}

/// Why it cannot be said what the server goes by.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration cannot be used.
    #[error(transparent)]
    File(#[from] ServerFileError),
    /// Half a CA of one's own.
    #[error("{given} is given but {missing} is not: give both, or none and the server makes a CA", given = said(.given), missing = said(.missing))]
    HalfACa {
        /// The key that is given.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
}

fn said(key: &str) -> String {
    format!("{key} ({}, {})", flag(key), variable(key))
}

/// Decides every setting. `arguments` are what clap made of flags, environment and defaults; `matches` knows which of
/// these it was.
///
/// # Errors
/// A configuration that cannot be used; one half of a CA.
pub fn settle(arguments: &ServerArgs, matches: &ArgMatches) -> Result<Settings, SettingsError> {
    let (found, path, file_is_there) = ServerFile::find(arguments.config.as_deref())?;
    let by = clap_source(matches, "config", "--config", "HANDOVER_SERVER_CONFIG");
    let file = Setting {
        key: "file",
        value: Some(path.display().to_string()),
        source: by.unwrap_or(Source::Default),
    };
    let mut settled = arguments.clone();
    let mut settling = Settling { matches, path: &path, settings: Vec::new() };
    settling.all(&mut settled, found);
    let settings = settling.settings;
    match (&settled.ca_certificate, &settled.ca_key) {
        (Some(_), None) => {
            return Err(SettingsError::HalfACa { given: "ca_certificate", missing: "ca_key" });
        }
        (None, Some(_)) => {
            return Err(SettingsError::HalfACa { given: "ca_key", missing: "ca_certificate" });
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    Ok(Settings { arguments: settled, settings, file, file_is_there })
}

/// The folder of everything durable, for the tools that look at it while no server runs: as the server would decide.
///
/// # Errors
/// A configuration that cannot be used, where it is asked.
pub fn data(given: Option<PathBuf>, config: Option<&Path>) -> Result<PathBuf, ServerFileError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let (found, ..) = ServerFile::find(config)?;
    Ok(found.data.map_or_else(|| crate::server_command::DATA.into(), |data| data.value))
}

/// Who gave clap a value; `None` where it is the default, or none.
fn clap_source(matches: &ArgMatches, id: &str, flag: &str, variable: &str) -> Option<Source> {
    match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Some(Source::Flag(flag.to_owned())),
        Some(ValueSource::EnvVariable) => Some(Source::Environment(variable.to_owned())),
        Some(_) | None => None,
    }
}

struct Settling<'m> {
    matches: &'m ArgMatches,
    path: &'m Path,
    settings: Vec<Setting>,
}

impl Settling<'_> {
    fn all(&mut self, to: &mut ServerArgs, file: ServerFile) {
        let ServerFile {
            data,
            listen,
            unix,
            admin_group,
            fleet,
            address,
            ca_certificate,
            ca_key,
            agent_certificate_life,
            server_certificate_life,
            metrics,
            prometheus,
            prometheus_token_file,
            prometheus_ca_file,
            log_format,
        } = file;
        let path = |path: &PathBuf| path.display().to_string();
        let life = |life: &Duration| written_seconds(life.as_secs());
        self.one(keys::DATA.name(), &mut to.data, data, path);
        self.one(keys::LISTEN.name(), &mut to.listen, listen, ToString::to_string);
        self.one(keys::UNIX.name(), &mut to.unix, unix, path);
        self.maybe(keys::ADMIN_GROUP.name(), &mut to.admin_group, admin_group, Clone::clone);
        self.one(keys::FLEET.name(), &mut to.fleet, fleet, Clone::clone);
        self.maybe(keys::ADDRESS.name(), &mut to.address, address, Clone::clone);
        self.maybe(keys::CA_CERTIFICATE.name(), &mut to.ca_certificate, ca_certificate, path);
        self.maybe(keys::CA_KEY.name(), &mut to.ca_key, ca_key, path);
        let lives = [
            (keys::AGENT_CERTIFICATE_LIFE.name(), &mut to.agent_certificate_life, agent_certificate_life),
            (keys::SERVER_CERTIFICATE_LIFE.name(), &mut to.server_certificate_life, server_certificate_life),
        ];
        for (key, to, stated) in lives {
            self.one(key, to, stated, life);
        }
        self.maybe(keys::METRICS.name(), &mut to.metrics, metrics, Metrics::to_string);
        self.maybe(keys::PROMETHEUS.name(), &mut to.prometheus, prometheus, PrometheusUrl::to_string);
        let token = keys::PROMETHEUS_TOKEN_FILE.name();
        self.maybe(token, &mut to.prometheus_token_file, prometheus_token_file, path);
        self.one(keys::PROMETHEUS_CA_FILE.name(), &mut to.prometheus_ca_file, prometheus_ca_file, path);
        self.one(keys::LOG_FORMAT.name(), &mut to.log.format, log_format, ToString::to_string);
    }

    /// A setting that always has a value.
    fn one<T>(
        &mut self,
        key: &'static str,
        to: &mut T,
        stated: Option<Stated<T>>,
        text: impl Fn(&T) -> String,
    ) {
        let source = self.decide(key, to, stated);
        self.settings.push(Setting { key, value: Some(text(to)), source });
    }

    /// A setting that may have none.
    fn maybe<T>(
        &mut self,
        key: &'static str,
        to: &mut Option<T>,
        stated: Option<Stated<T>>,
        text: impl Fn(&T) -> String,
    ) {
        let source = self.decide(key, to, stated.map(|stated| stated.map(Some)));
        self.settings.push(Setting { key, value: to.as_ref().map(text), source });
    }

    fn decide<T>(&self, key: &str, to: &mut T, stated: Option<Stated<T>>) -> Source {
        // Arguments have their field's name, but for the one that both daemons take.
        let id = if key == keys::LOG_FORMAT.name() { "log-format" } else { key };
        match (clap_source(self.matches, id, &flag(key), &variable(key)), stated) {
            (Some(source), _) => source,
            (None, Some(Stated { value, line })) => {
                *to = value;
                Source::File(self.path.to_owned(), line)
            }
            (None, None) => Source::Default,
        }
    }
}
