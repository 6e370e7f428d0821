//! A systemd unit of a service, and its socket unit.

use super::{
    folder::Folder,
    proposal::{Proposal, say},
    words::{Line, split},
};

/// The settings of a unit file, in order; sections aside, since no setting that is read here stands in two of them.
struct Unit {
    settings: Vec<(String, String)>,
}

impl Unit {
    fn read(text: &str) -> Self {
        let mut settings: Vec<(String, String)> = Vec::new();
        let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if line.starts_with(['#', ';', '[']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            // An empty value takes back what was said before (systemd.syntax(7)).
            if value.is_empty() {
                settings.retain(|(known, _)| *known != key);
            } else {
                settings.push((key, value));
            }
        }
        Self { settings }
    }

    fn all<'u>(&'u self, key: &'u str) -> impl Iterator<Item = &'u str> {
        self.settings.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The last one counts.
    fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

pub(super) fn look(folder: &Folder, proposal: &mut Proposal) {
    let units: Vec<&String> = folder.names().iter().filter(|name| name.ends_with(".service")).collect();
    let Some(name) = units.first() else { return };
    let Some(text) = folder.text(name) else {
        return proposal.note(format!("{name} cannot be read as text and was not looked at"));
    };
    if let [_, others @ ..] = units.as_slice()
        && !others.is_empty()
    {
        let others: Vec<&str> = others.iter().map(|other| other.as_str()).collect();
        proposal.note(format!("{} would each be a service of its own", others.join(", ")));
    }
    let unit = Unit::read(&text);
    let stem = name.trim_end_matches(".service");
    proposal.name(stem.trim_end_matches('@'), name);
    say_command(&unit, name, folder, proposal);
    for (key, place) in [("User", &mut proposal.user), ("Group", &mut proposal.group)] {
        if let Some(value) = unit.get(key) {
            say(place, value.to_owned(), format!("{name}, {key}"));
        }
    }
    if let Some(value) = unit.get("WorkingDirectory") {
        say(
            &mut proposal.working_directory,
            value.trim_start_matches('-').to_owned(),
            format!("{name}, WorkingDirectory"),
        );
    }
    for assignment in unit.all("Environment").flat_map(|value| split(value).0) {
        if let Some((key, value)) = assignment.split_once('=') {
            proposal.variable(key, value, format!("{name}, Environment"));
        }
    }
    for file in unit.all("EnvironmentFile") {
        proposal.note(format!(
            "{name}: EnvironmentFile={file} is not read; put its variables into [environment]"
        ));
    }
    if matches!(unit.get("Type"), Some("notify" | "notify-reload")) {
        say(&mut proposal.notify, (), format!("{name}, Type=notify"));
    }
    say_limits(&unit, name, proposal);
    if let Some(text) = folder.text(&format!("{stem}.socket")) {
        say_sockets(&Unit::read(&text), &format!("{stem}.socket"), proposal);
    }
}

fn say_command(unit: &Unit, name: &str, folder: &Folder, proposal: &mut Proposal) {
    let Some(start) = unit.get("ExecStart") else {
        return proposal.note(format!("{name} has no ExecStart"));
    };
    // Prefixes of systemd.service(5) that say how the program is started.
    let Some(mut line) = Line::read(start.trim_start_matches(['@', '-', ':', '+', '!'])) else { return };
    if start.contains('%') {
        proposal.note(format!("{name}: specifiers like %i mean nothing here; replace them in the command"));
    }
    // What the release brings along is started from the release, so that it changes with it.
    let own = line.words[0].clone();
    let base = own.rsplit('/').next().unwrap_or(&own);
    let ships = [format!("bin/{base}"), base.to_owned()].into_iter().find(|path| folder.has(path));
    match ships {
        Some(path) if own.starts_with('/') && !line.shell => line.words[0] = path,
        _ if own.starts_with('/') => proposal.note(format!(
            "{own} is no part of the release, so it does not change with it: put it into the folder and name it by its path there"
        )),
        _ => {}
    }
    proposal.line(&line, format!("{name}, ExecStart"));
    if unit.get("ExecStartPre").is_some() {
        proposal.note(format!("{name}: ExecStartPre has no counterpart; let the command do it"));
    }
}

fn say_limits(unit: &Unit, name: &str, proposal: &mut Proposal) {
    if let Some(signal) = unit.get("KillSignal") {
        say(&mut proposal.drain_signal, signal.to_owned(), format!("{name}, KillSignal"));
    }
    if let Some(seconds) = unit.get("TimeoutStopSec").and_then(seconds) {
        say(&mut proposal.drain_deadline, format!("{seconds}s"), format!("{name}, TimeoutStopSec"));
    }
    // SOFT:HARD; the agent sets one for both.
    let files = unit.get("LimitNOFILE").and_then(|value| value.rsplit(':').next()?.parse().ok());
    if let Some(files) = files {
        say(&mut proposal.open_files, files, format!("{name}, LimitNOFILE"));
    }
}

fn say_sockets(socket: &Unit, name: &str, proposal: &mut Proposal) {
    for (number, stream) in socket.all("ListenStream").enumerate() {
        let listener = if number == 0 { "http".to_owned() } else { format!("listener{}", number + 1) };
        match stream.parse::<u16>() {
            // A port alone is one of both families (systemd.socket(5)).
            Ok(port) => proposal.listener(&listener, format!("[::]:{port}"), format!("{name}, ListenStream")),
            Err(_) if stream.starts_with(['/', '@']) => {
                proposal.note(format!("{name}: {stream} is a Unix socket, which is not supported yet"));
            }
            Err(_) => proposal.listener(&listener, stream.to_owned(), format!("{name}, ListenStream")),
        }
    }
}

/// A span of systemd.time(7) in whole seconds, where it is a plain one.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    match text[digits..].trim() {
        "" | "s" | "sec" => Some(number),
        "m" | "min" => number.checked_mul(60),
        _ => None,
    }
}
