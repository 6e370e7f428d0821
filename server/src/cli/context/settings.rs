//! How the server is reached, and who said so: flag, then environment, then context, then default.

use super::{
    super::error::CliError,
    file::{Context, ContextFile},
};
use std::path::PathBuf;

/// Where the server's socket is on its own machine.
pub(in super::super) const DEFAULT_SOCKET: &str = "/run/handover/handover.sock";

/// What one level says: the flags, or the environment.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Said {
    pub(in super::super) socket: Option<PathBuf>,
    pub(in super::super) server: Option<String>,
    pub(in super::super) identity: Option<PathBuf>,
    pub(in super::super) context: Option<String>,
}

impl Said {
    /// What the environment says; an empty variable says nothing.
    pub(super) fn by(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            socket: variable("HANDOVER_SOCKET").map(PathBuf::from),
            server: variable("HANDOVER_SERVER"),
            identity: variable("HANDOVER_IDENTITY").map(PathBuf::from),
            context: variable("HANDOVER_CONTEXT"),
        }
    }

    /// Whether it says how the server is reached.
    fn leads_somewhere(&self) -> bool {
        self.socket.is_some() || self.server.is_some()
    }
}

/// Who said something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A flag of the command line.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// A context of the configuration file, by its name.
    Context(String),
    /// `current` of the configuration file.
    Current,
    /// Nobody.
    Default,
}

impl Source {
    /// In a word, for programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::Context(_) => "context",
            Self::Current => "file",
            Self::Default => "default",
        }
    }

    /// Which one.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Flag(name) | Self::Environment(name) => name,
            Self::Context(name) => name,
            Self::Current => "current",
            Self::Default => "",
        }
    }
}

/// A value with who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) source: Source,
}

/// Everything that decides how the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) context: Option<Setting<String>>,
    pub(super) socket: Setting<PathBuf>,
    pub(super) server: Option<Setting<String>>,
    pub(super) identity: Option<Setting<PathBuf>>,
    /// The server is reached over the network, not by its socket.
    pub(super) by_network: bool,
}

/// Decides every setting. `file` is asked only where it can matter, so that a broken one does not keep a command from
/// running that says everything itself.
///
/// # Errors
/// A context that does not exist; a file that cannot be used.
pub(super) fn resolve(
    flags: &Said,
    environment: &Said,
    always_read: bool,
    file: impl FnOnce() -> Result<ContextFile, CliError>,
) -> Result<Settings, CliError> {
    let pick = |flag: Option<String>, variable: Option<String>, names: (&'static str, &'static str)| {
        let flag = flag.map(|value| Setting { value, source: Source::Flag(names.0) });
        flag.or_else(|| variable.map(|value| Setting { value, source: Source::Environment(names.1) }))
    };
    let named = pick(flags.context.clone(), environment.context.clone(), ("--context", "HANDOVER_CONTEXT"));
    let whole = flags.leads_somewhere() || environment.leads_somewhere();
    let needs_identity = (flags.server.is_some() || environment.server.is_some())
        && flags.identity.is_none()
        && environment.identity.is_none();
    let file = match always_read || named.is_some() || !whole || needs_identity {
        true => file()?,
        false => ContextFile::default(),
    };
    let context = match named {
        Some(named) => Some(named),
        None => file.current.clone().map(|value| Setting { value, source: Source::Current }),
    };
    let chosen = match &context {
        Some(setting) => file.get(&setting.value)?.clone(),
        None => Context::default(),
    };
    Ok(decide(flags, environment, context, &chosen))
}

