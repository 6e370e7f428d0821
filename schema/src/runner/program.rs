//! A migration that is a program. That it begins is recorded before, that it ended well behind it, and the session that has the
//! lock stays meanwhile. What it does is its own transaction, or several: cut off in the middle it is run again, so it has to
//! be one that can.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::database::Session;
use crate::error::Error;
use crate::programs::ProgramCall;
use crate::progress::Progress;
use crate::record::{Record, State};
use crate::runner::{Course, End, millis, unreadable, write};
use handover_script::Script;

/// Lines that wait to be told: of more, some are not.
const LINES: usize = 16;
/// How often it is looked whether the session is still there: for so long a program may go on without the lock.
const BEAT: Duration = Duration::from_secs(1);

pub(crate) async fn run<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    script: &Script,
    path: &Path,
    record: Option<&Record>,
) -> Result<(), End> {
    let (began, file, job) = (Instant::now(), script.to_string(), course.job);
    let Some(programs) = job.programs else {
        let why = "is a program, and nobody is here to run it".to_owned();
        return Err(Error::Program { file, why, stands: course.stands() }.into());
    };
    if record.is_none() {
        let begins = session.tables().insert(script, State::Started, &course.hand());
        write(session, course, &[begins]).await?;
        course.tell(Progress::Recorded { file: file.clone() });
    }
    course.tell(Progress::Statement { file: file.clone(), number: 1, of: 1 });
    let (said, mut hears) = mpsc::channel(LINES);
    let call =
        ProgramCall { path, phase: script.phase, version: script.version, again: record.is_some(), said };
    let mut runs = programs.run(call);
    let mut beats = tokio::time::interval(BEAT.min(job.limits.lease / 3));
    let ended = loop {
        tokio::select! {
            ended = &mut runs => break ended,
            Some(line) = hears.recv() => course.tell(Progress::Said { file: file.clone(), line }),
            // A session that is gone has lost the lock: the program ends with this future, before another one begins.
            _ = beats.tick() => session.keep_alive().await.map_err(unreadable)?,
            () = tokio::time::sleep_until(course.until) => {}
            () = course.control.cancelled() => {}
        }
        if let Err(error) = course.in_time() {
            drop(runs);
            forget(session, course, script).await?;
            return Err(error.into());
        }
    };
    drop(runs);
    match ended {
        Ok(()) => {
            course.tell(Progress::Commits { file });
            let applied = session.tables().applied(script.version, millis(began.elapsed()));
            write(session, course, &[applied]).await
        }
        Err(why) => {
            forget(session, course, script).await?;
            let stands = format!(
                "What it did up to there stands as it left it, the schema counts as version {}. Mend it so that it goes on from there, then run it again",
                course.outcome.to
            );
            Err(Error::Program { file, why, stands }.into())
        }
    }
}

/// It has ended, and everybody knows how: the next one begins anew, and may be another one.
async fn forget<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    script: &Script,
) -> Result<(), End> {
    let forgets = session.tables().forget(script.version);
    write(session, course, &[forgets]).await
}
