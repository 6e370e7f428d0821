//! A Python project.

use super::{
    folder::Folder,
    proposal::{Proposal, say},
    words::program,
};
use toml::Table;

/// Servers that know the socket activation convention, or can be told of a descriptor, with how they are started.
struct Server {
    name: &'static str,
    words: &'static [&'static str],
    sockets: &'static str,
}

const SERVERS: [Server; 2] = [
    Server { name: "gunicorn", words: &[], sockets: "gunicorn takes it by itself (LISTEN_FDS)" },
    Server { name: "uvicorn", words: &["--fd", "3"], sockets: "uvicorn --fd 3 takes it" },
];

pub(super) fn look(folder: &Folder, proposal: &mut Proposal) {
    let project = folder.text("pyproject.toml");
    let requirements = folder.text("requirements.txt");
    let django = folder.has("manage.py");
    if project.is_none() && requirements.is_none() && !django {
        return;
    }
    let table = project.as_ref().and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
    if project.is_some() && table.is_empty() {
        proposal.note("pyproject.toml is no TOML, or empty, and was not looked at");
    }
    let section = table.get("project").and_then(|project| project.as_table());
    if let Some(name) = section.and_then(|section| section.get("name")).and_then(|name| name.as_str()) {
        proposal.name(name, "pyproject.toml, project.name");
    }
    let wanted = format!("{}\n{}", requirements.unwrap_or_default(), project.unwrap_or_default());
    let server = SERVERS.iter().find(|server| wanted.contains(server.name));
    proposal
        .sockets
        .get_or_insert(server.map_or("socket.socket(fileno=3) takes it", |server| server.sockets));
    if proposal.command.is_some() {
        return;
    }
    let (python, python_from) = match folder.has(".venv/bin/python") {
        true => (".venv/bin/python".to_owned(), ", .venv"),
        false => (program("python3"), ""),
    };
    let module = |module: &str, words: &[&str], application: &str| {
        let fixed = [python.as_str(), "-m", module].into_iter().chain(words.iter().copied());
        fixed.chain([application]).map(str::to_owned).collect::<Vec<_>>()
    };
    let application = application(folder, django);
    let script = section
        .and_then(|section| section.get("scripts")?.as_table()?.iter().next())
        .and_then(|(name, target)| Some((name.clone(), target.as_str()?.split(':').next()?.to_owned())));
    match (server, application, script) {
        (Some(server), Some((application, from)), _) => {
            let command = module(server.name, server.words, &application);
            say(
                &mut proposal.command,
                command,
                format!("{} among the requirements, {from}{python_from}", server.name),
            );
        }
        (None, Some((application, from)), _) if django => {
            let command = module("gunicorn", &[], &application);
            say(&mut proposal.command, command, format!("manage.py, {from}{python_from}"));
            proposal.note("gunicorn is not among the requirements: add it, since manage.py runserver is for development");
        }
        (_, _, Some((name, target))) => {
            let command = vec![python.clone(), "-m".to_owned(), target];
            say(
                &mut proposal.command,
                command,
                format!("pyproject.toml, project.scripts.{name}{python_from}"),
            );
        }
        (_, Some((application, from)), None) => {
            let file = application.split(':').next().unwrap_or(&application);
            say(
                &mut proposal.command,
                vec![python.clone(), format!("{file}.py")],
                format!("{from}{python_from}"),
            );
        }
        (_, None, None) => return,
    }
    proposal.note("the packages go into the release, or must be on the hosts: a virtual environment works only at the path where it was made");
}

/// The application as servers want it, with where it was found.
fn application(folder: &Folder, django: bool) -> Option<(String, String)> {
    if django {
        let project = folder.names().iter().find(|name| folder.has(&format!("{name}/wsgi.py")))?;
        return Some((format!("{project}.wsgi:application"), format!("{project}/wsgi.py")));
    }
    let file = ["app", "main", "server", "wsgi", "asgi"]
        .into_iter()
        .find(|name| folder.has(&format!("{name}.py")))?;
    Some((format!("{file}:app"), format!("{file}.py")))
}
