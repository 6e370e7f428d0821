//! Records the quick start of the README as a session on a terminal, with the programs that lie beside this one.

use handover_tests::{markdown::Document, repository, session::Session};
use std::{env, error::Error, fs, process::ExitCode};

fn main() -> ExitCode {
    match record() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn record() -> Result<(), Box<dyn Error>> {
    let own = env::current_exe()?;
    let programs = own.parent().ok_or("this program lies in no folder")?;
    let script = Document::read("README.md").script("Quick start");
    let session = Session::record(&script, &repository::root(), programs)?;
    let path = repository::root().join(Session::PATH);
    let introduction = format!(
        "The quick start of README.md, typed on a terminal of {} columns and {} lines once everything was built.\n\
         Recorded by `make session`; what it shows of times, paths and numbers is of that run.\n\n",
        Session::COLUMNS,
        Session::ROWS
    );
    fs::write(&path, introduction + &session)?;
    println!("{} is recorded", path.display());
    Ok(())
}
