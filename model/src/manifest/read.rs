//! From text to manifest, with every mistake on the way.

mod canary;
mod check;
mod metrics;
mod preflight;
mod schema;
mod sections;
mod verify;

use super::{
    Handoff, Listener, MAX_ARGUMENTS, MAX_ENVIRONMENT, MAX_HOST_LABELS, MAX_LISTENERS, MAX_MANIFEST_BYTES,
    MAX_TEXT_BYTES, Manifest, Mistakes, Template,
    keys::{preflight::COMPATIBLE, service as keys},
    listener::socket_address,
    template::TemplateError,
};
use crate::{
    Label, Labels,
    language::{self, FileKind, Problems, Section, Value, quoted},
    nearest,
};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

/// Variables that belong to the agent: what it sets itself for an instance.
const RESERVED: &[&str] = &["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"];

/// What a manifest is, for whatever reads it.
pub(super) const MANIFEST: FileKind =
    FileKind { what: "the manifest", most: MAX_MANIFEST_BYTES, keys: &keys::MANIFEST };

/// Reads a manifest; see [`Manifest::parse`].
pub(super) fn manifest(text: &str) -> Result<Manifest, Mistakes> {
    language::read(text, &MANIFEST, |root, problems| Reader { problems }.manifest(root))
}

struct Reader<'p, 't> {
    problems: &'p mut Problems<'t>,
}

impl Reader<'_, '_> {
    fn manifest(&mut self, root: &Section<'_>) -> Option<Manifest> {
        let service = root.required(&keys::SERVICE, self.problems);
        let service = service.and_then(|value| value.parsed(self.problems, str::parse));
        let command = root.required(&keys::COMMAND, self.problems).and_then(|value| self.command(&value));
        let user = root.get(&keys::USER).and_then(|value| value.parsed(self.problems, account));
        let group = root.get(&keys::GROUP).and_then(|value| value.parsed(self.problems, account));
        let working_directory = root.get(&keys::WORKING_DIRECTORY);
        let working_directory = working_directory.and_then(|value| value.parsed(self.problems, directory));
        let hosts = root.free(&keys::HOSTS, self.problems);
        let compatible = root.get(&COMPATIBLE).and_then(|value| self.compatible(&value));
        let environment = root.free(&keys::ENVIRONMENT, self.problems);
        let listeners = root.free(&keys::LISTENERS, self.problems);
        let listens = listeners.is_present();
        let listeners = self.listeners(&listeners);
        let readiness = root.section(&keys::READINESS, self.problems);
        let liveness = root.section(&keys::LIVENESS, self.problems);
        let verify = root.section(&keys::VERIFY, self.problems);
        let metrics = root.section(&keys::METRICS, self.problems);
        let is_measured = metrics.is_present();
        let drain = root.section(&keys::DRAIN, self.problems);
        let restart = root.section(&keys::RESTART, self.problems);
        let limits = root.section(&keys::LIMITS, self.problems);
        let logs = root.section(&keys::LOGS, self.problems);
        let rollout = root.section(&keys::ROLLOUT, self.problems);
        let judge = root.section(&keys::JUDGE, self.problems);
        let preflight = root.section(&keys::PREFLIGHT, self.problems);
        let schema = root.section(&keys::SCHEMA, self.problems);
        root.refuse_unknown(self.problems);

        let hosts = self.hosts(&hosts);
        let environment = self.environment(&environment);
        let readiness = self.readiness(&readiness, &listeners);
        let liveness = self.liveness(&liveness, &listeners);
        let verify = self.verify(&verify);
        let metrics = self.metrics(&metrics, &listeners);
        let (drain, restart) = (self.drain(&drain), self.restart(&restart));
        let (limits, logs) = (self.limits(&limits), self.logs(&logs));
        let strategy = rollout.get(&super::keys::rollout::STRATEGY);
        let preflight = self.preflight(&preflight);
        let (rollout, mut judge) = (self.rollout(&rollout, listens), self.judge(&judge));
        let schema = self.schema(&schema);
        match (&metrics, strategy) {
            (Some(metrics), _) => self.blocks_are_long_enough(&mut judge, metrics, root),
            (None, Some(strategy)) if !is_measured => self.can_be_judged(&rollout, &strategy, root),
            (None, _) => {}
        }
        Some(Manifest {
            service: service?,
            command: command?,
            user,
            group,
            working_directory: working_directory.unwrap_or_else(|| PathBuf::from(".")),
            hosts,
            compatible: compatible.unwrap_or_default(),
            environment,
            listeners,
            readiness: readiness?,
            liveness,
            verify,
            metrics,
            drain,
            restart,
            limits,
            logs,
            rollout,
            judge,
            preflight,
            schema,
        })
    }

