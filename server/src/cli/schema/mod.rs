//! `handover schema`: the language of manifests, for editors and, with that of the daemons' files, as a reference. Both
//! are made from the tables that the readers obey.

mod json_schema;
mod reference;

use super::exit::{self, Exit};

/// Print a JSON Schema of handover.toml, for editors.
#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// Print the reference of every key instead, as Markdown: docs/configuration.md.
    #[arg(long)]
    reference: bool,
}

pub(super) fn run(args: &SchemaArgs) -> Exit {
    match args.reference {
        true => print!("{}", reference::markdown()),
        false => println!("{:#}", json_schema::schema()),
    }
    exit::DONE
}
