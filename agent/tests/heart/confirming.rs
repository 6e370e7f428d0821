//! Flips that ask for confirmation: undone where none comes, whatever moment the agent is killed in.

use crate::host::{DRAIN, HTTP, Host, find, kill, until};
use handover_model::{Confirm, Confirmation, ConfirmationState, HostReport, InstancePhase, Release, Share};
use std::{
    fs,
    time::{Duration, Instant},
};

/// A host on which release 1 serves and release 2 stands ready, and the releases.
async fn ready() -> (Host, [Release; 2]) {
    let mut host = Host::start();
    let (one, two) = (host.web("1", ""), host.web("2", ""));
    host.serve("web-1", &one).await;
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    host.phase("web-2", InstancePhase::Ready).await;
    (host, [one, two])
}

/// Orders the flip to release 2, which has to be confirmed. Gives the number of the order.
fn flip(host: &mut Host, [one, two]: &[Release; 2], within: Duration) -> u64 {
    let mut target = host.target(&[("web-1", one, 0), ("web-2", two, 10_000)]);
    let revision = target.revision;
    target.services.values_mut().for_each(|web| web.confirm = Some(Confirm { within, revision }));
    host.driver.offer(target);
    revision
}

fn confirmation(report: &HostReport) -> Option<&Confirmation> {
    report.flips.values().next()?.confirmation.as_ref()
}

/// Waits until the flip to an order is told of as being in this state.
async fn told(host: &Host, order: u64, what: &str, holds: impl Fn(&ConfirmationState) -> bool) -> HostReport {
    let in_it = |report: &HostReport| {
        confirmation(report).is_some_and(|told| told.revision == order && holds(&told.state))
    };
    host.driver.until(what, in_it).await
}

fn is_undone(state: &ConfirmationState) -> bool {
    match state {
        ConfirmationState::Missed { reason } => reason.starts_with("undone: "),
        ConfirmationState::Awaited { .. } | ConfirmationState::Given => false,
    }
}

async fn awaited(host: &Host, order: u64) -> HostReport {
    let is = |state: &ConfirmationState| matches!(state, ConfirmationState::Awaited { .. });
    told(host, order, "its confirmation is awaited", is).await
}

async fn undone(host: &Host, order: u64) -> HostReport {
    told(host, order, "it is undone", is_undone).await
}

async fn given(host: &Host, order: u64) -> HostReport {
    told(host, order, "it is confirmed", |state| *state == ConfirmationState::Given).await
}

/// Waits until an agent that was started again tells of the flip: it does not know when that was.
async fn told_again(host: &Host, order: u64) -> HostReport {
    let again = |report: &HostReport| {
        confirmation(report).is_some_and(|told| told.revision == order)
            && report.flips.values().all(|flip| flip.at_nanos.is_none())
    };
    host.driver.until("it is told of again", again).await
}

/// Both run; who answers, and the share that each is told to have.
async fn serves(host: &Host, instance: &str) -> String {
    host.serves(instance).await;
    let report = host.driver.report();
    let hidden = if instance == "web-1" { "web-2" } else { "web-1" };
    assert_eq!(find(&report, hidden).unwrap().share, Share::HIDDEN);
    host.ask()
}

fn journal(host: &Host) -> String {
    fs::read_to_string(host.journal().join("flips/web.json")).unwrap_or_default()
}

async fn over(began: Instant, time: Duration) {
    until("the time is over", || began.elapsed() > time).await;
}

#[tokio::test]
async fn a_flip_that_is_confirmed_stands() {
    let (mut host, releases) = ready().await;
    let within = Duration::from_secs(2);
    let began = Instant::now();
    let order = flip(&mut host, &releases, within);
    awaited(&host, order).await;
    host.driver.confirm("web", order + 1);
    host.driver.confirm("shop", order);
    host.driver.confirm("web", order);
    given(&host, order).await;
    assert!(journal(&host).contains("given"), "it is told of before it is written down");
    over(began, within + Duration::from_millis(500)).await;
    assert_eq!(serves(&host, "web-2").await, "2");
    host.serve("web-2", &releases[1]).await;
    host.gone("web-1").await;
    assert_eq!(journal(&host), "", "the order is none any more");
}

