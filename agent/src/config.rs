//! `/etc/handover/agent.toml`: where the agent keeps things and how it is reached.

use handover_daemon::FileError;
use handover_identity::ServerAddress;
use handover_model::{
    HostName,
    config::{Mistakes, WrongFile},
    language::Reading,
    settings::{self, agent as keys},
};
use serde::Serialize;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentConfig {
    /// HOST:PORT of the server.
    pub server: String,
    /// The host's name, which its certificate carries.
    pub name: HostName,
    /// The address that the host's services are reached at: what `{host.address}` stands for.
    pub address: String,
    /// What must survive a reboot: identity, journal, releases.
    pub state: PathBuf,
    /// What must not: notification sockets.
    pub runtime: PathBuf,
    /// Log files of services that do not write to journald.
    pub logs: PathBuf,
    /// A file for each database that this host may migrate.
    pub databases: PathBuf,
    /// Address of `/metrics` and `/healthz`; without it they are not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

/// Where the agent keeps what must survive a reboot, if nobody says.
pub const STATE: &str = "/var/lib/handover";
/// Where it keeps what must not, if nobody says.
pub const RUNTIME: &str = "/run/handover";
/// Where it keeps log files, if nobody says.
pub const LOGS: &str = "/var/log/handover";
/// Where databases are described, if nobody says.
pub const DATABASES: &str = "/etc/handover/databases";

/// Reads the address of a host's services, which goes into commands and environments of programs.
///
/// # Errors
/// What the server would not take for one.
pub fn address(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '[' | ']' | '%');
    if (1..=255).contains(&text.len()) && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err("is no address of a host: expected an IP address or a name of 1 to 255 characters".to_owned())
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none.
    #[error("there is no {}: `handover-agent join` writes it", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read, or is none.
    #[error("the agent's configuration cannot be read")]
    Read(#[source] FileError),
    /// It is not what it should be.
    #[error("{} has {}\n{}", .0.path.display(), .0.count(), .0)]
    Wrong(Box<WrongFile>),
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AgentConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When the file is missing, unreadable, too large, or says what it must not: then everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let most = settings::AGENT.most;
        let bytes = handover_daemon::read_bounded(path, most).map_err(|error| match error {
            FileError::System { path, source } if source.kind() == io::ErrorKind::NotFound => {
                ConfigError::Missing(path)
            }
            error => ConfigError::Read(error),
        })?;
        Self::parse(&bytes)
            .map_err(|mistakes| ConfigError::Wrong(Box::new(WrongFile::new(path, &bytes, most, mistakes))))
    }

    fn parse(bytes: &[u8]) -> Result<Self, Mistakes> {
        Reading::of(bytes, &settings::AGENT, |file| {
            let server =
                file.required(&keys::SERVER, |text| text.parse::<ServerAddress>().map(|_| text.to_owned()));
            let name = file.required(&keys::NAME, str::parse::<HostName>);
            let address = file.required(&keys::ADDRESS, address);
            let state = file.text(&keys::STATE, settings::absolute);
            let runtime = file.text(&keys::RUNTIME, settings::absolute);
            let logs = file.text(&keys::LOGS, settings::absolute);
            let databases = file.text(&keys::DATABASES, settings::absolute);
            let metrics = file.text(&keys::METRICS, settings::socket_address);
            Some(Self {
                server: server?.value,
                name: name?.value,
                address: address?.value,
                state: state.map_or_else(|| STATE.into(), |state| state.value),
                runtime: runtime.map_or_else(|| RUNTIME.into(), |runtime| runtime.value),
                logs: logs.map_or_else(|| LOGS.into(), |logs| logs.value),
                databases: databases.map_or_else(|| DATABASES.into(), |databases| databases.value),
                metrics: metrics.map(|metrics| metrics.value),
            })
        })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        let write = |source| ConfigError::Write { path: path.to_owned(), source };
        let text = toml::to_string(self).map_err(|error| write(io::Error::other(error)))?;
        crate::durable::replace(path, text.as_bytes()).map_err(write)
    }

    /// Where the agent's key and certificates are.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.state.join("identity")
    }

    /// Where unpacked releases are, each under its digest.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.state.join("releases")
    }

    /// Where archives are while they are fetched.
    #[must_use]
    pub fn fetching(&self) -> PathBuf {
        self.state.join("fetching")
    }

    /// Where the agent writes down what it does.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state.join("agent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::language::Absent;

    const SMALL: &str = "server = \"a:1\"\nname = \"web-1\"\naddress = \"10.0.0.7\"\n";

    fn parse(text: &str) -> Result<AgentConfig, Mistakes> {
        AgentConfig::parse(text.as_bytes())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        let metrics = Some("127.0.0.1:7445".parse().unwrap());
        let config = AgentConfig { metrics, state: "/srv/state".into(), ..parse(SMALL).unwrap() };
        config.write(&path).unwrap();
        assert_eq!(AgentConfig::read(&path).unwrap(), config);
    }

    #[test]
    fn what_the_table_calls_a_default_is_the_readers_and_what_it_calls_required_is() {
        let mut defaults = 0;
        for entry in settings::AGENT.keys.entries() {
            match entry.absent {
                Absent::Default(default) => {
                    let written = parse(&format!("{SMALL}{} = {default}\n", entry.name)).unwrap();
                    assert_eq!(written, parse(SMALL).unwrap(), "{}", entry.name);
                    defaults += 1;
                }
                Absent::Required(example) => {
                    let others: String = SMALL
                        .lines()
                        .filter(|line| !line.starts_with(entry.name))
                        .map(|line| format!("{line}\n"))
                        .collect();
                    let mistakes = parse(&others).unwrap_err();
                    assert_eq!(mistakes.all().len(), 1, "{mistakes}");
                    assert_eq!(
                        (&*mistakes.all()[0].key, &*mistakes.all()[0].message),
                        (entry.name, "is missing")
                    );
                    assert!(parse(&format!("{others}{example}\n")).is_ok(), "{example}");
                }
                Absent::Otherwise(_) => {}
            }
            // Whatever stands in the table is read: none of the keys takes a number.
            let wrong = parse(&format!("{} = 1.5\n", entry.name)).unwrap_err();
            let about = wrong.all().iter().find(|mistake| mistake.key == entry.name).unwrap();
            assert_eq!(about.message, "expected a string, found a float");
        }
        assert_eq!(defaults, 4);
    }
}
