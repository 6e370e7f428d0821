//! What cannot be written down is not done, is told, and goes on by itself.

use crate::host::{Host, find, until};
use handover_model::{HostReport, InstancePhase, InstanceReport};
use std::{fs, path::Path};

/// Makes a file of the journal one that cannot be written: its spare is a folder.
fn bar(spare: &Path) {
    let _ = fs::remove_file(spare);
    fs::create_dir_all(spare).unwrap();
}

async fn waits(host: &Host, instance: &str) -> InstanceReport {
    let says = |report: &HostReport| {
        find(report, instance).is_some_and(|found| {
            found.phase == InstancePhase::BackingOff && found.detail.contains("cannot be written down in")
        })
    };
    let report = host.driver.until("it is told what waits", says).await;
    find(&report, instance).unwrap().clone()
}

#[tokio::test]
async fn an_instance_that_cannot_be_written_down_is_not_begun_until_it_can_be() {
    let mut host = Host::start();
    let (v1, v2) = (host.web("v1", ""), host.web("v2", ""));
    let before = host.serve("web-1", &v1).await;
    let spare = host.journal().join("spare/instances/web-2.json");
    bar(&spare);
    host.order(&[("web-1", &v1, 10_000), ("web-2", &v2, 0)]);
    let waiting = waits(&host, "web-2").await;
    assert_eq!((waiting.pid, waiting.restarts), (None, 0), "its failure is none of its own");
    assert_eq!(host.processes(), 1, "it was begun");
    assert!(!host.journal().join("instances/web-2.json").exists());
    // Also an agent that is started again begins nothing and keeps what runs.
    host.restart_agent();
    waits(&host, "web-2").await;
    assert_eq!(host.ask(), "v1");
    fs::remove_dir(&spare).unwrap();
    host.phase("web-2", InstancePhase::Ready).await;
    assert_eq!(host.serves("web-1").await.pid, before.pid);
}

#[tokio::test]
async fn a_target_that_cannot_be_written_down_is_refused_and_worked_on_once_it_can_be() {
    let mut host = Host::start();
    let (v1, v2) = (host.web("v1", ""), host.web("v2", ""));
    let before = host.serve("web-1", &v1).await;
    let spare = host.journal().join("spare/target.json");
    bar(&spare);
    host.order(&[("web-1", &v1, 10_000), ("web-2", &v2, 0)]);
    let (revision, reason) = host.driver.refusal().await;
    assert_eq!(revision, 2);
    assert!(reason.contains("the target of revision 2 cannot be written down in"), "{reason}");
    // The server sees why the instance does not come, under the revision that is worked on.
    waits(&host, "web-2").await;
    assert_eq!(host.driver.report().revision, 1);
    assert_eq!(host.processes(), 1);
    fs::remove_dir(&spare).unwrap();
    host.phase("web-2", InstancePhase::Ready).await;
    assert_eq!(host.driver.report().revision, 2);
    assert_eq!(host.serves("web-1").await.pid, before.pid);
}

#[tokio::test]
async fn an_instance_that_crashes_while_nothing_can_be_written_waits_for_that_and_its_clients_wait_in_its_queue()
 {
    let mut host = Host::start();
    let v1 = host.web("v1", "");
    let before = host.serve("web-1", &v1).await;
    let spare = host.journal().join("spare/instances/web-1.json");
    bar(&spare);
    crate::host::kill(before.pid.unwrap());
    waits(&host, "web-1").await;
    assert_eq!(host.processes(), 0, "it was started without a word about it");
    let mut client = host.connect();
    client.say("/");
    fs::remove_dir(&spare).unwrap();
    assert_eq!(client.hear().unwrap(), "v1");
    let after = host.serves("web-1").await;
    assert_ne!(after.pid, before.pid);
    until("what happened meanwhile is written down", || {
        let text = fs::read_to_string(host.journal().join("instances/web-1.json")).unwrap_or_default();
        text.contains(&format!("\"pid\":{}", after.pid.unwrap()))
    })
    .await;
}
