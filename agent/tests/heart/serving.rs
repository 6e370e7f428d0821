//! What a host tells of readiness: whether it was false at first, and whether the program served when it held.

use crate::host::{DRAIN, HTTP, Host, find, until};
use handover_model::InstancePhase;

/// It holds a moment after the start, whether the program serves or not.
const ALIVE: &str =
    "[listeners]\nhttp = \"{host.address}:8080\"\n[readiness]\nkind = \"alive\"\nsettle = \"10ms\"\n";

#[tokio::test]
async fn a_program_that_is_ready_and_accepts_nothing_is_told_and_one_that_does_is_not() {
    let mut host = Host::start();
    let manifest = format!("{ALIVE}{DRAIN}");
    let one = host.release("web", "1", "", &manifest);
    let two = host.release("web", "2", "accept_after=20000", &manifest);
    host.serve("web-1", &one).await;
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    let ready = host.phase("web-2", InstancePhase::Ready).await;
    assert_eq!(ready.unready_probes, None, "nobody asks it");
    let told = host.driver.until("it is told", |report| {
        find(report, "web-2").is_some_and(|instance| instance.unserved.is_some())
    });
    let told = told.await;
    let unserved = |id: &str| {
        let listeners = find(&told, id).unwrap().unserved.clone().expect("nobody looked");
        listeners.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(unserved("web-2"), ["http"]);
    assert_eq!(unserved("web-1"), [] as [&str; 0], "this one accepted");
}

#[tokio::test]
async fn what_readiness_said_at_first_is_known_after_another_start_of_the_agent() {
    let mut host = Host::start();
    let one = host.release("web", "1", "ready_after=200", &format!("{HTTP}{DRAIN}"));
    let before = host.serve("web-1", &one).await.unready_probes;
    assert!(before.is_some_and(|bad| bad > 0), "{before:?}");
    host.kill_agent();
    let heard = |host: &Host| host.driver.shared.history.lock().unwrap().len();
    let until_now = heard(&host);
    host.start_agent();
    until("the agent reports again", || heard(&host) > until_now).await;
    assert_eq!(host.serves("web-1").await.unready_probes, before);
}