    /// Program and arguments.
    fn command(&mut self, value: &Value<'_>) -> Option<Vec<Template>> {
        let words = value.list(self.problems)?;
        if words.is_empty() || words.len() > MAX_ARGUMENTS {
            let message =
                format!("has {} words, expected a program and at most {MAX_ARGUMENTS} words", words.len());
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        let read: Vec<_> = words.iter().filter_map(|word| self.template(word)).collect();
        if let Some(Err(message)) = read.first().and_then(Template::literal).map(program) {
            self.problems.add(words[0].span.clone(), &words[0].path, message);
        }
        (read.len() == words.len()).then_some(read)
    }

    /// A text with placeholders that goes to execve(2): no zero byte, not too long.
    fn template(&mut self, value: &Value<'_>) -> Option<Template> {
        let text = value.text(self.problems)?;
        if let Err(message) = passable(text) {
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        match Template::parse(text) {
            Ok(mut template) => {
                template.place = self.problems.place(value.span.clone());
                Some(template)
            }
            Err(error) => {
                let (at, near) = match &error {
                    TemplateError::Open { at } => (at, None),
                    TemplateError::Unknown { at, name } => {
                        (at, nearest(name, &["host.name", "host.address", "label."]))
                    }
                };
                let hint = match near {
                    Some("label.") => "the label's key goes behind the dot: {label.KEY}".to_owned(),
                    Some(near) => format!("did you mean {{{near}}}?"),
                    None => "known are {host.name}, {host.address} and {label.KEY}; write {{ for a brace"
                        .to_owned(),
                };
                let span = self.problems.inside(value.span.clone(), text, at.clone());
                self.problems.add_with_hint(span, &value.path, error.to_string(), hint);
                None
            }
        }
    }

    fn hosts(&mut self, section: &Section<'_>) -> Labels {
        let members = section.members();
        self.at_most(MAX_HOST_LABELS, members.len(), "labels", section);
        let mut labels = Labels::new();
        for (key, value) in members {
            if let Some(label) = value.parsed(self.problems, |text| Label::new(key, text)) {
                labels.insert(label.key, label.value);
            }
        }
        labels
    }

    fn environment(&mut self, section: &Section<'_>) -> BTreeMap<String, Template> {
        let members = section.members();
        self.at_most(MAX_ENVIRONMENT, members.len(), "variables", section);
        let mut environment = BTreeMap::new();
        for (key, value) in members {
            if let Err(message) = variable(key) {
                self.problems.add(value.key_span.clone(), &value.path, message);
            }
            if let Some(template) = self.template(&value) {
                environment.insert(key.to_owned(), template);
            }
        }
        environment
    }

    fn listeners(&mut self, section: &Section<'_>) -> Vec<Listener<Template>> {
        let members = section.members();
        self.at_most(MAX_LISTENERS, members.len(), "listeners", section);
        let mut listeners = Vec::new();
        let mut taken = BTreeMap::new();
        for (key, value) in members {
            let name = key.parse().map_err(|error| self.bad_key(&value, &error)).ok();
            let Some(listener) = self.listener(&value).or_else(stand_in) else { continue };
            let literal = listener.address.literal().and_then(|text| socket_address(text).ok());
            if let Some(other) = literal.and_then(|address| taken.insert(address, key)) {
                let message = format!("has the same address as listener {other}");
                self.problems.add(value.span.clone(), &value.path, message);
            }
            if let Some(name) = name {
                listeners.push(Listener { name, ..listener });
            }
        }
        listeners
    }

    /// A listener without its name, which is its key.
    fn listener(&mut self, value: &Value<'_>) -> Option<Listener<Template>> {
        const DEFAULT_BACKLOG: u32 = 4096;
        let unnamed = "unnamed".parse().ok()?;
        if !value.is_table() {
            let address = self.address(value)?;
            return Some(Listener {
                name: unnamed,
                address,
                backlog: DEFAULT_BACKLOG,
                handoff: Handoff::Inherit,
            });
        }
        let section = value.section(Some(&keys::LISTENER), self.problems)?;
        let address = section.required(&keys::ADDRESS, self.problems).and_then(|value| self.address(&value));
        let backlog = section.integer(&keys::BACKLOG, self.problems).unwrap_or(DEFAULT_BACKLOG);
        let handoff =
            section.get(&keys::HANDOFF).and_then(|value| self.handoff(&value)).unwrap_or(Handoff::Inherit);
        section.refuse_unknown(self.problems);
        Some(Listener { name: unnamed, address: address?, backlog, handoff })
    }

    fn handoff(&mut self, value: &Value<'_>) -> Option<Handoff> {
        if value.text(self.problems)? == "adopt" {
            let message = "handoff \"adopt\" is not supported by this version";
            let hint = "use \"inherit\": the program takes its sockets from descriptor 3 on (LISTEN_FDS)";
            self.problems.add_with_hint(value.span.clone(), &value.path, message, hint);
            return None;
        }
        value.choice(keys::HANDOFF.value, self.problems)
    }

    fn address(&mut self, value: &Value<'_>) -> Option<Template> {
        let template = self.template(value)?;
        if let Some(Err(message)) = template.literal().map(socket_address) {
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        Some(template)
    }

    fn at_most(&mut self, most: usize, found: usize, what: &str, section: &Section<'_>) {
        if found > most {
            let message = format!("has {found} {what}, more than the {most} that are allowed");
            self.problems.add(section.span(), section.path(), message);
        }
    }

    fn bad_key(&mut self, value: &Value<'_>, error: &dyn std::error::Error) {
        self.problems.add(value.key_span.clone(), &value.path, error.to_string());
    }
}

/// Takes the place of a listener with mistakes, so that what names it is not called wrong as well.
fn stand_in() -> Option<Listener<Template>> {
    let address = Template::parse("").ok()?;
    Some(Listener { name: "unnamed".parse().ok()?, address, backlog: 1, handoff: Handoff::Inherit })
}

/// Checks a text that goes to execve(2).
pub(super) fn passable(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err(format!("{} contains a zero byte, which no program can be given", quoted(text)));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("has {} bytes, more than the {MAX_TEXT_BYTES} that are allowed", text.len()));
    }
    Ok(())
}

/// Checks the first word of a command.
pub(super) fn program(text: &str) -> Result<(), String> {
    if text.is_empty() || text.ends_with('/') {
        return Err(format!("{} is no program: expected the path of a file", quoted(text)));
    }
    beneath(text)
}

/// Refuses a relative path that leads out of the release's directory.
fn beneath(text: &str) -> Result<(), String> {
    let path = Path::new(text);
    if path.is_relative() && path.components().any(|part| part == Component::ParentDir) {
        return Err(format!(
            "{} contains \"..\": a relative path must stay in the release's directory",
            quoted(text)
        ));
    }
    Ok(())
}

fn directory(text: &str) -> Result<PathBuf, String> {
    // PATH_MAX of linux/limits.h, with its zero byte.
    const LONGEST: usize = 4095;
    if text.is_empty() || text.len() > LONGEST || text.contains('\0') {
        return Err(format!("{} is no directory: expected a path of 1 to {LONGEST} bytes", quoted(text)));
    }
    beneath(text)?;
    Ok(PathBuf::from(text))
}

/// A user or a group, by name or number.
fn account(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    // The highest number means "no change" to chown(2) and setresuid(2).
    let number_fits = text.parse::<u32>().is_ok_and(|number| number != u32::MAX);
    let good = (1..=32).contains(&text.len())
        && text.bytes().all(good)
        && !text.starts_with(['-', '.'])
        && (!number || number_fits);
    match good {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{} is no account: expected a name of 1 to 32 characters, or a number", quoted(text)))
        }
    }
}

fn variable(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty()
        || name.len() > 255
        || !name.bytes().all(good)
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(
            "is no variable's name: expected letters, digits and '_', not beginning with a digit".to_owned()
        );
    }
    if RESERVED.contains(&name) || name.starts_with("HANDOVER_") {
        return Err("is set by the agent and cannot be set here".to_owned());
    }
    Ok(())
}
