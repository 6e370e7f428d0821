//! `/etc/handover/agent.toml`: where the agent keeps things and how it is reached.

use handover_model::HostName;
use serde::{Deserialize, Serialize};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The agent's configuration. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// HOST:PORT of the server.
    pub server: String,
    /// The host's name, which its certificate carries.
    pub name: HostName,
    /// The address that the host's services are reached at: what `{host.address}` stands for.
    pub address: String,
    /// What must survive a reboot: identity, journal, releases.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// What must not: notification sockets.
    #[serde(default = "default_runtime")]
    pub runtime: PathBuf,
    /// Log files of services that do not write to journald.
    #[serde(default = "default_logs")]
    pub logs: PathBuf,
    /// Address of `/metrics` and `/healthz`; without it they are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

fn default_state() -> PathBuf {
    "/var/lib/handover".into()
}

fn default_runtime() -> PathBuf {
    "/run/handover".into()
}

fn default_logs() -> PathBuf {
    "/var/log/handover".into()
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}; `handover-agent join` writes it")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{0} is larger than 64 KiB: this is no agent configuration")]
    TooLarge(PathBuf),
    /// It is not what it should be.
    #[error("{path} is no agent configuration")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// It cannot be written.
    #[error("cannot write {path}")]
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
    /// When the file is missing, unreadable, too large, or says what it must not.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read)?.len() > 64 * 1024 {
            return Err(ConfigError::TooLarge(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
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
