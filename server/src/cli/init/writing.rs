//! The proposal as a manifest, with a comment on everything that stands in it.

use super::proposal::{Proposal, Taken};
use handover_model::config::{Absent, LANGUAGE, Table};
use std::fmt::Write as _;

/// Sections that are shown with their defaults, commented out, where nothing is proposed for them.
const SHOWN: [&str; 2] = ["drain", "rollout"];

/// The manifest's text. Everything behind `#` at a line's beginning that looks like TOML becomes good TOML without it.
pub(super) fn manifest(proposal: &Proposal) -> String {
    let mut out = String::from(
        "# What this service is and how it wants to be run. Check it: handover check\n\
         # Every key, with its range and default: handover schema --reference\n",
    );
    top(&mut out, proposal);
    environment(&mut out, proposal);
    listeners(&mut out, proposal);
    readiness(&mut out, proposal);
    let mut drain = Vec::new();
    if let Some(taken) = &proposal.drain_signal {
        drain.push(("signal", string(&taken.value), &taken.from));
    }
    if let Some(taken) = &proposal.drain_deadline {
        drain.push(("deadline", string(&taken.value), &taken.from));
    }
    section(&mut out, "drain", &drain);
    if let Some(taken) = &proposal.open_files {
        section(&mut out, "limits", &[("open_files", taken.value.to_string(), &taken.from)]);
    }
    section(&mut out, "rollout", &[]);
    out
}

fn top(out: &mut String, proposal: &Proposal) {
    if let Some(Taken { value, from }) = &proposal.service {
        key(out, "", "service", &string(value), from);
    }
    if let Some(Taken { value, from }) = &proposal.command {
        let words: Vec<String> = value.iter().map(|word| string(&word.replace('{', "{{"))).collect();
        key(out, "", "command", &format!("[{}]", words.join(", ")), from);
    }
    for (name, place) in [
        ("user", &proposal.user),
        ("group", &proposal.group),
        ("working_directory", &proposal.working_directory),
    ] {
        if let Some(Taken { value, from }) = place {
            key(out, "", name, &string(value), from);
        }
    }
}

fn environment(out: &mut String, proposal: &Proposal) {
    if proposal.environment.is_empty() {
        return;
    }
    comment(out, meaning("", "environment"));
    out.push_str("[environment]\n");
    for (name, Taken { value, from }) in &proposal.environment {
        let value = string(&value.replace('{', "{{"));
        let _ = writeln!(out, "{} = {value} # {}", bare_or_quoted(name), plain(from));
    }
}

fn listeners(out: &mut String, proposal: &Proposal) {
    comment(out, meaning("", "listeners"));
    let sockets = proposal.sockets.unwrap_or("it finds the number of sockets in LISTEN_FDS");
    let _ = writeln!(out, "# The program must not bind the address itself, but take the socket: {sockets}.");
    if proposal.listeners.is_empty() {
        out.push_str("# Nothing in this folder says a port.\n#[listeners]\n#http = \"0.0.0.0:8080\"\n");
        return;
    }
    out.push_str("[listeners]\n");
    for (name, Taken { value, from }) in &proposal.listeners {
        let _ = writeln!(out, "{} = {} # {}", bare_or_quoted(name), string(value), plain(from));
    }
}

fn readiness(out: &mut String, proposal: &Proposal) {
    comment(out, table("readiness").map_or("", |table| table.meaning));
    if let Some(Taken { from, .. }) = &proposal.notify {
        let _ = writeln!(out, "[readiness]\nkind = \"notify\" # {}\n#deadline = \"60s\"", plain(from));
        return;
    }
    // Several listeners: the one that is asked must be named.
    match proposal.listeners.as_slice() {
        [] => {
            out.push_str("# Without this: the program is still there after a second. With listeners, ask one: kind \"http\".\n");
            out.push_str("#[readiness]\n#kind = \"notify\"\n#deadline = \"60s\"\n");
        }
        [(first, _), ..] => {
            let _ = writeln!(out, "# Without this: the program accepts a connection at {}.", plain(first));
            let _ = writeln!(
                out,
                "#[readiness]\n#kind = \"http\"\n#listener = {}\n#path = \"/ready\"\n#deadline = \"60s\"",
                string(first)
            );
        }
    }
}

/// A section with what is proposed for it, and behind it, commented out, the defaults of its other keys.
fn section(out: &mut String, name: &str, proposed: &[(&str, String, &String)]) {
    let Some(table) = table(name) else { return };
    if proposed.is_empty() && !SHOWN.contains(&name) {
        return;
    }
    comment(out, table.meaning);
    let hash = if proposed.is_empty() { "#" } else { "" };
    let _ = writeln!(out, "{hash}[{name}]");
    for entry in table.entries() {
        let given = proposed.iter().find(|(key, ..)| *key == entry.name);
        match (given, entry.absent) {
            (Some((key, value, from)), _) => {
                let _ = writeln!(out, "{key} = {value} # {}", plain(from));
            }
            (None, Absent::Default(default)) => {
                let _ = writeln!(out, "#{} = {default} # {}", entry.name, entry.meaning);
            }
            (None, Absent::Required(_) | Absent::Otherwise(_)) => {}
        }
    }
}

fn key(out: &mut String, table: &str, name: &str, value: &str, from: &str) {
    comment(out, meaning(table, name));
    let _ = writeln!(out, "# From: {}\n{name} = {value}", plain(from));
}

fn comment(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n# {text}");
}

fn table(name: &str) -> Option<&'static Table> {
    LANGUAGE.all().into_iter().find(|table| table.name == name)
}

fn meaning(table_name: &str, key: &str) -> &'static str {
    let entry = table(table_name).and_then(|table| table.entries().find(|entry| entry.name == key));
    entry.map_or("", |entry| entry.meaning)
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn bare_or_quoted(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { name.to_owned() } else { string(name) }
}

/// A text that stays in its comment.
fn plain(text: &str) -> String {
    handover_model::config::printable(text)
}
