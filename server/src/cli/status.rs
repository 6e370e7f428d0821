//! `handover status`.

use super::{
    connection::{self, Connection},
    error::CliError,
    exit, freeze, hosts, json,
    live::{self, Told},
    lock, rehearse,
    screen::Screen,
    time, tree,
};
use handover_proto::v1::{
    Deployment, GetDeploymentRequest, ListServicesRequest, ListServicesResponse, Service,
};
use std::{collections::BTreeMap, time::Duration};

/// How often the deployments that go on are asked for again: what they wait for changes between two changes of their
/// services.
const AGAIN: Duration = Duration::from_secs(1);

/// What runs where, and what it waits for.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Only this service.
    service: Option<String>,
    /// Go on showing it until interrupted.
    #[arg(long, short)]
    watch: bool,
}

/// What is shown: the services, and their deployments that go on, by number.
#[derive(Debug, Default)]
struct Picture {
    services: ListServicesResponse,
    courses: BTreeMap<u64, Deployment>,
}

/// How it is shown.
enum View {
    /// One JSON value for each service, again where it has changed.
    Json {
        /// The values that were printed last, by service.
        last: BTreeMap<String, String>,
    },
    /// Lines, once.
    Plain,
    /// A line for each change.
    Changes(Told),
    /// The tree, kept up to date.
    Tree(Screen),
}

pub(super) async fn run(args: StatusArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let request = ListServicesRequest { service: args.service.clone().unwrap_or_default() };
    if !args.watch {
        let services = to.client.list_services(request).await?.into_inner();
        if let Some(service) = args.service.filter(|_| services.services.is_empty()) {
            return Err(CliError::Failed(format!(
                "there is no service {service}; `handover status` lists all"
            )));
        }
        let mut picture = Picture::default();
        picture.take(&mut to, services).await?;
        let mut view = if as_json { View::json() } else { View::Plain };
        view.show(&picture);
        return Ok(exit::DONE);
    }
    let mut view = match (as_json, Screen::open()) {
        (true, _) => View::json(),
        (false, Some(screen)) => View::Tree(screen),
        (false, None) => View::Changes(Told::default()),
    };
    tokio::select! {
        ended = watch(&mut to, request, &mut view) => ended,
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}

/// Shows each snapshot; a server that is started again meanwhile is waited for, with back-off and a limit.
async fn watch(
    to: &mut Connection,
    request: ListServicesRequest,
    view: &mut View,
) -> Result<exit::Exit, CliError> {
    let mut pause = connection::pauses();
    let mut picture = Picture::default();
    loop {
        let mut seen = false;
        let broke = watch_once(to, &request, view, &mut picture, &mut seen).await;
        if seen {
            pause = connection::pauses();
        }
        let Some(wait) = pause.next().filter(|_| connection::is_worth_trying(&broke)) else {
            return Err(broke.into());
        };
        tokio::time::sleep(wait).await;
        // Not there yet: the next round tries again.
        let _ = to.again().await;
    }
}

/// Watches until the watch breaks, and says why it did; `seen` where something was shown before.
async fn watch_once(
    to: &mut Connection,
    request: &ListServicesRequest,
    view: &mut View,
    picture: &mut Picture,
    seen: &mut bool,
) -> tonic::Status {
    let mut stream = match to.client.watch_services(request.clone()).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return status,
    };
    let mut again = tokio::time::interval(AGAIN);
    let mut redraw = tokio::time::interval(live::TICK);
    loop {
        let looked = tokio::select! {
            message = stream.message() => match message {
                Ok(Some(services)) => picture.take(to, services).await,
                Ok(None) => return tonic::Status::unavailable("the server ended the watch"),
                Err(status) => return status,
            },
            _ = again.tick(), if *seen => picture.look_again(to).await,
            _ = redraw.tick(), if *seen => {
                view.redraw(picture);
                continue;
            }
        };
        if let Err(status) = looked {
            return status;
        }
        *seen = true;
        view.show(picture);
    }
}

impl Picture {
    /// Other services, or the same in another state.
    async fn take(
        &mut self,
        to: &mut Connection,
        services: ListServicesResponse,
    ) -> Result<(), tonic::Status> {
        self.services = services;
        self.look_again(to).await
    }

    /// The deployments that go on, as they stand now.
    async fn look_again(&mut self, to: &mut Connection) -> Result<(), tonic::Status> {
        let going_on: Vec<u64> =
            self.services.services.iter().filter_map(|service| service.deployment).collect();
        self.courses.retain(|id, _| going_on.contains(id));
        for id in going_on {
            let request = GetDeploymentRequest { id, service: String::new() };
            self.courses.insert(id, to.client.get_deployment(request).await?.into_inner());
        }
        Ok(())
    }

