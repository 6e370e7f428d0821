//! A Procfile: one line for each type of process.

use super::{folder::Folder, proposal::Proposal, words::Line};

pub(super) fn look(folder: &Folder, proposal: &mut Proposal) {
    let Some(text) = folder.text("Procfile") else { return };
    let entries = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let entries: Vec<(&str, &str)> = entries
        .filter_map(|line| line.split_once(':'))
        .map(|(kind, line)| (kind.trim(), line.trim()))
        .collect();
    let chosen = entries.iter().find(|(kind, _)| *kind == "web").or_else(|| entries.first());
    let Some((kind, line)) = chosen.and_then(|(kind, line)| Some((*kind, Line::read(line)?))) else {
        return proposal.note("Procfile has no line `web: COMMAND` and was not looked at");
    };
    proposal.line(&line, format!("Procfile, {kind}"));
    let others: Vec<&str> = entries.iter().map(|(other, _)| *other).filter(|other| *other != kind).collect();
    if !others.is_empty() {
        proposal.note(format!("Procfile: {} would each be a service of its own", others.join(", ")));
    }
}
