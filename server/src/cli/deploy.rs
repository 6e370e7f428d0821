//! `handover deploy`, `rollback`, `abort`: beginning deployments, watching them, stopping them.

use super::{
    connection::{self, Connection},
    error::CliError,
    exit, json,
    live::{self, View},
    outcome, plan,
    target::{Sent, Whose, nobody_asked, say},
};
use handover_proto::v1::{
    AbortDeploymentRequest, Deployment, DeploymentRequest, GetDeploymentRequest, Preflight,
};
use std::io::{IsTerminal as _, Write as _, stdin, stdout};

/// Carry a release to the hosts of its service.
#[derive(Debug, clap::Args)]
pub(super) struct DeployArgs {
    /// The service.
    service: String,
    /// The release's version; the newest where it is left out.
    #[arg(long, visible_alias = "release", value_name = "VERSION")]
    version: Option<String>,
    /// Only these hosts.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Also where a freeze forbids it; it needs --reason, which goes into the audit.
    #[arg(long, requires = "reason")]
    override_freeze: bool,
    /// Also where it should be rehearsed before and was not; it needs --reason, which goes into the audit.
    #[arg(long, requires = "reason")]
    override_rehearsal: bool,
    /// Also where a point of its preflight refuses it; it needs --reason, which goes into the audit.
    #[arg(long, requires = "reason")]
    override_preflight: bool,
    #[command(flatten)]
    how: How,
}

/// Go back to the previous release.
#[derive(Debug, clap::Args)]
pub(super) struct RollbackArgs {
    /// The service.
    service: String,
    #[command(flatten)]
    how: How,
}

/// How a deployment is begun and followed.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Begin it and do not wait for its end.
    #[arg(long)]
    detach: bool,
    /// Print the compiled plan and change nothing.
    #[arg(long, conflicts_with_all = ["yes", "detach"])]
    plan: bool,
    #[command(flatten)]
    pub(super) sent: Sent,
}

/// Stop a deployment and take every host that it touched back.
#[derive(Debug, clap::Args)]
pub(super) struct AbortArgs {
    /// The service whose newest deployment it is, or the deployment's number, such as d12.
    service: String,
    #[command(flatten)]
    sent: Sent,
    /// Do not wait for its end.
    #[arg(long)]
    detach: bool,
}

pub(super) async fn deploy(args: DeployArgs, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let version = match args.version {
        Some(version) => version,
        None => newest(&mut to, &args.service).await?,
    };
    let request = DeploymentRequest {
        service: args.service,
        version,
        request_id: args.how.sent.id(),
        rollback: false,
        hosts: args.hosts,
        take_over: args.how.sent.take_over,
        reason: args.how.sent.why(),
        override_freeze: args.override_freeze,
        rehearse_millis: None,
        override_rehearsal: args.override_rehearsal,
        override_preflight: args.override_preflight,
        ..DeploymentRequest::default()
    };
    begin(request, args.how, to, json).await
}

pub(super) async fn rollback(args: RollbackArgs, to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let request = DeploymentRequest {
        service: args.service,
        version: String::new(),
        request_id: args.how.sent.id(),
        rollback: true,
        hosts: Vec::new(),
        take_over: args.how.sent.take_over,
        reason: args.how.sent.why(),
        override_freeze: false,
        rehearse_millis: None,
        override_rehearsal: false,
        override_preflight: false,
        ..DeploymentRequest::default()
    };
    begin(request, args.how, to, json).await
}

pub(super) async fn abort(args: AbortArgs, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let Whose { id, service } = Whose::read(&args.service);
    let request = AbortDeploymentRequest {
        id,
        service,
        reason: args.sent.why(),
        request_id: args.sent.id(),
        take_over: args.sent.take_over,
    };
    let deployment = to.client.abort_deployment(request).await?.into_inner();
    if args.detach {
        say(&deployment, json);
        return Ok(exit::DONE);
    }
    if !json {
        println!("{}", deployment.answer);
    }
    watch(to, &deployment, json).await
}

async fn newest(to: &mut Connection, service: &str) -> Result<String, CliError> {
    let request = handover_proto::v1::ListReleasesRequest { service: service.to_owned() };
    let releases = to.client.list_releases(request).await?.into_inner().releases;
    let newest = releases.into_iter().next().and_then(|info| info.release);
    newest.map(|release| release.version).ok_or_else(|| {
        CliError::Failed(format!(
            "service {service} has no release: `handover release push DIR --version V` makes one"
        ))
    })
}

