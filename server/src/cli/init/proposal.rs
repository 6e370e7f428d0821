//! What is proposed, and where each value was taken from.

use super::words::{self, Line};
use handover_model::ServiceName;
use std::fmt::Display;

/// A value with the place that it was taken from.
#[derive(Clone, Debug)]
pub(super) struct Taken<T> {
    pub(super) value: T,
    pub(super) from: String,
}

/// A manifest in the making. The first who says something is believed.
#[derive(Debug, Default)]
pub(super) struct Proposal {
    pub(super) service: Option<Taken<String>>,
    pub(super) command: Option<Taken<Vec<String>>>,
    pub(super) user: Option<Taken<String>>,
    pub(super) group: Option<Taken<String>>,
    pub(super) working_directory: Option<Taken<String>>,
    pub(super) environment: Vec<(String, Taken<String>)>,
    /// Name and address.
    pub(super) listeners: Vec<(String, Taken<String>)>,
    /// The program says when it is ready (`sd_notify(3)`).
    pub(super) notify: Option<Taken<()>>,
    pub(super) drain_signal: Option<Taken<String>>,
    pub(super) drain_deadline: Option<Taken<String>>,
    pub(super) open_files: Option<Taken<u64>>,
    /// How this kind of program takes its socket.
    pub(super) sockets: Option<&'static str>,
    pub(super) notes: Vec<String>,
}

/// Sets what nobody has set.
pub(super) fn say<T>(place: &mut Option<Taken<T>>, value: T, from: impl Display) {
    if place.is_none() {
        *place = Some(Taken { value, from: from.to_string() });
    }
}

impl Proposal {
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A service's name made of any text.
    pub(super) fn name(&mut self, text: &str, from: impl Display) {
        if let Some(name) = service_name(text) {
            say(&mut self.service, name, from);
        }
    }

    /// A variable, where nobody has set it.
    pub(super) fn variable(&mut self, name: &str, value: &str, from: impl Display) {
        if !self.environment.iter().any(|(known, _)| known == name) {
            let taken = Taken { value: value.to_owned(), from: from.to_string() };
            self.environment.push((name.to_owned(), taken));
        }
    }

    /// A listener on every address of the host, where there is none of the name.
    pub(super) fn port(&mut self, name: &str, port: u16, from: impl Display) {
        self.listener(name, format!("0.0.0.0:{port}"), from);
    }

    pub(super) fn listener(&mut self, name: &str, address: String, from: impl Display) {
        let known = self.listeners.iter().any(|(known, taken)| known == name || taken.value == address);
        if !known {
            self.listeners.push((name.to_owned(), Taken { value: address, from: from.to_string() }));
        }
    }

    /// A command line, and the port that it names. Not where a command is known already.
    pub(super) fn line(&mut self, line: &Line, from: impl Display) {
        if self.command.is_some() {
            return;
        }
        for (name, value) in &line.environment {
            self.variable(name, value, &from);
        }
        if let Some(port) = words::port(&line.words) {
            self.port("http", port, &from);
        }
        if line.text.contains("$PORT") || line.text.contains("${PORT}") {
            self.variable("PORT", "8080", format!("{from} uses $PORT"));
            self.port("http", 8080, format!("{from} uses $PORT; 8080 is a guess"));
        }
        say(&mut self.command, line.command(), from);
    }

    /// Fills in what a manifest must have.
    pub(super) fn complete(&mut self, folder: &str) {
        let name = service_name(folder);
        let from = if name.is_some() { "the folder's name" } else { "a guess; choose one" };
        say(&mut self.service, name.unwrap_or_else(|| "service".to_owned()), from);
        if self.command.is_none() {
            let service = self.service.as_ref().map(|taken| taken.value.clone()).unwrap_or_default();
            say(
                &mut self.command,
                vec![format!("bin/{service}")],
                "a guess: nothing here says what to start",
            );
        }
    }

    /// Leaves out what the reader of manifests refuses. False where there is nothing to leave out.
    pub(super) fn leave_out(&mut self, key: &str, reason: &str) -> bool {
        fn take<T>(place: &mut Option<Taken<T>>) -> Option<String> {
            place.take().map(|taken| taken.from)
        }
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        let member = |list: &mut Vec<(String, Taken<String>)>| {
            let name = rest.trim_matches('"');
            let at = list.iter().position(|(known, _)| known == name).or((!list.is_empty()).then_some(0))?;
            Some(list.remove(at).1.from)
        };
        let from = match first.split('[').next().unwrap_or(first) {
            "service" => take(&mut self.service),
            "command" => take(&mut self.command),
            "user" => take(&mut self.user),
            "group" => take(&mut self.group),
            "working_directory" => take(&mut self.working_directory),
            "environment" => member(&mut self.environment),
            "listeners" => member(&mut self.listeners),
            "drain" if rest == "signal" => take(&mut self.drain_signal),
            "drain" => take(&mut self.drain_deadline),
            "limits" => take(&mut self.open_files),
            _ => None,
        };
        let Some(from) = from else { return false };
        self.note(format!("{key} of {from} is left out: {reason}"));
        self.complete("");
        true
    }

    /// Each key that is proposed, with where it was taken from.
    pub(super) fn took(&self) -> Vec<(String, String)> {
        let mut took = Vec::new();
        let mut add = |key: &str, from: Option<&String>| {
            took.extend(from.map(|from| (key.to_owned(), from.clone())));
        };
        add("service", self.service.as_ref().map(|taken| &taken.from));
        add("command", self.command.as_ref().map(|taken| &taken.from));
        add("user", self.user.as_ref().map(|taken| &taken.from));
        add("group", self.group.as_ref().map(|taken| &taken.from));
        add("working_directory", self.working_directory.as_ref().map(|taken| &taken.from));
        for (name, taken) in &self.environment {
            add(&format!("environment.{name}"), Some(&taken.from));
        }
        for (name, taken) in &self.listeners {
            add(&format!("listeners.{name}"), Some(&taken.from));
        }
        add("readiness.kind", self.notify.as_ref().map(|taken| &taken.from));
        add("drain.signal", self.drain_signal.as_ref().map(|taken| &taken.from));
        add("drain.deadline", self.drain_deadline.as_ref().map(|taken| &taken.from));
        add("limits.open_files", self.open_files.as_ref().map(|taken| &taken.from));
        took
    }
}

/// A text as a service's name: `@shop/Web_App` as `web-app`. `None` where nothing of it remains.
fn service_name(text: &str) -> Option<String> {
    let last = text.rsplit('/').next().unwrap_or(text);
    let mut name = String::new();
    for c in last.to_lowercase().chars() {
        let good = c.is_ascii_lowercase() || c.is_ascii_digit();
        match good {
            true => name.push(c),
            false if name.ends_with('-') || name.is_empty() => {}
            false => name.push('-'),
        }
    }
    name.truncate(48);
    let name = name.trim_matches('-');
    name.parse::<ServiceName>().ok().map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name_or_none() {
        for (text, name) in [("@shop/Web_App", "web-app"), ("web", "web"), ("_x_", "x"), ("a..b", "a-b")] {
            assert_eq!(service_name(text).as_deref(), Some(name), "{text}");
        }
        for text in ["", "/", "日本", "--"] {
            assert_eq!(service_name(text), None, "{text}");
        }
        assert!(service_name(&"long-".repeat(40)).is_some());
    }
}
