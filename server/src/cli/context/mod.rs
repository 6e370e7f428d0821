//! `handover context` and `handover config`: named ways to servers, and which one is in effect.

mod file;
mod reading;
mod settings;

use super::{
    Global,
    error::CliError,
    exit::{self, Exit},
    table::Table,
};
use file::{Context, ContextFile};
use serde_json::{Value, json};
pub(super) use settings::Said;
use settings::{Setting, Settings, Source, resolve};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The contexts; the current one has a star.
    List,
    /// Make a context the current one.
    Use {
        /// Its name.
        name: String,
    },
    /// Add a context: with --socket, or with --server and --identity.
    Add {
        /// Its name: 1 to 63 of A-Z, a-z, 0-9, '.', '_' and '-'.
        name: String,
        /// Make it the current one.
        #[arg(long = "use")]
        and_use: bool,
        /// Replace a context of this name.
        #[arg(long)]
        force: bool,
    },
    /// Remove a context.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Every value that decides how the server is reached, and where it comes from.
    Show,
}

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Its Unix socket.
    Socket(PathBuf),
    /// mTLS, with an operator's identity.
    Network {
        /// HOST:PORT.
        server: String,
        /// The folder with key and certificates.
        identity: PathBuf,
    },
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What flags, environment and contexts say together.
pub(super) fn way(global: &Global) -> Result<Way, CliError> {
    let settings = settings(global, false)?;
    match (settings.by_network, settings.server, settings.identity) {
        (true, Some(server), Some(identity)) => {
            Ok(Way::Network { server: server.value, identity: identity.value })
        }
        (true, _, _) => Err(CliError::Usage(
            "--server needs --identity: `handover operator create` makes one; `handover context add` keeps both together"
                .into(),
        )),
        (false, _, _) => Ok(Way::Socket(settings.socket.value)),
    }
}

fn settings(global: &Global, always_read: bool) -> Result<Settings, CliError> {
    let path = file::path(variable);
    resolve(&global.said(), &Said::by(variable), always_read, || ContextFile::read(path.as_deref()))
}

pub(super) fn run(command: &Command, global: &Global) -> Result<Exit, CliError> {
    let path = file::path(variable).ok_or_else(|| {
        CliError::Failed("there is no place for contexts: set HOME or XDG_CONFIG_HOME".into())
    })?;
    let mut file = ContextFile::read(Some(&path))?;
    let (name, told) = match command {
        Command::List => {
            list(&file, global.json);
            return Ok(exit::DONE);
        }
        Command::Use { name } => {
            file.get(name)?;
            file.current = Some(name.clone());
            (name, "is current")
        }
        Command::Add { name, and_use, force } => {
            add(&mut file, name, global, *force)?;
            if *and_use {
                file.current = Some(name.clone());
            }
            (name, if *and_use { "is added and current" } else { "is added" })
        }
        Command::Remove { name } => {
            file.get(name)?;
            file.contexts.remove(name);
            let was_current = file.current.as_ref() == Some(name);
            if was_current {
                file.current = None;
            }
            (name, if was_current { "is removed; none is current now" } else { "is removed" })
        }
    };
    file.write(&path)?;
    if global.json {
        println!("{}", json!({"context": name, "current": file.current, "file": path.display().to_string()}));
    } else {
        println!("context {name} {told}");
    }
    Ok(exit::DONE)
}

fn add(file: &mut ContextFile, name: &str, global: &Global, force: bool) -> Result<(), CliError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 63 || !name.chars().all(good) {
        let wanted = "expected 1 to 63 of the characters A-Z, a-z, 0-9, '.', '_' and '-'";
        return Err(CliError::Usage(format!("{name:?} is no context's name: {wanted}")));
    }
    if file.contexts.contains_key(name) && !force {
        return Err(CliError::Failed(format!("context {name} exists already; --force replaces it")));
    }
    let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
    let failed = |source| CliError::System { what: "find the current folder".to_owned(), source };
    let Said { socket, server, identity, .. } = global.said();
    let (socket, identity) = (absolute(socket).map_err(failed)?, absolute(identity).map_err(failed)?);
    let context = Context { socket, server, identity };
    context.check().map_err(|problem| {
        CliError::Usage(format!("context {name} {problem}: give --socket, or --server and --identity"))
    })?;
    file.contexts.insert(name.to_owned(), context);
    Ok(())
}

fn list(file: &ContextFile, as_json: bool) {
    let mut table = Table::new(&["current", "name", "reaches", "identity"]);
    for (name, context) in &file.contexts {
        let current = file.current.as_ref() == Some(name);
        let socket = context.socket.as_ref().map(|path| path.display().to_string());
        let identity = context.identity.as_ref().map(|path| path.display().to_string());
        if as_json {
            println!(
                "{}",
                json!({"context": name, "current": current, "socket": socket, "server": context.server, "identity": identity})
            );
        }
        let reaches = context.server.clone().or(socket).unwrap_or_default();
        let star = if current { "*" } else { "" };
        table.row([star.to_owned(), name.clone(), reaches, identity.unwrap_or_default()]);
    }
    if !as_json {
        table.print();
    }
}

pub(super) fn config(command: &ConfigCommand, global: &Global) -> Result<Exit, CliError> {
    let ConfigCommand::Show = command;
    let settings = settings(global, true)?;
    let path = file::path(variable);
    let there = path.as_ref().is_some_and(|path| path.is_file());
    let mut rows: Vec<(&str, Option<String>, Source, bool)> = Vec::new();
    fn row<T>(
        name: &'static str,
        setting: Option<&Setting<T>>,
        used: bool,
        text: impl Fn(&T) -> String,
    ) -> (&'static str, Option<String>, Source, bool) {
        let source = setting.map_or(Source::Default, |setting| setting.source.clone());
        (name, setting.map(|setting| text(&setting.value)), source, used)
    }
    let shown = |path: &PathBuf| path.display().to_string();
    rows.push(row("context", settings.context.as_ref(), true, String::clone));
    rows.push(row("socket", Some(&settings.socket), !settings.by_network, shown));
    rows.push(row("server", settings.server.as_ref(), settings.by_network, String::clone));
    rows.push(row("identity", settings.identity.as_ref(), settings.by_network, shown));
    let file = path.as_ref().map(shown);
    if global.json {
        for (name, value, source, used) in rows {
            let value = value.map_or(Value::Null, Value::from);
            println!(
                "{}",
                json!({"setting": name, "value": value, "source": source.word(), "detail": source.detail(), "used": used})
            );
        }
        println!(
            "{}",
            json!({"setting": "file", "value": file, "source": "default", "detail": "", "used": there})
        );
        return Ok(exit::DONE);
    }
    let mut table = Table::new(&["setting", "value", "from", "used"]);
    for (name, value, source, used) in rows {
        let from = format!("{} {}", source.word(), source.detail()).trim_end().to_owned();
        let used = if used && value.is_some() { "yes" } else { "no" };
        table.row([name.to_owned(), value.unwrap_or_default(), from, used.to_owned()]);
    }
    let missing = if there { "yes" } else { "no, it is not there" };
    table.row(["file".to_owned(), file.unwrap_or_default(), "default".to_owned(), missing.to_owned()]);
    table.print();
    Ok(exit::DONE)
}
