//! `handover pause`, `resume`, `retry`, `watch`: holding a deployment, letting it go on, trying hosts again, watching.

use super::{
    connection::Connection,
    deploy,
    error::CliError,
    exit,
    target::{Sent, Whose, say},
};
use handover_proto::v1::{ControlDeploymentRequest, DeploymentState};

/// Hold a deployment: no host begins a change until it is resumed.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The service whose newest deployment it is, or the deployment's number, such as d12.
    deployment: String,
    #[command(flatten)]
    sent: Sent,
}

/// Let a paused deployment go on.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The service whose newest deployment it is, or the deployment's number, such as d12.
    deployment: String,
    #[command(flatten)]
    sent: Sent,
    /// Do not wait for its end.
    #[arg(long)]
    detach: bool,
}

/// Let a release go on that waits for a person, or for the judge.
#[derive(Debug, clap::Args)]
pub(super) struct PromoteArgs {
    /// The service whose newest deployment it is, or the deployment's number, such as d12.
    deployment: String,
    #[command(flatten)]
    sent: Sent,
    /// Do not wait for its end.
    #[arg(long)]
    detach: bool,
}

/// Give hosts that failed or were skipped another attempt.
///
/// In a deployment that goes on they wait for their turn again, in a paused one until it is resumed. Where it ended
/// well but for these hosts, a new deployment carries its release to them.
#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// The service whose newest deployment it is, or the deployment's number, such as d12.
    deployment: String,
    /// Only these hosts.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    #[command(flatten)]
    sent: Sent,
    /// Do not wait for its end.
    #[arg(long)]
    detach: bool,
}

/// Watch a deployment until it ends or waits for a person.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// The service whose newest deployment it is, or the deployment's number, such as d12.
    deployment: String,
}

pub(super) async fn pause(args: PauseArgs, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let request = request(&args.deployment, &args.sent, Vec::new());
    say(&to.client.pause_deployment(request).await?.into_inner(), json);
    Ok(exit::DONE)
}

pub(super) async fn resume(args: ResumeArgs, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let request = request(&args.deployment, &args.sent, Vec::new());
    let deployment = to.client.resume_deployment(request).await?.into_inner();
    say(&deployment, json);
    if args.detach { Ok(exit::DONE) } else { deploy::watch(to, &deployment, json).await }
}

pub(super) async fn promote(
    args: PromoteArgs,
    mut to: Connection,
    json: bool,
) -> Result<exit::Exit, CliError> {
    let request = request(&args.deployment, &args.sent, Vec::new());
    let deployment = to.client.promote_deployment(request).await?.into_inner();
    say(&deployment, json);
    if args.detach { Ok(exit::DONE) } else { deploy::watch(to, &deployment, json).await }
}

pub(super) async fn retry(args: RetryArgs, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let request = request(&args.deployment, &args.sent, args.hosts);
    let deployment = to.client.retry_deployment(request).await?.into_inner();
    say(&deployment, json);
    if args.detach || deployment.state() == DeploymentState::Paused {
        let paused = deployment.state() == DeploymentState::Paused;
        return Ok(if paused { exit::WAITS } else { exit::DONE });
    }
    deploy::watch(to, &deployment, json).await
}

pub(super) async fn watch(args: WatchArgs, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let request = Whose::read(&args.deployment).request();
    let deployment = to.client.get_deployment(request).await?.into_inner();
    deploy::watch(to, &deployment, json).await
}

fn request(deployment: &str, sent: &Sent, hosts: Vec<String>) -> ControlDeploymentRequest {
    let Whose { id, service } = Whose::read(deployment);
    ControlDeploymentRequest {
        id,
        service,
        reason: sent.why(),
        request_id: sent.id(),
        take_over: sent.take_over,
        hosts,
    }
}
