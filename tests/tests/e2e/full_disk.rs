//! The server's disk is full: what cannot be written is refused, what was confirmed stays, and no instance notices.

use handover_proto::{
    status::{Reason, Refusal},
    v1::{UpdateHostRequest, operator_service_client::OperatorServiceClient},
};
use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP, without_settings},
    process::{binary, wait_until},
    small_disk::SmallDisk,
};
use std::{collections::BTreeSet, process::Command};

/// The disk's size, in bytes: room for the store, a bundle, and little more.
const SIZE: u64 = 48 * 1024 * 1024;

/// Asks for tokens until one is refused; says which were made, and what the refusal was.
fn refused_by_command_line(fleet: &Fleet) -> (Vec<String>, String) {
    let mut made = Vec::new();
    for _ in 0..2000 {
        let done = fleet.cli().run(["token", "create", "--json"]);
        if done.code == 0 {
            made.push(done.last()["id"].as_str().unwrap().to_owned());
        } else {
            return (made, done.expect(1).stderr);
        }
    }
    panic!("the full disk took {} tokens", made.len());
}

/// Labels the host anew, with some 3 KiB each time, until that is refused; says which label was confirmed last, and
/// what the refusal was.
fn refused_by_protocol(fleet: &Fleet) -> (Option<String>, Refusal) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = handover_identity::connect_unix(&fleet.server.socket()).await.unwrap();
        let mut client = OperatorServiceClient::new(channel);
        let mut confirmed = None;
        for n in 1000..6000 {
            let value = format!("{n}-{}", "x".repeat(40));
            let set_labels = (0..60).map(|label| (format!("label-{label}"), value.clone())).collect();
            let name = fleet.agents[0].host.clone();
            let request = UpdateHostRequest { name, set_labels, ..UpdateHostRequest::default() };
            match client.update_host(request).await {
                Ok(_) => confirmed = Some(value),
                Err(status) => {
                    return (confirmed, Refusal::of(&status).unwrap_or_else(|| panic!("{status:?}")));
                }
            }
        }
        panic!("the full disk took 5000 changes");
    })
}

fn label(fleet: &Fleet) -> Option<String> {
    let host = fleet.cli().run(["hosts", "show", &fleet.agents[0].host, "--json"]).expect(0).last();
    host["labels"]["label-0"].as_str().map(str::to_owned)
}

fn tokens(fleet: &Fleet) -> BTreeSet<String> {
    let listed = fleet.cli().run(["token", "list", "--json"]).expect(0).json();
    listed.iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_full_disk_refuses_changes_and_loses_nothing_and_no_instance_notices() {
    let folder = tempfile::Builder::new().prefix("handover-").tempdir().unwrap();
    let data = folder.path().join("server");
    let Some(disk) = SmallDisk::mount(&data, SIZE) else { return };
    let mut fleet = Fleet::in_folder(folder);
    fleet.add_host();
    fleet.online(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let pids = fleet.agents[0].pids();
    let traffic = Traffic::on(&fleet);
    let (mut confirmed, mut labelled) = (tokens(&fleet), None);
    for round in 0..2 {
        disk.fill();
        if round == 0 {
            // No room for a copy of the store: the backup is refused, and nothing else is.
            let file = fleet.path("fleet.backup");
            let done = fleet.cli().run(["server", "backup", file.to_str().unwrap()]).expect(1);
            assert!(done.stderr.contains("disk is full") && !file.exists(), "{}", done.stderr);
            let (made, said) = refused_by_command_line(&fleet);
            assert!(said.contains("the disk of the store is full"), "{said}");
            assert!(said.contains("make room on it, then start the server again"), "{said}");
            confirmed.extend(made);
        } else {
            let (last, refusal) = refused_by_protocol(&fleet);
            assert_eq!(refusal.reason, Reason::StoreUnavailable, "{refusal}");
            labelled = last;
        }
        wait_until(UP, "the server to say why it stops", || {
            fleet.server.log().contains("the fleet's state cannot be written down any more")
        });
        fleet.server.kill();
        // A start on the full disk changes nothing and says what is missing.
        let start = Command::new("timeout")
            .args(["--signal=KILL", "5"])
            .arg(binary("handover"))
            .args(["server", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--unix"])
            .arg(fleet.path("other.sock"))
            .arg("--config")
            .arg(without_settings(fleet.folder.path()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&start.stderr);
        assert!(said.contains("the disk of the store") && said.contains("is full"), "{said}");
        assert_eq!(start.status.code(), Some(1));
        disk.empty();
        fleet.server.restart();
        let found = tokens(&fleet);
        assert!(found.is_superset(&confirmed), "round {round}: {:?} are lost", confirmed.difference(&found));
        // What was refused last may have been written all the same: the number is the same length, and never lower.
        assert!(label(&fleet) >= labelled, "round {round}: {:?} before {labelled:?}", label(&fleet));
        fleet.online(1);
    }
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.agents[0].pids(), pids, "an instance was started again");
    fleet.push(&Sample::new("v2"));
    fleet.deploy("v2").expect(0);
    assert_eq!(fleet.versions(), ["v2"]);
}
