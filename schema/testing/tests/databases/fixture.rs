//! What each case does: a target, a job, and what was told.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handover_schema::{
    Control, Error, Found, Job, Limits, Outcome, Resolution, SchemaPhase, SchemaVersion, Scripts, Target,
    resolve, run,
};
use handover_schema_testing::Release;

/// Limits that a test has the patience for.
pub(crate) fn limits() -> Limits {
    Limits {
        lease: Duration::from_secs(3),
        pause: Duration::from_millis(50),
        longest_pause: Duration::from_millis(500),
        reconnect: Duration::from_secs(20),
        whole: Duration::from_secs(120),
        ..Limits::default()
    }
}

/// What was told, as sentences.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn has(&self, words: &str) -> bool {
        self.all().iter().any(|line| line.contains(words))
    }
}

/// Runs a phase of a release.
pub(crate) async fn apply(
    target: &Target,
    release: &Release,
    phase: SchemaPhase,
    limits: &Limits,
) -> (Result<Outcome, Error>, Told) {
    apply_with(target, release, phase, limits, &Control::new(), Told::default()).await
}

pub(crate) fn job<'a>(
    target: &'a Target,
    scripts: &'a Scripts,
    phase: SchemaPhase,
    limits: &'a Limits,
) -> Job<'a> {
    Job {
        target,
        service: "shop",
        by: "agent-1",
        deployment: "7",
        phase,
        scripts,
        readers: &[],
        limits,
        programs: None,
    }
}

/// What a person says of a migration that stands half, each time with a deployment of its own.
pub(crate) async fn says(job: &Job<'_>, version: SchemaVersion, found: Found) -> Result<(), Error> {
    static SAID: AtomicU32 = AtomicU32::new(100);
    let deployment = SAID.fetch_add(1, Ordering::Relaxed).to_string();
    let job = Job { deployment: &deployment, ..job.clone() };
    resolve(&job, Resolution { version, found }, &Control::new(), &mut |_| {}).await
}

pub(crate) async fn apply_with(
    target: &Target,
    release: &Release,
    phase: SchemaPhase,
    limits: &Limits,
    control: &Control,
    told: Told,
) -> (Result<Outcome, Error>, Told) {
    let scripts = release.scripts(target.address.kind());
    let job = job(target, &scripts, phase, limits);
    let heard = told.clone();
    let mut listener =
        move |progress: handover_schema::Progress| heard.0.lock().unwrap().push(progress.to_string());
    let done = run(&job, control, &mut listener).await;
    (done, told)
}

/// The error of a run, in words.
pub(crate) fn said<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.map_err(|error| error.chain()).unwrap_err()
}
