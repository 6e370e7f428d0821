//! Commands beside hidden instances on the wire: an operator asks, the agents are asked through their sessions, and tell.

use super::{
    Context,
    held::Held,
    outlet::{self, Holding},
    permit::{Permit, Subject},
    request,
};
use crate::{
    commands::{
        DEFAULT_TIMEOUT, Expected, LONGEST, MAX_COMMAND_BYTES, MAX_INSTANCES, MAX_OUTPUT_BYTES, MAX_WORDS,
        Orders, Outcome, SHORTEST,
    },
    fleet::{Hidden, Link, Refusal, State},
    limits::Limits,
};
use handover_model::{HostName, ServiceName};
use handover_proto::{
    convert::ConvertError,
    status::{Reason, refuse},
    v1,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How long an agent may take besides the command itself: for starting it, ending it, and telling.
const AROUND: Duration = Duration::from_secs(30);
/// Longest words of an agent's about an end, in characters.
const MAX_ENDED: usize = 1_000;
/// Of the command, in the audit.
const MAX_TOLD: usize = 300;

/// What is asked.
struct Asked {
    service: ServiceName,
    hosts: BTreeSet<HostName>,
    command: Vec<String>,
    limit: Duration,
}

fn asked(wire: v1::RunPreviewRequest) -> Result<Asked, Status> {
    let v1::RunPreviewRequest { service, hosts, command, timeout_millis } = wire;
    let bytes: usize = command.iter().map(String::len).sum();
    if command.is_empty() || command.len() > MAX_WORDS || bytes > MAX_COMMAND_BYTES {
        let why = format!(
            "has {} words of {bytes} bytes, expected 1 to {MAX_WORDS} words of at most {MAX_COMMAND_BYTES} bytes",
            command.len()
        );
        return Err(ConvertError::new("command", why).into());
    }
    let limit = if timeout_millis == 0 { DEFAULT_TIMEOUT } else { Duration::from_millis(timeout_millis) };
    if !(SHORTEST..=LONGEST).contains(&limit) {
        let why = format!("is {limit:?}, expected {SHORTEST:?} to {LONGEST:?}");
        return Err(ConvertError::new("timeout", why).into());
    }
    let service = request::parse("service", &service)?;
    Ok(Asked { service, hosts: request::hosts_of(&hosts)?, command, limit })
}

/// Has the command run beside each hidden instance, and streams how each ended.
pub(super) async fn run(
    permit: Permit,
    orders: &Arc<Orders>,
    limits: &Limits,
    wire: v1::RunPreviewRequest,
    stop: CancellationToken,
) -> Result<Held<v1::PreviewOutcome, String>, Status> {
    let Asked { service, hosts, command, limit } = asked(wire)?;
    let access = permit.service(&service)?;
    let holding = Holding::watch(limits, &access, stop)?;
    let Some(place) = orders.place() else {
        return Err(refuse(
            Reason::Busy,
            "as many commands of operators run as this server takes",
            "try again when one has ended",
        ));
    };
    let words: String = command.join(" ").chars().take(MAX_TOLD).collect();
    // In the audit first: what is not written down is not run.
    let subject = Subject::service(&service).detail(words);
    let hidden = access.change(subject, move |desk, _| hidden(desk.state, &service, &hosts)).await?;
    let expected = Arc::clone(orders);
    let timeout_millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let order = v1::RunCommand { command, timeout_millis, ..Default::default() };
    let begun = access.ask_hosts(move |_, links| Ok(begin(hidden, links, &expected, &order))).await?;
    Ok(outlet::stream(holding, 1, async move |out| {
        let _place = place;
        let mut waiting = JoinSet::new();
        for begun in begun {
            waiting.spawn(begun.end(limit));
        }
        while let Some(told) = waiting.join_next().await {
            if let Ok(told) = told {
                out.send(told).await?;
            }
        }
        Ok(())
    }))
}

/// Beside which instances it is run.
fn hidden(state: &State, service: &ServiceName, hosts: &BTreeSet<HostName>) -> Result<Vec<Hidden>, Refusal> {
    let hidden = state.hidden(service, hosts)?;
    if hidden.len() > MAX_INSTANCES {
        return Err(Refusal::Invalid(format!(
            "{} instances of service {service} are hidden, and a command runs beside {MAX_INSTANCES} at most: choose some with --host",
            hidden.len()
        )));
    }
    Ok(hidden)
}

/// An order that is on its way, or was not taken.
struct Begun {
    hidden: Hidden,
    order: Result<Expected, Outcome>,
}

fn begin(
    hidden: Vec<Hidden>,
    links: &BTreeMap<HostName, Link>,
    orders: &Arc<Orders>,
    order: &v1::RunCommand,
) -> Vec<Begun> {
    let begin = |hidden: Hidden| {
        let expected = orders.expect(&hidden.host);
        let instance = hidden.instance.to_string();
        let order = v1::RunCommand { request_id: expected.number, instance, ..order.clone() };
        let order = match links.get(&hidden.host).map(|link| link.commands.try_send(order)) {
            Some(Ok(())) => Ok(expected),
            Some(Err(_)) => Err(Outcome::failed("not run: its session has too much to do")),
            None => Err(Outcome::failed("not run: it is offline")),
        };
        Begun { hidden, order }
    };
    hidden.into_iter().map(begin).collect()
}

impl Begun {
    /// Waits for its end.
    async fn end(self, limit: Duration) -> v1::PreviewOutcome {
        let unknown = "its outcome is not known: its agent said nothing in time; is it an older version, or was it started again?";
        let outcome = match self.order {
            Ok(expected) => {
                let heard = expected.heard(limit + AROUND).await;
                heard.unwrap_or_else(|| Outcome::failed(unknown))
            }
            Err(failed) => failed,
        };
        view(&self.hidden, outcome)
    }
}

fn view(hidden: &Hidden, outcome: Outcome) -> v1::PreviewOutcome {
    let Outcome { passed, ended, code, output, cut } = outcome;
    v1::PreviewOutcome {
        host: hidden.host.to_string(),
        instance: hidden.instance.to_string(),
        version: hidden.version.to_string(),
        passed,
        ended,
        code,
        output,
        cut,
    }
}

/// Takes what an agent tells of an order that its host was given.
pub(super) fn take(
    context: &Context,
    host: &HostName,
    wire: v1::CommandOutcome,
) -> Result<v1::SendOutcomeResponse, Status> {
    let v1::CommandOutcome { request_id, passed, ended, code, mut output, cut } = wire;
    let surplus = output.len().saturating_sub(MAX_OUTPUT_BYTES);
    output.drain(..surplus);
    let ended = ended.chars().filter(|c| !c.is_control()).take(MAX_ENDED).collect();
    let outcome = Outcome { passed, ended, code, output, cut: cut || surplus > 0 };
    if context.commands.answer(request_id, host, outcome) {
        Ok(v1::SendOutcomeResponse {})
    } else {
        let why = format!("host {host} was not asked for the outcome of {request_id}");
        Err(refuse(Reason::NotAuthorised, why, ""))
    }
}
