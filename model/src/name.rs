//! Names: of services, hosts, instances, deployments; labels; versions.

use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr};

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no {what} name: expected 1 to {longest} of the characters a-z, 0-9, '-' and '.', beginning and ending with a letter or digit"
)]
pub struct NameError {
    what: &'static str,
    longest: usize,
    text: String,
}

/// What every name obeys: it is safe in a path, a URI, a DNS label, a cgroup and on a terminal.
fn check(what: &'static str, longest: usize, text: &str) -> Result<(), NameError> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let good = text.len() <= longest
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(inner)
        && !text.contains("..");
    if good { Ok(()) } else { Err(NameError { what, longest, text: text.chars().take(100).collect() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, $longest, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a service, unique in the fleet: 1 to 48 of `a-z 0-9 - .`.
    ServiceName, "service", 48
}
name! {
    /// The name of a host, unique in the fleet, and its agent's identity: 1 to 63 of `a-z 0-9 - .`.
    HostName, "host", 63
}
name! {
    /// The name of an instance, unique on its host for ever: `<service>-<deployment>`, with `-r` behind it where
    /// a rollback had to start the former release again.
    InstanceId, "instance", 96
}

impl InstanceId {
    /// The deployment that started it, where the name tells: `web-d3` and `web-d3-r` were started by d3.
    #[must_use]
    pub fn deployment(&self) -> Option<DeploymentId> {
        let name = self.0.strip_suffix("-r").unwrap_or(&self.0);
        let (_, number) = name.rsplit_once("-d")?;
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| plain).map(DeploymentId)
    }
}

/// The number of a deployment: counted up over the whole fleet, never used twice. Written as `d17`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(u64);

impl DeploymentId {
    /// The deployment with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("d{}", self.0))
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeploymentId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.strip_prefix('d').unwrap_or(text).parse().map(Self).map_err(|_| NameError {
            what: "deployment",
            longest: 20,
            text: text.chars().take(100).collect(),
        })
    }
}

/// A version label of a release, chosen by the operator: 1 to 64 visible ASCII characters of `A-Z a-z 0-9 . _ + -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// A text that is no version label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version label: expected 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_', '+' and '-'")]
pub struct VersionError(String);

impl Version {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
            return Err(VersionError(text.chars().take(100).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host's labels, or the labels that a service asks of its hosts: at most 64.
pub type Labels = BTreeMap<String, String>;

/// One label, `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// 1 to 63 of `a-z A-Z 0-9 - _ .`.
    pub key: String,
    /// 0 to 63 of the same characters.
    pub value: String,
}

/// A text that is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no label: expected KEY=VALUE, each of at most 63 of the characters a-z, A-Z, 0-9, '-', '_' and '.', the key not empty"
)]
pub struct LabelError(String);

impl Label {
    /// A label of its two parts.
    ///
    /// # Errors
    /// When a part is too long or has other characters.
    pub fn new(key: &str, value: &str) -> Result<Self, LabelError> {
        let good = |text: &str| {
            text.len() <= 63
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if key.is_empty() || !good(key) || !good(value) {
            return Err(LabelError(format!("{key}={value}").chars().take(160).collect()));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| LabelError(text.chars().take(160).collect()))?;
        Self::new(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_and_terminals() {
        for bad in ["", "..", "a/b", "-a", "a-", "A", "a\u{1b}", "a..b", "a b", "ä"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?} was taken");
        }
        for good in ["web", "web-1", "a.example.org", "1"] {
            assert!(good.parse::<HostName>().is_ok(), "{good:?} was refused");
        }
        assert!("a".repeat(49).parse::<ServiceName>().is_err());
    }

    #[test]
    fn a_deployment_is_read_with_and_without_its_letter() {
        assert_eq!("d17".parse(), Ok(DeploymentId::new(17)));
        assert_eq!("17".parse(), Ok(DeploymentId::new(17)));
        assert!("seventeen".parse::<DeploymentId>().is_err());
    }

    #[test]
    fn an_instance_tells_the_deployment_that_started_it() {
        let deployment = |name: &str| name.parse::<InstanceId>().unwrap().deployment();
        assert_eq!(deployment("web-d3"), Some(DeploymentId::new(3)));
        assert_eq!(deployment("web-d12-r"), Some(DeploymentId::new(12)));
        for other in ["web", "web-1", "web-d", "web-d3x", "web-dev"] {
            assert_eq!(deployment(other), None, "{other}");
        }
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!("zone=a".parse(), Ok(Label { key: "zone".into(), value: "a".into() }));
        assert!("zone".parse::<Label>().is_err());
        assert!("=a".parse::<Label>().is_err());
    }
}
