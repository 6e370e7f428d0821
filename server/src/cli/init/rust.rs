//! A Cargo project.

use super::{
    folder::Folder,
    proposal::{Proposal, say},
};
use toml::Table;

pub(super) fn look(folder: &Folder, proposal: &mut Proposal) {
    let Some(text) = folder.text("Cargo.toml") else { return };
    let Ok(cargo) = text.parse::<Table>() else {
        return proposal.note("Cargo.toml is no TOML and was not looked at");
    };
    say_sockets(proposal);
    let package = cargo.get("package").and_then(|package| package.as_table());
    let name = package.and_then(|package| package.get("name")).and_then(|name| name.as_str());
    let default_run = package.and_then(|package| package.get("default-run")).and_then(|name| name.as_str());
    let binaries = cargo.get("bin").and_then(|bin| bin.as_array()).map(Vec::as_slice).unwrap_or_default();
    let first_binary = binaries.first().and_then(|bin| bin.get("name")).and_then(|name| name.as_str());
    let Some(name) = name else {
        return proposal
            .note("Cargo.toml is a workspace: run `handover init` in the folder of the program's package");
    };
    proposal.name(name, "Cargo.toml, package.name");
    let (binary, from) = match (default_run, first_binary) {
        (Some(run), _) => (run, "Cargo.toml, package.default-run"),
        (None, Some(first)) => (first, "Cargo.toml, the first [[bin]]"),
        (None, None) => (name, "Cargo.toml, package.name"),
    };
    if proposal.command.is_none() {
        say(&mut proposal.command, vec![format!("bin/{binary}")], from);
        proposal.note(format!("copy target/release/{binary} to bin/{binary} before `handover release push`"));
    }
}

fn say_sockets(proposal: &mut Proposal) {
    proposal.sockets.get_or_insert("the crate listenfd takes it: ListenFd::from_env().take_tcp_listener(0)");
}
