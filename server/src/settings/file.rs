//! `server.toml`: every option of `handover server`, each as it stands in the file.

use crate::server_command::Metrics;
use clap::ValueEnum as _;
use handover_daemon::FileError;
use handover_identity::{FleetName, ServerAddress};
use handover_model::{
    config::{Mistakes, WrongFile},
    language::{Reading, Stated},
    settings::{self, PrometheusUrl, server as keys},
};
use handover_telemetry::LogFormat;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// What stands in the file; each value with its line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerFile {
    pub(super) data: Option<Stated<PathBuf>>,
    pub(super) listen: Option<Stated<SocketAddr>>,
    pub(super) unix: Option<Stated<PathBuf>>,
    pub(super) admin_group: Option<Stated<String>>,
    pub(super) fleet: Option<Stated<String>>,
    pub(super) address: Option<Stated<String>>,
    pub(super) ca_certificate: Option<Stated<PathBuf>>,
    pub(super) ca_key: Option<Stated<PathBuf>>,
    pub(super) agent_certificate_life: Option<Stated<Duration>>,
    pub(super) server_certificate_life: Option<Stated<Duration>>,
    pub(super) metrics: Option<Stated<Metrics>>,
    pub(super) prometheus: Option<Stated<PrometheusUrl>>,
    pub(super) prometheus_token_file: Option<Stated<PathBuf>>,
    pub(super) prometheus_ca_file: Option<Stated<PathBuf>>,
    pub(super) log_format: Option<Stated<LogFormat>>,
}

/// Why `server.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerFileError {
    /// The file cannot be read, or is none.
    #[error("the server's configuration cannot be read (--config FILE names another one)")]
    Read(#[source] FileError),
    /// It is not what it should be.
    #[error("{} has {}\n{}", .0.path.display(), .0.count(), .0)]
    Wrong(Box<WrongFile>),
}

impl ServerFile {
    /// Reads the file that was named; or the one at the usual place, which may be missing. With where that is, and
    /// whether it is there.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or says what it must not: then everything that is wrong with it.
    pub(super) fn find(named: Option<&Path>) -> Result<(Self, PathBuf, bool), ServerFileError> {
        let path = named.unwrap_or(Path::new(keys::PATH));
        match Self::read(path) {
            Err(ServerFileError::Read(FileError::System { source, .. }))
                if named.is_none() && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok((Self::default(), path.to_owned(), false))
            }
            read => Ok((read?, path.to_owned(), true)),
        }
    }

    fn read(path: &Path) -> Result<Self, ServerFileError> {
        let most = settings::SERVER.most;
        let bytes = handover_daemon::read_bounded(path, most).map_err(ServerFileError::Read)?;
        Self::parse(&bytes).map_err(|mistakes| {
            ServerFileError::Wrong(Box::new(WrongFile::new(path, &bytes, most, mistakes)))
        })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Mistakes> {
        Reading::of(bytes, &settings::SERVER, |file| {
            Some(Self {
                data: file.text(&keys::DATA, settings::absolute),
                listen: file.text(&keys::LISTEN, settings::socket_address),
                unix: file.text(&keys::UNIX, settings::absolute),
                admin_group: file.text(&keys::ADMIN_GROUP, group),
                fleet: file.text(&keys::FLEET, |text| text.parse::<FleetName>().map(|_| text.to_owned())),
                address: file
                    .text(&keys::ADDRESS, |text| text.parse::<ServerAddress>().map(|_| text.to_owned())),
                ca_certificate: file.text(&keys::CA_CERTIFICATE, settings::absolute),
                ca_key: file.text(&keys::CA_KEY, settings::absolute),
                agent_certificate_life: file.text(&keys::AGENT_CERTIFICATE_LIFE, keys::certificate_life),
                server_certificate_life: file.text(&keys::SERVER_CERTIFICATE_LIFE, keys::certificate_life),
                metrics: file.text(&keys::METRICS, metrics),
                prometheus: file.text(&keys::PROMETHEUS, str::parse),
                prometheus_token_file: file.text(&keys::PROMETHEUS_TOKEN_FILE, settings::absolute),
                prometheus_ca_file: file.text(&keys::PROMETHEUS_CA_FILE, settings::absolute),
                log_format: file.word(&keys::LOG_FORMAT).map(|word| word.map(format)),
            })
        })
    }
}

fn group(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("is empty: expected the name of a group of this machine")
    } else {
        Ok(text.into())
    }
}

