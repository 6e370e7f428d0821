//! The order of a flip, and what happens to those who do not go.

use crate::host::{DRAIN, HTTP, Host, find, until};
use handover_model::{InstancePhase, Share};
use std::time::{Duration, Instant};

#[tokio::test]
async fn nobody_drains_before_the_other_has_the_share_and_what_runs_finishes() {
    let mut host = Host::start();
    let (one, two) = (host.web("1", ""), host.web("2", "ready_after=300"));
    let first = host.serve("web-1", &one).await;
    let (mut idle, mut busy) = (host.connect(), host.connect());
    assert_eq!(idle.get("/"), "1");
    busy.say("/sleep/1000");
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    let candidate = host.phase("web-2", InstancePhase::Ready).await;
    assert_eq!((candidate.share, host.ask().as_str()), (Share::HIDDEN, "1"));
    assert!(candidate.ready_millis.unwrap() >= 300);
    assert!(candidate.unready_probes.unwrap() > 0, "it was not ready at first, and that was not counted");
    assert_eq!(candidate.unserved, None, "its readiness asks its only listener");

    host.serve("web-2", &two).await;
    assert_eq!(host.ask(), "2");
    assert_eq!(busy.hear().unwrap(), "1");
    let left = host.gone("web-1").await;
    let ledger = left.ledger.unwrap();
    assert!(!ledger.killed && ledger.force_closed == 0 && ledger.reset == 0, "{ledger:?}");
    assert!(ledger.connections >= 1, "{ledger:?}");
    assert!(!Host::alive(first.pid.unwrap()));
    let history = host.driver.shared.history.lock().unwrap();
    let draining = history.iter().find(|report| {
        find(report, "web-1")
            .is_some_and(|i| i.phase == InstancePhase::Draining && i.detail.contains("connections"))
    });
    let draining = draining.expect("it was never seen to drain");
    assert_eq!(find(draining, "web-2").unwrap().share, Share::ALL);
}

#[tokio::test]
async fn one_that_ignores_the_signal_is_killed_at_its_deadline_and_only_then() {
    let mut host = Host::start();
    let (one, two) = (host.web("1", "ignore_term=1"), host.web("2", ""));
    let first = host.serve("web-1", &one).await.pid.unwrap();
    let mut cut = host.connect();
    assert_eq!(cut.get("/"), "1");
    host.order(&[("web-2", &two, 10_000)]);
    until("it was told to drain", || host.output("web-1").contains("SIGTERM")).await;
    let told = Instant::now();
    // Still served, and still there shortly before its deadline.
    while told.elapsed() < Duration::from_millis(1700) {
        assert_eq!(cut.get("/"), "1");
        assert!(Host::alive(first));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ledger = host.gone("web-1").await.ledger.unwrap();
    assert!(ledger.killed && ledger.force_closed == 1, "{ledger:?}");
    assert!((2000..4000).contains(&ledger.drain_millis), "{ledger:?}");
    assert!(cut.hear().is_err(), "its connection was not cut");
    assert!(!Host::alive(first));
}

#[tokio::test]
async fn one_that_never_gets_ready_gets_no_share_and_says_why() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let manifest =
        format!("{HTTP}deadline = \"500ms\"\n{DRAIN}[restart]\nattempts = 2\ninitial = \"10ms\"\n");
    let two = host.release("web", "2", "ready_after=60000", &manifest);
    host.serve("web-1", &one).await;
    host.order(&[("web-2", &two, 10_000)]);
    let gave_up = host.phase("web-2", InstancePhase::GaveUp).await;
    assert!(gave_up.detail.contains("not ready within 500ms: GET /ready"), "{}", gave_up.detail);
    assert!(gave_up.detail.contains("503"), "{}", gave_up.detail);
    assert_eq!(host.ask(), "1");
    let history = host.driver.shared.history.lock().unwrap();
    assert!(history.iter().all(|report| find(report, "web-2").is_none_or(|i| i.share.is_hidden())));
}

#[tokio::test]
async fn one_that_is_removed_while_it_is_fetched_or_starts_leaves_nothing() {
    let mut host = Host::start();
    let one = host.web("1", "");
    host.serve("web-1", &one).await;
    host.driver.shared.open.send_replace(false);
    let two = host.web("2", "");
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    host.phase("web-2", InstancePhase::Fetching).await;
    host.order(&[("web-1", &one, 10_000)]);
    host.gone("web-2").await;
    host.driver.shared.open.send_replace(true);

    let three = host.web("3", "ready_after=60000");
    host.order(&[("web-1", &one, 10_000), ("web-3", &three, 0)]);
    let starting =
        |report: &handover_model::HostReport| find(report, "web-3").is_some_and(|i| i.pid.is_some());
    let report = host.driver.until("web-3 starts", starting).await;
    let pid = find(&report, "web-3").unwrap().pid.unwrap();
    host.order(&[("web-1", &one, 10_000)]);
    host.gone("web-3").await;
    assert!(!Host::alive(pid));
    assert_eq!(host.ask(), "1");
    let records = std::fs::read_dir(host.journal().join("instances")).unwrap();
    assert_eq!(records.count(), 1);
}

#[tokio::test]
async fn a_listener_may_get_another_name() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let two = host.release("web", "2", "", &format!("{}{DRAIN}", HTTP.replace("http = \"{", "front = \"{")));
    host.serve("web-1", &one).await;
    host.serve("web-2", &two).await;
    host.gone("web-1").await;
    assert_eq!(host.ask(), "2");
}