    fn course(&self, service: &Service) -> Option<&Deployment> {
        self.courses.get(&service.deployment?)
    }
}

impl View {
    fn json() -> Self {
        Self::Json { last: BTreeMap::new() }
    }

    fn show(&mut self, picture: &Picture) {
        let services = &picture.services.services;
        match self {
            Self::Json { last } => {
                for service in services {
                    let value =
                        json::service(service, picture.course(service), &picture.services).to_string();
                    if last.get(&service.name) != Some(&value) {
                        println!("{value}");
                        last.insert(service.name.clone(), value);
                    }
                }
            }
            Self::Plain => plain(picture).iter().for_each(|line| println!("{line}")),
            Self::Changes(told) => {
                for service in services {
                    let line = format!("service {}: {}", service.name, state_of(service));
                    told.change(&service.name, &line, &line);
                    if let Some(line) = tree::no_return(service) {
                        let line = format!("service {}: {line}", service.name);
                        told.change(&format!("{} no return", service.name), &line, &line);
                    }
                    for host in &service.hosts {
                        let line = format!("service {} on {}: {}", service.name, host.host, on_host(host));
                        told.change(&format!("{} {}", service.name, host.host), &line, &line);
                    }
                    if let Some(deployment) = picture.course(service) {
                        told.tell(deployment);
                    }
                }
            }
            Self::Tree(_) => self.redraw(picture),
        }
    }

    /// Time passed: countdowns go on.
    fn redraw(&mut self, picture: &Picture) {
        match self {
            Self::Tree(screen) => {
                let look = screen.look(time::now());
                screen.draw(&tree::of_services(&picture.services, &picture.courses, look));
            }
            Self::Json { .. } | Self::Plain | Self::Changes(_) => {}
        }
    }
}

/// Everything, in lines.
fn plain(picture: &Picture) -> Vec<String> {
    let now = time::now();
    let fleet = picture.services.lock.as_ref().map(|held| format!("the fleet is {}", lock::line(held, now)));
    let none = picture.services.services.is_empty().then(|| {
        "no service yet: `handover release push DIR --version V` makes the first release".to_owned()
    });
    let frozen = |service: &str| {
        let freezes = picture.services.freezes.iter().filter(move |freeze| freeze.service == service);
        freezes.map(|held| freeze::line(held, now)).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = fleet.into_iter().chain(frozen("")).chain(none).collect();
    for service in &picture.services.services {
        lines.push(format!("service {}: {}", service.name, state_of(service)));
        lines.extend(service.lock.as_ref().map(|held| format!("  {}", lock::line(held, now))));
        lines.extend(frozen(&service.name).iter().map(|line| format!("  {line}")));
        lines.extend(rehearse::last(service, now).map(|line| format!("  {line}")));
        lines.extend(tree::no_return(service).map(|line| format!("  {line}")));
        let instances = service
            .hosts
            .iter()
            .flat_map(|host| host.instances.iter().map(|instance| (Some(host.host.as_str()), instance)));
        lines.extend(hosts::instances(instances).lines().iter().map(|line| format!("  {line}")));
        for host in &service.hosts {
            if !host.online {
                let heard = time::ago(host.last_contact_unix_millis);
                lines.push(format!("  host {} is offline, last heard of {heard}", host.host));
            }
            if host.cordoned {
                let end = format!("`handover hosts uncordon {}` ends that", host.host);
                lines.push(format!("  host {} is cordoned: it gets no new deployment; {end}", host.host));
            }
        }
        let course = picture.course(service).map(live::lines).unwrap_or_default();
        lines.extend(course.iter().map(|line| format!("  {line}")));
    }
    lines
}

/// A service in a few words; nothing in it changes with the time alone.
fn state_of(service: &Service) -> String {
    let version = if service.version.is_empty() { "nothing yet" } else { &service.version };
    format!("{version}; {}", tree::rollback(service))
}

fn on_host(host: &handover_proto::v1::ServiceHost) -> String {
    let version = if host.version.is_empty() { "nothing" } else { &host.version };
    let mut text = version.to_owned();
    if !host.online {
        text.push_str(", offline");
    }
    if host.cordoned {
        text.push_str(", cordoned");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_where_the_point_of_no_return_is() {
        let service = Service {
            name: "shop".to_owned(),
            version: "2".to_owned(),
            previous_version: "1".to_owned(),
            no_return: "the contract of shop 2 to schema 43 waits".to_owned(),
            ..Service::default()
        };
        let services = ListServicesResponse { services: vec![service], ..ListServicesResponse::default() };
        let lines = plain(&Picture { services, courses: BTreeMap::new() });
        let line = "  point of no return: the contract of shop 2 to schema 43 waits";
        assert!(lines.iter().any(|shown| shown == line), "{lines:?}");
    }
}