#[tokio::test]
async fn a_flip_that_is_not_confirmed_is_undone_in_time_and_not_made_again() {
    let (mut host, releases) = ready().await;
    let mut kept = host.connect();
    assert_eq!(kept.get("/"), "1");
    let began = Instant::now();
    let order = flip(&mut host, &releases, Duration::from_secs(1));
    awaited(&host, order).await;
    assert_eq!(serves(&host, "web-2").await, "2");
    let missed = confirmation(&undone(&host, order).await).unwrap().clone();
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    let reason = "undone: the flip was not confirmed within 1s".to_owned();
    assert_eq!(missed.state, ConfirmationState::Missed { reason });
    assert_eq!((serves(&host, "web-1").await.as_str(), kept.get("/").as_str()), ("1", "1"));
    // A confirmation that comes now comes too late, and so does the same order under another revision.
    host.driver.confirm("web", order);
    let mut same = host.target(&[("web-1", &releases[0], 0), ("web-2", &releases[1], 10_000)]);
    let confirm = Confirm { within: Duration::from_secs(1), revision: order };
    same.services.values_mut().for_each(|web| web.confirm = Some(confirm));
    let revision = same.revision;
    host.driver.offer(same);
    host.driver.until("the agent works on it", |report| report.revision == revision).await;
    assert_eq!(serves(&host, "web-1").await, "1");
    // Another order decides anew.
    let order = flip(&mut host, &releases, Duration::from_secs(60));
    awaited(&host, order).await;
    assert_eq!(serves(&host, "web-2").await, "2");
    host.order(&[("web-1", &releases[0], 10_000)]);
    host.gone("web-2").await;
    assert_eq!(host.ask(), "1");
}

#[tokio::test]
async fn the_agent_dies_at_each_moment_of_a_flip_that_nobody_confirms_and_it_is_undone() {
    let (mut host, releases) = ready().await;
    // As soon as the intent is written, where the flip may be made or not; after it; and once it is being undone.
    for moment in ["intent", "flip", "undo", "undone"] {
        let within = Duration::from_millis(1_500);
        let began = Instant::now();
        let order = flip(&mut host, &releases, within);
        let number = format!("\"revision\":{order},");
        match moment {
            "intent" => until("the intent is written", || journal(&host).contains(&number)).await,
            "flip" => drop(awaited(&host, order).await),
            "undo" => {
                awaited(&host, order).await;
                until("the undo is written", || journal(&host).contains("missed")).await;
            }
            _undone => drop(undone(&host, order).await),
        }
        host.restart_agent();
        if moment == "undone" {
            told_again(&host, order).await;
        }
        undone(&host, order).await;
        assert_eq!(serves(&host, "web-1").await, "1", "killed at its {moment}");
        assert!(began.elapsed() >= within, "killed at its {moment}: undone before its time");
        host.order(&[("web-1", &releases[0], 10_000), ("web-2", &releases[1], 0)]);
        until("the flip is forgotten", || journal(&host).is_empty()).await;
    }
}

#[tokio::test]
async fn the_agent_dies_between_a_flip_and_its_confirmation_and_its_time_goes_on() {
    let (mut host, releases) = ready().await;
    let within = Duration::from_secs(4);
    let began = Instant::now();
    let order = flip(&mut host, &releases, within);
    let before = awaited(&host, order).await;
    host.restart_agent();
    let after = told_again(&host, order).await;
    let [before, after] = [before, after].map(|report| match confirmation(&report).unwrap().state {
        ConfirmationState::Awaited { until } => until,
        ConfirmationState::Given | ConfirmationState::Missed { .. } => panic!("it is not awaited"),
    });
    let apart = before.since(after).max(after.since(before));
    assert!(apart < Duration::from_millis(1_100), "another deadline: {apart:?} apart");
    host.driver.confirm("web", order);
    given(&host, order).await;
    host.restart_agent();
    told_again(&host, order).await;
    over(began, within + Duration::from_millis(500)).await;
    given(&host, order).await;
    assert_eq!(serves(&host, "web-2").await, "2");
}

