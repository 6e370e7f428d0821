//! `handover init`: a commented manifest, proposed from what a folder holds.

mod folder;
mod go;
mod node;
mod procfile;
mod proposal;
mod python;
mod rust;
mod unit;
mod words;
mod writing;

use super::{
    error::CliError,
    exit::{self, Exit},
    manifest_file::NAME,
};
use folder::Folder;
use proposal::Proposal;
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Write a commented handover.toml, proposed from what a folder holds.
///
/// It looks at a Cargo, Node, Python or Go project, a Procfile, a systemd unit with its socket, and says what it took
/// from where. What a unit says comes before a Procfile, and that before the project.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Print the manifest instead of writing it.
    #[arg(long, conflicts_with = "force")]
    print: bool,
    /// Write over a manifest that is there already.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &InitArgs, as_json: bool) -> Result<Exit, CliError> {
    let folder = Folder::open(&args.folder)?;
    let (text, proposal) = propose(&folder)?;
    let path = args.folder.join(NAME);
    if !args.print {
        write(&path, &text, args.force)?;
    }
    if as_json {
        let took: Vec<_> =
            proposal.took().into_iter().map(|(key, from)| json!({"key": key, "from": from})).collect();
        let written = (!args.print).then(|| path.display().to_string());
        println!("{}", json!({"file": written, "manifest": text, "took": took, "notes": proposal.notes}));
    } else if args.print {
        print!("{text}");
    } else {
        println!(
            "{} is written; look through it, then `handover check {}`",
            path.display(),
            args.folder.display()
        );
        for (key, from) in proposal.took() {
            println!("  {key}: {from}");
        }
        proposal.notes.iter().for_each(|note| println!("note: {note}"));
    }
    Ok(exit::DONE)
}

/// The manifest for a folder. What the reader of manifests refuses is left out, with a note.
fn propose(folder: &Folder) -> Result<(String, Proposal), CliError> {
    let mut proposal = Proposal::default();
    // What says most about how the program is run comes first: nobody after it overrules it.
    unit::look(folder, &mut proposal);
    procfile::look(folder, &mut proposal);
    node::look(folder, &mut proposal);
    python::look(folder, &mut proposal);
    go::look(folder, &mut proposal);
    rust::look(folder, &mut proposal);
    proposal.complete(&folder.name());
    loop {
        let text = writing::manifest(&proposal);
        let Err(errors) = handover_model::config::Manifest::parse(&text) else { return Ok((text, proposal)) };
        let error = &errors.all()[0];
        if !proposal.leave_out(&error.key, &error.message) {
            return Err(CliError::Failed(format!(
                "init proposed a manifest with a mistake of its own: {error}"
            )));
        }
    }
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let failed = |source: io::Error| CliError::System { what: format!("write {}", path.display()), source };
    let there = path.symlink_metadata().is_ok();
    if there && !force {
        let problem =
            "is there already; --force writes over it, --print shows what would be written".to_owned();
        return Err(CliError::File { path: path.to_owned(), problem });
    }
    if there && !path.is_file() {
        let problem = "is no file; move it away first".to_owned();
        return Err(CliError::File { path: path.to_owned(), problem });
    }
    // Without --force nothing is written over that came between the look and the writing.
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
