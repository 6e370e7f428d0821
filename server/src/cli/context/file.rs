//! `config.toml` of the command line: named ways to servers.

use super::super::error::CliError;
use handover_daemon::read_bounded;
use handover_model::nearest;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Longest file that is read, in bytes.
const MOST: usize = 256 * 1024;
const HEAD: &str = "# Written by `handover context`, which keeps no comments.\n";

/// One way to a server: its socket, or its address with an operator's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Context {
    /// The server's Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket: Option<PathBuf>,
    /// HOST:PORT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    /// The folder with key.pem, cert.pem and ca.pem. A relative one lies beside the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<PathBuf>,
}

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ContextFile {
    /// The context that is used where nobody names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) contexts: BTreeMap<String, Context>,
}

/// Where the file is: beneath `XDG_CONFIG_HOME`, or `.config` of the home. `None` where there is neither.
pub(super) fn path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("handover/config.toml"))
}

impl ContextFile {
    /// Reads it; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, has unknown keys, or contexts that say nothing or two things: with all that is
    /// wrong.
    pub(super) fn read(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path.filter(|path| path.symlink_metadata().is_ok()) else {
            return Ok(Self::default());
        };
        let text = String::from_utf8(read_bounded(path, MOST)?)
            .map_err(|_| CliError::File { path: path.to_owned(), problem: "is not UTF-8".to_owned() })?;
        Self::parse(&text, path)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, CliError> {
        let wrong = |problem: String| CliError::File { path: path.to_owned(), problem };
        let mut file = super::reading::read(text).map_err(wrong)?;
        for context in file.contexts.values_mut() {
            if let (Some(identity), Some(folder)) = (&mut context.identity, path.parent()) {
                *identity = folder.join(&*identity);
            }
        }
        Ok(file)
    }

    /// The context of a name.
    ///
    /// # Errors
    /// Where there is none: with the nearest that there is.
    pub(super) fn get(&self, name: &str) -> Result<&Context, CliError> {
        self.contexts.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let more = match (nearest(name, &names), names.is_empty()) {
                (Some(near), _) => format!("did you mean {near:?}?"),
                (None, true) => "there are none; `handover context add` makes one".to_owned(),
                (None, false) => format!("there are {}", names.join(", ")),
            };
            CliError::Usage(format!("there is no context {name:?}: {more}"))
        })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), CliError> {
        let failed =
            |source: io::Error| CliError::System { what: format!("write {}", path.display()), source };
        let text = toml::to_string(self).map_err(|error| failed(io::Error::other(error)))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(format!("{HEAD}{text}").as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

impl Context {
    /// Says what is wrong with it, as the end of a sentence that begins with its name.
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.socket, &self.server, &self.identity) {
            (Some(_), None, None) => Ok(()),
            (None, Some(server), Some(_)) => {
                let address = server.parse::<handover_identity::ServerAddress>();
                address.map(|_| ()).map_err(|error| format!("has no server: {error}"))
            }
            (None, Some(_), None) => Err("has a server but no identity".to_owned()),
            (None, None, _) => Err("needs a socket, or a server with an identity".to_owned()),
            (Some(_), Some(_), _) => Err("has both a socket and a server".to_owned()),
            (Some(_), None, Some(_)) => Err("has an identity, which a socket does not use".to_owned()),
        }
    }
}