#[tokio::test]
async fn an_agent_that_was_away_when_the_time_was_over_undoes_the_flip_as_it_comes_back() {
    let (mut host, releases) = ready().await;
    let within = Duration::from_secs(1);
    let order = flip(&mut host, &releases, within);
    awaited(&host, order).await;
    let began = Instant::now();
    host.kill_agent();
    over(began, within).await;
    assert_eq!(host.ask(), "2", "nobody was there to undo it");
    host.start_agent();
    undone(&host, order).await;
    assert_eq!(serves(&host, "web-1").await, "1");
}

#[tokio::test]
async fn what_is_not_ready_gets_no_share_back_until_it_is() {
    let mut host = Host::start();
    let restart = "[restart]\ninitial = \"3s\"\n";
    let one = host.release("web", "1", "", &format!("{HTTP}{DRAIN}{restart}"));
    let releases = [one, host.web("2", "")];
    let first = host.serve("web-1", &releases[0]).await.pid.unwrap();
    host.order(&[("web-1", &releases[0], 10_000), ("web-2", &releases[1], 0)]);
    host.phase("web-2", InstancePhase::Ready).await;
    let order = flip(&mut host, &releases, Duration::from_secs(1));
    awaited(&host, order).await;
    kill(first);
    host.phase("web-1", InstancePhase::BackingOff).await;
    let kept = |state: &ConfirmationState| match state {
        ConfirmationState::Missed { reason } => reason.ends_with("cannot be undone: web-1 is not ready"),
        ConfirmationState::Awaited { .. } | ConfirmationState::Given => false,
    };
    told(&host, order, "it says that it cannot be undone", kept).await;
    assert_eq!(host.ask(), "2", "a share for one that is not ready");
    undone(&host, order).await;
    assert_eq!(serves(&host, "web-1").await, "1");
    let history = host.driver.shared.history.lock().unwrap();
    let shared = |report: &HostReport| {
        find(report, "web-1").is_none_or(|i| i.phase == InstancePhase::Ready || i.share.is_hidden())
    };
    let flipped = history.iter().skip_while(|report| confirmation(report).is_none());
    assert!(flipped.into_iter().all(shared));
}

#[tokio::test]
async fn a_flip_that_cannot_be_written_down_is_not_made() {
    let (mut host, releases) = ready().await;
    let spare = host.journal().join("spare/flips/web.json");
    fs::create_dir_all(&spare).unwrap();
    let order = flip(&mut host, &releases, Duration::from_secs(60));
    until("the agent says so", || host.log().contains("the flip of web cannot be written down")).await;
    assert_eq!(serves(&host, "web-1").await, "1");
    fs::remove_dir(&spare).unwrap();
    awaited(&host, order).await;
    assert_eq!(serves(&host, "web-2").await, "2");
}

#[tokio::test]
async fn a_report_tells_when_the_flip_was_by_the_clock_that_it_is_sent_with() {
    let (mut host, releases) = ready().await;
    host.order(&[("web-1", &releases[0], 0), ("web-2", &releases[1], 10_000)]);
    let revision =
        host.driver.until("the flip", |report| find(report, "web-2").is_some_and(|i| i.share == Share::ALL));
    let report = revision.await;
    let readings = report.readings.unwrap();
    let at = report.flips.values().next().unwrap().at_nanos.unwrap();
    let target = readings.target_nanos.expect("the target came in this session");
    assert!(target <= at && at <= readings.sent_nanos, "{target} {at} {readings:?}");
    assert!(readings.sent_nanos - target < 5_000_000_000, "{readings:?}");
    // Of what an earlier run flipped nothing is told.
    host.restart_agent();
    host.agent_is_ready().await;
    let fresh = |report: &HostReport| report.flips.is_empty() && find(report, "web-2").is_some();
    host.driver.until("it says nothing of the flip", fresh).await;
}