fn metrics(text: &str) -> Result<Metrics, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is no address: expected an IP address and a port, like \"127.0.0.1:7444\", or \"off\""
        )
    })
}

/// The words of the table are those of the flag; a test compares them.
fn format(word: &str) -> LogFormat {
    LogFormat::from_str(word, false).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_command::ServerArgs;
    use handover_model::language::{Absent, Shape};
    use std::collections::BTreeSet;

    /// The arguments that `handover server` takes, as clap knows them.
    fn arguments() -> Vec<clap::Arg> {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            arguments: ServerArgs,
        }
        let of_every_program = ["config", "print_config", "help"];
        let command = <Only as clap::CommandFactory>::command();
        let arguments =
            command.get_arguments().filter(|arg| !of_every_program.contains(&arg.get_id().as_str()));
        arguments.cloned().collect()
    }

    #[test]
    fn every_option_of_the_server_is_a_key_with_the_same_names_and_default() {
        let mut options = BTreeSet::new();
        for argument in arguments() {
            let key = argument.get_long().unwrap().replace('-', "_");
            let entry = settings::SERVER.keys.entries().find(|entry| entry.name == key);
            let entry = entry.unwrap_or_else(|| panic!("{key} cannot stand in the file"));
            assert_eq!(settings::flag(&key), format!("--{}", argument.get_long().unwrap()));
            assert_eq!(argument.get_env().unwrap().to_str(), Some(&*settings::variable(&key)));
            let default = argument.get_default_values().first().map(|value| format!("{value:?}"));
            match entry.absent {
                Absent::Default(told) => assert_eq!(default.as_deref(), Some(told), "{key}"),
                Absent::Otherwise(_) => assert_eq!(default, None, "{key}"),
                Absent::Required(_) => panic!("{key}: no option must be given"),
            }
            if let Shape::Words(words) = &entry.shape {
                let told: Vec<String> = words.iter().map(|(word, _)| (*word).to_owned()).collect();
                let taken: Vec<String> =
                    argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
                assert_eq!(told, taken, "{key}");
            }
            options.insert(key);
        }
        let keys: BTreeSet<String> =
            settings::SERVER.keys.entries().map(|entry| entry.name.to_owned()).collect();
        assert_eq!(options, keys);
    }

    #[test]
    fn every_key_of_the_table_is_read() {
        for entry in settings::SERVER.keys.entries() {
            let mistakes = ServerFile::parse(format!("{} = 1.5", entry.name).as_bytes()).unwrap_err();
            assert_eq!(mistakes.all().len(), 1, "{mistakes}");
            let mistake = &mistakes.all()[0];
            assert_eq!((&*mistake.key, &*mistake.message), (entry.name, "expected a string, found a float"));
            if let Absent::Default(default) = entry.absent {
                let read = ServerFile::parse(format!("{} = {default}", entry.name).as_bytes());
                assert_ne!(read, Ok(ServerFile::default()), "{} is not kept", entry.name);
            }
        }
    }

    #[test]
    fn every_word_for_the_logs_format_means_that_format() {
        for value in LogFormat::value_variants() {
            let word = value.to_possible_value().unwrap().get_name().to_owned();
            let read = ServerFile::parse(format!("\n\nlog_format = {word:?}").as_bytes()).unwrap();
            assert_eq!(read.log_format, Some(Stated { value: *value, line: 3 }));
        }
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let text = "lisen = \"0.0.0.0:1\"\nmetrics = \"on\"\nfleet = \"My Fleet\"\naddress = \"a\"\ndata = \"data\"\n\
            agent_certificate_life = \"1w\"\nlog_format = \"jsn\"\nunix = x\n";
        let mistakes = ServerFile::parse(text.as_bytes()).unwrap_err();
        let keys: BTreeSet<&str> = mistakes.all().iter().map(|mistake| &*mistake.key).collect();
        let expected =
            ["", "address", "agent_certificate_life", "data", "fleet", "lisen", "log_format", "metrics"];
        assert_eq!(keys, BTreeSet::from(expected), "{mistakes}");
        let hint = |key: &str| mistakes.all().iter().find(|one| one.key == key).unwrap().hint.clone();
        assert_eq!(hint("lisen").as_deref(), Some("did you mean \"listen\"?"));
        assert_eq!(hint("log_format").as_deref(), Some("did you mean \"json\"?"));
    }
}
