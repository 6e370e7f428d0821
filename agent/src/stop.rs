//! `handover-agent stop`: ends what a host runs, when the host is taken out of service. The agent must not run.

use crate::{
    config::AgentConfig,
    disks::Disks,
    instance::{Containment, Group, Process, process::boot_id},
    journal::Journal,
    state::{InstanceRecord, Life},
};
use handover_model::config::Manifest;
use nix::sys::signal::Signal;
use std::{error::Error, io, time::Duration};
use tokio::{task::JoinSet, time::timeout};

/// Where a manifest cannot be read any more: how long its instance may drain.
const DRAIN: Duration = Duration::from_secs(30);
/// How long killed processes may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// Tells every instance of this host to drain, all at once, waits for their ends or drain deadlines, kills what is
/// left, and forgets them together with the target. Returns how many there were.
///
/// # Errors
/// When the agent runs, or the journal cannot be read or changed.
pub async fn stop(config: &AgentConfig) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let _lock = crate::daemon::lock(config)?;
    let journal = Journal::new(config.journal(), Disks::of(config));
    let boot = boot_id()?;
    let found = journal.read()?;
    // First: an agent that is started again must not start them again.
    journal.forget_target()?;
    let count = found.instances.len();
    let mut ending = JoinSet::new();
    for record in found.instances {
        let (boot, journal) = (boot.clone(), journal.clone());
        ending.spawn(async move {
            end(&record, &boot).await?;
            journal.forget_instance(&record.instance).map_err(io::Error::other)
        });
    }
    // One that cannot be ended does not keep the others from it.
    let mut failure = Ok(());
    while let Some(ended) = ending.join_next().await {
        failure = failure.and(ended.map_err(io::Error::from).and_then(|ended| ended));
    }
    failure?;
    for gate in &found.gates {
        journal.forget_gate(gate)?;
    }
    for record in &found.flips {
        journal.forget_flip(&record.flip.service)?;
    }
    Containment::detect(&format!("handover-{}", config.name)).give_back();
    Ok(count)
}

async fn end(record: &InstanceRecord, boot: &str) -> io::Result<()> {
    let Life::Running { process, group, .. } = &record.life else { return Ok(()) };
    if record.boot_id != boot {
        return Ok(());
    }
    let drain = Manifest::parse(&record.release.manifest).ok().map(|manifest| manifest.drain);
    if let Some(process) = Process::adopt(*process)? {
        let named = drain.and_then(|drain| drain.signal.name().parse().ok());
        process.signal(named.unwrap_or(Signal::SIGTERM))?;
        // Its deadline passed: what is left is killed below.
        let _ = timeout(drain.map_or(DRAIN, |drain| drain.deadline), process.exited()).await;
    }
    let group = Group::reopen(group.clone())?;
    group.kill(KILL_WAIT).await.map_err(io::Error::other)?;
    let _ = group.remove();
    Ok(())
}
