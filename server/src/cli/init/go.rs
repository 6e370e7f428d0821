//! A Go module.

use super::{
    folder::Folder,
    proposal::{Proposal, say},
};

pub(super) fn look(folder: &Folder, proposal: &mut Proposal) {
    let Some(text) = folder.text("go.mod") else { return };
    let Some(module) = text.lines().find_map(|line| line.trim().strip_prefix("module ")) else {
        return proposal.note("go.mod names no module and was not looked at");
    };
    let module = module.split("//").next().unwrap_or(module).trim().trim_matches('"');
    // The last part may be a major version: example.org/web/v2.
    let mut parts = module.rsplit('/');
    let last = parts.next().unwrap_or(module);
    let version = last.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
    let name = if version { parts.next().unwrap_or(last) } else { last };
    proposal.sockets.get_or_insert("net.FileListener(os.NewFile(3, \"http\")) takes it");
    proposal.name(name, "go.mod, module");
    if proposal.command.is_none() {
        say(&mut proposal.command, vec![format!("bin/{name}")], "go.mod, module");
        proposal.note(format!("build it before `handover release push`: go build -o bin/{name} ."));
    }
}