fn decide(flags: &Said, environment: &Said, context: Option<Setting<String>>, chosen: &Context) -> Settings {
    fn first<T: Clone>(levels: [(Option<&T>, Source); 3]) -> Option<Setting<T>> {
        levels
            .into_iter()
            .find_map(|(value, source)| value.map(|value| Setting { value: value.clone(), source }))
    }
    let name = context.as_ref().map(|setting| setting.value.clone()).unwrap_or_default();
    let from_file = || Source::Context(name.clone());
    let socket = first([
        (flags.socket.as_ref(), Source::Flag("--socket")),
        (environment.socket.as_ref(), Source::Environment("HANDOVER_SOCKET")),
        (chosen.socket.as_ref(), from_file()),
    ]);
    let server = first([
        (flags.server.as_ref(), Source::Flag("--server")),
        (environment.server.as_ref(), Source::Environment("HANDOVER_SERVER")),
        (chosen.server.as_ref(), from_file()),
    ]);
    let identity = first([
        (flags.identity.as_ref(), Source::Flag("--identity")),
        (environment.identity.as_ref(), Source::Environment("HANDOVER_IDENTITY")),
        (chosen.identity.as_ref(), from_file()),
    ]);
    // The first level that says anything decides the way; where it says both, the network.
    let levels = [
        (flags.server.is_some(), flags.socket.is_some()),
        (environment.server.is_some(), environment.socket.is_some()),
        (chosen.server.is_some(), chosen.socket.is_some()),
    ];
    let by_network =
        levels.into_iter().find(|(server, socket)| *server || *socket).is_some_and(|(server, _)| server);
    let default = Setting { value: PathBuf::from(DEFAULT_SOCKET), source: Source::Default };
    Settings { context, socket: socket.unwrap_or(default), server, identity, by_network }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "current = \"home\"\n[contexts.home]\nsocket = \"/home.sock\"\n\
        [contexts.prod]\nserver = \"prod:7443\"\nidentity = \"/keys/prod\"\n";

    fn said(text: &str) -> Said {
        let pairs: Vec<(&str, &str)> =
            text.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        Said::by(|name| {
            let short = name.strip_prefix("HANDOVER_").unwrap().to_lowercase();
            pairs.iter().find(|(key, _)| *key == short).map(|(_, value)| (*value).to_owned())
        })
    }

    fn settle(flags: &str, environment: &str) -> Settings {
        resolve(&said(flags), &said(environment), false, || ContextFile::parse(FILE, "/c".as_ref())).unwrap()
    }

    fn way(settings: &Settings) -> (String, &'static str) {
        match (&settings.server, settings.by_network) {
            (Some(server), true) => (server.value.clone(), server.source.word()),
            _ => (settings.socket.value.display().to_string(), settings.socket.source.word()),
        }
    }

    #[test]
    fn flags_come_before_environment_before_context_before_default() {
        for (flags, environment, expected, word) in [
            ("socket=/f", "socket=/e", "/f", "flag"),
            ("", "socket=/e", "/e", "environment"),
            ("", "", "/home.sock", "context"),
            ("context=prod", "", "prod:7443", "context"),
            ("", "context=prod", "prod:7443", "context"),
            ("context=home", "context=prod", "/home.sock", "context"),
            ("server=s:1", "socket=/e", "s:1", "flag"),
            ("socket=/f", "server=s:1", "/f", "flag"),
            ("", "socket=/e server=s:1", "s:1", "environment"),
            ("context=prod", "socket=/e", "/e", "environment"),
        ] {
            let settings = settle(flags, environment);
            assert_eq!(way(&settings), (expected.to_owned(), word), "{flags} / {environment}");
        }
        let nothing =
            resolve(&Said::default(), &Said::default(), false, || Ok(ContextFile::default())).unwrap();
        assert_eq!(way(&nothing), (DEFAULT_SOCKET.to_owned(), "default"));
    }

    #[test]
    fn an_identity_may_come_from_another_level_than_the_server() {
        let settings = settle("server=other:1 context=prod", "");
        assert_eq!(settings.identity.unwrap().value, PathBuf::from("/keys/prod"));
        let settings = settle("context=prod", "identity=/e");
        assert_eq!(settings.identity.unwrap().source, Source::Environment("HANDOVER_IDENTITY"));
    }

    #[test]
    fn a_broken_file_does_not_matter_to_who_says_everything() {
        let broken = || ContextFile::parse("current = 5", "/c".as_ref());
        assert!(resolve(&said("socket=/f"), &Said::default(), false, broken).is_ok());
        assert!(resolve(&Said::default(), &said("server=a:1 identity=/i"), false, broken).is_ok());
        assert!(resolve(&said("server=a:1"), &Said::default(), false, broken).is_err());
        assert!(resolve(&said("socket=/f context=x"), &Said::default(), false, broken).is_err());
    }

    #[test]
    fn a_context_that_does_not_exist_has_its_nearest() {
        let error = resolve(&said("context=prd"), &Said::default(), false, || {
            ContextFile::parse(FILE, "/c".as_ref())
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no context \"prd\"") && error.contains("did you mean \"prod\"?"), "{error}");
    }
}
