//! `handover canary`: a live picture of a canary: shares, error rates, latencies with their intervals, the verdict, the
//! time left.

mod interval;
mod limits;
mod picture;

pub(super) use interval::wilson;
pub(super) use picture::{Lines, in_short, lines, percent, share_hit};

use super::{connection::Connection, deploy, error::CliError, exit, live::View, target::Whose};
use handover_proto::v1::Deployment;

/// Watch how a canary compares with the release that it would replace, until its deployment ends.
///
/// Each block of time is a column of the picture: requests, errors and latencies of the new release beside those of the
/// old one on the same hosts. On a terminal it is kept up to date, elsewhere each block is a line.
#[derive(Debug, clap::Args)]
pub(super) struct CanaryArgs {
    /// The deployment's number, such as d12, or a service: its newest.
    deployment: String,
}

pub(super) async fn run(args: CanaryArgs, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let request = Whose::read(&args.deployment).request();
    let deployment = to.client.get_deployment(request).await?.into_inner();
    if !is_canary(&deployment) {
        return Err(CliError::Failed(format!(
            "d{} of {} has no stage that is judged: it is no canary; `handover watch d{}` shows it",
            deployment.id, deployment.service, deployment.id
        )));
    }
    deploy::watch_in(to, &deployment, View::canary(json), json).await
}

fn is_canary(deployment: &Deployment) -> bool {
    deployment.plan.as_ref().is_some_and(|plan| plan.stages.iter().any(|stage| stage.judged.is_some()))
}