/// Plan, question, deployment, end.
pub(super) async fn begin(
    request: DeploymentRequest,
    how: How,
    mut to: Connection,
    json: bool,
) -> Result<exit::Exit, CliError> {
    if json && !how.yes && !how.plan {
        return Err(CliError::Usage(
            "with --json nobody is asked: add --yes to go on, or --plan to only look".into(),
        ));
    }
    let compiled = match to.client.plan_deployment(request.clone()).await {
        Ok(plan) => plan.into_inner(),
        // The request may have been answered before: then there is nothing to plan any more, and its answer stands.
        Err(_) if how.yes && how.sent.request_id.is_some() => {
            return create(request, None, &how, to, json).await;
        }
        Err(refused) => return Err(refused.into()),
    };
    if how.plan {
        if json {
            println!("{}", json::plan(&compiled));
        } else {
            plan::lines(&compiled).iter().for_each(|line| println!("{line}"));
        }
        return Ok(exit::DONE);
    }
    if !json {
        plan::lines(&compiled).iter().for_each(|line| println!("{line}"));
    }
    if !how.yes && !asked()? {
        println!("nothing was changed");
        return Ok(exit::FAILED);
    }
    create(request, compiled.preflight, &how, to, json).await
}

async fn create(
    request: DeploymentRequest,
    preflight: Option<Preflight>,
    how: &How,
    mut to: Connection,
    json: bool,
) -> Result<exit::Exit, CliError> {
    let mut deployment = to.client.create_deployment(request).await?.into_inner();
    // What was shown before it began belongs to its first picture.
    if let Some(plan) = &mut deployment.plan {
        plan.preflight = preflight;
    }
    if how.detach {
        announce(&deployment, json);
        return Ok(exit::DONE);
    }
    watch(to, &deployment, json).await
}

fn announce(deployment: &Deployment, json: bool) {
    if json {
        println!("{}", json::deployment(deployment));
    } else {
        println!("d{} goes on; `handover watch d{}` shows it", deployment.id, deployment.id);
    }
}

fn asked() -> Result<bool, CliError> {
    if !stdin().is_terminal() {
        return Err(nobody_asked());
    }
    let failed = |source| CliError::System { what: "ask".to_owned(), source };
    print!("go on? [y/N] ");
    stdout().flush().map_err(failed)?;
    let mut answer = String::new();
    stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Shows a deployment until it ends, waits for a person, or the operator has seen enough.
pub(super) async fn watch(
    to: Connection,
    deployment: &Deployment,
    json: bool,
) -> Result<exit::Exit, CliError> {
    watch_in(to, deployment, View::new(json), json).await
}

/// The same in a view of one's own.
pub(super) async fn watch_in(
    mut to: Connection,
    deployment: &Deployment,
    mut view: View,
    json: bool,
) -> Result<exit::Exit, CliError> {
    let mut last = deployment.clone();
    view.show(&last);
    let seen = tokio::select! {
        seen = follow(&mut to, &mut view, &mut last) => seen,
        _ = tokio::signal::ctrl_c() => {
            view.end();
            eprintln!("d{} goes on without this command; `handover watch d{}` shows it, `handover pause {}` holds it, `handover abort {}` takes it back",
                last.id, last.id, last.service, last.service);
            return Ok(exit::INTERRUPTED);
        }
    };
    view.end();
    let code = match seen {
        Ok(code) => code,
        Err(error) => {
            eprintln!("d{} goes on; it was last seen {}", last.id, outcome::state(&last));
            return Err(error);
        }
    };
    if !json {
        outcome::summary(&last).iter().for_each(|line| println!("{line}"));
    }
    Ok(code)
}

/// Reads snapshots; a server that is started again meanwhile is waited for, with back-off and a limit.
async fn follow(to: &mut Connection, view: &mut View, last: &mut Deployment) -> Result<exit::Exit, CliError> {
    let request = GetDeploymentRequest { id: last.id, service: last.service.clone() };
    let mut pause = connection::pauses();
    loop {
        let broke = match to.client.watch_deployment(request.clone()).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    let message = tokio::select! {
                        message = stream.message() => message,
                        () = tokio::time::sleep(live::TICK) => {
                            view.tick(last);
                            continue;
                        }
                    };
                    match message {
                        Ok(Some(snapshot)) => {
                            pause = connection::pauses();
                            *last = snapshot;
                            view.show(last);
                            if let Some(code) = outcome::exit_of(last) {
                                return Ok(code);
                            }
                        }
                        Ok(None) => {
                            break tonic::Status::unavailable("the watch ended before the deployment");
                        }
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        let Some(wait) = pause.next().filter(|_| connection::is_worth_trying(&broke)) else {
            return Err(broke.into());
        };
        tokio::time::sleep(wait).await;
        // Not there yet: the next round tries again.
        let _ = to.again().await;
    }
}
