//! What configures the two daemons: every key of `server.toml`, `agent.toml` and the files of databases, and every environment variable.
//!
//! One table for each file. Its reader, which lies with the daemon, takes names and words from it and refuses what does
//! not stand in it; `docs/configuration.md` is made from it.

pub mod agent;
pub mod database;
mod prometheus;
pub mod server;

pub use prometheus::PrometheusUrl;

use crate::language::{FileKind, Text};

/// Longest configuration that is read, in bytes.
const MOST: usize = 64 * 1024;

/// The server's file.
pub static SERVER: FileKind = FileKind { what: "the configuration", most: MOST, keys: &server::KEYS };
/// The agent's file.
pub static AGENT: FileKind = FileKind { what: "the configuration", most: MOST, keys: &agent::KEYS };

/// A database's file.
pub static DATABASE: FileKind =
    FileKind { what: "the database's configuration", most: MOST, keys: &database::KEYS };

/// An environment variable that a daemon reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is for, as one or more sentences.
    pub meaning: &'static str,
}

/// The flag that says the same as a key of `server.toml`.
#[must_use]
pub fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// The environment variable that says the same as a key of `server.toml`.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("HANDOVER_{}", key.to_uppercase())
}

const ABSOLUTE: Text = Text { what: "absolute path", pattern: r"^/[^\u0000]*$", placeholders: false };
const SOCKET_ADDRESS: Text = Text {
    what: "IP address and port, like `\"0.0.0.0:7443\"` or `\"[::]:7443\"`",
    pattern: r"^.+$",
    placeholders: false,
};
const HOST_AND_PORT: Text = Text {
    what: "HOST:PORT, with a DNS name, an IPv4 address or an IPv6 address in brackets",
    pattern: r"^.+:[0-9]+$",
    placeholders: false,
};

/// Reads a path of a configuration: it must mean the same wherever the daemon is started.
///
/// # Errors
/// One that is not absolute, or that no system call takes.
pub fn absolute(text: &str) -> Result<std::path::PathBuf, String> {
    // PATH_MAX of linux/limits.h, with its zero byte.
    const LONGEST: usize = 4095;
    if !text.starts_with('/') || text.len() > LONGEST || text.contains('\0') {
        return Err(format!(
            "{} is no absolute path: expected one that begins with \"/\"",
            crate::language::quoted(text)
        ));
    }
    Ok(text.into())
}

/// Reads an address to listen on.
///
/// # Errors
/// What is none.
pub fn socket_address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is no address: expected an IP address and a port, like \"127.0.0.1:7443\" or \"[::]:7443\"; names are not looked up",
            crate::language::quoted(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{Absent, Shape};

    #[test]
    fn names_and_meanings_are_plain_sentences_that_fit_a_tables_cell() {
        for entry in [&SERVER, &AGENT, &DATABASE].into_iter().flat_map(|kind| kind.keys.entries()) {
            assert!(entry.meaning.ends_with('.') && !entry.meaning.contains('|'), "{}", entry.name);
            assert!(!entry.shape.to_string().contains('|'), "{}", entry.name);
            assert!(matches!(entry.shape, Shape::Text(_) | Shape::Words(_)), "{}", entry.name);
            if let Absent::Default(default) = entry.absent {
                assert!(default.starts_with('"') && default.ends_with('"'), "{}", entry.name);
            }
        }
        for variable in server::VARIABLES.iter().chain(agent::VARIABLES) {
            assert!(variable.meaning.ends_with('.') && !variable.meaning.contains('|'), "{}", variable.name);
        }
    }

    #[test]
    fn flags_and_variables_are_named_after_their_key() {
        assert_eq!(flag("ca_key"), "--ca-key");
        assert_eq!(variable("ca_key"), "HANDOVER_CA_KEY");
    }

    #[test]
    fn paths_are_absolute() {
        assert!(absolute("/var/lib/handover").is_ok());
        for bad in ["", "var", "./x", "~/x", "/a\0b"] {
            assert!(absolute(bad).is_err(), "{bad:?} was taken");
        }
    }
}
