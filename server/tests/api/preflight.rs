//! Preflights over the protocol: shown, in plans, refusing with a stable reason, overridden with an entry in the audit.

use crate::fixture::{Agent, Server, reason, until};
use handover_proto::{
    status::Refusal,
    v1::{self, PreflightPoint},
};

const QUICK: &str = "[rollout]\nbake = \"100ms\"\n";

fn deployment(version: &str, why: Option<&str>) -> v1::DeploymentRequest {
    v1::DeploymentRequest {
        service: "web".into(),
        version: version.into(),
        request_id: format!("{version} {why:?}"),
        reason: why.unwrap_or_default().into(),
        override_preflight: why.is_some(),
        ..Default::default()
    }
}

fn preflight(version: &str) -> v1::GetPreflightRequest {
    v1::GetPreflightRequest { service: "web".into(), version: version.into() }
}

fn grades(points: &[PreflightPoint]) -> Vec<(u32, &str)> {
    points.iter().map(|point| (point.number, point.grade.as_str())).collect()
}

#[tokio::test]
async fn points_are_shown_stand_in_the_plan_refuse_a_deployment_and_are_overridden_in_the_audit() {
    let mut server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let _running = agent.run();
    until("the agent is online", async || agent.target.lock().unwrap().is_some()).await;
    server.push("web", "1", QUICK).await;
    let begun = server.deploy("web", "1").await.unwrap();
    server.outcome(begun.id).await;
    server.crash_and_start_again();
    server.push("web", "2", &format!("compatible = [\"0.*\"]\n{QUICK}")).await;
    let mut client = server.operator().await;

    let shown = client.get_preflight(preflight("")).await.unwrap().into_inner();
    assert_eq!((&*shown.service, &*shown.version, &*shown.current_version), ("web", "2", "1"));
    assert_eq!(grades(&shown.points), [(1, "pass"), (2, "fail"), (3, "pass"), (4, "pass"), (5, "warn")]);
    let names: Vec<&str> = shown.points.iter().map(|point| &*point.name).collect();
    assert_eq!(names, ["readiness", "compatibility", "schema", "draining", "rollback"]);
    assert_eq!(shown.points[2].evidence, ["none declared"]);
    assert_eq!(shown.points.iter().filter(|point| point.stops).count(), 1);
    assert!(shown.points[1].stops && !shown.points[1].advice.is_empty(), "{:?}", shown.points[1]);

    let plan = client.plan_deployment(deployment("2", None)).await.unwrap().into_inner();
    assert_eq!(plan.preflight, Some(shown));
    let rehearsal = v1::DeploymentRequest { rehearse_millis: Some(100), ..deployment("2", None) };
    let plan = client.plan_deployment(rehearsal).await.unwrap().into_inner();
    assert_eq!(plan.preflight, None, "a rehearsal has none");

    let refused = client.create_deployment(deployment("2", None)).await.unwrap_err();
    assert_eq!(reason(&refused), "PREFLIGHT_FAILED");
    assert!(refused.message().contains("fail 2, compatibility: "), "{}", refused.message());
    let hint = Refusal::of(&refused).unwrap().hint;
    assert!(hint.contains("`handover preflight web --release 2`"), "{hint}");
    assert!(hint.contains("--override-preflight --reason WHY"), "{hint}");
    let without = v1::DeploymentRequest { reason: String::new(), ..deployment("2", Some("")) };
    assert_eq!(reason(&client.create_deployment(without).await.unwrap_err()), "INVALID_REQUEST");

    client.create_deployment(deployment("2", Some("it was tried elsewhere"))).await.unwrap();
    let told = client.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner();
    let entries = || told.entries.iter().rev().filter(|entry| entry.method == "CreateDeployment");
    let entry = entries().find(|entry| entry.outcome == "ok").expect("the deployment is not in the audit");
    assert_eq!(entry.reason, "it was tried elsewhere");
    assert!(entry.detail.ends_with("; with --override-preflight"), "{}", entry.detail);
    assert!(entries().any(|entry| entry.outcome == "PREFLIGHT_FAILED"), "the refusal is not in the audit");
}

#[tokio::test]
async fn of_what_is_not_there_no_preflight_is_shown() {
    let server = Server::start();
    let mut client = server.operator().await;
    let mut asked = async |service: &str, version: &str| {
        let request = v1::GetPreflightRequest { service: service.into(), version: version.into() };
        reason(&client.get_preflight(request).await.unwrap_err())
    };
    assert_eq!(asked("web", "").await, "UNKNOWN_SERVICE");
    server.push("web", "1", "").await;
    assert_eq!(asked("web", "2").await, "UNKNOWN_RELEASE");
    assert_eq!(asked("web", "a b").await, "INVALID_REQUEST");
    assert_eq!(asked("", "").await, "INVALID_REQUEST");
}
