//! A migration that is a program. That it begins is recorded before, that it ended well behind it, and the session that has the
//! lock stays meanwhile. What it does is its own transaction, or several: cut off in the middle it is run again, so it has to
//! be one that can.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::database::Session;
use crate::error::Error;
use crate::programs::{ProgramCall, ProgramEnd};
use crate::progress::Progress;
use crate::record::{Record, State};
use crate::runner::course::said_to_be_there;
use crate::runner::{Course, End, Write, millis, write};
use handover_model::SchemaPhase;
use handover_script::Script;

/// Lines that wait to be told: of more, some are not.
const LINES: usize = 16;
/// How often it is looked whether the session is still there: for so long a program may go on without the lock.
const BEAT: Duration = Duration::from_secs(1);

/// What the table says before a program runs.
#[derive(Clone, Copy)]
pub(crate) struct Before<'a> {
    /// Its own row; none where it was never begun.
    pub(crate) record: Option<&'a Record>,
    /// Whether no later version has a row.
    pub(crate) is_last: bool,
}

pub(crate) async fn run<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    script: &Script,
    path: &Path,
    Before { record, is_last }: Before<'_>,
) -> Result<(), End> {
    let (began, file, job) = (Instant::now(), script.to_string(), course.job);
    let Some(programs) = job.programs else {
        let why = "is a program, and nobody is here to run it".to_owned();
        return Err(Error::Program { file, why, stands: course.stands() }.into());
    };
    let begun = record.is_some_and(|record| record.begun > 0);
    if !begun {
        let tables = session.tables();
        // One that is to be done again from its beginning has a row already.
        let row = record.is_none().then(|| tables.insert(script, State::Started, &course.hand()));
        let begins = tables.at_statement(script.version, 1, 0);
        let writes: Vec<Write> = row.into_iter().chain([begins]).collect();
        write(session, course, &writes).await?;
        course.tell(Progress::Recorded { file: file.clone() });
    }
    course.tell(Progress::Statement { file: file.clone(), number: 1, of: 1 });
    let (said, mut hears) = mpsc::channel(LINES);
    let call = ProgramCall { path, phase: script.phase, version: script.version, again: begun, said };
    let mut runs = programs.run(call);
    let mut beats = tokio::time::interval(BEAT.min(job.limits.lease / 3));
    let ended = loop {
        tokio::select! {
            ended = &mut runs => break ended,
            Some(line) = hears.recv() => course.tell(Progress::Said { file: file.clone(), line }),
            // A session that is gone has lost the lock: the program ends with this future, before another one begins.
            _ = beats.tick() => {
                said_to_be_there(session, job.limits.lease).await?;
            }
            () = tokio::time::sleep_until(course.until) => {}
            () = course.control.cancelled() => {}
        }
        // What it was doing is not known: it stays begun.
        course.in_time()?;
    };
    drop(runs);
    match ended {
        Ok(()) => {
            course.tell(Progress::Commits { file });
            let applied = session.tables().applied(script.version, millis(began.elapsed()));
            write(session, course, &[applied]).await
        }
        Err(end) => Err(failed(session, course, script, (begun, is_last), end).await),
    }
}

/// What follows from another end than code 0. What ended by itself, or was not executed, may be another program next time. Of
/// half a contract nobody knows what it has taken away: that stays written down until somebody says so.
async fn failed<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    script: &Script,
    (begun_before, is_last): (bool, bool),
    end: ProgramEnd,
) -> End {
    let (why, forgets) = match end {
        ProgramEnd::NotRun(why) => (why, !begun_before),
        ProgramEnd::Failed(why) => (why, script.phase != SchemaPhase::Contract),
        ProgramEnd::CutOff(why) => (why, false),
    };
    let (at, version) = (course.outcome.to, script.version);
    // A row below others cannot be made anew: the line of versions would have a hole.
    let stands = if forgets && is_last {
        let row = session.tables().forget(script.version);
        if let Err(end) = write(session, course, &[row]).await {
            return end;
        }
        format!(
            "What it did up to there stands as it left it, the schema counts as version {at}. Mend it so that it goes on from there, then run it again"
        )
    } else {
        format!(
            "What it did up to there stands as it left it, and it counts as begun: run the same one again, which has to go on from there; or mend it, and run that with --resolve {version}=did-not and a --reason"
        )
    };
    Error::Program { file: script.to_string(), why, stands }.into()
}
