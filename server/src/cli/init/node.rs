//! A Node project.

use super::{
    folder::Folder,
    proposal::{Proposal, say},
    words::{Line, program},
};
use serde_json::Value;

pub(super) fn look(folder: &Folder, proposal: &mut Proposal) {
    let Some(text) = folder.text("package.json") else { return };
    let Ok(package) = serde_json::from_str::<Value>(&text) else {
        return proposal.note("package.json is no JSON and was not looked at");
    };
    proposal.sockets.get_or_insert("server.listen({ fd: 3 }) takes it");
    if let Some(name) = package["name"].as_str() {
        proposal.name(name, "package.json, name");
    }
    if proposal.command.is_some() {
        return;
    }
    let main = package["main"].as_str();
    if let Some(line) = package["scripts"]["start"].as_str().and_then(Line::read) {
        proposal.line(&line, "package.json, scripts.start");
    } else if let Some(main) = main.or_else(|| folder.has("server.js").then_some("server.js")) {
        let from = if package["main"].is_string() { "package.json, main" } else { "server.js is there" };
        say(&mut proposal.command, vec![program("node"), main.to_owned()], from);
    } else {
        return;
    }
    if package["dependencies"].is_object() {
        proposal.note(
            "node_modules goes into the release: run `npm ci --omit=dev` before `handover release push`",
        );
    }
}
